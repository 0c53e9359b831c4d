//! The daemon: it runs the pipeline, drains it, reloads the configuration and reports health.

pub mod app;
pub mod health;
mod idle;
pub mod reload;
mod replacement_runner;
mod run;
pub mod signals;
pub mod single_pass;
mod systemd;
pub mod verifier;
mod verify_report;
mod verifying;
#[cfg(test)]
mod tests;
