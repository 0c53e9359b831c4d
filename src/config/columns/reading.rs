//! Compiles the keys of a column into the form of its fields.

use crate::config::columns::column::Column;
use crate::config::text::Text;
use crate::domain::Type;
use crate::domain::reading::{Fold, Notation, NumberForm, Reading, TimeForm, Zone, is_same_word};

/// A problem of a column: its key, what is wrong, and the next step.
#[derive(Debug)]
pub struct Problem {
    pub key: &'static str,
    pub problem: String,
    pub next: &'static str,
}

impl Problem {
    fn new(key: &'static str, problem: impl Into<String>, next: &'static str) -> Self {
        Self { key, problem: problem.into(), next }
    }
}

/// Returns the form of the fields of a column. `None` if it is the grammar of the type. `numbers` is how numbers are
/// written in all columns of the source.
///
/// # Errors
/// Returns the first key that the type does not have, or with a value that cannot be used.
pub fn reading(kind: Type, column: &Column, numbers: NumberForm) -> Result<Option<Reading>, Problem> {
    refuse_foreign(kind, column)?;
    let notation = notation(kind, column, numbers)?;
    let reading = Reading {
        null: column.null.0.clone(),
        strip: column.strip.0.clone(),
        default: column.default.clone().map(|Text(text)| text),
        notation,
    };
    check_default(kind, column, &reading)?;
    Ok(Some(reading).filter(|reading| *reading != Reading::default()))
}

/// Refuses keys that the type does not have.
fn refuse_foreign(kind: Type, column: &Column) -> Result<(), Problem> {
    let has_numbers = kind.is_number() || column.unit.is_some();
    let has_words = column.words.iter().any(|words| !words.0.is_empty());
    let keys = [
        ("decimal", column.decimal.is_some(), has_numbers, "numbers"),
        ("thousands", column.thousands.is_some(), has_numbers, "numbers"),
        ("zero_fraction", column.zero_fraction.is_some(), kind.is_whole(), "whole numbers"),
        ("true and false", has_words, kind == Type::Boolean, "a boolean"),
        (
            "format",
            !column.format.0.is_empty(),
            kind.is_time() || kind == Type::Blob,
            "dates, times and blobs",
        ),
        ("zone", column.zone.is_some(), kind == Type::Timestamp, "a timestamp"),
        ("fold", column.fold.is_some(), kind == Type::Timestamp, "a timestamp"),
        ("truncate", column.truncate, kind.is_time(), "dates and times"),
    ];
    match keys.into_iter().find(|(_, is_set, is_right, _)| *is_set && !is_right) {
        Some((key, _, _, types)) => Err(Problem::new(
            key,
            format!("is for {types}, and the column is {kind}"),
            "remove the key, or change the type",
        )),
        None => Ok(()),
    }
}

fn notation(kind: Type, column: &Column, numbers: NumberForm) -> Result<Notation, Problem> {
    match kind {
        Type::Boolean => words(column),
        Type::Blob => blob(column),
        _ if kind.is_number() => {
            let form = number(column, numbers)?;
            Ok(if form == NumberForm::default() { Notation::Plain } else { Notation::Number(form) })
        }
        _ if kind.is_time() => {
            let form = time(kind, column, numbers)?;
            Ok(if form == TimeForm::default() { Notation::Plain } else { Notation::Time(form) })
        }
        _ => Ok(Notation::Plain),
    }
}

fn number(column: &Column, of_source: NumberForm) -> Result<NumberForm, Problem> {
    let form = number_form(column.decimal.as_ref(), column.thousands.as_ref(), of_source)?;
    Ok(NumberForm { zero_fraction: column.zero_fraction.unwrap_or(false), ..form })
}

/// Returns how numbers are written, from the two keys for it.
///
/// # Errors
/// Returns an error if a key is not one character, or both are the same.
pub fn number_form(
    decimal: Option<&Text>,
    thousands: Option<&Text>,
    default: NumberForm,
) -> Result<NumberForm, Problem> {
    let mut form = default;
    if let Some(Text(text)) = decimal {
        let mark = match text.as_str() {
            "." => '.',
            "," => ',',
            _ => return Err(Problem::new("decimal", format!("is `{text}`"), "write \".\" or \",\"")),
        };
        form.decimal = mark;
    }
    if let Some(Text(text)) = thousands {
        let mut chars = text.chars();
        let mark = chars.next().filter(|mark| chars.next().is_none() && !mark.is_ascii_alphanumeric());
        let mark = mark.filter(|mark| !matches!(mark, '-' | '+'));
        let next = "write one character, such as \".\", \",\", \" \", \"'\" or \"\\u00A0\"";
        form.thousands = Some(mark.ok_or_else(|| Problem::new("thousands", format!("is `{text}`"), next))?);
    }
    if form.thousands == Some(form.decimal) {
        let problem = format!("is `{}`, and so is the mark before the decimals", form.decimal);
        return Err(Problem::new("thousands", problem, "set decimal and thousands to different characters"));
    }
    Ok(form)
}

fn words(column: &Column) -> Result<Notation, Problem> {
    let [yes, no] = &column.words;
    if yes.0.is_empty() && no.0.is_empty() {
        return Ok(Notation::Plain);
    }
    if yes.0.is_empty() || no.0.is_empty() {
        return Err(Problem::new("true and false", "only one of them has words", "list the words of both"));
    }
    match yes.0.iter().find(|word| no.0.iter().any(|other| is_same_word(word, other))) {
        Some(word) => {
            Err(Problem::new("true and false", format!("both have `{word}`"), "give each word one meaning"))
        }
        None => Ok(Notation::Words { yes: yes.0.clone(), no: no.0.clone() }),
    }
}

fn blob(column: &Column) -> Result<Notation, Problem> {
    match column.format.0.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["hex"] => Ok(Notation::Plain),
        ["base64"] => Ok(Notation::Base64),
        _ => Err(Problem::new("format", "is not a form of a blob", "write hex (0x…) or base64")),
    }
}

fn time(kind: Type, column: &Column, of_source: NumberForm) -> Result<TimeForm, Problem> {
    let zone = column.zone.as_ref().map(|name| {
        let next = "write a name of the IANA database, such as Europe/Berlin";
        Zone::named(name).map_err(|error| Problem::new("zone", error.to_string(), next))
    });
    let (zone, fold) = (zone.transpose()?, column.fold.unwrap_or_default());
    if zone.is_none() && fold != Fold::Refuse {
        return Err(Problem::new("fold", "needs a zone", "set zone, or remove fold"));
    }
    if column.unit.is_some() && (zone.is_some() || !column.format.0.is_empty()) {
        let problem = "numbers that count since 1970 have no form and no zone";
        return Err(Problem::new("unit", problem, "remove unit, or format and zone"));
    }
    let numbers = match column.unit {
        Some(_) => number_form(column.decimal.as_ref(), column.thousands.as_ref(), of_source)?,
        None => NumberForm::default(),
    };
    let form = TimeForm { formats: column.format.0.clone(), zone, fold, truncate: column.truncate, numbers };
    let next = "write it like \"%d.%m.%Y %H:%M:%S\"; docs/types.md lists the directives";
    form.check(kind).map_err(|problem| Problem::new("format", problem, next))?;
    Ok(form)
}

/// Checks that the default is a value of the column.
fn check_default(kind: Type, column: &Column, reading: &Reading) -> Result<(), Problem> {
    let Some(Text(default)) = &column.default else { return Ok(()) };
    let unit = column.unit.as_ref().and_then(|name| name.parse().ok());
    let form = unit.map_or(kind.into(), crate::domain::parse::Form::Since);
    let next = "write the default as the files write values of this column, without spaces around it and texts of strip";
    match reading.notation.parse(form, default, &mut Vec::new()) {
        Ok(cell) if cell.is_empty() => Err(Problem::new("default", "is itself an empty value", next)),
        Ok(_) => Ok(()),
        Err(refusal) => {
            let problem = format!("{default:?} must be {}{}", refusal.rule, reading.notation_text());
            Err(Problem::new("default", problem, next))
        }
    }
}
