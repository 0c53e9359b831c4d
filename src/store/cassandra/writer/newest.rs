//! Leaves out rows whose keys have newer records, in tables with `newest_by` (ADR 45).
//!
//! The stored rows are read before a window is written. Records must be written in the order of their stamps: a record that is newer
//! by the column, but has an earlier stamp than the row, would stay hidden.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::CqlValue;

use crate::domain::recency::compare_values;
use crate::domain::{Recency, RowChunk, Rows, Schema, Stamp, Table};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::corrections::bound::{Bound, BoundValues};
use crate::store::cassandra::corrections::noted::Noted;
use crate::store::cassandra::ledger::uncounted::Uncounted;
use crate::store::cassandra::schema::names;
use crate::store::cassandra::writer::batching::Place;
use crate::store::cassandra::writer::cell;
use crate::store::cassandra::writer::layout::{Layout, Layouts};
use crate::store::rejection::Rejection;

/// A value of the column, and its write time.
type Found = (Option<CqlValue>, Option<i64>);

/// Reads which record a row is from.
pub struct NewestBy {
    select: PreparedStatement,
    /// The place of the column among all columns of the table.
    at: usize,
    key_len: usize,
}

impl NewestBy {
    /// Prepares the statement, if the table has `newest_by`.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the statement.
    pub async fn of(cluster: &Cluster, schema: &Schema, table: &Table) -> Result<Option<Self>, StoreError> {
        let (Some(newest_at), key_len) = (table.newest_at(), table.key_len()) else { return Ok(None) };
        let names: Vec<String> = schema.columns_of(table).map(names::column).collect();
        let at = key_len + newest_at;
        let Some(column) = names.get(at) else { return Ok(None) };
        let is_key: Vec<String> = names.iter().take(key_len).map(|name| format!("{name} = ?")).collect();
        let (place, is_key) = (names::place(&cluster.settings, table), is_key.join(" AND "));
        let cql = format!("SELECT {column}, WRITETIME({column}) FROM {place} WHERE {is_key}");
        let select = cluster.prepare_at(cluster.settings.read_back(), cql).await?;
        Ok(Some(Self { select, at, key_len }))
    }
}

/// What was left out in tables with `newest_by`.
#[derive(Default)]
pub struct Chosen {
    /// By table and by a row that is sent: the other rows of its key.
    others: HashMap<(usize, Place), Vec<Place>>,
    /// By table and chunk: the number of rows that were older than the row of their key when they were compared.
    pub older: BTreeMap<(usize, usize), u64>,
}

/// The rows of chunks that are to be sent, and what tells whether a stored row is newer.
pub struct Newest<'s> {
    pub cluster: &'s Cluster,
    pub chunks: &'s [&'s RowChunk],
    /// The layouts of each chunk.
    pub layouts: &'s [Layouts],
    /// By table: how to read its rows, if it has `newest_by`.
    pub by: Vec<Option<&'s NewestBy>>,
    pub corrections: &'s Noted,
    pub uncounted: &'s Uncounted,
}

impl Newest<'_> {
    /// Leaves only the newest row of each key, unless the table has a newer one.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer.
    pub async fn leave_out_older(
        &self,
        work: &mut [(usize, Vec<Place>)],
        chosen: &mut Chosen,
    ) -> Result<(), StoreError> {
        for (table, places) in work {
            let Some(by) = self.by.get(*table).copied().flatten() else { continue };
            let restored = self.corrections.restored();
            let keys = self.by_key(*table, std::mem::take(places));
            let read = keys.into_iter().map(|same| self.stored(*table, by, same));
            let mut read = stream::iter(read).buffer_unordered(self.cluster.settings.limits.in_flight);
            while let Some((same, row)) = read.try_next().await? {
                places.extend(self.choose((*table, by), same, (row, &restored), chosen));
            }
            places.sort_unstable();
        }
        Ok(())
    }

    /// Returns the rows that may be sent in the place of rejected ones, or `None` if there are none.
    pub fn in_place_of(
        &self,
        refused: &[Rejection],
        tables: &[usize],
        chosen: &mut Chosen,
    ) -> Option<Vec<(usize, Vec<Place>)>> {
        let refused: HashSet<_> = refused.iter().map(|one| (one.table, one.chunk, one.row)).collect();
        let is_refused = |(table, place): &(usize, Place)| {
            let layout = self.layout(place.chunk(), *table);
            layout.is_some_and(|layout| refused.contains(&(layout.table, place.chunk(), place.row())))
        };
        if refused.is_empty() || chosen.others.is_empty() {
            return None;
        }
        let others = chosen.others.extract_if(|sent, _| is_refused(sent));
        let mut again: HashMap<usize, Vec<Place>> = HashMap::new();
        for ((table, _), places) in others {
            again.entry(table).or_default().extend(places);
        }
        let work = tables.iter().map(|table| (*table, again.remove(table).unwrap_or_default()));
        let work: Vec<(usize, Vec<Place>)> = work.collect();
        work.iter().any(|(_, places)| !places.is_empty()).then_some(work)
    }

    /// Groups rows by their keys, each group in the order of its stamps.
    fn by_key(&self, table: usize, places: Vec<Place>) -> Vec<Vec<Place>> {
        let mut keys: HashMap<Vec<u8>, Vec<Place>> = HashMap::new();
        let mut scratch = Vec::new();
        for place in places {
            let Some((layout, rows)) = self.of_place(table, place) else { continue };
            layout.key.bytes(rows, place.row(), &mut scratch);
            match keys.get_mut(&scratch) {
                Some(same) => same.push(place),
                None => {
                    keys.insert(scratch.clone(), vec![place]);
                }
            }
        }
        let mut keys: Vec<Vec<Place>> = keys.into_values().collect();
        for same in &mut keys {
            same.sort_by_key(|place| self.of_place(table, *place).map(|(_, rows)| rows.stamp(place.row())));
        }
        keys
    }

    /// Reads how new the stored row of a key is, if there is one. All rows in `same` have this key.
    async fn stored(
        &self,
        table: usize,
        by: &NewestBy,
        same: Vec<Place>,
    ) -> Result<(Vec<Place>, Option<Recency<'static>>), StoreError> {
        let first = same.first().and_then(|place| Some((*place, self.of_place(table, *place)?)));
        let Some((place, (layout, rows))) = first else { return Ok((same, None)) };
        let key = layout.columns.iter().take(by.key_len);
        let key: Vec<_> =
            key.map(|(column, kind)| (*kind, rows.value(place.row(), *column).into_owned())).collect();
        let values = BoundValues(key.iter().map(|(kind, value)| Bound::Value(*kind, value)).collect());
        let found: Vec<Found> = self.cluster.fetch(&by.select, values).await?;
        let row = found.into_iter().next().map(|(value, stamp)| Recency {
            value: cell::value(value),
            stamp: stamp.map_or(Stamp(i64::MIN), Stamp),
        });
        Ok((same, row.filter(|row| !self.uncounted.has(row.stamp))))
    }

    /// Returns the row of one key that is sent, if any.
    fn choose(
        &self,
        (table, by): (usize, &NewestBy),
        same: Vec<Place>,
        (row, restored): (Option<Recency<'static>>, &BTreeSet<Stamp>),
        chosen: &mut Chosen,
    ) -> Option<Place> {
        let (mut newest, mut winner) = (row, None);
        for place in &same {
            let Some(recency) = self.recency(table, by, *place) else { continue };
            if newest.as_ref().is_some_and(|newest| recency.is_older_than(newest)) {
                // A restored row may be this very record, or one that won against it.
                let is_restored = newest.as_ref().is_some_and(|newest| {
                    restored.contains(&newest.stamp) && compare_values(&newest.value, &recency.value).is_eq()
                });
                if is_restored {
                    continue;
                }
                *chosen.older.entry((table, place.chunk())).or_default() += 1;
            } else {
                (newest, winner) = (Some(recency), Some(*place));
            }
        }
        let winner = winner?;
        let others: Vec<Place> = same.into_iter().filter(|place| *place != winner).collect();
        if !others.is_empty() {
            chosen.others.insert((table, winner), others);
        }
        Some(winner)
    }

    fn recency(&self, table: usize, by: &NewestBy, place: Place) -> Option<Recency<'static>> {
        let (layout, rows) = self.of_place(table, place)?;
        let (column, _) = layout.columns.get(by.at)?;
        let value = rows.value(place.row(), *column).into_owned();
        Some(Recency { value, stamp: rows.stamp(place.row()) })
    }

    fn layout(&self, chunk: usize, table: usize) -> Option<&Layout> {
        self.layouts.get(chunk)?.get(table)?.as_ref()
    }

    fn of_place(&self, table: usize, place: Place) -> Option<(&Layout, &Rows)> {
        let layout = self.layout(place.chunk(), table)?;
        Some((layout, &self.chunks.get(place.chunk())?.rows))
    }
}
