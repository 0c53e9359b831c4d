//! `needledrop query`: prints the rows of one partition.

use std::io::Write;

use clap::Args;
use serde_json::Value as Json;

use super::guard::Guard;
use super::{load, render};
use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::daemon::app::App;
use crate::domain::json::{Item, Malformed, Reader};
use crate::domain::parse::parse;
use crate::domain::{Column, Table, TableRow, Value, text};
use crate::store::listing::TableRows;
use crate::store::{Access, RowReader};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The table; without it, list all tables and the questions that they answer
    table: Option<String>,
    /// Values for all columns of the partition key and, optionally, for the first clustering columns; without a table,
    /// `query` shows which these are
    #[arg(value_name = "COLUMN=VALUE")]
    conditions: Vec<String>,
    /// Print the rows as JSON
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print the rows as CSV
    #[arg(long)]
    csv: bool,
    /// Put an apostrophe before each cell that a spreadsheet would run as a formula
    #[arg(long, requires = "csv", conflicts_with = "json")]
    spreadsheet_safe: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let Some(name) = &arguments.table else { return tables(app) };
    let index = load::table_index(app, name)?;
    let table = &app.schema.tables[index];
    let columns: Vec<&Column> = app.schema.columns_of(table).collect();
    let key = key(table, &columns, &arguments.conditions)?;
    let store = app.open(Access::Read).await?;
    let header = columns.iter().map(|column| column.name.as_str()).collect();
    let printer = Printer { rows: TableRows::new(&store, index, key), header };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match (arguments.csv, arguments.json) {
        (true, _) => printer.csv(&mut out, arguments.spreadsheet_safe).await?,
        (_, true) => printer.json(&mut out).await?,
        _ => printer.text(&mut out).await?,
    }
    out.flush()?;
    Ok(Exit::Done)
}

/// Returns the values of the leading key columns, in the order of the key.
fn key(table: &Table, columns: &[&Column], conditions: &[String]) -> Result<Vec<Value<'static>>, Failure> {
    let usage = |problem: String| Failure::usage(format!("{problem}\n  next: {}", form(table, columns)));
    let mut given: Vec<Option<Value<'static>>> = vec![None; table.key_len()];
    for condition in conditions {
        let (name, value) =
            condition.split_once('=').ok_or_else(|| usage(format!("`{condition}` is not COLUMN=VALUE")))?;
        let at = columns.iter().take(table.key_len()).position(|column| column.name == name);
        let at = at.ok_or_else(|| usage(format!("`{name}` is not in the key of {}", table.name)))?;
        if given[at].replace(typed(columns[at], value).map_err(&usage)?).is_some() {
            return Err(usage(format!("`{name}` is given twice")));
        }
    }
    let count = given.iter().take_while(|value| value.is_some()).count();
    if let Some(beyond) = given.iter().skip(count).position(Option::is_some) {
        let (missing, beyond) = (&columns[count].name, &columns[count + beyond].name);
        return Err(usage(format!("`{beyond}` can be given only together with `{missing}`")));
    }
    if count < table.partition_key.len() {
        return Err(usage(format!("`{}` is missing", columns[count].name)));
    }
    Ok(given.into_iter().flatten().collect())
}

/// Returns the form of a query of this table.
fn form(table: &Table, columns: &[&Column]) -> String {
    let names = |range: std::ops::Range<usize>| {
        columns[range].iter().map(|column| format!("{}=…", column.name)).collect::<Vec<_>>().join(" ")
    };
    let (partition, all) = (table.partition_key.len(), table.key_len());
    let optional = if all > partition { format!(" [{}]", names(partition..all)) } else { String::new() };
    format!("needledrop query {} {}{optional}", table.name, names(0..partition))
}

/// Prints the declared tables, each with the question that it answers and the form of a query.
fn tables(app: &App) -> CommandResult {
    let mut out = std::io::stdout().lock();
    for table in &app.schema.tables {
        let columns: Vec<&Column> = app.schema.columns_of(table).collect();
        writeln!(out, "{}: {}\n  {}", table.name, table.answers, form(table, &columns))?;
    }
    Ok(Exit::Done)
}

fn typed(column: &Column, value: &str) -> Result<Value<'static>, String> {
    let mut arena = Vec::new();
    // Users copy values from the output of a query or from a file. The output takes precedence: if the files write
    // 1234 as `1.234`, then `1.234` from the output must still find the row of the number 1.234.
    let parsed = parse(column.kind, value.as_bytes(), &mut arena)
        .or_else(|_| column.parse(value.as_bytes(), &mut arena));
    let cell =
        parsed.map_err(|refusal| format!("{}: {}", column.name, refusal.describe(&format!("{value:?}"))))?;
    if cell.is_empty() {
        return Err(format!("`{}` is empty, but a key column always has a value", column.name));
    }
    Ok(cell.value(&arena).into_owned())
}

/// Prints rows a page at a time.
struct Printer<'p, S> {
    rows: TableRows<'p, S>,
    header: Vec<&'p str>,
}

impl<S: RowReader> Printer<'_, S> {
    async fn json(mut self, out: &mut impl Write) -> Result<(), Failure> {
        let header = &self.header;
        let object = |row: &TableRow| -> Json {
            header.iter().zip(row).map(|(name, value)| ((*name).to_owned(), json(value))).collect()
        };
        // The first page is read before anything is printed, so that a table that cannot be read prints nothing.
        let mut next = self.rows.page().await?;
        let mut elements = render::Elements::list(out)?;
        while let Some(page) = next {
            page.iter().try_for_each(|row| elements.push(&object(row)))?;
            next = self.rows.page().await?;
        }
        Ok(elements.end(&serde_json::Map::new())?)
    }

    async fn csv(mut self, out: &mut impl Write, spreadsheet_safe: bool) -> Result<(), Failure> {
        let mut next = self.rows.page().await?;
        render::csv(out, self.header.iter().map(|name| name.as_bytes()), false)?;
        let mut guard = Guard::new(spreadsheet_safe);
        while let Some(page) = next {
            for row in page.iter().map(plain) {
                let cells: Vec<_> = row.iter().map(|cell| guard.cell(cell.as_bytes())).collect();
                render::csv(out, cells.iter().map(AsRef::as_ref), false)?;
            }
            next = self.rows.page().await?;
        }
        guard.warn("omit --spreadsheet-safe to write all cells unchanged");
        Ok(())
    }

    /// Prints a table. If the rows take more than one page, the later pages are read twice: the widths of all cells
    /// must be known before the first line.
    async fn text(mut self, out: &mut impl Write) -> Result<(), Failure> {
        let mut lines = render::Lines::new(&self.header);
        let first = self.rows.page().await?.unwrap_or_default();
        first.iter().for_each(|row| lines.widen(&plain(row)));
        let mut measured = self.rows.clone();
        while let Some(page) = measured.page().await? {
            page.iter().for_each(|row| lines.widen(&plain(row)));
        }
        lines.header(out, &self.header)?;
        first.iter().try_for_each(|row| lines.row(out, &plain(row)))?;
        while let Some(page) = self.rows.page().await? {
            page.iter().try_for_each(|row| lines.row(out, &plain(row)))?;
        }
        Ok(())
    }
}

fn plain(row: &TableRow) -> Vec<String> {
    row.iter().map(|value| text::plain(value).into_owned()).collect()
}

/// Returns the value as JSON: integers, floats and booleans as such, collections as arrays and objects, an empty value
/// as null, everything else, including decimal and varint, as text.
pub fn json(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Empty => serde_json::Value::Null,
        Value::Whole(n) => (*n).into(),
        Value::Float(x) => text::widen(*x).into(),
        Value::Double(x) => (*x).into(),
        Value::Boolean(yes) => (*yes).into(),
        Value::Collection(text) => collection(text),
        other => text::plain(other).into_owned().into(),
    }
}

/// Returns a list, a set or a map as a JSON array or object.
fn collection(text: &str) -> Json {
    members(text).unwrap_or_else(|Malformed| text.into())
}

fn members(text: &str) -> Result<Json, Malformed> {
    if text.starts_with('[') {
        let (mut reader, mut array) = (Reader::array(text)?, Vec::new());
        while reader.has_next()? {
            array.push(member(reader.item()?)?);
        }
        return Ok(array.into());
    }
    let (mut reader, mut object) = (Reader::object(text)?, serde_json::Map::new());
    while reader.has_next()? {
        object.insert(reader.key()?.into_owned(), member(reader.item()?)?);
    }
    Ok(object.into())
}

/// A number is parsed by the standard library, which rounds it correctly.
fn member(item: Item<'_>) -> Result<Json, Malformed> {
    match item {
        Item::Text(text) => Ok(text.into()),
        Item::Literal("true") => Ok(true.into()),
        Item::Literal("false") => Ok(false.into()),
        Item::Literal(number) => {
            let whole = number.parse::<i64>().map(Json::from);
            whole.or_else(|_| number.parse::<f64>().map(Json::from)).map_err(|_| Malformed)
        }
        Item::Null => Ok(Json::Null),
        Item::Nested => Err(Malformed),
    }
}
