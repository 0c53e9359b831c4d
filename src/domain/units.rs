//! Durations and sizes as people write them.

use std::fmt;
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A duration: `20ms`, `2s`, `5min`, `30days`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duration(std::time::Duration);

impl Duration {
    pub const fn from_secs(secs: u64) -> Self {
        Self(std::time::Duration::from_secs(secs))
    }

    pub const fn from_millis(ms: u64) -> Self {
        Self(std::time::Duration::from_millis(ms))
    }
}

impl Deref for Duration {
    type Target = std::time::Duration;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A count of bytes: `4096`, `64KiB`, `1MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

impl Size {
    pub const fn mib(n: usize) -> Self {
        Self(n << 20)
    }
}

/// A scalar as written, whatever type YAML gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub String);

/// Reads a scalar as text, even if YAML takes it for a number or a boolean.
struct Scalar {
    expected: &'static str,
    /// The text that stands for a YAML `false`.
    off: &'static str,
}

impl Visitor<'_> for Scalar {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.trim().to_owned())
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<String, E> {
        Ok(n.to_string())
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<String, E> {
        Ok(n.to_string())
    }

    fn visit_bool<E: de::Error>(self, yes: bool) -> Result<String, E> {
        Ok(if yes { "true" } else { self.off }.to_owned())
    }
}

pub(super) fn scalar<'de, D: Deserializer<'de>>(from: D, expected: &'static str) -> Result<String, D::Error> {
    from.deserialize_any(Scalar { expected, off: "off" })
}

/// Reads true or false, also in the forms of YAML 1.1. The YAML parser does not accept those forms, because `n` and
/// `on` may be names of columns.
pub fn flag<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    const EXPECTED: &str = "true or false";
    let text = scalar(from, EXPECTED)?;
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "y" | "on" => Ok(true),
        "false" | "no" | "n" | "off" => Ok(false),
        _ => Err(de::Error::custom(format!("`{text}` is not {EXPECTED}"))),
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Scalar { expected: "a word, a number or a text", off: "false" }).map(Self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a duration with its unit, like 20ms, 2s, 5min or 30days";
        let text = scalar(from, EXPECTED)?;
        let parsed = humantime::parse_duration(&text).map(Self);
        parsed.map_err(|_| de::Error::custom(format!("`{text}` is not {EXPECTED}")))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a size in bytes, like 4096, 64KiB or 1MiB";
        let text = scalar(from, EXPECTED)?;
        let bytes =
            text.parse::<bytesize::ByteSize>().ok().and_then(|size| usize::try_from(size.as_u64()).ok());
        let bytes = bytes.filter(|bytes| *bytes > 0);
        bytes.map(Self).ok_or_else(|| de::Error::custom(format!("`{text}` is not {EXPECTED}")))
    }
}
