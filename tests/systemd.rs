//! Tests of the Debian package on machines with a real systemd as process 1: `make test-service`.
//!
//! The tests need Docker. They run only if `NEEDLEDROP_TEST_SERVICE` is set. Otherwise they report that they were not
//! run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failing helper must fail its test")]

mod common;
#[path = "service/machine.rs"]
mod machine;
#[path = "service/package.rs"]
mod package;
#[path = "service/story.rs"]
mod story;
#[path = "service/watchdog.rs"]
mod watchdog;
