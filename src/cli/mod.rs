//! The command line, with one file or folder per command. Results go to stdout, logs and progress to stderr.

mod check;
mod completions;
mod export;
mod feed;
mod first_records;
mod guard;
mod health;
mod init;
mod left_out;
mod load;
mod logging;
mod man;
mod progress;
mod quarantine;
mod query;
mod receipt;
mod refusals;
mod render;
mod replacement;
mod run;
mod sample;
mod schema;
mod states;
mod status;
mod summary;
mod undo;
mod verify;
mod outcome;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::fs::Mode;
use rustix::process::umask;

use crate::cli::outcome::{CommandResult, Failure};
use crate::config::Layers;
use crate::daemon::app::App;
use crate::source::folder::hooks;
use crate::source::folder::hooks::Hooks;
use crate::store::failpoint;

/// The version with the commit, for bug reports.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("NEEDLEDROP_COMMIT"), ")");

/// Drop a CSV into a folder; it plays into your tables.
#[derive(Debug, Parser)]
#[command(name = "needledrop", version = VERSION, about, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 everything is done, or the daemon was asked to stop; 1 done, but something \
needs attention: records were quarantined, or are still open after a replay; a delivery failed, is incomplete or was \
replaced; a file could not be read, moved or exported, waits for its header or its writer, has a name that is not \
UTF-8, or is not in the ledger; 2 wrong usage or configuration; 3 the store, an inbox or the system failed, see the \
message; 4 stopped before the end, the same command resumes. `run --once` reports only what is new: what an earlier \
run reported is in `needledrop status`."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// The configuration file, which init, sample, completions and man do not read [default: config/needledrop.yaml if it
    /// exists, else the built-in configuration]
    #[arg(long, global = true, value_name = "FILE", env = "NEEDLEDROP_CONFIG")]
    config: Option<PathBuf>,
    /// The log level (error, warn, info, debug or trace), or filters such as needledrop=debug
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: load the files in the inbox, and new files as they arrive
    Run(run::Arguments),
    /// Load the given files or folders now
    Load(load::Arguments),
    /// Propose a configuration for files like the given one
    Init(init::Arguments),
    /// Check the configuration, the inbox, the store and the tables, and try the first records of the newest files;
    /// change nothing
    Check,
    /// Print the CREATE statements of the tables, the ledger and the quarantine
    Schema(schema::Arguments),
    /// Check whether the daemon is alive or ready; exit 1 if it is not
    Health(health::Arguments),
    /// Show deliveries by state, the backlog, and rows per table
    Status(status::Arguments),
    /// Show the receipt of a delivery; exit 1 unless it is loaded, undone, a duplicate, or replaced by a generation that is, and
    /// its receipt closes without open records in quarantine
    Receipt(receipt::Arguments),
    /// Show the rows of a table that have this key
    Query(query::Arguments),
    /// Write the records of the files in inbox and archive as one CSV that can be loaded again, except discarded ones and
    /// those that the current configuration does not accept; exit 1 if a file cannot be exported
    Export(export::Arguments),
    /// List, show, replay or discard records that could not become rows
    Quarantine(quarantine::Arguments),
    /// Take back what a delivery wrote; values of other deliveries for the same keys come back
    ///
    /// Stop the daemon first. The file stays where it is, and is loaded again only by `load --again`. Exit 1 if files
    /// with values for the same keys cannot be read again; nothing is undone then unless --force is given.
    Undo(undo::Arguments),
    /// Compare the tables with the kept files; exit 1 if a row is missing, different or extra, or a file cannot be read
    Verify(verify::Arguments),
    /// Generate sample event files to try needledrop with
    Sample(sample::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Arguments),
    /// Print the manual page
    Man(man::Arguments),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    hooks::install(Hooks { step: failpoint::step, read: failpoint::read });
    let cli = Cli::parse();
    let outcome = match runtime() {
        Ok(runtime) => {
            let outcome = runtime.block_on(command(cli));
            // A thread may wait for an inbox that does not answer. Nothing is lost if the process ends first: the work
            // that counts has ended, and all other work is safe to interrupt.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Failure::system(error)),
    };
    let exit = outcome.unwrap_or_else(|failure| {
        if !failure.message.is_empty() {
            eprintln!("needledrop: {}", render::indented(&failure.message));
        }
        failure.exit
    });
    ExitCode::from(exit as u8)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    // A run has only a few tasks that compute, so more threads would only wait.
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Restricts the permissions of new files, because they contain data. Others get no access and the group can only read,
/// whatever umask the process was started with.
fn keep_from_others(command: &Command) {
    let is_for_people =
        matches!(command, Command::Init(_) | Command::Sample(_) | Command::Completions(_) | Command::Man(_));
    if !is_for_people {
        let strict = Mode::WGRP | Mode::RWXO;
        let asked = umask(strict);
        umask(asked | strict);
    }
}

async fn command(cli: Cli) -> CommandResult {
    let Cli { global, command } = cli;
    keep_from_others(&command);
    match command {
        Command::Init(arguments) => init::run(&arguments).await,
        Command::Sample(arguments) => sample::run(&arguments),
        Command::Completions(arguments) => completions::run(definition(), &arguments),
        Command::Man(arguments) => man::run(definition(), &arguments),
        Command::Check => check::run(&global.layers(Vec::new())).await,
        Command::Health(arguments) => health::run(&global.layers(Vec::new()), &arguments).await,
        Command::Run(arguments) => {
            let app = global.app(arguments.flags())?;
            run::run(&app, &arguments).await
        }
        Command::Load(arguments) => load::run(&global.app(Vec::new())?, &arguments).await,
        Command::Schema(arguments) => schema::run(&global.app(Vec::new())?, &arguments).await,
        Command::Status(arguments) => status::run(&global.app(Vec::new())?, &arguments).await,
        Command::Receipt(arguments) => receipt::run(&global.app(Vec::new())?, &arguments).await,
        Command::Query(arguments) => query::run(&global.app(Vec::new())?, &arguments).await,
        Command::Export(arguments) => export::run(&global.app(Vec::new())?, &arguments).await,
        Command::Quarantine(arguments) => quarantine::run(&global.app(Vec::new())?, &arguments).await,
        Command::Verify(arguments) => verify::run(&global.app(Vec::new())?, &arguments).await,
        Command::Undo(arguments) => undo::run(&global.app(Vec::new())?, &arguments).await,
    }
}

impl Global {
    fn layers(&self, mut flags: Vec<(&'static str, String)>) -> Layers {
        if let Some(level) = &self.log_level {
            flags.push(("log.level", level.clone()));
        }
        Layers { file: self.config.clone(), environment: std::env::vars().collect(), flags }
    }

    /// Loads the configuration and starts logging as it is configured.
    fn app(&self, flags: Vec<(&'static str, String)>) -> Result<App, Failure> {
        let app = App::load(&self.layers(flags))?;
        logging::begin(&app.config.log)?;
        Ok(app)
    }
}

/// Returns the command line as clap knows it, for completions and the manual.
fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
