//! `needledrop quarantine replay` and `discard`: settle open records.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use clap::Args;
use serde_json::{Map, Value as Json, json};
use tokio_util::sync::CancellationToken;

use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::cli::quarantine::chosen::{Chosen, Which};
use crate::cli::render;
use crate::cli::render::grouped;
use crate::daemon::app::App;
use crate::daemon::signals;
use crate::domain::TableDelta;
use crate::jobs::replay::settled::Settled;
use crate::jobs::replay::{Replayer, What};
use crate::source::backend::AnySource;
use crate::store::backend::AnyStore;
use crate::store::{Access, Store, StoreError};

#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    which: Which,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub struct Discard {
    #[command(flatten)]
    which: Which,
    /// Discard every open record
    #[arg(long, conflicts_with_all = ["feed", "file", "reason", "column"])]
    all: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub async fn replay(app: &App, arguments: &Replay) -> CommandResult {
    let sum = settle(app, &arguments.which, What::Replay, arguments.json).await?;
    Ok(match sum.open.is_empty() {
        _ if sum.stopped => Exit::Stopped,
        false => Exit::Short,
        true => Exit::Done,
    })
}

pub async fn discard(app: &App, arguments: &Discard) -> CommandResult {
    if arguments.which.is_all() && !arguments.all {
        let message = "no records are selected\n  \
                       next: select records with --feed, --file, --reason or --column, or discard all with --all";
        return Err(Failure::usage(message));
    }
    let sum = settle(app, &arguments.which, What::Discard, arguments.json).await?;
    Ok(if sum.stopped { Exit::Stopped } else { Exit::Done })
}

/// Settles all requested records and reports each delivery as it is finished.
async fn settle(app: &App, which: &Which, what: What, as_json: bool) -> Result<Sum, Failure> {
    let (replayer, sample) = (replayer(app, which).await?, app.collision_sample());
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut report = match as_json {
        true => Report::Json(render::Elements::field(&mut out, &Map::new(), "deliveries")?),
        false => Report::Text(&mut out),
    };
    let work = async {
        let (mut run, mut sum, mut written) = (replayer.run(what), Sum::default(), Ok(()));
        while let Some(settled) = run.next().await? {
            // The run continues even if nothing reads its output any more.
            written = written.and_then(|()| report.delivery(what, &settled));
            sum.add(&settled);
        }
        sum.stopped = run.stopped;
        Ok::<_, StoreError>((sum, written))
    };
    let ended = signals::with_signals(replayer.stop.clone(), work).await?;
    replayer.store.close().await;
    let (sum, written) = ended?;
    written.and_then(|()| report.end(what, &sum, sample))?;
    out.flush()?;
    Ok(sum)
}

/// The output of a run, in one of two formats.
enum Report<W> {
    Json(render::Elements<W>),
    Text(W),
}

impl<W: Write> Report<W> {
    fn delivery(&mut self, what: What, settled: &Settled) -> io::Result<()> {
        match (self, what) {
            (Self::Json(elements), What::Replay) => elements.push(&replayed_json(settled)),
            (Self::Json(elements), What::Discard) => elements.push(&discarded_json(settled)),
            (Self::Text(out), _) => untried(out, settled),
        }
    }

    fn end(self, what: What, sum: &Sum, sample: u64) -> io::Result<()> {
        match (self, what) {
            (Self::Json(elements), What::Replay) => elements.end(&sum.replayed_json(sample)),
            (Self::Json(elements), What::Discard) => elements.end(&sum.discarded_json()),
            (Self::Text(mut out), What::Replay) => sum.replayed_text(&mut out, sample),
            (Self::Text(mut out), What::Discard) => writeln!(
                out,
                "discarded   {} records of {} deliveries",
                grouped(sum.discarded),
                sum.deliveries
            ),
        }
    }
}

/// Opens the store for writing, but does not create one.
async fn replayer(app: &App, which: &Which) -> Result<Replayer<AnyStore, AnySource>, Failure> {
    let Chosen { deliveries, feed, entries } = {
        let store = app.open(Access::Read).await?;
        which.chosen(app, &store).await?
    };
    let (stop, patience) = (CancellationToken::new(), Some(*app.config.store.patience));
    let store = app.open_with_backoff(false, patience, &stop, &Arc::default()).await?;
    Ok(Replayer {
        store: Arc::new(store),
        feeds: app.find(),
        backoff: app.patience(&stop),
        stop,
        deliveries,
        feed,
        filter: entries,
        scratch: app.scratch(None),
    })
}

/// The totals of all deliveries.
#[derive(Default)]
struct Sum {
    stopped: bool,
    deliveries: u64,
    tried: u64,
    loaded: u64,
    skipped: u64,
    discarded: u64,
    open: BTreeMap<&'static str, u64>,
    tables: BTreeMap<String, TableDelta>,
    /// The number of deliveries whose other records were loaded under another declaration.
    others: u64,
}

impl Sum {
    fn add(&mut self, settled: &Settled) {
        self.deliveries += 1;
        self.tried += settled.tried();
        self.loaded += settled.loaded;
        self.skipped += settled.skipped;
        self.discarded += settled.discarded;
        self.others += u64::from(settled.other_declaration && settled.loaded > 0);
        for (reason, count) in &settled.open {
            *self.open.entry(reason).or_default() += count;
        }
        for (table, delta) in &settled.tables {
            self.tables.entry(table.clone()).or_default().add(delta);
        }
    }

    fn tables(&self) -> impl Iterator<Item = (String, TableDelta)> {
        self.tables.clone().into_iter()
    }

    fn replayed_json(&self, sample: u64) -> Map<String, Json> {
        let fields = json!({
            "stopped": self.stopped,
            "tried": self.tried,
            "loaded": self.loaded,
            "skipped": self.skipped,
            "discarded": self.discarded,
            "open": self.open.values().sum::<u64>(),
            "reasons": self.open,
            "tables": render::tables_json(self.tables(), sample),
        });
        fields.as_object().cloned().unwrap_or_default()
    }

    fn discarded_json(&self) -> Map<String, Json> {
        let fields = json!({ "stopped": self.stopped, "discarded": self.discarded });
        fields.as_object().cloned().unwrap_or_default()
    }

    fn replayed_text(&self, out: &mut impl Write, sample: u64) -> io::Result<()> {
        writeln!(
            out,
            "replayed    {} tried = {} loaded + {} skipped + {} still open",
            grouped(self.tried),
            grouped(self.loaded),
            grouped(self.skipped),
            grouped(self.open.values().sum()),
        )?;
        let rows = render::tables_text(self.tables(), sample);
        if !rows.is_empty() {
            render::table(out, &["tables", "rows", "collisions", ""], &rows)?;
        }
        if !self.open.is_empty() {
            let reason = |(reason, count): (&&str, &u64)| format!("{} {reason}", grouped(*count));
            let reasons: Vec<String> = self.open.iter().map(reason).collect();
            writeln!(out, "still open  {}: see `needledrop quarantine list`", reasons.join(", "))?;
        }
        if self.discarded > 0 {
            let records = grouped(self.discarded);
            writeln!(
                out,
                "discarded   {records} records of files whose bytes are loaded under another name"
            )?;
        }
        match self.others {
            0 => Ok(()),
            n => writeln!(
                out,
                "note        {n} deliveries have other records that were loaded under another declaration: see \
                 `behind` in `needledrop status`"
            ),
        }
    }
}

fn replayed_json(settled: &Settled) -> Json {
    json!({
        "feed": settled.file.feed(),
        "file": settled.file.path(),
        "generation": settled.generation,
        "tried": settled.tried(),
        "loaded": settled.loaded,
        "skipped": settled.skipped,
        "discarded": settled.discarded,
        "open": settled.open.values().sum::<u64>(),
        "other_declaration": settled.other_declaration,
        "untried": settled.untried,
    })
}

fn discarded_json(settled: &Settled) -> Json {
    json!({
        "feed": settled.file.feed(), "file": settled.file.path(), "generation": settled.generation,
        "discarded": settled.discarded,
    })
}

fn untried(out: &mut impl Write, settled: &Settled) -> io::Result<()> {
    let Some(why) = &settled.untried else { return Ok(()) };
    let (file, why) = (render::printable(settled.file.text()), render::printable(&why.replace('\n', "")));
    writeln!(out, "untried     some records of {file}: {why}")
}
