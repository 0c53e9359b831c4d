//! Tests of `needledrop undo`: rows are as if the delivery had never been, and what other programs wrote stays.

use std::fs;
use std::ops::Deref;
use std::time::Duration;

use proptest::prelude::*;
use scylla::value::CqlValue;
use serde_json::{Value as Json, json};

use crate::common::{Rows, World};
use crate::place::{Place, text};
use crate::steps::steps;
use crate::stories;
use crate::undo_model::{self, Line, Model, Subject};

/// Two tables with different keys and different rules for empty values.
pub const YAML: &str = "source:\n  folder: inbox\n  tail_after: 1h\n  columns: { k: int, v: text, w: text }\n\
                        tables:\n  t: { partition_key: [k], columns: [v, w] }\n  \
                        u: { partition_key: [v], clustering_key: [k], columns: [w], empty: clear }\n";

/// A place with three files. The records of `2.csv` are before, between and after those of the others.
fn loaded() -> Option<Place> {
    let place = Place::of(YAML)?;
    place.drop_file("1.csv", "k,v,w\n1,a,A\n2,b,B\n3,c,C\n");
    place.drop_file("2.csv", "k,v,w\n2,x,\n3,c,Z\n4,d,D\n4,d,E\n");
    place.drop_file("3.csv", "k,v,w\n3,c,\n5,e,E\nx,y,z\n4,d,\n");
    place.once(1);
    Some(place)
}

fn verified(place: &Place) {
    let output = place.run(&["verify", "--json"]);
    assert_eq!(output.code, 0, "{output:?}");
}

/// Returns the cells of a row as text.
fn line(row: &[Option<CqlValue>]) -> String {
    let cell = |cell: &Option<CqlValue>| match cell {
        Some(CqlValue::Text(text)) => text.clone(),
        Some(CqlValue::Int(n)) => n.to_string(),
        Some(other) => format!("{other:?}"),
        None => "-".to_owned(),
    };
    row.iter().map(cell).collect::<Vec<_>>().join(" ")
}

pub fn rows(place: &Place, cql: &str) -> Vec<String> {
    let mut rows: Vec<String> = place.rows(cql).iter().map(|row| line(row)).collect();
    rows.sort();
    rows
}

const T: &str = "SELECT k, v, w FROM ks.t";
const U: &str = "SELECT v, k, w FROM ks.u";
const N: &str = "SELECT k, v, w FROM ks.n";

#[test]
fn values_of_other_files_come_back() {
    let Some(place) = loaded() else { return };
    let before = place.dump();
    let dry = place.json(&["undo", "2.csv", "--dry-run"]);
    assert_eq!(place.dump(), before, "a dry run changes nothing");
    let done = place.json(&["undo", "2.csv"]);
    assert_eq!(done["tables"], dry["tables"]);
    let counts =
        |table: &str| ["removed", "restored"].map(|what| done["tables"][table][what].as_u64().unwrap());
    assert_eq!((counts("t"), counts("u")), ([0, 3], [1, 0]));
    assert_eq!(rows(&place, T), ["1 a A", "2 b B", "3 c C", "4 d -", "5 e E"]);
    assert_eq!(rows(&place, U), ["a 1 A", "b 2 B", "c 3 -", "d 4 -", "e 5 E"]);
    let receipt = place.receipt("2.csv");
    assert_eq!((&receipt["state"], &receipt["loaded"]), (&json!("undone"), &json!(4)));
    assert_eq!(place.json(&["status"])["states"], json!({ "loaded": 2, "undone": 1 }));
    verified(&place);
    let again = place.json(&["undo", "2.csv"]);
    assert_eq!(again["was_undone"], true);
    place.json(&["undo", "3.csv"]);
    assert_eq!(place.receipt("3.csv")["quarantine"], json!({ "open": 0, "replayed": 0, "discarded": 1 }));
    place.json(&["undo", "1.csv"]);
    assert_eq!((rows(&place, T), rows(&place, U)), (vec![], vec![]));
    place.json(&["load", "--again", "2.csv"]);
    assert_eq!(rows(&place, T), ["2 x -", "3 c Z", "4 d E"]);
    verified(&place);
}

/// Cells that other programs wrote keep their values and the rest of their time to live, through several undos.
#[test]
fn values_of_other_programs_stay() {
    let Some(place) = loaded() else { return };
    place.cql("UPDATE ks.t USING TTL 1000 SET w = 'mine' WHERE k = 4");
    place.cql("UPDATE ks.t SET v = 'mine' WHERE k = 5");
    place.cql("DELETE w FROM ks.t WHERE k = 1");
    place.cql("DELETE FROM ks.t WHERE k = 2");
    place.cql("INSERT INTO ks.t (k, v) VALUES (9, 'mine')");
    place.json(&["undo", "2.csv"]);
    assert_eq!(rows(&place, T), ["1 a -", "3 c C", "4 d mine", "5 mine E", "9 mine -"]);
    place.json(&["undo", "3.csv"]);
    assert_eq!(rows(&place, T), ["1 a -", "3 c C", "4 - mine", "5 mine -", "9 mine -"]);
    let left = place.rows("SELECT TTL(w) FROM ks.t WHERE k = 4");
    let left = left[0][0].as_ref().unwrap().as_int().unwrap();
    assert!((900..=1000).contains(&left), "{left}");
    // The row of 4 was deleted, and its value of another program written again. It still is one of another program.
    place.json(&["load", "--again", "2.csv"]);
    place.json(&["undo", "2.csv", "--generation", "2"]);
    // What another program deleted comes back where the undone file had written it again.
    assert_eq!(rows(&place, T), ["1 a -", "2 b -", "3 c C", "5 mine -", "9 mine -"], "2.csv wrote over 4");
}

#[test]
fn values_of_every_type_come_back() {
    let columns = "day: date, t: text, big: bigint, f: float, d: double, dec: decimal, b: boolean, at: timestamp, \
                   time: time, id: uuid, tid: timeuuid, raw: blob, ip: inet, n: varint, s: smallint, y: tinyint, \
                   l: \"list<text>\", m: \"map<text, int>\", e: \"set<int>\"";
    let names = "day,t,big,f,d,dec,b,at,time,id,tid,raw,ip,n,s,y,l,m,e";
    let yaml = format!(
        "source:\n  folder: inbox\n  columns: {{ k: int, {columns} }}\ntables:\n  t: {{ partition_key: [k], columns: \
         [{names}] }}\n  o: {{ partition_key: [k], clustering_key: [day, dec, at, id, raw, ip, n] }}\n"
    );
    let Some(place) = Place::of(&yaml) else { return };
    let one = "2024-01-01,x,9000000000,0.1,1e300,1.50,true,2024-01-01T00:00:00.5Z,12:30:00.25,\
               7f2c0f62-3a3c-4a89-9a5d-0d1b6f0f4a11,7f2c0f62-3a3c-1a89-9a5d-0d1b6f0f4a11,0x00ff,::1,\
               123456789012345678901,-3,7,\"[\"\"a\"\",\"\"b\"\"]\",\"{\"\"x\"\":1}\",\"[2,1]\"";
    let two = "1969-12-31,,-1,-0.0,0,2.5,false,1969-12-31T00:00:00Z,00:00:00,\
               7f2c0f62-3a3c-4a89-9a5d-0d1b6f0f4a12,7f2c0f62-3a3c-1a89-9a5d-0d1b6f0f4a12,0x,10.0.0.1,-5,3,-7,[],{},[]";
    place.drop_file("1.csv", format!("k,{names}\n1,{one}\n"));
    place.once(0);
    let before = place.tables();
    place.drop_file("2.csv", format!("k,{names}\n1,{two}\n2,{two}\n"));
    place.once(0);
    place.json(&["undo", "2.csv"]);
    assert_eq!(place.tables(), before);
    verified(&place);
}

/// A table whose rows expire: what comes back has the rest of its own time.
#[test]
fn a_value_that_comes_back_expires_when_it_would_have() {
    let yaml = "source:\n  folder: inbox\n  columns: { k: int, v: text, w: text }\ntables:\n  \
                t: { partition_key: [k], columns: [v, w], options: { default_time_to_live: 1000 } }\n";
    let Some(place) = Place::of(yaml) else { return };
    place.drop_file("1.csv", "k,v,w\n1,a,A\n");
    place.once(0);
    std::thread::sleep(std::time::Duration::from_secs(3));
    place.drop_file("2.csv", "k,v,w\n1,b,B\n");
    place.once(0);
    place.json(&["undo", "2.csv"]);
    assert_eq!(rows(&place, T), ["1 a A"]);
    let left = place.rows("SELECT TTL(v) FROM ks.t")[0][0].as_ref().unwrap().as_int().unwrap();
    assert!((900..=997).contains(&left), "{left}");
}

/// The lifetime of a table may be set after its rows were written. These do not expire then.
#[test]
fn rows_that_are_older_than_the_lifetime_of_their_table_stay() {
    let Some(place) = loaded() else { return };
    place.cql("ALTER TABLE ks.t WITH default_time_to_live = 1");
    std::thread::sleep(Duration::from_secs(2));
    place.json(&["undo", "2.csv"]);
    assert_eq!(rows(&place, T), ["1 a A", "2 b B", "3 c C", "4 d -", "5 e E"]);
    place.cql("UPDATE ks.t USING TTL 0 SET w = 'wrong' WHERE k = 1");
    let repaired = place.json(&["verify", "--repair"]);
    assert_eq!(repaired["tables"][0]["repaired"], 1, "{repaired}");
    assert_eq!(rows(&place, "SELECT w, TTL(w) FROM ks.t WHERE k = 1"), ["A -"]);
}

/// A repair cannot change what has a later write time, and says so.
#[test]
fn a_repair_counts_only_rows_that_it_can_change() {
    let Some(place) = loaded() else { return };
    assert_eq!(place.json(&["verify", "--repair"])["tables"][0]["repaired"], 0);
    let noted = place.rows("SELECT stamp FROM ks.needledrop_corrections").len();
    assert_eq!(noted, 0, "nothing was wrong");
    let tomorrow = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24)).as_microsecond();
    place.cql(&format!("UPDATE ks.t USING TIMESTAMP {tomorrow} SET v = 'future' WHERE k = 1"));
    place.cql(&format!("INSERT INTO ks.t (k, v) VALUES (9, 'future') USING TIMESTAMP {tomorrow}"));
    let beaten = place.run(&["verify", "--repair", "--json"]);
    assert_eq!((beaten.code, &beaten.json()["tables"][0]["repaired"]), (1, &json!(0)), "{beaten:?}");
}

/// The file of an interrupted undo is overwritten, and the configuration changes.
#[test]
fn an_interrupted_undo_is_completed_without_its_file() {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(place) = loaded() else { return };
    for step in 1..12 {
        let killed = place.command(&["undo", "2.csv"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        assert!(killed.unwrap().status.code().is_none());
        if place.json(&["status"])["states"]["undone"] == 1 {
            break;
        }
    }
    assert_eq!(place.json(&["status"])["interrupted_undos"], json!(["2.csv"]));
    place.drop_file("2.csv", "k,v,w\n7,g,G\n");
    place.once(0);
    let refused = place.run(&["undo", "2.csv", "--generation", "1"]);
    assert!(
        refused.code == 1 && refused.stderr.contains("--force"),
        "a cleared cell has no write time: {refused:?}"
    );
    let completed = place.json(&["undo", "2.csv", "--generation", "1", "--force"]);
    assert_eq!(completed["was_undone"], false);
    assert_eq!(rows(&place, T), ["1 a A", "2 b B", "3 c C", "4 d -", "5 e E", "7 g G"]);
    assert_eq!(place.json(&["status"])["interrupted_undos"], json!([]));
}

/// Every row of a partition goes: one tombstone takes the place of one for each row.
#[test]
fn a_partition_of_which_nothing_stays_is_deleted_as_a_whole() {
    let yaml = "source:\n  folder: inbox\n  columns: { p: int, c: int, v: text }\ntables:\n  \
                t: { partition_key: [p], clustering_key: [c], columns: [v] }\n";
    let Some(place) = Place::of(yaml) else { return };
    let lines: String = (0..3000).map(|c| format!("{},{c},x\n", c / 1000)).collect();
    place.drop_file("1.csv", format!("p,c,v\n{lines}"));
    place.once(0);
    place.cql("INSERT INTO ks.t (p, c, v) VALUES (2, 5000, 'mine')");
    let done = place.json(&["undo", "1.csv"]);
    assert_eq!(done["tables"]["t"]["removed"], 3000);
    assert_eq!(rows(&place, "SELECT p, c, v FROM ks.t"), ["2 5000 mine"]);
    let tombstones = |p: u32| {
        let steps = place.traced(&format!("SELECT * FROM ks.t WHERE p = {p}"));
        let read = steps.iter().find_map(|step| step.strip_prefix("Read ")).unwrap_or_default().to_owned();
        read.split(" and ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok()).unwrap_or(0)
    };
    assert!(tombstones(0) <= 1 && tombstones(2) == 1000, "{} {}", tombstones(0), tombstones(2));
}

#[test]
fn what_cannot_be_undone_is_refused_with_the_next_step() {
    let Some(place) = loaded() else { return };
    let before = place.dump();
    fs::rename(place.inbox().join("1.csv"), place.path("1.csv")).unwrap();
    let refused = place.run(&["undo", "2.csv"]);
    assert!(refused.code == 1 && refused.stderr.contains("1.csv, generation 1"), "{refused:?}");
    let refused = place.run(&["undo", "1.csv"]);
    assert!(refused.code == 1 && refused.stderr.contains("1.csv, generation 1"), "its own file: {refused:?}");
    assert_eq!(place.dump(), before);
    // What rows show of the file that is gone stays. What is under the undone values is lost.
    let forced = place.json(&["undo", "2.csv", "--force"]);
    assert_eq!(forced["lost"][0]["file"], "1.csv");
    assert_eq!(rows(&place, T), ["1 a A", "2 - B", "3 c -", "4 d -", "5 e E"]);
    fs::rename(place.path("1.csv"), place.inbox().join("1.csv")).unwrap();
    place.cql("ALTER TABLE ks.t WITH gc_grace_seconds = 0");
    let refused = place.run(&["undo", "3.csv"]);
    assert!(refused.code == 2 && refused.stderr.contains("gc_grace_seconds = 0"), "{refused:?}");
}

/// A repaired cell has lost the stamp of its record. An undo still knows whose it is.
#[test]
fn rows_that_were_repaired_are_taken_back() {
    let Some(place) = loaded() else { return };
    place.cql("DELETE FROM ks.t WHERE k = 4");
    place.cql("UPDATE ks.t SET v = 'wrong', w = null WHERE k = 2");
    place.cql("INSERT INTO ks.u (v, k) VALUES ('extra', 9)");
    let repaired = place.json(&["verify", "--repair"]);
    assert_eq!(repaired["tables"][0]["repaired"], 2, "{repaired}");
    assert_eq!(rows(&place, T), ["1 a A", "2 x B", "3 c Z", "4 d E", "5 e E"]);
    place.json(&["undo", "2.csv"]);
    assert_eq!(rows(&place, T), ["1 a A", "2 b B", "3 c C", "4 d -", "5 e E"]);
    assert_eq!(rows(&place, U), ["a 1 A", "b 2 B", "c 3 -", "d 4 -", "e 5 E"]);
    verified(&place);
}

#[test]
fn the_rows_of_a_file_that_is_gone_are_found_by_their_write_times() {
    let yaml = YAML.split("  u: {").next().unwrap();
    let Some(place) = Place::of(yaml) else { return };
    place.drop_file("1.csv", "k,v,w\n1,a,A\n2,b,B\n3,c,C\n");
    let lines: String = (100..3100).map(|k| format!("{k},x,y\n")).collect();
    place.drop_file("2.csv", format!("k,v,w\n2,x,\n3,c,Z\n4,d,D\n{lines}"));
    place.once(0);
    place.drop_file("3.csv", "k,v,w\n3,c,\n4,d,\n");
    place.once(0);
    fs::remove_file(place.inbox().join("2.csv")).unwrap();
    let done = place.json(&["undo", "2.csv"]);
    assert_eq!(done["tables"]["t"]["removed"], 3000);
    assert_eq!(rows(&place, T), ["1 a A", "2 b B", "3 c C", "4 d -"]);
    verified(&place);
}

/// Records that are older than an undo get their place in the order, although deletes and restored values of the undo have
/// later write times.
#[test]
fn records_older_than_an_undo_are_replayed_and_backfilled_in_their_place() {
    let Some(mut place) = Place::of(YAML) else { return };
    place.drop_file("1.csv", "k,v,w\n1,a,A\n2,b,B\n5,e,E\n");
    place.drop_file("2.csv", "k,v,w\n2,old\n3,old\n4,old\n5,old\n1,x,\n");
    place.drop_file("3.csv", "k,v,w\n2,new,\n4,new,N\n9,z,Z\n");
    place.drop_file("4.csv", "k,v,w\n5,last,\n6,f,F\n");
    place.once(1);
    place.json(&["undo", "3.csv"]);
    assert_eq!(rows(&place, T), ["1 x A", "2 b B", "5 last E", "6 f F"]);
    // A file that grows continues after the undo.
    place.append("4.csv", "6,f,after\n");
    place.once(0);
    assert_eq!(place.receipt("4.csv")["stamps"].as_array().unwrap().len(), 2);
    verified(&place);
    place.cql("UPDATE ks.t SET w = 'mine' WHERE k = 3");
    place.set("source.format", "{ missing_fields: pad }");
    place.json(&["quarantine", "replay"]);
    assert_eq!(rows(&place, T), ["1 x A", "2 old B", "3 old mine", "4 old -", "5 last E", "6 f after"]);
    assert_eq!(rows(&place, "SELECT v, k FROM ks.u WHERE v = 'old'"), ["old 2", "old 3", "old 4", "old 5"]);
    place.cql("DELETE w FROM ks.t WHERE k = 3");
    verified(&place);
    // The table is behind by all files, which are older than the undo.
    place.json(&["undo", "4.csv", "--force"]);
    let clears = YAML.replace("columns: [v, w] }", "columns: [v, w], empty: clear }");
    fs::write(place.path("config.yaml"), clears).unwrap();
    place.json(&["load", "--table", "t"]);
    assert_eq!(rows(&place, T), ["1 x -", "2 old -", "3 old -", "4 old -", "5 old -"]);
    verified(&place);
}

/// A process that is killed at any durable step of an undo leaves what the next undo completes.
#[test]
fn an_undo_that_is_killed_is_completed_by_the_next_one() {
    if !cfg!(debug_assertions) {
        return;
    }
    let Some(place) = loaded() else { return };
    for step in steps() {
        let undo =
            place.command(&["undo", "2.csv"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output().unwrap();
        let was_killed = undo.status.code().is_none();
        let is_open = !place.rows("SELECT state FROM ks.needledrop_corrections").is_empty();
        let status = place.json(&["status"]);
        if was_killed && is_open && status["states"]["undone"] == 1 {
            let settled = text(place.rows("SELECT state FROM ks.needledrop_corrections")[0][0].clone());
            let told = if settled == "open" { json!(["2.csv"]) } else { json!([]) };
            assert_eq!(status["interrupted_undos"], told, "step {step}");
            // Loading may go on before the undo is completed.
            let run = place.run(&["run", "--once"]);
            assert_eq!(run.stderr.contains("its undo was interrupted"), settled == "open", "{run:?}");
        }
        let found = place.json(&["undo", "2.csv"]);
        assert_eq!(rows(&place, T), ["1 a A", "2 b B", "3 c C", "4 d -", "5 e E"], "step {step}: {found}");
        assert_eq!(rows(&place, U), ["a 1 A", "b 2 B", "c 3 -", "d 4 -", "e 5 E"], "step {step}");
        let open = place.rows("SELECT state FROM ks.needledrop_corrections");
        assert!(open.iter().all(|row| row[0].as_ref().unwrap().as_text().unwrap() == "settled"), "{open:?}");
        let receipt: Json = place.receipt("2.csv");
        assert_eq!(receipt["state"], "undone");
        verified(&place);
        place.empty();
        if !was_killed {
            return;
        }
        place.drop_file("1.csv", "k,v,w\n1,a,A\n2,b,B\n3,c,C\n");
        place.drop_file("2.csv", "k,v,w\n2,x,\n3,c,Z\n4,d,D\n4,d,E\n");
        place.drop_file("3.csv", "k,v,w\n3,c,\n5,e,E\nx,y,z\n4,d,\n");
        place.once(1);
    }
}

/// A place whose store the model reads with CQL.
pub struct InCassandra<'p>(pub &'p Place);

impl Deref for InCassandra<'_> {
    type Target = World;

    fn deref(&self) -> &World {
        self.0
    }
}

fn whole(cell: &Option<CqlValue>) -> i64 {
    match cell {
        Some(CqlValue::BigInt(n)) => *n,
        Some(CqlValue::Int(n)) => i64::from(*n),
        _ => 0,
    }
}

fn ranges(cell: &Option<CqlValue>) -> Vec<(i64, i64, i64)> {
    let Some(CqlValue::List(ranges)) = cell else { return Vec::new() };
    let range = |range: &CqlValue| match range {
        CqlValue::Tuple(of) => (whole(&of[0]), whole(&of[1]), whole(&of[2])),
        other => panic!("{other:?} is no range"),
    };
    ranges.iter().map(range).collect()
}

impl Subject for InCassandra<'_> {
    fn deliveries(&self) -> Vec<Line> {
        if !self.0.names().contains(&"needledrop_deliveries".to_owned()) {
            return Vec::new();
        }
        let found = self.0.valid_deliveries("path, generation, state, bytes, records, loaded, stamps");
        let line = |row: Vec<Option<CqlValue>>| Line {
            file: text(row[0].clone()),
            generation: u32::try_from(whole(&row[1])).unwrap(),
            state: text(row[2].clone()),
            bytes: u64::try_from(whole(&row[3])).unwrap(),
            records: whole(&row[4]),
            loaded: whole(&row[5]),
            stamps: ranges(&row[6]),
        };
        let mut lines: Vec<Line> = found.into_iter().map(line).collect();
        lines.sort_by_key(|line| line.stamps.first().map(|(_, base, _)| *base));
        lines
    }

    fn contents(&self) -> [Rows; 3] {
        let cell = |cell: Option<CqlValue>| match cell {
            None => Json::Null,
            Some(CqlValue::Int(n)) => json!(n),
            other => json!(text(other)),
        };
        [T, U, N].map(|cql| {
            let rows = self.0.try_cql(cql).unwrap_or_default().into_iter();
            let mut rows: Rows = rows.map(|row| row.columns.into_iter().map(cell).collect()).collect();
            rows.sort_by_key(|row| format!("{} {}", row[0], row[1]));
            rows.sort_by_key(|row| row[0].to_string());
            rows
        })
    }

    /// Collisions with other deliveries are not counted.
    fn counted(&self) -> Vec<(usize, usize)> {
        Vec::new()
    }

    fn spoil(&self, statement: &str) {
        let statement = ["t", "n"].into_iter().fold(statement.to_owned(), |cql, table| {
            cql.replace(&format!("UPDATE {table} "), &format!("UPDATE ks.{table} "))
                .replace(&format!("FROM {table} "), &format!("FROM ks.{table} "))
                .replace(&format!("TABLE {table}"), &format!("TABLE ks.{table}"))
        });
        // The table may not exist yet.
        let _ = self.0.try_cql(&statement);
    }
}

/// In any order of loads, growth, new generations, undos and kills, the tables have what the deliveries that count give.
#[test]
fn the_tables_are_as_if_undone_deliveries_had_never_been() {
    let Some(place) = Place::of(&format!("{YAML}{}", undo_model::NEWEST)) else { return };
    place.once(0);
    let acts = prop::collection::vec(undo_model::act(), 4..12);
    stories::play("undo in Cassandra", Duration::from_secs(10), 20, acts, |acts| {
        place.empty();
        Model::new(InCassandra(&place), true).tell(acts);
    });
}
