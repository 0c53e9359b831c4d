//! JSON text of arrays and objects whose members are single values, as collections have it in files and in SQLite.
//!
//! The literal text of a number is kept, because a number that was converted is not the number that was written.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A member of an array, or the value of a member of an object.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'t> {
    /// A string without its quotes and escapes.
    Text(Cow<'t, str>),
    /// A number, `true` or `false`, as it is written.
    Literal(&'t str),
    Null,
    /// An array or an object, which is not read further.
    Nested,
}

/// The text is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// Reads the members of an array or an object.
///
/// Call [`has_next`](Self::has_next) before each member, then [`key`](Self::key) if it is an object, then
/// [`item`](Self::item).
pub struct Reader<'t> {
    rest: &'t str,
    close: char,
    is_first: bool,
}

impl<'t> Reader<'t> {
    /// # Errors
    /// Returns an error if the text does not begin like an array.
    pub fn array(text: &'t str) -> Result<Self, Malformed> {
        Self::new(text, '[', ']')
    }

    /// # Errors
    /// Returns an error if the text does not begin like an object.
    pub fn object(text: &'t str) -> Result<Self, Malformed> {
        Self::new(text, '{', '}')
    }

    fn new(text: &'t str, open: char, close: char) -> Result<Self, Malformed> {
        let mut reader = Self { rest: text, close, is_first: true };
        reader.token(open)?;
        Ok(reader)
    }

    /// Whether another member follows. If none does, the text has ended.
    ///
    /// # Errors
    /// Returns an error if neither a member nor the end follows.
    pub fn has_next(&mut self) -> Result<bool, Malformed> {
        if self.token(self.close).is_ok() {
            self.space();
            return if self.rest.is_empty() { Ok(false) } else { Err(Malformed) };
        }
        if !std::mem::take(&mut self.is_first) {
            self.token(',')?;
        }
        Ok(true)
    }

    /// Reads the key of a member of an object.
    ///
    /// # Errors
    /// Returns an error if there is no string with a colon after it.
    pub fn key(&mut self) -> Result<Cow<'t, str>, Malformed> {
        self.token('"')?;
        let key = self.string()?;
        self.token(':')?;
        Ok(key)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// Returns an error if there is no value.
    pub fn item(&mut self) -> Result<Item<'t>, Malformed> {
        if self.token('"').is_ok() {
            return self.string().map(Item::Text);
        }
        if self.rest.starts_with(['[', '{']) {
            return Ok(Item::Nested);
        }
        let is_of_literal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let end = self.rest.find(|c| !is_of_literal(c)).unwrap_or(self.rest.len());
        let (literal, rest) = self.rest.split_at(end);
        self.rest = rest;
        match literal {
            "null" => Ok(Item::Null),
            "true" | "false" => Ok(Item::Literal(literal)),
            number if is_number(number) => Ok(Item::Literal(number)),
            _ => Err(Malformed),
        }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Skips space, and then this character.
    fn token(&mut self, c: char) -> Result<(), Malformed> {
        self.space();
        self.rest = self.rest.strip_prefix(c).ok_or(Malformed)?;
        Ok(())
    }

    /// Reads the rest of a string, behind its opening quote.
    fn string(&mut self) -> Result<Cow<'t, str>, Malformed> {
        let mut text = Cow::Borrowed("");
        loop {
            let end = self.rest.find(|c| c < ' ' || c == '"' || c == '\\').ok_or(Malformed)?;
            let (plain, rest) = self.rest.split_at(end);
            text += plain;
            if let Some(rest) = rest.strip_prefix('"') {
                self.rest = rest;
                return Ok(text);
            }
            self.rest = rest.strip_prefix('\\').ok_or(Malformed)?;
            text.to_mut().push(self.escape()?);
        }
    }

    /// Reads an escape, behind its backslash.
    fn escape(&mut self) -> Result<char, Malformed> {
        let mut rest = self.rest.chars();
        let c = rest.next().ok_or(Malformed)?;
        self.rest = rest.as_str();
        match c {
            '"' | '\\' | '/' => Ok(c),
            'b' => Ok('\u{8}'),
            'f' => Ok('\u{c}'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'u' => self.code_point(),
            _ => Err(Malformed),
        }
    }

    /// Reads the four hexadecimal digits after `\u`. A character above U+FFFF is written as two such escapes, a pair of
    /// surrogates.
    fn code_point(&mut self) -> Result<char, Malformed> {
        let first = self.code_unit()?;
        let second = match first {
            0xd800..0xdc00 => {
                self.rest = self.rest.strip_prefix("\\u").ok_or(Malformed)?;
                Some(self.code_unit()?)
            }
            _ => None,
        };
        let mut decoded = char::decode_utf16([first].into_iter().chain(second));
        decoded.next().and_then(Result::ok).ok_or(Malformed)
    }

    fn code_unit(&mut self) -> Result<u16, Malformed> {
        let (digits, rest) = self.rest.split_at_checked(4).ok_or(Malformed)?;
        self.rest = rest;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| is_hex).ok_or(Malformed)
    }
}

fn is_number(text: &str) -> bool {
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let number = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    are_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && are_digits(fraction)
        && are_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
}

/// Appends a text as a JSON string, with as few escapes as possible.
pub fn quote(text: &str, into: &mut String) {
    into.push('"');
    for c in text.chars() {
        match c {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            '\0'..' ' => {
                let _ = write!(into, "\\u{:04x}", u32::from(c));
            }
            _ => into.push(c),
        }
    }
    into.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;

    /// Reads the items of an array as a JSON library gives them. Returns `None` if an item is nested.
    fn items(text: &str) -> Result<Option<Vec<Json>>, Malformed> {
        let (mut reader, mut items) = (Reader::array(text)?, Vec::new());
        while reader.has_next()? {
            items.push(match reader.item()? {
                Item::Text(text) => Json::from(text),
                Item::Literal(text) => serde_json::from_str(text).map_err(|_| Malformed)?,
                Item::Null => Json::Null,
                Item::Nested => return Ok(None),
            });
        }
        Ok(Some(items))
    }

    /// Compares with a JSON library. It refuses numbers that no double can hold, so those are left out.
    fn check(text: &str) -> Result<(), TestCaseError> {
        match (items(text), serde_json::from_str::<Vec<Json>>(text)) {
            (Ok(Some(found)), Ok(expected)) => prop_assert_eq!(found, expected, "{}", text),
            (Ok(None), _) | (Err(Malformed), Err(_)) => {}
            (found, expected) => {
                let is_too_large = expected.as_ref().is_err_and(|error| error.to_string().contains("range"));
                prop_assert!(is_too_large, "{text:?}: {found:?}, {expected:?}");
            }
        }
        Ok(())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn arrays_are_read_as_a_json_library_reads_them(
            parts in prop::collection::vec(prop::sample::select(vec![
                "[", "]", ",", "\"", "\\", "\\u", "d83d", "\\ude00", "0041", " ", "\n", "\t", "\u{a0}", "{", "}", ":", "-", "0",
                "1", "12", ".5", "e", "E+9", "true", "false", "null", "a", "é🎧", "\u{1}", "\\n", "\\\"", "/", "\"a\"", "1.50",
            ]), 0..12),
            brackets in prop::bool::weighted(0.8),
        ) {
            let text = parts.concat();
            check(&if brackets { format!("[{text}]") } else { text })?;
        }

        #[test]
        fn a_quoted_text_is_read_back(text in "(\\PC|[\\x00-\\x1f\"\\\\]){0,20}") {
            let mut quoted = String::new();
            quote(&text, &mut quoted);
            check(&format!("[{quoted}]"))?;
            prop_assert_eq!(items(&format!("[{quoted}]")), Ok(Some(vec![Json::from(text)])));
        }
    }

    #[test]
    fn the_members_of_an_object_come_in_order_and_with_all_their_duplicates() {
        let mut reader = Reader::object(" { \"a\" : 1.50 , \"\\u0061\":\"x\",\"\":null} ").unwrap();
        let mut found = Vec::new();
        while reader.has_next().unwrap() {
            found.push((reader.key().unwrap(), reader.item().unwrap()));
        }
        let expected = [("a", Item::Literal("1.50")), ("a", Item::Text("x".into())), ("", Item::Null)];
        assert_eq!(found, expected.map(|(key, item)| (Cow::from(key), item)));
        for other in ["[]", "{a:1}", "{'a':1}", "{\"a\" 1}", "{\"a\":1,}", "{\"a\"}", "{1:1}", "{} x"] {
            let read = |text| {
                let mut reader = Reader::object(text)?;
                while reader.has_next()? {
                    reader.key()?;
                    reader.item()?;
                }
                Ok::<(), Malformed>(())
            };
            assert_eq!(read(other), Err(Malformed), "{other}");
        }
    }
}
