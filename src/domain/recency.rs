//! Which record of a key is newer, in tables with `newest_by`: the one with the greater value or, if the values are equal, with the
//! later stamp.

use std::cmp::Ordering;

use super::stamp::Stamp;
use super::value::{Type, Value};

/// How new a record is: its value in the column `newest_by`, then its stamp. Of the records of a key, the greatest gives the
/// row.
#[derive(Clone, Debug, PartialEq)]
pub struct Recency<'v> {
    pub value: Value<'v>,
    pub stamp: Stamp,
}

impl Recency<'_> {
    /// Compares two records. An empty value is older than any other. Only rows written by other programs have one.
    pub fn compare(&self, other: &Self) -> Ordering {
        compare_values(&self.value, &other.value).then(self.stamp.cmp(&other.stamp))
    }

    pub fn is_older_than(&self, other: &Self) -> bool {
        self.compare(other).is_lt()
    }
}

/// Compares values of one column. Equal numbers are equal, however they are written.
pub fn compare_values(one: &Value<'_>, other: &Value<'_>) -> Ordering {
    match (one, other) {
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
        (Value::Decimal(a), Value::Decimal(b)) => {
            let number = |text: &str| text.parse::<bigdecimal::BigDecimal>().unwrap_or_default();
            number(a).cmp(&number(b))
        }
        _ => one.compare(other),
    }
}

/// Whether values of this type can be ordered.
pub fn is_ordered(kind: Type) -> bool {
    !matches!(
        kind,
        Type::Boolean | Type::Uuid | Type::Timeuuid | Type::Blob | Type::Inet | Type::Collection(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_decides_then_the_stamp() {
        let of = |text: &str, stamp| Recency {
            value: Value::Decimal(text.to_owned().into()),
            stamp: Stamp(stamp),
        };
        assert!(of("9", 8).is_older_than(&of("10", 2)));
        assert!(of("1.50", 2).is_older_than(&of("1.5", 4)));
        assert!(!of("1.5", 4).is_older_than(&of("1.50", 2)));
        assert!(!of("1.5", 4).is_older_than(&of("1.5", 4)), "a record is not older than itself");
        let empty = Recency { value: Value::Empty, stamp: Stamp(10) };
        assert!(empty.is_older_than(&of("-5", 2)));
    }
}
