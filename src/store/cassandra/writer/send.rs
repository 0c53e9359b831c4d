//! Sends rows before the ledger has advanced over the rows that precede them. How far the rows reach is noted first. A
//! process that resumes can then check whether the file still has the bytes that were sent.

use std::collections::HashMap;

use tokio::sync::OnceCell;

use crate::domain::{Ahead as Handed, Checkpoint, DeliveryId, DeliveryState, Position, RowChunk};
use crate::store::cassandra::ledger::delivery_row::Entered;
use crate::store::cassandra::shared::{Inner, Writing, sending};
use crate::store::cassandra::writer::send_window::{Run, Window};
use crate::store::{StoreError, failpoint};

/// Sends the rows of a window, except the rows of open tails.
///
/// # Errors
/// Returns an error if a chunk does not continue its delivery, if the lease is lost, if a table has changed, or if the
/// cluster does not answer or rejects a request.
pub async fn send(inner: &Inner, window: &[RowChunk]) -> Result<Window, StoreError> {
    let writing = inner.writer()?;
    writing.lease.check().await?;
    let places: Vec<usize> = (0..window.len()).filter(|at| !window[*at].is_tail).collect();
    let body: Vec<&RowChunk> = places.iter().map(|at| &window[*at]).collect();
    in_order(inner, writing, &body).await?;
    writing.tables.check_unless_fresh().await?;
    hand_out(inner, writing, &body).await?;
    failpoint::step("send before the rows");
    let all: Vec<usize> = (0..inner.declared.tables.len()).collect();
    let rows = sending(inner, writing, &body).all(&all).await?;
    failpoint::step("send after the rows");
    Ok(Window { body: Run::new(places, rows), tails: OnceCell::new() })
}

/// Notes in the ledger how far the rows of these chunks reach. Deliveries whose note already reaches that far are left
/// out.
async fn hand_out(inner: &Inner, writing: &Writing, chunks: &[&RowChunk]) -> Result<(), StoreError> {
    let mut furthest: HashMap<DeliveryId, &RowChunk> = HashMap::new();
    for chunk in chunks.iter().filter(|chunk| !chunk.hash.is_empty()) {
        furthest.insert(chunk.source.id, chunk);
    }
    for (id, chunk) in furthest {
        let end = chunk.span.to.offset;
        let delivery = inner.ledger.find(id).await?.delivery;
        let covered = delivery.ahead.as_ref().map_or(delivery.reach.offset, |ahead| ahead.bytes.offset);
        if end <= covered || delivery.state != DeliveryState::Loading {
            continue;
        }
        let bytes = Checkpoint { offset: end, hash: chunk.hash.clone() };
        let handed = Handed { bytes, rules: chunk.source.plan.rules.clone() };
        let note = |entered: &mut Entered| {
            entered.delivery.ahead = Some(handed);
            Ok::<_, StoreError>(())
        };
        inner.ledger.change(&writing.lease, id, note).await?;
        failpoint::step("handed out");
    }
    Ok(())
}

/// Checks that every chunk continues what is applied or sent of its delivery. If a chunk does not, nothing of the
/// window is written.
async fn in_order(inner: &Inner, writing: &Writing, chunks: &[&RowChunk]) -> Result<(), StoreError> {
    let mut marks: HashMap<DeliveryId, Position> = HashMap::new();
    for chunk in chunks {
        let id = chunk.source.id;
        let mark = match marks.get(&id) {
            Some(mark) => *mark,
            None => {
                let delivery = inner.ledger.find(id).await?.delivery;
                let is_ahead =
                    delivery.state == DeliveryState::Failed || writing.ahead.ends_at(id, chunk.span.from);
                if is_ahead { chunk.span.from } else { delivery.reach }
            }
        };
        let advanced = mark.advance(chunk.span);
        marks.insert(id, advanced.map_err(|error| inner.cluster.broken(error))?);
    }
    writing.ahead.begin(chunks);
    Ok(())
}
