//! Laws 1, 2 and 6 over two feeds: whatever step ends a run, the next run leaves the same rows, receipts and entries of each
//! feed as a run without interruption.

use std::collections::BTreeMap;

use rusqlite::types::Value;

use crate::common::{Rows, World};
use crate::two_feeds::{PHASES, assert_order, assert_rows, drop_files, load, world};

/// What must be the same whatever happened on the way, without ids and times. Two feeds are read at the same time, so either
/// delivery may have the collision of a key that both write.
const LEFT: [&str; 5] = [
    "SELECT path, generation, state, bytes, records, line, hash, loaded, skipped, quarantined, tail_bytes, parts,
       loaded + skipped + quarantined = records
     FROM _needledrop_deliveries ORDER BY path, generation",
    "SELECT path, generation, table_name, rows, refused
     FROM _needledrop_counts JOIN _needledrop_deliveries ON id = delivery ORDER BY path, generation, table_name",
    "SELECT table_name, sum(rows), sum(collisions) FROM _needledrop_counts GROUP BY table_name",
    "SELECT path, generation, record, q.line, q.bytes, column_name, reason, q.detail, raw, q.state
     FROM _needledrop_quarantine AS q JOIN _needledrop_deliveries ON id = delivery ORDER BY path, generation, record",
    // The order of all records.
    "SELECT path, generation, first FROM _needledrop_stamps JOIN _needledrop_deliveries ON id = delivery ORDER BY base",
];

const OVERLAPS: &str = "SELECT count(*) FROM _needledrop_stamps AS a, _needledrop_stamps AS b
    WHERE a.base < b.base AND a.base + 2 * a.records > b.base";

#[derive(Debug, PartialEq)]
struct Left {
    tables: BTreeMap<String, Rows>,
    ledger: [Vec<Vec<Value>>; LEFT.len()],
}

impl Left {
    fn by(world: &World) -> Self {
        assert_eq!(rows(world, OVERLAPS), [[Value::Integer(0)]], "ranges overlap");
        Self { tables: world.tables(), ledger: LEFT.map(|sql| rows(world, sql)) }
    }

    fn assert_is(&self, clean: &Self, what: &str) {
        assert_eq!(self.tables, clean.tables, "{what}");
        for (found, expected) in self.ledger.iter().zip(&clean.ledger) {
            assert_eq!(found, expected, "{what}");
        }
    }
}

fn rows(world: &World, sql: &str) -> Vec<Vec<Value>> {
    let store = world.open_store();
    let mut statement = store.prepare(sql).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| (0..width).map(|at| row.get(at)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_run_of_two_feeds_that_ends_at_any_durable_step_is_completed_by_the_next() {
    let clean = world();
    drop_files(&clean, PHASES[0]);
    load(&clean);
    assert_order(&clean);
    drop_files(&clean, PHASES[1]);
    load(&clean);
    assert_rows(&clean);
    let clean = Left::by(&clean);
    let last = [0, 1].map(|at| (1..).take_while(|step| crashed(at, *step, &clean)).last().unwrap_or(0));
    assert!(last[0] > 15 && last[1] > 10, "crash points are missing: {last:?}");
}

/// Plays both phases. The run of phase `at` aborts at `step`. Returns false if the run ended before that step.
fn crashed(at: usize, step: usize, clean: &Left) -> bool {
    let world = world();
    for (n, phase) in PHASES.iter().enumerate() {
        drop_files(&world, phase);
        if n == at && !aborts(&world, step) {
            return false;
        }
        load(&world);
    }
    Left::by(&world).assert_is(clean, &format!("phase {at}, aborted at step {step}"));
    true
}

fn aborts(world: &World, step: usize) -> bool {
    let mut run = world.command(&["run", "--once"]);
    let run = run.env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code().is_none(), told.contains("aborting at step"), "{told}");
    run.status.code().is_none()
}
