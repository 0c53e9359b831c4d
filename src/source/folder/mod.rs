//! A local folder as a source: its files, their changes, and where the files go once they are loaded.

pub mod file;
pub mod hooks;
pub mod part_file;
pub mod open_writers;
pub mod archive;
pub mod move_or_delete;
mod openat_path;
#[cfg(test)]
mod tests;
pub mod inbox;
mod settings;
mod source;
pub mod watch;

pub use settings::{Links, Settings};
