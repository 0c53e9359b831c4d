//! Tests that the example configurations compile, and that their sample files fit what they declare.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use futures::executor::block_on;

use super::{Layers, Loaded};
use crate::domain::{Header, Order, Origin, Plan, Schema, Type};
use crate::store::sqlite::schema::unsortable;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn examples() -> Vec<PathBuf> {
    let all = fs::read_dir(root().join("config/examples")).unwrap();
    all.map(|entry| entry.unwrap().path()).collect()
}

fn load(file: &Path) -> (Loaded, Plan) {
    let loaded = Layers { file: Some(file.to_owned()), ..Layers::default() }.load().unwrap();
    let plan = loaded.plan().unwrap();
    (loaded, plan)
}

/// Returns the header and the records of a file.
fn read(file: &Path) -> (Header, Vec<Vec<String>>) {
    let bytes = fs::read(file).unwrap();
    let reader = csv_async::AsyncReaderBuilder::new().has_headers(false).create_reader(bytes.as_slice());
    let records = block_on(reader.into_records().collect::<Vec<_>>());
    let mut records = records.into_iter().map(|record| record.unwrap().iter().map(str::to_owned).collect());
    (Header(records.next().unwrap()), records.collect())
}

/// Returns the files that the example would load.
fn files(loaded: &Loaded) -> Vec<PathBuf> {
    let source = &loaded.feeds[0].source;
    let patterns: Vec<_> = source.pattern.iter().map(|one| glob::Pattern::new(one).unwrap()).collect();
    let all = fs::read_dir(root().join(&source.folder)).unwrap().map(|entry| entry.unwrap().path());
    let is_file = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        patterns.iter().any(|pattern| pattern.matches(name))
    };
    let mut files: Vec<_> = all.filter(is_file).collect();
    files.sort();
    files
}

#[test]
fn every_example_compiles_and_takes_every_record_of_its_files() {
    assert!(!examples().is_empty());
    for example in examples() {
        let (loaded, plan) = load(&example);
        let files = files(&loaded);
        assert!(!files.is_empty(), "{example:?} has nothing to load");
        for file in files {
            takes(&plan, &file);
        }
    }
}

fn takes(plan: &Plan, file: &Path) {
    let (header, records) = read(file);
    let mapping = header.map(plan).unwrap();
    for record in records {
        for (column, field) in plan.columns.iter().zip(&mapping.field_of) {
            let value = field.map_or("", |field| &record[field]);
            let parsed = column.parse(value.as_bytes(), &mut Vec::new());
            assert!(parsed.is_ok(), "{file:?}: {}: {record:?}", column.name);
        }
    }
}

#[test]
fn the_trades_example_has_day_buckets_descending_order_and_an_empty_field() {
    let (loaded, plan) = load(&root().join("config/examples/trades.yaml"));
    assert_eq!(loaded.feeds[0].store.sqlite.path, Path::new("data/trades.db"));
    let (_, by_symbol) = plan.table("trades_by_symbol").unwrap();
    let key: Vec<_> =
        by_symbol.key().map(|index| (plan.columns[index].name.as_str(), plan.columns[index].kind)).collect();
    let expected = [
        ("symbol", Type::Text),
        ("day", Type::Date),
        ("executedAt", Type::Timestamp),
        ("tradeId", Type::Bigint),
    ];
    assert_eq!(key, expected);
    assert!(by_symbol.clustering_key.iter().all(|(_, order)| *order == Order::Descending));
    let (_, by_account) = plan.table("trades_by_account").unwrap();
    assert_eq!(plan.columns[by_account.partition_key[1]].origin, Origin::FileDate);

    let records: Vec<_> = files(&loaded).iter().flat_map(|file| read(file).1).collect();
    assert!((38..=44).contains(&records.len()));
    assert_eq!(records.iter().filter(|record| record.iter().any(String::is_empty)).count(), 1);
    let ids: HashSet<_> = records.iter().map(|record| &record[0]).collect();
    assert_eq!(ids.len(), records.len());
}

/// The SQLite store refuses a clustering column whose stored form does not sort like its values.
#[test]
fn no_clustering_key_is_of_a_type_that_sqlite_refuses() {
    for example in examples() {
        let (_, plan) = load(&example);
        let declared = Schema::of([&plan]);
        let refused = declared.tables.iter().find_map(|table| unsortable(&declared, table));
        assert_eq!(refused, None, "{example:?}");
    }
}
