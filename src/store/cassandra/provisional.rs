//! Provisional last records: a cluster cannot take a write back without a trace, so what is on a row without
//! them is remembered as long as one lies there.
//!
//! Taking one back deletes the row at its stamp and writes the rest of it with the stamp behind, which is
//! odd, or no record's any more. Newer records stay as they are. What it cannot do is in
//! docs/guarantees.md: a record of an older delivery that is written only afterwards, on the very same
//! key, stays hidden.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use scylla::client::session::Session;
use scylla::statement::Statement;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row as CqlRow};

use super::connect::Settings;
use super::lease::Lease;
use super::part::Part;
use super::{cell, request, schema};
use crate::domain::parse::parse;
use crate::domain::text::plain;
use crate::domain::{Delivery, DeliveryId, Empty, Plan, RowChunk, Stamp, Table, Type, Value};
use crate::store::StoreError;

/// Cells behind the key, each with its stamp; `None` is a cell that was not set.
type Cells = Vec<(Option<String>, i64)>;

/// By part and hash of the key, the chunk and number of rows there.
type Hits = HashMap<(usize, u64), Vec<(usize, usize)>>;

/// The stamp of a cell that nobody has set.
const NEVER: i64 = i64::MIN;

/// A provisional record in one part of a table.
#[derive(Clone, Debug, PartialEq)]
struct Open {
    delivery: DeliveryId,
    part: String,
    stamp: i64,
    /// The stamp it lies under; another one when a newer provisional record on its row was taken back.
    lies_at: i64,
    /// The values of the key, as text, and their hash.
    key: Vec<String>,
    hash: u64,
    /// What it sets.
    own: Cells,
    /// The row as it is without any provisional record; `None` where there is none.
    without: Option<Cells>,
}

/// All of them: one in each part for every loaded file whose last line has no end.
#[derive(Default)]
struct All {
    open: Vec<Open>,
    /// Hashes of their keys, by part: every row that is written is looked for there.
    hashes: Vec<HashSet<u64>>,
}

impl All {
    fn add(&mut self, part: Option<usize>, open: Open) {
        if let Some(at) = part {
            self.hashes.resize_with(self.hashes.len().max(at + 1), HashSet::new);
            self.hashes.get_mut(at).map(|hashes| hashes.insert(open.hash));
        }
        self.open.push(open);
    }
}

pub struct Provisional {
    session: Arc<Session>,
    settings: Arc<Settings>,
    plan: Arc<Plan>,
    insert: PreparedStatement,
    delete: PreparedStatement,
    parts: Vec<Part>,
    open: Mutex<All>,
}

impl Provisional {
    /// Prepares what will be asked, and reads what is open.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn new(
        session: Arc<Session>,
        settings: Arc<Settings>,
        plan: Arc<Plan>,
    ) -> Result<Self, StoreError> {
        let place = schema::ledger_place(&settings, "needledrop_provisional");
        let prepare = async |cql: String| -> Result<PreparedStatement, StoreError> {
            let prepared = session.prepare(cql).await;
            let mut prepared = prepared.map_err(|error| request::told(&settings, &error.into()))?;
            prepared.set_consistency(settings.ledger());
            Ok(prepared)
        };
        let columns = "delivery, table_name, stamp, lies_at, key, own, without";
        let insert = prepare(format!("INSERT INTO {place} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?)")).await?;
        let delete = prepare(format!("DELETE FROM {place} WHERE delivery = ?")).await?;
        let parts = Part::all(&plan);
        let statement = prepare(format!("SELECT {columns} FROM {place}")).await?;
        let all = Self { session, settings, plan, insert, delete, parts, open: Mutex::default() };
        all.read(statement).await?;
        Ok(all)
    }

    /// Reads what is open, a page at a time.
    async fn read(&self, statement: PreparedStatement) -> Result<(), StoreError> {
        type Stored = (i64, String, i64, i64, Vec<String>, Cells, Option<Cells>);
        let take = |(delivery, part, stamp, lies_at, key, own, without): Stored| {
            let (at, hash) = self.hash(&part, &key);
            let delivery = DeliveryId(delivery);
            self.open().add(at, Open { delivery, part, stamp, lies_at, key, hash, own, without });
            true
        };
        request::each(&self.session, &self.settings, statement, (), take).await
    }

    /// The place of a part and the hash of a key. One that is not declared any more has no rows that we write.
    fn hash(&self, part: &str, key: &[String]) -> (Option<usize>, u64) {
        let at = self.parts.iter().position(|of| of.name == part);
        (at, at.and_then(|at| self.parts.get(at)).map_or(0, |of| of.key.of_text(key)))
    }

    fn open(&self) -> MutexGuard<'_, All> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deliveries of all of them, with the stamp that each had.
    pub fn all(&self) -> Vec<(DeliveryId, Stamp)> {
        let mut all: Vec<_> =
            self.open().open.iter().map(|open| (open.delivery, Stamp(open.stamp))).collect();
        all.dedup();
        all
    }

    /// Whether there is one of this delivery.
    pub fn is_of(&self, id: DeliveryId) -> bool {
        self.open().open.iter().any(|open| open.delivery == id)
    }

    fn on(&self, part: &str, hash: u64) -> Vec<Open> {
        self.open().open.iter().filter(|open| open.part == part && open.hash == hash).cloned().collect()
    }

    /// Remembers what is on the row of the last record of a chunk, before that record is written to a table.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn remember(&self, lease: &Lease, chunk: &RowChunk, table: usize) -> Result<(), StoreError> {
        for part in self.parts.iter().filter(|part| part.of == table) {
            self.remember_part(lease, chunk, part).await?;
        }
        Ok(())
    }

    async fn remember_part(&self, lease: &Lease, chunk: &RowChunk, part: &Part) -> Result<(), StoreError> {
        let Some(row) = chunk.rows.len().checked_sub(1) else { return Ok(()) };
        let (delivery, stamp) = (chunk.source.id, chunk.rows.stamp(row).0);
        let key = key(chunk, row, &part.table);
        let (at, hash) = self.hash(&part.name, &key);
        let others = self.on(&part.name, hash);
        if others.iter().any(|open| open.delivery == delivery && open.stamp == stamp) {
            // Tried again: by now the record itself may lie there.
            return Ok(());
        }
        let without = match others.into_iter().next() {
            Some(other) => other.without,
            None => self.row(part, &key).await?,
        };
        let own = cells(chunk, row, &part.table);
        let open = Open { delivery, part: part.name.clone(), stamp, lies_at: stamp, key, hash, own, without };
        self.save(lease, &open).await?;
        let mut all = self.open();
        // One that it had before is a record like any other by now.
        all.open.retain(|other| (other.delivery, &other.part) != (delivery, &open.part));
        all.add(at, open);
        Ok(())
    }

    async fn save(&self, lease: &Lease, open: &Open) -> Result<(), StoreError> {
        let values =
            (open.delivery.0, &open.part, open.stamp, open.lies_at, &open.key, &open.own, &open.without);
        lease.write(&self.insert, values).await
    }

    async fn replace(&self, lease: &Lease, known: &Open, now: Open) -> Result<(), StoreError> {
        self.save(lease, &now).await?;
        self.open().open.iter_mut().filter(|open| *open == known).for_each(|open| *open = now.clone());
        Ok(())
    }

    /// Whether a row falls on that of a provisional record.
    pub fn is_under(&self, chunks: &[RowChunk]) -> bool {
        !self.hits(chunks).is_empty()
    }

    /// Rows that fall on those of provisional records.
    fn hits(&self, chunks: &[RowChunk]) -> Hits {
        let (mut hits, mut scratch) = (Hits::new(), Vec::new());
        let all = self.open();
        for (at, (part, hashes)) in self.parts.iter().zip(&all.hashes).enumerate() {
            // Most of the time there is none.
            for (number, chunk) in chunks.iter().enumerate().filter(|_| !hashes.is_empty()) {
                for row in 0..chunk.rows.len() {
                    let hash = part.key.hash(&chunk.rows, row, &mut scratch);
                    if hashes.contains(&hash) {
                        hits.entry((at, hash)).or_default().push((number, row));
                    }
                }
            }
        }
        hits
    }

    /// Merges records that are not provisional into what is remembered of the rows they fall on.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn merge(&self, lease: &Lease, chunks: &[RowChunk]) -> Result<(), StoreError> {
        for ((part, hash), rows) in self.hits(chunks) {
            let Some(Part { name, table, .. }) = self.parts.get(part) else { continue };
            let all = self.on(name, hash);
            for known in &all {
                let mut now = known.clone();
                for (chunk, row) in rows.iter().filter_map(|(at, row)| Some((chunks.get(*at)?, *row))) {
                    let stamp = chunk.rows.stamp(row).0;
                    if !all.iter().any(|open| open.stamp == stamp) {
                        now.without = Some(merged(now.without, &cells(chunk, row, table), table.empty));
                    }
                }
                if now != *known {
                    self.replace(lease, known, now).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes back what the provisional last record of a delivery did to the tables. Done twice, as after a
    /// crash, it leaves the same.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn take_back(&self, lease: &Lease, delivery: &Delivery) -> Result<(), StoreError> {
        let own: Vec<Open> =
            self.open().open.iter().filter(|open| open.delivery == delivery.id).cloned().collect();
        for open in &own {
            let Some(part) = self.parts.iter().find(|part| part.name == open.part) else { continue };
            let mut others = self.on(&open.part, open.hash);
            let up_to = others.iter().map(|open| open.lies_at).max().unwrap_or(open.lies_at);
            others.retain(|other| other.delivery != delivery.id);
            others.sort_by_key(|other| other.stamp);
            let rest = others
                .iter()
                .fold(open.without.clone(), |row, other| Some(merged(row, &other.own, part.table.empty)));
            self.restore(lease, part, (&open.key, up_to), rest).await?;
            for other in others {
                let now = Open { lies_at: up_to + 1, ..other.clone() };
                self.replace(lease, &other, now).await?;
            }
        }
        Ok(())
    }

    /// There is no provisional record of this delivery any more.
    ///
    /// # Errors
    /// What the cluster says.
    pub async fn forget(&self, lease: &Lease, id: DeliveryId) -> Result<(), StoreError> {
        lease.write(&self.delete, (id.0,)).await?;
        let mut all = self.open();
        for open in std::mem::take(&mut *all).open.into_iter().filter(|open| open.delivery != id) {
            all.add(self.parts.iter().position(|part| part.name == open.part), open);
        }
        Ok(())
    }

    /// Deletes a row up to a stamp and writes, with the one behind it, what is to be left of it.
    async fn restore(
        &self,
        lease: &Lease,
        part: &Part,
        (key, up_to): (&[String], i64),
        rest: Option<Cells>,
    ) -> Result<(), StoreError> {
        let mut values = self.key_values(&part.table, key);
        self.run(lease, &part.delete(&self.settings, &self.plan, up_to), values.clone()).await?;
        let Some(rest) = rest else { return Ok(()) };
        let mut columns = Vec::new();
        for ((text, stamp), column) in rest.iter().zip(&part.table.columns) {
            if let Some(text) = text.as_ref().filter(|_| *stamp <= up_to) {
                columns.push(*column);
                values.push(self.value(*column, text));
            }
        }
        match part.insert(&self.settings, &self.plan, &columns, up_to + 1) {
            Some(cql) => self.run(lease, &cql, values).await,
            None => Ok(()),
        }
    }

    async fn run(&self, lease: &Lease, cql: &str, values: Vec<Option<CqlValue>>) -> Result<(), StoreError> {
        lease.check().await?;
        let mut statement = Statement::new(cql);
        statement.set_consistency(self.settings.write);
        let run = || self.session.query_unpaged(statement.clone(), &values);
        let done = request::patiently_while(|| lease.holds(), "ledger", run).await;
        done.map(|_| ()).map_err(|error| request::told(&self.settings, &error))
    }

    /// The cells of a row behind its key, with their stamps.
    async fn row(&self, part: &Part, key: &[String]) -> Result<Option<Cells>, StoreError> {
        let cql = part.select(&self.settings, &self.plan);
        let values = self.key_values(&part.table, key);
        let statement = request::of_ledger(&self.settings, cql);
        let done =
            request::patiently("ledger", || self.session.query_unpaged(statement.clone(), &values)).await;
        let done = done.map_err(|error| request::told(&self.settings, &error))?;
        let Some(found) = request::parsed::<CqlRow>(&self.settings, done)?.pop() else { return Ok(None) };
        let mut columns = found.columns.into_iter().skip(1);
        let mut cells = Vec::new();
        while let (Some(value), Some(stamp)) = (columns.next(), columns.next()) {
            let stamp = match stamp {
                Some(CqlValue::BigInt(stamp)) => stamp,
                _ => NEVER,
            };
            cells.push((value.map(|value| plain(&cell::value(Some(value))).into_owned()), stamp));
        }
        if part.table.empty == Empty::Clear {
            stamp_erased(&mut cells);
        }
        Ok(Some(cells))
    }

    fn key_values(&self, table: &Table, key: &[String]) -> Vec<Option<CqlValue>> {
        table.key().zip(key).map(|(column, text)| self.value(column, text)).collect()
    }

    /// Text forms are those that the parser reads.
    fn value(&self, column: usize, text: &str) -> Option<CqlValue> {
        let kind = self.plan.columns.get(column).map_or(Type::Text, |column| column.kind);
        if kind == Type::Text {
            return Some(CqlValue::Text(text.to_owned()));
        }
        let mut arena = Vec::new();
        let value: Value<'static> = parse(kind, text.as_bytes(), &mut arena).ok()?.value(&arena).into_owned();
        cell::cql(kind, &value)
    }
}

/// The values of a row's key, as text.
fn key(chunk: &RowChunk, row: usize, table: &Table) -> Vec<String> {
    table.key().map(|column| plain(&chunk.rows.value(row, column)).into_owned()).collect()
}

/// What a record sets behind its key.
fn cells(chunk: &RowChunk, row: usize, table: &Table) -> Cells {
    let stamp = chunk.rows.stamp(row).0;
    let text = |column: &usize| {
        let value = chunk.rows.value(row, *column);
        (!value.is_empty()).then(|| plain(&value).into_owned())
    };
    table.columns.iter().map(|column| (text(column), stamp)).collect()
}

/// The stamp of an erased cell cannot be read. But each record sets or erases all columns of such a table: what is
/// erased has the stamp of what is not.
fn stamp_erased(cells: &mut Cells) {
    let newest = cells.iter().map(|(_, stamp)| *stamp).max().unwrap_or(NEVER);
    cells.iter_mut().filter(|(text, _)| text.is_none()).for_each(|cell| cell.1 = newest);
}

/// Law 2 for one row.
fn merged(row: Option<Cells>, record: &Cells, empty: Empty) -> Cells {
    let mut row = row.unwrap_or_else(|| vec![(None, NEVER); record.len()]);
    for (cell, new) in row.iter_mut().zip(record) {
        if (new.0.is_some() || empty == Empty::Clear) && new.1 >= cell.1 {
            cell.clone_from(new);
        }
    }
    row
}
