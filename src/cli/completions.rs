//! `needledrop completions`: prints a completion script for a shell.

use std::io::Write;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::cli::outcome::{CommandResult, Exit};

#[derive(Debug, Args)]
pub struct Arguments {
    shell: Shell,
}

pub fn run(mut definition: Command, arguments: &Arguments) -> CommandResult {
    // The script is generated in memory first, because the generator panics if its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut definition, "needledrop", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}
