//! Dialects of CSV.

use crate::domain::feed::Feed;
use crate::domain::format::header_rule::{HeaderRule, NameMatch};
use crate::domain::format::lines::{FooterLines, LineEnd};
use crate::domain::format::marks::{Delimiter, Escape, Mark};
use crate::domain::lenient_settings::{Comment, LenientSettings};

/// A dialect of CSV. [`Self::check`] tells whether its parts can be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The feed that declares the dialect. Messages name its settings.
    pub feed: Feed,
    pub delimiter: Delimiter,
    /// The character that encloses fields. If it is `None`, no character does, and every quote is text.
    pub quote: Option<Mark>,
    pub escape: Escape,
    /// The number of lines to skip before the header, whatever they contain.
    pub skip_lines: u64,
    pub header: HeaderRule,
    pub name_match: NameMatch,
    /// The number of lines at the end of a file that are no records, whatever they contain.
    pub skip_footer: FooterLines,
    /// A field is empty if its bytes, with its quotes, are one of these words.
    pub null: Vec<String>,
    pub lines: LineEnd,
    pub lenient: LenientSettings,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            feed: Feed::default(),
            delimiter: Delimiter::default(),
            quote: Some(Mark::QUOTE),
            escape: Escape::Doubled,
            skip_lines: 0,
            skip_footer: FooterLines::default(),
            header: HeaderRule::Lines(1),
            name_match: NameMatch::default(),
            null: Vec::new(),
            lines: LineEnd::Any,
            lenient: LenientSettings::default(),
        }
    }
}

/// Two parts of a dialect that cannot be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguous {
    #[error("the delimiter contains the quote")]
    Quote,
    #[error("the delimiter contains the escape")]
    Escape,
    #[error("the escape is also the quote")]
    Both,
    #[error("the delimiter or the quote is a letter or digit, which has another meaning after a backslash")]
    Sequence,
    #[error("a null word ends with an escape character, which belongs to the next byte")]
    Null,
    #[error("the comment begins like a field, with a quote, a delimiter or an escape")]
    Comment,
}

impl Dialect {
    /// Checks that every byte has one meaning.
    ///
    /// # Errors
    /// Returns the two parts of the dialect that cannot be told apart.
    pub fn check(&self) -> Result<(), Ambiguous> {
        let delimiter = self.delimiter.bytes();
        let (quote, escape) = (self.quote.map(Mark::byte), self.escape.byte());
        match (quote, escape) {
            (Some(quote), _) if delimiter.contains(&quote) => Err(Ambiguous::Quote),
            (_, Some(escape)) if delimiter.contains(&escape) => Err(Ambiguous::Escape),
            (Some(quote), Some(escape)) if quote == escape => Err(Ambiguous::Both),
            _ if self.is_in_sequence() => Err(Ambiguous::Sequence),
            _ if self.null.iter().any(|word| self.ends_escaped(word)) => Err(Ambiguous::Null),
            _ if self.comment_may_be_a_record() => Err(Ambiguous::Comment),
            _ => Ok(()),
        }
    }

    /// Whether a backslash before the delimiter or the quote could also be a sequence such as `\n`.
    fn is_in_sequence(&self) -> bool {
        let first = self.delimiter.bytes().first().copied();
        let marks = first.into_iter().chain(self.quote.map(Mark::byte));
        self.escape == Escape::Backslash && marks.into_iter().any(|byte| byte.is_ascii_alphanumeric())
    }

    fn ends_escaped(&self, word: &str) -> bool {
        let escapes = |escape| word.bytes().rev().take_while(|byte| *byte == escape).count();
        self.escape_outside_quotes().is_some_and(|escape| escapes(escape) % 2 == 1)
    }

    /// Whether a comment begins with bytes that have another meaning at the beginning of a record.
    fn comment_may_be_a_record(&self) -> bool {
        let Some(comment) = &self.lenient.comment else { return false };
        let (comment, delimiter) = (comment.bytes(), self.delimiter.bytes());
        let begins_like = |mark: Option<u8>| mark.is_some() && comment.first().copied() == mark;
        comment.starts_with(delimiter)
            || delimiter.starts_with(comment)
            || begins_like(self.quote.map(Mark::byte))
            || begins_like(self.escape_outside_quotes())
    }

    /// Whether the byte is a blank that is not part of a field when fields are trimmed: a space or a tab without another
    /// meaning.
    pub fn is_trimmed(&self, byte: u8) -> bool {
        let has_meaning = || {
            self.quote.map(Mark::byte) == Some(byte)
                || self.escape.byte() == Some(byte)
                || self.delimiter.bytes().contains(&byte)
        };
        self.lenient.trim && matches!(byte, b' ' | b'\t') && !has_meaning()
    }

    /// Describes what differs from the default, for fingerprints. The default is the empty text.
    pub fn declaration(&self) -> String {
        let default = Self::default();
        let parts = [
            (self.delimiter != default.delimiter, format!("delimiter {:?}", self.delimiter.bytes())),
            (self.quote != default.quote, format!("quote {:?}", self.quote.map(Mark::byte))),
            (self.escape != default.escape, format!("escape {:?}", self.escape.byte())),
            (self.escape == Escape::Backslash, "sequences".to_owned()),
            (self.skip_lines != 0, format!("skip {}", self.skip_lines)),
            (self.skip_footer.count() != 0, format!("footer {}", self.skip_footer.count())),
            (self.header != default.header, format!("header {:?}", self.header)),
            (self.name_match != default.name_match, format!("names {:?}", self.name_match)),
            (!self.null.is_empty(), format!("null {:?}", self.null)),
            (self.lines != default.lines, format!("lines {:?}", self.lines)),
        ];
        let changed = parts.into_iter().filter(|(differs, _)| *differs).map(|(_, part)| part);
        changed.chain(self.lenient.declaration()).collect::<Vec<_>>().join(", ")
    }

    /// Returns delimiter and quote if these two alone decide where fields begin and end. Then nothing but a doubled
    /// quote is escaped, and nothing is trimmed.
    pub fn plain(&self) -> Option<(u8, u8)> {
        match (self.delimiter.byte(), self.quote, self.escape) {
            (Some(delimiter), Some(quote), Escape::Doubled) if !self.lenient.trim => {
                Some((delimiter, quote.byte()))
            }
            _ => None,
        }
    }

    /// Whether a record alone is a comment.
    pub fn is_comment(&self, record: &[u8]) -> bool {
        let begins = |comment: &Comment| record.starts_with(comment.bytes());
        self.lenient.comment.as_ref().is_some_and(begins) && !self.lines.is_in(record)
    }

    /// Returns the number of carriage returns at the end of an open tail that belong to the line end that may follow.
    pub fn begun_line_end(&self, tail: &[u8]) -> usize {
        tail.iter().rev().take(self.lines.returns()).take_while(|byte| **byte == b'\r').count()
    }

    /// Whether the bytes of a field, with its quotes, mean that it is empty.
    pub fn is_null(&self, field: &[u8]) -> bool {
        self.null.iter().any(|word| word.as_bytes() == field)
    }

    /// Returns the escape character that works outside quotes.
    pub fn escape_outside_quotes(&self) -> Option<u8> {
        self.escape.byte().filter(|_| self.quote.is_none())
    }
}
