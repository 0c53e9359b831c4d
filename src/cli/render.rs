//! Tables for people and CSV for programs.

use std::io::{self, Write};

use serde_json::{Value as Json, json};

use crate::domain::Receipt;
use crate::ledger::TableDelta;

/// Columns under their names, as wide as they need to be.
pub fn table(out: &mut impl Write, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain(header.get(at).map(|name| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    line(out, &widths, header.iter().copied())?;
    for row in rows {
        line(out, &widths, row.iter().map(String::as_str))?;
    }
    Ok(())
}

fn line<'a>(out: &mut impl Write, widths: &[usize], cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
    let padded: Vec<String> = cells
        .zip(widths)
        .map(|(cell, width)| {
            format!("{}{}", printable(cell), " ".repeat(width.saturating_sub(cell.chars().count())))
        })
        .collect();
    writeln!(out, "{}", padded.join("  ").trim_end())
}

/// What came from outside cannot move the cursor or break the line.
pub fn printable(cell: &str) -> String {
    cell.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A message, of which what follows the first line is indented: a line end in a name, which a shell may have filled
/// in, makes no further line.
pub fn indented(message: &str) -> String {
    let mut lines = message.split('\n');
    let first = printable(lines.next().unwrap_or_default());
    lines.fold(first, |all, line| {
        let end = if line.starts_with("  ") { '\n' } else { '\u{fffd}' };
        format!("{all}{end}{}", printable(line))
    })
}

/// One line of CSV; fields are quoted where they must be, or always.
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

/// Pretty JSON, with a line end.
pub fn json(out: &mut impl Write, value: &Json) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// What became of the quarantined records of a delivery: those open and discarded are quarantined, those
/// replayed are among the loaded and skipped ones.
pub fn quarantine(receipt: &Receipt) -> Json {
    json!({ "open": receipt.open(), "replayed": receipt.replayed, "discarded": receipt.discarded })
}

/// `2018-11-01T21:01:46Z` of milliseconds since 1970.
pub fn time(ms: i64) -> String {
    crate::domain::text::timestamp(ms)
}

/// A count of collisions, and whether it is an estimate.
pub fn collisions(count: u64, estimated: bool) -> String {
    format!("{}{}", if estimated { "≈ " } else { "" }, grouped(count))
}

/// What a run did to each table, as JSON; `estimated` only where it holds.
pub fn tables_json(tables: impl Iterator<Item = (String, TableDelta)>, sample: u64) -> Json {
    let told = |(name, delta): (String, TableDelta)| {
        let mut told = json!({ "rows": delta.rows, "collisions": delta.told_collisions(sample) });
        if delta.estimated {
            told["estimated"] = json!(true);
        }
        (name, told)
    };
    Json::Object(tables.map(told).collect())
}

/// The same as rows of a table of text.
pub fn tables_text(tables: impl Iterator<Item = (String, TableDelta)>, sample: u64) -> Vec<Vec<String>> {
    let told = |(name, delta): (String, TableDelta)| {
        let found = collisions(delta.told_collisions(sample), delta.estimated);
        vec![format!("  {name}"), grouped(delta.rows), found]
    };
    tables.map(told).collect()
}

/// 1234567 as 1,234,567.
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
    fn csv_is_read_back_as_it_was() {
        let fields: [&[u8]; 5] = [b"a", b"b,c", b"d\"e", b"f\ng", b""];
        let mut out = Vec::new();
        csv(&mut out, fields.into_iter(), false).unwrap();
        assert_eq!(out, b"a,\"b,c\",\"d\"\"e\",\"f\ng\",\n");
        let mut out = Vec::new();
        csv(&mut out, fields.into_iter(), true).unwrap();
        assert_eq!(out, b"\"a\",\"b,c\",\"d\"\"e\",\"f\ng\",\"\"\n");
    }

    #[test]
    fn a_name_in_a_message_makes_no_line() {
        assert_eq!(
            indented("a\nb\u{1b}[2J: is no file\n  next: c"),
            "a\u{fffd}b\u{fffd}[2J: is no file\n  next: c"
        );
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([grouped(0), grouped(999), grouped(1_234_567)], ["0", "999", "1,234,567"]);
    }
}
