//! needledrop: drop a CSV into a folder; it plays into your tables.
//!
//! The table of contents, in the order in which data flows. ARCHITECTURE.md has the map.

pub mod cli;
pub mod config;
pub mod app;
pub mod reload;
pub mod domain;
pub mod pipeline;
pub mod store;
pub mod ledger;
pub mod quarantine;
pub mod health;
pub mod heartbeat;
pub mod service;
pub mod metrics;
pub mod web;
pub mod part;
pub mod fault;

/// The commit that this build is of, or `unknown`; `build.rs` finds it out.
pub const COMMIT: &str = env!("NEEDLEDROP_COMMIT");
