//! Tests of formulas in cells: on request, an answer is guarded so that a spreadsheet does not run them. Lists of the
//! quarantine are guarded unless `--exact` is given (tests/quarantine/seen.rs).

use crate::common::{HEADER, World};

const FORMULA: &str = "=cmd|'/C calc'!A0";

fn world() -> World {
    let world = World::new();
    let cells = ["@x", "+1+1", "\t=1", "-1"];
    let row = |n: usize, artist: &str, song: &str| {
        format!("\"{artist}\",Ann,F,{n},Lee,100.5,free,X,7,\"{song}\",3\n")
    };
    let rows: String = cells.iter().enumerate().map(|(n, cell)| row(n, cell, FORMULA)).collect();
    world.drop_file("2018-11-01-events.csv", format!("{HEADER}{rows}"));
    world.once(0);
    world
}

const QUERY: [&str; 4] = ["query", "session_item", "sessionId=7", "--csv"];

#[test]
fn output_is_exact_unless_it_is_for_a_spreadsheet() {
    let world = world();
    for command in [&QUERY[..], &["export"]] {
        let exact = world.run(command);
        assert!(exact.stdout.contains("@x") && !exact.stdout.contains("'@x"), "{exact:?}");
        assert!(!exact.stderr.contains("apostrophe"), "{exact:?}");
        let safe = world.run(&[command, &["--spreadsheet-safe"]].concat());
        assert_eq!(safe.code, 0, "{safe:?}");
        for guarded in ["'@x", "'+1+1", "'\t=1", "'=cmd|"] {
            assert!(safe.stdout.contains(guarded), "{guarded}: {safe:?}");
        }
        assert!(!safe.stdout.contains("'-1"), "a number is no formula: {safe:?}");
        assert!(safe.stderr.contains("7 cells that a spreadsheet would run"), "{safe:?}");
        let undone =
            safe.stdout.replace("'@", "@").replace("'+", "+").replace("'\t", "\t").replace("'=", "=");
        assert_eq!(undone, exact.stdout, "only the apostrophes differ");
    }
}

#[test]
fn spreadsheet_safe_is_for_csv_only() {
    let world = world();
    let refused = world.run(&[&QUERY[..3], &["--json", "--spreadsheet-safe"]].concat());
    assert_eq!(refused.code, 2, "{refused:?}");
}
