//! Looks up the deliveries with which a new file is compared.

use crate::domain::ledger::Content;
use crate::domain::{DeliveryId, Feeds};
use crate::store::StoreError;
use crate::store::cassandra::lease::Lease;
use crate::store::cassandra::ledger::LedgerTables;
use crate::store::cassandra::ledger::contents::Contents;
use crate::store::cassandra::ledger::delivery_row::big;

impl LedgerTables {
    /// Whether there may be a loaded delivery with this head and, if `len` is given, this length.
    pub async fn has_content(&self, head: &str, len: Option<u64>) -> Result<bool, StoreError> {
        let Contents { of_head, of_len, .. } = &self.contents;
        let found: Vec<(i64,)> = match len {
            Some(len) => self.cluster.fetch(of_len, (head, big(len))).await?,
            None => self.cluster.fetch(of_head, (head,)).await?,
        };
        Ok(!found.is_empty())
    }

    /// Inserts the entry for a delivery that is already loaded.
    pub async fn enter_content(&self, lease: &Lease, id: DeliveryId) -> Result<(), StoreError> {
        let content = self.read(id).await?.as_ref().and_then(Content::of);
        self.contents.enter(lease, content.as_ref(), id).await
    }

    pub(super) async fn ids_of_head(&self, head: &str) -> Result<Vec<DeliveryId>, StoreError> {
        let ids: Vec<(i64,)> = self.cluster.fetch(&self.contents.all_of_head, (head,)).await?;
        Ok(ids.into_iter().map(|(id,)| DeliveryId(id)).collect())
    }

    pub(super) async fn ids_of(&self, content: &Content) -> Result<Vec<DeliveryId>, StoreError> {
        let Content { head, len, hash } = content;
        let values = (head, big(*len), hash);
        let ids: Vec<(i64,)> = self.cluster.fetch(&self.contents.same, values).await?;
        Ok(ids.into_iter().map(|(id,)| DeliveryId(id)).collect())
    }

    pub(super) async fn unfinished(&self, head: &str) -> Result<Vec<DeliveryId>, StoreError> {
        if !self.unfinished.is_filled() {
            self.known(&Feeds::none()).await?;
        }
        Ok(self.unfinished.of(head))
    }
}
