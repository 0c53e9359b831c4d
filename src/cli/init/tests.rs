use std::fs;

use super::*;
use crate::cli::sample;
use crate::config::Layers;
use crate::domain::{Format, Origin, Plan};

/// Returns the proposal for a file.
fn configuration(file: &Path) -> Result<String, InitError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(super::configuration(file, None, None))
}

fn proposed(name: &str, content: impl AsRef<[u8]>) -> Result<String, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    fs::write(&file, content).unwrap();
    configuration(&file).map_err(|error| error.to_string())
}

/// Loads and compiles the proposal.
fn compiled(text: &str) -> Plan {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let layers = Layers { file: Some(file.path().to_owned()), ..Layers::default() };
    let loaded = layers.load().unwrap_or_else(|error| panic!("{error}\n{text}"));
    loaded.plan().unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn plan(content: impl AsRef<[u8]>) -> Plan {
    compiled(&proposed("2018-11-01-events.csv", content).unwrap())
}

fn kinds(plan: &Plan) -> Vec<(&str, Type)> {
    plan.columns.iter().map(|column| (column.name.as_str(), column.kind)).collect()
}

/// Returns the names of the partition key and the clustering key, and the number of other columns.
fn table(plan: &Plan) -> (Vec<&str>, Vec<&str>, usize) {
    let table = &plan.tables[0];
    let name = |index: &usize| plan.columns[*index].name.as_str();
    let clustering = table.clustering_key.iter().map(|(index, _)| name(index)).collect();
    (table.partition_key.iter().map(name).collect(), clustering, table.columns.len())
}

#[test]
fn sample_files_give_a_configuration_that_compiles() {
    let dir = tempfile::tempdir().unwrap();
    let (dir, days, rows, seed) = (dir.path().to_owned(), 2, 300, sample::SEED);
    let files = sample::write(&sample::Options { dir: dir.clone(), days, rows, seed }).unwrap();
    for file in files {
        let text = configuration(&file).unwrap();
        let plan = compiled(&text);
        assert!(
            text.contains(
                "pattern: [\"*-events.csv\", \"*-events.csv.gz\", \"*-events.csv.zst\", \"*-events.csv.zip\"]"
            ),
            "{text}"
        );
        assert!(text.contains(&format!("folder: \"{}\"", dir.display())), "{text}");
        assert_eq!(plan.columns.len(), 17);
        let note = "    ts: bigint  # times since 1970? Then { type: timestamp, unit: ms }\n";
        assert!(text.contains(note), "{text}");
        let expected = [("itemInSession", Type::Int), ("length", Type::Double), ("ts", Type::Bigint)];
        assert!(expected.iter().all(|column| kinds(&plan).contains(column)), "{text}");
        assert!(
            kinds(&plan).contains(&("userId", Type::Int)) && kinds(&plan).contains(&("song", Type::Text))
        );
        assert_eq!(plan.tables[0].all().count(), 17);
    }
}

/// Otherwise the line would make texts of the numbers in its columns.
#[test]
fn a_footer_is_left_out_of_the_columns_and_of_the_load() {
    let footers = [
        ("Total,7.50,\n", 1),
        ("(2 rows)\n", 1),
        ("Sum,7.50,\n(2 rows)", 2),
        ("", 0),
        ("3,1,2024-03-03\n", 0),
    ];
    for (footer, lines) in footers {
        let text = format!("id,amount,day\n1,2.50,2024-03-01\n2,5,2024-03-02\n{footer}");
        let plan = plan(&text);
        assert_eq!(
            kinds(&plan),
            [("id", Type::Int), ("amount", Type::Double), ("day", Type::Date)],
            "{text}"
        );
        let Format::Csv(dialect) = &plan.format;
        assert_eq!(dialect.skip_footer.count(), lines, "{text}");
    }
    let sums = "word,n\nsum,1\ntotal,2\nmean,3\ncount,4\n";
    assert_eq!(plan(sums).format, Format::default(), "words of the first column");
}

#[test]
fn every_type_is_proposed() {
    let plan = plan(
        "flag,small,big,real,id,day,at,hour,ip,code,never\n\
         true,1,5000000000,1.5,7f2c0f62-3a3c-4a89-9a5d-0d1b6f0f4a11,2018-11-01,2018-11-01T10:00:00Z,10:00,::1,007,\n\
         ,,,,,,,,,,\n\
         FALSE,-2,1,2,7f2c0f62-3a3c-4a89-9a5d-0d1b6f0f4a12,2018-11-02,2018-11-01,10:00:01,127.0.0.1,12,\n",
    );
    let expected = [
        ("flag", Type::Boolean),
        ("small", Type::Int),
        ("big", Type::Bigint),
        ("real", Type::Double),
        ("id", Type::Uuid),
        ("day", Type::Date),
        ("at", Type::Timestamp),
        ("hour", Type::Time),
        ("ip", Type::Inet),
        ("code", Type::Text),
        ("never", Type::Text),
    ];
    assert_eq!(kinds(&plan), expected);
}

#[test]
fn the_key_is_a_choice_that_is_explained() {
    let text = proposed("events.csv", "session,item,note\n1,0,a\n1,1,\n2,0,b\n2,1,c\n").unwrap();
    assert_eq!(table(&compiled(&text)), (vec!["session"], vec!["item"], 1));
    assert!(text.contains("  # CHOOSE: this key is a guess from 4 records;"), "{text}");
    assert!(text.contains("  #   session 2, item 2\n  events:\n"), "{text}");
    let text = proposed("events.csv", "a,b\n1,1\n1,1\n").unwrap();
    assert!(text.contains("is unique"), "{text}");
    compiled(&text);
    let text = proposed("events.csv", "a,b\n1,\n,1\n").unwrap();
    assert!(text.contains("every column sometimes is"), "{text}");
    assert_eq!(table(&compiled(&text)), (vec!["a"], vec![], 1));
}

#[test]
fn odd_headers_are_kept_exactly() {
    let headers = [
        "",
        " ",
        "a: b",
        "#x",
        "- y",
        "'q'",
        "\"dq\"",
        "back\\slash",
        "tab\t",
        "two\nlines",
        "null",
        "True",
        "no",
        "n",
        "{x}",
        "[x]",
        "*s",
        "&a",
        "%",
        "@",
        "`",
        "!t",
        "|",
        ">",
        "?",
        "~",
        "2018",
        "_stamp",
        "Ä",
        "日本",
        "😀",
        "\u{7f}",
        "\u{85}",
        "\u{a0}",
        "\u{2028}",
        "x\u{feff}",
        "\u{1}",
        "a",
        "A",
        "${x}",
        "ends:",
        "e5",
        "from",
        "a-name-that-is-far-too-long-to-be-the-name-of-a-column-anywhere",
    ];
    let quote = |field: &&str| format!("\"{}\"", field.replace('"', "\"\""));
    let line = headers.iter().map(quote).collect::<Vec<_>>().join(",");
    for records in ["", &format!("{line}\n")] {
        let plan = plan(format!("{line}\n{records}"));
        let origins: Vec<_> = plan.columns.iter().map(|column| column.origin.clone()).collect();
        let expected: Vec<_> = headers.iter().map(|header| Origin::Field((*header).into())).collect();
        assert_eq!(origins, expected);
        assert_eq!(plan.tables[0].all().count(), headers.len());
    }
}

#[test]
fn every_single_name_and_file_name_compiles() {
    for header in ["null", "yes", "NaN", "y", "Off", "a b", "é"] {
        let plan = plan(format!("{header}\nx\n"));
        assert_eq!(plan.columns[0].origin, Origin::Field(header.into()));
    }
    for name in
        ["null.csv", "no", "x: y #z.csv", "\"q\" 'r'.csv", "two\nlines.csv", "[a]*?.csv", "2018-11-01"]
    {
        compiled(&proposed(name, "a,b\n1,2\n").unwrap());
    }
}

#[test]
fn a_file_without_valid_records_still_gives_a_configuration() {
    let text = proposed("events.csv", "a,b\n").unwrap();
    assert_eq!(kinds(&compiled(&text)), [("a", Type::Text), ("b", Type::Text)]);
    assert!(text.contains("from 0 records"), "{text}");
    let text = proposed("events.csv", b"a,b\n1,2\n3\n4,5,6\ncaf\xe9,7\n\"x\"y,7\n8,9").unwrap();
    assert_eq!(kinds(&compiled(&text)), [("a", Type::Int), ("b", Type::Int)]);
    assert!(text.contains("from 2 records") && text.contains("# 4 further records with"), "{text}");
    assert_eq!(kinds(&plan("\u{feff}a,b\r\n1,2\r\n")), [("a", Type::Int), ("b", Type::Int)]);
}

#[test]
fn only_the_beginning_is_read() {
    let many = (0..10_000).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
    assert_eq!(kinds(&plan(format!("a\n{many}\ntext\n"))), [("a", Type::Int)]);
    // The last record is cut off in the middle of a quoted field.
    let long = format!("1,\"{}\"\n", "x\n".repeat(1 << 20));
    let text = proposed("events.csv", format!("a,b\n{}", long.repeat(9))).unwrap();
    assert!(text.contains("from 7 records") && !text.contains("further"), "{text}");
    let error = proposed("events.csv", format!("\"{}", "x".repeat(17 << 20))).unwrap_err();
    assert!(error.contains("does not end within"), "{error}");
}

#[test]
fn a_wide_file_is_fast() {
    let line = |value: &str| format!("{}\n", vec![value; 200].join(","));
    let header = (0..200).map(|n| format!("c{n}")).collect::<Vec<_>>().join(",");
    assert_eq!(plan(format!("{header}\n{}", line("1").repeat(200))).columns.len(), 200);
}

#[test]
fn another_delimiter_and_decimal_commas_are_recognised() {
    let text = proposed("events.csv", "id;name;price\n1;a;12,5\n2;b;7\n").unwrap();
    assert_eq!(kinds(&compiled(&text)), [("id", Type::Int), ("name", Type::Text), ("price", Type::Text)]);
    assert!(text.contains("  format: { delimiter: \";\" }\n"), "{text}");
    assert!(text.contains("price: text  # decimal commas? Then { type: double, decimal: \",\" }"), "{text}");
    let text = proposed("events.csv", "id\tname\n1\ta\n").unwrap();
    assert!(text.contains("  format: { delimiter: \"\\t\" }\n"), "{text}");
    compiled(&text);
}

#[test]
fn an_unusable_file_is_refused_with_the_next_step() {
    let cases: [(&str, &[u8], &str); 11] = [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\n\n", "is empty"),
        ("a.csv", b"a,b,a\n1,2,3\n", "has `a` twice, as columns 1 and 3"),
        ("a.csv", b"a,\"\",\n1,2,3\n", "has `` twice, as columns 2 and 3"),
        ("a.csv", b"Ann,34,2018-11-01\n", "`2018-11-01` is a value"),
        ("a.csv", b"1,2\n3,4\n", "all its fields are numbers"),
        ("a.csv", b",,\n1,2,3\n", "all its fields are empty"),
        ("a.csv", b"caf\xe9,b\n", "is not UTF-8"),
        ("a.csv", b"a,\"b\"c\n", "the header is not valid CSV: field 2"),
        ("a.csv", b"sep=;\na;b\n1;2\n", "tells a spreadsheet the delimiter"),
        ("a.csv.gz", b"\x1f\x8b", "unexpected end of file"),
    ];
    for (name, content, expected) in cases {
        let error = proposed(name, content).unwrap_err();
        assert!(error.contains(expected) && error.contains("\n  next: "), "{expected}: {error}");
        assert!(error.contains(name), "{error}");
    }
    let error = configuration(Path::new("/no/such.csv")).unwrap_err().to_string();
    assert!(error.contains("/no/such.csv") && error.contains("next: "), "{error}");
}
