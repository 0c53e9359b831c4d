//! Wrong input ends a command with its exit code and a message that says what to do next. Nothing is created or
//! changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::net::TcpListener;

use common::{HEADER, World, events};
use rusqlite::Connection;
use serde_json::json;

const ONCE: &[&str] = &["run", "--once"];

fn csv() -> String {
    format!("{HEADER}{}", events(0..3))
}

/// Returns the name and the content of every file beside the inbox, sorted by name.
fn beside(world: &World) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let mut files: Vec<_> =
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect();
    files.sort();
    files
}

/// Asserts that a command exits with this code, prints these words and a `next:`, and leaves every file as it was.
fn refuses(world: &World, args: &[&str], code: i32, words: &[&str]) {
    let before = beside(world);
    says(world, args, code, words);
    assert!(beside(world) == before, "{args:?} left something behind");
}

fn says(world: &World, args: &[&str], code: i32, words: &[&str]) {
    let output = world.run(args);
    assert_eq!(output.code, code, "{args:?}: {output:?}");
    assert_eq!(output.stdout, "", "{args:?}: a failed command prints nothing to stdout");
    for word in words.iter().chain(&["next:"]) {
        assert!(output.stderr.contains(word), "{args:?} does not say {word:?}: {}", output.stderr);
    }
}

#[test]
fn a_missing_inbox_is_reported_and_no_store_is_created() {
    let world = World::new();
    fs::remove_dir(world.inbox()).unwrap();
    for args in [ONCE, &["run"], &["run", "--once", "--dry-run"], &["export"]] {
        refuses(&world, args, 3, &["inbox", "source.folder"]);
    }
    refuses(&world, &["load", "nothing.csv"], 2, &["nothing.csv"]);
}

#[test]
fn wrong_configuration_is_reported_with_its_location() {
    let cases: [(&str, &str, &[&str]); 6] = [
        ("source:", "sorce:", &["config.yaml:20", "sorce"]),
        ("  settle: 2s", "  setle: 2s", &["config.yaml:", "setle"]),
        ("  settle: 2s", "  settle: soon", &["config.yaml:", "soon"]),
        ("partition_key: [song]", "partition_key: [songs]", &["config.yaml:", "songs", "user_song"]),
        ("    userId: int", "    userId: integer", &["config.yaml:", "integer"]),
        ("  kind: sqlite", "  kind: oracle", &["config.yaml:", "oracle"]),
    ];
    let shipped = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/needledrop.yaml")).unwrap();
    for (right, wrong, words) in cases {
        assert!(shipped.contains(right), "{right}");
        let world = World::of(&shipped.replacen(right, wrong, 1));
        refuses(&world, ONCE, 2, words);
        let check = world.run(&["check"]);
        assert_eq!(check.code, 2);
        assert!(words.iter().all(|word| check.stdout.contains(word)), "{check:?}");
    }
    let world = World::new().with("store.kindd", "sqlite");
    refuses(&world, ONCE, 2, &["NEEDLEDROP_STORE__KINDD", "kindd"]);
    let world = World::new().with_variable("NEEDLEDROP_CONFIG", "nowhere.yaml");
    refuses(&world, ONCE, 2, &["nowhere.yaml"]);
}

#[test]
fn an_unusable_header_fails_its_delivery_and_no_other() {
    let cases = [
        (csv().replacen("artist,", "performer,", 1), "`artist`"),
        (csv().replacen("gender,", "artist,", 1), "artist"),
        (events(0..3), "`artist`"),
    ];
    for (bytes, word) in cases {
        let world = World::new();
        world.drop_file("a.csv", bytes);
        world.drop_file("b.csv", csv());
        let output = world.run(ONCE);
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.contains("a.csv") && output.stderr.contains("next:"), "{output:?}");
        let receipt = world.receipt("a.csv");
        assert_eq!(receipt["state"], "failed");
        assert!(receipt["detail"].as_str().unwrap().contains(word), "{receipt}");
        assert_eq!(world.receipt("b.csv")["state"], "loaded");
    }
}

#[test]
fn a_folder_or_dangling_link_in_the_inbox_blocks_no_file() {
    let world = World::new();
    fs::create_dir(world.inbox().join("folder.csv")).unwrap();
    std::os::unix::fs::symlink("nowhere", world.inbox().join("dangling.csv")).unwrap();
    world.drop_file("b.csv", csv());
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
    refuses(&world, &["load", "inbox/dangling.csv"], 2, &["dangling.csv"]);
}

#[test]
fn a_foreign_store_is_refused_and_left_unchanged() {
    let foreign = |world: &World| {
        let store = Connection::open(world.store()).unwrap();
        store.execute_batch("CREATE TABLE session_item (x); INSERT INTO session_item VALUES (1)").unwrap();
    };
    let text = |world: &World| fs::write(world.store(), "no database, but somebody's notes\n").unwrap();
    let fill: [&dyn Fn(&World); 2] = [&foreign, &text];
    for fill in fill {
        let world = World::new();
        world.drop_file("a.csv", csv());
        fill(&world);
        let query = ["query", "user_song", "song=Song 1"];
        for args in [ONCE, &["run"], &["load", "a.csv"], &["status"], &query, &["schema", "--apply"]] {
            refuses(&world, args, 2, &["store.db", "not a needledrop store", "store.sqlite.path"]);
        }
    }
}

#[test]
fn a_run_gives_up_on_a_locked_store_after_its_patience() {
    let world = World::new().with("store.patience", "300ms");
    world.drop_file("a.csv", csv());
    world.once(0);
    world.drop_file("b.csv", csv().replace("Artist", "Other"));
    let other = Connection::open(world.store()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let output = world.run(ONCE);
    assert_eq!(output.code, 3, "{output:?}");
    assert!(output.stderr.contains("locked") && output.stderr.contains("next:"), "{output:?}");
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(world.once(0)["deliveries"], json!({ "loaded": 1 }));
}

#[test]
fn a_second_writer_is_refused_with_the_process_id_of_the_first() {
    let world = World::new();
    world.drop_file("a.csv", csv());
    let daemon = world.daemon();
    let id = daemon.id().to_string();
    for args in [&["load", "a.csv"][..], ONCE, &["run"]] {
        let output = world.command(args).env("NEEDLEDROP_HTTP__LISTEN", "127.0.0.1:0").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.contains(&format!("process {id} ")) && told.contains("next:"), "{told}");
    }
    assert_eq!(world.run(&["status"]).code, 0, "commands that only read are not refused");
}

#[test]
fn a_port_in_use_is_reported_and_no_store_is_created() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = listener.local_addr().unwrap().to_string();
    let world = World::new().with("http.listen", &listen);
    refuses(&world, &["run"], 3, &[&listen, "http.listen"]);
}

#[test]
fn a_table_of_another_shape_is_refused_with_the_difference() {
    let cases: [(&str, &str, &[&str]); 4] = [
        ("tables.user_song.columns", "[firstName]", &["user_song", "lastName TEXT"]),
        ("tables.user_song.columns", "[firstName, lastName, level]", &["user_song", "level TEXT"]),
        ("tables.user_song.clustering_key", "[sessionId]", &["user_song", "sessionId INTEGER key 2"]),
        ("source.columns.length", "text", &["session_item", "length TEXT", "length REAL"]),
    ];
    for (setting, value, words) in cases {
        let mut world = World::new();
        world.drop_file("a.csv", csv());
        world.once(0);
        let before = world.dump();
        world.set(setting, value);
        world.drop_file("b.csv", csv().replace("Artist", "Other"));
        let output = world.run(ONCE);
        assert_eq!(output.code, 2, "{setting}: {output:?}");
        assert!(words.iter().all(|word| output.stderr.contains(word)), "{setting}: {output:?}");
        assert!(output.stderr.contains("next:"), "{setting}: {output:?}");
        assert_eq!(world.dump(), before, "{setting}");
    }
}

#[test]
fn a_clustering_key_that_would_not_sort_is_refused() {
    let world = World::new()
        .with("source.columns.length", "decimal")
        .with("tables.user_song.clustering_key", "[length]");
    let output = world.run(ONCE);
    assert_eq!(output.code, 2, "{output:?}");
    let words = ["user_song", "length", "decimal", "next:"];
    assert!(words.iter().all(|word| output.stderr.contains(word)), "{output:?}");
    assert_eq!(beside(&world), []);
    assert_eq!(world.run(&["check"]).code, 2);
}

#[test]
fn without_create_schema_tables_must_exist() {
    let world = World::new().with("store.create_schema", "false");
    world.drop_file("a.csv", csv());
    let output = world.run(ONCE);
    assert_eq!(output.code, 2, "{output:?}");
    let words = ["session_item", "create_schema", "next:"];
    assert!(words.iter().all(|word| output.stderr.contains(word)), "{output:?}");
    assert_eq!(beside(&world), [], "no store is created");
    assert_eq!(world.run(&["schema", "--apply"]).code, 0);
    world.once(0);
}

#[test]
fn invalid_queries_and_names_are_refused_with_a_hint() {
    let world = World::new();
    world.drop_file("a.csv", csv());
    world.once(0);
    let cases: [(&[&str], &[&str]); 7] = [
        (&["query", "nothing", "a=1"], &["`nothing`", "session_item, user_session, user_song"]),
        (&["query", "user_song", "songs=X"], &["`songs`", "song=…"]),
        (&["query", "user_song", "firstName=X"], &["`firstName`", "not in the key"]),
        (&["query", "user_session", "sessionId=1"], &["`userId` is missing"]),
        (&["query", "user_session", "sessionId=x", "userId=1"], &["sessionId", "\"x\""]),
        (&["query", "user_song", "song"], &["`song`", "COLUMN=VALUE"]),
        (&["load", "--table", "nothing"], &["`nothing`"]),
    ];
    for (args, words) in cases {
        refuses(&world, args, 2, words);
    }
    // These commands open the store first.
    says(&world, &["receipt", "nothing.csv"], 1, &["nothing.csv", "status"]);
    says(&world, &["quarantine", "list", "--reason", "nothing"], 2, &["`nothing`", "too_long"]);
}

#[test]
fn wrong_usage_exits_with_2() {
    let world = World::new();
    let cases: [&[&str]; 5] =
        [&["rnu"], &["run", "--dry-run"], &["load"], &["receipt"], &["status", "--nothing"]];
    for args in cases {
        let output = world.run(args);
        assert_eq!(output.code, 2, "{args:?}: {output:?}");
        assert!(output.stderr.contains("--help"), "{args:?}: {output:?}");
    }
    assert_eq!(beside(&world), []);
}
