//! Where files come from. The program knows a source only by [`Source`]; each source has a folder of its own here.

pub mod answering;
pub mod answers;
pub mod backend;
pub mod folder;
pub mod left_out;
pub mod one_feed;
#[cfg(test)]
pub mod suite;

use std::io;
use std::pin::Pin;

use tokio::io::AsyncRead;
use tokio_util::sync::CancellationToken;

use crate::domain::{FileKey, FileStat};
use crate::source::left_out::LeftOut;

/// The maximum number of files that leave together.
pub const TOGETHER: usize = 256;

/// A place where files arrive, and from which loaded files can be removed.
///
/// A file is named by its key, as in the ledger. Its path is relative to the inbox if the file is in it. Files that a
/// user names may lie elsewhere, as far as the source can reach them. A source knows nothing about files of other feeds:
/// it sees none of them, and cannot tell whether they exist.
///
/// An inbox may not answer for hours, as a network share whose server is away. No operation keeps a thread of the runtime
/// waiting meanwhile, and the future of each operation may be dropped.
pub trait Source: Clone + Send + Sync + 'static {
    type File: SourceFile;
    type Events: Events;

    /// Returns the name of the inbox, for logs.
    fn name(&self) -> String;

    /// Whether a file can change while it keeps its name. If not, each listed file is complete.
    fn can_grow(&self) -> bool;

    /// Whether a file may be one of the inbox, judged only by its key.
    fn is_in_inbox(&self, file: &FileKey) -> bool;

    /// Visits every file in the inbox, in no particular order, and returns which files are left out because of their
    /// names. An inbox may have too many files to hold them all in memory.
    ///
    /// # Errors
    /// Returns an error if the inbox cannot be listed.
    fn each(&self, found: &mut (dyn FnMut(Found) + Send))
    -> impl Future<Output = io::Result<LeftOut>> + Send;

    /// Returns a file with its current version, or `None` if it cannot be seen.
    fn look(&self, file: &FileKey) -> impl Future<Output = Option<Found>> + Send;

    /// Whether this file, or something else with its path, exists. If the source cannot tell, returns true.
    fn may_exist(&self, file: &FileKey) -> impl Future<Output = bool> + Send;

    /// Opens the current version of a file, to read it from an offset.
    ///
    /// # Errors
    /// Returns an error if the file cannot be opened or may not be read.
    fn open(&self, file: &FileKey, offset: u64) -> impl Future<Output = io::Result<Self::File>> + Send;

    /// Finds the inbox again, because its name may lead elsewhere by now. Returns whether `events` still belong to the
    /// inbox.
    fn find_again(&mut self, events: Option<&Self::Events>) -> impl Future<Output = bool> + Send;

    /// Begins to report changes. Returns `None` if the source never does. The caller then relies on listings.
    ///
    /// # Errors
    /// Returns an error if the changes cannot be watched now. The caller then relies on listings.
    fn watch(&self) -> impl Future<Output = io::Result<Option<Self::Events>>> + Send;

    /// Moves or deletes at most [`TOGETHER`] files of the inbox that still have the given version. Returns the outcomes
    /// in the same order. Never loses the only copy of a file that is moved, wherever the work is interrupted.
    fn retire(
        &self,
        files: Vec<Found>,
        how: Retire,
        halt: CancellationToken,
    ) -> impl Future<Output = Vec<Result<(), Stays>>> + Send;

    /// Removes what an earlier process left of interrupted moves. The files themselves are still in the inbox.
    ///
    /// # Errors
    /// Returns an error if something cannot be removed. This does no harm.
    fn sweep(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Tells a person what to do if files cannot leave.
    fn remedy(&self, how: Retire) -> String;

    /// Returns the moved files that may have been this file of the inbox, the most likely first. Only a comparison of
    /// the bytes shows which of them it was.
    fn copies(&self, file: &FileKey, noted: FileStat) -> impl Future<Output = Vec<FileKey>> + Send;

    /// Returns the files of the inbox that a moved file may have been, or none if the file was not moved.
    fn origins(&self, file: &FileKey) -> Vec<FileKey>;
}

/// An open file. It is one version of a file, with what is appended to it later: it never has the bytes of another
/// version that got the same path. A source that cannot keep a version readable lets the reads fail.
pub trait SourceFile: Sized + Send + Sync + 'static {
    /// Returns the version of the file when it was opened, or the last one passed to [`Self::note`].
    fn noted(&self) -> FileStat;

    /// Replaces the version that changes are compared with.
    fn note(&mut self, now: FileStat);

    /// Returns the current version.
    fn look(&self) -> impl Future<Output = io::Result<FileStat>> + Send;

    /// Whether a writer is seen that may append to the file.
    fn has_writer(&self) -> impl Future<Output = bool> + Send;

    /// Whether a process had the file open for writing at the last look at all files, less than a second ago. Costs
    /// nothing.
    fn had_writer(&self) -> impl Future<Output = bool> + Send;

    /// Opens the same file again at its beginning, even if its path leads to another file by now.
    fn again(&self) -> impl Future<Output = io::Result<Self>> + Send;

    /// Returns the position in the file, in bytes as stored.
    fn position(&self) -> u64;

    /// Returns up to `len` bytes from `offset` on. Does not change the position.
    fn at(&self, offset: u64, len: usize) -> impl Future<Output = io::Result<Vec<u8>>> + Send;

    /// Appends the result of one read, up to the capacity of `into`. Returns 0 at the end. If the read fails, or its
    /// future is dropped before it completes, the earlier content of `into` may be lost.
    fn read(&self, into: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> + Send;

    /// Returns a reader that shares the position.
    ///
    /// # Errors
    /// Returns an error if the reader cannot be created.
    fn reader(&self) -> io::Result<Pin<Box<dyn AsyncRead + Send + Sync>>>;
}

/// The changes of an inbox. They end when this value is dropped.
pub trait Events: Send {
    /// Waits for the next change. If the future is dropped before it completes, no change is lost.
    fn next(&mut self) -> impl Future<Output = Signal> + Send;

    /// Returns why changes may be missing, if they may.
    fn gaps(&self) -> Option<String>;
}

/// An existing file, with its version when it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key as in the ledger. All data about the file shares this one copy.
    pub file: FileKey,
    pub noted: FileStat,
}

/// The files of an inbox in listing order, and those that are left out.
#[derive(Clone, Debug)]
pub struct Listing {
    pub files: Vec<Found>,
    pub left_out: LeftOut,
}

/// What an event reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The file is complete: its writer closed it, or it was renamed to this path.
    Complete(FileKey),
    /// The file is being written.
    Changing(FileKey),
    /// The permissions or the times of the file changed.
    Touched(FileKey),
    /// Something changed, and only a listing shows what.
    Unclear,
    /// Events were lost, because there were too many.
    Lost,
}

/// How files leave the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retire {
    Move,
    Delete,
}

/// The reason a file is still in the inbox.
#[derive(Debug, thiserror::Error)]
pub enum Stays {
    /// The file has changed or may still change.
    #[error("{0}")]
    Busy(&'static str),
    /// The file no longer exists, so nothing is left to do.
    #[error("it no longer exists")]
    Gone,
    #[error("{0}")]
    Failed(#[from] io::Error),
}
