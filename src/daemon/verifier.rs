//! Prepares a verification under the current configuration.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::daemon::app::App;
use crate::domain::verify::Comparison;
use crate::domain::{Sample, Share, Table};
use crate::jobs::paced::Paced;
use crate::jobs::verify::Verifier;
use crate::source::backend::AnySource;
use crate::store::StoreError;
use crate::store::backend::AnyStore;

/// How much a verification reads, and how fast.
pub struct VerifyOptions {
    /// The tables to compare, by their indexes in the schema.
    pub tables: Vec<usize>,
    /// `None` means all rows.
    pub share: Option<Share>,
    /// 0 means no limit.
    pub rows_per_second: u64,
    /// Whether wrong rows are rewritten. The store must be open for writing.
    pub repairs: bool,
    /// The folder for the file of expected rows. `None` means that for temporary files.
    pub scratch: Option<PathBuf>,
}

impl App {
    /// Returns a verification of the tables of a store.
    ///
    /// # Errors
    /// Returns an error if the file of expected rows cannot be created.
    pub fn verifier(
        &self,
        store: Arc<AnyStore>,
        options: VerifyOptions,
        stop: &CancellationToken,
    ) -> Result<Verifier<AnyStore, AnySource>, StoreError> {
        let VerifyOptions { tables, share, rows_per_second, repairs, scratch } = options;
        let expected = self.scratch(scratch).create("verify")?;
        let compared = |index: usize| {
            let table = self.schema.tables.get(index)?.clone();
            let how = self.comparison(&table);
            Some((index, table, how))
        };
        Ok(Verifier {
            store,
            feeds: self.find(),
            backoff: self.patience(stop),
            stop: stop.clone(),
            expected: expected.sampling(share.map(Sample::new)),
            paced: Paced::new(rows_per_second),
            tables: tables.into_iter().filter_map(compared).collect(),
            repairs,
        })
    }

    fn comparison(&self, table: &Table) -> Comparison {
        let is_shared = self.config.store.has_static_columns();
        let statics =
            table.all().enumerate().filter(|(_, column)| is_shared && table.statics.contains(column));
        let left_out = statics.map(|(at, _)| at).collect();
        let expires = table.options.iter().any(|(name, _)| name == "default_time_to_live");
        Comparison { left_out, expires }
    }
}
