//! Compares tables with what the kept files of all deliveries give.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::domain::verify::{Comparison, WrongRow};
use crate::domain::{Delivery, Feeds, RowChunk, Table, ledger};
use crate::jobs::ledger_state::LedgerState;
use crate::jobs::locate::KeptFiles;
use crate::jobs::paced::Paced;
use crate::jobs::read_again::{Lost, LostError, ReadAgain, ReadEnd};
use crate::jobs::row_repairs::RowRepairs;
use crate::source::Source;
use crate::store::StoreError;
use crate::store::backoff::Backoff;
use crate::store::listing::{Deliveries, TableRows};
use crate::store::repairs::Repairs;
use crate::store::sqlite::expected_rows::ExpectedRows;

/// The maximum number of wrong rows of each kind that are kept for a table.
pub const EXAMPLES: usize = 10;

/// Compares tables with the kept files.
pub struct Verifier<S, I> {
    pub store: Arc<S>,
    pub feeds: Feeds<KeptFiles<I>>,
    pub backoff: Backoff,
    pub stop: CancellationToken,
    pub expected: ExpectedRows,
    /// Limits the rows that are read from the tables, and those that are made from files.
    pub paced: Paced,
    /// The tables to compare, with their indexes in the schema.
    pub tables: Vec<(usize, Table, Comparison)>,
    /// Whether wrong rows are rewritten.
    pub repairs: bool,
}

/// What a verification found.
#[derive(Debug, Default)]
pub struct Verified {
    /// The number of deliveries that were read, and of their loaded records.
    pub deliveries: u64,
    pub records: u64,
    pub tables: Vec<VerifiedTable>,
    /// Deliveries whose records are not all among the expected ones, or not for all tables. Rows that only the others explain
    /// are reported as wrong.
    pub lost: Vec<Lost>,
    /// Whether deliveries changed meanwhile, so that rows may be reported as wrong that are not.
    pub has_loaded: bool,
    pub stopped: bool,
}

/// What a verification found in one table.
#[derive(Debug, Default)]
pub struct VerifiedTable {
    pub name: String,
    /// The number of rows of the table, or of those in the sample.
    pub rows: u64,
    pub missing: u64,
    pub different: u64,
    /// Rows that no kept file gives.
    pub extra: u64,
    /// The number of wrong rows that were rewritten.
    pub repaired: u64,
    /// The first wrong rows of each kind, with the records that they should come from.
    pub examples: Vec<Example>,
}

/// A wrong row.
#[derive(Debug)]
pub struct Example {
    pub row: WrongRow,
    /// The newest record of the expected row.
    pub origin: Option<SourceRecord>,
}

/// A record of a file.
#[derive(Clone, Debug)]
pub struct SourceRecord {
    pub file: String,
    /// The line on which the record begins, from 1. `None` if the file can no longer be read.
    pub line: Option<u64>,
}

impl<S: Repairs, I: Source> Verifier<S, I> {
    /// Reads all kept files and all tables. Repairs nothing if a delivery cannot be read, because its rows would seem to be
    /// extra.
    ///
    /// # Errors
    /// Returns an error if the store does not answer, if a table cannot be repaired, or if the file of expected rows cannot be
    /// written to.
    pub async fn run(&self) -> Result<Verified, StoreError> {
        let (mut verified, mut before) = (Verified::default(), LedgerState::default());
        self.expect(&mut verified, &mut before).await?;
        let repairs = self.repairs && verified.lost.is_empty();
        if repairs {
            let tables: Vec<usize> = self.tables.iter().map(|(index, ..)| *index).collect();
            self.backoff.with(|| self.store.check_repairable(&tables)).await?;
        }
        for (index, table, how) in &self.tables {
            if self.stop.is_cancelled() {
                break;
            }
            let store = (&*self.store, &self.backoff);
            let repair = repairs.then(|| RowRepairs::new(store, &self.expected, (*index, table)));
            let found = self.compare((*index, table, how), repair.as_ref()).await?;
            verified.tables.push(found);
        }
        verified.stopped = self.stop.is_cancelled();
        if !verified.stopped {
            verified.has_loaded = !LedgerState::now(&*self.store, &self.backoff).await?.is(&before);
            self.find_origins(&mut verified).await?;
        }
        Ok(verified)
    }

    /// Collects the rows that the deliveries give.
    async fn expect(&self, verified: &mut Verified, state: &mut LedgerState) -> Result<(), StoreError> {
        let read_again = self.read_again();
        let mut all = Deliveries::patiently(&*self.store, &self.backoff, ledger::DeliveryFilter::All);
        while let Some(delivery) = all.next().await? {
            if self.stop.is_cancelled() {
                return Ok(());
            }
            state.add(&delivery);
            let tables = self.tables_of(&delivery, &mut verified.lost);
            if tables.is_empty() {
                continue;
            }
            let add = async |chunk: Arc<RowChunk>| {
                let rows = chunk.rows.len() * tables.len();
                self.expected.add(chunk).await?;
                self.paced.pause(rows, &self.stop).await;
                Ok(())
            };
            match read_again.delivery(&delivery, &tables, add).await? {
                ReadEnd::Done => {
                    verified.deliveries += 1;
                    verified.records += delivery.receipt.loaded;
                }
                ReadEnd::Stopped => return Ok(()),
                ReadEnd::Lost(why) => verified.lost.push(Lost::of(&delivery, tables, why)),
            }
        }
        Ok(())
    }

    fn read_again(&self) -> ReadAgain<'_, S, I> {
        ReadAgain {
            store: (&*self.store, &self.backoff),
            feeds: &self.feeds,
            stop: &self.stop,
            same_values: false,
        }
    }

    /// Returns the tables that have the records of a delivery. A table that is behind may have some of them, so it cannot be
    /// verified.
    fn tables_of(&self, delivery: &Delivery, lost: &mut Vec<Lost>) -> Vec<String> {
        let mut tables = Vec::new();
        if delivery.receipt.loaded == 0 || !delivery.counts() {
            return tables;
        }
        for (_, table, _) in &self.tables {
            let plan = self.feeds.of(&delivery.file).ok().map(|find| &find.plan);
            let count = delivery.receipt.tables.iter().find(|count| count.table == table.name);
            match (count, plan.map(|plan| plan.table(&table.name))) {
                (_, Some(Some((_, declared)))) if delivery.is_behind(declared) => {
                    let why = LostError::Declaration(table.name.clone());
                    lost.push(Lost::of(delivery, vec![table.name.clone()], why));
                }
                // Its feed does not fill this table.
                (None, _) => {}
                _ => tables.push(table.name.clone()),
            }
        }
        tables
    }

    async fn compare(
        &self,
        (index, table, how): (usize, &Table, &Comparison),
        repair: Option<&RowRepairs<'_, S>>,
    ) -> Result<VerifiedTable, StoreError> {
        let mut found = VerifiedTable { name: table.name.clone(), ..VerifiedTable::default() };
        let mut rows = TableRows::new(&*self.store, index, Vec::new());
        while let Some(page) = self.backoff_page(&mut rows).await? {
            if self.stop.is_cancelled() {
                return Ok(found);
            }
            let read = page.len();
            let page = self.expected.sampled(index, page);
            found.rows += page.len() as u64;
            let wrong = self.expected.compare(index, page, how.clone()).await?;
            if let Some(repair) = repair {
                found.repaired += repair.found(&wrong).await?;
            }
            for wrong in wrong {
                let count = match wrong.expected {
                    Some(_) => &mut found.different,
                    None => &mut found.extra,
                };
                *count += 1;
                if *count <= EXAMPLES as u64 {
                    found.examples.push(Example { row: wrong, origin: None });
                }
            }
            self.paced.pause(read, &self.stop).await;
        }
        if !how.expires {
            let (missing, rows) = self.expected.missing(index, EXAMPLES).await?;
            found.missing = missing;
            if let Some(repair) = repair {
                found.repaired += repair.missing().await?;
            }
            found.examples.extend(rows.into_iter().map(|row| Example { row, origin: None }));
        }
        Ok(found)
    }

    async fn backoff_page(
        &self,
        rows: &mut TableRows<'_, S>,
    ) -> Result<Option<Vec<crate::domain::TableRow>>, StoreError> {
        let (page, next) = self
            .backoff
            .with(|| {
                let mut next = rows.clone();
                async move { next.page().await.map(|page| (page, next)) }
            })
            .await?;
        *rows = next;
        Ok(page)
    }

    /// Finds file and line of the records that the examples should come from.
    async fn find_origins(&self, verified: &mut Verified) -> Result<(), StoreError> {
        let mut all = Deliveries::patiently(&*self.store, &self.backoff, ledger::DeliveryFilter::All);
        while let Some(delivery) = all.next().await? {
            for table in &mut verified.tables {
                for example in &mut table.examples {
                    let number = example.row.stamp.and_then(|stamp| delivery.stamps.number(stamp));
                    if let Some(number) = number {
                        let line = self.line_of(&delivery, number).await?;
                        example.origin = Some(SourceRecord { file: delivery.file.text().to_owned(), line });
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the line on which a record of a delivery begins.
    async fn line_of(&self, delivery: &Delivery, number: u64) -> Result<Option<u64>, StoreError> {
        let mut line = None;
        let look = async |chunk: Arc<RowChunk>| {
            let frame = chunk.frames.iter().find(|frame| frame.record == number);
            line = line.or(frame.map(|frame| frame.line));
            self.paced.pause(chunk.rows.len(), &self.stop).await;
            Ok(())
        };
        self.read_again().delivery(delivery, &[], look).await?;
        Ok(line)
    }
}
