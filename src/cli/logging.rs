//! Logs text or JSON lines to stderr, and to a file if one is set.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;

use file_rotate::compression::Compression;
use file_rotate::suffix::{AppendTimestamp, DateFrom, FileLimit};
use file_rotate::{ContentLimit, FileRotate};
use rustix::fs::{Access, access};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use super::progress;
use crate::cli::outcome::Failure;
use crate::config::{Log, LogFormat};

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Checks that logging can begin: the level is valid, and the file can be written to.
pub fn check(log: &Log) -> Result<(), Failure> {
    filter(log)?;
    log.file.as_deref().map_or(Ok(()), |path| writable(path).map_err(|error| unwritable(path, &error)))
}

/// Starts logging.
pub fn begin(log: &Log) -> Result<(), Failure> {
    check(log)?;
    let mut layers = vec![layer(log, || OneLine(progress::Beside))?];
    if let Some(path) = &log.file {
        layers.push(layer(log, Mutex::new(OneLine(rotating(path, log)?)))?);
    }
    tracing_subscriber::registry().with(layers).try_init().map_err(Failure::system)
}

fn layer<W>(log: &Log, writer: W) -> Result<Boxed, Failure>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter(log)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
    Ok(match log.format {
        LogFormat::Text => layer.with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

fn filter(log: &Log) -> Result<EnvFilter, Failure> {
    // A level alone is the level of needledrop. Other crates log warnings at most.
    let filter = match log.level.parse::<LevelFilter>() {
        Ok(level) => format!("{},needledrop={level}", level.min(LevelFilter::WARN)),
        Err(_) if log.level.contains(['=', ',']) => log.level.clone(),
        // A word without `=` or `,` would be read as the name of a target, and would silence all other targets.
        Err(error) => return Err(unknown_level(log, &error)),
    };
    EnvFilter::try_new(&filter).map_err(|error| unknown_level(log, &error))
}

/// Checks that the log file can be written to, without creating it. If the file does not exist, its folder must be
/// writable.
fn writable(path: &Path) -> io::Result<()> {
    match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            Ok(access(folder.unwrap_or(Path::new(".")), Access::WRITE_OK | Access::EXEC_OK)?)
        }
        opened => opened.map(|_| ()),
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::system(format!(
        "log.file: {}: {error}\n  next: create its folder, and let this user write to it",
        path.display()
    ))
}

/// Writes each event as one line. The names and values in an event come from outside: they could contain line ends that
/// fake log lines, or move the cursor of a terminal. Each call of `write` receives a whole event.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let line = in_one_line(&String::from_utf8_lossy(event));
        self.0.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Replaces control characters. An event may be JSON, so nothing is escaped.
fn in_one_line(event: &str) -> String {
    let lines: Vec<&str> = event.lines().map(str::trim).collect();
    lines.join("; ").chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn unknown_level(log: &Log, error: &dyn std::fmt::Display) -> Failure {
    let level = &log.level;
    Failure::usage(format!(
        "log.level: `{level}`: {error}\n  next: set it to error, warn, info, debug or trace, or to filters such as needledrop=debug"
    ))
}

/// Opens the log file. At the maximum size it is renamed to its name with the time, and a new file begins. Renamed
/// files are removed at the maximum age.
fn rotating(path: &Path, log: &Log) -> Result<FileRotate<AppendTimestamp>, Failure> {
    // The rotating writer itself would panic on a file that it cannot open.
    let mut options = OpenOptions::new();
    options.read(true).create(true).append(true).mode(0o640);
    options.open(path).map_err(|error| unwritable(path, &error))?;
    let keep = i64::try_from(log.keep.as_secs()).unwrap_or(i64::MAX);
    let age = FileLimit::Age(chrono::Duration::try_seconds(keep).unwrap_or(chrono::Duration::MAX));
    let suffix = AppendTimestamp::with_format("%Y%m%dT%H%M%S", age, DateFrom::Now);
    let limit = ContentLimit::BytesSurpassed(log.rotate.0);
    Ok(FileRotate::new(path, suffix, limit, Compression::None, Some(options)))
}
