//! `source.format`: the dialect of the files, by name or key by key.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::config::tree::Key;
use crate::domain::Format;
use crate::domain::format::{Ambiguous, Delimiter, Dialect, Escape, HeaderRule, LineEnd, Mark};
use crate::domain::lenient::{Comment, ExtraFields, LenientSettings};

/// The names of known dialects.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Commas, and quotes by RFC 4180.
    #[default]
    Csv,
    /// Tabs, and quotes by RFC 4180.
    Tsv,
    /// What `SELECT … INTO OUTFILE` and `mysqldump --tab` of MySQL write.
    Mysql,
    /// The text format of `COPY … TO` of PostgreSQL.
    Postgres,
    /// What `dsbulk unload` writes.
    Dsbulk,
}

/// The section `source.format`. A key that is missing has the value of `kind`.
#[derive(Debug, Clone, Default)]
pub struct FormatConfig(Keys);

#[derive(Debug, Clone, Default)]
struct Keys {
    kind: Kind,
    delimiter: Option<Text>,
    quote: Option<Text>,
    escape: Option<Text>,
    skip_lines: Option<u64>,
    header: Option<Header>,
    names: Option<Vec<Text>>,
    null: Option<Vec<Text>>,
    lines: Option<Lines>,
    comment: Option<Text>,
    trim: bool,
    blank_rows: Skip,
    repeated_header: Skip,
    extra_fields: Extra,
    missing_fields: Missing,
}

/// A text. A number would lose its spelling: 007 is 7.
#[derive(Debug, Clone)]
struct Text(String);

/// What ends a line.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Lines {
    Any,
    Lf,
    Crlf,
}

/// What to do with a record that is none.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Skip {
    #[default]
    Refuse,
    Skip,
}

/// What to do with fields beyond those of the header.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Extra {
    #[default]
    Refuse,
    Ignore,
    IgnoreEmptyLast,
}

/// What to do with fields that a record does not have.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Missing {
    #[default]
    Refuse,
    Pad,
}

/// `true`, `false`, or the number of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    Absent,
    Lines(u64),
}

/// A problem of the format: its key, what is wrong, and the next step.
pub type Problem = (&'static str, String, &'static str);

impl FormatConfig {
    /// Returns the format that the keys describe.
    ///
    /// # Errors
    /// Returns the first key with a value that cannot be used.
    pub fn compile(&self) -> Result<Format, Problem> {
        let Self(keys) = self;
        let mut dialect = keys.kind.dialect();
        if let Some(Text(text)) = &keys.delimiter {
            dialect.delimiter = delimiter(text)?;
        }
        if let Some(Text(text)) = &keys.quote {
            dialect.quote = quote(text)?;
        }
        if let Some(Text(text)) = &keys.escape {
            dialect.escape = escape(text)?;
        }
        if let Some(lines) = keys.skip_lines {
            dialect.skip_lines = lines;
        }
        if let Some(words) = &keys.null {
            dialect.null = texts(words);
        }
        if let Some(lines) = keys.lines {
            dialect.lines = lines.into();
        }
        dialect.header = keys.header(dialect.header)?;
        dialect.lenient = keys.lenient()?;
        dialect.check().map_err(ambiguous)?;
        Ok(Format::Csv(Arc::new(dialect)))
    }
}

impl Keys {
    fn lenient(&self) -> Result<LenientSettings, Problem> {
        Ok(LenientSettings {
            comment: self.comment.as_ref().map(|Text(text)| comment(text)).transpose()?,
            trim: self.trim,
            skip_blank_rows: self.blank_rows == Skip::Skip,
            skip_repeated_headers: self.repeated_header == Skip::Skip,
            extra_fields: match self.extra_fields {
                Extra::Refuse => ExtraFields::Refuse,
                Extra::Ignore => ExtraFields::Ignore,
                Extra::IgnoreEmptyLast => ExtraFields::IgnoreEmptyLast,
            },
            pad_missing: self.missing_fields == Missing::Pad,
        })
    }

    fn header(&self, of_kind: HeaderRule) -> Result<HeaderRule, Problem> {
        let has_header = match (self.header, of_kind) {
            (Some(Header::Lines(lines)), _) => Some(lines),
            (None, HeaderRule::Lines(lines)) => Some(lines),
            (Some(Header::Absent), _) | (None, HeaderRule::Names(_)) => None,
        };
        match (has_header, &self.names) {
            (Some(0), _) => Err((
                "source.format.header",
                "is 0".to_owned(),
                "set it to false if the files have no header",
            )),
            (Some(lines), None) => Ok(HeaderRule::Lines(lines)),
            (Some(_), Some(_)) => Err((
                "source.format.names",
                "names the fields, but the files have a header".to_owned(),
                "set source.format.header to false, or remove the names",
            )),
            (None, Some(names)) if !names.is_empty() => Ok(HeaderRule::Names(texts(names))),
            (None, _) => Err((
                "source.format.names",
                "is missing, and the files have no header".to_owned(),
                "list the names of all fields in order: names: [id, name]",
            )),
        }
    }
}

fn texts(list: &[Text]) -> Vec<String> {
    list.iter().map(|Text(text)| text.clone()).collect()
}

impl From<Lines> for LineEnd {
    fn from(lines: Lines) -> Self {
        match lines {
            Lines::Any => Self::Any,
            Lines::Lf => Self::Lf,
            Lines::Crlf => Self::CrLf,
        }
    }
}

fn delimiter(text: &str) -> Result<Delimiter, Problem> {
    let text = if matches!(text, "tab" | "\\t") { "\t" } else { text };
    Delimiter::new(text).ok_or_else(|| {
        let problem = format!("`{}` cannot separate fields", text.escape_debug());
        (
            "source.format.delimiter",
            problem,
            "write one or a few characters in double quotes, such as \";\" or \"\\t\"",
        )
    })
}

fn quote(text: &str) -> Result<Option<Mark>, Problem> {
    match Mark::new(text) {
        _ if text == "none" => Ok(None),
        Some(mark) => Ok(Some(mark)),
        None => Err((
            "source.format.quote",
            format!("`{text}` is not one ASCII character"),
            "write one character, such as \"'\", or none",
        )),
    }
}

fn escape(text: &str) -> Result<Escape, Problem> {
    match (text, Mark::new(text)) {
        ("doubled", _) => Ok(Escape::Doubled),
        ("backslash", _) => Ok(Escape::Backslash),
        (_, Some(mark)) => Ok(Escape::Mark(mark)),
        (_, None) => Err((
            "source.format.escape",
            format!("`{}` is no escape", text.escape_debug()),
            "write doubled, backslash, or one character in quotes, such as '\\'",
        )),
    }
}

fn comment(text: &str) -> Result<Comment, Problem> {
    Comment::new(text).ok_or_else(|| {
        let problem = format!("`{}` cannot begin a comment", text.escape_debug());
        ("source.format.comment", problem, "write one or a few characters in double quotes, such as \"#\"")
    })
}

fn ambiguous(problem: Ambiguous) -> Problem {
    let next = "choose delimiter, quote, escape and comment so that each character has one meaning";
    ("source.format", problem.to_string(), next)
}

impl Kind {
    fn dialect(self) -> Dialect {
        let tab = || Delimiter::new("\t").unwrap_or(Dialect::default().delimiter);
        let text_dump = || Dialect {
            delimiter: tab(),
            quote: None,
            escape: Escape::Backslash,
            header: HeaderRule::Names(Vec::new()),
            null: vec!["\\N".to_owned()],
            ..Dialect::default()
        };
        match self {
            Self::Csv => Dialect::default(),
            Self::Tsv => Dialect { delimiter: tab(), ..Dialect::default() },
            // MySQL writes carriage returns as they are.
            Self::Mysql => Dialect { lines: LineEnd::Lf, ..text_dump() },
            Self::Postgres => text_dump(),
            Self::Dsbulk => Dialect {
                escape: Mark::new("\\").map_or(Escape::Doubled, Escape::Mark),
                ..Dialect::default()
            },
        }
    }
}

const KEYS: &[&str] = &[
    "kind",
    "delimiter",
    "quote",
    "escape",
    "skip_lines",
    "header",
    "names",
    "null",
    "lines",
    "comment",
    "trim",
    "blank_rows",
    "repeated_header",
    "extra_fields",
    "missing_fields",
];

impl<'de> Deserialize<'de> for FormatConfig {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct NameOrKeys;
        impl<'de> Visitor<'de> for NameOrKeys {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a format, or its keys")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Keys, E> {
                let kind = Kind::deserialize(de::value::StrDeserializer::new(name))?;
                Ok(Keys { kind, ..Keys::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Keys::default();
                while let Some(Key(key)) = map.next_key()? {
                    match key.as_str() {
                        "kind" => keys.kind = map.next_value()?,
                        "delimiter" => keys.delimiter = Some(map.next_value()?),
                        "quote" => keys.quote = Some(map.next_value()?),
                        "escape" => keys.escape = Some(map.next_value()?),
                        "skip_lines" => keys.skip_lines = Some(map.next_value()?),
                        "header" => keys.header = Some(map.next_value()?),
                        "names" => keys.names = Some(map.next_value()?),
                        "null" => keys.null = Some(map.next_value()?),
                        "lines" => keys.lines = Some(map.next_value()?),
                        "comment" => keys.comment = Some(map.next_value()?),
                        "trim" => keys.trim = map.next_value()?,
                        "blank_rows" => keys.blank_rows = map.next_value()?,
                        "repeated_header" => keys.repeated_header = map.next_value()?,
                        "extra_fields" => keys.extra_fields = map.next_value()?,
                        "missing_fields" => keys.missing_fields = map.next_value()?,
                        other => return Err(de::Error::unknown_field(other, KEYS)),
                    }
                }
                Ok(keys)
            }
        }
        from.deserialize_any(NameOrKeys).map(Self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OnlyText;
        impl Visitor<'_> for OnlyText {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text; put numbers and the words true, false, NULL and ~ in quotes: \"NULL\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }
        }
        from.deserialize_any(OnlyText)
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct FlagOrLines;
        impl Visitor<'_> for FlagOrLines {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false or the number of lines of the header")
            }

            fn visit_bool<E: de::Error>(self, has: bool) -> Result<Header, E> {
                Ok(if has { Header::Lines(1) } else { Header::Absent })
            }

            fn visit_u64<E: de::Error>(self, lines: u64) -> Result<Header, E> {
                Ok(Header::Lines(lines))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Header, E> {
                match (text, text.parse()) {
                    ("true", _) => Ok(Header::Lines(1)),
                    ("false", _) => Ok(Header::Absent),
                    (_, Ok(lines)) => Ok(Header::Lines(lines)),
                    (other, Err(_)) => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
                }
            }
        }
        from.deserialize_any(FlagOrLines)
    }
}
