//! Records are the same wherever the bytes are cut.

use std::sync::Arc;

use proptest::prelude::*;

use crate::domain::format::{Dialect, FooterLines, LineEnd};
use crate::domain::{Format, Position};
use crate::format::framer::Framer;
use crate::format::framer::lone_record::{is_one_record, record_in_tail};
use crate::format::framer::open_tail::Tail;

fn in_lines(lines: LineEnd) -> Format {
    Format::Csv(Arc::new(Dialect { lines, ..Dialect::default() }))
}

/// Returns all results of framing the bytes, which are appended in parts cut at the given places.
fn framed(
    format: &Format,
    bytes: &[u8],
    cuts: &[usize],
    (limit, window): (usize, usize),
) -> (Vec<String>, Vec<String>, Position, String) {
    let mut framer =
        Framer::new(format, limit, Position::default(), Position::default(), blake3::Hasher::new());
    let (mut frames, mut refused) = (Vec::new(), Vec::new());
    let mut hash = String::new();
    let mut last = Position::default();
    let mut take = |framer: &mut Framer| {
        let cut = framer.cut();
        last = last.advance(cut.span).unwrap();
        hash = cut.hash;
        frames.extend(cut.frames.iter().map(|frame| {
            let raw = String::from_utf8_lossy(&cut.bytes[frame.start..frame.start + frame.len]).into_owned();
            format!("{} {} {} {raw:?}", frame.record, frame.line, frame.offset)
        }));
        refused.extend(cut.refused.iter().map(|entry| format!("{entry:?}")));
        last
    };
    let mut from = 0;
    for to in cuts.iter().copied().chain([bytes.len()]) {
        framer.bytes().extend_from_slice(&bytes[from..to]);
        from = to;
        loop {
            framer.scan(window, usize::MAX);
            if framer.records() < window {
                break;
            }
            take(&mut framer);
        }
    }
    let end = take(&mut framer);
    assert_eq!(hash, blake3::hash(&bytes[..usize::try_from(end.offset).unwrap()]).to_hex().to_string());
    (frames, refused, end, hash)
}

fn at_once(bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let (frames, refused, _, _) = framed(&Format::default(), bytes, &[], (1000, 100));
    (frames, refused)
}

#[test]
fn line_ends_inside_quotes_belong_to_the_record() {
    let (frames, _) = at_once(b"a,\"b\nc\"\r\n\r\n\nd,\"\"\"\n\"\ne\"f,g\n");
    assert_eq!(frames, [r#"0 1 0 "a,\"b\nc\"""#, r#"1 5 12 "d,\"\"\"\n\"""#, r#"2 7 20 "e\"f,g""#,]);
}

#[test]
fn an_oversized_record_is_one_entry_and_later_records_are_read() {
    let mut bytes = vec![b'x'; 5000];
    bytes.extend_from_slice(b"\na,b\n");
    let (frames, refused) = at_once(&bytes);
    assert_eq!(frames, [r#"1 2 5001 "a,b""#]);
    assert!(refused[0].contains("TooLong") && refused[0].contains("len: 5000"), "{refused:?}");
}

#[test]
fn an_open_quote_spoils_only_its_own_line() {
    let mut bytes = b"a,\"open\n".to_vec();
    for _ in 0..300 {
        bytes.extend_from_slice(b"c,d\n");
    }
    let (frames, refused) = at_once(&bytes);
    assert_eq!((frames.len(), refused.len()), (300, 1));
    assert!(refused[0].contains("Quote") && refused[0].contains("line: 1"), "{refused:?}");
}

#[test]
fn the_tail_is_classified() {
    let tail = |bytes: &[u8]| {
        let mut framer = Framer::new(
            &Format::default(),
            100,
            Position::default(),
            Position::default(),
            blake3::Hasher::new(),
        );
        framer.bytes().extend_from_slice(bytes);
        framer.scan(100, usize::MAX);
        format!("{:?}", framer.tail())
    };
    assert_eq!(tail(b"a\n"), "Nothing");
    assert_eq!(tail(b"a\n\r"), "Nothing");
    assert_eq!(tail(b"a\n\"b\"\r"), format!("{:?}", Tail::Record(b"\"b\"")));
    assert_eq!(tail(b"a\n\x1a"), "EndOfFile");
    assert_eq!(tail(b"a\nb\x1a"), format!("{:?}", Tail::Record(b"b")));
    assert_eq!(tail(b"a\n\x1ab"), format!("{:?}", Tail::Record(b"\x1ab")));
    assert_eq!(tail(b"a\n\"b"), "OpenQuote { line: 2, len: 2 }");
}

#[test]
fn a_record_alone_is_framed_as_in_its_file() {
    let skip_footer = FooterLines::new(2).unwrap();
    let format = Format::Csv(Arc::new(Dialect { skip_footer, ..Dialect::default() }));
    assert!(is_one_record(&format, 100, b"a,\"b\nc\""), "its last lines are no footer");
    for (lines, record) in [
        (LineEnd::Any, b"a,b".as_slice()),
        (LineEnd::Lf, b"a,b\r"),
        (LineEnd::CrLf, b"a,b"),
        (LineEnd::CrCrLf, b"a,b"),
    ] {
        let format = in_lines(lines);
        assert_eq!(record_in_tail(&format, b"a,b\r\x1a"), record, "{lines:?}");
        assert_eq!(record_in_tail(&format, b"a,b\x1a"), b"a,b", "{lines:?}");
    }
}

#[test]
fn lines_end_as_the_format_declares() {
    let frames = |lines, bytes: &[u8]| framed(&in_lines(lines), bytes, &[], (1000, 100)).0;
    let mac = frames(LineEnd::Cr, b"a,\"b\rc\"\r\rd\ne,f\r\r\ng\r");
    assert_eq!(mac, [r#"0 1 0 "a,\"b\rc\"""#, r#"1 4 9 "d\ne,f""#, r#"2 6 16 "\ng""#]);
    let windows = frames(LineEnd::CrCrLf, b"a,\"b\r\nc\"\r\r\nd\r\ne\n\r\r\n\r\r\nf\r\r\r\n");
    assert_eq!(windows, [r#"0 1 0 "a,\"b\r\nc\"""#, r#"1 3 11 "d\r\ne\n""#, r#"2 7 22 "f\r""#]);
}

#[test]
fn lines_that_are_held_back_are_not_copied_for_each_run() {
    const LINE: usize = 1000;
    let skip_footer = FooterLines::new(100).unwrap();
    let format = Format::Csv(Arc::new(Dialect { skip_footer, ..Dialect::default() }));
    let begin = Position::default();
    let mut framer = Framer::new(&format, LINE, begin, begin, blake3::Hasher::new());
    let (mut copies, mut records, mut largest) = (0, 0, 0);
    for _ in 0..2000 {
        framer.bytes().extend_from_slice(&[&[b'x'; LINE - 1][..], b"\n"].concat());
        framer.scan(usize::MAX, usize::MAX);
        let before = framer.bytes().as_ptr();
        records += framer.cut().frames.len();
        copies += usize::from(framer.bytes().as_ptr() != before);
        largest = largest.max(framer.bytes().len());
    }
    assert_eq!(records, 1900);
    assert!(copies < 10, "{copies} copies of what is held back");
    assert!(largest < 150 * LINE, "{largest} bytes in memory for the last 100 lines");
}

const LINES: [LineEnd; 5] = [LineEnd::Any, LineEnd::Lf, LineEnd::CrLf, LineEnd::CrCrLf, LineEnd::Cr];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]
    #[test]
    fn cutting_the_bytes_anywhere_gives_the_same_records(
        bytes in prop::collection::vec(prop::sample::select(b"ab,\"\"\n\n\r\r\r,\x1a\xef\xbb".to_vec()), 0..200),
        cuts in prop::collection::btree_set(0usize..200, 0..20),
        limit in 1usize..40,
        window in 1usize..5,
        lines in prop::sample::select(LINES.to_vec()),
        footer in 0u64..4,
    ) {
        let skip_footer = FooterLines::new(footer).unwrap();
        let format = Format::Csv(Arc::new(Dialect { lines, skip_footer, ..Dialect::default() }));
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= bytes.len()).collect();
        let at_once = framed(&format, &bytes, &[], (limit, 1000));
        prop_assert_eq!(&framed(&format, &bytes, &cuts, (limit, 1000)), &at_once);
        prop_assert_eq!(&framed(&format, &bytes, &cuts, (limit, window)), &at_once);
    }
}
