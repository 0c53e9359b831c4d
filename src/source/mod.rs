//! The sources of files.

pub mod folder;
