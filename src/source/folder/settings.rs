//! What is declared of a folder.

use std::path::PathBuf;

use serde::Deserialize;

/// Which files of a folder count, and how links are taken.
#[derive(Clone, Debug)]
pub struct Settings {
    pub folder: PathBuf,
    /// Globs, of which the name of a file must match one.
    pub patterns: Vec<String>,
    /// Globs, of which the name of a file must match none.
    pub ignored: Vec<String>,
    pub subfolders: bool,
    pub links: Links,
}

/// Which links to files are files.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    #[default]
    Anywhere,
    /// Those that lead to a file in the inbox.
    Inside,
}
