//! What decoding needs of a file.

use std::io;
use std::pin::Pin;

use tokio::io::AsyncRead;

/// The operations on an open file that decoding needs.
pub trait RawFile: Send + Sync + 'static {
    /// Returns the size of the file as stored, compressed or not.
    fn size(&self) -> u64;

    /// Returns up to `len` bytes from `offset` on. Does not change the position.
    fn at(&self, offset: u64, len: usize) -> impl Future<Output = io::Result<Vec<u8>>> + Send;

    /// Appends the result of one read, up to the capacity of `into`. Returns 0 at the end. If the read fails, or its
    /// future is dropped before it completes, the earlier content of `into` may be lost.
    fn read(&self, into: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> + Send;

    /// Returns a reader that shares the position, for a decoder.
    ///
    /// # Errors
    /// Returns an error if the reader cannot be created.
    fn reader(&self) -> io::Result<Pin<Box<dyn AsyncRead + Send + Sync>>>;
}
