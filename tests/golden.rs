//! Tests that the files in tests/golden give the results in their snapshots.
//!
//! A new file is a new case. `INSTA_UPDATE=always cargo test --test golden` writes its snapshot.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::World;
use serde_json::json;

#[test]
fn files_become_what_their_snapshots_say() {
    insta::glob!("golden/*.csv", |path| {
        let world = World::new();
        world.copy_in(&[path.to_owned()]);
        let code = world.run(&["run", "--once"]).code;
        let name = path.file_name().unwrap().to_str().unwrap();
        let receipt = world.receipt(name);
        let counts: serde_json::Map<_, _> =
            ["state", "detail", "bytes", "records", "loaded", "skipped", "quarantined", "tables", "closes"]
                .map(|key| (key.to_owned(), receipt[key].clone()))
                .into_iter()
                .collect();
        let quarantine = world.json(&["quarantine", "list"]);
        let seen =
            json!({ "exit": code, "receipt": counts, "quarantine": quarantine, "tables": world.tables() });
        insta::assert_json_snapshot!(seen);
    });
}
