//! Laws 1, 2 and 6 over two feeds that share a table: whatever step ends a run, the next run leaves the same rows, receipts
//! and entries of each feed as a run without interruption.

use crate::place::Place;
use crate::steps::steps_by;
use crate::story::Story;
use crate::two_feeds::{PHASES, assert_order, assert_rows, drop_files, empty_inboxes, load, world};

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_run_of_two_feeds_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let Some(place) = Place::with_world(world()) else { return };
    drop_files(&place, PHASES[0]);
    load(&place);
    assert_order(&place);
    drop_files(&place, PHASES[1]);
    load(&place);
    assert_rows(&place);
    let clean = Story::of(&place);
    let last = [0, 1].map(|at| {
        let crashed = |step: &usize| {
            place.empty();
            empty_inboxes(&place);
            crashed(&place, at, *step, &clean)
        };
        steps_by(18).take_while(crashed).last().unwrap_or_default()
    });
    assert!(last[0] > 100 && last[1] > 60, "crash points are missing: {last:?}");
}

/// Plays both phases. The run of phase `at` aborts at `step`. Returns false if the run ended before that step.
fn crashed(place: &Place, at: usize, step: usize, clean: &Story) -> bool {
    for (n, phase) in PHASES.iter().enumerate() {
        drop_files(place, phase);
        if n == at && !place.aborts_at(step) {
            return false;
        }
        load(place);
    }
    Story::of(place).assert_is(clean, &format!("phase {at}, aborted at step {step}"));
    true
}
