//! Crash points for the tests: every durable step can be the last one of the process.
//!
//! In debug builds `NEEDLEDROP_ABORT_AT=n` aborts at the n-th step. Release builds have none of it.

/// Marks a durable step.
#[cfg(not(debug_assertions))]
pub fn step(_name: &str) {}

/// Marks a durable step.
#[cfg(debug_assertions)]
pub fn step(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static LAST: OnceLock<Option<u64>> = OnceLock::new();
    static STEPS: AtomicU64 = AtomicU64::new(0);

    let last = *LAST.get_or_init(|| std::env::var("NEEDLEDROP_ABORT_AT").ok().and_then(|n| n.parse().ok()));
    let Some(last) = last else { return };
    if STEPS.fetch_add(1, Ordering::SeqCst) + 1 == last {
        eprintln!("aborting at step {last}: {name}");
        std::process::abort();
    }
}
