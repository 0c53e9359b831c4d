//! The statements that read and rewrite the rows of one table.

use std::collections::HashMap;
use std::sync::Arc;

use scylla::statement::prepared::PreparedStatement;
use tokio::sync::Mutex;

use crate::domain::{Schema, Table, Type};
use crate::store::StoreError;
use crate::store::cassandra::cluster::Cluster;
use crate::store::cassandra::schema::names;

/// The statements of one table.
pub struct Statements {
    pub table: String,
    /// The types of all columns, key first.
    pub kinds: Vec<Type>,
    pub key_len: usize,
    pub partition_len: usize,
    /// Reads a row with write times and times to live.
    pub select: PreparedStatement,
    /// Reads all rows with the write times of their cells. `None` for a table of key columns only.
    pub select_all: Option<PreparedStatement>,
    /// Reads the rows of a partition, up to a limit.
    pub select_partition: PreparedStatement,
    /// Deletes a row.
    pub delete: PreparedStatement,
    pub delete_partition: PreparedStatement,
    /// Makes a row exist.
    pub insert: PreparedStatement,
    /// Sets cells. `None` for a table of key columns only.
    pub update: Option<PreparedStatement>,
}

/// The number of requests of a correction that are under way at the same time.
pub const IN_FLIGHT: usize = 32;

/// The statements by table. They are prepared when they are first needed.
#[derive(Default)]
pub struct Prepared(Mutex<HashMap<usize, Arc<Statements>>>);

impl Prepared {
    /// Returns the statements of a table.
    ///
    /// # Errors
    /// Returns an error if there is no such table, or if the cluster does not answer or rejects a statement.
    pub async fn of(
        &self,
        cluster: &Cluster,
        declared: &Schema,
        table: usize,
    ) -> Result<Arc<Statements>, StoreError> {
        let mut prepared = self.0.lock().await;
        if let Some(statements) = prepared.get(&table) {
            return Ok(Arc::clone(statements));
        }
        let statements = Arc::new(Statements::prepare(cluster, declared, table).await?);
        prepared.insert(table, Arc::clone(&statements));
        Ok(statements)
    }
}

impl Statements {
    async fn prepare(cluster: &Cluster, declared: &Schema, table: usize) -> Result<Self, StoreError> {
        let no_table = || cluster.broken("no such table");
        let table = declared.tables.get(table).ok_or_else(no_table)?;
        let (cql, settings) = (Cql::of(cluster, declared, table), &cluster.settings);
        let write = |cql: String| cluster.prepare_at(settings.ledger(), cql);
        let read = |cql: String| cluster.prepare_at(settings.read_back(), cql);
        let update = match cql.update() {
            Some(cql) => Some(write(cql).await?),
            None => None,
        };
        let select_all = match cql.select_all() {
            Some(cql) => Some(read(cql).await?),
            None => None,
        };
        Ok(Self {
            table: table.name.clone(),
            kinds: declared.columns_of(table).map(|column| column.kind).collect(),
            key_len: table.key_len(),
            partition_len: table.partition_key.len(),
            select: read(cql.select()).await?,
            select_all,
            select_partition: read(cql.select_partition()).await?,
            delete: write(cql.delete(table.key_len())).await?,
            insert: write(cql.insert()).await?,
            delete_partition: write(cql.delete(table.partition_key.len())).await?,
            update,
        })
    }
}

struct Cql {
    place: String,
    names: Vec<String>,
    key_len: usize,
    partition_len: usize,
}

impl Cql {
    fn of(cluster: &Cluster, declared: &Schema, table: &Table) -> Self {
        Self {
            place: names::place(&cluster.settings, table),
            names: declared.columns_of(table).map(names::column).collect(),
            key_len: table.key_len(),
            partition_len: table.partition_key.len(),
        }
    }

    fn key(&self, columns: usize) -> String {
        let conditions = self.names.iter().take(columns).map(|name| format!("{name} = ?"));
        conditions.collect::<Vec<_>>().join(" AND ")
    }

    fn select(&self) -> String {
        let cells = self.names.iter().skip(self.key_len);
        let mut columns: Vec<String> =
            cells.map(|name| format!("{name}, WRITETIME({name}), TTL({name})")).collect();
        columns.extend(self.names.first().filter(|_| columns.is_empty()).cloned());
        format!("SELECT {} FROM {} WHERE {}", columns.join(", "), self.place, self.key(self.key_len))
    }

    fn select_all(&self) -> Option<String> {
        let (key, cells) = self.names.split_at_checked(self.key_len)?;
        let cells: Vec<String> = cells.iter().map(|name| format!("{name}, WRITETIME({name})")).collect();
        let select = || format!("SELECT {}, {} FROM {}", key.join(", "), cells.join(", "), self.place);
        (!cells.is_empty()).then(select)
    }

    fn select_partition(&self) -> String {
        let key: Vec<&str> = self.names.iter().take(self.key_len).map(String::as_str).collect();
        let condition = self.key(self.partition_len);
        format!("SELECT {} FROM {} WHERE {condition} LIMIT ?", key.join(", "), self.place)
    }

    fn delete(&self, columns: usize) -> String {
        format!("DELETE FROM {} USING TIMESTAMP ? WHERE {}", self.place, self.key(columns))
    }

    fn insert(&self) -> String {
        let key: Vec<&str> = self.names.iter().take(self.key_len).map(String::as_str).collect();
        let marks = vec!["?"; key.len()].join(", ");
        format!(
            "INSERT INTO {} ({}) VALUES ({marks}) USING TIMESTAMP ? AND TTL ?",
            self.place,
            key.join(", ")
        )
    }

    fn update(&self) -> Option<String> {
        let cells: Vec<String> =
            self.names.iter().skip(self.key_len).map(|name| format!("{name} = ?")).collect();
        let (place, key) = (&self.place, self.key(self.key_len));
        let set = cells.join(", ");
        (!cells.is_empty())
            .then(|| format!("UPDATE {place} USING TIMESTAMP ? AND TTL ? SET {set} WHERE {key}"))
    }
}
