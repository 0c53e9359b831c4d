//! The write stage: sends chunks to the store and reports what became durable.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use futures::StreamExt as _;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use crate::domain::ledger::Applied;
use crate::domain::text::one_line;
use crate::domain::{DeliveryContext, DeliveryId, DeliveryState, End, Plan, RowChunk};
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
    /// Deliveries that failed. Their further chunks are dropped.
    failed: HashSet<DeliveryId>,
    /// Counts of the deliveries under way, for the log.
    accounts: HashMap<DeliveryId, Account>,
}

/// The numbers of skipped and quarantined records of a delivery.
#[derive(Clone, Copy)]
struct Account {
    skipped: u64,
    quarantined: u64,
    quarantined_before: u64,
}

impl Account {
    fn before(source: &DeliveryContext) -> Self {
        let (skipped, quarantined) = (source.skipped_before, source.quarantined_before);
        Self { skipped, quarantined, quarantined_before: quarantined }
    }

    fn add(&mut self, chunk: &RowChunk, applied: &Applied) {
        self.skipped += chunk.skipped;
        self.quarantined += (chunk.quarantined.len() + applied.refused.len()) as u64;
    }
}

/// The write stage.
pub struct Write<S> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
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
        finished: Sender<Finished>,
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
                        let is_wanted = !seen.failed.contains(&chunk.source.id);
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
        finished: &Sender<Finished>,
    ) {
        for (chunk, applied) in written.iter().zip(&applied) {
            metrics::settled(chunk.len());
            let done = match &applied.failed {
                Some(_) if !seen.failed.insert(chunk.source.id) => None,
                Some(why) => {
                    seen.accounts.remove(&chunk.source.id);
                    Some(self.failed(chunk, why))
                }
                None => {
                    self.account(chunk, applied);
                    self.ended(chunk, seen.account(chunk, applied))
                }
            };
            if let Some(done) = done {
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
        self.stats.passed(chunk.source.read.swap(0, Ordering::Relaxed));
        self.stats.refused.fetch_add(chunk.quarantined.len() as u64 + refused, Ordering::Relaxed);
        for (table, delta) in self.plan.tables.iter().zip(&applied.tables) {
            metrics::rows(&table.name, delta);
            self.stats.rows(&table.name, delta);
        }
    }

    /// Fails the delivery of a chunk that the store rejected as a whole.
    fn failed(&self, chunk: &RowChunk, why: &str) -> Finished {
        let source = &chunk.source;
        source.halt.set();
        warn!(file = source.file.text(), "failed: {}", one_line(why));
        metrics::delivery(DeliveryState::Failed);
        self.stats.delivery(DeliveryState::Failed);
        Finished {
            id: source.id,
            file: source.file.clone(),
            state: DeliveryState::Failed,
            detail: why.to_owned(),
            held: false,
        }
    }

    fn ended(&self, chunk: &RowChunk, account: Account) -> Option<Finished> {
        let source = &chunk.source;
        let end = chunk.end.as_ref()?;
        if chunk.is_tail && chunk.records() > 0 {
            metrics::unterminated();
            warn!(
                file = source.file.text(),
                "its last record has no line end and is loaded as it is; if the file was cut off there, send it again"
            );
        }
        let (state, detail) = (end.state(), end.detail().unwrap_or_default().to_owned());
        log_end(chunk, account);
        // A delivery interrupted by an I/O error stays `loading` and is not counted.
        if state != DeliveryState::Loading {
            metrics::delivery(state);
            self.stats.delivery(state);
        }
        if state == DeliveryState::Loaded {
            metrics::loaded(source.arrived, SystemTime::now());
        }
        let held = matches!(end, End::Incomplete { held: true, .. });
        Some(Finished { id: source.id, file: source.file.clone(), state, detail, held })
    }
}

impl Seen {
    /// Returns the counts of a delivery up to the end of this chunk.
    fn account(&mut self, chunk: &RowChunk, applied: &Applied) -> Account {
        let id = chunk.source.id;
        let account = self.accounts.entry(id).or_insert_with(|| Account::before(&chunk.source));
        account.add(chunk, applied);
        let account = *account;
        if chunk.end.is_some() {
            self.accounts.remove(&id);
        }
        account
    }
}

fn log_end(chunk: &RowChunk, account: Account) {
    let (file, records) = (chunk.source.file.text(), chunk.span.to.record);
    match chunk.end.as_ref() {
        Some(End::Loaded) => log_loaded(file, records, account),
        Some(End::Incomplete { detail, .. }) => info!(file, records, "{detail}"),
        Some(End::Replaced { detail }) => info!(file, records, "replaced: {detail}"),
        // Discovery logs this error, once.
        Some(End::BrokenOff { detail }) => debug!(file, records, "{detail}"),
        Some(End::Failed { detail }) => warn!(file, records, "failed: {}", one_line(detail)),
        None => debug!(file, records, "chunk"),
    }
}

/// Logs the same counts as the receipt. Logs a warning if this load quarantined records.
fn log_loaded(file: &str, records: u64, Account { skipped, quarantined, quarantined_before }: Account) {
    let loaded = records.saturating_sub(skipped + quarantined);
    if quarantined > quarantined_before {
        let next = "see `needledrop quarantine list`";
        warn!(file, records, loaded, skipped, quarantined, "loaded, with records in quarantine: {next}");
    } else {
        info!(file, records, loaded, skipped, quarantined, "loaded");
    }
}
