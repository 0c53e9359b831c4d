//! Compares decompressed bytes with the size and the checksum that an archive states.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// A reader that returns an error instead of the end if the bytes before it are not those that were packed.
pub struct Checked {
    bytes: Pin<Box<dyn AsyncRead + Send + Sync>>,
    /// The number of bytes that are still to come.
    left: u64,
    hasher: crc32fast::Hasher,
    crc: u32,
}

impl Checked {
    pub fn new(bytes: Pin<Box<dyn AsyncRead + Send + Sync>>, size: u64, crc: u32) -> Self {
        Self { bytes, left: size, hasher: crc32fast::Hasher::new(), crc }
    }

    /// Checks what was read when there are no more bytes.
    fn end(&self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let is_right = self.hasher.clone().finalize() == self.crc;
        if is_right {
            Ok(())
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "its checksum is wrong"))
        }
    }
}

impl AsyncRead for Checked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (into.filled().len(), into.remaining());
        ready!(self.bytes.as_mut().poll_read(cx, into))?;
        let read = into.filled().get(before..).unwrap_or_default();
        if read.is_empty() && room > 0 {
            return Poll::Ready(self.end());
        }
        self.hasher.update(read);
        let Some(left) = self.left.checked_sub(read.len() as u64) else {
            let error = "it has more bytes than the archive states";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        };
        self.left = left;
        Poll::Ready(Ok(()))
    }
}
