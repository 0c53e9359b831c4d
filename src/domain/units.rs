//! Durations, sizes and quotas as people write them.

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

/// How many quarantined records a delivery may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Quota {
    Off,
    Count(u64),
    /// A share of the records read, from 0 to 1.
    Share(f64),
}

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

fn scalar<'de, D: Deserializer<'de>>(from: D, expected: &'static str) -> Result<String, D::Error> {
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

impl<'de> Deserialize<'de> for Quota {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a count of records (100), a share of them (1%), or off";
        let text = scalar(from, EXPECTED)?;
        quota(&text).ok_or_else(|| de::Error::custom(format!("`{text}` is not {EXPECTED}")))
    }
}

fn quota(text: &str) -> Option<Quota> {
    if text == "off" {
        return Some(Quota::Off);
    }
    if let Some(share) = text.strip_suffix('%') {
        let percent: f64 = share.trim().parse().ok()?;
        return (0.0..=100.0).contains(&percent).then_some(Quota::Share(percent / 100.0));
    }
    text.parse().ok().map(Quota::Count)
}

impl Quota {
    /// Whether `quarantined` of `records` records are too many. A share is checked only once `done`, or if there are
    /// enough records for a meaningful share.
    pub fn exceeded(self, quarantined: u64, records: u64, done: bool) -> bool {
        const ENOUGH: u64 = 1000;
        match self {
            Self::Off => false,
            Self::Count(most) => quarantined > most,
            #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
            Self::Share(most) => (done || records >= ENOUGH) && quarantined as f64 > most * records as f64,
        }
    }
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Count(most) => write!(f, "{most}"),
            Self::Share(most) => write!(f, "{} %", most * 100.0),
        }
    }
}
