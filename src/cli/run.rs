//! `needledrop run`: runs the daemon, or makes one pass with `--once`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::load;
use crate::cli::outcome::{CommandResult, Exit};
use crate::daemon::app::App;
use crate::daemon::signals;
use crate::daemon::single_pass::LoadOptions;
use crate::pipeline::messages::{Ended, LoadMode, Scope};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Load the files that are in the inbox now, then exit
    #[arg(long)]
    once: bool,
    /// With --once: only report what would be loaded; write nothing and create no store
    #[arg(long, requires = "once")]
    dry_run: bool,
    /// With --once: print the summary as JSON
    #[arg(long, requires = "once")]
    json: bool,
    /// The inbox, instead of source.folder (not with named feeds)
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// The address of /metrics and the probes, instead of http.listen; no effect with --once
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<String>,
}

impl Arguments {
    /// Returns the settings that were given as flags.
    pub fn flags(&self) -> Vec<(&'static str, String)> {
        let folder = self.folder.as_ref().map(|folder| ("source.folder", folder.display().to_string()));
        let listen = self.listen.as_ref().map(|listen| ("http.listen", listen.clone()));
        folder.into_iter().chain(listen).collect()
    }
}

pub async fn run(app: &App, arguments: &Arguments) -> CommandResult {
    if arguments.once {
        let missing = app.check_inboxes().await?;
        let began = Instant::now();
        let listing = load::list(app, app.feeds.values()).await?;
        let options = LoadOptions { mode: LoadMode::New, dry_run: arguments.dry_run };
        let (scope, left_out) = (Scope::Once(listing.files), listing.left_out);
        let exit = load::files(app, scope, &left_out, options, arguments.json, began).await?;
        return match missing.into_iter().next() {
            Some(missing) if exit != Exit::Stopped => Err(missing.into()),
            _ => Ok(exit),
        };
    }
    let stop = CancellationToken::new();
    let ended = signals::with_signals(stop.clone(), app.daemon(stop)).await??;
    Ok(if ended == Ended::GraceOver { Exit::Stopped } else { Exit::Done })
}
