//! The progress of a run: a bar on a terminal, plain lines elsewhere.

use std::convert::Infallible;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::info;

use super::render::grouped;
use crate::pipeline::run_stats::RunStats;

const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The bar that is on the terminal now. Other output on the terminal must suspend it.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

fn shown() -> Option<ProgressBar> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Shows the progress of `work` until it ends.
pub async fn during<T>(stats: &RunStats, expected: u64, work: impl Future<Output = T>) -> T {
    let bar = io::stderr().is_terminal().then(|| bar(expected));
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&bar);
    let done = tokio::select! {
        done = work => done,
        never = show(stats, expected, bar.as_ref()) => match never {},
    };
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    done
}

async fn show(stats: &RunStats, expected: u64, bar: Option<&ProgressBar>) -> Infallible {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(if bar.is_some() { BAR_EVERY } else { LINE_EVERY });
    ticks.tick().await;
    loop {
        ticks.tick().await;
        let passed = stats.passed.load(Ordering::Relaxed).min(expected);
        let read = stats.read.load(Ordering::Relaxed);
        let rate = read * 1000 / u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        let rates = format!("{} records, {} records/s", grouped(read), grouped(rate));
        match bar {
            Some(bar) => {
                bar.set_position(passed);
                bar.set_message(rates);
            }
            None => info!("{} of {} read, {rates}", mib(passed), mib(expected)),
        }
    }
}

fn mib(bytes: u64) -> bytesize::Display {
    bytesize::ByteSize(bytes).display().iec()
}

fn bar(expected: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(expected), ProgressDrawTarget::stderr());
    let template = "{bar:30} {bytes} of {total_bytes}, {msg}, {eta} left";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// Writes to standard error and suspends the bar meanwhile, so that log lines do not tear it.
pub struct Beside;

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match shown() {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
