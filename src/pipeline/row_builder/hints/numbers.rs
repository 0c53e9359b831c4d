//! Suggests settings for numbers in another notation or with units. The settings are tried on the value.

use crate::domain::Type;
use crate::domain::reading::{Notation, NumberForm, Reading};
use crate::domain::text::{yaml, yaml_list};
use crate::domain::value::Cell;

/// The marks before the decimals and between groups of digits, in the order in which they are tried.
const MARKS: [(char, Option<char>); 12] = [
    ('.', None),
    (',', None),
    ('.', Some(',')),
    (',', Some('.')),
    ('.', Some('\'')),
    (',', Some('\'')),
    ('.', Some(' ')),
    (',', Some(' ')),
    ('.', Some('\u{a0}')),
    (',', Some('\u{a0}')),
    ('.', Some('\u{202f}')),
    (',', Some('\u{202f}')),
];

/// A way to read a number.
#[derive(Clone, Copy)]
struct Way<'v> {
    form: NumberForm,
    /// A text that is removed.
    unit: Option<&'v str>,
}

/// Recognises a number in another notation, with a unit, or both. Three digits after a mark may be decimals or a group, so
/// both are named.
pub fn hint(kind: Type, declared: &Reading, form: NumberForm, value: &str) -> Option<String> {
    let mut read = ways(kind, form, value).filter_map(|way| Some((way.read(kind, declared, value)?, way)));
    let (number, first) = read.next()?;
    let other = read.find(|(other, way)| way.unit == first.unit && *other != number);
    let told = [Some(first), other.map(|(_, other)| other)].into_iter().flatten();
    let told: Vec<String> = told.map(|way| way.settings(declared, form, value)).collect();
    Some(told.join("; "))
}

/// Returns the ways to try. A declared mark between groups stays if no other one is set.
fn ways(kind: Type, form: NumberForm, value: &str) -> impl Iterator<Item = Way<'_>> {
    let marks = [(form.decimal, form.thousands)].into_iter().chain(MARKS);
    let marks = marks.map(move |(decimal, thousands)| (decimal, thousands.or(form.thousands)));
    let marks = marks.filter(|(decimal, thousands)| *thousands != Some(*decimal));
    let forms = marks.flat_map(move |(decimal, thousands)| {
        let zero_fractions = [form.zero_fraction, true].into_iter().take(if kind.is_whole() { 2 } else { 1 });
        zero_fractions.map(move |zero_fraction| NumberForm { decimal, thousands, zero_fraction })
    });
    let units = [None].into_iter().chain(unit(value).map(Some));
    units.flat_map(move |unit| forms.clone().map(move |form| Way { form, unit }))
}

impl Way<'_> {
    /// Returns the number, or `None` if the value is none in this way. The bytes are those of a number of any length.
    fn read(&self, kind: Type, declared: &Reading, value: &str) -> Option<(Cell, Vec<u8>)> {
        let is_plain = self.form == NumberForm::default();
        let notation = if is_plain { Notation::Plain } else { Notation::Number(self.form) };
        let strip = declared.strip.iter().cloned().chain(self.unit.map(str::to_owned)).collect();
        let (reading, mut bytes) = (Reading { strip, notation, ..Reading::default() }, Vec::new());
        let cell = reading.parse(kind.into(), value.as_bytes(), &mut bytes).ok()?;
        (!cell.is_empty()).then_some((cell, bytes))
    }

    /// Returns the settings of this way, where they differ from the declared ones.
    fn settings(&self, declared: &Reading, form: NumberForm, value: &str) -> String {
        let mark = |mark: char| yaml(&mark.to_string());
        let decimal = Some(self.form.decimal).filter(|decimal| *decimal != form.decimal);
        let thousands = self.form.thousands.filter(|_| self.form.thousands != form.thousands);
        let zeros = self.form.zero_fraction && !form.zero_fraction;
        let settings = [
            decimal.map(|decimal| format!("`decimal: {}`", mark(decimal))),
            thousands.map(|thousands| format!("`thousands: {}`", mark(thousands))),
            zeros.then(|| "`zero_fraction: true`".to_owned()),
            self.unit.map(|unit| match declared.strip.as_slice() {
                [] => format!("`strip: {}`", yaml(unit)),
                texts => format!("`strip: {}`", yaml_list(texts, unit)),
            }),
        ];
        let settings: Vec<String> = settings.into_iter().flatten().collect();
        let groups = thousands.filter(|mark| value.contains(*mark));
        let if_so = match (decimal, groups, zeros, self.unit) {
            (_, Some(','), _, None) => "if its comma separates thousands",
            (_, Some('.'), _, None) => "if its point separates thousands",
            (None, Some(_), _, None) => "if it has thousands separators",
            (Some(','), None, _, None) => "if its comma is a decimal comma",
            (Some(_), None, _, None) => "if its point is a decimal point",
            (None, None, true, None) => "if its decimals mean nothing",
            (None, None, false, Some(unit)) if unit.trim().is_empty() => {
                "if the blank beside it can be left out"
            }
            (None, None, false, Some(_)) => "if it is a unit that can be left out",
            _ => "to read it as a number",
        };
        format!("{if_so}, set {} for the column", settings.join(" and "))
    }
}

/// Returns a unit or a currency before or after a number. Other signs, such as `<`, `~` or another minus than the hyphen,
/// change the number.
fn unit(value: &str) -> Option<&str> {
    let is_of_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '-' | '+');
    let number = value.trim_matches(|c| !is_of_number(c));
    let (before, after) = value.split_once(number)?;
    let is_unit = |text: &&str| (1..=8).contains(&text.chars().count()) && text.chars().all(is_of_unit);
    let has_digits = number.bytes().any(|byte| byte.is_ascii_digit());
    let is_factor = |text: &&str| FACTORS.contains(&text.trim());
    [before, after].into_iter().find(is_unit).filter(|unit| has_digits && !is_factor(unit))
}

/// Words that change the number before them.
const FACTORS: [&str; 10] = ["k", "K", "M", "B", "T", "G", "Mio", "Mrd", "CR", "DR"];

fn is_of_unit(c: char) -> bool {
    let is_currency = matches!(c, '$' | '\u{a2}'..='\u{a5}' | '\u{20a0}'..='\u{20cf}');
    is_currency
        || c.is_alphabetic()
        || c.is_whitespace()
        || matches!(c, '%' | '\u{2030}' | '\u{b0}' | '/' | '\u{b2}' | '\u{b3}')
}
