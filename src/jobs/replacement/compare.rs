//! Compares the rows that two generations of a file give, by key.

use std::sync::Arc;

use crate::domain::correction::KeyedRow;
use crate::domain::replacement::{Change, Comparison, EXAMPLES, TableChanges};
use crate::domain::text::one_line;
use crate::domain::{Delivery, RowChunk, Schema, Table, TableRow, Value, text};
use crate::jobs::read_again::{ReadAgain, ReadEnd};
use crate::jobs::replacement::{DueReplacement, Settler};
use crate::source::Source;
use crate::store::sqlite::expected_rows::{ExpectedRows, KeyEquality};
use crate::store::{Ledger, StoreError};

impl<I: Source> Settler<I> {
    /// Compares a delivery with an earlier generation. Returns `None` if the run was stopped.
    pub(super) async fn compare(&self, replacing: &DueReplacement) -> Result<Option<Comparison>, StoreError> {
        let impossible = |why: String| Ok(Some(Comparison::Impossible(why)));
        let Some(earlier) = replacing.compared_with() else {
            return impossible("it is not in the ledger".to_owned());
        };
        let delivery = &self.with_rows(&replacing.delivery).await?;
        let tables = self.compared_tables(delivery, earlier);
        if !self.replacements.has_saved(earlier.id) {
            match self.read_earlier(earlier, &tables).await? {
                ReadEnd::Done => {}
                ReadEnd::Stopped => return Ok(None),
                ReadEnd::Lost(why) => {
                    return impossible(format!("its file is not kept: {}", one_line(&why.to_string())));
                }
            }
        }
        let newer = match self.read_rows(delivery, &tables, "newer").await? {
            (ReadEnd::Done, rows) => rows,
            (ReadEnd::Stopped, _) => return Ok(None),
            (ReadEnd::Lost(why), _) => {
                return impossible(format!("the newer file is not kept: {}", one_line(&why.to_string())));
            }
        };
        let mut compared = Vec::new();
        for (index, table) in tables {
            match self.compare_table(&newer, earlier, (index, table)).await? {
                Some(changes) => compared.push(changes),
                None => return Ok(None),
            }
        }
        Ok(Some(Comparison::Done(compared)))
    }

    /// Returns the delivery that has the rows: the other one of a duplicate.
    async fn with_rows(&self, delivery: &Delivery) -> Result<Delivery, StoreError> {
        let other = match delivery.same_as {
            Some(other) => self.backoff.with(|| self.store.delivery(other)).await?,
            None => None,
        };
        Ok(other.unwrap_or_else(|| delivery.clone()))
    }

    /// Returns the tables that one of the generations fills. Cassandra does not record which file wrote a row of a table that has
    /// only key columns.
    fn compared_tables(&self, delivery: &Delivery, earlier: &Delivery) -> Vec<(usize, &Table)> {
        let can_compare = |table: &Table| {
            let is_read = !self.replacements.has_saved(earlier.id);
            is_read || !table.columns.is_empty() || self.scratch.keys == KeyEquality::Stored
        };
        let tables = self.schema.tables.iter().enumerate();
        let plan = self.feeds.of(&delivery.file).ok().map(|find| &find.plan);
        let is_declared = |table: &Table| plan.is_some_and(|plan| plan.table(&table.name).is_some());
        let filled = tables.filter(|(_, table)| fills(delivery, table) || fills(earlier, table));
        let declared = filled.filter(|(_, table)| is_declared(table) && can_compare(table));
        declared.filter(|(_, table)| !delivery.is_behind(table)).collect()
    }

    /// Whether a difference is certain. Cassandra does not record which file wrote a row without values, so the earlier generation
    /// may have written it too.
    fn can_compare_row(&self, kind: Change, earlier: &Delivery, (table, row): (&Table, &TableRow)) -> bool {
        let shows_all = self.scratch.keys == KeyEquality::Stored || !self.replacements.has_saved(earlier.id);
        kind != Change::New
            || shows_all
            || row.iter().skip(table.key_len()).any(|value| *value != Value::Empty)
    }

    /// Reads the earlier generation from its kept file.
    async fn read_earlier(
        &self,
        earlier: &Delivery,
        tables: &[(usize, &Table)],
    ) -> Result<ReadEnd, StoreError> {
        let (end, rows) = self.read_rows(earlier, tables, "older").await?;
        if !matches!(end, ReadEnd::Done) {
            return Ok(end);
        }
        for (index, _) in tables {
            let mut pages = Pages::new(&rows, *index);
            while let Some(page) = pages.next().await? {
                self.replacements.earlier.put((earlier.id, *index), page).await?;
            }
        }
        Ok(ReadEnd::Done)
    }

    /// Collects the rows that a delivery alone gives, from its kept file.
    async fn read_rows(
        &self,
        delivery: &Delivery,
        tables: &[(usize, &Table)],
        what: &str,
    ) -> Result<(ReadEnd, ExpectedRows), StoreError> {
        let rows = self.scratch.create(what)?;
        let store = (&*self.store, &self.backoff);
        let read_again = ReadAgain { store, feeds: &self.feeds, stop: &self.stop, same_values: false };
        let filled = tables.iter().filter(|(_, table)| fills(delivery, table));
        let names: Vec<String> = filled.map(|(_, table)| table.name.clone()).collect();
        let add = async |chunk: Arc<RowChunk>| rows.add(chunk).await;
        let end = read_again.delivery(delivery, &names, add).await?;
        Ok((end, rows))
    }

    async fn compare_table(
        &self,
        newer: &ExpectedRows,
        earlier: &Delivery,
        (index, table): (usize, &Table),
    ) -> Result<Option<TableChanges>, StoreError> {
        let (saved, of) = (&self.replacements.earlier, (earlier.id, index));
        let mut changes = TableChanges::of(&table.name);
        let mut pages = Pages::new(newer, index);
        while let Some(page) = pages.next().await? {
            if self.stop.is_cancelled() {
                return Ok(None);
            }
            let kinds = saved.compare_and_mark(of, page.clone()).await?;
            for (row, kind) in page.iter().zip(kinds) {
                if let Some(kind) = kind.filter(|kind| self.can_compare_row(*kind, earlier, (table, row))) {
                    changes.add(kind, || key(&self.schema, table, row));
                }
            }
        }
        let (gone, first) = saved.gone(of, EXAMPLES).await?;
        first.iter().for_each(|row| changes.add(Change::Gone, || key(&self.schema, table, row)));
        changes.gone = gone;
        Ok(Some(changes))
    }
}

fn fills(delivery: &Delivery, table: &Table) -> bool {
    delivery.receipt.tables.iter().any(|count| count.table == table.name && count.rows > 0)
}

/// Returns the key of a row, such as `sessionId=7, itemInSession=0`.
fn key(schema: &Schema, table: &Table, row: &TableRow) -> String {
    let columns = schema.columns_of(table).take(table.key_len()).zip(row);
    let each = columns.map(|(column, value)| format!("{}={}", column.name, text::plain(value)));
    each.collect::<Vec<_>>().join(", ")
}

/// The rows of a table, page by page.
struct Pages<'r> {
    rows: &'r ExpectedRows,
    table: usize,
    after: Option<TableRow>,
}

impl<'r> Pages<'r> {
    fn new(rows: &'r ExpectedRows, table: usize) -> Self {
        Self { rows, table, after: None }
    }

    /// Returns the next page of whole rows, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<TableRow>>, StoreError> {
        let page = self.rows.page(self.table, self.after.take()).await?;
        self.after = page.last().map(|row| row.key.clone());
        Ok(self.after.is_some().then(|| page.into_iter().map(KeyedRow::into_table_row).collect()))
    }
}
