//! Why open records of a delivery cannot be tried again.

use crate::domain::header::HeaderError;
use crate::pipeline::prefix_check::KeptFileError;
use crate::store::StoreError;

/// Why records stay open untried.
#[derive(Debug, thiserror::Error)]
pub enum UntriedError {
    #[error("its header was not kept, and its file is not there any more: {0}")]
    NoHeader(KeptFileError),
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("of long records only the beginning was kept, and the file cannot be read: {0}")]
    NoFile(KeptFileError),
    /// As the file could not be read for an earlier record.
    #[error("of long records only the beginning was kept, and the file cannot be read")]
    NoFileBefore,
}

/// Why records are not tried: they cannot be, or the store does not answer.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Untried(#[from] UntriedError),
}

impl ReplayError {
    /// Why the records cannot be tried.
    ///
    /// # Errors
    /// When it is that the store does not answer.
    pub fn untried(self) -> Result<UntriedError, StoreError> {
        match self {
            Self::Untried(why) => Ok(why),
            Self::Store(error) => Err(error),
        }
    }
}
