//! `needledrop completions`: for the shell.

use std::io::Write;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::cli::outcome::CommandResult;
use crate::cli::outcome::Exit;

#[derive(Debug, Args)]
pub struct Arguments {
    shell: Shell,
}

pub fn run(mut definition: Command, arguments: &Arguments) -> CommandResult {
    // Into memory first: the generator panics when nobody takes its output any more.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut definition, "needledrop", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}
