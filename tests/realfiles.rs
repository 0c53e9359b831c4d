//! Files as people have them: cases from public bug reports and forum questions about loading CSV. Each test has the
//! configuration that a user writes for such files, and states what the user gets.
//!
//! The inputs are in `tests/realfiles/inputs`, in a folder per case. These cases have the same input in other tests:
//!
//! | case | test |
//! |---|---|
//! | `comments` | `dialects`: `comments_are_no_records` |
//! | `no_header` | `dialects`: `delimiters_quotes_and_headers_are_those_that_are_declared`, `a_file_without_a_header_is_recognised` |
//! | `header_again_all_text` | `dialects`: `a_header_that_comes_again_is_no_record` |
//! | `header_again_gz` | `dialects`: `joined_compressed_files_repeat_their_header` |
//! | `rows_of_commas` | `dialects`: `rows_of_delimiters_are_skipped_if_this_is_declared` |
//! | `trailing_delimiter_data`, `trailing_delimiter_header` | `dialects`: `more_fields_than_the_header_are_left_out_if_this_is_declared` |
//! | `space_before_quote`, `padded_text_keys` | `dialects`: `blanks_around_fields_are_trimmed_if_this_is_declared` |
//! | `epoch_seconds` | `strict`: `a_number_in_a_timestamp_needs_a_declared_unit`, `a_unit_defines_what_numbers_count` |
//! | `zone_without_offset`, `leap_second` | `strict`: `a_value_that_would_have_to_be_guessed_is_refused` |
//! | `uppercase_extension` | `told`: `a_pass_a_check_and_the_status_name_what_is_left_out_by_suffix` |
//! | `order_10_before_2` | `order`: `files_of_one_listing_are_loaded_by_the_numbers_in_their_names` |
//! | `name_not_utf8` | `security`: `a_file_name_that_is_not_utf8_is_reported_and_holds_up_no_other_file` |
//! | `preallocated_copy` | `open_files`: `a_file_whose_size_is_set_first_is_loaded_as_it_is_filled` |
//!
//! These have no test, or only of their refusal:
//!
//! - `late_older_day`: files that arrive later are loaded later, whatever their date is (docs/formats.md).
//! - `cassandra_types`: the types vector, tuple, UDT, counter and duration do not exist. They are refused.
//! - `copytruncate`: records after a truncation do not get the header of the file before it. They are refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "realfiles/dialects.rs"]
mod dialects;
#[path = "realfiles/headers.rs"]
mod headers;
#[path = "realfiles/limits.rs"]
mod limits;
#[path = "realfiles/names.rs"]
mod names;
#[path = "realfiles/times.rs"]
mod times;
#[path = "realfiles/values.rs"]
mod values;
#[path = "realfiles/writers.rs"]
mod writers;

use std::fs;
use std::path::{Path, PathBuf};

use common::World;
use serde_json::{Value as Json, json};

/// The files of a case.
fn inputs(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/realfiles/inputs").join(case)
}

/// Returns the bytes of a file of a case.
fn input(case: &str, file: &str) -> Vec<u8> {
    fs::read(inputs(case).join(file)).unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Columns: name and declaration.
type Columns<'c> = &'c [(&'c str, &'c str)];

const ORDERS: Columns<'_> =
    &[("id", "int"), ("customer", "text"), ("amount", "double"), ("day", "date"), ("paid", "boolean")];

/// Creates a world with these settings of `source`, and a table `t` of all columns, keyed by the first.
fn declared(settings: &str, columns: Columns<'_>) -> World {
    let declarations: Vec<String> = columns.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
    let names: Vec<&str> = columns[1..].iter().map(|(name, _)| *name).collect();
    World::of(&format!(
        "source: {{ folder: inbox, columns: {{ {} }}, {settings} }}\n\
         tables:\n  t: {{ answers: x, partition_key: [{}], columns: [{}] }}\n\
         store: {{ sqlite: {{ path: store.db }} }}\n",
        declarations.join(", "),
        columns[0].0,
        names.join(", "),
    ))
}

/// Creates a world with the files of a case in its inbox.
fn case(name: &str, settings: &str, columns: Columns<'_>) -> World {
    let world = declared(settings, columns);
    copy(&inputs(name), &world.inbox());
    world
}

fn rows(world: &World) -> Json {
    json!(world.tables()["t"])
}

/// The rows of the three orders that most cases have.
fn ada_bo_cy() -> Json {
    json!([
        [1, "Ada", 12.5, "2024-03-01", 1],
        [2, "Bo", 7.25, "2024-03-02", 0],
        [3, "Cy", 1200.0, "2024-03-03", 1]
    ])
}

/// Returns line and detail of each open entry.
fn quarantined(world: &World) -> Vec<(u64, String)> {
    let entries = world.json(&["quarantine", "list"]);
    let entry =
        |entry: &Json| (entry["line"].as_u64().unwrap(), entry["detail"].as_str().unwrap().to_owned());
    entries.as_array().unwrap().iter().map(entry).collect()
}

/// Asserts that a run loads all files without refusing a record, and gives these rows.
fn loads(world: &World, expected: &Json) {
    world.once(0);
    assert_eq!((&rows(world), quarantined(world)), (expected, vec![]));
}

/// Asserts that a run gives these rows, and that the other records are in quarantine: their lines, with words of the
/// reason.
fn refuses(world: &World, expected: &Json, entries: &[(u64, impl AsRef<str>)]) {
    let records = &world.once(1)["records"];
    assert_eq!((&rows(world), &records["quarantined"]), (expected, &json!(entries.len())));
    let (lines, details): (Vec<u64>, Vec<String>) = quarantined(world).into_iter().unzip();
    assert_eq!(lines, entries.iter().map(|(line, _)| *line).collect::<Vec<_>>(), "{details:?}");
    for (detail, (line, words)) in details.iter().zip(entries) {
        let words = words.as_ref();
        assert!(detail.contains(words), "line {line}: {detail} has not {words}");
    }
}

/// Asserts that a run fails a file with a message that has these words. The file stays, and none of it is loaded.
fn fails(world: &World, file: &str, words: &[&str]) {
    world.once(1);
    let receipt = world.receipt(file);
    assert_eq!((&receipt["state"], &receipt["loaded"]), (&json!("failed"), &json!(0)), "{receipt}");
    let detail = receipt["detail"].as_str().unwrap();
    assert!(words.iter().all(|words| detail.contains(words)), "{detail} has not {words:?}");
    assert!(world.inbox().join(file).exists() && rows(world) == json!([]));
}
