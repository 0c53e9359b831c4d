//! The daemon: it runs the pipeline, drains it, reloads the configuration and reports health.

pub mod app;
pub mod health;
pub mod reload;
mod run;
pub mod signals;
mod systemd;
#[cfg(test)]
mod tests;
