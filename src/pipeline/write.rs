//! The write stage: sends chunks to the store and reports what became durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use crate::domain::delivery::without_records;
use crate::domain::ledger::Applied;
use crate::domain::text::one_line;
use crate::domain::{DeliveryContext, DeliveryId, DeliveryState, End, Feeds, Refusals, RowChunk};
use crate::metrics;
use crate::metrics::{Queue, Stage};
use crate::pipeline::buffer_pool::BufferPool;
use crate::pipeline::messages::Finished;
use crate::pipeline::run_stats::RunStats;
use crate::store::backoff::Backoff;
use crate::store::{ChunkWriter, StoreError, failpoint};

/// What this stage remembers of deliveries.
#[derive(Default)]
struct Seen {
    /// Deliveries that failed, and when their files arrived. Further chunks of these files are dropped. A file that grows
    /// arrives again, and its delivery may be resumed.
    failed: HashMap<DeliveryId, SystemTime>,
    /// Counts of the deliveries under way, for the log.
    accounts: HashMap<DeliveryId, Account>,
}

/// The numbers of skipped and quarantined records of a delivery.
#[derive(Clone, Default)]
struct Account {
    skipped: u64,
    quarantined: u64,
    /// The records that this load quarantined.
    refusals: Refusals,
}

impl Account {
    fn before(source: &DeliveryContext) -> Self {
        let (skipped, quarantined) = (source.skipped_before, source.quarantined_before);
        Self { skipped, quarantined, refusals: Refusals::default() }
    }

    fn add(&mut self, chunk: &RowChunk, applied: &Applied) {
        self.skipped += chunk.skipped;
        self.quarantined += (chunk.quarantined.len() + applied.refused.len()) as u64;
        let refused = chunk.quarantined.iter().chain(&applied.refused);
        refused.for_each(|entry| self.refusals.add(&chunk.source.file, entry));
    }
}

/// The write stage.
pub struct Write<S> {
    pub store: Arc<S>,
    pub backoff: Backoff,
    pub stats: Arc<RunStats>,
    pub buffers: Arc<BufferPool>,
    /// The maximum number of writes under way. The rows of one write are sent while an earlier write is not yet in the
    /// ledger.
    pub at_once: usize,
    /// The maximum size of one write, in windows. A window is `window` records or `window_bytes` bytes.
    pub together: u64,
    pub window: u64,
    pub window_bytes: u64,
}

impl<S: ChunkWriter> Write<S> {
    /// Writes chunks until there are no more.
    ///
    /// # Errors
    /// Returns an error if the store fails permanently.
    pub async fn run(
        self,
        mut chunks: Receiver<RowChunk>,
        finished: Feeds<Sender<Finished>>,
    ) -> Result<(), StoreError> {
        let (mut seen, mut is_open) = (Seen::default(), true);
        let (mut under_way, mut before) = (FuturesOrdered::new(), None);
        while is_open || !under_way.is_empty() {
            tokio::select! {
                () = self.backoff.pulse.asked() => self.backoff.pulse.answer(),
                Some(written) = under_way.next() => {
                    self.done(written?, &mut seen, &finished).await;
                }
                first = chunks.recv(), if is_open && under_way.len() < self.at_once => {
                    let Some(first) = first else {
                        is_open = false;
                        continue;
                    };
                    failpoint::stuck(Stage::Write.name()).await;
                    let mut batch = self.together(first, &mut chunks);
                    Queue::Rows.depth(chunks.len());
                    // Chunks of failed deliveries that were already read are dropped.
                    batch.retain(|chunk| {
                        let is_wanted = !seen.has_failed(&chunk.source);
                        if !is_wanted {
                            metrics::settled(chunk.len());
                        }
                        is_wanted
                    });
                    if !batch.is_empty() {
                        let (done, behind) = oneshot::channel();
                        under_way.push_back(self.write(Arc::new(batch), before.replace(behind), done));
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends chunks immediately, and applies them once the chunks before them are applied.
    async fn write(
        &self,
        chunks: Arc<Vec<RowChunk>>,
        before: Option<oneshot::Receiver<()>>,
        done: oneshot::Sender<()>,
    ) -> Result<(Arc<Vec<RowChunk>>, Vec<Applied>), StoreError> {
        let work = Stage::Write.begin();
        let sent = self.backoff.with(|| self.store.send(Arc::clone(&chunks))).await;
        let applied = match sent {
            Ok(sent) => {
                if let Some(before) = before
                    && before.await.is_err()
                {
                    // The write before this one failed, and its error ends the stage.
                    std::future::pending::<()>().await;
                }
                self.backoff.with(|| self.store.apply(Arc::clone(&chunks), &sent)).await
            }
            Err(error) => Err(error),
        };
        let applied = applied?;
        work.end();
        // Sending fails if no later write waits for this one.
        let _ = done.send(());
        Ok((chunks, applied))
    }

    /// Reports chunks that are durable or whose deliveries have failed.
    async fn done(
        &self,
        (written, applied): (Arc<Vec<RowChunk>>, Vec<Applied>),
        seen: &mut Seen,
        finished: &Feeds<Sender<Finished>>,
    ) {
        for (chunk, applied) in written.iter().zip(&applied) {
            metrics::settled(chunk.len());
            let done = match &applied.failed {
                Some(_) if seen.has_failed(&chunk.source) => None,
                Some(why) => {
                    seen.failed.insert(chunk.source.id, chunk.source.arrived);
                    seen.accounts.remove(&chunk.source.id);
                    Some(self.failed(chunk, why))
                }
                None => {
                    self.account(chunk, applied);
                    let is_refused = !chunk.quarantined.is_empty() || !applied.refused.is_empty();
                    self.ended(chunk, seen.account(chunk, applied), is_refused)
                }
            };
            if let Some(done) = done
                && let Ok(finished) = finished.of(&done.file)
            {
                // Discovery may have ended already and then needs no report.
                let _ = self.backoff.pulse.during(finished.send(done)).await;
            }
        }
        for chunk in Arc::into_inner(written).into_iter().flatten() {
            self.buffers.give_chunk(chunk.bytes, chunk.frames);
            self.buffers.give_rows(chunk.rows);
        }
    }

    /// Collects further chunks that wait in the queue, so that many small files are written together.
    fn together(&self, first: RowChunk, chunks: &mut Receiver<RowChunk>) -> Vec<RowChunk> {
        let mut batch = vec![first];
        let sum = |batch: &[RowChunk], of: fn(&RowChunk) -> u64| batch.iter().map(of).sum::<u64>();
        while sum(&batch, RowChunk::records) < self.together * self.window
            && sum(&batch, RowChunk::len) < self.together * self.window_bytes
        {
            let Ok(next) = chunks.try_recv() else { break };
            batch.push(next);
        }
        batch
    }

    /// Counts a durable chunk.
    fn account(&self, chunk: &RowChunk, applied: &Applied) {
        metrics::records(chunk, &applied.refused);
        let refused = applied.refused.len() as u64;
        self.stats.records(chunk, refused);
        self.stats.refusals(&chunk.source.file, chunk.quarantined.iter().chain(&applied.refused));
        self.stats.passed(chunk.source.read.swap(0, Ordering::Relaxed));
        self.stats.refused.fetch_add(chunk.quarantined.len() as u64 + refused, Ordering::Relaxed);
        for (table, delta) in chunk.source.plan.tables.iter().zip(&applied.tables) {
            metrics::rows(chunk.source.file.feed(), &table.name, delta);
            self.stats.rows(&table.name, delta);
        }
    }

    /// Fails the delivery of a chunk that the store rejected as a whole.
    fn failed(&self, chunk: &RowChunk, why: &str) -> Finished {
        let source = &chunk.source;
        source.halt.set();
        warn!(file = source.file.text(), "failed: {}", one_line(why));
        metrics::delivery(source.file.feed(), DeliveryState::Failed);
        self.stats.delivery(DeliveryState::Failed);
        Finished {
            id: source.id,
            file: source.file.clone(),
            state: DeliveryState::Failed,
            detail: why.to_owned(),
            held: false,
        }
    }

    /// Reports the end of a delivery, if this chunk ends it. `is_refused` is whether records of the chunk are in
    /// quarantine.
    fn ended(&self, chunk: &RowChunk, account: Account, is_refused: bool) -> Option<Finished> {
        let source = &chunk.source;
        let end = chunk.end.as_ref()?;
        if chunk.is_tail && chunk.records() > 0 {
            metrics::unterminated(source.file.feed());
            let what = match chunk.skipped {
                _ if is_refused => "is in quarantine",
                0 => "is loaded as it is",
                _ => "is skipped",
            };
            warn!(
                file = source.file.text(),
                "its last record has no line end and {what}; if the file was cut off there, send it again"
            );
        }
        let (state, detail) = (end.state(), end.detail().unwrap_or_default().to_owned());
        log_end(chunk, account);
        // A delivery interrupted by an I/O error stays `loading` and is not counted.
        if state != DeliveryState::Loading {
            metrics::delivery(source.file.feed(), state);
            self.stats.delivery(state);
        }
        if state == DeliveryState::Loaded {
            self.stats.without_records.fetch_add(u64::from(chunk.span.to.record == 0), Ordering::Relaxed);
            metrics::loaded(source.file.feed(), source.arrived, SystemTime::now());
        }
        let held = matches!(end, End::Incomplete { held: true, .. });
        Some(Finished { id: source.id, file: source.file.clone(), state, detail, held })
    }
}

impl Seen {
    fn has_failed(&self, source: &DeliveryContext) -> bool {
        self.failed.get(&source.id) == Some(&source.arrived)
    }

    /// Returns the counts of a delivery up to the end of this chunk.
    fn account(&mut self, chunk: &RowChunk, applied: &Applied) -> Account {
        let id = chunk.source.id;
        let account = self.accounts.entry(id).or_insert_with(|| Account::before(&chunk.source));
        account.add(chunk, applied);
        match chunk.end {
            Some(_) => self.accounts.remove(&id).unwrap_or_default(),
            None => account.clone(),
        }
    }
}

/// Logs how a delivery ended, with the counts of its receipt.
fn log_end(chunk: &RowChunk, account: Account) {
    let (file, records) = (chunk.source.file.text(), chunk.span.to.record);
    let Account { skipped, quarantined, refusals } = account;
    let loaded = records.saturating_sub(skipped + quarantined);
    match chunk.end.as_ref() {
        // A warning, if this load quarantined records.
        Some(End::Loaded) if !refusals.is_empty() => {
            let what = format!("{}; see `needledrop quarantine list`", one_line(&refusals.describe()));
            warn!(file, records, loaded, skipped, quarantined, "loaded, with records in quarantine: {what}");
        }
        Some(End::Loaded) if records == 0 => {
            warn!(file, records, "loaded, but {}", without_records(chunk.span.to.offset));
        }
        Some(End::Loaded) => info!(file, records, loaded, skipped, quarantined, "loaded"),
        Some(End::Incomplete { detail, .. }) => {
            info!(file, records, loaded, skipped, quarantined, "{}", one_line(detail));
        }
        Some(End::Replaced { detail }) => {
            info!(file, records, loaded, skipped, quarantined, "replaced: {}", one_line(detail));
        }
        // Discovery logs this error, once.
        Some(End::BrokenOff { detail }) => debug!(file, records, "{detail}"),
        Some(End::Refused { detail } | End::Failed { detail }) => {
            warn!(file, records, loaded, skipped, quarantined, "failed: {}", one_line(detail));
        }
        None => debug!(file, records, "chunk"),
    }
}
