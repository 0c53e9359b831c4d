//! The handle of a cluster. It connects, prepares and sends requests, and converts their errors.

pub mod config;
pub mod connect;
pub mod error;
pub mod limits;
pub mod retry;
pub mod settings;
mod tls;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt as _;
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::ExecutionError;
use scylla::response::query_result::QueryResult;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::batch::BatchValues;
use scylla::serialize::row::SerializeRow;
use scylla::statement::batch::Batch;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, SerialConsistency, Statement};

use crate::store::StoreError;
use crate::store::cassandra::cluster::error::PageError;
use crate::store::cassandra::cluster::retry::{patiently, patiently_while};
use crate::store::cassandra::cluster::settings::Settings;

/// A connection to a cluster, and the settings of the store in it. Clones share both.
#[derive(Clone)]
pub struct Cluster {
    session: Arc<Session>,
    pub settings: Arc<Settings>,
}

impl Cluster {
    /// Connects to the cluster.
    ///
    /// # Errors
    /// Returns an error with the cause and the next step if no contact point can be used, or if the configured data
    /// centre does not fit the cluster.
    pub async fn connect(settings: Arc<Settings>) -> Result<Self, StoreError> {
        Ok(Self { session: Arc::new(connect::connect(&settings).await?), settings })
    }

    /// Returns the driver's session. Its errors are converted with [`Self::store_error`].
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns the name of the store for messages.
    pub fn name(&self) -> String {
        self.settings.name()
    }

    /// Returns the data centres that have nodes.
    pub fn datacenters(&self) -> BTreeSet<String> {
        let state = self.session.get_cluster_state();
        state.get_nodes_info().iter().filter_map(|node| node.datacenter.clone()).collect()
    }

    /// Converts an error of the driver to an error of the store.
    pub fn store_error(&self, error: &ExecutionError) -> StoreError {
        error::store_error(self.name(), error)
    }

    /// Returns the error for a defect.
    pub fn broken(&self, what: impl ToString) -> StoreError {
        StoreError::Broken { store: self.name(), what: what.to_string() }
    }

    /// Returns the error for a store that does not fit the configuration.
    pub fn shape(&self, what: String, next: impl Into<String>) -> StoreError {
        StoreError::Shape { store: self.name(), what, next: next.into() }
    }

    /// Prepares a statement about the ledger. Sending it twice has the same effect as sending it once.
    ///
    /// # Errors
    /// Returns an error if the cluster does not accept the statement or does not answer.
    pub async fn prepare(&self, cql: String) -> Result<PreparedStatement, StoreError> {
        self.prepare_at(self.settings.ledger(), cql).await
    }

    /// Prepares a statement with this consistency. Sending it twice has the same effect as sending it once.
    ///
    /// # Errors
    /// Returns an error if the cluster does not accept the statement or does not answer.
    pub async fn prepare_at(
        &self,
        consistency: Consistency,
        cql: String,
    ) -> Result<PreparedStatement, StoreError> {
        let prepared = self.session.prepare(cql).await;
        let mut prepared = prepared.map_err(|error| self.store_error(&error.into()))?;
        prepared.set_consistency(consistency);
        prepared.set_is_idempotent(true);
        Ok(prepared)
    }

    /// Prepares a compare-and-set of the ledger.
    ///
    /// # Errors
    /// Returns an error if the cluster does not accept the statement or does not answer.
    pub async fn prepare_conditional(
        &self,
        serial: SerialConsistency,
        cql: String,
    ) -> Result<PreparedStatement, StoreError> {
        let mut prepared = self.prepare(cql).await?;
        prepared.set_is_idempotent(false);
        prepared.set_serial_consistency(Some(serial));
        Ok(prepared)
    }

    /// Returns a statement with the consistency of the ledger, which is never weaker than that of the tables.
    pub fn statement(&self, cql: impl Into<String>) -> Statement {
        let mut statement = Statement::new(cql);
        statement.set_consistency(self.settings.ledger());
        statement
    }

    /// Executes one statement of the ledger, with retries, and returns its rows.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer after several attempts or rejects the request, or if a row has
    /// an unexpected shape.
    pub async fn fetch<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        self.parsed(self.execute_while(|| true, statement, values).await?)
    }

    /// Executes one statement of the ledger that only the holder of the lease may write. Retries only while `may`
    /// returns true.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer after several attempts, or rejects the request.
    pub async fn execute_while(
        &self,
        may: impl Fn() -> bool,
        statement: &PreparedStatement,
        values: impl SerializeRow + Sync,
    ) -> Result<QueryResult, StoreError> {
        let values = &values;
        let send = || self.session.execute_unpaged(statement, values);
        patiently_while(may, "ledger", send).await.map_err(|error| self.store_error(&error))
    }

    /// Executes a batch of the ledger like [`Self::execute_while`].
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer after several attempts, or rejects the request.
    pub async fn batch_while(
        &self,
        may: impl Fn() -> bool,
        batch: &Batch,
        values: impl BatchValues + Sync,
    ) -> Result<(), StoreError> {
        let values = &values;
        let done = patiently_while(may, "ledger", || self.session.batch(batch, values)).await;
        done.map(|_| ()).map_err(|error| self.store_error(&error))
    }

    /// Returns all rows of a short result, with retries. The statement is not prepared.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer after several attempts or rejects the request, or if a row has
    /// an unexpected shape.
    pub async fn query<R>(
        &self,
        statement: impl Into<Statement>,
        values: impl SerializeRow + Sync,
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let (statement, values) = (statement.into(), &values);
        let result = patiently("ledger", || self.session.query_unpaged(statement.clone(), values)).await;
        self.parsed(result.map_err(|error| self.store_error(&error))?)
    }

    /// Hands every row of a long result to `take`, a page at a time, until `take` returns false.
    ///
    /// # Errors
    /// Returns an error if the cluster does not answer or rejects the request, or if a row has an unexpected shape.
    pub async fn each<R>(
        &self,
        statement: PreparedStatement,
        values: impl SerializeRow,
        mut take: impl FnMut(R) -> bool,
    ) -> Result<(), StoreError>
    where
        R: 'static + for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let either = |error: PageError| match error {
            PageError::Request(error) => self.store_error(&error),
            other => self.broken(other),
        };
        let pager = self.session.execute_iter(statement, values).await;
        let pager = pager.map_err(|error| either(error.into()))?;
        let mut rows = pager.rows_stream::<R>().map_err(|error| self.broken(error))?;
        while let Some(row) = rows.try_next().await.map_err(|error| either(error.into()))? {
            if !take(row) {
                break;
            }
        }
        Ok(())
    }

    /// Reads one page of a result, and returns where the next page begins. The page size is that of the statement.
    ///
    /// # Errors
    /// Returns an error if the server does not accept the paging state, if the cluster does not answer or rejects the
    /// request, or if a row has an unexpected shape.
    pub async fn page<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
        from: PagingState,
    ) -> Result<(Vec<R>, PagingStateResponse), StoreError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let is_continued = from.as_bytes_slice().is_some();
        match self.session.execute_single_page(statement, values, from).await {
            Ok((result, next)) => Ok((self.parsed(result)?, next)),
            Err(error) if is_continued && error::is_of_protocol(&error) => {
                Err(StoreError::Cursor(self.name()))
            }
            Err(error) => Err(self.store_error(&error)),
        }
    }

    fn parsed<R>(&self, result: QueryResult) -> Result<Vec<R>, StoreError>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let result = result.into_rows_result().map_err(|error| self.broken(error))?;
        let rows = result.rows::<R>().map_err(|error| self.broken(error))?;
        rows.collect::<Result<_, _>>().map_err(|error| self.broken(error))
    }
}
