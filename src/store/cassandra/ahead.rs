//! Rows are sent while the ledger does not yet have those before them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::apply::{Progress, is_provisional_row, sending};
use super::rows;
use super::{Inner, Writing};
use crate::domain::{DeliveryId, Mark, RowChunk, State};
use crate::fault;
use crate::store::StoreError;

/// What became of the rows, and how far they are applied; `None` where nothing is written.
pub type Sent = Option<(rows::Sent, Progress)>;

/// What is on the row of a provisional record is read, remembered and written with nobody else at it. All
/// other rows may be sent at the same time.
enum Turn<'a> {
    Shared(#[allow(dead_code, reason = "held, not looked at")] RwLockReadGuard<'a, ()>),
    Alone(#[allow(dead_code, reason = "held, not looked at")] RwLockWriteGuard<'a, ()>),
}

/// What is sent and not applied.
#[derive(Default)]
pub struct Ahead {
    turns: RwLock<()>,
    /// Where its chunks end, by delivery.
    ends: Mutex<HashMap<DeliveryId, Vec<Mark>>>,
}

/// Sends the rows of chunks.
///
/// # Errors
/// Chunks that do not continue their deliveries; what the cluster says.
pub async fn send(inner: &Inner, chunks: &[RowChunk]) -> Result<Sent, StoreError> {
    let Some(writing) = &inner.writing else { return Ok(None) };
    writing.lease.check().await?;
    let turn = writing.ahead.turn(writing, chunks).await;
    in_order(inner, writing, chunks).await?;
    writing.tables.check_unless_fresh(inner).await?;
    for chunk in chunks.iter().filter(|chunk| is_provisional_row(chunk)) {
        for table in 0..inner.plan.tables.len() {
            writing.provisional.remember(&writing.lease, chunk, table).await?;
        }
    }
    if let Turn::Alone(_) = turn {
        writing.provisional.merge(&writing.lease, chunks).await?;
    }
    fault::step("send before the rows");
    let all: Vec<usize> = (0..inner.plan.tables.len()).collect();
    let rows = sending(inner, writing, chunks).all(&all).await?;
    fault::step("send after the rows");
    Ok(Some((rows, Progress::default())))
}

/// Every chunk must continue what is applied or sent of its delivery; nothing is written of a run that does
/// not.
async fn in_order(inner: &Inner, writing: &Writing, chunks: &[RowChunk]) -> Result<(), StoreError> {
    let mut marks: HashMap<DeliveryId, Mark> = HashMap::new();
    for chunk in chunks {
        let id = chunk.source.id;
        let mark = match marks.get(&id) {
            Some(mark) => *mark,
            None => {
                let delivery = inner.ledger.find(id).await?.delivery;
                let is_ahead = delivery.state == State::Failed || writing.ahead.ends_at(id, chunk.span.from);
                if is_ahead { chunk.span.from } else { delivery.reach }
            }
        };
        let advanced = mark.advance(chunk.span);
        marks.insert(id, advanced.map_err(|error| inner.broken(error.to_string()))?);
    }
    writing.ahead.begin(chunks);
    Ok(())
}

impl Ahead {
    async fn turn<'a>(&'a self, writing: &Writing, chunks: &[RowChunk]) -> Turn<'a> {
        if !chunks.iter().any(is_provisional_row) {
            let shared = self.turns.read().await;
            // With it held nobody remembers another one.
            if !writing.provisional.is_under(chunks) {
                return Turn::Shared(shared);
            }
        }
        Turn::Alone(self.turns.write().await)
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<DeliveryId, Vec<Mark>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends_at(&self, id: DeliveryId, mark: Mark) -> bool {
        self.ends().get(&id).is_some_and(|ends| ends.contains(&mark))
    }

    fn begin(&self, chunks: &[RowChunk]) {
        let mut all = self.ends();
        for chunk in chunks {
            let ends = all.entry(chunk.source.id).or_default();
            if !ends.contains(&chunk.span.to) {
                ends.push(chunk.span.to);
            }
        }
    }

    /// Chunks are applied.
    pub fn done(&self, chunks: &[RowChunk]) {
        let mut all = self.ends();
        for chunk in chunks {
            if let Some(ends) = all.get_mut(&chunk.source.id) {
                ends.retain(|end| end.offset > chunk.span.to.offset);
            }
        }
        all.retain(|_, ends| !ends.is_empty());
    }
}
