//! The quarantine entries that a command works on.

use std::path::PathBuf;

use clap::Args;

use crate::cli::load;
use crate::cli::outcome::Failure;
use crate::daemon::app::App;
use crate::domain::quarantine::{EntryFilter, Fate};
use crate::domain::{Plan, Reason, ledger};
use crate::store::Store;

#[derive(Debug, Args)]
pub struct Which {
    /// Only records of this file
    #[arg(long)]
    pub file: Option<PathBuf>,
    /// Only records with this reason
    #[arg(long)]
    pub reason: Option<String>,
    /// Only records with an invalid value in this column
    #[arg(long)]
    pub column: Option<String>,
}

impl Which {
    pub fn is_all(&self) -> bool {
        self.file.is_none() && self.reason.is_none() && self.column.is_none()
    }

    pub async fn chosen(&self, app: &App, store: &impl Store) -> Result<Chosen, Failure> {
        if let Some(reason) = self.reason.as_ref().filter(|reason| Reason::from_name(reason).is_none()) {
            let known = Reason::ALL.map(Reason::name).join(", ");
            return Err(Failure::usage(format!(
                "there is no reason `{reason}`\n  next: choose from {known}"
            )));
        }
        self.column.as_deref().map_or(Ok(()), |name| known_column(&app.plan, name))?;
        let deliveries = match &self.file {
            Some(file) => ledger::DeliveryFilter::Path(load::known_file(app, store, file).await?),
            None => ledger::DeliveryFilter::Quarantined,
        };
        let (reason, column) = (self.reason.clone(), self.column.clone());
        let entries = EntryFilter { reason, column, fate: Some(Fate::Open), ..EntryFilter::default() };
        Ok(Chosen { deliveries, entries })
    }
}

/// The requested entries, and the deliveries they belong to.
pub struct Chosen {
    pub deliveries: ledger::DeliveryFilter,
    pub entries: EntryFilter,
}

pub fn known_column(plan: &Plan, name: &str) -> Result<(), Failure> {
    if plan.columns.iter().any(|column| column.name == name) {
        return Ok(());
    }
    let names: Vec<&str> = plan.columns.iter().map(|column| column.name.as_str()).collect();
    let names = names.join(", ");
    Err(Failure::usage(format!("there is no column `{name}`\n  next: choose from {names}")))
}
