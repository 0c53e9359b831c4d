//! Faults for the tests, in debug builds only. Release builds have none of it.
//!
//! `NEEDLEDROP_ABORT_AT=n` aborts at the n-th durable step: every one can be the last of the process.
//! `NEEDLEDROP_READ_ERRORS=n,m` lets the reads of files from the n-th to the m-th fail as on a broken disk.
//! `NEEDLEDROP_STUCK=FILE` lets the stage whose name is in FILE get stuck at its next work; FILE is removed, so that
//! the process that follows is well.

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

/// Marks the work of a stage.
#[cfg(not(debug_assertions))]
pub async fn stuck(_stage: &str) {}

/// Marks the work of a stage.
#[cfg(debug_assertions)]
pub async fn stuck(stage: &str) {
    use std::path::PathBuf;
    use std::sync::OnceLock;

    static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();

    let Some(file) = FILE.get_or_init(|| std::env::var_os("NEEDLEDROP_STUCK").map(Into::into)) else {
        return;
    };
    let is_meant = std::fs::read_to_string(file).is_ok_and(|name| name.trim() == stage);
    if is_meant && std::fs::remove_file(file).is_ok() {
        eprintln!("stuck: {stage}");
        std::future::pending().await
    }
}
