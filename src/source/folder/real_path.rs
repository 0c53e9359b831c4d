//! Resolves the links in a path, without waiting long for a file system that does not answer.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// How long to wait for a path, and for further paths while another one has no answer.
const PATIENCE: Duration = Duration::from_secs(2);
const LESS_PATIENCE: Duration = Duration::from_millis(200);

/// How often to look whether another thread has resolved a path.
const RETRY: Duration = Duration::from_millis(2);

/// The paths that a thread resolves now. At most one thread waits for each path.
static ASKED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn asked() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A path that a thread resolves now.
struct Asked(PathBuf);

impl Drop for Asked {
    fn drop(&mut self) {
        asked().remove(&self.0);
    }
}

/// Notes that this path is being resolved. Returns how long to wait for it, or `None` while another thread resolves it or
/// a folder above it: what is below a folder that does not answer does not answer either.
fn ask(path: &Path) -> Option<Duration> {
    let mut asked = asked();
    if asked.iter().any(|other| path.starts_with(other)) {
        return None;
    }
    asked.insert(path.to_owned());
    Some(if asked.len() > 1 { LESS_PATIENCE } else { PATIENCE })
}

/// Returns the real path, with all links resolved. Outside a runtime, waits as long as it takes.
///
/// # Errors
/// Returns an error if the path does not exist or cannot be resolved, or if its file system does not answer in time.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    let Ok(runtime) = Handle::try_current() else { return path.canonicalize() };
    let began = Instant::now();
    let patience = loop {
        if let Some(patience) = ask(path) {
            break patience;
        }
        if began.elapsed() > LESS_PATIENCE {
            return Err(ErrorKind::TimedOut.into());
        }
        thread::sleep(RETRY);
    };
    let (path, (answer, answered)) = (Asked(path.to_owned()), mpsc::channel());
    runtime.spawn_blocking(move || {
        let real = path.0.canonicalize();
        drop(path);
        // The caller may have ceased to wait.
        let _ = answer.send(real);
    });
    answered.recv_timeout(patience).unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}
