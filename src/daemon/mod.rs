//! The daemon: it runs the pipeline, drains it, reloads the configuration and reports health.

pub mod app;
pub mod health;
mod idle;
pub mod reload;
mod run;
pub mod signals;
mod systemd;
pub mod verifier;
mod verify_report;
mod verifying;
#[cfg(test)]
mod tests;
