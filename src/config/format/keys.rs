//! The keys of `source.format`, as they are written.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::config::format::kind::Kind;
use crate::config::text::Text;
use crate::config::tree::Key;
use crate::domain::format::LineEnd;

#[derive(Debug, Clone, Default)]
pub struct Keys {
    pub kind: Kind,
    pub delimiter: Option<Text>,
    pub quote: Option<Text>,
    pub escape: Option<Text>,
    pub skip_lines: Option<u64>,
    pub skip_footer: u64,
    pub header: Option<Header>,
    pub names: Option<Vec<Text>>,
    pub null: Option<Vec<Text>>,
    pub lines: Option<Lines>,
    pub comment: Option<Text>,
    pub trim: bool,
    pub blank_rows: Skip,
    pub repeated_header: Skip,
    pub extra_fields: Extra,
    pub missing_fields: Missing,
    pub header_match: Match,
    pub decimal: Option<Text>,
    pub thousands: Option<Text>,
}

/// When a name of a header is that of a column.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    #[default]
    Exact,
    Relaxed,
}

/// What ends a line.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lines {
    Any,
    Lf,
    Crlf,
    Crcrlf,
    Cr,
}

impl From<Lines> for LineEnd {
    fn from(lines: Lines) -> Self {
        match lines {
            Lines::Any => Self::Any,
            Lines::Lf => Self::Lf,
            Lines::Crlf => Self::CrLf,
            Lines::Crcrlf => Self::CrCrLf,
            Lines::Cr => Self::Cr,
        }
    }
}

/// What to do with a line that is not meant as a record: a blank row or a repeated header.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    #[default]
    Refuse,
    Skip,
}

/// What to do with fields beyond those of the header.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Extra {
    #[default]
    Refuse,
    Ignore,
    IgnoreEmptyLast,
}

/// What to do with fields that a record does not have.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    #[default]
    Refuse,
    Pad,
}

/// `true`, `false`, or the number of lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    Absent,
    Lines(u64),
}

const KEYS: &[&str] = &[
    "kind",
    "delimiter",
    "quote",
    "escape",
    "skip_lines",
    "skip_footer",
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
    "header_match",
    "decimal",
    "thousands",
];

impl<'de> Deserialize<'de> for Keys {
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
                        "skip_footer" => keys.skip_footer = map.next_value()?,
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
                        "header_match" => keys.header_match = map.next_value()?,
                        "decimal" => keys.decimal = Some(map.next_value()?),
                        "thousands" => keys.thousands = Some(map.next_value()?),
                        other => return Err(de::Error::unknown_field(other, KEYS)),
                    }
                }
                Ok(keys)
            }
        }
        from.deserialize_any(NameOrKeys)
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
