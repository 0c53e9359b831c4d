//! The sections of the configuration, key by key.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::config::columns::{Clustering, Column, Derived, Named};
use crate::config::format::FormatConfig;
use crate::config::verify::Verify;
use crate::domain::quota::Quota;
use crate::domain::units::{Duration, Size};
use crate::domain::{Feed, FileDates, units};
use crate::source::folder;
use crate::source::folder::Links;
use crate::store::backend::StoreConfig;
use crate::store::limits;

/// The settings of one feed, with those that all feeds share. See `config/feeds.rs` for the sections of the file.
#[derive(Debug, Clone)]
pub struct Config {
    pub source: SourceConfig,
    pub tables: Tables,
    pub limits: Limits,
    pub write: Write,
    pub store: StoreConfig,
    pub verify: Verify,
    pub http: Http,
    pub log: Log,
    pub shutdown: Shutdown,
}

/// Tables by name, in the order of the file.
pub type Tables = Named<Table>;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// The key under `feeds`. The feed of the short form has no name.
    #[serde(skip)]
    pub feed: Feed,
    #[serde(default = "default_folder")]
    pub folder: PathBuf,
    #[serde(default = "default_pattern")]
    pub pattern: Vec<String>,
    #[serde(default = "default_ignore")]
    pub ignore: Vec<String>,
    #[serde(default = "yes", deserialize_with = "units::flag")]
    pub subfolders: bool,
    #[serde(default)]
    pub links: Links,
    #[serde(default)]
    pub file_dates: FileDates,
    #[serde(default = "default_settle")]
    pub settle: Duration,
    #[serde(default = "default_poll")]
    pub poll: Duration,
    #[serde(default = "default_tail_after")]
    pub tail_after: Duration,
    #[serde(default)]
    pub final_newline: FinalNewline,
    #[serde(default)]
    pub open_files: OpenFiles,
    #[serde(default = "default_files")]
    pub files_at_once: usize,
    /// A label of the WHATWG Encoding Standard. `None` means UTF-8.
    #[serde(default)]
    pub encoding: Option<Spanned<String>>,
    #[serde(default)]
    pub looks_like_utf8: LooksLikeUtf8,
    #[serde(default)]
    pub format: FormatConfig,
    #[serde(default)]
    pub after: After,
    #[serde(default)]
    pub on_replace: OnReplace,
    /// `None` means [`ARCHIVE`] in the inbox.
    #[serde(default)]
    pub archive: Option<PathBuf>,
    pub columns: Named<Column>,
    #[serde(default)]
    pub skip_when_empty: Vec<Spanned<String>>,
    #[serde(default)]
    pub derive: Named<Derived>,
}

/// What happens to a file that a writer is seen to have open.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OpenFiles {
    /// Its complete records are loaded.
    #[default]
    Follow,
    /// Nothing is loaded until the writer has closed it.
    Wait,
}

/// What happens to a file that is valid UTF-8 although `encoding` is another one.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LooksLikeUtf8 {
    /// It fails, because its text would be misread.
    #[default]
    Refuse,
    /// It is read in the declared encoding.
    Ignore,
}

/// Whether a last record without a line end is ever loaded.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FinalNewline {
    /// It is loaded when the file is complete.
    #[default]
    Optional,
    /// It is never loaded.
    Required,
}

/// What happens to a file after it was loaded.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum After {
    #[default]
    Keep,
    Move,
    Delete,
}

/// What happens to the rows of a file that only its earlier content has, once other content came under its name.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum OnReplace {
    /// They stay.
    #[default]
    Upsert,
    /// They are taken back.
    Mirror,
}

/// The folder in the inbox that files are moved to by default. It is on the same device, and it is never listed.
pub const ARCHIVE: &str = ".archive";

impl Config {
    /// Returns how much may be sent to a store at a time.
    pub fn write_limits(&self) -> limits::Limits {
        limits::Limits {
            in_flight: self.write.in_flight,
            batch_rows: self.write.batch_rows,
            batch_bytes: self.write.batch_bytes.0,
            rows_per_second: self.write.rows_per_second,
            max_record_bytes: self.limits.max_record_bytes.0,
            collision_keys: self.limits.collision_keys,
        }
    }
}

impl SourceConfig {
    /// Returns the settings of the folder that files come from.
    pub fn folder(&self) -> folder::Settings {
        folder::Settings {
            feed: self.feed.clone(),
            folder: self.folder.clone(),
            archive: self.archive(),
            patterns: self.pattern.clone(),
            ignored: self.ignore.clone(),
            subfolders: self.subfolders,
            links: self.links,
            dates: self.file_dates,
            others: Vec::new(),
        }
    }

    /// Returns the inbox as other feeds have to know it.
    pub fn inbox(&self) -> folder::OtherInbox {
        folder::OtherInbox {
            feed: self.feed.clone(),
            folder: self.folder.clone(),
            subfolders: self.subfolders,
            removes: self.after != After::Keep,
        }
    }

    /// Returns the folder that files are moved to. A named feed has a folder of its own in the archive.
    pub fn archive(&self) -> PathBuf {
        let archive = self.archive.clone().unwrap_or_else(|| self.folder.join(ARCHIVE));
        if self.feed.is_named() { archive.join(self.feed.name()) } else { archive }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    #[serde(default)]
    pub answers: String,
    pub partition_key: Vec<Spanned<String>>,
    #[serde(default)]
    pub clustering_key: Vec<Clustering>,
    #[serde(default)]
    pub columns: Vec<Spanned<String>>,
    /// The columns that have one value per partition.
    #[serde(default, rename = "static")]
    pub statics: Vec<Spanned<String>>,
    #[serde(default)]
    pub empty: Option<Empty>,
    /// The column that decides which record of a key gives its row.
    #[serde(default)]
    pub newest_by: Option<Spanned<String>>,
    /// The options in the `WITH` clause of a Cassandra table, by name.
    #[serde(default)]
    pub options: std::collections::BTreeMap<String, units::Word>,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Empty {
    Keep,
    Clear,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub max_record_bytes: Size,
    pub max_quarantined: Quota,
    pub collision_keys: usize,
    pub compare_wait: Duration,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Write {
    pub window: usize,
    pub window_bytes: Size,
    pub linger: Duration,
    pub queue: usize,
    pub in_flight: usize,
    pub batch_rows: usize,
    pub batch_bytes: Size,
    /// 0 means no limit.
    pub rows_per_second: u64,
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    pub listen: SocketAddr,
}

#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub level: String,
    pub format: LogFormat,
    pub file: Option<PathBuf>,
    pub rotate: Size,
    pub keep: Duration,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    pub grace: Duration,
}

fn default_folder() -> PathBuf {
    PathBuf::from("data/event_data")
}

fn default_pattern() -> Vec<String> {
    ["*.csv", "*.csv.gz", "*.csv.zst", "*.csv.zip"].map(String::from).to_vec()
}

fn default_ignore() -> Vec<String> {
    IGNORED.map(String::from).to_vec()
}

/// Names of unfinished, backup and lock files, of conflict copies, and of files that programs write next to the data.
const IGNORED: [&str; 21] = [
    "~$*",
    "*~",
    "#*#",
    "*.tmp",
    "*.~tmp",
    "*.part",
    "*.partial",
    "*.filepart",
    "*.crdownload",
    "*.download",
    "*._COPYING_",
    "_SUCCESS",
    "_committed_*",
    "_started_*",
    "**/_temporary/**",
    "*.crc",
    "*.sync-conflict-*",
    "*conflicted copy*",
    "*.!sync",
    "Thumbs.db",
    "desktop.ini",
];

fn yes() -> bool {
    true
}

fn default_settle() -> Duration {
    Duration::from_secs(2)
}

fn default_tail_after() -> Duration {
    Duration::from_secs(30)
}

fn default_poll() -> Duration {
    Duration::from_secs(30)
}

fn default_files() -> usize {
    4
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_record_bytes: Size::mib(1),
            max_quarantined: Quota::percent(50),
            collision_keys: 131_072,
            compare_wait: Duration::from_secs(60),
        }
    }
}

impl Default for Write {
    fn default() -> Self {
        Self {
            window: 10_000,
            window_bytes: Size(1536 * 1024),
            linger: Duration::from_millis(20),
            queue: 1,
            in_flight: 256,
            batch_rows: 100,
            batch_bytes: Size(64 * 1024),
            rows_per_second: 0,
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8642)) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Text,
            file: None,
            rotate: Size::mib(10),
            keep: Duration::from_secs(30 * 24 * 3600),
        }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace: Duration::from_secs(30) }
    }
}
