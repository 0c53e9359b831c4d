//! The daemon: build, run, drain, reload, health.

pub mod app;
pub mod health;
pub mod reload;
mod run;
pub mod signals;
mod systemd;
