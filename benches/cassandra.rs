//! Measures how many rows per second a loader writes into one real Cassandra node on the same machine, the CPU time
//! and the memory of the loader, and the time from the drop of a file to the answer. Compares needledrop with other
//! loaders.
//!
//! needledrop is the shipped binary, measured from start to exit, with lease and ledger in a keyspace of its own.
//! Keyspaces and tables are created before the clocks start, for every loader. `cassandra/reference.rs` describes the
//! reference clients. Every loader writes the same rows.
//! With `--peers`, cqlsh COPY and DSBulk must run. Without it they run only if they have been fetched.
//! `NEEDLEDROP_BENCH_SCALE` replaces the factor 50 for the number of listeners. `NEEDLEDROP_BENCH_BIG` sets how many
//! times larger the big input is (0 leaves it out). `NEEDLEDROP_BENCH_PAIRS` sets how many pairs count.

mod common;

mod cassandra {
    pub mod cluster;
    pub mod figures;
    pub mod node;
    pub mod peers;
    pub mod reference;
    pub mod statements;
    pub mod table;

    /// The measurements of one load of all events.
    #[derive(Clone, Copy)]
    pub struct Run {
        pub seconds: f64,
        pub cpu: f64,
        /// Peak memory in bytes; 0 if it was not measured.
        pub peak: u64,
    }
}

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use cassandra::cluster::Cluster;
use cassandra::figures::{Figures, mib};
use cassandra::node::Node;
use cassandra::{Run, peers, reference, table};
use common::drops::Drops;
use common::{Outcome, Scratch};

/// Drops that are not counted, because a JVM is slow at first.
const COLD: usize = 20;

/// Pairs that are not counted, because a JVM is slow at first.
const COLD_PAIRS: u32 = 2;

/// The ratio of one pair varies by up to a tenth, because the node's JVM does other work besides the load. With
/// this many pairs the error of the median is a quarter of that.
const PAIRS: u32 = 21;

/// The number of `--single` loads. Each takes a while, and the second digit of the result does not matter.
const SINGLES: usize = 2;

const OURS: &str = "bench_ours";
const THEIRS: &str = "bench_theirs";

struct Bench {
    node: Node,
    cluster: Cluster,
    scratch: Scratch,
    scale: u32,
    /// How many times larger the big input is.
    times: u32,
    /// The number of pairs that count.
    pairs: u32,
    /// When the measured binary was built.
    built: SystemTime,
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [mode @ (reference::GROUPED | reference::SINGLE), address, keyspace, folder] = words[..] {
        return reference::main(mode, address, keyspace, Path::new(folder));
    }
    let with_peers = words.contains(&"--peers") || peers::are_there();
    let bench = Bench::new()?;
    println!("node {} ({})", bench.node.address, bench.node.about());
    let figures = bench.all(with_peers)?;
    if built()? != bench.built {
        println!("\nNOTE: the binary was rebuilt during the measurement, so these figures mix two builds");
    }
    table::print(&figures.lines(&format!("{} times", bench.times)));
    println!("\n{}", figures.spread());
    if !with_peers {
        println!("NOT RUN: cqlsh COPY and DSBulk have not been fetched; run `make bench-peers`");
    }
    println!(
        "medians of {} alternating pairs behind {COLD_PAIRS} that do not count; RF 1, LOCAL_QUORUM, USING TIMESTAMP; tables made before;\n\
         needledrop: the whole process, start to end; reference: from memory, clocks run while it sends",
        bench.pairs
    );
    Ok(())
}

fn setting(name: &str, default: u32) -> Outcome<u32> {
    std::env::var(name)
        .map_or(Ok(default), |text| text.parse().map_err(|error| format!("{name}: {error}").into()))
}

fn built() -> Outcome<SystemTime> {
    Ok(std::fs::metadata(env!("CARGO_BIN_EXE_needledrop"))?.modified()?)
}

impl Bench {
    fn new() -> Outcome<Self> {
        let scale = setting("NEEDLEDROP_BENCH_SCALE", 50)?;
        let times = setting("NEEDLEDROP_BENCH_BIG", 10)?;
        let pairs = setting("NEEDLEDROP_BENCH_PAIRS", PAIRS)?.max(1);
        let node = Node::start()?;
        let cluster = Cluster::connect(&node.address)?;
        Ok(Self { node, cluster, scratch: Scratch::new()?, scale, times, pairs, built: built()? })
    }

    /// Measures everything. The drops come first, while the node is idle.
    fn all(&self, with_peers: bool) -> Outcome<Figures> {
        let drops = self.drops()?;
        common::scaled(self.scale, &self.scratch.inbox())?;
        let mut figures = self.pairs(drops)?;
        figures.empty = Some(self.empty()?);
        for _ in 0..SINGLES {
            figures.singles.push(self.single()?);
        }
        for loader in ["copy", "dsbulk"].into_iter().filter(|_| with_peers) {
            figures.peers.push((loader, self.peer(loader)?));
        }
        if self.times > 0 {
            figures.big = Some(self.big()?);
        }
        Ok(figures)
    }

    /// Returns a command that runs the shipped binary against this node.
    fn needledrop(&self, scratch: &Scratch, keyspace: &str, arguments: &[&str]) -> Command {
        let mut command = scratch.needledrop(arguments);
        command.env("NEEDLEDROP_STORE__KIND", "cassandra");
        command.env("NEEDLEDROP_STORE__CASSANDRA__HOSTS", format!("[\"{}\"]", self.node.address));
        command.env("NEEDLEDROP_STORE__CASSANDRA__KEYSPACE", keyspace);
        command.env("NEEDLEDROP_LOG__LEVEL", "warn").stderr(Stdio::inherit());
        command
    }

    fn drops(&self) -> Outcome<Drops> {
        // The first load into a new node is slow. In production, a daily file goes to a node that is warm.
        let scratch = Scratch::new()?;
        common::scaled(1, &scratch.inbox())?;
        self.ours(&scratch)?;
        self.forget(OURS)?;
        let scratch = Scratch::new()?;
        let daemon = self.needledrop(&scratch, OURS, &["run"]);
        let drops = Drops::take(&scratch, daemon, COLD, || self.cluster.arrivals(OURS))?;
        self.forget(OURS)?;
        drops.report("Cassandra");
        Ok(drops)
    }

    /// Removes what a run has written, then gives the node a moment to finish.
    fn forget(&self, keyspace: &str) -> Outcome {
        self.cluster.forget(keyspace)?;
        sleep(Duration::from_secs(3));
        Ok(())
    }

    /// Runs both sides alternately; the side that runs first changes from pair to pair. The first pairs do not count,
    /// because the node is still warming up. The contents of the tables are compared after the very first pair.
    fn pairs(&self, drops: Drops) -> Outcome<Figures> {
        let (mut ours, mut theirs, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..COLD_PAIRS + self.pairs {
            let mut contents = Vec::new();
            for turn in 0..2 {
                let reference = (pair + turn).is_multiple_of(2);
                let (run, rows) =
                    if reference { self.opponent(reference::GROUPED)? } else { self.ours(&self.scratch)? };
                let (runs, keyspace) = if reference { (&mut theirs, THEIRS) } else { (&mut ours, OURS) };
                written.push(rows);
                if pair == 0 {
                    contents.push(self.cluster.contents(keyspace)?);
                }
                if pair >= COLD_PAIRS {
                    runs.push(run);
                }
                self.forget(keyspace)?;
            }
            same(&contents, "rows in the tables")?;
        }
        same(&written, "rows acknowledged")?;
        let (rows, singles, peers) = (written[0], Vec::new(), Vec::new());
        Ok(Figures { rows, ours, theirs, singles, peers, big: None, empty: None, drops })
    }

    /// Loads all files of an inbox with needledrop. Returns the number of rows that its summary reports as
    /// acknowledged. Keyspace and tables are created beforehand, as for the other loaders.
    fn ours(&self, scratch: &Scratch) -> Outcome<(Run, u64)> {
        common::watched(&mut self.needledrop(scratch, OURS, &["schema", "--apply"]))?;
        let run = common::watched(&mut self.needledrop(scratch, OURS, &["run", "--once", "--json"]))?;
        let summary: serde_json::Value = serde_json::from_str(&run.out)?;
        let tables = summary["tables"].as_object().ok_or("a summary without tables")?;
        let rows = tables.values().filter_map(|table| table["rows"].as_u64()).sum();
        let told = summary["peak_memory_bytes"].as_u64().unwrap_or(0);
        Ok((said("needledrop", Run { seconds: run.seconds, cpu: run.cpu, peak: run.peak.max(told) }), rows))
    }

    /// Loads the same files with a reference client, grouped or row by row, which is this program in another
    /// process.
    fn opponent(&self, mode: &str) -> Outcome<(Run, u64)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([mode, &self.node.address, THEIRS]).arg(self.scratch.inbox()).stdin(Stdio::null());
        let run = common::watched(&mut command)?;
        let told: serde_json::Value = serde_json::from_str(run.out.lines().last().unwrap_or_default())?;
        let figure = |name: &str| told[name].as_f64().ok_or_else(|| format!("{mode} tells no {name}"));
        let rows = told["events"].as_u64().unwrap_or(0) * 3;
        Ok((said(mode, Run { seconds: figure("seconds")?, cpu: figure("cpu")?, peak: run.peak }), rows))
    }

    fn single(&self) -> Outcome<Run> {
        let (run, _) = self.opponent(reference::SINGLE)?;
        self.forget(THEIRS)?;
        Ok(run)
    }

    fn peer(&self, loader: &str) -> Outcome<Run> {
        let run = peers::load(loader, &self.node.address, THEIRS, &self.scratch.inbox())?;
        self.forget(THEIRS)?;
        Ok(said(loader, run))
    }

    /// Runs needledrop with nothing to load, to measure what schema, lease and ledger take.
    fn empty(&self) -> Outcome<Run> {
        let (run, _) = self.ours(&Scratch::new()?)?;
        self.forget(OURS)?;
        Ok(run)
    }

    /// Runs needledrop with `times` times as many events.
    fn big(&self) -> Outcome<Run> {
        let scratch = Scratch::new()?;
        common::scaled(self.scale * self.times, &scratch.inbox())?;
        let (run, _) = self.ours(&scratch)?;
        self.forget(OURS)?;
        Ok(run)
    }
}

/// Prints each run as soon as it is done, because a whole bench takes long.
fn said(who: &str, run: Run) -> Run {
    let peak = mib(run.peak);
    println!("  {who:<12} {:>7.2} s, {:>6.2} CPU-seconds, {peak:>6.1} MiB", run.seconds, run.cpu);
    run
}

/// Checks that all runs did the same work. Otherwise the ratios mean nothing.
fn same<T: PartialEq + std::fmt::Debug>(values: &[T], what: &str) -> Outcome {
    let differ = values.windows(2).any(|two| two[0] != two[1]);
    if differ { Err(format!("{what} differ: {values:?}").into()) } else { Ok(()) }
}
