//! Checks every dialect: what a writer of the dialect writes is read back, however the bytes are cut.

use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;

use crate::domain::format::{Delimiter, Dialect, Escape, LineEnd, Mark};
use crate::domain::{Format, Position};
use crate::format::csv::{fields, rich};
use crate::format::framer::{Framer, Tail};
use crate::format::splitter::Splitter;

fn dialect(delimiter: &str, quote: &str, escape: Escape) -> Dialect {
    let delimiter = Delimiter::new(delimiter).unwrap();
    Dialect { delimiter, quote: Mark::new(quote), escape, ..Dialect::default() }
}

fn dialects() -> impl Strategy<Value = Dialect> {
    let delimiters = prop::sample::select(vec![",", ";", "\t", "||", "aa", "¦", "::="]);
    let quotes = prop::sample::select(vec!["\"", "'", ""]);
    let escapes = prop::sample::select(vec![
        Escape::Doubled,
        Escape::Backslash,
        Escape::Mark(Mark::new("^").unwrap()),
        Escape::Mark(Mark::new("\\").unwrap()),
    ]);
    let all = (delimiters, quotes, escapes);
    let all = all.prop_map(|(delimiter, quote, escape)| dialect(delimiter, quote, escape));
    all.prop_filter("ambiguous", |dialect| dialect.check().is_ok())
}

/// Text of the characters that have a meaning in some dialect.
fn texts() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select("ab,;|:=¦\t\"'\\^\n\rnN0".chars().collect::<Vec<_>>()), 0..8)
        .prop_map(|chars| chars.into_iter().collect())
}

/// Writes a field, or returns `None` if the dialect has no way to write it.
fn written(dialect: &Dialect, text: &str, quotes: bool) -> Option<String> {
    let delimiter = dialect.delimiter.to_string();
    let delimiter = if delimiter == "\\t" { "\t".to_owned() } else { delimiter };
    let escape = dialect.escape.byte().map(char::from);
    let Some(quote) = dialect.quote.map(|quote| char::from(quote.byte())) else {
        let Some(escape) = escape else {
            // A delimiter may also arise at the border of two fields.
            let border = delimiter.chars().next()?;
            return (!text.contains(['\n', '\r', border])).then(|| text.to_owned());
        };
        let special = |c: char| c == escape || c == '\n' || c == '\r' || delimiter.starts_with(c);
        return Some(
            text.chars().flat_map(|c| special(c).then_some(escape).into_iter().chain([c])).collect(),
        );
    };
    let border = delimiter.chars().next()?;
    if !quotes && !text.contains([quote, '\n', '\r', border]) {
        return Some(text.to_owned());
    }
    let inner: String = match escape {
        None => text.replace(quote, &format!("{quote}{quote}")),
        Some(escape) => {
            let special = |c: char| c == escape || c == quote;
            text.chars().flat_map(|c| special(c).then_some(escape).into_iter().chain([c])).collect()
        }
    };
    Some(format!("{quote}{inner}{quote}"))
}

/// Frames the bytes, appended in parts of this length, and splits the records.
fn read(dialect: &Dialect, bytes: &[u8], part: usize) -> Vec<Result<Vec<String>, String>> {
    let format = Format::Csv(Arc::new(dialect.clone()));
    let begin = Position::default();
    let mut framer = Framer::new(&format, 10_000, begin, begin, blake3::Hasher::new());
    for part in bytes.chunks(part) {
        framer.bytes().extend_from_slice(part);
        framer.scan(usize::MAX, usize::MAX);
    }
    if matches!(framer.tail(), Tail::Record(_)) {
        framer.close_tail();
    }
    let (cut, mut splitter) = (framer.cut(), Splitter::new(&format));
    let records = cut.frames.iter().map(|frame| &cut.bytes[frame.start..frame.start + frame.len]);
    let mut all = Vec::new();
    for record in records {
        let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
        all.push(match block_on(splitter.split(record)) {
            Ok(split) => Ok(split.iter().map(text).collect()),
            Err(malformed) => Err(malformed.describe(malformed.at)),
        });
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]
    #[test]
    fn what_a_writer_of_the_dialect_writes_is_read_back(
        dialect in dialects(),
        records in prop::collection::vec(prop::collection::vec((texts(), any::<bool>()), 2..5), 1..5),
        (crlf, closed, part, any) in (any::<bool>(), any::<bool>(), 1usize..9, any::<bool>()),
    ) {
        // Whether an escaped carriage return is part of an escaped line end depends on what ends a line.
        let lines = match (crlf, any && dialect.escape_outside_quotes().is_none()) {
            (_, true) => LineEnd::Any,
            (true, false) => LineEnd::CrLf,
            (false, false) => LineEnd::Lf,
        };
        let dialect = Dialect { lines, ..dialect };
        let delimiter = String::from_utf8(dialect.delimiter.bytes().to_vec()).unwrap();
        let (mut lines, mut expected) = (Vec::new(), Vec::new());
        for record in &records {
            let fields: Option<Vec<String>> =
                record.iter().map(|(text, quotes)| written(&dialect, text, *quotes)).collect();
            let Some(fields) = fields else { continue };
            lines.push(fields.join(&delimiter));
            expected.push(Ok(record.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>()));
        }
        let end = if crlf { "\r\n" } else { "\n" };
        let bytes = lines.join(end) + if closed { end } else { "" };
        prop_assert_eq!(read(&dialect, bytes.as_bytes(), part), expected, "{:?}", bytes);
    }

    #[test]
    fn both_splitters_agree_where_both_can_split(record in "[ab;'\r\n]{0,24}") {
        let dialect = dialect(";", "'", Escape::Doubled);
        let (mut fast, mut rich) = (Vec::new(), Vec::new());
        let found = fields::find(record.as_bytes(), dialect.plain().unwrap(), &mut fast).map(|found| found.escaped);
        let by_rich = rich::find(&dialect, record.as_bytes(), &mut rich).map(|found| found.escaped);
        prop_assert_eq!(found.is_ok(), by_rich.is_ok());
        if found.is_ok() {
            prop_assert_eq!(fast, rich);
        }
        prop_assert_eq!(found, by_rich);
    }

    #[test]
    fn records_do_not_depend_on_how_the_bytes_are_cut(
        dialect in dialects(),
        bytes in "[a,;|:=¦\t\"'\\\\^\n\rn]{0,60}",
        part in 1usize..9,
    ) {
        prop_assert_eq!(read(&dialect, bytes.as_bytes(), part), read(&dialect, bytes.as_bytes(), usize::MAX));
    }
}

#[test]
fn backslash_sequences_are_decoded_and_others_refused() {
    let dump = dialect("\t", "", Escape::Backslash);
    let all = read(&dump, b"1\ta\\tb\\nc\\\\\\\td\n2\tx\\qy\n3\tline\\\nfeed\n4\tend\\", usize::MAX);
    assert_eq!(all[0], Ok(vec!["1".to_owned(), "a\tb\nc\\\td".to_owned()]));
    assert!(all[1].as_ref().is_err_and(|why| why.contains("before `q`")), "{all:?}");
    assert_eq!(all[2], Ok(vec!["3".to_owned(), "line\nfeed".to_owned()]));
    assert_eq!(all.len(), 3, "a record that ends with an escape character is not complete");
    let quoted = dialect(",", "\"", Escape::Mark(Mark::new("\\").unwrap()));
    let all = read(&quoted, br#""say \"hi\" \\",C:\temp"#, usize::MAX);
    assert_eq!(all[0], Ok(vec![r#"say "hi" \"#.to_owned(), r"C:\temp".to_owned()]));
    let all = read(&quoted, br#""a\n",1"#, usize::MAX);
    assert!(all[0].is_err(), "this character escapes nothing but quotes and itself: {all:?}");
}

#[test]
fn null_words_are_compared_with_the_bytes_of_the_field() {
    let words = ["NULL", "\"-\""].map(str::to_owned).to_vec();
    let dialect = Dialect { null: words, ..Dialect::default() };
    let all = read(&dialect, b"NULL,\"NULL\",-,\"-\",a\n\"q\"\"q\",NULL,x,y,z\n", usize::MAX);
    assert_eq!(all[0], Ok(["", "NULL", "-", "", "a"].map(str::to_owned).to_vec()));
    assert_eq!(all[1], Ok(["q\"q", "", "x", "y", "z"].map(str::to_owned).to_vec()));
}
