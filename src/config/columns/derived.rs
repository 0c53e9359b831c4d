//! A column of `source.derive`: how its value is found.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::domain::reading::Precision;

/// How the value of a derived column is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Derived {
    /// A part of a timestamp column, in a time zone or UTC.
    PartOf {
        of: String,
        precision: Precision,
        zone: Option<String>,
    },
    FileDate,
    FileName,
    FilePath,
    /// The text that the group of a regular expression matches in the path, parsed as this type (text by default).
    FromPath {
        pattern: String,
        kind: Option<String>,
    },
    /// The value of a folder `NAME=VALUE`.
    Hive {
        folder: String,
        kind: Option<String>,
    },
    Line,
}

const EXPECTED: &str = "{ date_of: COLUMN }, { hour_of: COLUMN }, { month_of: COLUMN }, { from_path: \"PATTERN\" }, \
                        { hive: FOLDER }, file_date, file_name, file_path or line";

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Keys {
    hour_of: Option<String>,
    date_of: Option<String>,
    month_of: Option<String>,
    zone: Option<String>,
    from_path: Option<String>,
    hive: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(with = "present")]
    file_date: bool,
    #[serde(with = "present")]
    file_name: bool,
    #[serde(with = "present")]
    file_path: bool,
    #[serde(with = "present")]
    line: bool,
}

/// A key that needs no value, as in `{ file_date }`.
mod present {
    use serde::de::{Deserialize as _, Deserializer};

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
        Ok(Option::<bool>::deserialize(from)?.unwrap_or(true))
    }
}

impl Keys {
    /// Returns what the keys describe. Returns `None` if they describe nothing or several values, or if `zone` or
    /// `type` does not apply.
    fn derived(self) -> Option<Derived> {
        let part = |of: Option<String>, precision| {
            of.map(|of| Derived::PartOf { of, precision, zone: self.zone.clone() })
        };
        let kind = self.kind.clone();
        let of_path = [
            self.from_path.map(|pattern| Derived::FromPath { pattern, kind: kind.clone() }),
            self.hive.map(|folder| Derived::Hive { folder, kind: kind.clone() }),
        ];
        let of_time = [
            part(self.hour_of, Precision::Hour),
            part(self.date_of, Precision::Day),
            part(self.month_of, Precision::Month),
        ];
        let words = [
            self.file_date.then_some(Derived::FileDate),
            self.file_name.then_some(Derived::FileName),
            self.file_path.then_some(Derived::FilePath),
            self.line.then_some(Derived::Line),
        ];
        let mut found = of_path.into_iter().chain(of_time).chain(words).flatten();
        let only = found.next().filter(|_| found.next().is_none())?;
        let takes_zone = matches!(only, Derived::PartOf { .. });
        let takes_kind = matches!(only, Derived::FromPath { .. } | Derived::Hive { .. });
        Some(only).filter(|_| (takes_zone || self.zone.is_none()) && (takes_kind || self.kind.is_none()))
    }
}

impl<'de> Deserialize<'de> for Derived {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct WordOrKeys;
        impl<'de> Visitor<'de> for WordOrKeys {
            type Value = Derived;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<Derived, E> {
                match word {
                    "file_date" => Ok(Derived::FileDate),
                    "file_name" => Ok(Derived::FileName),
                    "file_path" => Ok(Derived::FilePath),
                    "line" => Ok(Derived::Line),
                    _ => Err(de::Error::custom(format!("expected {EXPECTED}"))),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Derived, A::Error> {
                let keys = Keys::deserialize(de::value::MapAccessDeserializer::new(map))?;
                keys.derived().ok_or_else(|| de::Error::custom(format!("expected {EXPECTED}")))
            }
        }
        from.deserialize_any(WordOrKeys)
    }
}
