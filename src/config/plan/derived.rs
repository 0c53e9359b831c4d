//! Columns that are derived from the path of a file, from the place of a record or from another column.

use serde_saphyr::Spanned;

use crate::config::columns::Derived;
use crate::config::plan::broken::{Broken, Checked};
use crate::config::plan::names::bare;
use crate::domain;
use crate::domain::path_value::{PathPattern, PathValue};
use crate::domain::reading::{TimePart, Zone};
use crate::domain::{Column, Origin, Type};

/// Returns the type of a derived column, and where its values come from. `columns` are the columns of the source.
pub fn derived_from(
    columns: &[Column],
    name: &Spanned<String>,
    derived: &Derived,
) -> Checked<(Type, Origin)> {
    let path = format!("source.derive.{}", name.value);
    let broken = |problem: String, next: &str| Broken::new(&path, problem, next).at(name);
    let typed = |kind: &Option<String>| -> Checked<Type> {
        let Some(kind) = kind else { return Ok(Type::Text) };
        kind.parse()
            .map_err(|error: domain::value::UnknownType| broken(error.to_string(), "choose one of them"))
    };
    match derived {
        Derived::FileDate => Ok((Type::Date, Origin::FileDate)),
        Derived::FileName => Ok((Type::Text, Origin::Path(PathValue::Name))),
        Derived::FilePath => Ok((Type::Text, Origin::Path(PathValue::Whole))),
        Derived::Line => Ok((Type::Bigint, Origin::Line)),
        Derived::FromPath { pattern, kind } => {
            let next = "write a regular expression with one group, such as \"region=([^/]*)/\"";
            let pattern = PathPattern::new(pattern).map_err(|error| broken(error.to_string(), next))?;
            Ok((typed(kind)?, Origin::Path(PathValue::Matched(pattern))))
        }
        Derived::Hive { folder, kind } => Ok((typed(kind)?, Origin::Path(PathValue::Hive(folder.clone())))),
        Derived::PartOf { of, precision, zone } => {
            let found =
                columns.iter().position(|column| column.name == bare(of) && column.kind == Type::Timestamp);
            let next = "name a column of type timestamp; a derived one must be declared before this one";
            let of = found.ok_or_else(|| broken(format!("`{of}` is not a timestamp column"), next))?;
            let next = "write a name of the IANA database, such as Europe/Berlin";
            let zone = zone.as_deref().map(Zone::named).transpose();
            let zone = zone.map_err(|error| broken(error.to_string(), next))?;
            let part = TimePart { of: *precision, zone };
            Ok((part.kind(), Origin::PartOf(of, part)))
        }
    }
}
