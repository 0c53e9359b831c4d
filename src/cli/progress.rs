//! How far a run is: a bar on a terminal, plain lines elsewhere.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::info;

use super::render::grouped;
use crate::pipeline::tally::Tally;

const BAR_EVERY: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows the progress of `work` until it ends.
pub async fn during<T>(tally: &Tally, expected: u64, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        never = show(tally, expected) => match never {},
    }
}

async fn show(tally: &Tally, expected: u64) -> Infallible {
    let bar = std::io::stderr().is_terminal().then(|| bar(expected));
    let mut ticks = tokio::time::interval(if bar.is_some() { BAR_EVERY } else { LINE_EVERY });
    ticks.tick().await;
    let mut before = 0;
    loop {
        ticks.tick().await;
        let (bytes, read) = (tally.bytes.load(Ordering::Relaxed), tally.read.load(Ordering::Relaxed));
        if let Some(bar) = &bar {
            bar.set_position(bytes);
            bar.set_message(format!("{} records", grouped(read)));
        } else {
            let rate = (read - before) / LINE_EVERY.as_secs();
            info!(
                "{} of {} read, {} records, {} records/s",
                mib(bytes),
                mib(expected),
                grouped(read),
                grouped(rate)
            );
            before = read;
        }
    }
}

fn mib(bytes: u64) -> bytesize::Display {
    bytesize::ByteSize(bytes).display().iec()
}

fn bar(expected: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(expected), ProgressDrawTarget::stderr());
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg} {eta} left";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}
