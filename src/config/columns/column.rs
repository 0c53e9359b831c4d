//! A column of `source.columns`: its type, or the keys of its long form.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use crate::config::text::{Text, Texts};
use crate::config::tree::Key;
use crate::domain::reading::Fold;

/// A source column.
#[derive(Debug, Clone, Default)]
pub struct Column {
    pub kind: String,
    /// The names that its field may have in a header. Without any, it is the name of the column.
    pub from: Texts,
    pub unit: Option<String>,
    pub null: Texts,
    pub strip: Texts,
    pub default: Option<Text>,
    pub decimal: Option<Text>,
    pub thousands: Option<Text>,
    pub zero_fraction: Option<bool>,
    /// The words for true and for false.
    pub words: [Texts; 2],
    pub format: Texts,
    pub zone: Option<String>,
    pub fold: Option<Fold>,
    pub truncate: bool,
}

const KEYS: &[&str] = &[
    "type",
    "from",
    "unit",
    "null",
    "strip",
    "default",
    "decimal",
    "thousands",
    "zero_fraction",
    "true",
    "false",
    "format",
    "zone",
    "fold",
    "truncate",
];

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum FoldWord {
    Refuse,
    Earlier,
    Later,
}

impl From<FoldWord> for Fold {
    fn from(word: FoldWord) -> Self {
        match word {
            FoldWord::Refuse => Self::Refuse,
            FoldWord::Earlier => Self::Earlier,
            FoldWord::Later => Self::Later,
        }
    }
}

impl<'de> Deserialize<'de> for Column {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TypeOrKeys;
        impl<'de> Visitor<'de> for TypeOrKeys {
            type Value = Column;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a type, or { type: TYPE, from: \"header name\", … }")
            }

            fn visit_str<E: de::Error>(self, kind: &str) -> Result<Column, E> {
                Ok(Column { kind: kind.to_owned(), ..Column::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Column, A::Error> {
                let (mut column, mut kind) = (Column::default(), None);
                while let Some(Key(key)) = map.next_key()? {
                    match key.as_str() {
                        "type" => kind = Some(map.next_value()?),
                        "from" => column.from = map.next_value()?,
                        "unit" => column.unit = map.next_value()?,
                        "null" => column.null = map.next_value()?,
                        "strip" => column.strip = map.next_value()?,
                        "default" => column.default = Some(map.next_value()?),
                        "decimal" => column.decimal = Some(map.next_value()?),
                        "thousands" => column.thousands = Some(map.next_value()?),
                        "zero_fraction" => column.zero_fraction = Some(map.next_value()?),
                        "true" => column.words[0] = map.next_value()?,
                        "false" => column.words[1] = map.next_value()?,
                        "format" => column.format = map.next_value()?,
                        "zone" => column.zone = map.next_value()?,
                        "fold" => column.fold = Some(map.next_value::<FoldWord>()?.into()),
                        "truncate" => column.truncate = map.next_value()?,
                        other => return Err(de::Error::unknown_field(other, KEYS)),
                    }
                }
                column.kind = kind.ok_or_else(|| de::Error::missing_field("type"))?;
                Ok(column)
            }
        }
        from.deserialize_any(TypeOrKeys)
    }
}
