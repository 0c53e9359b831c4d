//! Pauses between reads, so that a job does not read more rows in a second than it may.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::domain::read_rate::ReadRate;

/// Limits the rows that a job reads in a second.
pub struct Paced {
    rate: Mutex<ReadRate>,
    began: Instant,
}

impl Paced {
    /// 0 means no limit.
    pub fn new(rows_per_second: u64) -> Self {
        Self { rate: Mutex::new(ReadRate::new(rows_per_second)), began: Instant::now() }
    }

    /// Pauses after this number of rows was read. Ends early if the job is to stop.
    pub async fn pause(&self, rows: usize, stop: &CancellationToken) {
        let pause = self.take(rows as u64);
        if !pause.is_zero() {
            let _ = tokio::time::timeout(pause, stop.cancelled()).await;
        }
    }

    fn take(&self, rows: u64) -> Duration {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        rate.pause(rows, self.began.elapsed())
    }
}
