//! Builds DDL from the declaration, and compares existing tables with it.

use std::fmt::Write as _;

use rusqlite::Connection;

use super::cell;
use crate::domain::{Order, Schema, Table};
use crate::store::sqlite::fault::SqlResult;

/// The application id in the header of a SQLite file that marks a needledrop store: "ndrp".
pub const APPLICATION_ID: i32 = 0x6e64_7270;

/// The version of the layout of ledger and quarantine. A store with a newer version is refused.
pub const FORMAT: i64 = 10;

/// The tables of ledger and quarantine.
///
/// Offsets are in decoded bytes, and times in milliseconds since 1970. `sent` is the stamp of the newest row that a
/// delivery sent to a table; a row with a stamp up to `sent` was sent before. `_needledrop_headers` contains, as JSON,
/// the headers of deliveries that have quarantined records. Columns that were added by a later format come last,
/// because `ALTER TABLE` appends columns. `lenient` has how often lenient settings acted, as in `comments=2 trimmed=5`, or
/// NULL if they never did. `replacement` says, as JSON, how a delivery replaces an earlier generation of its file, and
/// `mirrored_by` which generation took the place of an undone one.
pub const LEDGER: &str = "
CREATE TABLE IF NOT EXISTS _needledrop_meta (
  key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _needledrop_deliveries (
  id INTEGER PRIMARY KEY,
  path TEXT NOT NULL, generation INTEGER NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL,
  same_as INTEGER, bytes INTEGER NOT NULL, records INTEGER NOT NULL, line INTEGER NOT NULL,
  hash TEXT NOT NULL, head TEXT NOT NULL,
  noted_size INTEGER NOT NULL, noted_mtime INTEGER NOT NULL, noted_ctime INTEGER NOT NULL,
  fingerprint TEXT NOT NULL, attempt TEXT NOT NULL,
  loaded INTEGER NOT NULL, skipped INTEGER NOT NULL, quarantined INTEGER NOT NULL,
  taken_up INTEGER NOT NULL, changed INTEGER NOT NULL,
  replayed INTEGER NOT NULL DEFAULT 0, discarded INTEGER NOT NULL DEFAULT 0,
  assumed INTEGER NOT NULL DEFAULT 0,
  tail_bytes INTEGER, tail_record INTEGER, tail_line INTEGER,
  strikes INTEGER NOT NULL DEFAULT 0, parts INTEGER NOT NULL DEFAULT 0,
  lenient TEXT, replacement TEXT, mirrored_by INTEGER,
  UNIQUE (path, generation));
CREATE TABLE IF NOT EXISTS _needledrop_stamps (
  base INTEGER NOT NULL PRIMARY KEY, delivery INTEGER NOT NULL, first INTEGER NOT NULL,
  records INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS _needledrop_stamps_of ON _needledrop_stamps (delivery);
CREATE TABLE IF NOT EXISTS _needledrop_counts (
  delivery INTEGER NOT NULL, table_name TEXT NOT NULL, rows INTEGER NOT NULL,
  collisions INTEGER NOT NULL, fingerprint TEXT NOT NULL, sent INTEGER NOT NULL, refused INTEGER NOT NULL,
  older INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (delivery, table_name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _needledrop_parts (
  delivery INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (delivery, bytes)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _needledrop_quarantine (
  delivery INTEGER NOT NULL, record INTEGER NOT NULL, line INTEGER NOT NULL, bytes INTEGER NOT NULL,
  length INTEGER NOT NULL, column_name TEXT, reason TEXT NOT NULL, detail TEXT NOT NULL,
  raw BLOB NOT NULL, state TEXT NOT NULL DEFAULT 'open', PRIMARY KEY (delivery, record)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS _needledrop_headers (
  delivery INTEGER PRIMARY KEY, names TEXT NOT NULL);
";

/// Indexes for comparing a new file with deliveries that begin like it, and for finding the earlier generations that
/// end when a new one begins. They are partial indexes, so that the progress of a load does not update them.
pub const INDEXES: &str = "
CREATE INDEX IF NOT EXISTS _needledrop_contents ON _needledrop_deliveries (head, bytes, hash)
  WHERE state IN ('loaded', 'undone');
CREATE INDEX IF NOT EXISTS _needledrop_unfinished ON _needledrop_deliveries (head)
  WHERE state IN ('loading', 'incomplete');
CREATE INDEX IF NOT EXISTS _needledrop_unsettled ON _needledrop_deliveries (path)
  WHERE state IN ('loading', 'incomplete', 'waiting');
CREATE INDEX IF NOT EXISTS _needledrop_failed ON _needledrop_deliveries (path)
  WHERE state = 'failed' AND discarded < quarantined;
";

/// Returns a name in double quotes. Names contain only safe characters, but quoting also allows keywords as names.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the statements for the SQLite shell, each with a comment: first the tables, then the ledger.
pub fn ddl(declared: &Schema) -> Vec<String> {
    let of_table = |table: &Table| {
        let answers = if table.answers.is_empty() { "no question given" } else { &table.answers };
        format!("-- {}: {answers}\n{};\n", table.name, create(declared, table))
    };
    let ledger = format!("-- ledger and quarantine{LEDGER}");
    declared.tables.iter().map(of_table).chain([ledger]).collect()
}

/// Returns the `CREATE TABLE` statement of one table. `_stamp` is the stamp of the newest record of a row. `_first` is
/// the stamp of the oldest record, or NULL if it equals `_stamp`. `_cells` contains the stamps of columns that are not
/// implied by `_stamp`.
pub fn create(declared: &Schema, table: &Table) -> String {
    create_with(declared, table, |_| "")
}

/// Returns the statement of [`create`], with `more` after the type of each column, which is named by its place in the table.
pub fn create_with(declared: &Schema, table: &Table, more: impl Fn(usize) -> &'static str) -> String {
    let mut ddl = format!("CREATE TABLE {} (\n", quoted(&table.name));
    for (position, column) in declared.columns_of(table).enumerate() {
        let null = if position < table.key_len() { " NOT NULL" } else { "" };
        let (name, kind, more) = (quoted(&column.name), cell::sql_type(column.kind), more(position));
        let _ = writeln!(ddl, "  {name} {kind}{null}{more},");
    }
    let key = key_of(declared, table).join(", ");
    let _ = write!(
        ddl,
        "  _stamp INTEGER NOT NULL,\n  _first INTEGER,\n  _cells TEXT,\n  PRIMARY KEY ({key})\n) STRICT, WITHOUT ROWID"
    );
    ddl
}

fn key_of(declared: &Schema, table: &Table) -> Vec<String> {
    let name =
        |index: usize| declared.columns.get(index).map(|column| quoted(&column.name)).unwrap_or_default();
    let partition = table.partition_key.iter().map(|index| name(*index));
    let clustering = table.clustering_key.iter().map(|(index, order)| match order {
        Order::Ascending => name(*index),
        Order::Descending => format!("{} DESC", name(*index)),
    });
    partition.chain(clustering).collect()
}

/// Returns an error text if SQLite cannot sort a clustering column of the table by value.
pub fn unsortable(declared: &Schema, table: &Table) -> Option<String> {
    let mut clustering = table.clustering_key.iter().filter_map(|(index, _)| declared.columns.get(*index));
    let column = clustering.find(|column| !cell::sorts(column.kind))?;
    Some(format!(
        "table {}: clustering column {} is {}, which SQLite would not sort by value",
        table.name, column.name, column.kind
    ))
}

/// Returns an error text if the table has more columns than SQLite allows.
pub fn too_wide(declared: &Schema, table: &Table) -> Option<String> {
    /// SQLITE_MAX_COLUMN of the built-in SQLite (<https://sqlite.org/limits.html>).
    const MOST: usize = 2000;
    let (columns, most) = (declared.columns_of(table).count(), MOST - OURS.len());
    (columns > most).then(|| format!("table {} has {columns} columns, and SQLite allows {most}", table.name))
}

/// The columns of needledrop in each table, by name and type.
const OURS: [&str; 3] = ["_cells TEXT", "_first INTEGER", "_stamp INTEGER"];

/// The shape of a table, as declared or as found, with one text per column. The declared columns come first, each with
/// name, type, and position and order in the key. The columns of needledrop, whose names begin with `_`, come last.
type Shape = Vec<String>;

fn expected(declared: &Schema, table: &Table) -> Shape {
    let keys = key_of(declared, table);
    let columns = declared.columns_of(table).enumerate().map(|(position, column)| {
        let order = keys.get(position).is_some_and(|key| key.ends_with(" DESC"));
        described(&column.name, cell::sql_type(column.kind), position < keys.len(), position + 1, order)
    });
    columns.chain(OURS.map(String::from)).collect()
}

fn described(name: &str, kind: &str, key: bool, position: usize, descending: bool) -> String {
    let order = if descending { " descending" } else { "" };
    if key { format!("{name} {kind} key {position}{order}") } else { format!("{name} {kind}") }
}

/// Returns the shape of a table, or `None` if the table does not exist.
fn found(connection: &Connection, name: &str) -> SqlResult<Option<Shape>> {
    let mut statement =
        connection.prepare("SELECT name, type, pk FROM pragma_table_info(?1) ORDER BY cid")?;
    let columns: Vec<(String, String, usize)> = statement
        .query_map([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<SqlResult<_>>()?;
    if columns.is_empty() {
        return Ok(None);
    }
    let descending = descending(connection, name)?;
    let (ours, declared): (Vec<_>, Vec<_>) =
        columns.into_iter().partition(|(name, ..)| name.starts_with('_'));
    let mut shape: Shape = declared
        .into_iter()
        .map(|(name, kind, pk)| described(&name, &kind, pk > 0, pk, descending.contains(&name)))
        .collect();
    let mut ours: Vec<_> = ours.into_iter().map(|(name, kind, _)| format!("{name} {kind}")).collect();
    ours.sort();
    shape.extend(ours);
    Ok(Some(shape))
}

/// Returns the key columns that are sorted in descending order.
fn descending(connection: &Connection, table: &str) -> SqlResult<Vec<String>> {
    let sql = "SELECT x.name FROM pragma_index_list(?1) AS i, pragma_index_xinfo(i.name) AS x \
               WHERE i.origin = 'pk' AND x.\"desc\" = 1";
    connection.prepare(sql)?.query_map([table], |row| row.get(0))?.collect()
}

/// Whether there is a table of this name.
pub fn exists(connection: &Connection, table: &Table) -> SqlResult<bool> {
    Ok(found(connection, &table.name)?.is_some())
}

/// How a table differs from its declaration.
pub enum Difference {
    Missing,
    /// What was expected and what was found, on one line each.
    Other(String),
}

/// Compares one table with its declaration. Returns `None` if they match.
pub fn compare(connection: &Connection, declared: &Schema, table: &Table) -> SqlResult<Option<Difference>> {
    let Some(found) = found(connection, &table.name)? else { return Ok(Some(Difference::Missing)) };
    let expected = expected(declared, table);
    if found == expected {
        return Ok(None);
    }
    let lines = |shape: &Shape| shape.join(", ");
    let only =
        |a: &Shape, b: &Shape| a.iter().filter(|column| !b.contains(column)).cloned().collect::<Shape>();
    let (lacks, extra) = (only(&expected, &found), only(&found, &expected));
    let difference = if lacks.is_empty() && extra.is_empty() {
        format!("expected the order {}\n  found the order {}", lines(&expected), lines(&found))
    } else {
        format!("expected {}\n  found {}", none_or(&lines(&lacks)), none_or(&lines(&extra)))
    };
    Ok(Some(Difference::Other(difference)))
}

fn none_or(list: &str) -> &str {
    if list.is_empty() { "nothing" } else { list }
}
