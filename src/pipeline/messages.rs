//! The messages between stages. A stage knows these messages, and no other stage.

use std::sync::Arc;

use tokio::sync::mpsc::Sender;

use crate::domain::{DeliveryContext, DeliveryId, DeliveryState, FileKey, FileStat, Stamps};
use crate::format::decoded::Decoded;
use crate::format::framer::Framer;
use crate::format::tail::TailPolicy;
use crate::pipeline::hash_checkpoint::Window;
use crate::source::Found;

/// The files to discover.
#[derive(Clone, Debug)]
pub enum Scope {
    /// The files of the folder, now and in future.
    Watch,
    /// All files in the folder, once. Each is taken as complete.
    Once(Vec<Found>),
    /// Only these files, once. Each is taken as complete.
    These(Vec<Found>),
}

impl Scope {
    /// Returns the total size of the files as stored, compressed or not.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Watch => 0,
            Self::Once(found) | Self::These(found) => found.iter().map(|file| file.noted.size).sum(),
        }
    }
}

/// How to treat files that differ from what the ledger knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadMode {
    /// Load new and changed files.
    #[default]
    New,
    /// Load every file as a new generation, whatever the ledger knows.
    Again,
    /// Enter new and changed files as loaded, because another program wrote their rows.
    Assumed,
}

/// How the pipeline ended if nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All work is done.
    Done,
    /// The pipeline was stopped, and everything that was read is written.
    Stopped,
    /// The pipeline was stopped, and the grace period ended first. The next run reads the rest again.
    GraceOver,
}

/// The queues that discovery fills, for the files of one feed.
pub struct ToStages<F> {
    /// Files to read.
    pub files: Sender<Work<F>>,
    /// Loaded files that are to leave the inbox.
    pub leaving: Sender<Found>,
}

/// A file that was taken up, open at the place where its records are read from.
pub struct Work<F> {
    pub source: Arc<DeliveryContext>,
    pub stamps: Stamps,
    pub bytes: Decoded<F>,
    /// The size and times that the ledger has now.
    pub noted: FileStat,
    /// Holds the bytes that were read beyond this place while the file was identified.
    pub framer: Framer,
    /// What may be done with the open tail.
    pub tail: TailPolicy,
    /// Whether the open tail is the header, which has no line end.
    pub header_is_tail: bool,
    /// The last bytes that the framer has.
    pub window: Window,
    /// The first bytes when the file was opened.
    pub head: Head,
}

/// The first bytes of a file when it was opened.
#[derive(Clone, Debug)]
pub struct Head {
    pub len: usize,
    /// The BLAKE3 hash of the bytes, hexadecimal.
    pub hash: String,
}

/// Reports to discovery that a delivery is no longer under way.
#[derive(Debug)]
pub struct Finished {
    pub id: DeliveryId,
    pub file: FileKey,
    pub state: DeliveryState,
    /// Why the delivery ended in this state.
    pub detail: String,
    /// Whether the open tail is a record that waits only because its writer may not have finished.
    pub held: bool,
}

/// Reports to discovery whether a file has left the inbox.
#[derive(Debug)]
pub struct Left {
    pub file: FileKey,
    /// Whether the file is no longer in the inbox. If not, it is tried again later.
    pub gone: bool,
}
