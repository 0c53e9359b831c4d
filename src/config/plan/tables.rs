//! Rules about tables.

use serde_saphyr::Spanned;

use crate::config::plan::broken::{Broken, Checked};
use crate::config::plan::fingerprint;
use crate::config::plan::names::{bare, check_folding, check_name, find, quoted};
use crate::config::sections::{Config, Empty, Table};
use crate::domain;
use crate::domain::recency::is_ordered;
use crate::domain::{Column, Fingerprint, Order};
use crate::store::backend::Kind;

/// Compiles the tables. `skip` are the columns that are skipped when they are empty.
pub fn compile(config: &Config, columns: &[Column], skip: &[usize]) -> Checked<Vec<domain::Table>> {
    let tables = config.tables.0.iter().map(|(name, declared)| {
        let mut table = table(columns, name, declared)?;
        table.fingerprint = fingerprint::table(columns, skip, config.source.file_dates, &table);
        Ok(table)
    });
    let tables = tables.collect::<Checked<Vec<_>>>()?;
    check_reserved(config)?;
    if tables.is_empty() {
        return Err(Broken::new(
            "tables",
            "no table is declared",
            "declare one; config/needledrop.yaml shows how",
        ));
    }
    check_folding("tables", config.tables.0.iter().map(|(name, _)| name))?;
    Ok(tables)
}

/// Checks that no table has a name that SQLite keeps for itself.
fn check_reserved(config: &Config) -> Checked<()> {
    const RESERVED: &str = "sqlite_";
    let begins =
        |name: &str| name.get(..RESERVED.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(RESERVED));
    let reserved = config.tables.0.iter().map(|(name, _)| name).find(|name| begins(bare(&name.value)));
    match reserved.filter(|_| config.store.kind == Kind::Sqlite) {
        None => Ok(()),
        Some(name) => {
            let problem =
                format!("`{}` begins with {RESERVED}, and SQLite has no such tables but its own", name.value);
            Err(Broken::new("tables", problem, "choose another name").at(name))
        }
    }
}

/// Compiles a table, without its fingerprint.
fn table(columns: &[Column], name: &Spanned<String>, table: &Table) -> Checked<domain::Table> {
    check_name("tables", name)?;
    let path = |key: &str| format!("tables.{}.{key}", name.value);
    if table.partition_key.is_empty() {
        return Err(Broken::new(
            &path("partition_key"),
            "is empty",
            "name the columns that every query gives",
        )
        .at(name));
    }
    let within = |names: &[Spanned<String>], key: &str| -> Checked<Vec<usize>> {
        names.iter().map(|column| find(columns, column, &path(key))).collect()
    };
    let made = domain::Table {
        name: bare(&name.value).to_owned(),
        exact: quoted(&name.value).is_some(),
        answers: table.answers.clone(),
        partition_key: within(&table.partition_key, "partition_key")?,
        clustering_key: clustering_key(columns, table, &path("clustering_key"))
            .map_err(|broken| broken.at(name))?,
        columns: within(&table.columns, "columns")?,
        statics: within(&table.statics, "static")?,
        options: table.options.iter().map(|(name, word)| (name.clone(), word.0.clone())).collect(),
        empty: match (table.empty, &table.newest_by) {
            (Some(Empty::Clear), _) | (_, Some(_)) => domain::Empty::Clear,
            (None | Some(Empty::Keep), None) => domain::Empty::Keep,
        },
        newest_by: match &table.newest_by {
            Some(column) => Some(find(columns, column, &path("newest_by"))?),
            None => None,
        },
        fingerprint: Fingerprint::of(""),
    };
    check_statics(columns, &made, &path("static")).map_err(|broken| broken.at(name))?;
    check_once(columns, &made, &path("columns")).map_err(|broken| broken.at(name))?;
    check_key(columns, &made, &path("columns")).map_err(|broken| broken.at(name))?;
    if let Some(newest_by) = &table.newest_by {
        check_newest_by(columns, (table, &made), &path("newest_by"))
            .map_err(|broken| broken.at(newest_by))?;
    }
    Ok(made)
}

/// Checks that the column `newest_by` can decide for whole rows.
fn check_newest_by(
    columns: &[Column],
    (declared, table): (&Table, &domain::Table),
    path: &str,
) -> Checked<()> {
    let Some(column) = table.newest_by.and_then(|at| columns.get(at)) else { return Ok(()) };
    let name = &column.name;
    let (problem, next) = if table.newest_at().is_none() {
        let problem = format!("`{name}` is not among the columns after the key");
        (problem, "name a column of `columns`; a column of the key is the same in all records of a row")
    } else if !is_ordered(column.kind) {
        let problem = format!("`{name}` is of type {}, whose values cannot be ordered", column.kind);
        (problem, "name a column with a number, a date, a time or text")
    } else if !table.statics.is_empty() {
        let problem =
            "a static column belongs to all rows of a partition, and newest_by decides for single rows";
        (problem.to_owned(), "move the static columns to a table of their own")
    } else if table.options.iter().any(|(name, value)| name == "default_time_to_live" && value != "0") {
        let problem =
            "with default_time_to_live, an older record could replace the newest once it has expired";
        (problem.to_owned(), "remove one of the two")
    } else if declared.empty == Some(Empty::Keep) {
        let problem = "with `empty: keep`, a row would mix values of several records";
        (problem.to_owned(), "remove `empty`; the newest record gives the whole row")
    } else {
        return Ok(());
    };
    Err(Broken::new(path, problem, next))
}

fn clustering_key(columns: &[Column], table: &Table, path: &str) -> Checked<Vec<(usize, Order)>> {
    let mut key = Vec::new();
    for clustering in &table.clustering_key {
        let found = columns.iter().position(|column| column.name == bare(&clustering.column));
        let column = found.ok_or_else(|| {
            let problem = format!("there is no column `{}`", clustering.column);
            Broken::new(path, problem, "name a declared column")
        })?;
        let order = if clustering.descending { Order::Descending } else { Order::Ascending };
        key.push((column, order));
    }
    Ok(key)
}

/// Checks that the static columns are among the columns of the table.
fn check_statics(columns: &[Column], table: &domain::Table, path: &str) -> Checked<()> {
    let other = table.statics.iter().find(|column| !table.columns.contains(column));
    let Some(column) = other else { return Ok(()) };
    let name = columns.get(*column).map_or("", |column| column.name.as_str());
    let problem = format!("`{name}` is not among the columns of the table");
    Err(Broken::new(path, problem, "name it in columns too"))
}

/// Checks that no column is in the table twice.
fn check_once(columns: &[Column], table: &domain::Table, path: &str) -> Checked<()> {
    let mut seen = std::collections::HashSet::new();
    let twice = table.all().find(|index| !seen.insert(*index)).and_then(|index| columns.get(index));
    let Some(column) = twice else { return Ok(()) };
    let problem = format!("`{}` is in the table twice", column.name);
    Err(Broken::new(path, problem, "name it once, in the key or in the columns"))
}

/// Checks that the key contains no collection.
fn check_key(columns: &[Column], table: &domain::Table, path: &str) -> Checked<()> {
    let mut key = table.key().filter_map(|at| columns.get(at));
    let Some(column) = key.find(|column| column.kind.is_collection()) else { return Ok(()) };
    let problem = format!("`{}` is a {}, and a key cannot contain a collection", column.name, column.kind);
    Err(Broken::new(path, problem, "move it from the key to the columns"))
}
