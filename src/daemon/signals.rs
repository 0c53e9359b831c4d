//! Handles the signals that stop a command.

use futures::StreamExt;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook_tokio::Signals;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::daemon::app::AppError;

/// The exit code of a process that was told to stop twice.
const STOPPED: i32 = 4;

/// Runs `work` and handles signals meanwhile. The first SIGTERM or SIGINT stops the intake; a second one ends the
/// process at once. SIGUSR1 and SIGUSR2 are ignored, because by default they would end the process.
///
/// # Errors
/// Returns an error if the signal handlers cannot be installed.
pub async fn with_signals<T>(stop: CancellationToken, work: impl Future<Output = T>) -> Result<T, AppError> {
    let handled = [SIGTERM, SIGINT, SIGUSR1, SIGUSR2];
    let mut signals = Signals::new(handled).map_err(|error| AppError::Start(error.to_string()))?;
    let handle = signals.handle();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                handle.close();
                return Ok(done);
            }
            Some(signal) = signals.next() => {
                if matches!(signal, SIGUSR1 | SIGUSR2) {
                    info!("SIGUSR1 and SIGUSR2 are ignored: they have no meaning for needledrop");
                    continue;
                }
                if stop.is_cancelled() {
                    warn!("stopped by a second signal: what was not written is read again next time");
                    std::process::exit(STOPPED);
                }
                info!("stopping: writing what was read");
                stop.cancel();
            }
        }
    }
}
