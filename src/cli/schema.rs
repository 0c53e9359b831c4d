//! `needledrop schema`: the DDL, and making it so.

use std::io::Write;

use clap::Args;

use super::{Exit, Outcome};
use crate::app::App;
use crate::store::sqlite::{Access, schema};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Make the store and what is missing in it
    #[arg(long)]
    apply: bool,
}

pub fn run(app: &App, arguments: &Arguments) -> Outcome {
    if arguments.apply {
        app.open(Access::Write { create: true })?;
    }
    let mut out = std::io::stdout().lock();
    for table in &app.plan.tables {
        let answers = if table.answers.is_empty() { "no question given" } else { &table.answers };
        writeln!(out, "-- {}: {answers}\n{};\n", table.name, schema::create(&app.plan, table))?;
    }
    writeln!(out, "-- ledger and quarantine{}", schema::LEDGER)?;
    Ok(Exit::Done)
}
