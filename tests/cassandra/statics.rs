//! Columns that a partition has once, under a last record without line end: what that record did to them is
//! taken back with it.

use crate::place::{Dump, Place};

const CONFIGURATION: &str = r#"
source:
  columns: { owner: text, seq: int, device: text }
  skip_when_empty: []
tables:
  readings: { partition_key: [device], clustering_key: [seq], columns: [owner], static: [owner] }
"#;

const FILES: [&str; 3] = ["2018-11-01.csv", "2018-11-02.csv", "2018-11-03.csv"];

/// What lies in the files first, and what the first of them grows by. `d1` becomes `d12`.
const CASES: [(&str, [&str; 3], &str); 6] = [
    ("a partition that nobody else has", ["Ann,1,d1", "", ""], "2\n"),
    ("one of a record before it", ["Bob,1,d1\nAnn,2,d1", "", ""], "2\n"),
    ("its very row", ["Bob,1,d1\nAnn,1,d1", "", ""], "2\n"),
    ("one of a file behind it", ["Ann,1,d1", "Bob,2,d1\n", ""], "2\n"),
    ("one of another such record", ["Ann,1,d1", "Bob,2,d1", ""], "2\n"),
    ("one of a record between them that says nothing", ["Ann,1,d1", ",2,d1\n", "Bob,3,d1"], "2\n"),
];

/// Drops the files one after the other, grows the first, and ends with what is in the tables.
fn grown(place: &Place, files: [&str; 3], growth: &str) -> Dump {
    for (name, bytes) in FILES.iter().zip(files).filter(|(_, bytes)| !bytes.is_empty()) {
        place.drop_file(name, format!("owner,seq,device\n{bytes}"));
        place.once(0);
    }
    place.append(FILES[0], growth);
    place.once(0);
    let found = place.tables();
    place.empty();
    found
}

#[test]
fn what_a_provisional_record_did_to_static_columns_is_taken_back() {
    let Some(place) = Place::of(CONFIGURATION) else { return };
    for (what, files, growth) in CASES {
        let found = grown(&place, files, growth);
        let first = format!("{}{growth}", files[0]);
        let whole = grown(&place, [&first, files[1], files[2]], "");
        assert_eq!(found, whole, "{what}");
    }
}
