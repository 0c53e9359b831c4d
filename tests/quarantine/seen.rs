//! Tests of how quarantined records are shown: the field at fault is marked, and a spreadsheet has each field in a
//! cell.

use std::fs;

use serde_json::json;

use crate::FILE;
use crate::common::{HEADER, World, events};

fn shown(world: &World, file: &str, line: u32) -> String {
    let shown = world.run(&["quarantine", "show", file, &line.to_string()]);
    assert_eq!(shown.code, 0, "{shown:?}");
    shown.stdout
}

fn csv(world: &World, flags: &[&str]) -> (Vec<String>, String) {
    let listed = world.run(&[&["quarantine", "list", "--csv"], flags].concat());
    assert_eq!(listed.code, 0, "{listed:?}");
    (listed.stdout.lines().map(str::to_owned).collect(), listed.stderr)
}

fn loaded(records: &str) -> World {
    let world = World::new();
    world.drop_file(FILE, format!("{HEADER}{records}"));
    world.once(1);
    world
}

#[test]
fn the_field_at_fault_is_marked() {
    let record = "\"A, \"\"B\"\"\",Ann,F,zero,Lee,1.5,free,X,7,Song,3";
    let world = loaded(&format!("{record}\nA,Ann,F,0,Lee,1.5,free,X,7,Song,\n"));
    let text = shown(&world, FILE, 2);
    let mark = format!("record  {record}\n        {}^^^^\n", " ".repeat(record.find("zero").unwrap()));
    assert!(text.contains("column  itemInSession (field 4)") && text.ends_with(&mark), "{text}");
    assert!(shown(&world, FILE, 3).ends_with(&format!(",Song,\n{}^\n", " ".repeat(40))), "an empty one");
    let marked = &world.json(&["quarantine", "show", FILE, "2"])["marked"];
    assert_eq!(*marked, json!({ "field": 4, "from": 17, "to": 21 }));
    // The header is kept, so the file may be gone.
    fs::remove_file(world.inbox().join(FILE)).unwrap();
    assert_eq!(shown(&world, FILE, 2), text);
}

#[test]
fn a_missing_mark_is_explained() {
    let mut world = loaded("bad\nA,Ann,F,zero,Lee,1.5,free,X,7,Song,3\n");
    let text = shown(&world, FILE, 2);
    assert!(text.contains("mark    none: no single field is invalid") && !text.contains('^'), "{text}");
    // In a store of an earlier version no header is kept.
    let store = rusqlite::Connection::open(world.store()).unwrap();
    store.execute("DELETE FROM _needledrop_headers", []).unwrap();
    assert!(shown(&world, FILE, 3).contains("^^^^"), "it is in the file");
    fs::remove_file(world.inbox().join(FILE)).unwrap();
    let text = shown(&world, FILE, 3);
    assert!(
        text.contains("mark    none: its header was not kept, and its file") && !text.contains('^'),
        "{text}"
    );
    assert!(text.ends_with("record  A,Ann,F,zero,Lee,1.5,free,X,7,Song,3\n"), "{text}");
    // The column now has another field.
    world.set("source.columns.itemInSession", "{ type: int, from: item }");
    store.execute("INSERT INTO _needledrop_headers VALUES (1, '[\"artist\"]')", []).unwrap();
    let text = shown(&world, FILE, 3);
    assert!(text.contains("mark    none: the header of its file has no `item`"), "{text}");
}

#[test]
fn a_spreadsheet_has_each_field_in_the_cell_of_its_column_whatever_the_header() {
    let world = World::new();
    world.drop_file("a.csv", format!("{HEADER}A,Ann,F,zero,Lee,1.5,free,\"X, Y\",7,Song,3\nbad,one\n"));
    let other =
        "userId,song,extra,sessionId,location,level,length,lastName,itemInSession,gender,firstName,artist\n";
    world.drop_file(
        "b.csv",
        format!("{other}3,Song,more,7,X,free,1.5,Lee,one,F,Ann,B\n{},surplus,\"q\"\n", ",".repeat(11)),
    );
    world.once(1);
    let (lines, _) = csv(&world, &[]);
    let names = "file,line,byte,reason,column,detail,artist,firstName,gender,itemInSession,lastName,length,level,\
                 location,sessionId,song,userId,extra,rest";
    assert_eq!(lines[0], names);
    let cells = |line: &str, from: &str| line.split_once(from).unwrap().1.to_owned();
    assert_eq!(cells(&lines[1], "483647\","), "A,Ann,F,zero,Lee,1.5,free,\"X, Y\",7,Song,3,,");
    assert!(lines[1].starts_with("a.csv,2,91,value,itemInSession,"), "{lines:?}");
    assert_eq!(cells(&lines[2], "pad\","), "bad,one,,,,,,,,,,,");
    assert_eq!(cells(&lines[3], "483647\","), "B,Ann,F,one,Lee,1.5,free,X,7,Song,3,more,");
    assert_eq!(cells(&lines[4], "ignore\","), ",,,,,,,,,,,,\"surplus,\"\"q\"\"\"");
}

#[test]
fn cells_that_a_spreadsheet_would_run_are_guarded_and_reported() {
    let world = loaded("=1+1,-x,F,-5x,Lee,-1.5,free,@X,7,Song,3\n");
    let (lines, told) = csv(&world, &[]);
    assert!(lines[1].ends_with(",'=1+1,'-x,F,'-5x,Lee,-1.5,free,'@X,7,Song,3,"), "{lines:?}");
    assert!(told.contains("4 cells") && told.contains("--exact"), "{told}");
    let (lines, told) = csv(&world, &["--exact"]);
    assert!(lines[1].ends_with(",=1+1,-x,F,-5x,Lee,-1.5,free,@X,7,Song,3,"), "{lines:?}");
    assert!(told.is_empty(), "{told}");
    let raw = world.json(&["quarantine", "list"])[0]["raw"].clone();
    assert_eq!(raw, "=1+1,-x,F,-5x,Lee,-1.5,free,@X,7,Song,3", "other output is unchanged");
}

#[test]
fn more_than_a_page_is_listed() {
    let world = loaded(&format!("{}{}", "bad\n".repeat(150), events(0..200)));
    assert_eq!(csv(&world, &[]).0.len(), 151);
}

#[test]
fn a_corrected_list_is_a_file_of_its_feed() {
    let world = World::of(
        "source:\n  format: { header_match: relaxed }\n  \
         columns: { k: text, amount: { type: int, from: [Betrag, Sum] }, other: text }\n\
         tables:\n  t: { partition_key: [k], columns: [amount, other] }\n",
    );
    world.drop_file("a.csv", "amount, BETRAG ,K,Other\nignored,x,a,1\nignored,1,b,2\n");
    world.drop_file("b.csv", "K,sum,Other,amount\nc,y,3,more\nd,2,4,more\n");
    world.once(1);
    let (lines, _) = csv(&world, &[]);
    assert_eq!(lines[0], "file,line,byte,reason,column,detail,K, BETRAG ,Other,amount,rest");
    let cells = |line: &str| line.rsplit_once("\",").unwrap().1.to_owned();
    assert_eq!((cells(&lines[1]), cells(&lines[2])), ("a,x,1,ignored,".into(), "c,y,3,more,".into()));
    let mended = lines.join("\n").replace(",x,1,", ",10,1,").replace(",y,3,", ",20,3,");
    world.drop_file("mended.csv", mended + "\n");
    world.once(0);
    let expected = json!([["a", 10, "1"], ["b", 1, "2"], ["c", 20, "3"], ["d", 2, "4"]]);
    let mut rows = world.tables()["t"].clone();
    rows.sort_by_key(|row| row[0].to_string());
    assert_eq!(json!(rows), expected);
}
