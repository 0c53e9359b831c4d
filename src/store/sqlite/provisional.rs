//! Provisional last records: what one did to a row is taken back as if it had never been there.
//!
//! A row that such records lie on has a shadow: what it would be without any of them. Others that
//! fall on the row are merged into both; taking one back leaves the shadow and the rest of them.

use rusqlite::types::Value as Sql;
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Value as Json, json};

use super::merge::{self, Change, Row};
use super::rows::Writer;
use super::{Fault, Outcome, Shared, ledger, quarantine};
use crate::domain::{Delivery, DeliveryId, Empty, Stamp};

/// Whether any row of this table has a shadow.
pub fn has_shadows(connection: &Connection, table: &str) -> Outcome<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM _needledrop_shadows WHERE table_name = ?1)";
    connection.prepare_cached(sql)?.query_row([table], |row| row.get(0))
}

/// Remembers a provisional record before it is written, and the row as it is without it.
pub fn remember(
    connection: &Connection,
    id: DeliveryId,
    table: &str,
    key: &[Sql],
    row: Option<&Row>,
    change: &Change,
) -> Outcome<()> {
    let key = encoded(key);
    let sql = "INSERT OR IGNORE INTO _needledrop_shadows VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute(params![table, key, row.map(row_text)])?;
    let sql = "INSERT OR REPLACE INTO _needledrop_provisional VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = encoded(&change.values);
    connection.prepare_cached(sql)?.execute(params![id.0, table, key, change.stamp.0, values])?;
    Ok(())
}

/// Merges a record that is not provisional into the shadow of its row, where there is one.
pub fn merge_into_shadow(
    connection: &Connection,
    table: &str,
    key: &[Sql],
    change: Change,
    names: &[&str],
    empty: Empty,
) -> Outcome<()> {
    let key = encoded(key);
    let Some(shadow) = shadow(connection, table, &key)? else { return Ok(()) };
    if on(connection, table, &key)?.iter().any(|(_, open)| open.stamp == change.stamp) {
        return Ok(());
    }
    let merged = with(shadow, change, names, empty);
    let sql = "UPDATE _needledrop_shadows SET row = ?3 WHERE table_name = ?1 AND key = ?2";
    connection.prepare_cached(sql)?.execute(params![table, key, row_text(&merged)])?;
    Ok(())
}

/// Takes back what the provisional last record of a delivery did: to rows, counts and quarantine.
pub fn take_back(shared: &Shared, connection: &Connection, delivery: &Delivery) -> Result<(), Fault> {
    let Some((mark, _)) = &delivery.provisional else { return Ok(()) };
    let id = delivery.id.0;
    for (index, table) in shared.plan.tables.iter().enumerate() {
        let sql = "SELECT key FROM _needledrop_provisional WHERE delivery = ?1 AND table_name = ?2";
        let key: Option<String> = connection
            .prepare_cached(sql)?
            .query_row(params![id, table.name], |row| row.get(0))
            .optional()?;
        let Some(key) = key else { continue };
        if !shared.dry {
            from_row(shared, connection, delivery.id, index, &key)?;
        }
        let sql = "UPDATE _needledrop_counts SET rows = rows - 1 WHERE delivery = ?1 AND table_name = ?2";
        connection.prepare_cached(sql)?.execute(params![id, table.name])?;
    }
    connection.prepare_cached("DELETE FROM _needledrop_provisional WHERE delivery = ?1")?.execute([id])?;
    quarantine::take_back(connection, delivery.id, mark.record)?;
    Ok(())
}

fn from_row(
    shared: &Shared,
    connection: &Connection,
    id: DeliveryId,
    table: usize,
    key: &str,
) -> Result<(), Fault> {
    let writer = Writer::new(shared, connection, table)?;
    let (name, names) = (writer.name(), writer.names());
    let (own, others): (Vec<_>, Vec<_>) =
        on(connection, name, key)?.into_iter().partition(|(owner, _)| *owner == id);
    let rest = !others.is_empty();
    let shadow = shadow(connection, name, key)?.flatten();
    let without =
        others.into_iter().fold(shadow, |row, (_, change)| Some(with(row, change, &names, writer.empty())));
    let values = decoded(key);
    if let (Some(now), Some((_, own))) = (writer.row(&values)?, own.first()) {
        uncount(connection, id, name, own.stamp == now.first, without.as_ref())?;
    }
    match without {
        Some(row) => writer.update(values, row)?,
        None => writer.delete(&values)?,
    }
    if !rest {
        let sql = "DELETE FROM _needledrop_shadows WHERE table_name = ?1 AND key = ?2";
        connection.prepare_cached(sql)?.execute(params![name, key])?;
    }
    Ok(())
}

/// The record was a collision itself, or, as the first of its key, made one of the second.
fn uncount(
    connection: &Connection,
    id: DeliveryId,
    table: &str,
    was_first: bool,
    without: Option<&Row>,
) -> Outcome<()> {
    let owner = match (was_first, without) {
        (false, _) => Some(id),
        (true, Some(row)) => ledger::owner(connection, row.first)?,
        (true, None) => None,
    };
    let Some(owner) = owner else { return Ok(()) };
    let sql = "UPDATE _needledrop_counts SET collisions = collisions - 1 \
               WHERE delivery = ?1 AND table_name = ?2";
    connection.prepare_cached(sql)?.execute(params![owner.0, table]).map(|_| ())
}

fn with(row: Option<Row>, change: Change, names: &[&str], empty: Empty) -> Row {
    match row {
        Some(row) => merge::merge(&row, change, names, empty),
        None => Row::from(change),
    }
}

/// The provisional records on a row, oldest first.
fn on(connection: &Connection, table: &str, key: &str) -> Outcome<Vec<(DeliveryId, Change)>> {
    let sql = "SELECT delivery, stamp, columns FROM _needledrop_provisional \
               WHERE table_name = ?1 AND key = ?2 ORDER BY stamp";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map([table, key], |row| {
        let change = Change { stamp: Stamp(row.get(1)?), values: decoded(&row.get::<_, String>(2)?) };
        Ok((DeliveryId(row.get(0)?), change))
    })?;
    found.collect()
}

/// `Some(None)` where there would be no row at all.
fn shadow(connection: &Connection, table: &str, key: &str) -> Outcome<Option<Option<Row>>> {
    let sql = "SELECT row FROM _needledrop_shadows WHERE table_name = ?1 AND key = ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let found: Option<Option<String>> = statement.query_row([table, key], |row| row.get(0)).optional()?;
    Ok(found.map(|text| text.as_deref().and_then(row_of)))
}

fn row_text(row: &Row) -> String {
    json!([encoded(&row.values), row.stamp.0, row.first.0, row.cells]).to_string()
}

fn row_of(text: &str) -> Option<Row> {
    let (values, stamp, first, cells) = serde_json::from_str::<(String, i64, i64, _)>(text).ok()?;
    Some(Row { values: decoded(&values), stamp: Stamp(stamp), first: Stamp(first), cells })
}

/// Stored values as text that gives back the same values; reals by their bits.
fn encoded(values: &[Sql]) -> String {
    let one = |value: &Sql| match value {
        Sql::Null => Json::Null,
        Sql::Integer(n) => json!(n),
        Sql::Real(x) => json!({ "bits": x.to_bits() }),
        Sql::Text(text) => json!(text),
        Sql::Blob(bytes) => json!(bytes),
    };
    Json::Array(values.iter().map(one).collect()).to_string()
}

fn decoded(text: &str) -> Vec<Sql> {
    let one = |value: Json| match value {
        Json::Number(n) => n.as_i64().map_or(Sql::Null, Sql::Integer),
        Json::String(text) => Sql::Text(text),
        Json::Object(real) => {
            let bits = real.get("bits").and_then(Json::as_u64);
            bits.map_or(Sql::Null, |bits| Sql::Real(f64::from_bits(bits)))
        }
        bytes @ Json::Array(_) => serde_json::from_value(bytes).map_or(Sql::Null, Sql::Blob),
        _ => Sql::Null,
    };
    serde_json::from_str::<Vec<Json>>(text).unwrap_or_default().into_iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_were() {
        let values = vec![
            Sql::Null,
            Sql::Integer(i64::MIN),
            Sql::Integer(i64::MAX),
            Sql::Real(0.1),
            Sql::Real(-0.0),
            Sql::Real(f64::MAX),
            Sql::Real(5e-324),
            Sql::Text("\"ü\"\n\0".into()),
            Sql::Text("1".into()),
            Sql::Blob(vec![0, 255]),
            Sql::Blob(Vec::new()),
        ];
        assert_eq!(decoded(&encoded(&values)), values);
        let cells = [("a".to_owned(), 7)].into();
        let row = Row { values, stamp: Stamp(8), first: Stamp(2), cells };
        assert_eq!(row_of(&row_text(&row)), Some(row));
    }
}
