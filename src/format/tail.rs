//! The open tail of a file: what follows its last line end outside quotes (law 4).

use crate::domain::Format;
use crate::format::framer::Framer;
use crate::format::framer::open_tail::Tail;
use crate::format::splitter::{ends_inside_delimiter, lacks_fields};

/// The maximum length of an open tail that is loaded. A longer tail waits for its line end, because the ledger of a
/// cluster keeps the bytes of a tail while it is loaded.
pub const LONGEST: usize = 1024 * 1024;

/// Whether a tail that is a complete record may be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TailPolicy {
    /// The file is complete unless a writer is seen.
    Load,
    /// The writer may not have finished.
    Hold,
    /// A last record without a line end is never loaded (`source.final_newline: required`). With `is_complete`, the file
    /// is complete unless a writer is seen.
    Never { is_complete: bool },
}

impl TailPolicy {
    /// Returns the policy for a tail that contains no record.
    fn without_record(self) -> Self {
        match self {
            Self::Never { is_complete: true } => Self::Load,
            Self::Never { is_complete: false } => Self::Hold,
            other => other,
        }
    }

    /// Returns the policy for a file that has turned out not to be complete.
    pub fn incomplete(self) -> Self {
        match self {
            Self::Load | Self::Hold => Self::Hold,
            Self::Never { .. } => Self::Never { is_complete: false },
        }
    }
}

/// What to do with the tail of a file that has no more bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Judged {
    /// There is no tail.
    None,
    /// Load the tail: a record, or what is none, such as a comment, half a line end, the end of file of DOS or the footer.
    Load,
    /// Wait for more bytes. With `held`, the tail waits only because its writer may not have finished.
    Wait { detail: String, held: bool },
}

/// Judges what follows the last line end. `fields` is the number of fields in the header.
pub async fn judge(framer: &Framer, fields: usize, policy: TailPolicy) -> Judged {
    let wait = |detail: String| Judged::Wait { detail, held: false };
    match framer.tail() {
        Tail::Nothing if !framer.has_tail() => Judged::None,
        Tail::Nothing => held_unless(
            policy,
            "the file ends with a carriage return; the line feed that follows it is expected",
        ),
        Tail::Comment => held_unless(
            policy,
            "the comment on the last line has no line end; the file is loaded when its writer has finished",
        ),
        Tail::EndOfFile => held_unless(
            policy.without_record(),
            "the file ends with ^Z, the end of file of DOS; it is loaded when its writer has finished",
        ),
        Tail::ShortFooter { .. } if fields == 0 => Judged::None,
        Tail::ShortFooter { lines, count } => wait(format!(
            "{lines} lines follow what was loaded, but {} declares {count} lines at the end of the file; more is \
             expected",
            framer.format().setting("skip_footer")
        )),
        Tail::InFooter { line } => wait(format!(
            "the record on line {line} has not ended where the footer begins ({}); close its quotes, or append what is \
             missing",
            framer.format().setting("skip_footer")
        )),
        Tail::Footer { is_open } => {
            let policy = if is_open { policy } else { policy.without_record() };
            held_unless(
                policy,
                "the last lines are the footer; they are skipped when the writer has finished",
            )
        }
        Tail::Record(tail) => record(framer.format(), tail, fields, policy),
        Tail::OpenQuote { line, len } => wait(format!(
            "a quote in the record on line {line} is still open, so the {len} bytes from there on are not loaded \
             yet; close it, or append what is missing"
        )),
        Tail::OpenEscape { line } => {
            wait(format!("the record on line {line} ends with an escape character; more is expected"))
        }
        Tail::TooLong { line, len } => wait(format!(
            "the record on line {line} is longer than limits.max_record_bytes and has no end within \
             {len} bytes; more is expected"
        )),
    }
}

/// Judges a header that has no line end. Its writer may still append to it.
pub fn judge_header(policy: TailPolicy) -> Judged {
    held_unless(policy, "the header has no line end; the file is loaded when its writer has finished")
}

fn record(format: &Format, tail: &[u8], fields: usize, policy: TailPolicy) -> Judged {
    let wait = |detail: String| Judged::Wait { detail, held: false };
    if ends_inside_delimiter(format, tail) {
        return wait("the last record ends inside a delimiter; more is expected".to_owned());
    }
    if let Some(found) = lacks_fields(format, tail, fields) {
        return wait(format!(
            "the last record has {found} of {fields} fields and no line end; more is expected"
        ));
    }
    if ends_inside_a_character(tail) {
        return wait("the last record ends inside a character; more is expected".to_owned());
    }
    if tail.len() > LONGEST {
        return wait(format!(
            "the last record has {} bytes, too many to load it without a line end; append one",
            tail.len()
        ));
    }
    held_unless(policy, "the last record has no line end; it is loaded when its writer has finished")
}

fn held_unless(policy: TailPolicy, held: &str) -> Judged {
    match policy {
        TailPolicy::Load => Judged::Load,
        TailPolicy::Hold => Judged::Wait { detail: held.to_owned(), held: true },
        TailPolicy::Never { .. } => Judged::Wait {
            detail: "the file does not end with a line end, and source.final_newline requires one".to_owned(),
            held: false,
        },
    }
}

/// Whether the last bytes are the beginning of a longer UTF-8 sequence.
fn ends_inside_a_character(bytes: &[u8]) -> bool {
    let lead = bytes.iter().rev().take(3).position(|byte| byte & 0xc0 != 0x80);
    let Some((len, lead)) = lead.and_then(|at| Some((at + 1, bytes.get(bytes.len() - at - 1)?))) else {
        return false;
    };
    let needed = match lead {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    needed > len
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::Position;
    use crate::domain::format::{Dialect, FooterLines};
    use crate::domain::lenient_settings::{Comment, LenientSettings};

    const REQUIRED: TailPolicy = TailPolicy::Never { is_complete: true };

    fn judged(bytes: &[u8], policy: TailPolicy) -> Judged {
        judged_in(&Format::default(), bytes, policy)
    }

    fn judged_in(format: &Format, bytes: &[u8], policy: TailPolicy) -> Judged {
        let mut framer =
            Framer::new(format, LONGEST * 2, Position::default(), Position::default(), blake3::Hasher::new());
        framer.bytes().extend_from_slice(bytes);
        framer.scan(usize::MAX, usize::MAX);
        futures::executor::block_on(judge(&framer, 2, policy))
    }

    fn waits(bytes: &[u8]) -> bool {
        matches!(judged(bytes, TailPolicy::Load), Judged::Wait { held: false, .. })
    }

    #[test]
    fn a_complete_record_is_loaded_when_the_file_is_complete() {
        for tail in ["1,2", "1,2\r", "\"1\",\"a\nb\"", "1,ü", "1,2,3", "\r", "\"1\"a"] {
            let bytes = format!("0,0\n{tail}");
            assert_eq!(judged(bytes.as_bytes(), TailPolicy::Load), Judged::Load, "{tail:?}");
            assert!(
                matches!(judged(bytes.as_bytes(), TailPolicy::Hold), Judged::Wait { held: true, .. }),
                "{tail:?}"
            );
            assert!(
                matches!(judged(bytes.as_bytes(), REQUIRED), Judged::Wait { held: false, .. }),
                "{tail:?}"
            );
        }
        assert_eq!(judged(b"0,0\n", TailPolicy::Hold), Judged::None);
    }

    #[test]
    fn a_comment_and_a_record_that_is_padded_wait_while_the_file_may_grow() {
        let comment = Comment::new("#");
        let lenient = LenientSettings { comment, pad_missing: true, ..LenientSettings::default() };
        let format = Format::Csv(Arc::new(Dialect { lenient, ..Dialect::default() }));
        for tail in ["1", "# \"", "#", "\r"] {
            let bytes = format!("0,0\n{tail}");
            let judged = |policy| judged_in(&format, bytes.as_bytes(), policy);
            assert_eq!(judged(TailPolicy::Load), Judged::Load, "{tail:?}");
            assert!(matches!(judged(TailPolicy::Hold), Judged::Wait { held: true, .. }), "{tail:?}");
        }
        assert_eq!(judged_in(&format, b"0,0\n#1\n", TailPolicy::Hold), Judged::None);
    }

    #[test]
    fn the_end_of_file_of_dos_is_passed_over_when_the_file_is_complete() {
        for tail in ["\x1a", "\r\x1a"] {
            let bytes = format!("0,0\n{tail}");
            let judged = |policy| judged(bytes.as_bytes(), policy);
            assert_eq!(
                (judged(TailPolicy::Load), judged(REQUIRED)),
                (Judged::Load, Judged::Load),
                "{tail:?}"
            );
            for policy in [TailPolicy::Hold, REQUIRED.incomplete()] {
                assert!(matches!(judged(policy), Judged::Wait { held: true, .. }), "{tail:?}");
            }
        }
        assert_eq!(judged(b"0,0\n1,2\x1a", TailPolicy::Load), Judged::Load);
        assert!(matches!(judged(b"0,0\n1,2\x1a", REQUIRED), Judged::Wait { held: false, .. }));
        assert!(waits(b"0,0\n1\x1a") && waits(b"0,0\n1,\"2\x1a"), "a record that is cut waits as ever");
    }

    #[test]
    fn a_footer_is_skipped_when_the_file_is_complete() {
        let skip_footer = FooterLines::new(2).unwrap_or_default();
        let format = Format::Csv(Arc::new(Dialect { skip_footer, ..Dialect::default() }));
        for tail in ["Total,\"1\n\n", "\n,\"\n\x1a", "a,b,c\nTotal"] {
            let bytes = format!("0,0\n{tail}");
            let judged = |policy| judged_in(&format, bytes.as_bytes(), policy);
            assert_eq!(judged(TailPolicy::Load), Judged::Load, "{tail:?}");
            for policy in [TailPolicy::Hold, REQUIRED.incomplete()] {
                let lacks_line_end = tail.ends_with("Total") && policy != TailPolicy::Hold;
                let waits = matches!(judged(policy), Judged::Wait { held, .. } if held != lacks_line_end);
                assert!(waits, "{tail:?} {policy:?}");
            }
            assert_eq!(judged(REQUIRED) == Judged::Load, !tail.ends_with("Total"), "{tail:?}");
        }
        for bytes in ["", "Total\n", "0,0\n1,\"2\n3\n4\n"] {
            let judged = judged_in(&format, bytes.as_bytes(), TailPolicy::Load);
            assert!(matches!(judged, Judged::Wait { held: false, .. }), "{bytes:?}");
        }
    }

    #[test]
    fn a_tail_that_is_cut_waits_even_if_the_file_is_complete() {
        let long = [b"1,".as_slice(), &vec![b'x'; LONGEST]].concat();
        for tail in [b"1".as_slice(), b"1,\"2", b"1,\xc3", b"1,\xe2\x82", b"1,\xf0\x9f\x98", &long] {
            assert!(waits(&[b"0,0\n", tail].concat()), "{:?}", tail.get(..9).unwrap_or(tail));
        }
        assert!(
            !waits("1,€".as_bytes()) && !waits(b"1,\xff"),
            "a complete character, and bytes that are not text"
        );
    }
}
