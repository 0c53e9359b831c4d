//! The short and long forms of columns, clustering keys and derived columns.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;

/// How the value of a derived column is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Derived {
    DateOf(String),
    FileDate,
    FileName,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry::<Spanned<String>, T>()? {
                    pairs.push(pair);
                }
                Ok(Named(pairs))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Named<T>, E> {
                Ok(Named(Vec::new()))
            }
        }
        from.deserialize_map(Pairs(PhantomData))
    }
}

/// Reads a scalar as the short form, or a mapping of known keys as the long form.
struct ShortOrLong {
    expected: &'static str,
    keys: &'static [&'static str],
}

/// The keys and values of the long form. The short form is the pair `("", text)`.
type Pairs = Vec<(String, Option<String>)>;

impl<'de> Visitor<'de> for ShortOrLong {
    type Value = Pairs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Pairs, E> {
        Ok(vec![(String::new(), Some(text.to_owned()))])
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Pairs::new();
        while let Some(key) = map.next_key::<String>()? {
            if !self.keys.contains(&key.as_str()) {
                return Err(de::Error::unknown_field(&key, self.keys));
            }
            pairs.push((key, map.next_value()?));
        }
        Ok(pairs)
    }
}

fn pick(pairs: &Pairs, key: &str) -> Option<String> {
    pairs.iter().find(|(found, _)| found == key).and_then(|(_, value)| value.clone())
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "a type, or { type: TYPE, from: \"header name\", unit: UNIT }";
        let pairs = from.deserialize_any(ShortOrLong { expected, keys: &["type", "from", "unit"] })?;
        let kind = pick(&pairs, "").or_else(|| pick(&pairs, "type"));
        let kind = kind.ok_or_else(|| de::Error::missing_field("type"))?;
        Ok(Self { kind, from: pick(&pairs, "from"), unit: pick(&pairs, "unit") })
    }
}

impl<'de> Deserialize<'de> for Clustering {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let expected = "a column, or { column: NAME, order: asc|desc }";
        let pairs = from.deserialize_any(ShortOrLong { expected, keys: &["column", "order"] })?;
        let column = pick(&pairs, "").or_else(|| pick(&pairs, "column"));
        let descending = match pick(&pairs, "order").as_deref() {
            None | Some("asc") => false,
            Some("desc") => true,
            Some(other) => return Err(de::Error::unknown_variant(other, &["asc", "desc"])),
        };
        Ok(Self { column: column.ok_or_else(|| de::Error::missing_field("column"))?, descending })
    }
}

impl<'de> Deserialize<'de> for Derived {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const KEYS: &[&str] = &["date_of", "file_date", "file_name"];
        let expected = "{ date_of: COLUMN }, { file_date } or { file_name }";
        let pairs = from.deserialize_any(ShortOrLong { expected, keys: KEYS })?;
        let [(key, value)] = pairs.as_slice() else {
            return Err(de::Error::custom(format!("expected {expected}")));
        };
        match (key.as_str(), value) {
            ("date_of", Some(column)) => Ok(Self::DateOf(column.clone())),
            ("file_date", None) => Ok(Self::FileDate),
            ("file_name", None) => Ok(Self::FileName),
            ("", Some(word)) if word == "file_date" => Ok(Self::FileDate),
            ("", Some(word)) if word == "file_name" => Ok(Self::FileName),
            _ => Err(de::Error::custom(format!("expected {expected}"))),
        }
    }
}

/// A source column: its type and, in the long form, also its header name and the unit of its numbers.
#[derive(Debug, Clone)]
pub struct Column {
    pub kind: String,
    pub from: Option<String>,
    pub unit: Option<String>,
}

/// A clustering column, with the sort order of its rows.
#[derive(Debug, Clone)]
pub struct Clustering {
    pub column: String,
    pub descending: bool,
}

/// A YAML mapping that keeps the order of its keys, and the line of each key.
#[derive(Debug, Clone)]
pub struct Named<T>(pub Vec<(Spanned<String>, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
