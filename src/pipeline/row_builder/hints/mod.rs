//! Suggests settings for values that people write and that a type does not allow. Nothing is changed by itself.

mod numbers;
#[cfg(test)]
mod tests;
mod times;

use crate::domain::reading::{Notation, NumberForm, Reading, TimeForm};
use crate::domain::text::yaml_list;
use crate::domain::{Column, Format, Type};

/// Words that often stand for an empty field.
const NULLS: [&str; 11] =
    ["null", "\\n", "n/a", "#n/a", "na", "nan", "nil", "none", "-", "0000-00-00", "0000-00-00 00:00:00"];

/// Returns what to set if this value is meant as one of the column, in a file of this format. What the column declares stays.
/// Settings for numbers were tried on the value.
pub fn hint(format: &Format, column: &Column, field: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(field).ok()?;
    let value = text.trim_matches(' ');
    let plain = Reading::default();
    let declared = column.reading.as_deref().unwrap_or(&plain);
    if is_null_word(value) {
        return Some(null(format, &declared.null, text, value));
    }
    match (&declared.notation, column.kind) {
        _ if column.unit.is_some() => None,
        (Notation::Plain, kind) if kind.is_number() => {
            numbers::hint(kind, declared, NumberForm::default(), value)
        }
        (Notation::Number(form), kind) => numbers::hint(kind, declared, *form, value),
        (Notation::Plain, kind) if kind.is_time() => times::hint(kind, &TimeForm::default(), value),
        (Notation::Time(form), kind) => times::hint(kind, form, value),
        (Notation::Plain, Type::Boolean) => Some(
            "if it is a word for true or false, set `\"true\"` and `\"false\"` for the column".to_owned(),
        ),
        (Notation::Plain, Type::Blob) if is_base64(value) => {
            Some("if it is Base64, set `format: base64` for the column".to_owned())
        }
        _ => None,
    }
}

/// Whether a word often stands for an empty field.
pub fn is_null_word(value: &str) -> bool {
    NULLS.contains(&value.to_lowercase().as_str())
}

/// Suggests a word for an empty field, beside the words of the format and those that the column declares. The words of the
/// format are compared with all bytes of the field, those of a column with its value.
fn null(format: &Format, declared: &[String], text: &str, value: &str) -> String {
    let Format::Csv(dialect) = format;
    let (setting, all, words) =
        (format.setting("null"), yaml_list(&dialect.null, value), yaml_list(declared, value));
    match text == value {
        true => format!(
            "if it means an empty field, set {setting}: {all}, or `null: {words}` for the column if it is in quotes"
        ),
        false => format!("if it means an empty field, set `null: {words}` for the column"),
    }
}

/// Recognises Base64 with padding. Hexadecimal digits without `0x` are no Base64.
fn is_base64(value: &str) -> bool {
    let digits = value.strip_suffix("==").or(value.strip_suffix('=')).unwrap_or(value);
    let is_hex = value.starts_with("0x") || digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    are_digits && !is_hex && value.len().is_multiple_of(4)
}
