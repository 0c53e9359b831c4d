//! Kept files played into one table anew, under the stamps their records have (`load --table`).

use std::sync::Arc;
use std::time::SystemTime;

use tokio_util::sync::CancellationToken;

use super::discover::begun::Beginning;
use super::discover::inbox::{self, Inbox};
use super::read::frame::{Framer, Tail};
use super::tally::Tally;
use super::transform::Transform;
use crate::config::Config;
use crate::domain::{Delivery, End, Plan, RawChunk, Source, Span, Stamps, State};
use crate::store::patience::Patience;
use crate::store::{Store, StoreError};

/// How the replay of one delivery went.
#[derive(Debug)]
pub enum Replayed {
    Done,
    Stopped,
    /// Why the file is not what was loaded.
    Gone(String),
}

/// Replays deliveries into one table.
pub struct Replay<S> {
    pub store: Arc<S>,
    pub plan: Arc<Plan>,
    pub config: Config,
    pub inbox: Inbox,
    pub patience: Patience,
    pub tally: Arc<Tally>,
    pub stop: CancellationToken,
    /// Index in the plan.
    pub table: usize,
}

impl<S: Store> Replay<S> {
    /// Deliveries that have records this table has not, in the order of their stamps.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn behind(&self) -> Result<Vec<Delivery>, StoreError> {
        let all = self.patience.with(|| self.store.deliveries(crate::ledger::Filter::All)).await?;
        let table = self.plan.tables.get(self.table);
        let mut behind: Vec<_> =
            all.into_iter().filter(|delivery| table.is_some_and(|table| delivery.is_behind(table))).collect();
        behind.sort_by_key(|delivery| delivery.stamps.begin());
        Ok(behind)
    }

    /// Plays one delivery, as far as it is durable in the other tables.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn delivery(&self, delivery: &Delivery) -> Result<Replayed, StoreError> {
        let place = self.inbox.place(&delivery.path);
        let beginning =
            match Beginning::of(&place, delivery, &self.plan, self.config.limits.max_record_bytes.0).await {
                Ok(beginning) => beginning,
                Err(why) => return Ok(Replayed::Gone(why)),
            };
        let source = Arc::new(Source {
            id: delivery.id,
            path: delivery.path.clone(),
            mapping: beginning.mapping,
            file_date: inbox::date(&delivery.path),
            arrived: SystemTime::now(),
            records_before: 0,
            quarantined_before: 0,
            halt: CancellationToken::new(),
        });
        self.play(delivery, source, beginning.framer, beginning.bytes).await
    }

    async fn play(
        &self,
        delivery: &Delivery,
        source: Arc<Source>,
        mut framer: Framer,
        mut bytes: super::read::source::ByteSource,
    ) -> Result<Replayed, StoreError> {
        let transform = Transform::new(Arc::clone(&self.plan));
        let stamps = Arc::new(delivery.stamps.clone());
        let (mut first, mut left) = (true, delivery.reach.offset.saturating_sub(framer.reach()));
        framer.truncate(delivery.reach.offset);
        loop {
            framer.scan(self.config.write.window);
            let enough = framer.records() >= self.config.write.window
                || framer.len() >= self.config.write.window_bytes.0;
            if !enough && left > 0 {
                let before = framer.bytes().len();
                if let Err(error) = bytes.read(framer.bytes()).await {
                    return Ok(Replayed::Gone(error.to_string()));
                }
                let read = (framer.bytes().len() - before) as u64;
                framer.truncate(delivery.reach.offset);
                // A file that ends early changed since it was verified.
                left = if read == 0 { 0 } else { left.saturating_sub(read) };
                continue;
            }
            if self.stop.is_cancelled() {
                return Ok(Replayed::Stopped);
            }
            let end = (!enough && left == 0).then(|| {
                if framer.tail() != Tail::Nothing && delivery.provisional.is_some() {
                    framer.close_tail();
                }
                End::Loaded { provisional: None }
            });
            let is_last = end.is_some();
            self.write(&mut framer, &source, &stamps, end, first, &transform).await?;
            first = false;
            if is_last {
                return Ok(Replayed::Done);
            }
        }
    }

    async fn write(
        &self,
        framer: &mut Framer,
        source: &Arc<Source>,
        stamps: &Arc<Stamps>,
        end: Option<End>,
        first: bool,
        transform: &Transform,
    ) -> Result<(), StoreError> {
        let cut = framer.cut();
        let Span { from, to } = cut.span;
        let raw = RawChunk {
            source: Arc::clone(source),
            stamps: Arc::clone(stamps),
            span: Span { from, to },
            bytes: cut.bytes,
            frames: cut.frames,
            refused: cut.refused,
            hash: cut.hash,
            end,
        };
        let chunk = Arc::new(transform.chunk(raw).await);
        let applied = self.patience.with(|| self.store.replay(self.table, Arc::clone(&chunk), first)).await?;
        self.tally.records(&chunk);
        if let (Some(table), Some(delta)) = (self.plan.tables.get(self.table), applied.tables.first()) {
            self.tally.rows(&table.name, delta);
        }
        if chunk.end.is_some() {
            self.tally.delivery(State::Loaded);
        }
        Ok(())
    }
}
