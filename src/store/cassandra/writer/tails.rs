//! Writes open tails: they are noted in the ledger, then sent, then counted (law 4). Growth of the file can turn a tail
//! into another record. The bytes of a tail must therefore be recorded before its row can be in a table.

use crate::domain::ledger::Applied;
use crate::domain::{DeliveryState, RowChunk, TailNote};
use crate::store::cassandra::ledger::delivery_row::Entered;
use crate::store::cassandra::shared::{Inner, Writing, sending};
use crate::store::cassandra::writer::send_window::Run;
use crate::store::{StoreError, failpoint};

/// Notes the tail that follows the committed part of a delivery, if the tail has rows.
pub fn note(entered: &mut Entered, tail: &RowChunk) {
    let delivery = &mut entered.delivery;
    if delivery.state != DeliveryState::Loading || delivery.reach != tail.span.from || tail.rows.is_empty() {
        return;
    }
    delivery.note = Some(TailNote {
        span: tail.span,
        hash: tail.hash.clone(),
        header: tail.source.header.clone(),
        rules: tail.source.plan.rules.clone(),
        bytes: tail.bytes.clone(),
    });
}

/// Notes the tails of a window that are not noted yet, then sends their rows. The tails of failed deliveries are left
/// out.
pub async fn send(inner: &Inner, writing: &Writing, window: &[RowChunk]) -> Result<Run, StoreError> {
    let mut places = Vec::new();
    for (at, tail) in window.iter().enumerate().filter(|(_, chunk)| chunk.is_tail) {
        let delivery = inner.ledger.find(tail.source.id).await?.delivery;
        if delivery.state != DeliveryState::Loading {
            continue;
        }
        if delivery.note.is_none() && !tail.rows.is_empty() {
            let note = |entered: &mut Entered| {
                note(entered, tail);
                Ok::<_, StoreError>(())
            };
            inner.ledger.change(&writing.lease, tail.source.id, note).await?;
        }
        places.push(at);
    }
    let tails: Vec<&RowChunk> = places.iter().map(|at| &window[*at]).collect();
    failpoint::step("tails noted");
    let all: Vec<usize> = (0..inner.declared.tables.len()).collect();
    let rows = sending(inner, writing, &tails).all(&all).await?;
    failpoint::step("tails sent");
    Ok(Run::new(places, rows))
}

/// Reports, for the tails that were left out, why their deliveries have failed.
pub async fn report_failed(
    inner: &Inner,
    window: &[RowChunk],
    sent: &Run,
    all: &mut [Applied],
) -> Result<(), StoreError> {
    let left_out = |at: &usize| window[*at].is_tail && !sent.places.contains(at);
    for at in (0..window.len()).filter(left_out) {
        all[at].failed = Some(inner.ledger.find(window[at].source.id).await?.delivery.detail);
    }
    Ok(())
}
