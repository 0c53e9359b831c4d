//! The errors of a replay that leave open records untried.

use crate::domain::header::HeaderError;
use crate::domain::{FileKey, NotDeclared};
use crate::pipeline::prefix_check::KeptFileError;
use crate::store::StoreError;

/// The reason records stay open without another attempt.
#[derive(Debug, thiserror::Error)]
pub enum UntriedError {
    #[error("its header was not kept, and its file cannot be used: {0}")]
    NoHeader(KeptFileError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error(transparent)]
    NotDeclared(#[from] NotDeclared),
    #[error("only the beginning of a long record is kept, and its file cannot be used: {0}")]
    NoFile(KeptFileError),
    /// The file could not be opened for an earlier record either.
    #[error("only the beginning of a long record is kept, and its file cannot be used")]
    NoFileBefore,
    /// Replaying them too would load them twice.
    #[error(
        "the delivery failed before the end of its file, which is read again from the beginning once it or the \
         configuration changes: correct one of them, then run `needledrop run --once`, or leave it to the daemon"
    )]
    ReadAgain,
    /// The later generation leads to reading the file again.
    #[error(
        "a later generation of its file failed, and the file is read again from the beginning once it or the \
         configuration changes: correct one of them, then run `needledrop run --once`, or leave it to the daemon"
    )]
    LaterFailed,
    #[error(
        "{0} is loaded and may have the same records: discard these with `needledrop quarantine discard`, or put their \
         file back into the inbox and run `needledrop run --once`"
    )]
    CopyLoaded(FileKey),
}

/// The reason records are not tried: they cannot be tried, or the store does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Untried(#[from] UntriedError),
}

impl ReplayError {
    /// Returns the reason the records cannot be tried.
    ///
    /// # Errors
    /// Returns the error of the store if the store did not answer.
    pub fn untried(self) -> Result<UntriedError, StoreError> {
        match self {
            Self::Untried(why) => Ok(why),
            Self::Store(error) => Err(error),
        }
    }
}
