//! What identifying a file finds.

use std::io;

use crate::domain::feed::setting;
use crate::domain::ledger::Amendment;
use crate::domain::{Delivery, DeliveryId, DeliveryState, FileKey, FileStat};
use crate::pipeline::header_probe::{Opened, trusted};
use crate::pipeline::messages::Work;
use crate::source::SourceFile;
use crate::store::StoreError;

/// The result of identifying a file.
pub enum Identified<F> {
    /// The file is unchanged since it was entered into the ledger.
    Unchanged(Same),
    /// The file must be read. The number counts how often growth contradicted an open tail of it.
    Work(Box<Work<F>>, u32),
    /// Nothing can be read yet. The file is looked at again.
    Waits(WaitsFor),
    /// There is nothing to read: the file was entered into the ledger in this state.
    Entered(DeliveryId, DeliveryState, String),
    /// Another program wrote the rows: the file was entered as loaded.
    Assumed(Box<Delivery>),
    /// The file has the same first bytes as a delivery that is still being loaded, so it must wait.
    Behind(DeliveryId, FileKey),
}

/// What must happen before anything of a file can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// The header must be complete.
    Header,
    /// The writer must write the beginning, for which it has only reserved room.
    Beginning,
    /// The writer must write the end of a compressed file, for which it has only reserved room.
    End,
    /// The writer must close the file.
    Writer,
    /// A file that comes first, and begins with the same bytes, waits itself.
    Earlier,
}

impl WaitsFor {
    /// Describes what a file of the feed with this name waits for.
    pub fn describe(&self, feed: &str) -> String {
        let writer = "a process has it open for writing";
        match self {
            Self::Header => "its header is not complete yet; more is expected".to_owned(),
            Self::Beginning => format!("{writer}, and its header is not written yet (NUL bytes)"),
            Self::End => format!("{writer}, and its end is not written yet (NUL bytes)"),
            Self::Writer => format!("{writer} ({}: wait)", setting(feed, "source.open_files")),
            Self::Earlier => "it begins with the bytes of a file that comes first and waits too".to_owned(),
        }
    }
}

/// A file that is unchanged since it was entered into the ledger.
pub struct Same {
    pub id: DeliveryId,
    pub state: DeliveryState,
    /// The size and times before the bytes were compared.
    pub noted: FileStat,
    /// Whether all bytes were compared.
    pub verified: bool,
    /// The strikes of the file, if the open tail is held.
    pub held: Option<u32>,
    /// The changes to write to the ledger.
    pub amendment: Amendment,
}

impl Same {
    /// Makes the result for an unchanged file. The amendment contains what the ledger must correct: a changed head, or
    /// size and times that changed or can be trusted only now.
    pub fn unchanged<F: SourceFile>(current: &Delivery, opened: &Opened<F>, verified: bool) -> Self {
        let noted = trusted(opened.bytes.file.noted());
        let amendment = Amendment {
            noted: (noted != current.noted).then_some(noted),
            head: (opened.head != current.head).then(|| opened.head.clone()),
            ..Amendment::default()
        };
        let (id, state, noted) = (current.id, current.state, opened.bytes.file.noted());
        Self { id, state, noted, verified, held: None, amendment }
    }
}

/// The reason a file could not be identified.
#[derive(Debug, thiserror::Error)]
pub enum IdentifyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    File(#[from] io::Error),
}
