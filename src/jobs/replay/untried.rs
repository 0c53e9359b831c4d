//! The errors of a replay that leave open records untried.

use crate::domain::header::HeaderError;
use crate::pipeline::prefix_check::KeptFileError;
use crate::store::StoreError;

/// The reason records stay open without another attempt.
#[derive(Debug, thiserror::Error)]
pub enum UntriedError {
    #[error("its header was not kept, and its file cannot be used: {0}")]
    NoHeader(KeptFileError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("only the beginning of a long record is kept, and its file cannot be used: {0}")]
    NoFile(KeptFileError),
    /// The file could not be opened for an earlier record either.
    #[error("only the beginning of a long record is kept, and its file cannot be used")]
    NoFileBefore,
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
