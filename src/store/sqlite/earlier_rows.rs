//! The rows that earlier generations of files gave, kept in an SQLite file until a newer generation is compared with them.

use std::sync::Arc;

use bigdecimal::BigDecimal;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::OnceCell;

use crate::domain::replacement::Change;
use crate::domain::{Column, DeliveryId, Schema, Table, TableRow, Type, Value};
use crate::store::StoreError;
use crate::store::scratch_folder::ScratchFolder;
use crate::store::sqlite::connection_thread::ConnectionThread;
use crate::store::sqlite::expected_rows::KeyEquality;
use crate::store::sqlite::fault::{Fault, SqlResult};
use crate::store::sqlite::row_cursor::KeyValue;
use crate::store::sqlite::{cell, scratch};

/// `table_index` is the index of the table in the schema, `key` the encoded key, and `value_hash` the hash of the other values.
/// `seen` is 1 once a row of the newer generation has the key, and NULL until then.
const TABLE: &str = "CREATE TABLE earlier (delivery INTEGER, table_index INTEGER, key BLOB, value_hash BLOB, seen INTEGER, \
    PRIMARY KEY (delivery, table_index, key)) WITHOUT ROWID;";

/// The rows of earlier generations. The file is created for the first of them.
pub struct EarlierRows {
    folder: ScratchFolder,
    thread: OnceCell<ConnectionThread>,
}

/// The rows of one delivery in one table, which is named by its index in the schema.
pub type RowsOf = (DeliveryId, usize);

impl EarlierRows {
    pub fn new(folder: ScratchFolder) -> Self {
        Self { folder, thread: OnceCell::new() }
    }

    pub fn schema(&self) -> &Schema {
        &self.folder.schema
    }

    /// Adds rows, each with all columns of the table, key first.
    ///
    /// # Errors
    /// Returns an error if the file cannot be created or written to.
    pub async fn put(&self, (of, place): RowsOf, rows: Vec<TableRow>) -> Result<(), StoreError> {
        self.run(place, move |connection, encoding| {
            let transaction = connection.transaction()?;
            let mut put = transaction.prepare_cached(
                "INSERT OR REPLACE INTO earlier (delivery, table_index, key, value_hash) VALUES (?1, ?2, ?3, ?4)",
            )?;
            for row in &rows {
                put.execute(params![of.0, place, encoding.key(row), encoding.hash(row)])?;
            }
            drop(put);
            transaction.commit()
        })
        .await
    }

    /// Compares rows of a newer generation with those of the same keys, and marks these as seen. Returns how each differs.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or written to.
    pub async fn compare_and_mark(
        &self,
        (of, place): RowsOf,
        rows: Vec<TableRow>,
    ) -> Result<Vec<Option<Change>>, StoreError> {
        self.run(place, move |connection, encoding| {
            let transaction = connection.transaction()?;
            let sql =
                "UPDATE earlier SET seen = 1 WHERE delivery = ?1 AND table_index = ?2 AND key = ?3 RETURNING value_hash";
            let mut see = transaction.prepare_cached(sql)?;
            let mut compare = |row: &TableRow| {
                let values = params![of.0, place, encoding.key(row)];
                let earlier: Option<[u8; 32]> = see.query_row(values, |found| found.get(0)).optional()?;
                Ok(match earlier {
                    None => Some(Change::New),
                    Some(hash) => (hash != encoding.hash(row)).then_some(Change::Changed),
                })
            };
            let changes = rows.iter().map(&mut compare).collect::<SqlResult<_>>()?;
            drop(see);
            transaction.commit()?;
            Ok(changes)
        })
        .await
    }

    /// Returns the number of rows that are not marked, and the keys of the first `most` of them.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read.
    pub async fn gone(&self, (of, place): RowsOf, most: usize) -> Result<(u64, Vec<TableRow>), StoreError> {
        self.run(place, move |connection, encoding| {
            let unseen = "FROM earlier WHERE delivery = ?1 AND table_index = ?2 AND seen IS NULL";
            let count = format!("SELECT count(*) {unseen}");
            let count = connection.query_row(&count, params![of.0, place], |row| row.get(0))?;
            let mut first = connection.prepare(&format!("SELECT key {unseen} LIMIT ?3"))?;
            let keys = first.query_map(params![of.0, place, most], |row| row.get::<_, Vec<u8>>(0))?;
            let keys = keys.map(|key| encoding.decoded(&key?)).collect::<SqlResult<_>>()?;
            Ok((count, keys))
        })
        .await
    }

    /// Removes the rows of a delivery.
    ///
    /// # Errors
    /// Returns an error if the file cannot be written to.
    pub async fn forget(&self, of: DeliveryId) -> Result<(), StoreError> {
        if self.thread.get().is_none() {
            return Ok(());
        }
        let forget = move |connection: &mut Connection, _: &Encoding| {
            connection.execute("DELETE FROM earlier WHERE delivery = ?1", [of.0]).map(|_| ())
        };
        self.run(0, forget).await
    }

    async fn run<T: Send + 'static>(
        &self,
        place: usize,
        work: impl FnOnce(&mut Connection, &Encoding) -> SqlResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let thread = self.thread.get_or_try_init(|| async { self.create() }).await?;
        let encoding = Encoding { schema: Arc::clone(&self.folder.schema), keys: self.folder.keys, place };
        let done = thread.run(move |connection| work(connection, &encoding)).await;
        let done = done.unwrap_or(Err(rusqlite::Error::InvalidQuery));
        done.map_err(|error| Fault::from(error).in_store("the scratch file"))
    }

    fn create(&self) -> Result<ConnectionThread, StoreError> {
        let path = self.folder.path("earlier");
        let failed = |error: rusqlite::Error| Fault::from(error).in_store(&path.display().to_string());
        let connection = scratch::file(&path).map_err(failed)?;
        connection.execute_batch(TABLE).map_err(failed)?;
        ConnectionThread::of(connection, "sqlite-earlier").map_err(|error| StoreError::System {
            store: path.display().to_string(),
            what: format!("cannot start a thread: {error}"),
            next: "raise the limit on the number of processes of this user".to_owned(),
        })
    }
}

/// How the rows of one table are kept.
struct Encoding {
    schema: Arc<Schema>,
    keys: KeyEquality,
    place: usize,
}

impl Encoding {
    fn table(&self) -> Option<&Table> {
        self.schema.tables.get(self.place)
    }

    fn columns(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.table().into_iter().flat_map(|table| self.schema.columns_of(table)).enumerate()
    }

    fn key_len(&self) -> usize {
        self.table().map_or(0, Table::key_len)
    }

    fn key(&self, row: &TableRow) -> Vec<u8> {
        let mut key = Vec::new();
        for ((_, column), value) in self.columns().zip(row).take(self.key_len()) {
            self.key_value(column.kind, value).encode(&mut key);
        }
        key
    }

    /// In Cassandra, decimals in a key are equal if their values are.
    fn key_value(&self, kind: Type, value: &Value<'static>) -> KeyValue {
        match value {
            Value::Decimal(text) if self.keys == KeyEquality::ByValue && kind == Type::Decimal => {
                let number = text.parse::<BigDecimal>().map(|number| number.normalized().to_string());
                KeyValue::Text(number.unwrap_or_else(|_| text.to_string()).into_bytes())
            }
            value => KeyValue::of(value),
        }
    }

    fn decoded(&self, mut key: &[u8]) -> SqlResult<TableRow> {
        let mut values = Vec::new();
        for (_, column) in self.columns().take(self.key_len()) {
            let value = KeyValue::decode(&mut key).ok_or(rusqlite::Error::InvalidQuery)?;
            values.push(cell::value(column.kind, value.as_ref())?);
        }
        Ok(values)
    }

    /// Returns the hash of the values after the key. A static column of Cassandra has the value of the newest record of its
    /// partition, so it is left out there.
    fn hash(&self, row: &TableRow) -> [u8; 32] {
        let mut bytes = Vec::new();
        let statics = self.table().map(|table| table.statics.as_slice()).unwrap_or_default();
        let columns = self.table().into_iter().flat_map(Table::all);
        for (value, column) in row.iter().zip(columns).skip(self.key_len()) {
            if self.keys == KeyEquality::ByValue && statics.contains(&column) {
                continue;
            }
            match value {
                Value::Empty => bytes.push(u8::MAX),
                value => KeyValue::of(value).encode(&mut bytes),
            }
        }
        *blake3::hash(&bytes).as_bytes()
    }
}
