//! The Debian package on machines with a real systemd as process 1: `make test-service`.
//!
//! It needs Docker, so it runs where `NEEDLEDROP_TEST_SERVICE` is set; elsewhere it says that it was not run.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper of a test fails the test, as the test itself does"
)]

mod common;
#[path = "service/machine.rs"]
mod machine;
#[path = "service/package.rs"]
mod package;
#[path = "service/story.rs"]
mod story;
#[path = "service/watchdog.rs"]
mod watchdog;
