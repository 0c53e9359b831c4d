//! `needledrop status`: prints deliveries by state, the backlog, the tables and the newest deliveries.

mod backlog;
mod counted;
mod json;
mod text;
mod verified;

use std::io::{BufWriter, Write};

use clap::Args;
use serde_json::Map;

use super::feed;
use super::render::Elements;
use crate::cli::outcome::{CommandResult, Exit};
use crate::cli::render;
use crate::cli::status::counted::Status;
use crate::daemon::app::App;
use crate::domain::ledger::DeliveryFilter;
use crate::jobs::verification::Verification;
use crate::store::listing::Deliveries;
use crate::store::{Access, Ledger, StoreError};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only this feed: its deliveries, its files and its tables
    #[arg(long, value_name = "NAME")]
    feed: Option<String>,
    /// Also count the rows that are in each table now
    #[arg(long)]
    count: bool,
    /// Among the newest deliveries, also show those that a newer generation of their file has replaced
    #[arg(long)]
    all: bool,
    /// Print the status with all deliveries as JSON
    #[arg(long)]
    json: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    let store = match app.open(Access::Read).await {
        Ok(store) => Some(store),
        // Before the first load there is no store, which is not a failure.
        Err(StoreError::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let asked = feed::asked(app, arguments.feed.as_deref())?.cloned();
    let (mut status, plans) = (Status::new(app, asked.clone()).await, app.plans());
    if let Some(store) = &store {
        store.each(&mut |delivery| status.add(&plans, delivery)).await?;
        status.verification = Verification::last(store).await?;
        status.interrupted = store.interrupted_undos().await?;
        if arguments.count {
            status.count(store).await?;
        }
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    if arguments.json {
        let mut elements = Elements::field(&mut out, &json::status(&status, app), "deliveries")?;
        if let Some(store) = &store {
            let mut all = Deliveries::new(store, DeliveryFilter::All).of(asked);
            while let Some(one) = all.next().await? {
                elements.push(&render::delivery(&one).into())?;
            }
        }
        elements.end(&Map::new())?;
    } else {
        text::status(&status, app, arguments.all, &mut out)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}
