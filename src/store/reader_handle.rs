//! A handle for reading the tables that outlives the store: the daemon closes the store and opens another at a reload.

use std::sync::Arc;

use tokio::sync::{RwLock, RwLockReadGuard};

use crate::domain::ledger::Page;
use crate::domain::{RowCursor, Schema, TableRow, Value};
use crate::store::{RowReader, StoreError};

/// An open store, with the declaration of its tables.
pub struct OpenStore<S> {
    pub store: Arc<S>,
    pub declared: Arc<Schema>,
}

/// Reads the store that is open now, if there is one.
///
/// A reader borrows the store for one page at a time. Between two pages, the store may be closed and another opened: an
/// SQLite file that a reader kept open would stay locked.
pub struct ReaderHandle<S> {
    open: RwLock<Option<OpenStore<S>>>,
}

impl<S> Default for ReaderHandle<S> {
    fn default() -> Self {
        Self { open: RwLock::new(None) }
    }
}

impl<S: RowReader> ReaderHandle<S> {
    /// Makes a store available to readers.
    pub async fn fill(&self, store: Arc<S>, declared: Arc<Schema>) {
        *self.open.write().await = Some(OpenStore { store, declared });
    }

    /// Waits for the pages that are being read, and takes the store away from readers. Afterwards, the handle holds no
    /// reference to the store.
    pub async fn clear(&self) {
        *self.open.write().await = None;
    }

    /// Borrows the store. The caller must return it after one page, because [`Self::clear`] waits for it.
    ///
    /// # Errors
    /// Returns `Closed` if no store is open.
    pub async fn borrow(&self) -> Result<RwLockReadGuard<'_, OpenStore<S>>, StoreError> {
        RwLockReadGuard::try_map(self.open.read().await, Option::as_ref).map_err(|_| StoreError::Closed)
    }

    /// Returns a page of the rows of the table with this name, as [`RowReader::rows`] does. Another configuration may
    /// declare the table at another index, so its name is looked up for each page.
    ///
    /// # Errors
    /// Returns `Closed` if no store is open, `Undeclared` if there is no such table, or an error if the store cannot be
    /// read.
    pub async fn rows(
        &self,
        table: &str,
        key: Vec<Value<'static>>,
        from: Option<RowCursor>,
    ) -> Result<Page<TableRow, RowCursor>, StoreError> {
        let open = self.borrow().await?;
        let index = open.declared.tables.iter().position(|declared| declared.name == table);
        let index = index.ok_or_else(|| StoreError::Undeclared(table.to_owned()))?;
        open.store.rows(index, key, from).await
    }
}
