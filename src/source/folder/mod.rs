//! A local folder as a source: its files, their changes, and where the files go once they are loaded.

pub mod apart;
pub mod file;
pub mod hooks;
pub mod part_file;
pub mod open_writers;
pub mod archive;
pub mod move_or_delete;
mod openat_path;
pub mod real_path;
#[cfg(test)]
mod tests;
pub mod inbox;
pub mod names;
mod not_files;
mod settings;
mod source;
pub mod watch;

pub use settings::{Links, OtherInbox, Settings};
