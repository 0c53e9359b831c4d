//! Migrates a ledger of an earlier format. The process that holds the lease does this. It is safe to interrupt: the
//! format is recorded last, and every step leaves alone what is already done.

use scylla::statement::prepared::PreparedStatement;
use tracing::{info, warn};

use crate::domain::{Delivery, DeliveryState};
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::lease::stamps::Authority;
use crate::store::cassandra::ledger::delivery_row::{big, count};
use crate::store::cassandra::ledger::{LedgerTables, TOGETHER};
use crate::store::cassandra::schema::{added_columns, declared, names};
use crate::store::{StoreError, failpoint};

/// A delivery of formats 1 to 3: id, path, state, records, its provisional last record, its ranges of stamps.
type Earlier =
    (i64, String, String, i64, Option<(i64, i64, i64, String, String)>, Option<Vec<(i64, i64, i64)>>);

/// The last format with provisional records.
const PROVISIONAL: i64 = 3;

/// Migrates the ledger from an earlier format to the current format.
///
/// # Errors
/// Returns an error if the lease is lost, if no stamps can be handed out yet, or if the cluster does not answer or
/// rejects a request.
pub async fn bring_up(
    cluster: &Cluster,
    lease: &Lease,
    stamps: &Authority,
    format: i64,
) -> Result<(), StoreError> {
    added_columns::add_columns(cluster).await?;
    if format <= PROVISIONAL && added_columns::has_provisional(cluster).await? {
        Migration::new(cluster, (lease, stamps)).await?.deliveries().await?;
    }
    if format < declared::WITH_CONTENTS {
        contents(cluster, lease).await?;
    }
    failpoint::step("ledger brought up");
    added_columns::mark_brought_up(cluster, format).await?;
    info!("{}: its ledger now has format {}", cluster.name(), declared::FORMAT);
    Ok(())
}

/// Fills the table that finds loaded deliveries by their contents.
async fn contents(cluster: &Cluster, lease: &Lease) -> Result<(), StoreError> {
    let ledger = LedgerTables::new(cluster).await?;
    let mut loaded = Vec::new();
    let take = &mut |delivery: Delivery| {
        if delivery.state == DeliveryState::Loaded {
            loaded.push(delivery.id);
        }
    };
    ledger.each(take).await?;
    for some in loaded.chunks(TOGETHER) {
        // Entering many deliveries can take longer than the lease lasts.
        lease.check().await?;
        let entered = some.iter().map(|id| ledger.enter_content(lease, *id));
        futures::future::try_join_all(entered).await?;
        failpoint::step("contents entered");
    }
    Ok(())
}

struct Migration<'m> {
    cluster: &'m Cluster,
    lease: &'m Lease,
    authority: &'m Authority,
    all: PreparedStatement,
    newest: PreparedStatement,
    tail: PreparedStatement,
    stamps: PreparedStatement,
}

impl<'m> Migration<'m> {
    async fn new(
        cluster: &'m Cluster,
        (lease, authority): (&'m Lease, &'m Authority),
    ) -> Result<Self, StoreError> {
        let place = names::ledger_place(&cluster.settings, "needledrop_deliveries");
        let prepare = |cql: String| cluster.prepare(cql);
        let all = format!("SELECT id, path, state, records, provisional, stamps FROM {place}");
        // If the previous holder was killed, it may have been deleting the rows of a provisional record. That record is
        // then kept for `LedgerTables::rewind`.
        let forgotten = if lease.was_left() { "" } else { ", provisional = null" };
        let paths = names::ledger_place(&cluster.settings, "needledrop_paths");
        let newest = format!("SELECT id FROM {paths} WHERE path = ? ORDER BY generation DESC LIMIT 1");
        Ok(Self {
            all: prepare(all).await?,
            newest: prepare(newest).await?,
            tail: prepare(format!("UPDATE {place} SET tail = ?{forgotten} WHERE id = ?")).await?,
            stamps: prepare(format!("UPDATE {place} SET stamps = ? WHERE id = ?")).await?,
            cluster,
            lease,
            authority,
        })
    }

    async fn deliveries(&self) -> Result<(), StoreError> {
        let mut found: Vec<Earlier> = Vec::new();
        let take = |delivery: Earlier| {
            // Most deliveries need no change.
            if delivery.4.is_some() || is_unfinished(&delivery.2) {
                found.push(delivery);
            }
            true
        };
        self.cluster.each(self.all.clone(), (), take).await?;
        for delivery in found {
            self.delivery(delivery).await?;
        }
        Ok(())
    }

    async fn delivery(
        &self,
        (id, path, state, records, provisional, stamps): Earlier,
    ) -> Result<(), StoreError> {
        if let Some((bytes, record, line, ..)) = provisional {
            // The rows of the provisional record are in the tables, so it becomes an open tail like any other.
            self.lease.write(&self.tail, ((bytes, record, line), id)).await?;
        }
        // Only the newest generation of a path is ever resumed.
        if is_unfinished(&state) && self.newest(&path).await? == Some(id) {
            // Rows may have been sent ahead of the ledger, and their bytes are not recorded. The remaining records get
            // new stamps, so that no row mixes two contents. This is the first of the new stamps. Resuming takes more.
            let range = self.authority.hand_out(self.lease, count(records), 1).await?;
            let mut stamps = stamps.unwrap_or_default();
            stamps.push((records, range.base.0, big(range.records)));
            self.lease.write(&self.stamps, (stamps, id)).await?;
            warn!(
                file = path,
                "was interrupted under an earlier version: its remaining records get newer stamps"
            );
        }
        Ok(())
    }

    /// Returns the id of the newest generation of a path.
    async fn newest(&self, path: &str) -> Result<Option<i64>, StoreError> {
        let found: Vec<(i64,)> = self.cluster.fetch(&self.newest, (path,)).await?;
        Ok(found.first().map(|(id,)| *id))
    }
}

fn is_unfinished(state: &str) -> bool {
    [DeliveryState::Loading, DeliveryState::Replaced].iter().any(|unfinished| unfinished.name() == state)
}
