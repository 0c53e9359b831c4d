//! `needledrop man`: prints the manual page in roff, or writes a page for every command into a folder.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use crate::cli::outcome::{CommandResult, Exit, Failure};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Write needledrop.1 and a page for each command into this existing folder
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

pub fn run(definition: Command, arguments: &Arguments) -> CommandResult {
    match &arguments.folder {
        None => Man::new(definition).render(&mut io::stdout().lock())?,
        Some(folder) => {
            let mut definition = definition.disable_help_subcommand(true);
            definition.build();
            let source = format!("needledrop {}", definition.get_version().unwrap_or_default());
            pages(definition, folder, &source).map_err(|error| {
                Failure::system(format!(
                    "{}: {error}\n  next: name a folder that can be written to",
                    folder.display()
                ))
            })?;
        }
    }
    Ok(Exit::Done)
}

/// Writes the pages of a command and its subcommands. `source` is the program with its version, which subcommands lack.
fn pages(command: Command, folder: &Path, source: &str) -> io::Result<()> {
    command.get_subcommands().cloned().try_for_each(|command| pages(command, folder, source))?;
    Man::new(command).source(source).generate_to(folder).map(|_| ())
}
