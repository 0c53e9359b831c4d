//! The quarantine entries that a command works on.

use std::path::PathBuf;

use clap::Args;

use crate::cli::outcome::Failure;
use crate::cli::{feed, load};
use crate::daemon::app::App;
use crate::domain::quarantine::{EntryFilter, Fate};
use crate::domain::similar::nearest;
use crate::domain::{Feed, Reason, ledger};
use crate::store::Store;
use crate::store::listing::newest;

#[derive(Debug, Args)]
pub struct Which {
    /// Only records of this feed
    #[arg(long, value_name = "NAME")]
    pub feed: Option<String>,
    /// Only records of this file: a path, relative to the inbox, or as `status` shows it (FEED//PATH)
    #[arg(long)]
    pub file: Option<PathBuf>,
    #[arg(long, help = reasons())]
    pub reason: Option<String>,
    /// Only records with an invalid value in this column
    #[arg(long)]
    pub column: Option<String>,
}

/// Describes `--reason`.
fn reasons() -> String {
    format!("Only records with this reason: {}", Reason::ALL.map(Reason::name).join(", "))
}

impl Which {
    pub fn is_all(&self) -> bool {
        self.feed.is_none() && self.file.is_none() && self.reason.is_none() && self.column.is_none()
    }

    pub async fn chosen(&self, app: &App, store: &impl Store) -> Result<Chosen, Failure> {
        let asked = self.feed.as_deref();
        let feed = feed::asked(app, asked)?;
        if let Some(reason) = self.reason.as_ref().filter(|reason| Reason::from_name(reason).is_none()) {
            let known = Reason::ALL.map(Reason::name).join(", ");
            return Err(Failure::usage(format!(
                "there is no reason `{reason}`\n  next: choose from {known}"
            )));
        }
        self.column.as_deref().map_or(Ok(()), |name| known_column(app, name))?;
        let deliveries = match &self.file {
            Some(file) => {
                let key = load::known_file(app, store, (file, asked)).await?;
                if newest(store, &key).await?.is_none() {
                    return Err(load::not_in_ledger(&key));
                }
                ledger::DeliveryFilter::Path(key)
            }
            None => ledger::DeliveryFilter::Quarantined,
        };
        let (reason, column) = (self.reason.clone(), self.column.clone());
        let entries = EntryFilter { reason, column, fate: Some(Fate::Open), ..EntryFilter::default() };
        Ok(Chosen { deliveries, feed: feed.cloned(), entries })
    }
}

/// The requested entries, and the deliveries they belong to.
pub struct Chosen {
    pub deliveries: ledger::DeliveryFilter,
    /// The only feed whose deliveries are meant.
    pub feed: Option<Feed>,
    pub entries: EntryFilter,
}

/// Checks that a feed declares this column.
pub fn known_column(app: &App, name: &str) -> Result<(), Failure> {
    let columns = app.feeds.values().flat_map(|feed| &feed.plan.columns);
    let names: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
    if names.contains(&name) {
        return Ok(());
    }
    let near = nearest(name, names.iter().copied())
        .map(|near| format!("did you mean `{near}`? "))
        .unwrap_or_default();
    let names = names.join(", ");
    Err(Failure::usage(format!("there is no column `{name}`\n  next: {near}choose from {names}")))
}
