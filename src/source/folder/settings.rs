//! The settings of a folder source.

use std::path::PathBuf;

use serde::Deserialize;

use crate::domain::{Feed, FileDates};

/// Which files of a folder are read, and how links are treated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The feed that the files belong to.
    pub feed: Feed,
    pub folder: PathBuf,
    /// The folder that loaded files are moved to.
    pub archive: PathBuf,
    /// Globs. A file name must match at least one of them.
    pub patterns: Vec<String>,
    /// Globs. A file name must match none of them.
    pub ignored: Vec<String>,
    pub subfolders: bool,
    pub links: Links,
    /// Which dates in names decide the listing order.
    pub dates: FileDates,
    /// The inboxes of the other feeds.
    pub others: Vec<OtherInbox>,
}

/// The inbox of another feed.
#[derive(Clone, Debug)]
pub struct OtherInbox {
    pub feed: Feed,
    pub folder: PathBuf,
    pub subfolders: bool,
    /// Whether loaded files leave it.
    pub removes: bool,
}

/// Which links to files are treated as files.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    #[default]
    Anywhere,
    /// Only links that lead to a file in the inbox.
    Inside,
}
