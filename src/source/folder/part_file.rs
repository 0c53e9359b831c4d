//! A file that has a temporary name until it is complete, and is removed if it does not become complete.

use std::path::{Path, PathBuf};
use std::{fs, io};

pub struct Part(PathBuf);

impl Part {
    /// Guards the file at `place`, which the caller creates.
    pub fn of(place: PathBuf) -> Self {
        Self(place)
    }

    pub fn place(&self) -> &Path {
        &self.0
    }

    /// Gives the complete file its final name.
    ///
    /// # Errors
    /// Returns an error if the file cannot be renamed. The file is then removed.
    pub fn rename(self, to: &Path) -> io::Result<()> {
        fs::rename(&self.0, to)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After a rename there is nothing to remove.
        let _ = fs::remove_file(&self.0);
    }
}
