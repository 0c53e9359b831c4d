//! The short and long forms of columns, clustering keys and derived columns.

mod column;
mod derived;
mod reading;

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde_saphyr::Spanned;

pub use column::Column;
pub use derived::Derived;
pub use reading::{number_form, reading};

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

impl<'de> Deserialize<'de> for Clustering {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ShortOrLong;
        impl<'de> Visitor<'de> for ShortOrLong {
            type Value = Clustering;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a column, or { column: NAME, order: asc|desc }")
            }

            fn visit_str<E: de::Error>(self, column: &str) -> Result<Clustering, E> {
                Ok(Clustering { column: column.to_owned(), descending: false })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Clustering, A::Error> {
                let Long { column, order } = Long::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Clustering { column, descending: order == Order::Desc })
            }
        }

        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            column: String,
            #[serde(default)]
            order: Order,
        }

        #[derive(Deserialize, Default, PartialEq, Eq)]
        #[serde(rename_all = "snake_case")]
        enum Order {
            #[default]
            Asc,
            Desc,
        }
        from.deserialize_any(ShortOrLong)
    }
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
