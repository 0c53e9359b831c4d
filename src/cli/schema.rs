//! `needledrop schema`: prints the DDL and, with `--apply`, creates what is missing.

use std::io::Write;

use clap::Args;

use crate::cli::outcome::{CommandResult, Exit};
use crate::daemon::app::App;
use crate::store::{Access, Store};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Also create the store and its missing tables
    #[arg(long)]
    apply: bool,
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    if arguments.apply {
        app.open(Access::Write { create: true, standby: false }).await?.close().await;
    }
    let mut out = std::io::stdout().lock();
    for statement in app.backend()?.ddl(&app.schema) {
        writeln!(out, "{statement}")?;
    }
    Ok(Exit::Done)
}
