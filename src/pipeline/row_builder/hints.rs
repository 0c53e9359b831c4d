//! Suggests settings for values that people write and that a type does not allow. Nothing is changed by itself.

use crate::domain::reading::{Notation, NumberForm, Reading};
use crate::domain::text::yaml;
use crate::domain::{Format, Type, parse};

/// Words that often stand for an empty field.
const NULLS: [&str; 9] = ["null", "\\n", "n/a", "#n/a", "na", "nan", "nil", "none", "-"];

/// Returns what to set if this value is meant as one of the type, in a file of this format. Settings for numbers were tried
/// on the value.
pub fn hint(format: &Format, kind: Type, field: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(field).ok()?;
    let value = text.trim();
    if is_null_word(value) {
        return Some(null(&format.setting("null"), text, value));
    }
    match kind {
        Type::Float
        | Type::Double
        | Type::Decimal
        | Type::Int
        | Type::Bigint
        | Type::Smallint
        | Type::Tinyint
        | Type::Varint => number(kind, value),
        Type::Timestamp | Type::Time if is_too_fine(kind, value) => {
            Some("if the further digits can be cut off, set `truncate: true` for the column".to_owned())
        }
        Type::Date | Type::Timestamp | Type::Time if value.bytes().any(|byte| byte.is_ascii_digit()) => {
            Some("if all values look like this, set `format` for the column".to_owned())
        }
        Type::Boolean => Some(
            "if it is a word for true or false, set `\"true\"` and `\"false\"` for the column".to_owned(),
        ),
        Type::Blob if is_base64(value) => {
            Some("if it is Base64, set `format: base64` for the column".to_owned())
        }
        _ => None,
    }
}

/// Whether a word often stands for an empty field.
pub fn is_null_word(value: &str) -> bool {
    NULLS.contains(&value.to_lowercase().as_str())
}

/// Suggests a word for an empty field. The words of the format are compared with all bytes of the field, those of a
/// column with its value.
fn null(setting: &str, text: &str, value: &str) -> String {
    let word = yaml(value);
    match text == value {
        true => format!(
            "if it means an empty field, set {setting}: [{word}], or `null: [{word}]` for the column if it is \
             in quotes"
        ),
        false => format!("if it means an empty field, set `null: [{word}]` for the column"),
    }
}

/// Whether only the number of its decimals makes this an invalid value of the type.
fn is_too_fine(kind: Type, value: &str) -> bool {
    let Some((whole, decimals)) = value.split_once('.') else { return false };
    let offset = decimals.trim_start_matches(|c: char| c.is_ascii_digit());
    offset.len() < decimals.len()
        && parse::parse(kind, format!("{whole}{offset}").as_bytes(), &mut Vec::new()).is_ok()
}

/// Recognises Base64 with padding. Hexadecimal digits without `0x` are no Base64.
fn is_base64(value: &str) -> bool {
    let digits = value.strip_suffix("==").or(value.strip_suffix('=')).unwrap_or(value);
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let are_digits = digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    are_digits && !is_hex && value.len().is_multiple_of(4)
}

/// The marks before the decimals and between groups of digits, in the order in which they are tried. A comma before
/// three digits may mean either; in whole numbers, it separates groups.
const MARKS: [(char, Option<char>); 11] = [
    ('.', None),
    (',', None),
    ('.', Some(',')),
    (',', Some('.')),
    ('.', Some('\'')),
    ('.', Some(' ')),
    (',', Some(' ')),
    ('.', Some('\u{a0}')),
    (',', Some('\u{a0}')),
    ('.', Some('\u{202f}')),
    (',', Some('\u{202f}')),
];

/// Recognises a number in another notation, with a unit, or both.
fn number(kind: Type, value: &str) -> Option<String> {
    if reads_as(kind, value, NumberForm { zero_fraction: true, ..NumberForm::default() }, None) {
        return Some(zero_fraction(kind, value));
    }
    let units = [None].into_iter().chain(unit(value).map(Some));
    let mut ways = units.flat_map(|unit| MARKS.map(|(decimal, thousands)| (decimal, thousands, unit)));
    let (decimal, thousands, unit) = ways.find(|way| reads(kind, value, *way))?;
    let mark = |mark: char| yaml(&mark.to_string());
    let decimal = (decimal != '.').then(|| format!("`decimal: {}`", mark(decimal)));
    let thousands = thousands.map(|thousands| format!("`thousands: {}`", mark(thousands)));
    let strip = unit.map(|unit| format!("`strip: {}`", yaml(unit)));
    let what = match (&decimal, &thousands, &strip) {
        (Some(_), None, None) => "its comma is a decimal comma",
        (None, Some(_), None) => "it has thousands separators",
        (None, None, Some(_)) => "it is a unit that can be left out",
        (Some(_), Some(_), None) if !value.contains(',') => "its point separates thousands",
        _ => "it is a number",
    };
    let settings: Vec<String> = [decimal, thousands, strip].into_iter().flatten().collect();
    Some(format!("if {what}, set {} for the column", settings.join(" and ")))
}

/// Suggests to leave out decimals that are all zero. Three of them may be a group of digits.
fn zero_fraction(kind: Type, value: &str) -> String {
    let mut text = "if its decimals mean nothing, set `zero_fraction: true` for the column".to_owned();
    if reads(kind, value, (',', Some('.'), None)) {
        text += "; if its point separates thousands, set `decimal: \",\"` and `thousands: \".\"`";
    }
    text
}

/// Whether the value is one of the type with these settings.
fn reads(kind: Type, value: &str, (decimal, thousands, unit): (char, Option<char>, Option<&str>)) -> bool {
    reads_as(kind, value, NumberForm { decimal, thousands, ..NumberForm::default() }, unit)
}

fn reads_as(kind: Type, value: &str, form: NumberForm, unit: Option<&str>) -> bool {
    let notation = if form == NumberForm::default() { Notation::Plain } else { Notation::Number(form) };
    let strip = unit.map(str::to_owned).into_iter().collect();
    let reading = Reading { strip, notation, ..Reading::default() };
    reading.parse(kind.into(), value.as_bytes(), &mut Vec::new()).is_ok_and(|cell| !cell.is_empty())
}

/// Returns a unit or a currency before or after a number. Other signs, such as `<`, `~` or another minus than the hyphen,
/// change the number.
fn unit(value: &str) -> Option<&str> {
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+');
    let number = value.trim_matches(|c| !is_of_number(c));
    let (before, after) = value.split_once(number)?;
    let is_unit = |text: &&str| (1..=8).contains(&text.chars().count()) && text.chars().all(is_of_unit);
    let has_digits = number.bytes().any(|byte| byte.is_ascii_digit());
    [before, after].into_iter().find(is_unit).filter(|_| has_digits)
}

fn is_of_unit(c: char) -> bool {
    let is_currency = matches!(c, '$' | '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}');
    is_currency
        || c.is_alphabetic()
        || c.is_whitespace()
        || matches!(c, '%' | '\u{2030}' | '\u{b0}' | '/' | '\u{b2}' | '\u{b3}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_suggested_for_numbers_as_people_write_them() {
        let cases = [
            (Type::Double, "12,5", "`decimal: \",\"`"),
            (Type::Double, "1,234.5", "`thousands: \",\"`"),
            (Type::Decimal, "12.50 EUR", "`strip: \" EUR\"`"),
            (Type::Double, "$12.50", "`strip: \"$\"`"),
            (Type::Int, "1\u{a0}234", "`thousands: \"\\U000000A0\"`"),
            (Type::Int, "1,234", "`thousands: \",\"`"),
            (Type::Int, "N/A", "source.format.null: [\"N/A\"]"),
            (Type::Bigint, "\\N", "source.format.null: [\"\\\\N\"]"),
            (Type::Double, "21 \u{b0}C", "`strip: \" \u{b0}C\"`"),
            (Type::Int, "1.234", "`decimal: \",\"` and `thousands: \".\"`"),
            (Type::Double, "1.234,5", "`decimal: \",\"` and `thousands: \".\"`"),
            (Type::Int, "1,234 kg", "`thousands: \",\"` and `strip: \" kg\"`"),
            (Type::Double, "-1 234,5 EUR", "`decimal: \",\"` and `thousands: \" \"` and `strip: \" EUR\"`"),
            (Type::Int, "39.0", "set `zero_fraction: true` for the column"),
            (
                Type::Int,
                "39.000",
                "`zero_fraction: true` for the column; if its point separates thousands, set",
            ),
            (Type::Int, "1.234", "if its point separates thousands, set"),
            (Type::Bigint, "1.234.567", "`decimal: \",\"` and `thousands: \".\"`"),
            (Type::Int, " NULL", "set `null: [\"NULL\"]` for the column"),
            (Type::Int, "NULL", "or `null: [\"NULL\"]` for the column if it is in quotes"),
            (Type::Date, "01.02.2024", "`format`"),
            (Type::Timestamp, "2024-03-01 17:30:00.123456+00", "`truncate: true`"),
            (Type::Timestamp, "2024-03-01 17:30:00.5 UTC", "`format`"),
            (Type::Time, "17:30:00.1234567891", "`truncate: true`"),
            (Type::Boolean, "ja", "`\"true\"` and `\"false\"`"),
            (Type::Blob, "yv66vg==", "`format: base64`"),
        ];
        for (kind, value, expected) in cases {
            let found = hint(&Format::default(), kind, value.as_bytes()).unwrap_or_default();
            assert!(found.contains(expected), "{value}: {found}");
        }
        for (kind, value) in [
            (Type::Double, "abc"),
            (Type::Double, "\u{2212}12.5"),
            (Type::Double, "<0.5"),
            (Type::Double, "(12.50)"),
            (Type::Int, "1.5.2"),
            (Type::Int, "12.50 EUR"),
            (Type::Int, "12,5"),
            (Type::Date, "x"),
            (Type::Uuid, "1,5"),
            (Type::Blob, "cafe"),
        ] {
            assert_eq!(hint(&Format::default(), kind, value.as_bytes()), None, "{value}");
        }
    }
}
