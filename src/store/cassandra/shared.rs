//! The state that all parts of the store share.

use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;

use crate::domain::{Delivery, RowChunk, Schema, Stamp, StampRange};
use crate::metrics;
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::cluster::limits::SizeLimit;
use crate::store::cassandra::corrections::noted::Noted;
use crate::store::cassandra::corrections::statements;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::lease::stamps::Authority;
use crate::store::cassandra::ledger::LedgerTables;
use crate::store::cassandra::ledger::lock::lock;
use crate::store::cassandra::quarantine::Quarantine;
use crate::store::cassandra::reader::Reader;
use crate::store::cassandra::schema::guard::Unchanged;
use crate::store::cassandra::writer::backfill_totals;
use crate::store::cassandra::writer::collisions::Collisions;
use crate::store::cassandra::writer::layout;
use crate::store::cassandra::writer::pace::Pace;
use crate::store::cassandra::writer::rows::{Sending, Writer};
use crate::store::cassandra::writer::send_window::Ahead;
use crate::store::rejection::Rejections;

/// The state that all parts of the store share.
pub struct Inner {
    pub cluster: Cluster,
    pub declared: Arc<Schema>,
    pub ledger: LedgerTables,
    pub reading: Quarantine,
    pub reader: Reader,
    /// The state for writing. `None` if the store was not opened for writing.
    pub writing: Option<Writing>,
    pub playing: backfill_totals::Playing,
    /// The statements of corrections.
    pub correcting: statements::Prepared,
}

impl Inner {
    pub fn report_driver(&self) {
        let state = self.cluster.session().get_cluster_state();
        let nodes = state.get_nodes_info();
        let connected = nodes.iter().filter(|node| node.is_connected()).count();
        metrics::nodes(connected, nodes.len() - connected);
        let driver = self.cluster.session().get_metrics();
        metrics::driver(
            driver.get_total_connections(),
            driver.get_connection_timeouts(),
            driver.get_request_timeouts(),
        );
    }

    pub fn writer(&self) -> Result<&Writing, StoreError> {
        self.writing.as_ref().ok_or_else(|| self.cluster.broken("opened for reading only"))
    }
}

/// The state that only a writer needs.
pub struct Writing {
    pub lease: Lease,
    pub stamps: Authority,
    pub tables: Unchanged,
    pub writers: Vec<Writer>,
    /// The rejected rows of each delivery and table.
    pub refusals: Mutex<Rejections>,
    pub pace: Pace,
    /// The largest request that is sent, if a limit is known.
    pub limit: Option<SizeLimit>,
    /// One permit for each request that may be under way.
    pub permits: Semaphore,
    pub ahead: Ahead,
    pub quarantine: Quarantine,
    pub collisions: Collisions,
    pub corrections: Noted,
    /// The end of the last range of stamps that this process handed out.
    pub last: Mutex<Option<Stamp>>,
}

impl Writing {
    /// Whether a table has `newest_by`. Records must then be written in the order of their stamps.
    pub fn needs_order(&self) -> bool {
        self.writers.iter().any(|writer| writer.newest_by.is_some())
    }

    /// Whether no later stamps were handed out than those of a delivery, and no row was sent that is not in the ledger.
    pub fn is_last(&self, delivery: &Delivery) -> bool {
        let is_counted =
            delivery.ahead.as_ref().is_none_or(|ahead| ahead.bytes.offset <= delivery.reach.offset);
        is_counted && *lock(&self.last) == Some(delivery.stamps.end())
    }

    /// Hands out the next range of stamps.
    pub async fn hand_out(&self, first: u64, records: u64) -> Result<StampRange, StoreError> {
        let range = self.stamps.hand_out(&self.lease, first, records).await?;
        *lock(&self.last) = Some(range.end());
        Ok(range)
    }
}

pub fn sending<'s>(inner: &'s Inner, writing: &'s Writing, chunks: &'s [&'s RowChunk]) -> Sending<'s> {
    Sending {
        cluster: &inner.cluster,
        lease: &writing.lease,
        pace: &writing.pace,
        permits: &writing.permits,
        limit: writing.limit.as_ref(),
        writers: &writing.writers,
        chunks,
        layouts: layout::of_chunks(&inner.declared, chunks),
        longest: chunks.iter().map(|chunk| chunk.rows.longest()).max().unwrap_or(0),
        corrections: &writing.corrections,
        uncounted: &inner.ledger.uncounted,
    }
}
