//! needledrop: drop a CSV into a folder; it plays into your tables.
//!
//! The modules are listed in the order of the data flow. ARCHITECTURE.md has a map of the code.

pub mod cli;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod source;
pub mod format;
pub mod pipeline;
pub mod jobs;
pub mod store;
pub mod http;
pub mod metrics;

/// The commit of this build, or `unknown`. `build.rs` sets it.
pub const COMMIT: &str = env!("NEEDLEDROP_COMMIT");
