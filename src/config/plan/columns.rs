//! Rules about columns, and the columns that are skipped when they are empty.

use std::sync::Arc;

use serde_saphyr::Spanned;

use crate::config::columns;
use crate::config::plan::broken::{Broken, Checked};
use crate::config::plan::derived::derived_from;
use crate::config::plan::names::{bare, check_folding, check_name, find, quoted};
use crate::config::sections::SourceConfig;
use crate::domain;
use crate::domain::reading::NumberForm;
use crate::domain::{Column, FieldNames, Origin, Type, Unit};

/// Compiles the columns that are read from fields, and after them the derived ones.
pub fn compile(source: &SourceConfig) -> Checked<Vec<Column>> {
    let mut columns = Vec::new();
    let numbers = source.format.numbers();
    let numbers = numbers.map_err(|(path, problem, next)| Broken::new(path, problem, next))?;
    for (name, column) in &source.columns.0 {
        columns.push(of_field(name, column, numbers)?);
    }
    if columns.is_empty() {
        return Err(Broken::new(
            "source.columns",
            "no column is declared",
            "declare columns; `needledrop init FILE.csv` proposes some",
        ));
    }
    for (name, derived) in &source.derive.0 {
        check_name("source.derive", name)?;
        let (kind, origin) = derived_from(&columns, name, derived)?;
        let (own, exact) = (bare(&name.value).to_owned(), quoted(&name.value).is_some());
        columns.push(Column { name: own, exact, kind, unit: None, reading: None, origin });
    }
    let names = source.columns.0.iter().map(|(name, _)| name);
    check_folding("source.columns", names.chain(source.derive.0.iter().map(|(name, _)| name)))?;
    Ok(columns)
}

/// Compiles a column that is read from a field. `numbers` says how numbers are written, unless the column does.
fn of_field(name: &Spanned<String>, column: &columns::Column, numbers: NumberForm) -> Checked<Column> {
    check_name("source.columns", name)?;
    let path = format!("source.columns.{}", name.value);
    let kind: Type = column.kind.parse().map_err(|error: domain::value::UnknownType| {
        Broken::new(&path, error.to_string(), "choose one of them").at(name)
    })?;
    let (own, exact) = (bare(&name.value).to_owned(), quoted(&name.value).is_some());
    let names = FieldNames::new(column.from.0.clone()).unwrap_or_else(|| own.as_str().into());
    let unit = unit(kind, column).map_err(|problem| {
        Broken::new(&path, problem, "write { type: timestamp, unit: s | ms | us }, or leave unit out")
            .at(name)
    })?;
    let reading = columns::reading(kind, column, numbers).map_err(|problem| {
        Broken::new(&format!("{path}.{}", problem.key), problem.problem, problem.next).at(name)
    })?;
    let (reading, origin) = (reading.map(Arc::new), Origin::Field(names));
    Ok(Column { name: own, exact, kind, unit, reading, origin })
}

/// Returns the unit of a column. The error is the problem in words.
fn unit(kind: Type, column: &columns::Column) -> Result<Option<Unit>, String> {
    match &column.unit {
        None => Ok(None),
        Some(_) if kind != Type::Timestamp => {
            Err(format!("a {kind} has no unit; only a timestamp can have one"))
        }
        Some(name) => name.parse().map(Some).map_err(|error: domain::value::UnknownUnit| error.to_string()),
    }
}

/// Returns the columns that are skipped when they are empty.
pub fn skipped(source: &SourceConfig, columns: &[Column]) -> Checked<Vec<usize>> {
    let names = source.skip_when_empty.iter();
    let skipped: Vec<usize> =
        names.map(|name| find(columns, name, "source.skip_when_empty")).collect::<Checked<_>>()?;
    check_skipped(source, columns, &skipped)?;
    Ok(skipped)
}

/// Checks that the columns that are skipped when they are empty are read from fields, and have no default.
fn check_skipped(source: &SourceConfig, columns: &[Column], skip: &[usize]) -> Checked<()> {
    let is_derived =
        |index: &usize| columns.get(*index).is_some_and(|column| !matches!(column.origin, Origin::Field(_)));
    let derived = source.skip_when_empty.iter().zip(skip).find(|(_, index)| is_derived(index));
    if let Some((name, _)) = derived {
        let problem = format!("`{}` is a derived column", name.value);
        let next = "name a column of source.columns, such as the one that it is derived from";
        return Err(Broken::new("source.skip_when_empty", problem, next).at(name));
    }
    let has_default = |index: &usize| {
        let reading = columns.get(*index).and_then(|column| column.reading.as_ref());
        reading.is_some_and(|reading| reading.default.is_some())
    };
    let both = source.skip_when_empty.iter().zip(skip).find(|(_, index)| has_default(index));
    let Some((name, _)) = both else { return Ok(()) };
    let problem = format!("`{}` has a default, so its empty fields are not empty values", name.value);
    let next = "remove the default, or the name from skip_when_empty";
    Err(Broken::new("source.skip_when_empty", problem, next).at(name))
}
