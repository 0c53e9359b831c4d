//! Tests a reader of the tables while the daemon reloads.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::Layers;
use crate::daemon::app::App;
use crate::daemon::health::Health;
use crate::daemon::reload::Requests;
use crate::domain::table_row::PAGE;
use crate::domain::{RowCursor, TableRow, Value};
use crate::store::backend::AnyStore;
use crate::store::reader_handle::ReaderHandle;
use crate::store::{RowReader, StoreError};

const ROWS: usize = PAGE * 2 + PAGE / 2;

const TABLE: &str = "  numbers: { answers: all numbers, partition_key: [p], clustering_key: [n] }\n";
const OTHER: &str = "  first: { answers: the partitions, partition_key: [p] }\n";

/// Writes a configuration with these tables.
fn configure(folder: &Path, tables: &[&str]) {
    let inbox = folder.join("inbox").display().to_string();
    let store = folder.join("store.db").display().to_string();
    let mut yaml = format!(
        "source:\n  folder: {inbox}\n  settle: 20ms\n  columns: {{ p: int, n: int }}\n\
         store: {{ kind: sqlite, sqlite: {{ path: {store} }} }}\ntables:\n"
    );
    yaml.extend(tables.iter().copied());
    std::fs::write(folder.join("needledrop.yaml"), yaml).unwrap();
}

fn events() -> String {
    let mut events = "p,n\n".to_owned();
    for n in 0..ROWS {
        writeln!(events, "1,{n}").unwrap();
    }
    events
}

/// Waits until the open store has this number of tables, and all rows.
async fn ready(reader: &ReaderHandle<AnyStore>, tables: usize) {
    loop {
        if let Ok(open) = reader.borrow().await
            && open.declared.tables.len() == tables
            && open.store.count(tables - 1).await.unwrap() == ROWS as u64
        {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn page(
    reader: &ReaderHandle<AnyStore>,
    from: Option<RowCursor>,
) -> Result<(Vec<TableRow>, Option<RowCursor>), StoreError> {
    let page = reader.rows("numbers", vec![Value::Whole(1)], from).await?;
    Ok((page.found, page.next))
}

/// The reload moves the table to another place in the plan.
#[tokio::test]
async fn a_listing_continues_after_a_reload() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("inbox")).unwrap();
    configure(folder.path(), &[TABLE]);
    let file = Some(folder.path().join("needledrop.yaml"));
    let app = App::load(&Layers { file, environment: Vec::new(), flags: Vec::new() }).unwrap();
    let (reader, stop) = (ReaderHandle::default(), CancellationToken::new());
    let mut requests = Requests::begin(&app).unwrap();
    assert!(matches!(page(&reader, None).await, Err(StoreError::Closed)), "before the store is open");
    let daemon = Box::pin(app.watch(Arc::new(Health::default()), &reader, stop.clone(), &mut requests));
    let listing = Box::pin(async {
        std::fs::write(folder.path().join("inbox/a.csv"), events()).unwrap();
        ready(&reader, 1).await;
        let (mut rows, mut next) = page(&reader, None).await.unwrap();
        assert_eq!(rows.len(), PAGE);
        configure(folder.path(), &[OTHER, TABLE]);
        ready(&reader, 2).await;
        while next.is_some() {
            let (found, after) = page(&reader, next).await.unwrap();
            rows.extend(found);
            next = after;
        }
        let missing = reader.rows("none", Vec::new(), None).await;
        assert!(matches!(missing, Err(StoreError::Undeclared(_))), "{missing:?}");
        stop.cancel();
        rows
    });
    let both = async { tokio::join!(daemon, listing) };
    let (ended, rows) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    ended.unwrap();
    let expected = (0..ROWS).map(|n| vec![Value::Whole(1), Value::Whole(i64::try_from(n).unwrap())]);
    assert!(rows.into_iter().eq(expected), "each row once and in order");
    assert!(matches!(page(&reader, None).await, Err(StoreError::Closed)), "after the store is closed");
}
