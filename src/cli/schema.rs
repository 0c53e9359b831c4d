//! `needledrop schema`: the DDL, and making it so.

use std::io::Write;

use clap::Args;

use super::{Exit, Outcome};
use crate::app::App;
use crate::config::Kind;
use crate::store::{Access, Store, cassandra, sqlite};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Make the store and what is missing in it
    #[arg(long)]
    apply: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> Outcome {
    if arguments.apply {
        app.open(Access::Write { create: true, standby: false }).await?.close().await;
    }
    let mut out = std::io::stdout().lock();
    match app.config.store.kind {
        Kind::Sqlite => {
            for table in &app.plan.tables {
                let answers = if table.answers.is_empty() { "no question given" } else { &table.answers };
                let ddl = sqlite::schema::create(&app.plan, table);
                writeln!(out, "-- {}: {answers}\n{ddl};\n", table.name)?;
            }
            writeln!(out, "-- ledger and quarantine{}", sqlite::schema::LEDGER)?;
        }
        Kind::Cassandra => {
            for ddl in cassandra::schema::ddl(&app.cassandra()?, &app.plan) {
                writeln!(out, "{ddl};\n")?;
            }
        }
    }
    Ok(Exit::Done)
}
