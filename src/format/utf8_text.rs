//! Recognizes UTF-8 text in files that are declared to be in another encoding.
//!
//! Text in a legacy encoding is hardly ever valid UTF-8, but a single-byte encoding reads any UTF-8 as text: `ü` becomes
//! `Ã¼`. Nobody would notice, so such a file is refused. See ADR 38.

use encoding_rs::{Encoding, UTF_8};

use crate::domain::Feed;
use crate::domain::header::HeaderError;
use crate::domain::ledger::HEAD;
use crate::domain::text::visible;

/// The number of bytes checked.
pub const LOOKED_AT: usize = HEAD;

/// The maximum number of characters that are shown on each side of the first one beyond ASCII.
const AROUND: usize = 12;

/// Checks the first decompressed bytes of a file that is declared in an encoding other than UTF-8. The file is UTF-8 if all
/// characters in these bytes are valid, except for the last one, which may be incomplete.
///
/// # Errors
/// Returns an error that shows what would be misread.
pub fn check(first: &[u8], encoding: &'static Encoding, feed: &Feed) -> Result<(), HeaderError> {
    let (Some(enough), Some(text)) = (enough(encoding), valid(first)) else { return Ok(()) };
    let mut others = text.char_indices().filter(|(_, character)| !character.is_ascii());
    let Some((at, _)) = others.next() else { return Ok(()) };
    if others.count() + 1 < enough {
        return Ok(());
    }
    let (at, word) = word_with(text, at);
    let misread = encoding.decode_without_bom_handling(word.as_bytes()).0;
    let (word, misread) = (visible(word), visible(&misread));
    Err(HeaderError::Utf8 { feed: feed.clone(), set: encoding.name(), at, word, misread })
}

/// Returns how many characters beyond ASCII show that text is not in this encoding. In encodings with several bytes for
/// a character, a few characters may be valid UTF-8 by chance. Text in UTF-16 or ISO-2022-JP does not look like UTF-8.
fn enough(encoding: &'static Encoding) -> Option<usize> {
    let can_be_mistaken = encoding != UTF_8 && encoding.is_ascii_compatible();
    can_be_mistaken.then_some(if encoding.is_single_byte() { 1 } else { 8 })
}

/// Returns the text if all these bytes are valid UTF-8, without a character that is cut off at their end.
fn valid(first: &[u8]) -> Option<&str> {
    let first = first.get(..LOOKED_AT).unwrap_or(first);
    match std::str::from_utf8(first) {
        Ok(text) => Some(text),
        Err(error) if error.error_len().is_some() => None,
        Err(error) => std::str::from_utf8(first.get(..error.valid_up_to())?).ok(),
    }
}

/// Returns where the word with the character at this index begins, and the word.
fn word_with(text: &str, at: usize) -> (usize, &str) {
    let (before, behind) = text.split_at(at);
    let first = behind.chars().next().map_or(0, char::len_utf8);
    let (begin, end) =
        (at - len_of_word(before.chars().rev()), at + first + len_of_word(behind.chars().skip(1)));
    (begin, text.get(begin..end).unwrap_or_default())
}

fn len_of_word(characters: impl Iterator<Item = char>) -> usize {
    characters.take(AROUND).take_while(|character| character.is_alphanumeric()).map(char::len_utf8).sum()
}

#[cfg(test)]
mod tests {
    use encoding_rs::{GBK, ISO_2022_JP, KOI8_R, SHIFT_JIS, UTF_16LE, WINDOWS_1251, WINDOWS_1252};

    use super::*;

    fn found(bytes: &[u8], encoding: &'static Encoding) -> Option<String> {
        check(bytes, encoding, &Feed::default()).err().map(|error| error.to_string())
    }

    #[test]
    fn utf8_that_would_be_misread_is_shown() {
        let said = found("id;city\n1;Zürich\n2;Köln\n".as_bytes(), WINDOWS_1252).unwrap();
        let expected = "the file is UTF-8, but source.encoding is windows-1252: `Zürich` at byte 10 would be read as \
                        `ZÃ¼rich`\n  next: set source.encoding: utf-8";
        assert!(said.starts_with(expected), "{said}");
        for (text, word) in [("ü", "`ü`"), ("1;€ 5", "`€`"), ("aaaaaaaaaaaaaaaaüa,", "`aaaaaaaaaaaaüa`")]
        {
            let said = found(text.as_bytes(), WINDOWS_1252).unwrap();
            assert!(said.contains(word), "{said}");
        }
        assert!(found("Привет".as_bytes(), WINDOWS_1251).is_some());
        assert!(found("Привет".as_bytes(), KOI8_R).is_some());
    }

    #[test]
    fn text_in_the_declared_encoding_is_no_utf8() {
        for text in ["plain", "Zürich", "Zürich, Köln; Ó€", "é", "Ã", "a«b»", "\u{a0}"] {
            let bytes = WINDOWS_1252.encode(text).0;
            assert_eq!(found(&bytes, WINDOWS_1252), None, "{text}");
        }
        assert_eq!(found(&KOI8_R.encode("Привет, мир").0, KOI8_R), None);
        assert_eq!(found(&WINDOWS_1251.encode("Привіт, Єва").0, WINDOWS_1251), None);
        assert_eq!(found("日本".as_bytes(), UTF_8), None);
        assert_eq!(found("日本".as_bytes(), UTF_16LE), None);
        assert_eq!(found("日本".as_bytes(), ISO_2022_JP), None);
    }

    #[test]
    fn one_invalid_byte_shows_that_a_file_is_not_utf8() {
        assert_eq!(found(b"Z\xc3\xbcrich, K\xf6ln", WINDOWS_1252), None);
        let (mut long, beyond) = (vec![b'x'; LOOKED_AT - 1], b"\xc3\xbc");
        long.extend(beyond);
        assert_eq!(found(&long, WINDOWS_1252), None, "the character is cut off");
        long[..2].copy_from_slice(beyond);
        assert!(found(&long, WINDOWS_1252).is_some());
        long.push(0xff);
        assert!(found(&long, WINDOWS_1252).is_some(), "only the first bytes are looked at");
    }

    #[test]
    fn a_few_characters_in_an_encoding_of_several_bytes_may_look_like_utf8() {
        assert_eq!(found(&GBK.encode("目").0, GBK), None);
        assert!(found("日本語で書かれた文".as_bytes(), GBK).is_some());
        assert!(found("日本語で書かれた文".as_bytes(), SHIFT_JIS).is_some());
        assert_eq!(found("日本語".as_bytes(), GBK), None);
    }
}
