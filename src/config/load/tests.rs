use super::*;
use crate::config::yaml::parse;
use crate::config::{Limits, Log, Quota, Shutdown, Write};
use crate::domain::lenient_settings::Comment;
use crate::store::backend::{Kind, StoreConfig};

fn layers(pairs: &[(&str, &str)]) -> Layers {
    let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Layers { environment, ..Layers::default() }
}

#[test]
fn the_shipped_file_states_the_defaults() {
    let shipped = parse(SHIPPED).unwrap();
    let bare = "source: { columns: { a: int } }\ntables: {}";
    let bare = parse(bare).unwrap();
    let view = |config: &Config| {
        let source = &config.source;
        let arrival =
            (source.folder.clone(), source.pattern.clone(), source.subfolders, source.files_at_once);
        let arrival = (arrival, source.ignore.clone());
        let times = (*source.settle, *source.poll, source.looks_like_utf8);
        format!(
            "{arrival:?} {times:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            config.limits,
            config.write,
            config.store,
            config.verify,
            config.http,
            config.log,
            config.shutdown
        )
    };
    assert_eq!(view(&shipped), view(&bare));
    let parts =
        (Limits::default(), Write::default(), StoreConfig::default(), Log::default(), Shutdown::default());
    assert_eq!(parts.0.max_quarantined, Quota::percent(50));
}

#[test]
fn a_misspelt_key_is_refused_with_its_line() {
    let text = SHIPPED.replace("  settle: 2s", "  setle: 2s");
    let line = 1 + text.lines().position(|line| line.contains("setle:")).unwrap();
    let error = invalid("x.yaml", &parse(&text).unwrap_err()).to_string();
    assert!(error.starts_with(&format!("x.yaml:{line}: ")), "{error}");
    assert!(error.contains("setle"), "{error}");
}

#[test]
fn the_environment_beats_the_file_and_flags_beat_both() {
    let mut layers = layers(&[
        ("NEEDLEDROP_LOG__LEVEL", "warn"),
        ("NEEDLEDROP_WRITE__WINDOW", "7"),
        ("NEEDLEDROP_SOURCE__SETTLE", "5s"),
        ("NEEDLEDROP_LIMITS__MAX_QUARANTINED", "2%"),
        ("NEEDLEDROP_CONFIG", "ignored, it is not a setting"),
    ]);
    layers.flags.push(("log.level", "debug".to_owned()));
    let config = layers.load().unwrap().feeds.remove(0);
    assert_eq!(config.log.level, "debug");
    assert_eq!(config.write.window, 7);
    assert_eq!(config.source.settle.as_secs(), 5);
    assert_eq!(config.limits.max_quarantined, Quota::percent(2));
    assert_eq!(config.store.kind, Kind::Sqlite);
}

#[test]
fn a_path_from_the_environment_is_taken_as_it_is() {
    let config = layers(&[
        ("NEEDLEDROP_STORE__SQLITE__PATH", "/x/x #1.db"),
        ("NEEDLEDROP_SOURCE__FOLDER", "/tmp/a: b"),
    ]);
    let config = config.load().unwrap().feeds.remove(0);
    assert_eq!(config.store.sqlite.path.to_str(), Some("/x/x #1.db"));
    assert_eq!(config.source.folder.to_str(), Some("/tmp/a: b"));
}

#[test]
fn characters_of_a_format_are_taken_as_they_are() {
    let of = |key: &str, value: &str| {
        let set = layers(&[(&format!("NEEDLEDROP_SOURCE__FORMAT__{key}"), value)]);
        set.load().unwrap().feeds.remove(0).source.format
    };
    for text in ["#", "1", "- ", "//", "null", "%", "!"] {
        let format = of("COMMENT", text).compile().unwrap();
        let comment = Comment::new(text);
        assert!(comment.is_some() && format.lenient().comment == comment, "{text:?}");
    }
    assert_eq!(of("DECIMAL", ",").numbers().unwrap().decimal, ',');
    for mark in ["'", " ", ",", "#", "\""] {
        let numbers = of("THOUSANDS", mark).numbers().unwrap();
        assert_eq!(numbers.thousands, mark.chars().next(), "{mark:?}");
    }
}

#[test]
fn a_password_is_taken_as_it_is() {
    for password in ["0123", "1e5", "null", "yes", "a: b", "#x", "{x}", "[x", " x", "\"x\"", "*x", "!x"] {
        let config =
            layers(&[("NEEDLEDROP_STORE__CASSANDRA__PASSWORD", password)]).load().unwrap().feeds.remove(0);
        assert_eq!(config.store.cassandra.password().unwrap().as_deref(), Some(password));
    }
}

#[test]
fn a_table_can_be_declared_by_several_variables() {
    let config = layers(&[
        ("NEEDLEDROP_TABLES__BY_LEVEL__COLUMNS", "[userId]"),
        ("NEEDLEDROP_TABLES__BY_LEVEL__PARTITION_KEY", "[level]"),
    ]);
    assert_eq!(config.load().unwrap().feeds.remove(0).tables.0.len(), 4);
}

#[test]
fn a_column_can_be_declared_by_several_variables() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "source: { columns: { Amount: decimal, paid: boolean } }\ntables: {}")
        .unwrap();
    let column = |key: &str| format!("NEEDLEDROP_SOURCE__COLUMNS__{key}");
    let set = [
        ("AMOUNT__DECIMAL", ","),
        ("AMOUNT__THOUSANDS", "'"),
        ("AMOUNT__DEFAULT", "0"),
        ("AMOUNT__NULL", "-"),
        ("AMOUNT__STRIP", "[\" €\", \"%\"]"),
        ("PAID__TRUE", "[ja, oui]"),
        ("PAID__FALSE", "'no'"),
        ("PAID__FROM", "2024"),
        ("DAY", "{ type: date, format: \"%d.%m.%Y\" }"),
        ("AT__TYPE", "timestamp"),
        ("AT__FORMAT", "%d.%m.%Y %H:%M"),
        ("AT__TRUNCATE", "true"),
    ]
    .map(|(key, value)| (column(key), value));
    let set: Vec<_> = set.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let layers = Layers { file: Some(file.path().to_owned()), ..layers(&set) };
    let columns = layers.load().unwrap().feeds.remove(0).source.columns.0;
    let found =
        |name: &str| columns.iter().find(|(found, _)| found.value == name).map(|(_, column)| column).unwrap();
    let (amount, paid, at) = (found("Amount"), found("paid"), found("at"));
    let text = |text: &Option<crate::config::text::Text>| text.as_ref().map(|text| text.0.clone());
    let texts = [&amount.decimal, &amount.thousands, &amount.default].map(text);
    assert_eq!(texts, [",", "'", "0"].map(|text| Some(text.to_owned())));
    assert_eq!(
        (amount.kind.as_str(), &amount.null.0, &amount.strip.0),
        ("decimal", &vec!["-".to_owned()], &vec![" €".to_owned(), "%".to_owned()])
    );
    assert_eq!(
        (&paid.words[0].0, &paid.words[1].0, &paid.from.0),
        (&vec!["ja".to_owned(), "oui".to_owned()], &vec!["no".to_owned()], &vec!["2024".to_owned()])
    );
    assert_eq!(
        (at.kind.as_str(), &at.format.0, at.truncate),
        ("timestamp", &vec!["%d.%m.%Y %H:%M".to_owned()], true)
    );
    assert_eq!(found("day").format.0, ["%d.%m.%Y"]);
}

#[test]
fn a_variable_can_set_a_feed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let feed = "{ source: { columns: { a: int } }, tables: {} }";
    std::fs::write(file.path(), format!("feeds: {{ Clicks: {feed}, views: {feed} }}")).unwrap();
    let set = [
        ("NEEDLEDROP_FEEDS__CLICKS__SOURCE__FOLDER", "/tmp/a: b"),
        ("NEEDLEDROP_FEEDS__CLICKS__SOURCE__FORMAT__DELIMITER", "1"),
        ("NEEDLEDROP_WRITE__WINDOW", "7"),
    ];
    let feeds = Layers { file: Some(file.path().to_owned()), ..layers(&set) }.load().unwrap().feeds;
    let folders = feeds.iter().map(|config| config.source.folder.to_str().unwrap());
    assert_eq!(folders.collect::<Vec<_>>(), ["/tmp/a: b", "data/event_data"]);
    assert!(feeds.iter().all(|config| config.write.window == 7));
}

#[test]
fn a_setting_of_no_declared_feed_is_refused_with_that_of_a_named_feed() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let feed = "{ source: { columns: { a: int } }, tables: {} }";
    std::fs::write(file.path(), format!("feeds: {{ clicks: {feed}, views: {feed} }}")).unwrap();
    let flags = vec![("source.folder", "/tmp".to_owned())];
    let layers = Layers { file: Some(file.path().to_owned()), flags, ..Layers::default() };
    let error = layers.load().unwrap_err().to_string();
    for expected in [
        "source.folder",
        "(clicks, views)",
        "feeds.NAME.source.folder",
        "NEEDLEDROP_FEEDS__NAME__SOURCE__FOLDER",
    ] {
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn variables_extend_the_short_form_of_verify() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "source: { columns: { a: int } }\ntables: {}\nverify: 1%").unwrap();
    let keys = |pairs: &[(&str, &str)]| {
        let layers = Layers { file: Some(file.path().to_owned()), ..layers(pairs) };
        layers.load().unwrap().feeds.remove(0).verify
    };
    let hourly = keys(&[("NEEDLEDROP_VERIFY__EVERY", "1h"), ("NEEDLEDROP_VERIFY__SCRATCH", "/a: b")]);
    assert_eq!(hourly.sample, keys(&[]).sample);
    assert_eq!((hourly.every.as_secs(), hourly.scratch.unwrap().to_str()), (3600, Some("/a: b")));
    assert_eq!(keys(&[("NEEDLEDROP_VERIFY__SAMPLE", "off")]).sample, None);
}

#[test]
fn a_wrong_variable_is_named() {
    let error = layers(&[("NEEDLEDROP_STORE__KINDD", "sqlite")]).load().unwrap_err().to_string();
    assert!(error.contains("NEEDLEDROP_STORE__KINDD") && error.contains("kindd"), "{error}");
    let error = layers(&[("NEEDLEDROP_WRITE__LINGER", "20")]).load().unwrap_err().to_string();
    assert!(error.contains("NEEDLEDROP_WRITE__LINGER") && error.contains("duration"), "{error}");
}

fn lease(value: &str) -> Result<std::time::Duration, String> {
    let environment = vec![("NEEDLEDROP_STORE__CASSANDRA__LEASE".to_owned(), value.to_owned())];
    let loaded = Layers { environment, ..Layers::default() }.load();
    loaded.map(|loaded| *loaded.feeds[0].store.cassandra.lease).map_err(|error| error.to_string())
}

#[test]
fn a_lease_that_is_too_short_to_be_renewed_is_refused() {
    assert_eq!(lease("1s"), Ok(std::time::Duration::from_secs(1)));
    for short in ["999ms", "0s"] {
        let error = lease(short).unwrap_err();
        for word in ["NEEDLEDROP_STORE__CASSANDRA__LEASE", "lease is too short", "1s or more", "next:"] {
            assert!(error.contains(word), "{error}");
        }
    }
}
