//! `needledrop quarantine`: records that could not become rows, and what is to become of them.

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
    /// Show one record, with the field that is to blame marked
    Show(show::Arguments),
    /// Try open records once more, by the configuration of now
    ///
    /// Those that pass are loaded exactly once, in their own place in the order of all records; the others stay
    /// open with their new reason. The file may be gone, unless a record is longer than its kept beginning.
    /// Exit 1 when records that were tried are still open.
    Replay(settle::Replay),
    /// Mark open records as not to be loaded; they are kept for the account
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
