//! What the stages say to each other. A stage knows these, and no other stage.

use std::sync::Arc;

use crate::domain::{DeliveryContext, DeliveryId, DeliveryState, FileStat, Stamps};
use crate::format::framer::Framer;
use crate::format::tail::TailPolicy;
use crate::pipeline::byte_source::ByteSource;
use crate::pipeline::hash_checkpoint::Window;
use crate::source::folder::inbox::Found;

/// What is to be discovered.
#[derive(Clone, Debug)]
pub enum Scope {
    /// The folder, from now on.
    Watch,
    /// All that is in the folder, once, each file taken as whole.
    Once(Vec<Found>),
    /// These files only, once, each taken as whole.
    These(Vec<Found>),
}

impl Scope {
    /// Bytes of its files as they lie there.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Watch => 0,
            Self::Once(found) | Self::These(found) => found.iter().map(|file| file.noted.size).sum(),
        }
    }
}

/// What becomes of a file that is not as the ledger knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoadMode {
    /// It is loaded.
    #[default]
    New,
    /// Every file is loaded as a new generation, whatever the ledger knows.
    Again,
    /// It is entered as loaded: another program wrote its rows.
    Assumed,
}

/// How the pipeline ended when nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There was no more to do.
    Done,
    /// It was asked to stop, and what was read is written.
    Stopped,
    /// It was asked to stop, and the grace was over first: the rest is read again next time.
    GraceOver,
}

/// A file that was taken up, open where its records are to be read from.
pub struct Work {
    pub source: Arc<DeliveryContext>,
    pub stamps: Stamps,
    pub bytes: ByteSource,
    /// Size and times as the ledger has them now.
    pub noted: FileStat,
    /// Holds what was read beyond that place while the file was identified.
    pub framer: Framer,
    /// What may become of its open tail.
    pub tail: TailPolicy,
    /// The header is the open tail: it has no line end.
    pub header_is_tail: bool,
    /// The last bytes that the framer has.
    pub window: Window,
    /// The first bytes when it was opened.
    pub head: Head,
}

/// The first bytes of a file when it was opened.
#[derive(Clone, Debug)]
pub struct Head {
    pub len: usize,
    /// BLAKE3, hexadecimal.
    pub hash: String,
}

/// Word to discovery that a delivery is not under way any more.
#[derive(Debug)]
pub struct Finished {
    pub id: DeliveryId,
    pub path: String,
    pub state: DeliveryState,
    /// Why it ended so.
    pub detail: String,
    /// Its open tail is a record that waits only because its writer may not have finished.
    pub held: bool,
}

/// Word to discovery that a file has left the inbox, or has not.
#[derive(Debug)]
pub struct Left {
    pub path: Arc<str>,
    /// It is not in the inbox any more; else it is to be tried again later.
    pub gone: bool,
}
