//! Tests of SECURITY.md, claim by claim: the limits of people who may write to the inbox, reach the port, or read the
//! output.
//!
//! Decompression bombs and huge records are tested in tests/shapes/memory.rs, permissions in the cluster in
//! tests/cluster/guarded.rs, archives in tests/after.rs.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

#[path = "security/http.rs"]
mod http;
#[path = "security/links.rs"]
mod links;
#[path = "security/modes.rs"]
mod modes;
#[path = "security/names.rs"]
mod names;
#[path = "security/secrets.rs"]
mod secrets;
#[path = "security/sheets.rs"]
mod sheets;
#[path = "security/shapes.rs"]
mod shapes;
#[path = "security/told.rs"]
mod told;

use common::csv;
