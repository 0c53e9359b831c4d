//! Loads the files of a writer while processes are killed, or are stopped while another process takes over.

use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use scylla::value::CqlValue;

use crate::place::Place;
use crate::{stories, writer};

#[test]
fn no_row_mixes_two_records_of_a_writer() {
    let Some(place) = Place::of(writer::YAML) else { return };
    place.once(0);
    stories::play("writer on Cassandra", Duration::from_secs(10), 30, writer::acts(), |acts| {
        place.empty();
        writer::play(&place, acts, || rows(&place), |millis| two(&place, millis));
    });
}

fn rows(place: &Place) -> Vec<[String; 3]> {
    let text = |cell: Option<CqlValue>| cell.and_then(CqlValue::into_string).unwrap_or_default();
    let rows = place.rows("SELECT k, v, w FROM ks.t").into_iter();
    rows.map(|row| row.into_iter().map(text).collect::<Vec<_>>().try_into().unwrap()).collect()
}

/// The first process is stopped, loses its lease to the second one, and then sends what it still has.
fn two(place: &Place, millis: u64) {
    let run =
        || place.command(&["run", "--once"]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut first = run();
    std::thread::sleep(Duration::from_millis(millis * 10));
    signal(&first, Signal::STOP);
    run().wait().unwrap();
    signal(&first, Signal::CONT);
    first.wait().unwrap();
}

fn signal(process: &Child, signal: Signal) {
    let id = i32::try_from(process.id()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
}
