//! Suggests settings for numbers in another notation or with units. The settings are tried on the value.

use crate::domain::Type;
use crate::domain::reading::{Notation, NumberForm, Reading};
use crate::domain::text::{yaml, yaml_list};

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
pub fn hint(kind: Type, declared: &Reading, form: NumberForm, value: &str) -> Option<String> {
    let reads = |form: NumberForm, unit: Option<&str>| {
        let notation = if form == NumberForm::default() { Notation::Plain } else { Notation::Number(form) };
        let strip = declared.strip.iter().cloned().chain(unit.map(str::to_owned)).collect();
        let reading = Reading { strip, notation, ..Reading::default() };
        reading.parse(kind.into(), value.as_bytes(), &mut Vec::new()).is_ok_and(|cell| !cell.is_empty())
    };
    if reads(NumberForm { zero_fraction: true, ..form }, None) {
        let groups = NumberForm { decimal: ',', thousands: Some('.'), ..form };
        return Some(zero_fraction(form != groups && reads(groups, None)));
    }
    let units = [None].into_iter().chain(unit(value).map(Some));
    let marks = [(form.decimal, form.thousands)].into_iter().chain(MARKS);
    let forms = marks.map(|(decimal, thousands)| NumberForm { decimal, thousands, ..form });
    let mut ways = units.flat_map(|unit| forms.clone().map(move |form| (form, unit)));
    let (found, unit) = ways.find(|(form, unit)| reads(*form, *unit))?;
    Some(settings(declared, form, found, unit))
}

/// Returns the settings with which a number was read, where they differ from the declared ones.
fn settings(declared: &Reading, form: NumberForm, found: NumberForm, unit: Option<&str>) -> String {
    let mark = |mark: char| yaml(&mark.to_string());
    let decimal = (found.decimal != form.decimal).then(|| format!("`decimal: {}`", mark(found.decimal)));
    let thousands = found.thousands.filter(|_| found.thousands != form.thousands);
    let groups = thousands.map(|thousands| format!("`thousands: {}`", mark(thousands)));
    let strip = unit.map(|unit| match declared.strip.as_slice() {
        [] => format!("`strip: {}`", yaml(unit)),
        texts => format!("`strip: {}`", yaml_list(texts, unit)),
    });
    let what = match (&decimal, thousands, &strip) {
        (Some(_), None, None) if found.decimal == ',' => "its comma is a decimal comma",
        (Some(_), None, None) => "its point is a decimal point",
        (None, Some(_), None) => "it has thousands separators",
        (None, None, Some(_)) => "it is a unit that can be left out",
        (Some(_), Some('.'), None) => "its point separates thousands",
        _ => "it is a number",
    };
    let settings: Vec<String> = [decimal, groups, strip].into_iter().flatten().collect();
    format!("if {what}, set {} for the column", settings.join(" and "))
}

/// Suggests to leave out decimals that are all zero. Three of them may be a group of digits.
fn zero_fraction(may_be_group: bool) -> String {
    let mut text = "if its decimals mean nothing, set `zero_fraction: true` for the column".to_owned();
    if may_be_group {
        text += "; if its point separates thousands, set `decimal: \",\"` and `thousands: \".\"`";
    }
    text
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
