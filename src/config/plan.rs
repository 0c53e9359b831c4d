//! Compiles the declaration into a [`Plan`], and checks every rule that spans several keys.

use std::path::{Component, Path, PathBuf};

use encoding_rs::{Encoding, UTF_8};
use serde_saphyr::Spanned;

use super::load::Loaded;
use crate::config::columns::Derived;
use crate::config::error::ConfigError;
use crate::config::sections::{After, Config, Empty, SourceConfig, Table};
use crate::domain;
use crate::domain::{Column, Feed, Fingerprint, Format, Order, Origin, Plan, Type, Unit};

/// A broken rule: the path of the setting, the problem, what to do next, and the line if it is known.
struct Broken {
    path: String,
    line: Option<u64>,
    problem: String,
    next: String,
}

type Checked<T> = Result<T, Broken>;

impl Broken {
    fn new(path: &str, problem: impl Into<String>, next: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, problem: problem.into(), next: next.into() }
    }

    fn at<T>(mut self, place: &Spanned<T>) -> Self {
        self.line = Some(place.referenced.line()).filter(|line| *line > 0);
        self
    }
}

impl Loaded {
    /// Checks the declaration as a whole and compiles it.
    ///
    /// # Errors
    /// Returns an error for the first broken rule, with its path.
    pub fn plan(&self) -> Result<Plan, ConfigError> {
        compile(&self.config).map_err(|broken| ConfigError::Rule {
            file: self.origin.clone(),
            at: self.line(&broken).map(|line| format!(":{line}")).unwrap_or_default(),
            path: broken.path,
            problem: broken.problem,
            next: broken.next,
        })
    }
}

impl Loaded {
    /// Returns the line of a broken rule in the file. `None` if another layer breaks the rule.
    fn line(&self, broken: &Broken) -> Option<u64> {
        let Some(alone) = &self.alone else { return broken.line };
        let same = |found: &Broken| (&found.path, &found.problem) == (&broken.path, &broken.problem);
        compile(alone).err().filter(same)?.line
    }
}

fn compile(config: &Config) -> Checked<Plan> {
    check_limits(config)?;
    let encoding = encoding(config)?;
    check_archive(&config.source)?;
    let columns = columns(config)?;
    let skip = config.source.skip_when_empty.iter();
    let skip_when_empty: Vec<usize> =
        skip.map(|name| find(&columns, name, "source.skip_when_empty")).collect::<Checked<_>>()?;
    let tables = config.tables.0.iter();
    let tables: Vec<domain::Table> = tables
        .map(|(name, table)| self::table(&columns, &skip_when_empty, name, table))
        .collect::<Checked<_>>()?;
    if tables.is_empty() {
        return Err(Broken::new(
            "tables",
            "no table is declared",
            "declare one; config/needledrop.yaml shows how",
        ));
    }
    check_folding("tables", config.tables.0.iter().map(|(name, _)| name))?;
    let feed = config.source.feed.clone();
    let format = format(config, &columns)?;
    let fingerprint = plan_fingerprint(&feed, &format, &columns, &tables);
    let limits = (config.limits.max_record_bytes.0, config.limits.max_quarantined);
    let units: String = columns.iter().filter_map(declared_unit).collect();
    let attempt = Fingerprint::of(&format!("{fingerprint} {limits:?} {}{units}", encoding.name()));
    let longest = config.limits.max_record_bytes.0;
    let rules = Fingerprint::of(&format!("{fingerprint} {longest} {}{units}", domain::plan::RULES));
    Ok(Plan { feed, format, encoding, columns, skip_when_empty, tables, fingerprint, attempt, rules })
}

fn check_limits(config: &Config) -> Checked<()> {
    let counts = [
        ("source.files_at_once", config.source.files_at_once),
        ("source.pattern", config.source.pattern.len()),
        ("write.window", config.write.window),
        ("write.queue", config.write.queue),
        ("write.in_flight", config.write.in_flight),
        ("write.batch_rows", config.write.batch_rows),
    ];
    if let Some((path, _)) = counts.iter().find(|(_, count)| *count == 0) {
        return Err(Broken::new(path, "is 0, so nothing would ever be loaded", "set it to 1 or more"));
    }
    if config.source.poll.is_zero() {
        return Err(Broken::new(
            "source.poll",
            "is 0, so the inbox would be listed without a pause",
            "set it to 1s or more",
        ));
    }
    // Positions in a chunk have 32 bits, and a chunk holds at least one record.
    let longest = config.limits.max_record_bytes.0.max(config.write.window_bytes.0);
    if longest > 1 << 30 {
        return Err(Broken::new(
            "limits.max_record_bytes",
            "is over 1GiB",
            "set it and write.window_bytes to 1GiB or less",
        ));
    }
    check_patterns("source.pattern", &config.source.pattern)?;
    check_patterns("source.ignore", &config.source.ignore)
}

fn check_patterns(key: &'static str, patterns: &[String]) -> Checked<()> {
    let bad = patterns.iter().find_map(|pattern| Some((pattern, glob::Pattern::new(pattern).err()?)));
    match bad {
        Some((pattern, error)) => {
            Err(Broken::new(key, format!("`{pattern}`: {error}"), "write it like *.csv"))
        }
        None => Ok(()),
    }
}

fn encoding(config: &Config) -> Checked<&'static Encoding> {
    let Some(label) = &config.source.encoding else { return Ok(UTF_8) };
    // Some old labels stand for encodings that are no longer decoded.
    Encoding::for_label_no_replacement(label.value.as_bytes()).ok_or_else(|| {
        let next =
            "use a label of encoding.spec.whatwg.org, such as utf-8, utf-16le, windows-1252 or shift_jis";
        Broken::new("source.encoding", format!("there is no encoding `{}`", label.value), next).at(label)
    })
}

fn format(config: &Config, columns: &[Column]) -> Checked<Format> {
    let format = config.source.format.compile();
    let format = format.map_err(|(path, problem, next)| Broken::new(path, problem, next))?;
    let Some(names) = format.names() else { return Ok(format) };
    let count = |wanted: &String| names.iter().filter(|name| *name == wanted).count();
    let bad = columns.iter().find_map(|column| match &column.origin {
        Origin::Field(name) => Some((name, count(name))).filter(|(_, count)| *count != 1),
        _ => None,
    });
    match bad {
        None => Ok(format),
        Some((name, 0)) => Err(Broken::new(
            "source.format.names",
            format!("does not have `{name}`, which source.columns reads"),
            "list the names of all fields in order, with the names of source.columns",
        )),
        Some((name, _)) => Err(Broken::new(
            "source.format.names",
            format!("has `{name}` twice, so it is not known which one to load"),
            "give each field a name of its own",
        )),
    }
}

/// Checks that moved files do not come back as new files.
fn check_archive(source: &SourceConfig) -> Checked<()> {
    let (inbox, archive) = (real(&source.folder), real(&source.archive()));
    let is_hidden = |name: Component<'_>| name.as_os_str().as_encoded_bytes().starts_with(b".");
    let is_listed = match archive.strip_prefix(&inbox) {
        Ok(within) => {
            within.as_os_str().is_empty() || (source.subfolders && !within.components().any(is_hidden))
        }
        // The archive repeats the subfolders of the inbox, so a moved file could land in the inbox again.
        Err(_) => source.subfolders && inbox.starts_with(&archive),
    };
    if source.after != After::Move || !is_listed {
        return Ok(());
    }
    let problem = format!("{}: moved files would be listed as new files of the inbox", archive.display());
    Err(Broken::new("source.archive", problem, "name a folder outside the inbox, or leave the setting out"))
}

/// Resolves the links in a path, as far as the path exists.
fn real(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let existing = absolute.ancestors().find_map(|part| Some((part, part.canonicalize().ok()?)));
    let Some((part, real)) = existing else { return absolute };
    real.join(absolute.strip_prefix(part).unwrap_or(Path::new("")))
}

fn columns(config: &Config) -> Checked<Vec<Column>> {
    let mut columns = Vec::new();
    for (name, column) in &config.source.columns.0 {
        check_name("source.columns", name)?;
        let path = format!("source.columns.{}", name.value);
        let kind: Type = column.kind.parse().map_err(|error: domain::value::UnknownType| {
            Broken::new(&path, error.to_string(), "choose one of them").at(name)
        })?;
        let (own, exact) = (bare(&name.value).to_owned(), quoted(&name.value).is_some());
        let field = column.from.clone().unwrap_or_else(|| own.clone());
        let unit = unit(kind, column).map_err(|problem| {
            Broken::new(&path, problem, "write { type: timestamp, unit: s | ms | us }, or leave unit out")
                .at(name)
        })?;
        columns.push(Column { name: own, exact, kind, unit, origin: Origin::Field(field) });
    }
    if columns.is_empty() {
        return Err(Broken::new(
            "source.columns",
            "no column is declared",
            "declare columns; `needledrop init FILE.csv` proposes some",
        ));
    }
    for (name, derived) in &config.source.derive.0 {
        check_name("source.derive", name)?;
        let (kind, origin) = derived_from(&columns, name, derived)?;
        let (own, exact) = (bare(&name.value).to_owned(), quoted(&name.value).is_some());
        columns.push(Column { name: own, exact, kind, unit: None, origin });
    }
    let names = config.source.columns.0.iter().map(|(name, _)| name);
    check_folding("source.columns", names.chain(config.source.derive.0.iter().map(|(name, _)| name)))?;
    Ok(columns)
}

/// Returns the unit of a column. The error is the problem in words.
fn unit(kind: Type, column: &crate::config::columns::Column) -> Result<Option<Unit>, String> {
    match &column.unit {
        None => Ok(None),
        Some(_) if kind != Type::Timestamp => {
            Err(format!("a {kind} has no unit; only a timestamp can have one"))
        }
        Some(name) => name.parse().map(Some).map_err(|error: domain::value::UnknownUnit| error.to_string()),
    }
}

fn derived_from(columns: &[Column], name: &Spanned<String>, derived: &Derived) -> Checked<(Type, Origin)> {
    let path = format!("source.derive.{}", name.value);
    match derived {
        Derived::FileDate => Ok((Type::Date, Origin::FileDate)),
        Derived::FileName => Ok((Type::Text, Origin::FileName)),
        Derived::DateOf(of) => {
            let found =
                columns.iter().position(|column| column.name == bare(of) && column.kind == Type::Timestamp);
            let origin = found.map(Origin::DateOf).ok_or_else(|| {
                Broken::new(
                    &path,
                    format!("`{of}` is not a timestamp column"),
                    "name a source column of type timestamp",
                )
                .at(name)
            })?;
            Ok((Type::Date, origin))
        }
    }
}

/// Checks a name. Names are used in DDL, URLs and metric labels. Names that begin with `_` are reserved for the store.
fn check_name(path: &str, name: &Spanned<String>) -> Checked<()> {
    let text = &name.value;
    let text = bare(text);
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    if is_plain && begins && text.len() <= 48 {
        return Ok(());
    }
    let next = "use up to 48 letters, digits and _, and begin with a letter; if the header has another name, put it in from:";
    Err(Broken::new(path, format!("`{}` is not a valid name", name.value), next).at(name))
}

/// Returns a name without its double quotes. In CQL, the quotes keep the case of the name. Everywhere else the name is
/// used without them.
fn bare(name: &str) -> &str {
    quoted(name).unwrap_or(name)
}

fn quoted(name: &str) -> Option<&str> {
    name.strip_prefix('"')?.strip_suffix('"').filter(|inner| !inner.is_empty())
}

fn check_folding<'a>(path: &str, names: impl Iterator<Item = &'a Spanned<String>>) -> Checked<()> {
    let mut seen = std::collections::HashMap::new();
    for name in names {
        if let Some(other) = seen.insert(bare(&name.value).to_lowercase(), &name.value) {
            let problem = format!("`{other}` and `{}` are the same name to a database", name.value);
            return Err(Broken::new(path, problem, "rename one of them").at(name));
        }
    }
    Ok(())
}

fn find(columns: &[Column], name: &Spanned<String>, path: &str) -> Checked<usize> {
    let found = columns.iter().position(|column| column.name == bare(&name.value));
    found.ok_or_else(|| {
        let known: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        let next = format!("choose from {}", known.join(", "));
        Broken::new(path, format!("there is no column `{}`", name.value), next).at(name)
    })
}

fn table(
    columns: &[Column],
    skip: &[usize],
    name: &Spanned<String>,
    table: &Table,
) -> Checked<domain::Table> {
    check_name("tables", name)?;
    let path = |key: &str| format!("tables.{}.{key}", name.value);
    if table.partition_key.is_empty() {
        return Err(Broken::new(
            &path("partition_key"),
            "is empty",
            "name the columns that every query gives",
        )
        .at(name));
    }
    let within = |names: &[Spanned<String>], key: &str| -> Checked<Vec<usize>> {
        names.iter().map(|column| find(columns, column, &path(key))).collect()
    };
    let partition_key = within(&table.partition_key, "partition_key")?;
    let mut clustering_key = Vec::new();
    for clustering in &table.clustering_key {
        let column =
            columns.iter().position(|column| column.name == bare(&clustering.column)).ok_or_else(|| {
                Broken::new(
                    &path("clustering_key"),
                    format!("there is no column `{}`", clustering.column),
                    "name a declared column",
                )
                .at(name)
            })?;
        let order = if clustering.descending { Order::Descending } else { Order::Ascending };
        clustering_key.push((column, order));
    }
    let mut made = domain::Table {
        name: bare(&name.value).to_owned(),
        exact: quoted(&name.value).is_some(),
        answers: table.answers.clone(),
        partition_key,
        clustering_key,
        columns: within(&table.columns, "columns")?,
        statics: within(&table.statics, "static")?,
        options: table.options.iter().map(|(name, word)| (name.clone(), word.0.clone())).collect(),
        empty: if table.empty == Empty::Clear { domain::Empty::Clear } else { domain::Empty::Keep },
        fingerprint: Fingerprint::of(""),
    };
    if let Some(column) = made.statics.iter().find(|column| !made.columns.contains(column)) {
        let name_of = columns.get(*column).map_or("", |column| column.name.as_str());
        let problem = format!("`{name_of}` is not among the columns of the table");
        return Err(Broken::new(&path("static"), problem, "name it in columns too").at(name));
    }
    check_once(columns, &made).map_err(|broken| Broken { path: path("columns"), ..broken }.at(name))?;
    made.fingerprint = fingerprint(columns, skip, &made);
    Ok(made)
}

fn check_once(columns: &[Column], table: &domain::Table) -> Checked<()> {
    let mut seen = std::collections::HashSet::new();
    let twice = table.all().find(|index| !seen.insert(*index)).and_then(|index| columns.get(index));
    match twice {
        Some(column) => Err(Broken::new(
            "",
            format!("`{}` is in the table twice", column.name),
            "name it once, in the key or in the columns",
        )),
        None => Ok(()),
    }
}

/// Returns the fingerprint of everything that decides which rows this table holds. The question it answers is not part
/// of it.
fn fingerprint(columns: &[Column], skip: &[usize], table: &domain::Table) -> Fingerprint {
    let parts: Vec<_> = table.all().map(|index| described(columns, index)).collect();
    let skipped: Vec<_> = skip.iter().map(|index| described(columns, *index)).collect();
    Fingerprint::of(&format!(
        "{} {parts:?} {} {:?} {:?} {skipped:?}",
        table.name,
        table.partition_key.len(),
        table.clustering_key.iter().map(|(_, order)| order).collect::<Vec<_>>(),
        table.empty,
    ))
}

/// Describes a column in words that do not depend on the order of columns in the file.
fn described(columns: &[Column], index: usize) -> String {
    let Some(column) = columns.get(index) else { return String::new() };
    let origin = match &column.origin {
        Origin::DateOf(timestamp) => format!("the day of {}", described(columns, *timestamp)),
        other => format!("{other:?}"),
    };
    // Milliseconds are left out. Before there were units, every number in a timestamp counted milliseconds.
    let unit = column.unit.filter(|unit| *unit != Unit::Millis);
    let unit = unit.map(|unit| format!(" in {unit}")).unwrap_or_default();
    format!("{} {}{unit} {origin}", column.name, column.kind)
}

/// Describes the unit of a column, for fingerprints. A unit changes what the same bytes become, so deliveries that
/// failed without it are tried again.
fn declared_unit(column: &Column) -> Option<String> {
    column.unit.map(|unit| format!(" {} in {unit}", column.name))
}

/// Returns the fingerprint of feed, format, columns and tables. It does not depend on their order. A feed without a name
/// and the default format are left out, because earlier versions knew no others.
fn plan_fingerprint(
    feed: &Feed,
    format: &Format,
    columns: &[Column],
    tables: &[domain::Table],
) -> Fingerprint {
    let named = (0..columns.len()).map(|index| described(columns, index));
    let tables = tables.iter().map(|table| table.fingerprint.to_string());
    let feed = feed.is_named().then(|| format!("feed {feed}"));
    let format = Some(format.declaration()).filter(|declared| !declared.is_empty());
    let mut parts: Vec<String> = named.chain(tables).chain(feed).chain(format).collect();
    parts.sort();
    Fingerprint::of(&parts.join("; "))
}

#[cfg(test)]
mod tests {
    use crate::config::{Layers, Loaded, SHIPPED};
    use crate::domain::{Feed, Order, Plan, Type};

    fn plan(text: &str) -> Result<Plan, String> {
        loaded(text)?.plan().map_err(|error| error.to_string())
    }

    fn loaded(text: &str) -> Result<Loaded, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let layers = Layers { file: Some(file.path().to_owned()), ..Layers::default() };
        layers.load().map_err(|error| error.to_string())
    }

    #[test]
    fn the_shipped_declaration_compiles() {
        let plan = plan(SHIPPED).unwrap();
        assert_eq!(plan.columns.len(), 11);
        let (_, table) = plan.table("user_session").unwrap();
        let names: Vec<_> = plan.columns_of(table).map(|column| column.name.as_str()).collect();
        assert_eq!(
            names,
            ["sessionId", "userId", "itemInSession", "artist", "song", "firstName", "lastName"]
        );
        assert_eq!(plan.skip_when_empty, [0]);
    }

    #[test]
    fn long_forms_and_derived_columns() {
        let plan = plan(
            "source:\n  columns:\n    at: { type: timestamp, from: \"Time (UTC)\" }\n    price: decimal\n  derive: { day: { date_of: at }, file_day: { file_date }, origin: { file_name } }\n\
             tables:\n  ticks:\n    partition_key: [day, origin]\n    clustering_key: [{ column: at, order: desc }]\n    columns: [price]\n",
        )
        .unwrap();
        assert_eq!(plan.columns[2].kind, Type::Date);
        assert_eq!(plan.tables[0].clustering_key, [(0, Order::Descending)]);
    }

    #[test]
    fn broken_rules_name_the_setting_and_the_line() {
        let cases = [
            (
                "partition_key: [sessionId]",
                "partition_key: [session]",
                "tables.session_item.partition_key: there is no column `session`",
            ),
            (
                "columns: [artist, song, length]",
                "columns: [artist, song, sessionId]",
                "`sessionId` is in the table twice",
            ),
            ("length: float", "length: real", "unknown type `real`"),
            ("song: text", "song: { type: text, unit: ms }", "source.columns.song: a text has no unit"),
            (
                "song: text",
                "song: { type: timestamp, unit: ns }",
                "unknown unit `ns`; the units are s, ms, us",
            ),
            ("song: text", "song: { type: timestamp, units: ms }", "units"),
            ("length: float", "Artist: float", "the same name to a database"),
            ("  session_item:", "  _mine:", "is not a valid name"),
            ("skip_when_empty: [artist]", "skip_when_empty: [artists]", "there is no column `artists`"),
            ("partition_key: [song]", "partition_key: []", "tables.user_song.partition_key: is empty"),
            ("window: 10000", "window: 0", "write.window"),
            ("poll: 30s", "poll: 0s", "source.poll"),
            ("encoding: utf-8", "encoding: utf-9", "source.encoding: there is no encoding `utf-9`"),
            ("encoding: utf-8", "encoding: iso-2022-kr", "there is no encoding"),
            ("empty: keep", "empty: drop", "drop"),
            ("derive: {}", "derive: { day: { date_of: song } }", "not a timestamp"),
        ];
        for (from, to, expected) in cases {
            let error = plan(&SHIPPED.replacen(from, to, 1)).map(|_| ()).unwrap_err();
            assert!(error.contains(expected), "{to}: {error}");
            assert!(error.contains("next: "), "{error}");
        }
    }

    #[test]
    fn a_unit_other_than_milliseconds_changes_the_fingerprint() {
        let of = |column: &str| plan(&SHIPPED.replacen("song: text", &format!("song: {column}"), 1)).unwrap();
        let [bare, ms, s, us] = [
            "timestamp",
            "{ type: timestamp, unit: ms }",
            "{ type: timestamp, unit: s }",
            "{ type: timestamp, unit: us }",
        ]
        .map(of);
        // The fingerprints of version 0.1.0. Tables in its ledgers must not fall behind.
        assert_eq!((&*bare.fingerprint.0, &*bare.attempt.0), ("15b33c431773c3b3", "e375ec67e826035b"));
        assert_eq!(ms.fingerprint, bare.fingerprint);
        assert_eq!(ms.tables[0].fingerprint, bare.tables[0].fingerprint);
        assert_ne!(ms.attempt, bare.attempt, "what failed is tried again");
        assert_ne!(ms.rules, bare.rules);
        for other in [&s, &us] {
            assert_ne!(other.tables[0].fingerprint, bare.tables[0].fingerprint);
        }
        assert_ne!(s.tables[0].fingerprint, us.tables[0].fingerprint);
    }

    #[test]
    fn the_name_of_a_feed_is_part_of_the_fingerprints() {
        let mut loaded = loaded(SHIPPED).unwrap();
        let mut named = |name: &str| {
            loaded.config.source.feed = Feed::named(name).unwrap_or_default();
            loaded.plan().unwrap()
        };
        let plans = ["", "clicks", "views"].map(&mut named);
        assert_eq!(plans[0].fingerprint, plan(SHIPPED).unwrap().fingerprint);
        for [one, other] in [[&plans[0], &plans[1]], [&plans[0], &plans[2]], [&plans[1], &plans[2]]] {
            assert_ne!(one.fingerprint, other.fingerprint);
            assert_ne!(one.attempt, other.attempt);
            assert_ne!(one.rules, other.rules);
            assert_eq!(one.tables[0].fingerprint, other.tables[0].fingerprint, "no table falls behind");
        }
        assert_eq!(plans[1].feed.name(), "clicks");
    }

    #[test]
    fn a_fingerprint_depends_on_the_rows_and_not_on_descriptions() {
        let base = plan(SHIPPED).unwrap();
        let words =
            plan(&SHIPPED.replacen("the song that was item N of session S", "what was item N", 1)).unwrap();
        let order = plan(&SHIPPED.replacen("[artist, song, length]", "[artist, length, song]", 1)).unwrap();
        assert_eq!(base.tables[0].fingerprint, words.tables[0].fingerprint);
        assert_ne!(base.tables[0].fingerprint, order.tables[0].fingerprint);
        assert_eq!(base.tables[1].fingerprint, order.tables[1].fingerprint);
        assert_eq!(base.fingerprint, words.fingerprint);
        assert_ne!(base.fingerprint, order.fingerprint);
        let limits = plan(&SHIPPED.replacen("max_quarantined: off", "max_quarantined: 5", 1)).unwrap();
        assert_eq!(base.fingerprint, limits.fingerprint);
        assert_ne!(base.attempt, limits.attempt);
        let encoding = plan(&SHIPPED.replacen("encoding: utf-8", "encoding: latin1", 1)).unwrap();
        assert_eq!(base.fingerprint, encoding.fingerprint);
        assert_ne!(base.attempt, encoding.attempt);
    }
}
