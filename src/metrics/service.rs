//! Whether the daemon does its work, and with which configuration.

use metrics::{counter, gauge};

use crate::metrics::declared::{CONFIG_RELOADED, CONFIG_RELOADS, READY};

/// Sets whether the daemon does its work, as `/readyz` reports it.
pub fn ready(is: bool) {
    gauge!(READY.name).set(f64::from(u8::from(is)));
}

/// Counts a reload of the configuration by its outcome.
pub fn reload(outcome: &'static str) {
    counter!(CONFIG_RELOADS.name, "outcome" => outcome).increment(1);
    let is_rejected = outcome == "refused";
    gauge!(CONFIG_RELOADED.name).set(f64::from(u8::from(!is_rejected)));
}
