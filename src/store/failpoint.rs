//! Injects faults for tests, in debug builds only. Release builds ignore the environment variables below.
//!
//! - `NEEDLEDROP_ABORT_AT=n` aborts the process at the n-th durable step. A test can abort at each step in turn.
//! - `NEEDLEDROP_READ_ERRORS=n,m` makes the n-th to the m-th read of a file fail as on a broken disk.
//! - `NEEDLEDROP_STUCK=FILE` makes the stage whose name is in FILE hang when it next has work. FILE is removed first,
//!   so that the next process does not hang.

/// Marks a durable step, at which a test can abort the process.
#[cfg(not(debug_assertions))]
pub fn step(_name: &str) {}

/// Marks a durable step, at which a test can abort the process.
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
/// Never returns an error in a release build.
#[cfg(not(debug_assertions))]
pub fn read() -> std::io::Result<()> {
    Ok(())
}

/// Marks a read from a file, which a test can make fail.
///
/// # Errors
/// Returns an I/O error if `NEEDLEDROP_READ_ERRORS` covers this read.
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

/// Marks where a stage begins a piece of work, at which a test can make it hang.
#[cfg(not(debug_assertions))]
pub async fn stuck(_stage: &str) {}

/// Marks where a stage begins a piece of work, at which a test can make it hang.
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
