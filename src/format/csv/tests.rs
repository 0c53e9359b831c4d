//! Checks every dialect: what a writer of the dialect writes is read back, however the bytes are cut.

use std::sync::Arc;

use futures::executor::block_on;
use proptest::prelude::*;

use crate::domain::format::{Delimiter, Dialect, Escape, FooterLines, LineEnd, Mark};
use crate::domain::lenient_settings::{Comment, LenientSettings};
use crate::domain::{Format, Position, Tolerated};
use crate::format::csv::{fields, rich};
use crate::format::framer::Framer;
use crate::format::framer::cut::Cut;
use crate::format::framer::open_tail::Tail;
use crate::format::splitter::Splitter;

fn dialect(delimiter: &str, quote: &str, escape: Escape) -> Dialect {
    let delimiter = Delimiter::new(delimiter).unwrap();
    Dialect { delimiter, quote: Mark::new(quote), escape, ..Dialect::default() }
}

fn dialects() -> impl Strategy<Value = Dialect> {
    let delimiters = prop::sample::select(vec![",", ";", "\t", " ", "||", "aa", "¦", "::="]);
    let quotes = prop::sample::select(vec!["\"", "'", " ", ""]);
    let escapes = prop::sample::select(vec![
        Escape::Doubled,
        Escape::Backslash,
        Escape::Mark(Mark::new("^").unwrap()),
        Escape::Mark(Mark::new("\\").unwrap()),
    ]);
    let comments = prop::sample::select(vec!["", "", "#", "//", "|-", "a"]);
    let made = |(delimiter, quote, escape, comment, trim)| {
        let lenient = LenientSettings { comment: Comment::new(comment), trim, ..LenientSettings::default() };
        let made = Dialect { lenient, ..dialect(delimiter, quote, escape) };
        made.check().is_ok().then_some(made)
    };
    (delimiters, quotes, escapes, comments, any::<bool>()).prop_filter_map("ambiguous", made)
}

/// What ends lines, and the line end to write.
fn line_ends() -> impl Strategy<Value = (LineEnd, &'static str)> {
    prop::sample::select(vec![
        (LineEnd::Any, "\n"),
        (LineEnd::Any, "\r\n"),
        (LineEnd::Lf, "\n"),
        (LineEnd::CrLf, "\r\n"),
        (LineEnd::CrCrLf, "\r\r\n"),
        (LineEnd::Cr, "\r"),
    ])
}

/// Text of the characters that have a meaning in some dialect.
fn texts() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select("ab,;|:=¦\t\"'\\^\n\rnN0#/- \u{1a}".chars().collect::<Vec<_>>()),
        0..8,
    )
    .prop_map(|chars| chars.into_iter().collect())
}

/// Writes a field, or returns `None` if the dialect has no way to write it.
fn written(dialect: &Dialect, text: &str, quotes: bool) -> Option<String> {
    let delimiter = dialect.delimiter.to_string();
    let delimiter = if delimiter == "\\t" { "\t".to_owned() } else { delimiter };
    let escape = dialect.escape.byte().map(char::from);
    let edges = [text.bytes().next(), text.bytes().last()];
    let is_trimmed = edges.into_iter().flatten().any(|byte| dialect.is_trimmed(byte));
    let Some(quote) = dialect.quote.map(|quote| char::from(quote.byte())) else {
        if is_trimmed {
            return None;
        }
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
    let has_line_end = text.contains('\r') || (text.contains('\n') && !dialect.lines.allows_line_feeds());
    if !quotes && !is_trimmed && !has_line_end && !text.contains([quote, border]) {
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

/// Writes a record, or returns `None` if the dialect has no way to write it. `padded` fields have blanks around them, if
/// these are not part of the field.
fn line(dialect: &Dialect, record: &[(String, bool, bool)]) -> Option<String> {
    let pad = |field: String, padded: bool| if padded { format!(" {field}  ") } else { field };
    let field = |(text, quotes, padded): &(String, bool, bool)| {
        Some(pad(written(dialect, text, *quotes)?, *padded && dialect.is_trimmed(b' ')))
    };
    let delimiter = std::str::from_utf8(dialect.delimiter.bytes()).unwrap();
    let join = |fields: Vec<String>| fields.join(delimiter);
    let line = join(record.iter().map(field).collect::<Option<_>>()?);
    let comment = dialect.lenient.comment.as_ref();
    if !comment.is_some_and(|comment| line.as_bytes().starts_with(comment.bytes())) {
        return Some(line);
    }
    // Quotes around the first field tell a record from a comment.
    dialect.quote?;
    let mut record = record.to_vec();
    record[0].1 = true;
    Some(join(record.iter().map(field).collect::<Option<_>>()?))
}

/// Returns where the last `count` lines begin, or `None` if there are fewer.
fn begin_of_footer(lines: LineEnd, text: &str, count: usize) -> Option<usize> {
    let form = if lines == LineEnd::Any { "\n" } else { std::str::from_utf8(lines.forms()[0]).unwrap() };
    let mut begins: Vec<usize> = text.match_indices(form).map(|(at, _)| at + form.len()).collect();
    begins.insert(0, 0);
    if matches!(&text[*begins.last().unwrap()..], "" | "\u{1a}") {
        begins.pop();
    }
    begins.len().checked_sub(count).map(|at| begins[at])
}

/// Frames the bytes, appended in parts of this length.
fn framed(dialect: &Dialect, bytes: &[u8], part: usize) -> Cut {
    framed_up_to(10_000, dialect, bytes, part)
}

/// Does the same for records of at most `limit` bytes.
fn framed_up_to(limit: usize, dialect: &Dialect, bytes: &[u8], part: usize) -> Cut {
    let format = Format::Csv(Arc::new(dialect.clone()));
    let begin = Position::default();
    let mut framer = Framer::new(&format, limit, begin, begin, blake3::Hasher::new());
    for part in bytes.chunks(part) {
        framer.bytes().extend_from_slice(part);
        framer.scan(usize::MAX, usize::MAX);
    }
    if matches!(framer.tail(), Tail::Record(_) | Tail::Comment | Tail::EndOfFile | Tail::Footer { .. }) {
        framer.close_tail();
    }
    framer.cut()
}

/// Frames the bytes, appended in parts of this length, and splits the records.
fn read(dialect: &Dialect, bytes: &[u8], part: usize) -> Vec<Result<Vec<String>, String>> {
    let format = Format::Csv(Arc::new(dialect.clone()));
    let (cut, mut splitter) = (framed(dialect, bytes, part), Splitter::new(&format));
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
        records in prop::collection::vec(
            (prop::collection::vec((texts(), any::<bool>(), any::<bool>()), 2..5), prop::option::of(texts())),
            1..5,
        ),
        ((lines, end), closed, part, dos) in (line_ends(), any::<bool>(), 1usize..9, any::<bool>()),
    ) {
        // Whether an escaped carriage return is part of an escaped line end depends on what ends a line.
        prop_assume!(lines != LineEnd::Any || dialect.escape_outside_quotes().is_none());
        let dialect = Dialect { lines, ..dialect };
        let (mut lines, mut expected, mut comments) = (Vec::new(), Vec::new(), 0);
        for (record, comment) in &records {
            if let Some(line) = line(&dialect, record) {
                lines.push(line);
                expected.push(Ok(record.iter().map(|(text, ..)| text.clone()).collect::<Vec<_>>()));
            }
            if let (Some(begin), Some(text)) = (&dialect.lenient.comment, comment) {
                comments += 1;
                lines.push(std::str::from_utf8(begin.bytes()).unwrap().to_owned() + &text.replace(['\n', '\r'], ""));
            }
        }
        let mut bytes = lines.join(end) + if closed { end } else { "" };
        if dos || bytes.ends_with('\x1a') {
            bytes.push('\x1a');
        }
        prop_assert_eq!(read(&dialect, bytes.as_bytes(), part), expected, "{:?}", bytes);
        let counted = framed(&dialect, bytes.as_bytes(), part).tolerated;
        prop_assert_eq!(counted.get(Tolerated::Comments), comments, "{:?}", bytes);
    }

    #[test]
    fn both_splitters_agree_where_both_can_split(
        record in "[ab; '\r\n]{0,24}",
        (delimiter, quote) in prop::sample::select(vec![(";", "'"), (" ", "'"), (";", " ")]),
    ) {
        let dialect = dialect(delimiter, quote, Escape::Doubled);
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
    fn records_before_a_footer_are_those_of_the_file_without_it(
        dialect in dialects(),
        bytes in "[a,;|\"\n\n\r#\\\\\x1a]{0,40}",
        (part, (lines, _), footer) in (1usize..9, line_ends(), 1u64..5),
    ) {
        let dialect = Dialect { lines, ..dialect };
        let skip_footer = FooterLines::new(footer).unwrap();
        let begin = begin_of_footer(lines, &bytes, skip_footer.count());
        let format = |dialect| Format::Csv(Arc::new(dialect));
        let (with, without) = (format(Dialect { skip_footer, ..dialect.clone() }), format(dialect));
        let mut framer = Framer::new(&with, 10_000, Position::default(), Position::default(), blake3::Hasher::new());
        for part in bytes.as_bytes().chunks(part) {
            framer.bytes().extend_from_slice(part);
            framer.scan(usize::MAX, usize::MAX);
        }
        framer.scan(usize::MAX, usize::MAX);
        let tail = format!("{:?}", framer.tail());
        let before = framer.cut();
        let mut framer = Framer::new(&without, 10_000, Position::default(), Position::default(), blake3::Hasher::new());
        framer.bytes().extend_from_slice(&bytes.as_bytes()[..begin.unwrap_or(0)]);
        framer.scan(usize::MAX, usize::MAX);
        let expected = match begin {
            None => "ShortFooter",
            Some(_) if framer.has_tail() => "InFooter",
            Some(_) => "Footer",
        };
        prop_assert!(tail.starts_with(expected), "{} {}", tail, expected);
        let alone = framer.cut();
        prop_assert_eq!((before.span, before.frames, before.hash), (alone.span, alone.frames, alone.hash));
    }

    #[test]
    fn records_do_not_depend_on_how_the_bytes_are_cut(
        dialect in dialects(),
        bytes in "[a,;|:=¦\t\"'\\\\^\n\rn#/ \x1a-]{0,60}",
        (part, limit, (lines, _), footer) in (1usize..9, 1usize..20, line_ends(), 0u64..4),
    ) {
        let skip_footer = FooterLines::new(footer).unwrap();
        let dialect = Dialect { lines, skip_footer, ..dialect };
        prop_assert_eq!(read(&dialect, bytes.as_bytes(), part), read(&dialect, bytes.as_bytes(), usize::MAX));
        let of = |part| framed(&dialect, bytes.as_bytes(), part);
        prop_assert_eq!((of(part).tolerated, of(part).hash), (of(usize::MAX).tolerated, of(usize::MAX).hash));
        let of = |part| {
            let Cut { span, frames, refused, tolerated, hash, .. } =
                framed_up_to(limit, &dialect, bytes.as_bytes(), part);
            (span, frames, refused, tolerated, hash)
        };
        prop_assert_eq!(of(part), of(usize::MAX));
        let (_, frames, refused, ..) = of(part);
        let lines_before = |offset: u64| {
            let before = &bytes.as_bytes()[..usize::try_from(offset).unwrap()];
            memchr::memchr_iter(lines.last_byte(), before).count() as u64
        };
        for (line, offset) in frames.iter().map(|frame| (frame.line, frame.offset)) {
            prop_assert_eq!(line, 1 + lines_before(offset), "{:?}", bytes);
        }
        for entry in &refused {
            prop_assert_eq!(entry.line, 1 + lines_before(entry.offset), "{:?}", bytes);
        }
    }
}

#[test]
fn line_feeds_in_comments_and_in_records_that_are_too_long_are_counted() {
    let lenient = LenientSettings { comment: Comment::new("#"), ..LenientSettings::default() };
    for (lines, end) in [(LineEnd::CrLf, "\r\n"), (LineEnd::CrCrLf, "\r\r\n")] {
        let dialect = Dialect { lines, lenient: lenient.clone(), ..Dialect::default() };
        let long = format!("4,\"{}\n{}", "x".repeat(20), "\n".repeat(30));
        let bytes =
            ["id,v", "1,\"a\nb\"", "2,x\ny", "#c\nd", "3,z", &long, "#\n\n", "5,\"\n\n", "6,v", ""].join(end);
        for part in [1, 5, usize::MAX] {
            let cut = framed_up_to(10, &dialect, bytes.as_bytes(), part);
            let frames: Vec<_> = cut.frames.iter().map(|frame| (frame.record, frame.line)).collect();
            assert_eq!(frames, [(0, 1), (1, 2), (2, 4), (3, 8), (6, 47)], "{lines:?} {part}");
            let refused: Vec<_> = cut.refused.iter().map(|entry| (entry.record, entry.line)).collect();
            assert_eq!(refused, [(4, 9), (5, 44)], "{lines:?} {part}");
        }
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

#[test]
fn blanks_around_fields_and_their_quotes_are_counted_and_left_out() {
    let lenient = LenientSettings { trim: true, ..LenientSettings::default() };
    let dialect = Dialect { lenient: lenient.clone(), null: vec!["NULL".to_owned()], ..Dialect::default() };
    let mut splitter = Splitter::new(&Format::Csv(Arc::new(dialect.clone())));
    let split = block_on(splitter.split(b" a ,\t\"b, \"  ,c,  , NULL , \"NULL\",\" d\"\" \"")).unwrap();
    let fields: Vec<_> = split.iter().map(String::from_utf8_lossy).collect();
    assert_eq!(
        (fields, split.trimmed),
        (["a", "b, ", "c", "", "", "NULL", " d\" "].map(Into::into).to_vec(), 5)
    );
    let all = read(&dialect, b"1,  \"x\ny\" ,z\n2, \"x\" y\n3,a \"b\"\n", 1);
    assert_eq!(all[0], Ok(["1", "x\ny", "z"].map(str::to_owned).to_vec()));
    assert!(all[1..].iter().all(Result::is_err) && all.len() == 3, "{all:?}");
    // Blanks that have another meaning stay.
    let tabs = Dialect { delimiter: Delimiter::new("\t").unwrap(), lenient, ..Dialect::default() };
    assert_eq!(read(&tabs, b" a\t\tb \n", 9)[0], Ok(["a", "", "b"].map(str::to_owned).to_vec()));
}

#[test]
fn a_comment_may_be_longer_than_a_record() {
    let lenient = LenientSettings { comment: Comment::new("#"), ..LenientSettings::default() };
    let format = Format::Csv(Arc::new(Dialect { lenient, ..Dialect::default() }));
    let comment = format!("# {}\"", "x".repeat(20_000));
    for (end, comments) in [("", 2), ("\n", 2), ("\n1,2\n#", 3)] {
        let begin = Position::default();
        let mut framer = Framer::new(&format, 10, begin, begin, blake3::Hasher::new());
        let bytes = format!("a,b\n{comment}\n3,4\n{comment}{end}");
        let mut held = 0;
        for part in bytes.as_bytes().chunks(7) {
            framer.bytes().extend_from_slice(part);
            framer.scan(usize::MAX, usize::MAX);
            held = held.max(framer.bytes().len());
        }
        assert_eq!(framer.tail(), if end == "\n" { Tail::Nothing } else { Tail::Comment });
        framer.close_tail();
        let cut = framer.cut();
        assert_eq!(
            (cut.span.to.offset, cut.hash),
            (bytes.len() as u64, blake3::hash(bytes.as_bytes()).to_string())
        );
        assert_eq!((cut.refused.len(), cut.tolerated.get(Tolerated::Comments)), (0, comments), "{end:?}");
        assert_eq!(cut.frames.len(), if end.len() > 1 { 3 } else { 2 });
        assert!(held < 10_000, "its bytes are not kept: {held}");
    }
}
