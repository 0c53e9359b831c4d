//! Column types and values.

mod kind;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

pub use kind::{Collection, Scalar, Type, UnknownType};

/// The unit in which a number counts the time since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    Seconds,
    Millis,
    Micros,
}

impl Unit {
    pub const ALL: [(&'static str, Self); 3] =
        [("s", Self::Seconds), ("ms", Self::Millis), ("us", Self::Micros)];
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, unit)| unit == self).map_or("ms", |(name, _)| name);
        f.write_str(name)
    }
}

/// The error for a name that is not a unit.
#[derive(Debug, thiserror::Error)]
#[error("unknown unit `{0}`; the units are {names}", names = Unit::ALL.map(|(name, _)| name).join(", "))]
pub struct UnknownUnit(String);

impl FromStr for Unit {
    type Err = UnknownUnit;

    fn from_str(name: &str) -> Result<Self, UnknownUnit> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, unit)| *unit).ok_or_else(|| UnknownUnit(name.to_owned()))
    }
}

/// The place of a value's bytes in the arena of its chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    start: u32,
    len: u32,
}

impl Slice {
    /// Appends `bytes` to the arena. Returns `None` if the arena is full (4 GiB).
    #[inline]
    pub fn store(arena: &mut Vec<u8>, bytes: &[u8]) -> Option<Self> {
        let start = u32::try_from(arena.len()).ok()?;
        let len = u32::try_from(bytes.len()).ok()?;
        arena.extend_from_slice(bytes);
        Some(Self { start, len })
    }

    pub fn len(self) -> usize {
        self.len as usize
    }

    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    pub fn of(self, arena: &[u8]) -> &[u8] {
        let start = self.start as usize;
        arena.get(start..start + self.len as usize).unwrap_or(&[])
    }
}

/// A parsed value in 16 bytes. Longer data is in the arena of the chunk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell {
    Empty,
    Text(Slice),
    Blob(Slice),
    /// The digits of a decimal or a varint.
    Decimal(Slice),
    /// The JSON text of a list, a set or a map.
    Collection(Slice),
    Uuid(Slice),
    Inet(Slice),
    Whole(i64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    Timestamp(i64),
    Date(i32),
    Time(i64),
}

impl Cell {
    pub fn is_empty(self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Compares values of one column, for sorting rows so that those a store keeps together are adjacent. Returns
    /// `Equal` only for values that may be the same key. Nothing but speed may depend on this order.
    pub fn near(self, other: Self, arena: &[u8]) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b))
            | (Self::Timestamp(a), Self::Timestamp(b))
            | (Self::Time(a), Self::Time(b)) => a.cmp(&b),
            (Self::Date(a), Self::Date(b)) => a.cmp(&b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(&b),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Double(a), Self::Double(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Text(a), Self::Text(b))
            | (Self::Decimal(a), Self::Decimal(b))
            | (Self::Collection(a), Self::Collection(b))
            | (Self::Blob(a), Self::Blob(b))
            | (Self::Uuid(a), Self::Uuid(b))
            | (Self::Inet(a), Self::Inet(b)) => a.of(arena).cmp(b.of(arena)),
            _ => Ordering::Equal,
        }
    }

    /// Returns the value. `arena` must be the arena that the value was parsed into.
    pub fn value(self, arena: &[u8]) -> Value<'_> {
        match self {
            Self::Empty => Value::Empty,
            Self::Text(at) => Value::Text(utf8(at.of(arena))),
            Self::Decimal(at) => Value::Decimal(utf8(at.of(arena))),
            Self::Collection(at) => Value::Collection(utf8(at.of(arena))),
            Self::Blob(at) => Value::Blob(Cow::Borrowed(at.of(arena))),
            Self::Uuid(at) => Value::Uuid(uuid::Uuid::from_slice(at.of(arena)).unwrap_or_default()),
            Self::Inet(at) => inet(at.of(arena)),
            Self::Whole(n) => Value::Whole(n),
            Self::Float(x) => Value::Float(x),
            Self::Double(x) => Value::Double(x),
            Self::Boolean(yes) => Value::Boolean(yes),
            Self::Timestamp(ms) => Value::Timestamp(ms),
            Self::Date(days) => Value::Date(days),
            Self::Time(ns) => Value::Time(ns),
        }
    }
}

/// Only valid UTF-8 enters the arena. An invalid sequence would be shown as U+FFFD instead of being hidden.
fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn inet(bytes: &[u8]) -> Value<'static> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).map_or(Value::Empty, Value::Inet)
}

/// A value of a column, borrowed from a chunk or owned.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    Empty,
    Text(Cow<'a, str>),
    Blob(Cow<'a, [u8]>),
    /// A decimal or a varint. Plain decimal digits with the scale as written: `12.50`.
    Decimal(Cow<'a, str>),
    /// A list, a set or a map as JSON text, in the one form that [`collection`](crate::domain::collection) gives it.
    Collection(Cow<'a, str>),
    Uuid(uuid::Uuid),
    Inet(IpAddr),
    /// tinyint, smallint, int and bigint.
    Whole(i64),
    Float(f32),
    Double(f64),
    Boolean(bool),
    /// Milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
}

impl Value<'_> {
    /// Compares values of one column. Text and blobs are compared by their bytes.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(a), Self::Text(b)) | (Self::Collection(a), Self::Collection(b)) => a.cmp(b),
            (Self::Blob(a), Self::Blob(b)) => a.cmp(b),
            (Self::Uuid(a), Self::Uuid(b)) => a.cmp(b),
            (Self::Inet(a), Self::Inet(b)) => a.cmp(b),
            (Self::Float(a), Self::Float(b)) => a.total_cmp(b),
            (Self::Double(a), Self::Double(b)) => a.total_cmp(b),
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Whole(a), Self::Whole(b))
            | (Self::Timestamp(a), Self::Timestamp(b))
            | (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Decimal(a), Self::Decimal(b)) => {
                let number = |text: &str| text.parse::<bigdecimal::BigDecimal>().unwrap_or_default();
                number(a).cmp(&number(b)).then_with(|| a.cmp(b))
            }
            (Self::Empty, Self::Empty) => Ordering::Equal,
            (Self::Empty, _) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }

    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Blob(bytes) => Value::Blob(Cow::Owned(bytes.into_owned())),
            Self::Decimal(text) => Value::Decimal(Cow::Owned(text.into_owned())),
            Self::Collection(text) => Value::Collection(Cow::Owned(text.into_owned())),
            Self::Empty => Value::Empty,
            Self::Uuid(id) => Value::Uuid(id),
            Self::Inet(ip) => Value::Inet(ip),
            Self::Whole(n) => Value::Whole(n),
            Self::Float(x) => Value::Float(x),
            Self::Double(x) => Value::Double(x),
            Self::Boolean(yes) => Value::Boolean(yes),
            Self::Timestamp(ms) => Value::Timestamp(ms),
            Self::Date(days) => Value::Date(days),
            Self::Time(ns) => Value::Time(ns),
        }
    }
}
