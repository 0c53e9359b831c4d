//! `needledrop quarantine`: lists, shows, replays and discards records that could not become rows.

mod cells;
mod list;
mod settle;
mod show;
mod chosen;
mod object;

use clap::{Args, Subcommand};

use crate::cli::outcome::CommandResult;
use crate::daemon::app::App;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List open entries
    List(list::Arguments),
    /// Show one record with its invalid field marked
    Show(show::Arguments),
    /// Try open records again under the current configuration
    ///
    /// Records that pass are loaded exactly once, in their own place in the order of all records. The others stay open
    /// with their new reason. The file is needed only if not all of a record was kept (it is longer than
    /// limits.max_record_bytes, or than a request to Cassandra), or not its header. Exit 1 if records that were tried are
    /// still open.
    Replay(settle::Replay),
    /// Mark open records as never to be loaded; the receipt still counts them
    Discard(settle::Discard),
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    match &arguments.command {
        Command::List(arguments) => list::run(app, arguments).await,
        Command::Show(arguments) => show::run(app, arguments).await,
        Command::Replay(arguments) => settle::replay(app, arguments).await,
        Command::Discard(arguments) => settle::discard(app, arguments).await,
    }
}
