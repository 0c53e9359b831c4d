//! Output formats: tables for people, CSV and JSON for programs.

use std::io::{self, Write};

use serde_json::{Map, Value as Json, json};

use crate::domain::text::visible;
use crate::domain::{Delivery, Receipt, Schema, TableDelta, Value, text};

/// Writes a table, with each column under its name and as wide as it needs to be.
pub fn table(out: &mut impl Write, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut lines = Lines::new(header);
    rows.iter().for_each(|row| lines.widen(row));
    lines.header(out, header)?;
    rows.iter().try_for_each(|row| lines.row(out, row))
}

/// Formats the lines of a table. Keeps the width of each column.
pub struct Lines {
    widths: Vec<usize>,
}

impl Lines {
    pub fn new(header: &[&str]) -> Self {
        Self { widths: header.iter().map(|name| name.chars().count()).collect() }
    }

    /// Makes the columns as wide as the cells of this row.
    pub fn widen(&mut self, row: &[String]) {
        for (width, cell) in self.widths.iter_mut().zip(row) {
            *width = (*width).max(printable(cell).chars().count());
        }
    }

    pub fn header(&self, out: &mut impl Write, header: &[&str]) -> io::Result<()> {
        self.line(out, header.iter().copied())
    }

    pub fn row(&self, out: &mut impl Write, row: &[String]) -> io::Result<()> {
        self.line(out, row.iter().map(String::as_str))
    }

    fn line<'a>(&self, out: &mut impl Write, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
        let padded: Vec<String> = cells
            .zip(&self.widths)
            .map(|(cell, width)| {
                let cell = printable(cell);
                format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count())))
            })
            .collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    }
}

/// A table that may have more rows than fit in memory. The first rows set the column widths. A wider cell in a later
/// row pushes the rest of its line to the right.
pub struct Rows {
    header: Vec<&'static str>,
    first: Vec<Vec<String>>,
    lines: Option<Lines>,
}

/// The number of rows that set the column widths.
const FIRST: usize = 500;

impl Rows {
    pub fn new(header: Vec<&'static str>) -> Self {
        Self { header, first: Vec::new(), lines: None }
    }

    pub fn push(&mut self, out: &mut impl Write, row: Vec<String>) -> io::Result<()> {
        if let Some(lines) = &self.lines {
            return lines.row(out, &row);
        }
        self.first.push(row);
        if self.first.len() == FIRST { self.begin(out) } else { Ok(()) }
    }

    fn begin(&mut self, out: &mut impl Write) -> io::Result<()> {
        let lines = self.lines.insert(Lines::new(&self.header));
        self.first.iter().for_each(|row| lines.widen(row));
        lines.header(out, &self.header)?;
        std::mem::take(&mut self.first).iter().try_for_each(|row| lines.row(out, row))
    }

    /// Ends the table. Returns false, and writes nothing, if there was no row.
    pub fn end(mut self, out: &mut impl Write) -> io::Result<bool> {
        if !self.first.is_empty() {
            self.begin(out)?;
        }
        Ok(self.lines.is_some())
    }
}

/// Escapes control characters, so that text from outside cannot move the cursor or break the line.
pub fn printable(cell: &str) -> String {
    let mut shown = String::with_capacity(cell.len());
    for c in cell.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Formats a message whose further lines are indented. A newline that is not followed by indentation is part of a file
/// name, for example one that a shell pattern matched, and is escaped.
pub fn indented(message: &str) -> String {
    let mut lines = message.split('\n');
    let first = visible(lines.next().unwrap_or_default());
    lines.fold(first, |all, line| {
        let end = if line.starts_with("  ") { "\n" } else { "\\n" };
        format!("{all}{end}{}", visible(line))
    })
}

/// Writes one line of CSV. Fields are quoted if they must be, or always.
pub fn csv<'a>(out: &mut impl Write, fields: impl Iterator<Item = &'a [u8]>, always: bool) -> io::Result<()> {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            out.write_all(b",")?;
        }
        if always || field.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
            quoted(out, field)?;
        } else {
            out.write_all(field)?;
        }
    }
    out.write_all(b"\n")
}

fn quoted(out: &mut impl Write, field: &[u8]) -> io::Result<()> {
    out.write_all(b"\"")?;
    for (at, part) in field.split(|byte| *byte == b'"').enumerate() {
        if at > 0 {
            out.write_all(b"\"\"")?;
        }
        out.write_all(part)?;
    }
    out.write_all(b"\"")
}

/// Formats the key of a row: `sessionId=7, song="X"`.
pub fn key(schema: &Schema, table: &str, row: &[Value<'_>]) -> String {
    let Some((_, table)) = schema.table(table) else { return String::new() };
    let columns = schema.columns_of(table).take(table.key_len()).zip(row);
    let each = columns.map(|(column, cell)| format!("{}={}", column.name, value(cell)));
    each.collect::<Vec<_>>().join(", ")
}

/// Formats a value of a message: texts are in quotes.
pub fn value(cell: &Value<'_>) -> String {
    match cell {
        Value::Empty => "empty".to_owned(),
        Value::Text(_) => format!("{:?}", text::plain(cell)),
        _ => text::plain(cell).into_owned(),
    }
}

/// Returns what `status` and `receipt` say about a delivery.
pub fn delivery(delivery: &Delivery) -> Map<String, Json> {
    let receipt = &delivery.receipt;
    let entries = [
        ("feed", json!(delivery.file.feed())),
        ("file", json!(delivery.file.path())),
        ("generation", json!(delivery.generation)),
        ("state", json!(delivery.state.name())),
        ("detail", json!(delivery.detail)),
        ("bytes", json!(delivery.reach.offset)),
        ("records", json!(receipt.records)),
        ("loaded", json!(receipt.loaded)),
        ("skipped", json!(receipt.skipped)),
        ("quarantined", json!(receipt.quarantined)),
        ("quarantine", quarantine(receipt)),
        ("assumed", json!(receipt.assumed)),
        ("taken_up", json!(time(delivery.taken_up))),
        ("changed", json!(time(delivery.changed))),
    ];
    entries.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Writes pretty-printed JSON with a line end.
pub fn json(out: &mut impl Write, value: &Json) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// A JSON array that is written element by element, with the same layout as [`json()`].
pub struct Elements<W> {
    out: W,
    /// Written before each element.
    indent: &'static str,
    is_empty: bool,
}

impl<W: Write> Elements<W> {
    /// Starts a top-level array.
    pub fn list(mut out: W) -> io::Result<Self> {
        write!(out, "[")?;
        Ok(Self { out, indent: "  ", is_empty: true })
    }

    /// Starts an object with the fields `before`, then the array `name`.
    pub fn field(mut out: W, before: &Map<String, Json>, name: &str) -> io::Result<Self> {
        writeln!(out, "{{")?;
        for (key, value) in before {
            writeln!(out, "  {}: {},", Json::from(key.as_str()), nested(value, "  ")?)?;
        }
        write!(out, "  {}: [", Json::from(name))?;
        Ok(Self { out, indent: "    ", is_empty: true })
    }

    pub fn push(&mut self, element: &Json) -> io::Result<()> {
        let comma = if self.is_empty { "" } else { "," };
        self.is_empty = false;
        write!(self.out, "{comma}\n{}{}", self.indent, nested(element, self.indent)?)
    }

    /// Ends the array. For an array in an object, writes the fields `after` and ends the object.
    pub fn end(mut self, after: &Map<String, Json>) -> io::Result<()> {
        let outer = self.indent.get(2..).unwrap_or_default();
        if !self.is_empty {
            write!(self.out, "\n{outer}")?;
        }
        write!(self.out, "]")?;
        for (key, value) in after {
            write!(self.out, ",\n  {}: {}", Json::from(key.as_str()), nested(value, "  ")?)?;
        }
        if !outer.is_empty() {
            write!(self.out, "\n}}")?;
        }
        writeln!(self.out)?;
        self.out.flush()
    }
}

/// Indents a value. Strings in JSON contain no line ends, so every line end belongs to the layout.
fn nested(value: &Json, indent: &str) -> io::Result<String> {
    Ok(serde_json::to_string_pretty(value)?.replace('\n', &format!("\n{indent}")))
}

/// Returns what became of the quarantined records of a delivery. Open and discarded records count as quarantined.
/// Replayed records count as loaded or skipped.
pub fn quarantine(receipt: &Receipt) -> Json {
    json!({ "open": receipt.open(), "replayed": receipt.replayed, "discarded": receipt.discarded })
}

/// Formats milliseconds since 1970, as in `2018-11-01T21:01:46.796Z`.
pub fn time(ms: i64) -> String {
    crate::domain::text::timestamp(ms)
}

/// Formats a count of collisions, and marks it if it is an estimate.
pub fn collisions(count: u64, estimated: bool) -> String {
    format!("{}{}", if estimated { "≈ " } else { "" }, grouped(count))
}

/// Describes the rows that were not written, because their keys have newer records.
pub fn older(count: u64) -> Option<String> {
    (count > 0).then(|| format!("{} are older than the row of their key", grouped(count)))
}

/// Returns as JSON what a run did to each table. `estimated` is present only if it is true, and `older` if it is not 0.
pub fn tables_json(tables: impl Iterator<Item = (String, TableDelta)>, sample: u64) -> Json {
    let entry = |(name, delta): (String, TableDelta)| {
        let mut counts = json!({ "rows": delta.rows, "collisions": delta.reported_collisions(sample) });
        if delta.estimated {
            counts["estimated"] = json!(true);
        }
        if delta.older > 0 {
            counts["older"] = json!(delta.older);
        }
        (name, counts)
    };
    Json::Object(tables.map(entry).collect())
}

/// Returns what a run did to each table as the rows of a text table.
pub fn tables_text(tables: impl Iterator<Item = (String, TableDelta)>, sample: u64) -> Vec<Vec<String>> {
    let entry = |(name, delta): (String, TableDelta)| {
        let found = collisions(delta.reported_collisions(sample), delta.estimated);
        vec![format!("  {name}"), grouped(delta.rows), found, older(delta.older).unwrap_or_default()]
    };
    tables.map(entry).collect()
}

/// Formats 1234567 as 1,234,567.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_quoted_where_necessary_or_always() {
        let fields: [&[u8]; 5] = [b"a", b"b,c", b"d\"e", b"f\ng", b""];
        let mut out = Vec::new();
        csv(&mut out, fields.into_iter(), false).unwrap();
        assert_eq!(out, b"a,\"b,c\",\"d\"\"e\",\"f\ng\",\n");
        let mut out = Vec::new();
        csv(&mut out, fields.into_iter(), true).unwrap();
        assert_eq!(out, b"\"a\",\"b,c\",\"d\"\"e\",\"f\ng\",\"\"\n");
    }

    #[test]
    fn json_written_by_elements_equals_json_written_at_once() {
        let object = |value: Json| value.as_object().cloned().unwrap_or_default();
        for elements in [json!([]), json!([1, "a\nb", { "c": [2], "d": {} }])] {
            let all = elements.as_array().unwrap();
            let (mut list, mut expected) = (Vec::new(), Vec::new());
            let mut writing = Elements::list(&mut list).unwrap();
            all.iter().for_each(|element| writing.push(element).unwrap());
            writing.end(&Map::new()).unwrap();
            json(&mut expected, &elements).unwrap();
            assert_eq!(list, expected);
            let (mut written, mut expected) = (Vec::new(), Vec::new());
            let (before, after) = (object(json!({ "x": { "y": 1 } })), object(json!({ "z": null })));
            let mut writing = Elements::field(&mut written, &before, "all").unwrap();
            all.iter().for_each(|element| writing.push(element).unwrap());
            writing.end(&after).unwrap();
            json(&mut expected, &json!({ "x": { "y": 1 }, "all": elements, "z": null })).unwrap();
            assert_eq!(String::from_utf8(written), String::from_utf8(expected));
        }
    }

    #[test]
    fn a_name_in_a_message_cannot_start_a_line() {
        assert_eq!(
            indented("a\nb\u{1b}[2J: is no file\n  next: c"),
            "a\\nb\\u{1b}[2J: is no file\n  next: c"
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([grouped(0), grouped(999), grouped(1_234_567)], ["0", "999", "1,234,567"]);
    }
}
