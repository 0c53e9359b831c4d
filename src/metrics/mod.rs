//! Records the metrics. The values of labels are bounded: table, state, stage, reason.
//!
//! Counters of rows and records count only what the store acknowledged. Work that a crash interrupted is done again by the
//! next process, and both may have counted it. Totals come from receipts.

pub mod declared;
mod deliveries;
pub mod heartbeat;
mod inbox;
mod labels;
mod scrape;
mod service;
mod stages;
mod store;
mod verify;

pub use deliveries::*;
pub use inbox::*;
pub use scrape::{Scrape, feed_is_gone, feeds, install};
pub use service::*;
pub use stages::{Measured, Queue, Stage};
pub use store::*;
pub use verify::{forget_verified, verification, verified, wrong_rows};
