//! `needledrop quarantine show`: shows one record with its invalid field marked.

use std::io::{self, Write};
use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use unicode_width::UnicodeWidthStr as _;

use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::cli::quarantine::object::object;
use crate::cli::render::printable;
use crate::cli::{load, render};
use crate::daemon::app::App;
use crate::domain::quarantine::{EntryFilter, QuarantineEntry};
use crate::domain::{Delivery, FieldNames, Header, Origin, Plan, Reason, ledger, text};
use crate::format::splitter::{Malformed, places};
use crate::jobs::replay;
use crate::jobs::replay::untried::UntriedError;
use crate::store::listing::{Deliveries, Entries};
use crate::store::{Access, Store, StoreError};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The file, as a path, relative to the inbox, or as `status` shows it (FEED//PATH)
    file: PathBuf,
    /// The line of the file on which the record begins
    line: u64,
    /// The feed of the file
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// Print the record as JSON
    #[arg(long)]
    json: bool,
}

/// The invalid field, by its number in the record (from 1) and its byte range, or why no field can be marked.
type Marked = Result<(usize, Range<usize>), Unmarked>;

/// Why no field of a record can be marked.
#[derive(Debug, thiserror::Error)]
enum Unmarked {
    #[error("no single field is invalid")]
    NoField,
    #[error(transparent)]
    NoHeader(#[from] UntriedError),
    #[error("the header of its file has no `{0}`")]
    NoName(String),
    #[error("`{0}` is not a field of the record; it is derived from the name of the file")]
    OfFileName(String),
    #[error("{}", .0.describe(.0.at))]
    Malformed(Malformed),
    #[error("it has {fields} fields and the header has {names}, so it is not known which field is `{name}`")]
    Fields { fields: usize, names: usize, name: String },
    #[error("the record ends before this field")]
    Ends,
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let store = app.open(Access::Read).await?;
    let (delivery, entry) = find(app, &store, arguments).await?;
    let marked = mark(app, &store, &delivery, &entry).await?;
    let mut out = io::stdout().lock();
    if arguments.json {
        let mut shown = object(&delivery, &entry);
        shown["marked"] = match &marked {
            Ok((field, at)) => json!({ "field": field, "from": at.start, "to": at.end }),
            Err(_) => json!(null),
        };
        shown["unmarked"] = json!(marked.err().map(|why| why.to_string()));
        render::json(&mut out, &shown)?;
    } else {
        text(&mut out, &delivery, &entry, &marked)?;
    }
    Ok(Exit::Done)
}

/// Finds the record in the newest generation of the file that has a quarantined record on this line.
async fn find(
    app: &App,
    store: &impl Store,
    arguments: &Arguments,
) -> Result<(Delivery, QuarantineEntry), Failure> {
    let Arguments { file, line, feed, .. } = arguments;
    let known = load::known_file(app, store, (file, feed.as_deref())).await?;
    let filter = EntryFilter { line: Some(*line), raw: true, ..EntryFilter::default() };
    let mut deliveries = Deliveries::new(store, ledger::DeliveryFilter::Path(known));
    let mut found = None;
    while let Some(delivery) = deliveries.next().await? {
        if let Some(page) = Entries::new(store, delivery.id, filter.clone()).page().await? {
            found = page.into_iter().next_back().map(|entry| (delivery, entry));
        }
    }
    found.ok_or_else(|| {
        Failure::usage(format!(
            "{} has no quarantined record on line {line}\n  next: see `needledrop quarantine list`",
            file.display()
        ))
    })
}

async fn mark(
    app: &App,
    store: &impl Store,
    delivery: &Delivery,
    entry: &QuarantineEntry,
) -> Result<Marked, StoreError> {
    let feeds = app.find();
    let find = match feeds.of(&delivery.file) {
        Ok(find) => find,
        Err(why) => return Ok(Err(UntriedError::from(why).into())),
    };
    if entry.record.reason == Reason::Quote
        && let Err(Malformed { field, at, .. }) = places(&find.plan.format, &entry.record.raw)
    {
        return Ok(Ok((field + 1, at..at + 1)));
    }
    let Some(column) = &entry.record.column else {
        return Ok(Err(Unmarked::NoField));
    };
    match replay::header(store, find, delivery).await {
        Ok(header) => Ok(place(&find.plan, &header, column, &entry.record.raw)),
        Err(error) => Ok(Err(error.untried()?.into())),
    }
}

fn place(plan: &Plan, header: &Header, column: &str, raw: &[u8]) -> Marked {
    let names = field_names(plan, column)?;
    let rule = plan.format.name_match();
    let at = header.0.iter().position(|field| names.iter().any(|name| rule.is_same(field, name)));
    let at = at.ok_or_else(|| Unmarked::NoName(names.first().to_owned()))?;
    let places = places(&plan.format, raw).map_err(Unmarked::Malformed)?;
    let is_empty = places.last().is_some_and(Range::is_empty);
    if !plan.format.lenient().fits(places.len(), header.0.len(), is_empty) {
        let (fields, names) = (places.len(), header.0.len());
        return Err(Unmarked::Fields { fields, names, name: column.to_owned() });
    }
    places.into_iter().nth(at).map(|range| (at + 1, range)).ok_or(Unmarked::Ends)
}

/// Returns the names that the field of a column may have in a header.
fn field_names(plan: &Plan, name: &str) -> Result<FieldNames, Unmarked> {
    let Some(mut column) = plan.columns.iter().find(|column| column.name == name) else {
        // The column is no longer declared. Most columns have the same name as their field.
        return Ok(name.into());
    };
    // A part of a timestamp may be derived from another part. The first of them is derived from an earlier column.
    while let Origin::PartOf(of, _) = column.origin
        && let Some(source) = plan.columns.get(of)
    {
        column = source;
    }
    match &column.origin {
        Origin::Field(names) => Ok(names.clone()),
        _ => Err(Unmarked::OfFileName(name.to_owned())),
    }
}

fn text(
    out: &mut impl Write,
    delivery: &Delivery,
    entry: &QuarantineEntry,
    marked: &Marked,
) -> io::Result<()> {
    let record = &entry.record;
    writeln!(out, "{}:{}: {}", printable(delivery.file.text()), record.line, record.reason)?;
    match (&record.column, marked) {
        (Some(column), Ok((field, _))) => writeln!(out, "column  {column} (field {field})")?,
        (Some(column), Err(_)) => writeln!(out, "column  {column}")?,
        (None, Ok((field, _))) => writeln!(out, "field   {field}")?,
        (None, Err(_)) => {}
    }
    writeln!(out, "why     {}", printable(&record.detail))?;
    writeln!(out, "where   record {}, byte {}, {} bytes", record.record, record.offset, record.len)?;
    writeln!(out, "state   {}", entry.fate)?;
    if let Err(why) = marked {
        writeln!(out, "mark    none: {}", printable(&why.to_string()))?;
    }
    let at = marked.as_ref().ok().map(|(_, at)| at.clone());
    lines(out, &record.raw, at)
}

/// Writes the lines of a record. A line with the mark follows the line on which the marked field begins.
fn lines(out: &mut impl Write, raw: &[u8], marked: Option<Range<usize>>) -> io::Result<()> {
    let (mut begin, mut name) = (0, "record  ");
    for line in raw.split(|byte| *byte == b'\n') {
        let end = begin + line.len();
        writeln!(out, "{name}{}", visible(line))?;
        if let Some(at) = marked.as_ref().filter(|at| (begin..=end).contains(&at.start)) {
            let width = |from: usize, to: usize| visible(raw.get(from..to).unwrap_or_default()).width();
            let marks = width(at.start, at.end.min(end)).max(1);
            writeln!(out, "        {}{}", " ".repeat(width(begin, at.start)), "^".repeat(marks))?;
        }
        (begin, name) = (end + 1, "        ");
    }
    Ok(())
}

/// Returns text for a terminal. Characters that cannot be seen, and bytes that are not text, are escaped.
fn visible(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for part in bytes.utf8_chunks() {
        shown.push_str(&text::visible(part.valid()));
        shown.extend(part.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Format;

    fn marked(raw: &[u8], field: usize) -> String {
        let mut out = Vec::new();
        lines(&mut out, raw, places(&Format::default(), raw).unwrap().into_iter().nth(field)).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_mark_is_under_the_field_whatever_is_before_it() {
        assert_eq!(marked(b"ab,zero,c", 1), "record  ab,zero,c\n           ^^^^\n");
        assert_eq!(marked(b"ab,,c", 1), "record  ab,,c\n           ^\n", "an empty field");
        assert_eq!(marked("日本,x".as_bytes(), 1), "record  日本,x\n             ^\n", "wide characters");
        assert_eq!(marked(b"\xe9\t,x", 0), "record  \\xe9\\t,x\n        ^^^^^^\n", "bytes that are not text");
        let quoted = "record  a,\"b\n        c\",\"d\"\"e\"\n           ^^^^^^\n";
        assert_eq!(marked(b"a,\"b\nc\",\"d\"\"e\"", 2), quoted, "over two lines");
    }
}
