//! A file that has another name until it is whole, and is removed when it does not become whole.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub struct Part(PathBuf);

impl Part {
    /// The file at `place`, which its caller makes.
    pub fn of(place: PathBuf) -> Self {
        Self(place)
    }

    pub fn place(&self) -> &Path {
        &self.0
    }

    /// It is whole: it gets its name.
    ///
    /// # Errors
    /// What the system says; then it is removed.
    pub fn rename(self, to: &Path) -> io::Result<()> {
        fs::rename(&self.0, to)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Renamed, it is not there any more.
        let _ = fs::remove_file(&self.0);
    }
}
