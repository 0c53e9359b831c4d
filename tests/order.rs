//! Tests of law 2: the final state is a function of the deliveries. The content of the files shows their order.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/ordered.rs"]
mod ordered;

use common::{World, shared, until};
use ordered::{FILES, SECOND_REPLACED, all_at_once, assert_stamps, file, one_by_one, replace_second};
use serde_json::{Value as Json, json};

/// Asserts what the three tables hold, one row each. `item` contains artist, song and length; `first` and `last` are
/// the listener's names.
fn assert_seen(world: &World, item: Json, first: Json, last: &str) {
    let artist = item[0].clone();
    let expected = json!({
        "session_item": [[1, 0, item[0], item[1], item[2]]],
        "user_session": [[1, 1, 0, artist, "Echo", first, last]],
        "user_song": [["Echo", 1, first, last]],
    });
    assert_eq!(json!(world.tables()), expected);
    assert_stamps(world);
}

#[test]
fn one_listing_is_loaded_in_the_order_of_the_dates() {
    if shared("order").is_none() {
        return;
    }
    for (files_at_once, window) in [("1", "1"), ("4", "1"), ("4", "10000")] {
        let world = World::new().with("source.files_at_once", files_at_once).with("write.window", window);
        all_at_once(&world);
        assert_seen(&world, json!(["A4", "Echo", 99.5]), json!("Amy"), "Quinn");
    }
}

#[test]
fn with_empty_clear_an_empty_column_erases() {
    if shared("order").is_none() {
        return;
    }
    let mut world = World::new();
    for table in ["session_item", "user_session", "user_song"] {
        world.set(&format!("tables.{table}.empty"), "clear");
    }
    all_at_once(&world);
    assert_seen(&world, json!(["A4", "Echo", null]), Json::Null, "Quinn");
}

#[test]
fn files_dropped_one_by_one_count_in_the_order_they_were_taken_up() {
    if shared("order").is_none() {
        return;
    }
    let world = World::new();
    one_by_one(&world, &[FILES[2], FILES[0], FILES[1]]);
    assert_seen(&world, json!(["A3", "Echo", 99.5]), json!("Amy"), "Zorn");
}

#[test]
fn a_file_with_other_bytes_is_a_new_generation_at_the_end_of_the_order() {
    if shared("order").is_none() {
        return;
    }
    let world = World::new();
    all_at_once(&world);
    replace_second(&world, SECOND_REPLACED);
    assert_seen(&world, json!(["B1", "Echo", 98.5]), json!("Bea"), "York");
}

#[test]
fn restored_bytes_are_a_new_generation_and_no_duplicate() {
    if shared("order").is_none() {
        return;
    }
    let world = World::new();
    all_at_once(&world);
    replace_second(&world, SECOND_REPLACED);
    replace_second(&world, FILES[1]);
    assert_seen(&world, json!(["A3", "Echo", 99.5]), json!("Amy"), "Zorn");
    assert_eq!(world.receipt(FILES[1])["generation"], 3);
}

#[test]
fn within_one_file_the_later_record_counts_and_the_collision_is_reported() {
    if shared("order").is_none() {
        return;
    }
    let world = World::new();
    one_by_one(&world, &FILES[..1]);
    assert_seen(&world, json!(["A2", "Echo", 100.5]), json!("Zoe"), "Adams");
    let receipt = world.receipt(FILES[0]);
    for table in ["session_item", "user_session", "user_song"] {
        assert_eq!(
            receipt["tables"][table],
            json!({ "rows": 2, "collisions": 1, "estimated": false, "older": 0, "refused": 0, "assumed": 0, "behind": false })
        );
    }
    assert!(world.run(&["receipt", FILES[0]]).stdout.contains("collisions"));
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "crash points are in debug builds only")]
fn a_load_killed_at_any_step_ends_with_the_tables_of_one_pass() {
    if shared("order").is_none() {
        return;
    }
    // Every durable step can be the last step of the process. Another process then continues.
    let mut aborted = 0;
    for step in 1.. {
        let world = World::new().with("write.window", "1");
        world.copy_in(&FILES.map(file));
        let killed = world.command(&["run", "--once"]).env("NEEDLEDROP_ABORT_AT", step.to_string()).output();
        let is_through = killed.unwrap().status.success();
        world.once(0);
        assert_seen(&world, json!(["A4", "Echo", 99.5]), json!("Amy"), "Quinn");
        let accounts = world.accounts();
        assert!(accounts.values().all(|account| *account == (4, 3)), "step {step}: {accounts:?}");
        assert!(FILES.iter().all(|name| world.receipt(name)["closes"] == true));
        if is_through {
            break;
        }
        aborted += 1;
    }
    // Three files are taken up, and four records are written.
    assert!(aborted >= 8, "only {aborted} steps");
}

#[test]
fn a_daemon_and_a_single_run_give_the_same_tables() {
    if shared("order").is_none() {
        return;
    }
    let world = World::new();
    world.copy_in(&FILES.map(file));
    // The files count as complete at once, so the daemon finds all three in its first listing.
    let world = world.with("source.settle", "10ms");
    let mut daemon = world.daemon();
    until("all are loaded", || {
        let states = if world.store().exists() { world.states() } else { return None };
        (states.len() == 3 && states.values().all(|state| state == "loaded")).then_some(())
    });
    assert_eq!(daemon.stop().0, 0);
    assert_seen(&world, json!(["A4", "Echo", 99.5]), json!("Amy"), "Quinn");
}

/// A table with one row for each key, and the day in the name of the file that wrote it.
const DATED: &str = "source: { columns: { k: text, v: text }, derive: { day: file_date } }\n\
                     tables: { t: { partition_key: [k], columns: [v, day] } }\n";

#[test]
fn files_of_one_listing_are_loaded_by_the_numbers_in_their_names() {
    let world = World::of(
        "source: { columns: { k: text, v: text } }\ntables: { t: { partition_key: [k], columns: [v] } }\n",
    );
    for name in ["part-9.csv", "part-10.csv", "part-010.csv"] {
        world.drop_file(name, format!("k,v\na,{name}\n"));
    }
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 3 }));
    assert_eq!(json!(world.tables()["t"]), json!([["a", "part-10.csv"]]));
    assert_stamps(&world);
}

#[test]
fn dates_in_names_have_the_usual_forms_and_are_never_guessed() {
    let mut world = World::of(DATED);
    std::fs::create_dir(world.inbox().join("day=2024-03-05")).unwrap();
    let names = [
        "x_2024_03_01.csv",
        "x.2024.03.02.csv",
        "04.03.2024.csv",
        "x_202403031530.csv",
        "day=2024-03-05/x.csv",
    ];
    for (number, name) in (1..).zip(names) {
        world.drop_file(name, format!("k,v\n{number},{name}\n"));
    }
    world.drop_file("2024-03-06_2024-03-07.csv", "k,v\n6,6\n");
    assert_eq!(world.once(1)["deliveries"], json!({ "failed": 2, "loaded": 4 }));
    let days = |world: &World| world.tables()["t"].iter().map(|row| row[2].clone()).collect::<Vec<_>>();
    assert_eq!(days(&world), ["2024-03-01", "2024-03-02", "2024-03-03", "2024-03-05"]);
    let detail = world.receipt("2024-03-06_2024-03-07.csv")["detail"].clone();
    assert!(detail.as_str().unwrap().contains("two dates, 2024-03-06 and 2024-03-07"), "{detail}");
    world.set("source.file_dates", "day_first");
    assert_eq!(world.once(1)["deliveries"], json!({ "failed": 1, "loaded": 1 }));
    assert!(days(&world).contains(&json!("2024-03-04")));
}
