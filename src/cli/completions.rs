//! `needledrop completions`: for the shell.

use clap::Args;
use clap_complete::Shell;

use super::{Exit, Outcome, definition};

#[derive(Debug, Args)]
pub struct Arguments {
    shell: Shell,
}

pub fn run(arguments: &Arguments) -> Outcome {
    clap_complete::generate(arguments.shell, &mut definition(), "needledrop", &mut std::io::stdout().lock());
    Ok(Exit::Done)
}
