//! `needledrop man`: prints the manual page in roff, or writes a page for every command into a folder.

use std::path::PathBuf;

use clap::{Args, Command};

use crate::cli::outcome::{CommandResult, Exit, Failure};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Write needledrop.1 and a page for each command into this folder
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub fn run(definition: Command, arguments: &Arguments) -> CommandResult {
    match &arguments.folder {
        None => clap_mangen::Man::new(definition).render(&mut std::io::stdout().lock())?,
        Some(folder) => clap_mangen::generate_to(definition, folder).map_err(|error| {
            Failure::system(format!(
                "{}: {error}\n  next: name a folder that can be written to",
                folder.display()
            ))
        })?,
    }
    Ok(Exit::Done)
}
