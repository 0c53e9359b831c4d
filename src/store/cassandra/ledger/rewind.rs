//! Loads provisional last records again. Version 0.1.0 loaded such records, and may have been deleting their rows when
//! it was killed. The ledger counts these records, but their rows may be missing from the tables.

use super::LedgerTables;
use crate::domain::{Delivery, DeliveryId, DeliveryState, Position};
use crate::store::StoreError;
use crate::store::cassandra::ledger::delivery_row::{Entered, count};
use crate::store::cassandra::schema::names;
use crate::store::cassandra::shared::Writing;

/// A provisional record: the byte, record and line where it begins, the hash up to there, and its outcome.
type Provisional = (i64, i64, i64, String, String);

impl LedgerTables {
    /// Removes the provisional record from the receipt of a file that has grown since, so that it is loaded again with
    /// a newer stamp. Returns whether there was such a record.
    ///
    /// # Errors
    /// Returns `Ahead` if no stamps can be handed out yet, or an error if the lease is lost, or if the cluster does not
    /// answer or rejects a request.
    pub async fn rewind(&self, writing: &Writing, before: &Entered) -> Result<bool, StoreError> {
        let Delivery { id, state, tail, .. } = before.delivery;
        // If the row was written in this format, the file was examined before, and had not grown.
        if state != DeliveryState::Loaded || tail.is_none() || before.trust.earlier().is_some() {
            return Ok(false);
        }
        let Some((offset, record, line, hash, outcome)) = self.provisional(id).await? else {
            return Ok(false);
        };
        let mark = Position { offset: count(offset), record: count(record), line: count(line) };
        let range = writing.hand_out(mark.record, 1).await?;
        writing.quarantine.remove_from(&writing.lease, id, mark.record).await?;
        let change = |entered: &mut Entered| {
            let delivery = &mut entered.delivery;
            delivery.stamps.push(range);
            (delivery.reach, delivery.hash, delivery.tail) = (mark, hash, None);
            delivery.state = DeliveryState::Loading;
            uncount(delivery, &outcome);
            Ok(())
        };
        self.change::<_, StoreError>(&writing.lease, id, change).await?;
        Ok(true)
    }

    async fn provisional(&self, id: DeliveryId) -> Result<Option<Provisional>, StoreError> {
        let place = names::ledger_place(&self.cluster.settings, "needledrop_deliveries");
        let cql = format!("SELECT provisional FROM {place} WHERE id = ?");
        let asked = self.cluster.statement(cql);
        let rows = self.cluster.query::<(Option<Provisional>,)>(asked, (id.0,));
        Ok(rows.await?.pop().and_then(|(provisional,)| provisional))
    }
}

/// Removes a record with this outcome from the receipt. Version 0.1.0 wrote the outcome: `loaded` followed by the
/// tables in which the record was a collision, `skipped`, `quarantined` or `discarded`. The outcome begins with
/// `replayed` if the record had been in quarantine.
fn uncount(delivery: &mut Delivery, outcome: &str) {
    let less = |count: &mut u64| *count = count.saturating_sub(1);
    let receipt = &mut delivery.receipt;
    receipt.records = delivery.reach.record;
    let replayed = outcome.strip_prefix("replayed ");
    if replayed.is_some() {
        less(&mut receipt.replayed);
    }
    let outcome = replayed.unwrap_or(outcome);
    match outcome.split_once(' ').unwrap_or((outcome, "")) {
        ("loaded", collided) => {
            less(&mut receipt.loaded);
            for table in &mut receipt.tables {
                less(&mut table.rows);
                if collided.split(',').any(|name| name == table.table) {
                    less(&mut table.collisions);
                }
            }
        }
        ("skipped", _) => less(&mut receipt.skipped),
        (what, _) => {
            less(&mut receipt.quarantined);
            if what == "discarded" {
                less(&mut receipt.discarded);
            }
        }
    }
}
