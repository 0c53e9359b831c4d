//! The command line: one file a command. Results go to stdout, logs and progress to stderr.

mod check;
mod completions;
mod export;
mod guard;
mod health;
mod init;
mod load;
mod logging;
mod man;
mod progress;
mod quarantine;
mod query;
mod receipt;
mod render;
mod run;
mod sample;
mod schema;
mod states;
mod status;
mod summary;
mod outcome;

use crate::cli::outcome::{CommandResult, Failure};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::fs::Mode;
use rustix::process::umask;

use crate::config::Layers;
use crate::daemon::app::App;
use crate::source::folder::hooks;
use crate::source::folder::hooks::Hooks;
use crate::store::failpoint;

/// With the commit, for whoever reports something.
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("NEEDLEDROP_COMMIT"), ")");

/// Drop a CSV into a folder; it plays into your tables.
#[derive(Debug, Parser)]
#[command(name = "needledrop", version = VERSION, about, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 all done and closed, or a daemon asked to stop; 1 done, but records were \
quarantined or stay so after a replay, a delivery failed, is incomplete or was replaced, or a file could \
not be read or moved; 2 wrong usage or configuration; 3 the store or the system would not, try again; \
4 stopped before the end, resumable."
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Global {
    /// The configuration [default: config/needledrop.yaml if it is there, else the built-in one]
    #[arg(long, global = true, value_name = "FILE", env = "NEEDLEDROP_CONFIG")]
    config: Option<PathBuf>,
    /// error, warn, info, debug, trace, or filters like needledrop=debug
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: load what is there and what will be dropped
    Run(run::Arguments),
    /// Load these files or folders now
    Load(load::Arguments),
    /// Write a first configuration for files like this one
    Init(init::Arguments),
    /// Check configuration, folder, store and schema
    Check,
    /// Print the DDL of the tables, the ledger and the quarantine
    Schema(schema::Arguments),
    /// Whether the daemon lives, or is ready; exit 1 if not
    Health(health::Arguments),
    /// Deliveries by state, backlog, rows per table
    Status(status::Arguments),
    /// The account of a delivery; exit 1 unless it is loaded, closes, and has no open record in quarantine
    Receipt(receipt::Arguments),
    /// The rows of one partition of a table
    Query(query::Arguments),
    /// The consolidated events of the files at hand, as CSV
    Export(export::Arguments),
    /// Records that could not become rows
    Quarantine(quarantine::Arguments),
    /// Make event files to try things with
    Sample(sample::Arguments),
    /// Print completions for a shell
    Completions(completions::Arguments),
    /// Print the manual page
    Man(man::Arguments),
}

/// Runs the command line.
pub fn main() -> ExitCode {
    hooks::install(Hooks { step: failpoint::step, read: failpoint::read });
    let cli = Cli::parse();
    let outcome = match runtime() {
        Ok(runtime) => runtime.block_on(command(cli)),
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
    // One task a stage: more threads than that would only wait.
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// What is made holds data: it is for its user and, to read, for his group, whatever was asked for.
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
    }
}

impl Global {
    fn layers(&self, mut flags: Vec<(&'static str, String)>) -> Layers {
        if let Some(level) = &self.log_level {
            flags.push(("log.level", level.clone()));
        }
        Layers { file: self.config.clone(), environment: std::env::vars().collect(), flags }
    }

    /// The configuration, with logging begun as it says.
    fn app(&self, flags: Vec<(&'static str, String)>) -> Result<App, Failure> {
        let app = App::load(&self.layers(flags))?;
        logging::begin(&app.config.log)?;
        Ok(app)
    }
}

/// The command line as clap knows it, for completions and the manual.
fn definition() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
