//! Last records that 0.1.0 loaded provisionally and may have been taking back when it was killed: the ledger counts
//! them, and their rows may be gone from the tables.

use super::Ledger;
use crate::domain::{Delivery, DeliveryId, DeliveryState, Position};
use crate::store::StoreError;
use crate::store::cassandra::delivery_row::{Entered, count};
use crate::store::cassandra::shared::Writing;
use crate::store::cassandra::{request, schema};

/// Byte, record and line where the record begins, the hash up to there, and what became of the record.
type Provisional = (i64, i64, i64, String, String);

impl Ledger {
    /// Takes the record out of the account of a file that grew behind it, so that it is loaded once more, with a newer
    /// stamp. Whether there was one.
    ///
    /// # Errors
    /// `Ahead` when there are no stamps yet; the cluster does not answer; the lease is lost.
    pub async fn rewind(&self, writing: &Writing, before: &Entered) -> Result<bool, StoreError> {
        let Delivery { id, state, tail, .. } = before.delivery;
        // Once the row was written in this format, the file has been looked at, and had not grown.
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
        let place = schema::ledger_place(&self.settings, "needledrop_deliveries");
        let cql = format!("SELECT provisional FROM {place} WHERE id = ?");
        let asked = request::of_ledger(&self.settings, cql);
        let rows = request::rows::<(Option<Provisional>,)>(&self.session, &self.settings, asked, (id.0,));
        Ok(rows.await?.pop().and_then(|(provisional,)| provisional))
    }
}

/// `outcome` is what 0.1.0 wrote: `loaded` with the tables in which it was a collision, `skipped`, `quarantined` or
/// `discarded`; behind `replayed` where it was in quarantine before.
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
