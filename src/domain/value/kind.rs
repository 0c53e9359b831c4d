//! The types of columns.

use std::fmt;
use std::str::FromStr;

/// Declares the types of single values once, for columns and for the elements of collections.
macro_rules! types {
    ($($variant:ident $name:literal),+ $(,)?) => {
        /// The type of a column. It is displayed as in CQL.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Type {
            $($variant,)+
            Collection(Collection),
        }

        /// The type of a single value. The elements of a collection are of such a type.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Scalar {
            $($variant),+
        }

        impl Type {
            /// The types of single values, with their names in the configuration and in CQL.
            pub const ALL: [(&'static str, Self); [$($name),+].len()] = [$(($name, Self::$variant)),+];
        }

        impl From<Scalar> for Type {
            fn from(scalar: Scalar) -> Self {
                match scalar {
                    $(Scalar::$variant => Self::$variant),+
                }
            }
        }

        impl TryFrom<Type> for Scalar {
            type Error = Collection;

            fn try_from(kind: Type) -> Result<Self, Collection> {
                match kind {
                    $(Type::$variant => Ok(Self::$variant),)+
                    Type::Collection(collection) => Err(collection),
                }
            }
        }
    };
}

types! {
    Text "text",
    Int "int",
    Bigint "bigint",
    Smallint "smallint",
    Tinyint "tinyint",
    Varint "varint",
    Float "float",
    Double "double",
    Decimal "decimal",
    Boolean "boolean",
    Timestamp "timestamp",
    Date "date",
    Time "time",
    Uuid "uuid",
    Timeuuid "timeuuid",
    Blob "blob",
    Inet "inet",
}

/// The type of a collection. A collection is frozen: a database writes it as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Collection {
    List(Scalar),
    Set(Scalar),
    /// The types of the keys and of the values.
    Map(Scalar, Scalar),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Collection(collection) = self {
            return write!(f, "frozen<{collection}>");
        }
        f.write_str(Self::ALL.iter().find(|(_, kind)| kind == self).map_or("text", |(name, _)| name))
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Type::from(*self).fmt(f)
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(of) => write!(f, "list<{of}>"),
            Self::Set(of) => write!(f, "set<{of}>"),
            Self::Map(key, value) => write!(f, "map<{key}, {value}>"),
        }
    }
}

impl Type {
    pub fn is_collection(self) -> bool {
        matches!(self, Self::Collection(_))
    }

    pub fn is_number(self) -> bool {
        self.is_whole() || matches!(self, Self::Float | Self::Double | Self::Decimal)
    }

    /// Whether its values are whole numbers.
    pub fn is_whole(self) -> bool {
        matches!(self, Self::Int | Self::Bigint | Self::Smallint | Self::Tinyint | Self::Varint)
    }

    /// Whether its values are dates or times.
    pub fn is_time(self) -> bool {
        matches!(self, Self::Timestamp | Self::Date | Self::Time)
    }
}

/// The error for a name that is not a type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownType {
    #[error("unknown type `{name}`{meant}; the types are {names}, and list<T>, set<T> and map<K, V> of them", meant = did_you_mean(name), names = names())]
    Name { name: String },
    #[error(
        "`{0}` does not say which elements it has; write list<text>, set<text> or map<text, int>, for example"
    )]
    Elements(String),
    #[error("`{0}` is nested; the elements of a list, a set or a map are single values of one of the types {names}", names = names())]
    Nested(String),
}

fn names() -> String {
    Type::ALL.map(|(name, _)| name).join(", ")
}

/// Names that other databases and languages give to types, each with the type that is probably meant. `varchar` is not
/// among them, because in CQL it is another name of `text`.
const FOREIGN: [(&str, &str); 29] = [
    ("string", "text"),
    ("str", "text"),
    ("char", "text"),
    ("ascii", "text"),
    ("json", "text"),
    ("bool", "boolean"),
    ("bit", "boolean"),
    ("integer", "int"),
    ("int4", "int"),
    ("int32", "int"),
    ("long", "bigint"),
    ("int64", "bigint"),
    ("biginteger", "varint"),
    ("short", "smallint"),
    ("byte", "tinyint"),
    ("float4", "float"),
    ("float8", "double"),
    ("real", "float or double"),
    ("numeric", "decimal"),
    ("number", "decimal"),
    ("bigdecimal", "decimal"),
    ("datetime", "timestamp"),
    ("timestamptz", "timestamp"),
    ("guid", "uuid"),
    ("bytes", "blob"),
    ("binary", "blob"),
    ("bytea", "blob"),
    ("array", "list<text>"),
    ("ip", "inet"),
];

fn did_you_mean(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let meant = FOREIGN.iter().find(|(foreign, _)| *foreign == name);
    meant.map(|(_, meant)| format!(" (did you mean {meant}?)")).unwrap_or_default()
}

impl FromStr for Type {
    type Err = UnknownType;

    /// Parses a name as in CQL, regardless of case. Collections may be written with or without `frozen`.
    fn from_str(name: &str) -> Result<Self, UnknownType> {
        let folded = name.replace(' ', "").to_ascii_lowercase();
        let unfrozen = folded.strip_prefix("frozen<").and_then(|rest| rest.strip_suffix('>'));
        match (scalar(&folded), collection(unfrozen.unwrap_or(&folded))) {
            (Some(kind), _) => Ok(kind.into()),
            (None, Ok(kind)) => Ok(Self::Collection(kind)),
            (None, Err(Wrong::Name)) => Err(UnknownType::Name { name: name.to_owned() }),
            (None, Err(Wrong::Element(of))) => Err(UnknownType::Name { name: of }),
            (None, Err(Wrong::Elements)) => Err(UnknownType::Elements(name.to_owned())),
            (None, Err(Wrong::Nested)) => Err(UnknownType::Nested(name.to_owned())),
        }
    }
}

/// Why a name is not that of a collection.
enum Wrong {
    Name,
    Element(String),
    Elements,
    Nested,
}

fn scalar(name: &str) -> Option<Scalar> {
    let name = if name == "varchar" { "text" } else { name };
    let (_, kind) = Type::ALL.iter().find(|(known, _)| *known == name)?;
    Scalar::try_from(*kind).ok()
}

fn collection(name: &str) -> Result<Collection, Wrong> {
    let (outer, rest) = name.split_once('<').unwrap_or((name, ">"));
    let elements = rest.strip_suffix('>').ok_or(Wrong::Name)?;
    if !["list", "set", "map"].contains(&outer) {
        return Err(Wrong::Name);
    }
    if elements.contains('<') {
        return Err(Wrong::Nested);
    }
    let of = |name: &str| scalar(name).ok_or_else(|| Wrong::Element(name.to_owned()));
    match (outer, elements.split_once(',')) {
        (_, None) if elements.is_empty() => Err(Wrong::Elements),
        ("map", Some((key, value))) => Ok(Collection::Map(of(key)?, of(value)?)),
        ("list", None) => Ok(Collection::List(of(elements)?)),
        ("set", None) => Ok(Collection::Set(of(elements)?)),
        _ => Err(Wrong::Elements),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_cql() {
        let of = |name: &str| name.parse::<Type>().unwrap();
        for (name, kind) in Type::ALL {
            assert_eq!((of(name), kind.to_string().as_str()), (kind, name));
            assert_eq!(of(&name.to_ascii_uppercase()), kind);
        }
        assert_eq!(of("varchar"), Type::Text);
        for name in ["frozen<list<text>>", "frozen<set<varint>>", "frozen<map<uuid, int>>"] {
            assert_eq!(of(name).to_string(), name);
        }
        for name in ["list<text>", "List<varchar>", "frozen< list< text > >"] {
            assert_eq!(of(name), Type::Collection(Collection::List(Scalar::Text)), "{name}");
        }
        assert_eq!(of("map<text,int>"), Type::Collection(Collection::Map(Scalar::Text, Scalar::Int)));
    }

    #[test]
    fn a_type_takes_four_bytes() {
        assert!(size_of::<Type>() <= 4);
    }

    #[test]
    fn a_name_of_another_system_is_recognised() {
        let error = |name: &str| name.parse::<Type>().unwrap_err().to_string();
        for (name, meant) in
            [("Bool", "boolean"), ("string", "text"), ("long", "bigint"), ("datetime", "timestamp")]
        {
            assert!(
                error(name).starts_with(&format!(
                    "unknown type `{name}` (did you mean {meant}?); the types are text,"
                ))
            );
        }
        assert!(error("list<string>").contains("`string` (did you mean text?)"));
        for (_, meant) in FOREIGN {
            assert!(meant.split(" or ").all(|meant| meant.parse::<Type>().is_ok()), "{meant}");
        }
    }

    #[test]
    fn an_unusable_collection_is_refused_by_its_fault() {
        let error = |name: &str| name.parse::<Type>().unwrap_err();
        for name in ["list<list<int>>", "map<text, frozen<set<int>>>", "frozen<list<frozen<list<int>>>>"] {
            assert_eq!(error(name), UnknownType::Nested(name.to_owned()));
        }
        for name in ["list", "set<>", "map<int>", "list<int,int>", "frozen<list>"] {
            assert_eq!(error(name), UnknownType::Elements(name.to_owned()), "{name}");
        }
        for name in [
            "map<text, real>",
            "list<a>",
            "list<int",
            "vector<float, 3>",
            "tuple<int>",
            "frozen<int>",
            "map<int,int,int>",
        ] {
            assert!(matches!(error(name), UnknownType::Name { .. }), "{name}");
        }
    }
}
