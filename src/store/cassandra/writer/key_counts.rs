//! Counts the keys and collisions of chunks for each delivery.

use std::collections::{BTreeMap, HashMap};

use crate::domain::{DeliveryId, RowChunk, TableDelta};
use crate::store::StoreError;
use crate::store::cassandra::shared::{Inner, Writing};
use crate::store::cassandra::writer::collisions::Tables;
use crate::store::cassandra::writer::keys::{Short, short};
use crate::store::cassandra::writer::layout::{Layout, layouts};
use crate::store::cassandra::writer::progress::Progress;
use crate::store::cassandra::writer::rows::Sent;
use crate::store::rejection::Judged;

/// The keys and collisions of one delivery in a list of chunks.
pub struct KeyCounts {
    pub id: DeliveryId,
    /// The indexes of the delivery's chunks in the list.
    pub own: Vec<usize>,
    pub keys: Tables,
    pub counted: Counted,
    /// The keys belong to the records before this byte.
    reach: u64,
}

impl KeyCounts {
    /// Counts the keys and collisions of each delivery in `chunks`. Deliveries whose ledger row is already written are
    /// left out.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects a request.
    pub async fn all(
        inner: &Inner,
        writing: &Writing,
        chunks: &[&RowChunk],
        judged: &[Judged],
        progress: &Progress,
    ) -> Result<Vec<Self>, StoreError> {
        let mut of: BTreeMap<DeliveryId, Vec<usize>> = BTreeMap::new();
        let left = |(_, chunk): &(usize, &&RowChunk)| !progress.has(chunk.source.id);
        for (at, chunk) in chunks.iter().enumerate().filter(left) {
            of.entry(chunk.source.id).or_default().push(at);
        }
        let mut accounts = Vec::with_capacity(of.len());
        for (id, own) in of {
            let mut keys = writing.collisions.of(&inner.ledger.find(id).await?).await?;
            let layouts = own.first().map(|at| layouts(&inner.declared, &chunks[*at].source.plan));
            let counted = counted(layouts.as_deref().unwrap_or_default(), &mut keys, chunks, judged, &own);
            let reach = own.last().map_or(0, |at| chunks[*at].span.to.offset);
            accounts.push(Self { id, own, keys, counted, reach });
        }
        Ok(accounts)
    }

    /// Saves the new keys.
    ///
    /// # Errors
    /// Returns an error if the lease is lost, or if the cluster does not answer or rejects a request.
    pub async fn save(&self, writing: &Writing) -> Result<(), StoreError> {
        let saves = writing.writers.iter().zip(&self.counted.new).map(|(writer, new)| {
            writing.collisions.save(&writing.lease, self.id, &writer.name, self.reach, new)
        });
        futures::future::try_join_all(saves).await.map(|_| ())
    }
}

/// The result of counting the keys of chunks.
#[derive(Default)]
pub struct Counted {
    /// The collisions by chunk and table. A number is negative if it corrects an estimate.
    pub collisions: HashMap<(usize, usize), i64>,
    /// The keys to be saved, by index of the table in the schema.
    pub new: Vec<Vec<Short>>,
    /// Whether the collisions are an estimate, by table.
    pub estimated: Vec<bool>,
}

impl Counted {
    /// Returns what a chunk changed in a table. All tables were sent.
    pub fn delta(&self, sent: &Sent, (chunk, table): (usize, usize), rows: u64) -> TableDelta {
        let collisions = self.collisions.get(&(chunk, table)).copied().unwrap_or(0);
        let estimated = self.estimated.get(table).copied().unwrap_or(false);
        TableDelta {
            rows,
            estimated,
            older: sent.older.get(&(table, chunk)).copied().unwrap_or(0),
            took: sent.tables.get(table).map(|(_, took)| *took).unwrap_or_default(),
            ..collided(collisions)
        }
    }
}

/// Converts a number of collisions. A negative number corrects an estimate.
pub fn collided(collisions: i64) -> TableDelta {
    let (collided, corrected) = (collisions.max(0).unsigned_abs(), collisions.min(0).unsigned_abs());
    TableDelta { collisions: collided, corrected, ..TableDelta::default() }
}

fn counted(
    layouts: &[Option<Layout>],
    keys: &mut Tables,
    chunks: &[&RowChunk],
    judged: &[Judged],
    own: &[usize],
) -> Counted {
    let mut counted = Counted { new: vec![Vec::new(); layouts.len()], ..Counted::default() };
    let mut scratch = Vec::new();
    for (table, (layout, keys)) in layouts.iter().zip(keys.iter_mut()).enumerate() {
        let Some(layout) = layout else {
            counted.estimated.push(false);
            continue;
        };
        for at in own.iter().copied().filter(|at| judged[*at].failed.is_none()) {
            let chunk = &chunks[at];
            let written = (0..chunk.rows.len()).filter(|row| !judged[at].rows.contains(row));
            let hashes: Vec<Short> =
                written.map(|row| short(layout.key.hash(&chunk.rows, row, &mut scratch))).collect();
            let (rows, before) = (hashes.len(), keys.distinct());
            counted.new[table].extend(keys.add(hashes));
            let grown = i64::try_from(keys.distinct()).unwrap_or(0) - i64::try_from(before).unwrap_or(0);
            let collisions = i64::try_from(rows).unwrap_or(0) - grown;
            counted.collisions.insert((at, table), collisions);
        }
        counted.estimated.push(keys.is_estimate());
    }
    counted
}
