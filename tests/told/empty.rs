//! A file without records is loaded, and everything that is said about it tells that it had none.

use serde_json::json;

use crate::{FILE, csv, log_line, world};

#[test]
fn a_file_without_records_is_named_wherever_it_is_reported() {
    for (bytes, expected) in [
        ("", "the file is empty (0 bytes)"),
        ("k,v\n", "the file has no records"),
        ("k,v", "the file has no records"),
        ("k,v\n\n", "the file has no records"),
        ("\u{feff}", "the file has no records"),
    ] {
        let world = world();
        world.drop_file(FILE, bytes);
        world.drop_file("full.csv", csv(2, |_| false));
        let check = world.run(&["check"]);
        assert!(check.code == 0 && check.stdout.contains(&format!("day.csv: {expected}\n")), "{check:?}");
        assert!(!check.stdout.contains("full.csv"), "{check:?}");
        let output = world.run(&["run", "--once"]);
        assert!(output.stdout.contains("deliveries  2 loaded (1 without records)\n"), "{output:?}");
        let line = log_line(&output.stderr, "day.csv");
        assert!(line.contains("WARN") && line.contains(&format!("loaded, but {expected}")), "{line}");
        let receipt = world.run(&["receipt", FILE]);
        let state = format!("state      loaded\n           {expected}\n");
        assert!(receipt.code == 0 && receipt.stdout.contains(&state), "{receipt:?}");
        assert!(!world.run(&["receipt", "full.csv"]).stdout.contains("the file"), "{expected}");
        let status = world.run(&["status"]).stdout;
        assert!(log_line(&status, "day.csv").contains(expected), "{status}");
        world.drop_file("other.csv", "");
        assert_eq!(world.once(0)["without_records"], json!(1), "an empty file is no duplicate");
    }
}
