//! Shared parts of the benches: real events, scaled; the shipped binary; medians and a table.
//!
//! The machines that run the benches have few cores and other work. An absolute figure means little there, so every
//! goal is a ratio, and its two sides are measured alternately.

#![allow(dead_code, reason = "each bench is a program of its own and uses what it needs")]

pub mod daemon;
pub mod drops;
pub mod events;

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

/// How often each side of a pair is measured.
pub const PAIRS: usize = 5;

/// Returns the folder that holds the events and `scale.py`.
pub fn shared() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    std::env::var_os("NEEDLEDROP_SHARED").map_or_else(beside, PathBuf::from)
}

/// Writes the real days, each with `times` times as many listeners, into `folder`.
pub fn scaled(times: u32, folder: &Path) -> Outcome {
    let shared = shared();
    let mut command = Command::new("python3");
    command.arg(shared.join("bench/scale.py")).arg(shared.join("events")).arg(folder);
    let status = command.arg(times.to_string()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(format!("scale.py: {status}").into()) }
}

/// Returns the files of a folder, sorted by name.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

/// A folder with an inbox and a store. It is removed on drop.
pub struct Scratch {
    folder: TempDir,
}

impl Scratch {
    pub fn new() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("needledrop-bench-").tempdir()?;
        std::fs::create_dir(folder.path().join("inbox"))?;
        Ok(Self { folder })
    }

    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.folder.path().join(name.as_ref())
    }

    pub fn inbox(&self) -> PathBuf {
        self.path("inbox")
    }

    pub fn store(&self) -> PathBuf {
        self.path("store.db")
    }

    /// Removes a SQLite file and the files that SQLite and the writer lock keep beside it.
    pub fn remove(&self, store: &Path) {
        for suffix in ["", "-wal", "-shm", "-journal", "-writer"] {
            let mut name = store.as_os_str().to_owned();
            name.push(suffix);
            // A file that does not exist need not be removed.
            let _ = std::fs::remove_file(name);
        }
    }

    /// Returns a command that runs the shipped binary with the built-in configuration, this inbox and this store.
    pub fn needledrop(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_needledrop"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("NEEDLEDROP_") {
                command.env_remove(name);
            }
        }
        // This folder contains no configuration file.
        command.current_dir(self.folder.path()).args(arguments);
        command.env("NEEDLEDROP_SOURCE__FOLDER", self.inbox());
        command.env("NEEDLEDROP_STORE__SQLITE__PATH", self.store());
        command.env("NEEDLEDROP_HTTP__LISTEN", "127.0.0.1:0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

/// Runs a command to its end and returns how long it took.
pub fn finish(command: &mut Command) -> Outcome<Duration> {
    let began = Instant::now();
    let status = command.status()?;
    let took = began.elapsed();
    if status.success() { Ok(took) } else { Err(format!("{command:?}: {status}").into()) }
}

/// The measurements and the output of one run of a command.
pub struct Watched {
    pub out: String,
    pub seconds: f64,
    /// User and system time together, in seconds.
    pub cpu: f64,
    /// Peak resident memory in bytes, as the kernel reports it.
    pub peak: u64,
}

/// Runs a command to its end and samples its memory meanwhile. No other child may end at the same time, because the
/// kernel adds up the CPU time of all children that were waited for.
pub fn watched(command: &mut Command) -> Outcome<Watched> {
    let (began, before) = (Instant::now(), cpu_of_children()?);
    let mut process = command.stdout(Stdio::piped()).spawn()?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        peak = high_water(process.id()).unwrap_or(0).max(peak);
        sleep(Duration::from_millis(5));
    };
    let seconds = began.elapsed().as_secs_f64();
    let mut out = String::new();
    if let Some(mut pipe) = process.stdout.take() {
        pipe.read_to_string(&mut out)?;
    }
    if !status.success() {
        return Err(format!("{command:?}: {status}\n{out}").into());
    }
    Ok(Watched { out, seconds, cpu: cpu_of_children()? - before, peak })
}

/// Returns the CPU seconds of all children that were waited for.
fn cpu_of_children() -> Outcome<f64> {
    // The kernel reports CPU time to programs in this unit, whatever its own clock is.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The 14th and 15th fields after the name. The name may contain spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(13).take(2);
    let ticks: Vec<f64> = fields.map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_A_SECOND)
}

pub fn high_water(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kb| kb * 1024)
}

/// The rates of the two sides of a comparison, pair by pair.
#[derive(Default)]
pub struct Pairs {
    pub ours: Vec<f64>,
    pub theirs: Vec<f64>,
}

impl Pairs {
    /// Measures both sides alternately; the side that runs first changes from pair to pair.
    pub fn take(
        mut ours: impl FnMut() -> Outcome<f64>,
        mut theirs: impl FnMut() -> Outcome<f64>,
    ) -> Outcome<Self> {
        let mut pairs = Self::default();
        for pair in 0..PAIRS {
            if pair % 2 == 0 {
                pairs.theirs.push(theirs()?);
                pairs.ours.push(ours()?);
            } else {
                pairs.ours.push(ours()?);
                pairs.theirs.push(theirs()?);
            }
        }
        Ok(pairs)
    }

    /// Returns the median of the ratios within each pair. Whatever slows down both sides of a pair does not change
    /// it.
    pub fn ratio(&self) -> f64 {
        median(&self.ratios())
    }

    pub fn ratios(&self) -> Vec<f64> {
        self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs).collect()
    }
}

pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Returns the smallest value that at least this share of all values does not exceed.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an index into a few hundred values"
)]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Returns the number of things per second.
#[expect(clippy::cast_precision_loss, reason = "a rate")]
pub fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

/// Prints both sides, their ratio and whether the ratio reaches the goal.
pub fn compare(what: &str, unit: &str, names: [&str; 2], pairs: &Pairs, goal: f64, how: &str) {
    println!("\n{what} ({unit})");
    println!("  {:<40} {:>10} {:>10} {:>10}", "", "median", "min", "max");
    for (name, values) in names.iter().zip([&pairs.ours, &pairs.theirs]) {
        let [least, middle, most] = [0.0, 0.5, 1.0].map(|share| grouped(quantile(values, share)));
        println!("  {name:<40} {middle:>10} {least:>10} {most:>10}");
    }
    let ratio = pairs.ratio();
    let verdict = if ratio >= goal { "reached" } else { "MISSED" };
    println!("  ratio {ratio:.2}, goal at least {goal}: {verdict}");
    println!("  {how}");
}

/// Formats a number with commas between the thousands.
pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let first = digits.len() % 3;
    let mut text = digits[..first].to_owned();
    for (at, digit) in digits.char_indices().skip(first) {
        if at % 3 == first && !text.is_empty() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
