//! needledrop: drop a CSV into a folder; it plays into your tables.
//!
//! The modules are listed in the order in which data flows. ARCHITECTURE.md has the map.

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

/// The commit that this build is of, or `unknown`; `build.rs` finds it out.
pub const COMMIT: &str = env!("NEEDLEDROP_COMMIT");
