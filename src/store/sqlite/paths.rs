//! Paths of files beside the store.

use std::path::{Path, PathBuf};

/// Returns the path of the store with `end` appended to the file name.
pub fn beside(store: &Path, end: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}
