//! Lists, sets and maps as JSON text. Equal collections have the same text, whichever store they come from: without
//! spaces, sets and keys sorted by value, each value in its usual form.

use std::borrow::Cow;

use bigdecimal::BigDecimal;

use super::json;
use super::text;
use super::value::Value;

/// Returns the text of a list, or of a set whose values are sorted.
pub fn array<'v>(values: impl IntoIterator<Item = Value<'v>>) -> String {
    let mut array = String::from("[");
    for value in values {
        separate(&mut array);
        item(&value, &mut array);
    }
    array.push(']');
    array
}

/// Returns the text of a map whose pairs are sorted by their keys.
pub fn object<'v>(pairs: impl IntoIterator<Item = (Value<'v>, Value<'v>)>) -> String {
    let mut object = String::from("{");
    for (key, value) in pairs {
        separate(&mut object);
        self::key(&key, &mut object);
        object.push(':');
        item(&value, &mut object);
    }
    object.push('}');
    object
}

/// Returns the text of a set. The values may come in any order.
pub fn set(mut values: Vec<Value<'_>>) -> String {
    values.sort_by(Value::compare);
    values.dedup();
    array(values)
}

/// Returns the text of a map. The pairs may come in any order.
pub fn map(mut pairs: Vec<(Value<'_>, Value<'_>)>) -> String {
    pairs.sort_by(|(one, _), (other, _)| one.compare(other));
    object(pairs)
}

/// Whether two values of one type are the same member to CQL. 12.5 and 12.50 are, although they are different texts.
pub fn is_same(one: &Value<'_>, other: &Value<'_>) -> bool {
    match (one, other) {
        (Value::Decimal(a), Value::Decimal(b)) => {
            let number = |text: &str| text.parse::<BigDecimal>().ok();
            number(a) == number(b)
        }
        _ => one == other,
    }
}

fn separate(into: &mut String) {
    if into.len() > 1 {
        into.push(',');
    }
}

/// Appends a value as `query --json` shows it: numbers of at most 64 bits and booleans as such, everything else as a
/// string.
fn item(value: &Value<'_>, into: &mut String) {
    match value {
        Value::Whole(_) | Value::Boolean(_) | Value::Float(_) | Value::Double(_) => {
            into.push_str(&written(value));
        }
        _ => key(value, into),
    }
}

/// Appends a value as the key of a member, which is a string in JSON.
fn key(value: &Value<'_>, into: &mut String) {
    json::quote(&written(value), into);
}

/// Returns the text of a single value. Floats have the shortest form of JSON, so 1e-300 does not take 300 digits.
fn written<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    match value {
        Value::Float(x) => Cow::Owned(format!("{x:?}")),
        Value::Double(x) => Cow::Owned(format!("{x:?}")),
        other => text::plain(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_sorted_by_value_and_written_in_one_form() {
        let texts = ["b", "", "a\"é\n"].map(|text| Value::Text(text.into()));
        assert_eq!(array(texts.clone()), r#"["b","","a\"é\n"]"#);
        assert_eq!(set(texts.to_vec()), r#"["","a\"é\n","b"]"#);
        assert_eq!(set([10, 9, -1, 9].map(Value::Whole).to_vec()), "[-1,9,10]");
        assert_eq!(set(["10", "9", "-1"].map(|n| Value::Decimal(n.into())).to_vec()), r#"["-1","9","10"]"#);
        assert_eq!(array([1e300, -0.5, 39.0, 5e-324].map(Value::Double)), "[1e300,-0.5,39.0,5e-324]");
        assert_eq!(array([495.3073, 1e-45].map(Value::Float)), "[495.3073,1e-45]");
        assert_eq!(array([Value::Boolean(true), Value::Date(0)]), r#"[true,"1970-01-01"]"#);
        let pairs = [(10, true), (9, false)].map(|(n, yes)| (Value::Whole(n), Value::Boolean(yes)));
        assert_eq!(map(pairs.to_vec()), r#"{"9":false,"10":true}"#);
        assert_eq!((array([]), map(Vec::new())), ("[]".to_owned(), "{}".to_owned()));
    }
}
