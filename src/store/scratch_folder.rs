//! The folder for scratch files. Their names are removed at once, and their space is free when the job ends.

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::Schema;
use crate::store::StoreError;
use crate::store::sqlite::expected_rows::{ExpectedRows, KeyEquality};

/// Where scratch files are created.
#[derive(Clone, Debug)]
pub struct ScratchFolder {
    /// `None` means the folder for temporary files.
    pub folder: Option<PathBuf>,
    pub schema: Arc<Schema>,
    pub keys: KeyEquality,
}

impl ScratchFolder {
    /// Creates a file, which is named after the process and after what it is for.
    ///
    /// # Errors
    /// Returns an error if the file cannot be created.
    pub fn create(&self, what: &str) -> Result<ExpectedRows, StoreError> {
        ExpectedRows::create(self.path(what), Arc::clone(&self.schema), self.keys)
    }

    pub(super) fn path(&self, what: &str) -> PathBuf {
        let folder = self.folder.clone().unwrap_or_else(std::env::temp_dir);
        folder.join(format!("needledrop-{what}-{}.db", std::process::id()))
    }
}
