//! Tests of how rows are sent: a limited number of requests at a time, the rows of a partition together, and no
//! faster than configured.

use std::time::{Duration, Instant};

use crate::common::{Daemon, HEADER, events, until};
use crate::place::Place;

const FILE: &str = "2018-11-01-events.csv";

/// Returns the number of requests and the number of rows over all tables, from `needledrop_batch_rows`.
fn batches(daemon: &Daemon) -> (f64, f64) {
    let metrics = daemon.metrics();
    let all = |part: &str| -> f64 {
        let own =
            metrics.iter().filter(|(name, _)| name.starts_with(&format!("needledrop_batch_rows_{part}{{")));
        own.map(|(_, value)| value).sum()
    };
    (all("count"), all("sum"))
}

fn until_loaded(place: &Place) {
    until("it is loaded", || (place.states().get(FILE)? == "loaded").then_some(()));
}

#[test]
fn requests_in_flight_reach_their_limit_and_do_not_exceed_it() {
    let Some(place) = Place::new() else { return };
    let settings = [("write.in_flight", "3"), ("write.batch_rows", "1"), ("source.settle", "100ms")];
    let place = settings.into_iter().fold(place, |place, (setting, value)| place.with(setting, value));
    let daemon = place.daemon();
    place.drop_file(FILE, format!("{HEADER}{}", events(0..2000)));
    let mut most = 0.0_f64;
    until("it is loaded", || {
        most = most.max(daemon.metrics().get("needledrop_requests_in_flight").copied().unwrap_or(0.0));
        daemon.log().contains("INFO loaded").then_some(())
    });
    assert_eq!(most, 3.0);
    assert_eq!(daemon.metrics()["needledrop_requests_in_flight"], 0.0);
    // A scrape may lose a sample of a histogram that is recorded at the same moment (`AtomicBucket::clear_with`).
    let (requests, rows) = batches(&daemon);
    assert_eq!(requests, rows, "single rows");
    assert!(requests > 5_900.0, "{requests}");
}

/// All rows of two tables belong to one session, so they share partitions there.
#[test]
fn rows_of_a_partition_are_sent_together_up_to_the_limits() {
    let Some(mut place) = Place::new() else { return };
    place.set("source.settle", "100ms");
    place.set("write.batch_rows", "50");
    for (bytes, requests) in [("64KiB", 20.0 + 20.0 + 1000.0), ("1B", 3000.0)] {
        place.set("write.batch_bytes", bytes);
        let mut daemon = place.daemon();
        place.drop_file(FILE, format!("{HEADER}{}", events(0..1000)));
        until_loaded(&place);
        assert_eq!(batches(&daemon), (requests, 3000.0), "{bytes}");
        assert_eq!(daemon.stop().0, 0);
        place.empty();
    }
}

#[test]
fn rows_are_sent_no_faster_than_the_limit() {
    let Some(place) = Place::new() else { return };
    let place = place.with("write.rows_per_second", "1000");
    assert_eq!(place.run(&["schema", "--apply"]).code, 0);
    place.drop_file(FILE, format!("{HEADER}{}", events(0..1000)));
    let began = Instant::now();
    place.once(0);
    // The last batch waits until the time for the batches before it has passed.
    assert!(began.elapsed() > Duration::from_millis(2800), "3,000 rows in {:?}", began.elapsed());
}
