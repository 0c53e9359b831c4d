//! Tests that `needledrop verify` finds rows that cqlsh changed at the wall clock.

use serde_json::{Value as Json, json};

use crate::common::until;
use crate::place::Place;

const YAML: &str = "source:\n  folder: inbox\n  columns: { k: int, day: date, t: text, big: bigint, f: float, d: double, \
    dec: decimal, b: boolean, at: timestamp, time: time, id: uuid, raw: blob, ip: inet, n: varint, l: \"list<text>\", \
    m: \"map<text, int>\" }\ntables:\n  \
    t: { partition_key: [k], columns: [day, t, big, f, d, dec, b, at, time, id, raw, ip, n, l, m] }\n  \
    u: { partition_key: [day], clustering_key: [{ column: dec, order: desc }, f, raw], columns: [t, b], static: [t] }\n";

const HEADER: &str = "k,day,t,big,f,d,dec,b,at,time,id,raw,ip,n,l,m\n";

fn verified(place: &Place, code: i32) -> Json {
    let output = place.run(&["verify", "--json"]);
    assert_eq!(output.code, code, "{output:?}");
    output.json()
}

fn counts(verified: &Json, table: usize) -> [u64; 4] {
    ["rows", "missing", "different", "extra"].map(|what| verified["tables"][table][what].as_u64().unwrap())
}

#[test]
fn rows_changed_by_cqlsh_are_found() {
    let Some(place) = Place::of(YAML) else { return };
    let values = "x,9000000000,0.1,1e300,1.50,true,2024-01-01T00:00:00.5Z,12:30:00.25,\
                  7f2c0f62-3a3c-4a89-9a5d-0d1b6f0f4a11,0x00ff,::1,123456789012345678901,\"[\"\"a\"\",\"\"b\"\"]\",\"{\"\"x\"\":1}\"";
    place.drop_file(
        "1.csv",
        format!(
            "{HEADER}1,2024-01-01,{values}\n2,1969-12-31,{values}\n2,2024-01-01,other,,-0.0,,2,,,,,0x,,,,\n"
        ),
    );
    place.drop_file("2.csv", format!("{HEADER}3,2024-01-01,static,,0.1,,1.5,,,,,0x00ff,,,,\n"));
    place.once(0);
    let found = verified(&place, 0);
    assert_eq!(
        (counts(&found, 0), counts(&found, 1)[1..].to_vec()),
        ([3, 0, 0, 0], vec![0, 0, 0]),
        "{found}"
    );
    place.cql("DELETE FROM ks.t WHERE k = 3");
    place.cql("UPDATE ks.t SET big = 5, l = null WHERE k = 2");
    place.cql("INSERT INTO ks.t (k, t) VALUES (9, 'mine')");
    let found = verified(&place, 1);
    assert_eq!(counts(&found, 0), [3, 1, 1, 1]);
    let examples = found["tables"][0]["examples"].as_array().unwrap();
    let mut told: Vec<Json> =
        examples.iter().map(|example| json!([example["file"], example["line"]])).collect();
    told.sort_by_key(Json::to_string);
    assert_eq!(told, [json!(["1.csv", 4]), json!(["2.csv", 2]), json!([null, null])]);
    let refused = place.run(&["verify", "--repair"]);
    assert!(refused.code == 2 && refused.stderr.contains("table u has static columns"), "{refused:?}");
    let repaired = place.json(&["verify", "t", "--repair"]);
    assert_eq!((counts(&repaired, 0), &repaired["tables"][0]["repaired"]), ([3, 1, 1, 1], &json!(3)));
    verified(&place, 0);
}

#[test]
fn a_sample_reports_no_row_that_is_right_and_the_daemon_keeps_its_result() {
    let yaml = "source:\n  folder: inbox\n  columns: { k: int, d: double, t: text }\ntables:\n  \
                t: { partition_key: [k], columns: [t] }\n  u: { partition_key: [d, t], clustering_key: [k] }\n";
    let Some(place) = Place::of(yaml) else { return };
    let rows: String = (0..2000).map(|k| format!("{k},-{}.5,t{k}\n", k % 10)).collect();
    place.drop_file("1.csv", format!("k,d,t\n{rows}"));
    place.once(0);
    let sample = |code: i32| {
        let output = place.run(&["verify", "--sample", "25%", "--rate", "1000000", "--json"]);
        assert_eq!(output.code, code, "{output:?}");
        output.json()
    };
    let right = sample(0);
    for table in [0, 1] {
        let [rows, wrong @ ..] = counts(&right, table);
        // 500 rows are expected, with a standard deviation of 19.
        assert!((350..650).contains(&rows) && wrong == [0, 0, 0], "{right}");
    }
    for k in 0..40 {
        place.cql(&format!("UPDATE ks.t SET t = 'other' WHERE k = {k}"));
    }
    let different = counts(&sample(1), 0)[2];
    assert!((1..40).contains(&different), "{different}");
    let place = place.with("verify.sample", "100%");
    let mut daemon = place.daemon();
    let found = "verify_wrong_rows{table=\"t\",kind=\"different\"}";
    until("the daemon has verified", || (daemon.metric(found) == 40.0).then_some(()));
    assert_eq!(daemon.stop().0, 0);
    assert_eq!(place.json(&["status"])["verified"]["tables"][0]["different"], 40);
}
