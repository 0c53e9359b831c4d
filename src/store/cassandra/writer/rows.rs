//! Writes rows of the declared tables with prepared inserts. Rows are grouped by partition, and the number of requests
//! under way is limited.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use scylla::errors::ExecutionError;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::domain::{Empty, RowChunk, Rows, Schema, Table};
use crate::metrics;
use crate::metrics::Batches;
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::cluster::error::{ErrorClass, classify, words};
use crate::store::cassandra::cluster::limits::SizeLimit;
use crate::store::cassandra::cluster::retry::patiently_while;
use crate::store::cassandra::corrections::noted::Noted;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::ledger::uncounted::Uncounted;
use crate::store::cassandra::schema::names;
use crate::store::cassandra::writer::batching::{PartitionQueue, Place, Request, together};
use crate::store::cassandra::writer::bound_row::{BoundRow, largest};
use crate::store::cassandra::writer::layout::{Layout, Layouts};
use crate::store::cassandra::writer::newest::{Chosen, Newest, NewestBy};
use crate::store::cassandra::writer::pace::Pace;
use crate::store::rejection::Rejection;

/// The statements that write one table.
pub struct Writer {
    pub name: String,
    insert: PreparedStatement,
    requests: Batches,
    /// The batch of n rows is at index n - 2. It is created when it is first needed, because it holds its statement n
    /// times.
    batches: Vec<OnceLock<Batch>>,
    clears: bool,
    pub newest_by: Option<NewestBy>,
}

/// The result of sending the rows of chunks.
#[derive(Debug, Default)]
pub struct Sent {
    pub refused: Vec<Rejection>,
    /// For each table, in the order given: the number of acknowledged rows, and how long they took.
    pub tables: Vec<(u64, Duration)>,
    /// By table and chunk: the number of rows that are older than the row of their key, in tables with `newest_by`.
    pub older: BTreeMap<(usize, usize), u64>,
}

impl Sent {
    fn of(tables: usize) -> Self {
        Self { tables: vec![(0, Duration::ZERO); tables], ..Self::default() }
    }

    fn add(&mut self, more: Self) {
        for (all, (rows, took)) in self.tables.iter_mut().zip(more.tables) {
            *all = (all.0 + rows, all.1.max(took));
        }
        self.refused.extend(more.refused);
    }
}

impl Writer {
    /// Prepares the statements of a table.
    ///
    /// # Errors
    /// Returns an error if a statement cannot be prepared.
    pub async fn new(cluster: &Cluster, schema: &Schema, table: &Table) -> Result<Self, StoreError> {
        let of = |index: usize| schema.columns.get(index);
        let names: Vec<String> = table.all().filter_map(of).map(names::column).collect();
        // Each marker names its type. The server then rejects the statement if the column has another type by now.
        let marks = table.all().filter_map(of).map(|column| format!("({})?", column.kind));
        let cql = format!(
            "INSERT INTO {} ({}) VALUES ({}) USING TIMESTAMP ?",
            names::place(&cluster.settings, table),
            names.join(", "),
            marks.collect::<Vec<_>>().join(", ")
        );
        let insert = cluster.prepare_at(cluster.settings.write, cql).await?;
        Ok(Self {
            name: table.name.clone(),
            requests: Batches::of(&table.name),
            batches: (2..=cluster.settings.limits.batch_rows).map(|_| OnceLock::new()).collect(),
            insert,
            clears: table.empty == Empty::Clear,
            newest_by: NewestBy::of(cluster, schema, table).await?,
        })
    }

    /// Whether the driver sends the rows directly to their replicas.
    #[cfg(test)]
    pub fn is_token_aware(&self) -> bool {
        self.insert.is_token_aware()
    }

    /// Returns the batch of this number of rows. Returns `None` for a single row.
    fn batch(&self, rows: usize) -> Option<&Batch> {
        let place = self.batches.get(rows.checked_sub(2)?)?;
        Some(place.get_or_init(|| {
            let mut batch = Batch::new(BatchType::Unlogged);
            batch.set_consistency(self.insert.get_consistency().unwrap_or_default());
            batch.set_is_idempotent(true);
            batch.statements = vec![self.insert.clone().into(); rows];
            batch
        }))
    }

    fn record<'r>(&self, rows: &'r Rows, row: usize, layout: &'r Layout) -> BoundRow<'r> {
        BoundRow { rows, row, columns: &layout.columns, clears: self.clears }
    }
}

/// Writes the rows of chunks into tables, until every row is acknowledged or has been rejected on its own.
pub struct Sending<'s> {
    pub cluster: &'s Cluster,
    pub lease: &'s Lease,
    pub pace: &'s Pace,
    pub permits: &'s Semaphore,
    pub limit: Option<&'s SizeLimit>,
    pub writers: &'s [Writer],
    pub chunks: &'s [&'s RowChunk],
    /// The layouts of each chunk.
    pub layouts: Vec<Layouts>,
    /// The largest number of arena bytes that any row of the chunks has.
    pub longest: usize,
    pub corrections: &'s Noted,
    pub uncounted: &'s Uncounted,
}

impl Sending<'_> {
    /// Sends all rows to these tables.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer, the lease is lost, or a table has changed.
    pub async fn all(&self, tables: &[usize]) -> Result<Sent, StoreError> {
        let began = Instant::now();
        let mut work: Vec<(usize, Vec<Place>)> =
            tables.iter().map(|table| (*table, self.grouped(*table))).collect();
        let (newest, mut chosen) = (self.newest(), Chosen::default());
        Box::pin(newest.leave_out_older(&mut work, &mut chosen)).await?;
        let mut sent = self.round(work, began).await?;
        sent.older = std::mem::take(&mut chosen.older);
        let mut refused = sent.refused.clone();
        while let Some(mut work) = newest.in_place_of(&refused, tables, &mut chosen) {
            Box::pin(newest.leave_out_older(&mut work, &mut chosen)).await?;
            let more = Box::pin(self.round(work, began)).await?;
            refused.clone_from(&more.refused);
            sent.add(more);
        }
        Ok(sent)
    }

    fn newest(&self) -> Newest<'_> {
        Newest {
            cluster: self.cluster,
            chunks: self.chunks,
            layouts: &self.layouts,
            by: self.writers.iter().map(|writer| writer.newest_by.as_ref()).collect(),
            corrections: self.corrections,
            uncounted: self.uncounted,
        }
    }

    /// Sends these rows.
    async fn round(&self, tables: Vec<(usize, Vec<Place>)>, began: Instant) -> Result<Sent, StoreError> {
        let work = PartitionQueue::new(tables, began);
        let mut left = work.requests(self.cluster.settings.limits.batch_rows);
        let mut lanes = FuturesUnordered::new();
        let mut sent = Sent::of(work.tables());
        loop {
            tokio::select! {
                biased;
                // The semaphore is never closed.
                Ok(permit) = self.permits.acquire(), if left > 0 => {
                    lanes.push(self.lane(&work, permit));
                    left = if work.is_taken() { 0 } else { left - 1 };
                }
                // Tokio's cooperative budget would make each turn wake all lanes, so it is switched off here.
                Some(lane) = tokio::task::unconstrained(lanes.next()) => {
                    sent.add(lane?);
                }
                else => return Ok(sent),
            }
        }
    }

    /// Sends one request after another until none is left. There are as many lanes, for all windows that are being
    /// sent, as there may be requests under way.
    async fn lane(&self, work: &PartitionQueue, _permit: SemaphorePermit<'_>) -> Result<Sent, StoreError> {
        let mut sent = Sent::of(work.tables());
        while let Some(Request { at, writer, places }) = work.take(|writer, left| self.cut(writer, left)) {
            let before = sent.refused.len();
            self.send(writer, places, &mut sent.refused).await?;
            let refused = sent.refused.len() - before;
            if let Some((rows, took)) = sent.tables.get_mut(at) {
                *rows += (places.len() - refused) as u64;
                *took = work.began.elapsed();
            }
        }
        Ok(sent)
    }

    /// Returns the rows for a table, sorted by partition. Chunks of feeds that do not have the table are left out.
    fn grouped(&self, table: usize) -> Vec<Place> {
        let mut scratch = Vec::new();
        let mut places = Vec::with_capacity(self.chunks.iter().map(|chunk| chunk.rows.len()).sum());
        for (chunk, at) in self.chunks.iter().zip(0_u32..) {
            let Some(layout) = self.layout(at as usize, table) else { continue };
            for (row, number) in (0..chunk.rows.len()).zip(0_u32..) {
                let partition = layout.key.partition(&chunk.rows, row, &mut scratch);
                places.push(Place::new(partition, at, number));
            }
        }
        places.sort_unstable();
        places
    }

    /// Returns how many of the first rows in `left` go into one request.
    fn cut(&self, writer: usize, left: &[Place]) -> usize {
        // The columns of a table have the same types in all feeds.
        let layout = left.first().and_then(|place| self.layout(place.chunk(), writer));
        let longest = layout.map_or(0, |layout| largest(&layout.columns, self.longest));
        let size = |place: &Place| self.record(writer, place).map_or(0, |record| record.size());
        together(
            left,
            self.cluster.settings.limits.batch_rows,
            self.cluster.settings.limits.batch_bytes,
            longest,
            size,
        )
    }

    fn record(&self, writer: usize, place: &Place) -> Option<BoundRow<'_>> {
        let (chunk, layout) = (self.chunks.get(place.chunk())?, self.layout(place.chunk(), writer)?);
        Some(self.writers.get(writer)?.record(&chunk.rows, place.row(), layout))
    }

    fn layout(&self, chunk: usize, table: usize) -> Option<&Layout> {
        self.layouts.get(chunk)?.get(table)?.as_ref()
    }

    fn rejection(&self, writer: usize, place: &Place, words: String) -> Rejection {
        let table = self.layout(place.chunk(), writer).map_or(0, |layout| layout.table);
        Rejection { table, chunk: place.chunk(), row: place.row(), words }
    }

    /// Sends one request. If a batch is rejected, its rows are sent again one by one.
    async fn send(
        &self,
        writer: usize,
        places: &[Place],
        refused: &mut Vec<Rejection>,
    ) -> Result<(), StoreError> {
        let Some(of) = self.writers.get(writer) else { return Ok(()) };
        self.pace.wait(places.len()).await;
        if let Some(batch) = of.batch(places.len()) {
            let records: Vec<BoundRow<'_>> =
                places.iter().filter_map(|place| self.record(writer, place)).collect();
            // The rows of a partition are scattered over their chunks. In a loop that only touches them, the processor
            // fetches many of them from memory at the same time. Without this loop it would fetch them one after
            // another.
            black_box(records.iter().map(BoundRow::seen).sum::<usize>());
            of.requests.sent(places.len());
            let all = || async { self.cluster.session().batch(batch, &records).await.map(|_| ()) };
            let done = self.once(of, places.len(), all).await?;
            // If the batch was rejected, sending each row on its own shows which rows are rejected.
            if done.is_ok() {
                return Ok(());
            }
            self.pace.take(places.len());
        }
        for place in places {
            let Some(record) = self.record(writer, place) else { continue };
            if let Some(words) = self.too_large(&record) {
                refused.push(self.rejection(writer, place, words));
                continue;
            }
            of.requests.sent(1);
            let one =
                || async { self.cluster.session().execute_unpaged(&of.insert, &record).await.map(|_| ()) };
            if let Err(words) = self.once(of, 1, one).await? {
                refused.push(self.rejection(writer, place, words));
            }
        }
        Ok(())
    }

    /// Returns the reason if a row is too large to be sent. Some servers fail instead of rejecting such a row.
    fn too_large(&self, record: &BoundRow<'_>) -> Option<String> {
        let limit = self.limit.filter(|limit| largest(record.columns, self.longest) > limit.bytes)?;
        limit.refusal(record.size())
    }

    /// Sends a request until it is acknowledged or rejected. Returns the server's message if it is rejected. Nothing is
    /// sent without the lease.
    async fn once<F>(
        &self,
        of: &Writer,
        rows: usize,
        attempt: impl Fn() -> F,
    ) -> Result<Result<(), String>, StoreError>
    where
        F: Future<Output = Result<(), ExecutionError>>,
    {
        if !self.lease.holds() {
            self.lease.check().await?;
        }
        let under_way = UnderWay::begin();
        let mut tried = 0;
        let again = || {
            // A retry also counts towards the rate limit, so later rows wait longer.
            if tried > 0 {
                self.pace.take(rows);
            }
            tried += 1;
            attempt()
        };
        let done = patiently_while(|| self.lease.holds(), &of.name, again).await;
        drop(under_way);
        match done {
            Ok(()) => Ok(Ok(())),
            Err(error) if classify(&error) == ErrorClass::Refused => Ok(Err(words(&error))),
            Err(error) => Err(self.cluster.store_error(&error)),
        }
    }
}

/// Counts a request as under way for as long as this value exists. A request may be dropped at any point, when another
/// request fails.
struct UnderWay;

impl UnderWay {
    fn begin() -> Self {
        metrics::in_flight(1.0);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        metrics::in_flight(-1.0);
    }
}
