//! Rows are sent while the ledger does not yet have those before them. How far is noted first, so that whoever
//! resumes can tell whether the file still has the bytes that were sent.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::OnceCell;

use super::apply::{Progress, sending};
use super::rows;
use super::stored::Entered;
use super::{Inner, Writing};
use crate::domain::{Ahead as Handed, Checkpoint, DeliveryId, Mark, RowChunk, State};
use crate::fault;
use crate::store::StoreError;

/// What became of the rows of a window, and how far they are applied; `None` where nothing is written.
pub type Sent = Option<Window>;

/// A window in two runs: open tails are sent only when everything before them is in the ledger.
pub struct Window {
    pub body: Run,
    pub tails: OnceCell<Run>,
}

/// Chunks whose rows are sent.
pub struct Run {
    /// Their places in the window.
    pub places: Vec<usize>,
    pub rows: rows::Sent,
    pub progress: Progress,
}

impl Run {
    pub fn new(places: Vec<usize>, rows: rows::Sent) -> Self {
        Self { places, rows, progress: Progress::default() }
    }

    pub fn chunks<'c>(&self, window: &'c [RowChunk]) -> Vec<&'c RowChunk> {
        self.places.iter().filter_map(|at| window.get(*at)).collect()
    }
}

/// What is sent and not applied.
#[derive(Default)]
pub struct Ahead {
    /// Where its chunks end, by delivery.
    ends: Mutex<HashMap<DeliveryId, Vec<Mark>>>,
}

/// Sends the rows of a window, but not those of open tails.
///
/// # Errors
/// Chunks that do not continue their deliveries; what the cluster says.
pub async fn send(inner: &Inner, window: &[RowChunk]) -> Result<Sent, StoreError> {
    let Some(writing) = &inner.writing else { return Ok(None) };
    writing.lease.check().await?;
    let places: Vec<usize> = (0..window.len()).filter(|at| !window[*at].is_tail).collect();
    let body: Vec<&RowChunk> = places.iter().map(|at| &window[*at]).collect();
    in_order(inner, writing, &body).await?;
    writing.tables.check_unless_fresh(inner).await?;
    hand_out(inner, writing, &body).await?;
    fault::step("send before the rows");
    let all: Vec<usize> = (0..inner.plan.tables.len()).collect();
    let rows = sending(inner, writing, &body).all(&all).await?;
    fault::step("send after the rows");
    Ok(Some(Window { body: Run::new(places, rows), tails: OnceCell::new() }))
}

/// Notes how far the deliveries of some chunks are handed out, where the ledger does not cover that yet.
async fn hand_out(inner: &Inner, writing: &Writing, chunks: &[&RowChunk]) -> Result<(), StoreError> {
    let mut furthest: HashMap<DeliveryId, &RowChunk> = HashMap::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.hash.is_empty()) {
        furthest.insert(chunk.source.id, chunk);
    }
    for (id, chunk) in furthest {
        let end = chunk.span.to.offset;
        let delivery = inner.ledger.find(id).await?.delivery;
        let covered = delivery.ahead.as_ref().map_or(delivery.reach.offset, |ahead| ahead.bytes.offset);
        if end <= covered || delivery.state != State::Loading {
            continue;
        }
        let bytes = Checkpoint { offset: end, hash: chunk.hash.clone() };
        let handed = Handed { bytes, rules: inner.plan.rules.clone() };
        let note = |entered: &mut Entered| {
            entered.delivery.ahead = Some(handed);
            Ok::<_, StoreError>(())
        };
        inner.ledger.change(&writing.lease, id, note).await?;
        fault::step("handed out");
    }
    Ok(())
}

/// Every chunk must continue what is applied or sent of its delivery; nothing is written of a run that does
/// not.
async fn in_order(inner: &Inner, writing: &Writing, chunks: &[&RowChunk]) -> Result<(), StoreError> {
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
    fn ends(&self) -> MutexGuard<'_, HashMap<DeliveryId, Vec<Mark>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends_at(&self, id: DeliveryId, mark: Mark) -> bool {
        self.ends().get(&id).is_some_and(|ends| ends.contains(&mark))
    }

    fn begin(&self, chunks: &[&RowChunk]) {
        let mut all = self.ends();
        for chunk in chunks {
            let ends = all.entry(chunk.source.id).or_default();
            if !ends.contains(&chunk.span.to) {
                ends.push(chunk.span.to);
            }
        }
    }

    /// Chunks are applied.
    pub fn done(&self, chunks: &[&RowChunk]) {
        let mut all = self.ends();
        for chunk in chunks {
            if let Some(ends) = all.get_mut(&chunk.source.id) {
                ends.retain(|end| end.offset > chunk.span.to.offset);
            }
        }
        all.retain(|_, ends| !ends.is_empty());
    }
}
