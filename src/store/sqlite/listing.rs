//! Lists deliveries page by page: one query for the rows, then one query per related table for their receipts.

use std::collections::HashMap;

use rusqlite::{Connection, Row, ToSql, params};

use crate::domain::ledger::{Content, Cursor, DeliveryFilter, PAGE, Page};
use crate::domain::{Delivery, DeliveryId, Fingerprint, Stamp, StampRange, TableCount};
use crate::store::sqlite::delivery_row::{COLUMNS, delivery};
use crate::store::sqlite::fault::SqlResult;

/// Returns the page of deliveries that follows `after`, in the order of their ids.
pub fn page(
    connection: &Connection,
    filter: &DeliveryFilter,
    after: Option<DeliveryId>,
) -> SqlResult<Page<Delivery, Cursor>> {
    let after = after.map_or(i64::MIN, |id| id.0);
    let found = select(connection, condition(filter), &values(filter, &after))?;
    let last = found.last().filter(|_| found.len() == PAGE);
    let next = last.map(|last| Cursor { after: Some(last.id), ids: None });
    Ok(Page { found, next })
}

/// Returns the SQL condition of a filter. With each condition, SQLite uses an index to start after `after` and does not
/// have to sort.
fn condition(filter: &DeliveryFilter) -> &'static str {
    match filter {
        DeliveryFilter::All => "id > ?1 ORDER BY id",
        DeliveryFilter::Quarantined => "id > ?1 AND quarantined + replayed > 0 ORDER BY id",
        // Ids and generations of a path have the same order.
        DeliveryFilter::Path(_) => {
            "path = ?2 AND generation > coalesce((SELECT generation FROM _needledrop_deliveries WHERE id = ?1), 0) \
             ORDER BY generation"
        }
        DeliveryFilter::Newest(_) => "id > ?1 AND path = ?2 ORDER BY generation DESC LIMIT 1",
        DeliveryFilter::Unfinished(_) => {
            "id > ?1 AND head = ?2 AND state IN ('loading', 'incomplete') ORDER BY id"
        }
        DeliveryFilter::Loaded(_) => {
            "id > ?1 AND head = ?2 AND state IN ('loaded', 'undone') AND state = 'loaded' ORDER BY id"
        }
        DeliveryFilter::Same(_) => {
            "id > ?1 AND head = ?2 AND bytes = ?3 AND hash = ?4 AND state IN ('loaded', 'undone') \
             AND mirrored_by IS NULL ORDER BY id"
        }
    }
}

fn values<'f>(filter: &'f DeliveryFilter, after: &'f i64) -> Vec<&'f dyn ToSql> {
    match filter {
        DeliveryFilter::All | DeliveryFilter::Quarantined => vec![after],
        DeliveryFilter::Path(file) | DeliveryFilter::Newest(file) => vec![after, file],
        DeliveryFilter::Unfinished(head) | DeliveryFilter::Loaded(head) => vec![after, head],
        DeliveryFilter::Same(Content { head, len, hash }) => vec![after, head, len, hash],
    }
}

pub fn find(connection: &Connection, id: DeliveryId) -> SqlResult<Option<Delivery>> {
    Ok(select(connection, "id = ?1", &[&id.0])?.pop())
}

/// Whether there is a loaded or undone delivery with this head and, if `len` is given, this length.
pub fn has_content(connection: &Connection, head: &str, len: Option<u64>) -> SqlResult<bool> {
    connection.prepare_cached(has_content_sql(len))?.exists(params![head, len])
}

fn has_content_sql(len: Option<u64>) -> &'static str {
    match len {
        Some(_) => {
            "SELECT 1 FROM _needledrop_deliveries \
             WHERE head = ?1 AND bytes = ?2 AND state IN ('loaded', 'undone') AND mirrored_by IS NULL LIMIT 1"
        }
        None => {
            "SELECT 1 FROM _needledrop_deliveries \
             WHERE head = ?1 AND ?2 IS NULL AND state IN ('loaded', 'undone') AND mirrored_by IS NULL LIMIT 1"
        }
    }
}

/// Returns at most one page of the deliveries that meet the condition, with their receipts.
fn select(connection: &Connection, condition: &str, values: &[&dyn ToSql]) -> SqlResult<Vec<Delivery>> {
    let sql = format!("SELECT {COLUMNS} FROM _needledrop_deliveries WHERE {condition}");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found: Vec<Delivery> =
        statement.query_map(values, delivery)?.take(PAGE).collect::<SqlResult<_>>()?;
    accounts(connection, &mut found)?;
    Ok(found)
}

/// Adds counts, parts and stamps to the deliveries. Each of the three takes one query for the whole page.
fn accounts(connection: &Connection, found: &mut [Delivery]) -> SqlResult<()> {
    let sql = "SELECT delivery, table_name, rows, collisions, fingerprint, refused, older FROM _needledrop_counts \
               WHERE delivery IN (SELECT value FROM json_each(?1)) ORDER BY delivery, table_name";
    each(connection, sql, found, |delivery, row| {
        delivery.receipt.tables.push(TableCount {
            table: row.get(1)?,
            rows: row.get(2)?,
            collisions: row.get(3)?,
            estimated: false,
            fingerprint: Fingerprint(row.get(4)?),
            refused: row.get(5)?,
            older: row.get(6)?,
        });
        Ok(())
    })?;
    // Not all part ends are kept. The number of all parts is in the row of the delivery.
    let sql = "SELECT delivery, bytes FROM _needledrop_parts \
               WHERE delivery IN (SELECT value FROM json_each(?1)) ORDER BY delivery, bytes";
    each(connection, sql, found, |delivery, row| {
        delivery.receipt.parts.keep(row.get(1)?);
        Ok(())
    })?;
    let sql = "SELECT delivery, first, base, records FROM _needledrop_stamps \
               WHERE delivery IN (SELECT value FROM json_each(?1)) ORDER BY delivery, base";
    each(connection, sql, found, |delivery, row| {
        let range = StampRange { first: row.get(1)?, base: Stamp(row.get(2)?), records: row.get(3)? };
        delivery.stamps.push(range);
        Ok(())
    })
}

/// Calls `put` for each row, with the delivery whose id is in the first column.
fn each(
    connection: &Connection,
    sql: &str,
    found: &mut [Delivery],
    mut put: impl FnMut(&mut Delivery, &Row<'_>) -> SqlResult<()>,
) -> SqlResult<()> {
    let ids: Vec<i64> = found.iter().map(|delivery| delivery.id.0).collect();
    let place: HashMap<i64, usize> = ids.iter().copied().zip(0..).collect();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([serde_json::json!(ids).to_string()])?;
    while let Some(row) = rows.next()? {
        let at = place.get(&row.get(0)?);
        if let Some(delivery) = at.and_then(|at| found.get_mut(*at)) {
            put(delivery, row)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;
    use crate::store::sqlite::quarantine::LIST;
    use crate::store::sqlite::schema;

    /// Returns a ledger with this number of deliveries. Every seventh has the same path, every fifth is incomplete, and
    /// all have the same head. Each has two quarantined records, except the last, which has half of all quarantined
    /// records.
    fn ledger(deliveries: i64) -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(schema::LEDGER).unwrap();
        connection.execute_batch(schema::INDEXES).unwrap();
        let fill = format!(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {deliveries})
             INSERT INTO _needledrop_deliveries (id, path, generation, state, detail, bytes, records, line, hash,
               head, noted_size, noted_mtime, noted_ctime, fingerprint, attempt, loaded, skipped, quarantined,
               taken_up, changed)
             SELECT i, iif(i % 7, 'f' || i, 'same'), iif(i % 7, 1, i / 7), iif(i % 5, 'loaded', 'incomplete'), '',
               iif(i % 3, i, 9), 1, 1, 'hash' || i, 'head', 1, 1, 1, '', '', 1, 0, 2, 1, 1 FROM n;
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4 * {deliveries})
             INSERT INTO _needledrop_quarantine
             SELECT min(i / 2, {deliveries}), i, i, 1, 1, NULL, 'value', '', x'00', 'open' FROM n;"
        );
        connection.execute_batch(&fill).unwrap();
        connection
    }

    /// Returns the number of virtual machine steps that SQLite takes for one page of a statement.
    fn steps(connection: &Connection, sql: &str, values: &[&dyn ToSql], page: usize) -> i32 {
        let mut statement = connection.prepare(sql).unwrap();
        let mut rows = statement.query(values).unwrap();
        for _ in 0..page {
            if rows.next().unwrap().is_none() {
                break;
            }
        }
        drop(rows);
        statement.get_status(StatementStatus::VmStep)
    }

    /// Returns the steps of the most expensive of ten pages that begin at different places in a listing.
    fn dearest(connection: &Connection, deliveries: i64, filter: &DeliveryFilter) -> i32 {
        let sql = format!("SELECT id FROM _needledrop_deliveries WHERE {}", condition(filter));
        let begins = (0..10).map(|part| part * deliveries / 10 / 7 * 7);
        begins.map(|after| steps(connection, &sql, &values(filter, &after), 50)).max().unwrap()
    }

    #[test]
    fn a_page_costs_the_same_in_a_small_and_in_a_large_ledger() {
        let (few, many) = (2100, 21_000);
        let (small, large) = (ledger(few), ledger(many));
        let text = |text: &str| text.to_owned();
        let same = Content { head: text("head"), len: 9, hash: text("hash9") };
        for filter in [
            DeliveryFilter::All,
            DeliveryFilter::Quarantined,
            DeliveryFilter::Path("same".into()),
            DeliveryFilter::Newest("same".into()),
            DeliveryFilter::Unfinished(text("head")),
            DeliveryFilter::Same(same),
        ] {
            let [of_few, of_many] = [dearest(&small, few, &filter), dearest(&large, many, &filter)];
            assert!(of_many < of_few + 100, "{filter:?}: {of_few} steps, then {of_many}");
        }
    }

    #[test]
    fn a_page_of_the_quarantine_costs_the_same_wherever_it_begins() {
        let connection = ledger(21_000);
        let page = |from: i64| {
            let none: Option<String> = None;
            steps(&connection, LIST, &[&21_000, &from, &none, &none, &none, &none, &true], 64)
        };
        let (first, last) = (page(42_000), page(83_000));
        assert!(last < first + 100, "{first} steps, then {last}");
    }

    #[test]
    fn a_new_file_is_compared_without_reading_all_deliveries_with_its_head() {
        let connection = ledger(21_000);
        for (len, there) in [(Some(9), true), (Some(8), true), (Some(12), false), (None, true)] {
            assert_eq!(has_content(&connection, "head", len).unwrap(), there, "{len:?}");
            let sql = has_content_sql(len);
            let taken = steps(&connection, sql, &[&"head", &len], 2);
            assert!(taken < 100, "{len:?}: {taken} steps");
        }
    }
}
