//! `needledrop completions`: for the shell.

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use super::{Exit, Outcome, definition};

#[derive(Debug, Args)]
pub struct Arguments {
    shell: Shell,
}

pub fn run(arguments: &Arguments) -> Outcome {
    // Into memory first: the generator panics when nobody takes its output any more.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut definition(), "needledrop", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}
