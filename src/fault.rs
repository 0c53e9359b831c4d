//! Faults for the tests, in debug builds only. Release builds have none of it.
//!
//! `NEEDLEDROP_ABORT_AT=n` aborts at the n-th durable step: every one can be the last of the process.
//! `NEEDLEDROP_READ_ERRORS=n,m` lets the reads of files from the n-th to the m-th fail as on a broken disk.

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

/// Marks a read from a file.
///
/// # Errors
/// As a broken disk gives.
#[cfg(not(debug_assertions))]
pub fn read() -> std::io::Result<()> {
    Ok(())
}

/// Marks a read from a file.
///
/// # Errors
/// As a broken disk gives.
#[cfg(debug_assertions)]
pub fn read() -> std::io::Result<()> {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static BROKEN: OnceLock<Option<(u64, u64)>> = OnceLock::new();
    static READS: AtomicU64 = AtomicU64::new(0);

    let broken = *BROKEN.get_or_init(|| {
        let setting = std::env::var("NEEDLEDROP_READ_ERRORS").ok()?;
        let (from, to) = setting.split_once(',')?;
        Some((from.parse().ok()?, to.parse().ok()?))
    });
    let Some((from, to)) = broken else { return Ok(()) };
    let read = READS.fetch_add(1, Ordering::SeqCst) + 1;
    if (from..=to).contains(&read) { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
}
