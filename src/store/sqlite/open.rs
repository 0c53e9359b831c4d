//! Opens a store. Checks that the file is a needledrop store, that no other process writes to it, and that its schema
//! fits.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use rustix::fs::{Access as May, access};

use super::lock::WriterLock;
use super::place::Place;
use super::{Access, Settings, SqliteStore, StoreError, migrations, recreated};
use crate::domain::Schema;
use crate::store::failpoint;
use crate::store::sqlite::connection_thread::ConnectionThread;
use crate::store::sqlite::fault::Fault;
use crate::store::sqlite::schema;
use crate::store::sqlite::schema::Difference;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::table_sql::TableSql;

/// How long a reader waits if a writer has exclusive access for a moment.
const READ_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// The number of prepared statements that are cached: a few per table, and those of the ledger.
const STATEMENTS: usize = 256;

impl SqliteStore {
    /// Opens the store.
    ///
    /// # Errors
    /// Returns an error if the file is not a needledrop store, is in use, has tables of another shape, or cannot be
    /// opened.
    pub fn open(settings: &Settings, declared: Arc<Schema>, access: Access) -> Result<Self, StoreError> {
        let path = &settings.path;
        let fresh = is_fresh(path)?;
        match access {
            Access::Write { create, .. } => Self::for_writing(settings, declared, fresh, create),
            Access::Read | Access::Dry if fresh => Err(StoreError::Missing(path.display().to_string())),
            Access::Read | Access::Dry => Self::for_reading(settings, declared, access),
        }
    }

    /// Compares the store with the declaration as opening for writing would, but creates nothing.
    ///
    /// # Errors
    /// Returns an error if opening the store for writing would refuse its tables, or if the user may not write to it.
    pub fn compare(path: &Path, declared: &Schema, create: bool) -> Result<(), StoreError> {
        check_possible(path, declared)?;
        check_place(path)?;
        compare(path, declared, is_fresh(path)?, create)
    }

    /// Compares a store that this process may have open with the declaration. Only SQLite opens the file, because
    /// closing any other descriptor of the file would release the locks that the process has on it.
    ///
    /// # Errors
    /// Returns an error if the store cannot be read, or if opening it for writing would refuse its tables.
    pub fn compare_open(path: &Path, declared: &Schema, create: bool) -> Result<(), StoreError> {
        compare(path, declared, !path.exists(), create)
    }

    fn for_writing(
        settings: &Settings,
        declared: Arc<Schema>,
        fresh: bool,
        create: bool,
    ) -> Result<Self, StoreError> {
        let path = settings.path.as_path();
        let in_store = |fault: Fault| fault.in_store(&path.display().to_string());
        if fresh {
            // An unusable configuration is refused before the file is created.
            check_possible(path, &declared)?;
            check_missing(path, declared.tables.first().map(|table| table.name.as_str()), create)?;
        }
        check_place(path)?;
        make_folder(path)?;
        let mut lock = WriterLock::take(path)?;
        if fresh {
            check_lost(path, lock.was_made)?;
        }
        let mut writer = Connection::open(path).map_err(|error| in_store(error.into()))?;
        if fresh || !is_marked(&writer).map_err(|error| in_store(error.into()))? {
            make_ledger(&mut writer).map_err(|error| in_store(error.into()))?;
        }
        // The lock file only improves a later message to the user, so a full disk must not prevent opening the store.
        if let Err(error) = lock.made() {
            tracing::debug!("{}: {error}", path.display());
        }
        configure(&writer).map_err(|error| in_store(error.into()))?;
        check_format(&writer, path)?;
        migrations::bring_up(&mut writer).map_err(|error| in_store(error.into()))?;
        prepare_tables(&mut writer, path, &declared, create)?;
        let reader = read_only(path).map_err(|error| in_store(error.into()))?;
        let place = Place::of(path, lock).map_err(|error| no_place(path, &error))?;
        Self::with(settings, declared, writer, Some(reader), Some(place))
    }

    fn for_reading(settings: &Settings, declared: Arc<Schema>, access: Access) -> Result<Self, StoreError> {
        let path = settings.path.as_path();
        let in_store = |error: rusqlite::Error| Fault::from(error).in_store(&path.display().to_string());
        let reader = for_asking(path).map_err(in_store)?;
        check_format(&reader, path)?;
        if access == Access::Dry {
            check_tables(&reader, path, &declared)?;
        }
        Self::with(settings, declared, reader, None, None)
    }

    fn with(
        settings: &Settings,
        declared: Arc<Schema>,
        writer: Connection,
        reader: Option<Connection>,
        place: Option<Place>,
    ) -> Result<Self, StoreError> {
        let sql = declared.tables.iter().map(|table| TableSql::new(&declared, table)).collect();
        let Settings { path, stamps_ahead } = settings.clone();
        let version = recreated::version(&writer);
        let version = version.map_err(|error| Fault::from(error).in_store(&path.display().to_string()))?;
        let (schema, refusals) = (AtomicI64::new(version), Mutex::default());
        let shared = Arc::new(Shared { path, declared, sql, schema, stamps_ahead, refusals, place });
        let no_thread = |error: std::io::Error| StoreError::System {
            store: shared.name(),
            what: format!("cannot start a thread: {error}"),
            next: "raise the limit on the number of processes of this user".to_owned(),
        };
        let reader = reader
            .map(|reader| ConnectionThread::of(reader, "sqlite-read"))
            .transpose()
            .map_err(no_thread)?;
        let writer = ConnectionThread::of(writer, "sqlite-write").map_err(no_thread)?;
        Ok(Self { reader, writer, shared })
    }
}

fn compare(path: &Path, declared: &Schema, fresh: bool, create: bool) -> Result<(), StoreError> {
    check_possible(path, declared)?;
    let missing = if fresh {
        declared.tables.iter().map(|table| table.name.clone()).collect()
    } else {
        let connection =
            for_asking(path).map_err(|error| Fault::from(error).in_store(&path.display().to_string()))?;
        check_tables(&connection, path, declared)?
    };
    check_missing(path, missing.first().map(String::as_str), create)
}

fn no_place(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::System {
        store: path.display().to_string(),
        what: format!("the files of the store cannot be examined: {error}"),
        next: "do not move them while needledrop runs; start needledrop again".to_owned(),
    }
}

/// Whether there is no store yet. Reads only the first bytes of the file, and without SQLite, because SQLite might
/// leave files beside a file of another program.
pub fn is_fresh(path: &Path) -> Result<bool, StoreError> {
    let name = path.display().to_string();
    let mut head = Vec::new();
    let read = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Ok(file) => file.take(100).read_to_end(&mut head),
        Err(error) => Err(error),
    };
    read.map_err(|error| StoreError::System {
        store: name.clone(),
        what: error.to_string(),
        next: "make it a file that this user can read and write".to_owned(),
    })?;
    let id = head.get(68..72).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes);
    match (head.is_empty(), head.starts_with(b"SQLite format 3\0"), id) {
        (true, ..) => Ok(true),
        (_, true, Some(schema::APPLICATION_ID)) => Ok(false),
        _ => Err(StoreError::Foreign(name)),
    }
}

/// Checks whether a store was lost. A missing file is not an error: the user is assumed to have removed it to get a new
/// store. An empty file that contained a store before is damaged, and an error is returned.
fn check_lost(path: &Path, was_made: bool) -> Result<(), StoreError> {
    let store = path.display().to_string();
    if !path.exists() {
        if was_made {
            tracing::warn!(
                "{store}: no longer exists; a new one is created, and all files of the inbox are loaded again"
            );
        } else {
            tracing::info!("{store}: creating a new store");
        }
        return Ok(());
    }
    if !was_made {
        return Ok(());
    }
    Err(StoreError::Shape {
        store,
        what: "it is damaged: the file is empty, but it contained a store before".to_owned(),
        next: "restore it from a backup, or remove it to load the kept files again".to_owned(),
    })
}

/// Checks that this user may write to the file and to its folder, in which SQLite creates further files, or may create
/// them.
fn check_place(path: &Path) -> Result<(), StoreError> {
    let folder = path.ancestors().skip(1).map(|folder| match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    });
    let folder = folder.into_iter().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let file = path.exists().then_some((path, May::WRITE_OK));
    let places = [(folder, May::WRITE_OK | May::EXEC_OK)].into_iter().chain(file);
    for (place, may) in places {
        access(place, may).map_err(|error| StoreError::System {
            store: path.display().to_string(),
            what: format!("{}: {error}", place.display()),
            next: "make it writable for this user".to_owned(),
        })?;
    }
    Ok(())
}

fn make_folder(path: &Path) -> Result<(), StoreError> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(|error| StoreError::System {
        store: path.display().to_string(),
        what: format!("cannot create the folder {}: {error}", folder.display()),
        next: "create it, writable for this user".to_owned(),
    })
}

/// Whether the file is marked as a needledrop store. After an interrupted creation it is not, because SQLite rolled the
/// transaction back when it opened the file.
fn is_marked(connection: &Connection) -> rusqlite::Result<bool> {
    let id: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    Ok(id == schema::APPLICATION_ID)
}

/// Writes the mark and the ledger in one transaction, so that a crash leaves both or neither. This is the first
/// transaction and is not in WAL mode, so that the mark is in the header of the file at once.
fn make_ledger(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "DELETE")?;
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "application_id", schema::APPLICATION_ID)?;
    // A random number identifies the store, so that another store copied over it is noticed.
    transaction.pragma_update(None, "user_version", fastrand::i32(1..))?;
    transaction.execute_batch(schema::LEDGER)?;
    transaction.execute_batch(schema::INDEXES)?;
    let sql = "INSERT OR IGNORE INTO _needledrop_meta VALUES ('format', ?1)";
    transaction.execute(sql, [schema::FORMAT.to_string()])?;
    failpoint::step("open before commit");
    transaction.commit()?;
    failpoint::step("open after commit");
    Ok(())
}

/// Makes an unknown column name in double quotes an error. By default, SQLite reads such a name as a string.
fn strict(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    Ok(())
}

/// Configures the writing connection. With `synchronous=FULL`, an acknowledged commit survives a power failure. With
/// `NORMAL`, a power failure may lose the last commits.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    strict(connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -16384)?;
    // `Backoff` does longer waits: it counts them, reports them in /readyz, and ends them when the process is to stop.
    connection.busy_timeout(std::time::Duration::from_millis(100))?;
    // A checkpoint every 32 MiB. Keys are scattered, so several chunks change the same page, which is then written back
    // only once.
    connection.pragma_update(None, "wal_autocheckpoint", 8192)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Opens a connection for commands that only read. If the file is writable, it is opened for writing with `query_only`,
/// because only such a connection removes the files that SQLite keeps beside an open store.
pub fn for_asking(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Checks whether the file is writable without opening it, for the reason given at `compare_open`.
    if access(path, May::WRITE_OK).is_err() {
        let connection = read_only(path)?;
        migrations::stand_in(&connection)?;
        return Ok(connection);
    }
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(READ_PATIENCE)?;
    migrations::stand_in(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    strict(&connection)?;
    Ok(connection)
}

fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    connection.busy_timeout(READ_PATIENCE)?;
    Ok(connection)
}

fn check_format(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let store = path.display().to_string();
    let format: i64 = migrations::of(connection).map_err(|error| match &error {
        rusqlite::Error::QueryReturnedNoRows => damaged(&store),
        _ if error.to_string().contains("no such table") => damaged(&store),
        _ => Fault::from(error).in_store(&store),
    })?;
    if format <= schema::FORMAT {
        return Ok(());
    }
    Err(StoreError::Shape {
        store,
        what: format!("its ledger has format {format}, this version knows {}", schema::FORMAT),
        next: "use the version of needledrop that created it, or a newer one".to_owned(),
    })
}

fn damaged(store: &str) -> StoreError {
    StoreError::Shape {
        store: store.to_owned(),
        what: "its ledger is damaged: _needledrop_meta has no format".to_owned(),
        next: "restore the file from a backup, or move it away and load the kept files again".to_owned(),
    }
}

fn prepare_tables(
    connection: &mut Connection,
    path: &Path,
    declared: &Schema,
    create: bool,
) -> Result<(), StoreError> {
    let missing = check_tables(connection, path, declared)?;
    let store = path.display().to_string();
    check_missing(path, missing.first().map(String::as_str), create)?;
    let make = |connection: &mut Connection| -> rusqlite::Result<()> {
        // Another writer may still run if its lock file was removed. An immediate transaction waits until that writer
        // has ended its own transaction. With its next transaction, that writer notices that it has lost the right to
        // write.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for table in &declared.tables {
            if missing.contains(&table.name) {
                recreated::make(&transaction, declared, table)?;
            } else if recreated::is_another(&transaction, table)? {
                recreated::reset_counts(&transaction, table)?;
            }
        }
        failpoint::step("tables before commit");
        transaction.commit()
    };
    make(connection).map_err(|error| Fault::from(error).in_store(&store))
}

fn check_missing(path: &Path, missing: Option<&str>, create: bool) -> Result<(), StoreError> {
    let (false, Some(table)) = (create, missing) else { return Ok(()) };
    Err(StoreError::Shape {
        store: path.display().to_string(),
        what: format!("table {table} does not exist, and store.create_schema is false"),
        next: "create it (`needledrop schema --apply`), or set store.create_schema to true".to_owned(),
    })
}

/// Refuses tables that SQLite cannot have.
fn check_possible(path: &Path, declared: &Schema) -> Result<(), StoreError> {
    let shape = |what, next: &str| {
        Err(StoreError::Shape { store: path.display().to_string(), what, next: next.to_owned() })
    };
    let mut tables = declared.tables.iter();
    if let Some(what) = tables.clone().find_map(|table| schema::unsortable(declared, table)) {
        return shape(what, "choose another clustering column or type, or the Cassandra store");
    }
    if let Some(what) = tables.find_map(|table| schema::too_wide(declared, table)) {
        return shape(
            what,
            "declare fewer columns, divide them between several tables, or choose the Cassandra store",
        );
    }
    Ok(())
}

/// Returns the names of missing tables, or an error if a table has another shape.
fn check_tables(connection: &Connection, path: &Path, declared: &Schema) -> Result<Vec<String>, StoreError> {
    let store = path.display().to_string();
    let shape = |what, next: &str| StoreError::Shape { store: store.clone(), what, next: next.to_owned() };
    check_possible(path, declared)?;
    let mut missing = Vec::new();
    for table in &declared.tables {
        let difference = schema::compare(connection, declared, table);
        match difference.map_err(|error| Fault::from(error).in_store(&store))? {
            None => {}
            Some(Difference::Missing) => missing.push(table.name.clone()),
            Some(Difference::Other(difference)) => {
                let what = format!("table {} has another shape:\n  {difference}", table.name);
                return Err(shape(
                    what,
                    "declare the table as it is, declare it under another name, or move it away",
                ));
            }
        }
    }
    Ok(missing)
}
