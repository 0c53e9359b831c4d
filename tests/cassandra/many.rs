//! Tests of many small files: discovery, writing and the ledger wait for each other without a deadlock.

use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::HEADER;
use crate::place::Place;

const FILES: u64 = 600;

/// A load takes seconds. This is enough even if other tests run at the same time.
const LONGEST: Duration = Duration::from_secs(120);

/// Keeps a core busy until `ends` is set. On a busy machine, tasks wait for each other in another order.
fn busy(ends: &Arc<AtomicBool>) {
    let ends = Arc::clone(ends);
    let spin = move || while !ends.load(Ordering::Relaxed) {};
    std::thread::Builder::new().spawn(spin).unwrap();
}

/// Returns the exit status, or `None` if the process had to be killed.
fn ended(mut run: Child) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < LONGEST {
        if let Some(status) = run.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    run.kill().and_then(|()| run.wait()).unwrap();
    None
}

#[test]
fn many_small_files_on_a_busy_machine_are_loaded_to_the_last() {
    let Some(place) = Place::new() else { return };
    for number in 0..FILES {
        let record = |item| format!("A,F,F,{item},L,1.5,free,X,{number},S,1\n");
        place.drop_file(&format!("{number:04}.csv"), format!("{HEADER}{}{}", record(0), record(1)));
    }
    let ends = Arc::new(AtomicBool::new(false));
    (0..2).for_each(|_| busy(&ends));
    // A line for each file would hide the output of other tests.
    let mut run = place.command(&["run", "--once"]);
    let ended = ended(run.env("NEEDLEDROP_LOG__LEVEL", "warn").spawn().unwrap());
    ends.store(true, Ordering::Relaxed);
    assert_eq!(ended.and_then(|status| status.code()), Some(0), "it hangs, or it failed");
    let status = place.json(&["status"]);
    assert_eq!(status["states"]["loaded"], FILES, "{status}");
}
