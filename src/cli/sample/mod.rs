//! `needledrop sample`: writes event files like those of Sparkify, with invented people and songs.
//!
//! The same options give the same bytes, on every run and every machine.

mod cast;
mod day;
mod session;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use day::Day;

use crate::cli::outcome::{CommandResult, Exit, Failure};
use crate::cli::sample::session::FIRST_DAY;
use crate::domain::text;

/// The default number of days.
pub const DAYS: u32 = 5;
/// The default number of records per day.
pub const ROWS: u32 = 300;
/// The default seed.
pub const SEED: u64 = 1;

/// The maximum number of days: a hundred years, so that the year keeps its four digits.
const MOST_DAYS: u32 = 36_525;

/// What to write.
#[derive(Debug, Clone)]
pub struct Options {
    /// The folder. It is created if it does not exist.
    pub dir: PathBuf,
    pub days: u32,
    /// The number of records per day.
    pub rows: u32,
    pub seed: u64,
}

/// Why sample files could not be written, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error("{path}: {error}\n  next: name a folder that can be written to")]
    Io { path: PathBuf, error: io::Error },
    #[error(
        "{0} exists already with other content\n  next: name another folder, or use the same --rows and --seed as before"
    )]
    Differs(PathBuf),
    #[error("{days} days of {rows} rows are too many\n  next: use a smaller --days or --rows")]
    TooMany { days: u32, rows: u32 },
}

/// Writes the files and returns their paths. A file that already exists with the same bytes is included.
///
/// # Errors
/// Returns an error if the folder cannot be written to, if a file exists with other content, or if there are more days
/// or sessions than can be numbered.
pub fn write(options: &Options) -> Result<Vec<PathBuf>, SampleError> {
    let days = days(options)?;
    fs::create_dir_all(&options.dir).map_err(at(&options.dir))?;
    days.iter().map(|day| write_day(&options.dir, day)).collect()
}

/// Returns the days. Each day has its own range of session ids, so that more days do not change earlier ones.
fn days(options: &Options) -> Result<Vec<Day>, SampleError> {
    let &Options { days, rows, seed, .. } = options;
    let sessions = session::most(rows);
    let last = days.checked_mul(sessions).and_then(|last| i32::try_from(last).ok());
    if last.is_none() || days > MOST_DAYS {
        return Err(SampleError::TooMany { days, rows });
    }
    Ok((0..days).map(|number| Day { number, rows, seed, first_session: 1 + number * sessions }).collect())
}

fn write_day(dir: &Path, day: &Day) -> Result<PathBuf, SampleError> {
    let name = format!("{}-events.csv", text::date((FIRST_DAY + day.number).cast_signed()));
    let (hidden, path) = (dir.join(format!(".{name}")), dir.join(name));
    let made = make(&hidden, day).map_err(at(&hidden)).and_then(|()| place(&hidden, &path));
    if made.is_err() {
        // Only the first error is reported.
        let _ = fs::remove_file(&hidden);
    }
    made.map(|()| path)
}

fn make(path: &Path, day: &Day) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    day.write(&mut out)?;
    out.flush()
}

/// Renames the file to its final name, so that a daemon that watches the folder never sees half a file.
fn place(hidden: &Path, path: &Path) -> Result<(), SampleError> {
    if !path.try_exists().map_err(at(path))? {
        return fs::rename(hidden, path).map_err(at(path));
    }
    if hash(hidden)? != hash(path)? {
        return Err(SampleError::Differs(path.to_owned()));
    }
    // The existing file keeps its times. Otherwise the daemon would read it again to compare its bytes.
    fs::remove_file(hidden).map_err(at(hidden))
}

fn hash(path: &Path) -> Result<blake3::Hash, SampleError> {
    let hashed = File::open(path).and_then(|file| Ok(blake3::Hasher::new().update_reader(file)?.finalize()));
    hashed.map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SampleError {
    let path = path.to_owned();
    |error| SampleError::Io { path, error }
}

#[derive(Debug, Args)]
pub struct Arguments {
    /// The folder; it is created if it does not exist
    dir: PathBuf,
    /// The number of files, one per day
    #[arg(long, default_value_t = DAYS)]
    days: u32,
    /// Records per day
    #[arg(long, default_value_t = ROWS)]
    rows: u32,
    /// The same seed makes the same files
    #[arg(long, default_value_t = SEED)]
    seed: u64,
}

pub fn run(arguments: &Arguments) -> CommandResult {
    let Arguments { dir, days, rows, seed } = arguments;
    let options = Options { dir: dir.clone(), days: *days, rows: *rows, seed: *seed };
    let mut out = io::stdout().lock();
    for path in write(&options).map_err(Failure::from)? {
        writeln!(out, "{}", path.display())?;
    }
    Ok(Exit::Done)
}

impl From<SampleError> for Failure {
    fn from(error: SampleError) -> Self {
        match error {
            SampleError::Io { .. } => Self::system(error),
            SampleError::Differs(_) | SampleError::TooMany { .. } => Self::usage(error),
        }
    }
}

#[cfg(test)]
mod tests;
