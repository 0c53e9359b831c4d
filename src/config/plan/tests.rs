//! The error for a broken rule names the setting, its line and the next step.

mod fingerprint;

use crate::config::{Layers, Loaded, SHIPPED};
use crate::domain::{Order, Plan, Type};

fn plan(text: &str) -> Result<Plan, String> {
    loaded(text)?.plan().map_err(|error| error.to_string())
}

fn loaded(text: &str) -> Result<Loaded, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let layers = Layers { file: Some(file.path().to_owned()), ..Layers::default() };
    layers.load().map_err(|error| error.to_string())
}

#[test]
fn the_shipped_declaration_compiles() {
    let plan = plan(SHIPPED).unwrap();
    assert_eq!(plan.columns.len(), 11);
    let (_, table) = plan.table("user_session").unwrap();
    let names: Vec<_> = plan.columns_of(table).map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["sessionId", "userId", "itemInSession", "artist", "song", "firstName", "lastName"]);
    assert_eq!(plan.skip_when_empty, [0]);
}

#[test]
fn long_forms_and_derived_columns() {
    let plan = plan(
        "source:\n  columns:\n    at: { type: timestamp, from: \"Time (UTC)\" }\n    price: decimal\n  derive: { day: { date_of: at }, file_day: { file_date }, origin: { file_name } }\n\
         tables:\n  ticks:\n    partition_key: [day, origin]\n    clustering_key: [{ column: at, order: desc }]\n    columns: [price]\n",
    )
    .unwrap();
    assert_eq!(plan.columns[2].kind, Type::Date);
    assert_eq!(plan.tables[0].clustering_key, [(0, Order::Descending)]);
}

#[test]
fn the_daemon_verifies_only_files_that_are_kept() {
    let one_percent = SHIPPED.replace("sample: off", "sample: 1%");
    assert!(plan(&one_percent).is_ok());
    let error = plan(&one_percent.replace("after: keep", "after: delete")).unwrap_err();
    for part in ["source.after: is delete", "verify", "next: set it to keep or move"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(plan(&SHIPPED.replace("after: keep", "after: delete")).is_ok(), "verify is off");
    let error = plan(&one_percent.replace("every: 24h", "every: 0s")).unwrap_err();
    assert!(error.contains("verify.every: is 0"), "{error}");
}

#[test]
fn broken_rules_name_the_setting_and_the_line() {
    let cases = [
        (
            "partition_key: [sessionId]",
            "partition_key: [session]",
            "tables.session_item.partition_key: there is no column `session`",
        ),
        (
            "columns: [artist, song, length]",
            "columns: [artist, song, sessionId]",
            "`sessionId` is in the table twice",
        ),
        ("length: float", "length: real", "unknown type `real` (did you mean float or double?)"),
        ("length: float", "length: list<list<int>>", "source.columns.length: `list<list<int>>` is nested"),
        ("song: text", "song: set<text>", "tables.user_song.columns: `song` is a frozen<set<text>>"),
        ("song: text", "song: { type: text, unit: ms }", "source.columns.song: a text has no unit"),
        ("song: text", "song: { type: timestamp, unit: ns }", "unknown unit `ns`; the units are s, ms, us"),
        ("song: text", "song: { type: timestamp, units: ms }", "units"),
        ("length: float", "Artist: float", "the same name to a database"),
        ("  session_item:", "  _mine:", "is not a valid name"),
        ("skip_when_empty: [artist]", "skip_when_empty: [artists]", "there is no column `artists`"),
        ("partition_key: [song]", "partition_key: []", "tables.user_song.partition_key: is empty"),
        ("window: 10000", "window: 0", "write.window"),
        ("poll: 30s", "poll: 0s", "source.poll"),
        ("encoding: utf-8", "encoding: utf-9", "source.encoding: there is no encoding `utf-9`"),
        ("encoding: utf-8", "encoding: iso-2022-kr", "there is no encoding"),
        ("empty: keep", "empty: drop", "drop"),
        ("derive: {}", "derive: { day: { date_of: song } }", "not a timestamp"),
        (
            "length: float",
            "length: { type: decimal, strip: [\" EUR\"], default: \"0 EUR\" }",
            "source.columns.length.default: \"0 EUR\" must be a decimal number",
        ),
        ("length: float", "length: { type: int, thousands: \",\", default: \" 0 \" }", "\" 0 \" must be"),
        ("length: float", "length: { type: int, null: [\"-\"], default: \"-\" }", "default: \"-\" must be"),
        ("pattern: [", "pattern: [] #", "source.pattern: is empty"),
        ("  session_item:", "  sqlite_item:", "tables: `sqlite_item` begins with sqlite_"),
        ("  session_item:", "  SQLite_item:", "tables: `SQLite_item` begins with sqlite_"),
        (
            "format: csv",
            "format: { skip_lines: 18446744073709551615 }",
            "source.format.skip_lines: is 18446744073709551615, more than 65536",
        ),
        (
            "format: csv",
            "format: { header: 18446744073709551615 }",
            "source.format.header: is 18446744073709551615, more than 65536",
        ),
    ];
    for (from, to, expected) in cases {
        let error = plan(&SHIPPED.replacen(from, to, 1)).map(|_| ()).unwrap_err();
        assert!(error.contains(expected), "{to}: {error}");
        assert!(error.contains("next: "), "{error}");
    }
}
