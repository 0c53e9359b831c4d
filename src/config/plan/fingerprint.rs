//! The fingerprints of a plan and of its tables.

use encoding_rs::Encoding;

use crate::config::sections::{Config, Limits, LooksLikeUtf8};
use crate::domain;
use crate::domain::path_value::PathValue;
use crate::domain::reading::{Precision, TimePart};
use crate::domain::{Column, Feed, FileDates, Fingerprint, Format, Origin, Table, Unit};

/// The version of the rules for dates in names. Files that failed under earlier rules are tried again.
const DATES: &str = " dates 2";

/// Returns the fingerprint of feed, format, columns and tables. It does not depend on their order. A feed without a name
/// and the default format are left out, because earlier versions knew no others.
pub fn plan(feed: &Feed, format: &Format, columns: &[Column], tables: &[Table]) -> Fingerprint {
    let named = (0..columns.len()).map(|index| described(columns, index));
    let tables = tables.iter().map(|table| table.fingerprint.to_string());
    let feed = feed.is_named().then(|| format!("feed {feed}"));
    let format = Some(format.declaration()).filter(|declared| !declared.is_empty());
    let mut parts: Vec<String> = named.chain(tables).chain(feed).chain(format).collect();
    parts.sort();
    Fingerprint::of(&parts.join("; "))
}

/// Returns the fingerprint of everything that decides whether a file fails. `plan` is the fingerprint of the plan.
pub fn attempt(
    plan: &Fingerprint,
    Config { limits, source, .. }: &Config,
    encoding: &'static Encoding,
    columns: &[Column],
) -> Fingerprint {
    let quota = (limits.max_record_bytes.0, limits.max_quarantined);
    let has_date = columns.iter().any(|column| column.origin == Origin::FileDate);
    let dates = match source.file_dates {
        _ if !has_date => String::new(),
        FileDates::YearFirst => DATES.to_owned(),
        dates => format!("{DATES} {dates:?}"),
    };
    let utf8 = match source.looks_like_utf8 {
        LooksLikeUtf8::Refuse => "",
        LooksLikeUtf8::Ignore => " may be UTF-8",
    };
    Fingerprint::of(&format!("{plan} {quota:?} {}{}{dates}{utf8}", encoding.name(), units(columns)))
}

/// Returns the fingerprint of everything that decides what a record becomes. `plan` is the fingerprint of the plan.
pub fn rules(plan: &Fingerprint, limits: &Limits, columns: &[Column]) -> Fingerprint {
    let longest = limits.max_record_bytes.0;
    Fingerprint::of(&format!("{plan} {longest} {}{}", domain::plan::RULES, units(columns)))
}

/// Describes the units of columns, for fingerprints. A unit changes what the same bytes become, so deliveries that
/// failed without it are tried again.
fn units(columns: &[Column]) -> String {
    let declared = |column: &Column| column.unit.map(|unit| format!(" {} in {unit}", column.name));
    columns.iter().filter_map(declared).collect()
}

/// Returns the fingerprint of everything that decides which rows this table holds. The question it answers is not part
/// of it.
pub fn table(columns: &[Column], skip: &[usize], dates: FileDates, table: &Table) -> Fingerprint {
    let parts: Vec<_> = table.all().map(|index| described(columns, index)).collect();
    let skipped: Vec<_> = skip.iter().map(|index| described(columns, *index)).collect();
    let fingerprint = Fingerprint::of(&format!(
        "{} {parts:?} {} {:?} {:?} {skipped:?}",
        table.name,
        table.partition_key.len(),
        table.clustering_key.iter().map(|(_, order)| order).collect::<Vec<_>>(),
        table.empty,
    ));
    with_dates(columns, dates, table, with_newest_by(columns, table, fingerprint))
}

/// Makes the fingerprint of a table with `newest_by` depend on this column. Earlier versions knew no such tables.
fn with_newest_by(columns: &[Column], table: &Table, fingerprint: Fingerprint) -> Fingerprint {
    match table.newest_by {
        Some(column) => Fingerprint::of(&format!("{fingerprint} newest by {}", described(columns, column))),
        None => fingerprint,
    }
}

/// Makes the fingerprint of a table depend on the forms of dates, if the table has the date of the file and the forms
/// are not those of earlier versions.
fn with_dates(columns: &[Column], dates: FileDates, table: &Table, fingerprint: Fingerprint) -> Fingerprint {
    let has_date =
        |index| columns.get(index).is_some_and(|column: &Column| column.origin == Origin::FileDate);
    match dates {
        FileDates::YearFirst => fingerprint,
        _ if !table.all().any(has_date) => fingerprint,
        dates => Fingerprint::of(&format!("{fingerprint} {dates:?}")),
    }
}

/// Describes a column in words that do not depend on the order of columns in the file.
fn described(columns: &[Column], index: usize) -> String {
    let Some(column) = columns.get(index) else { return String::new() };
    let origin = match &column.origin {
        Origin::PartOf(of, part) => format!("the {} of {}", declared_part(part), described(columns, *of)),
        // These words are in the fingerprints of existing ledgers.
        Origin::Field(names) if names.iter().count() == 1 => format!("Field({:?})", names.first()),
        Origin::FileDate => "FileDate".to_owned(),
        Origin::Path(PathValue::Name) => "FileName".to_owned(),
        Origin::Field(names) => format!("one of {:?}", names.iter().collect::<Vec<_>>()),
        Origin::Path(value) => value.describe(),
        Origin::Line => "the line".to_owned(),
    };
    let reading = column.reading.as_ref().map(|reading| format!(" {}", reading.declaration()));
    let reading = reading.unwrap_or_default();
    // Milliseconds are left out. Before there were units, every number in a timestamp counted milliseconds.
    let unit = column.unit.filter(|unit| *unit != Unit::Millis);
    let unit = unit.map(|unit| format!(" in {unit}")).unwrap_or_default();
    format!("{} {}{unit}{reading} {origin}", column.name, column.kind)
}

fn declared_part(part: &TimePart) -> String {
    let zone = part.zone.as_ref().map(|zone| format!(" in {zone}")).unwrap_or_default();
    let name = match part.of {
        Precision::Hour => "hour",
        Precision::Day => "day",
        Precision::Month => "month",
    };
    format!("{name}{zone}")
}
