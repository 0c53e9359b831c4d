//! A case of values: every type, in columns and in keys.

use std::sync::Arc;

use serde_json::{Map, json};

use super::Fixture;
use super::chunks::*;
use crate::domain::ledger::{NewDelivery, Verdict};
use crate::domain::{
    Collection, Column, Fingerprint, Order, Plan, RowChunk, Rows, Scalar, Table, Type, Value,
};
use crate::store::Ledger;

/// Returns sample values of a type: its extremes and values in between.
fn samples(kind: Scalar) -> Vec<&'static str> {
    match kind {
        Scalar::Text => vec!["x", "ünï \"codé\",\n\u{1F3B5}", " spaces "],
        Scalar::Int => vec!["0", "-2147483648", "2147483647"],
        Scalar::Bigint => vec!["-9223372036854775808", "9223372036854775807", "9007199254740993"],
        Scalar::Smallint => vec!["-32768", "32767"],
        Scalar::Tinyint => vec!["-128", "127"],
        Scalar::Varint => vec!["0", "-1", "128", "-32769", "123456789012345678901234567890"],
        Scalar::Float => vec!["495.3073", "-0.1", "3.4028235e38", "1e-45"],
        Scalar::Double => vec!["0.1", "1.7976931348623157e308", "5e-324", "-1541580000000.5"],
        Scalar::Decimal => vec!["12.50", "-0.000000000000000000000000001", "123456789012345678901234567890"],
        Scalar::Boolean => vec!["true", "false"],
        Scalar::Timestamp => vec![
            "2018-11-01T21:01:46.796Z",
            "1969-12-31T23:59:59.999Z",
            "0000-01-01T00:00:00.000Z",
            "9999-12-31T23:59:59.999Z",
        ],
        Scalar::Date => vec!["2018-11-01", "1969-12-31", "0000-01-01", "9999-12-31"],
        Scalar::Time => vec!["00:00:00", "23:59:59.999999999"],
        Scalar::Uuid => vec!["123e4567-e89b-42d3-a456-426614174000"],
        Scalar::Timeuuid => vec!["50554d6e-29bb-11e5-b345-feff819cdc9f"],
        Scalar::Blob => vec!["0x00ff22", "0x00"],
        Scalar::Inet => vec!["192.0.2.1", "2001:db8::1"],
    }
}

/// Returns sample values of a type. Collections contain all samples of their elements, or nothing.
fn texts(kind: Type) -> Vec<String> {
    let of = |kind: Scalar| samples(kind).into_iter();
    match kind {
        Type::Collection(Collection::List(kind)) => {
            let twice: Vec<_> = of(kind).rev().chain(of(kind)).collect();
            vec![json!(samples(kind)).to_string(), "[]".to_owned(), json!(twice).to_string()]
        }
        Type::Collection(Collection::Set(kind)) => vec![json!(samples(kind)).to_string(), "[]".to_owned()],
        Type::Collection(Collection::Map(key, value)) => {
            let pairs = of(key).zip(of(value).rev().cycle());
            let object: Map<_, _> = pairs.map(|(key, value)| (key.to_owned(), value.into())).collect();
            vec![json!(object).to_string(), "{}".to_owned()]
        }
        single => Scalar::try_from(single).map(of).into_iter().flatten().map(str::to_owned).collect(),
    }
}

/// Returns a list, a set and a map of each type, and maps of texts.
fn collections() -> Vec<Type> {
    let scalars = Type::ALL.iter().filter_map(|(_, kind)| Scalar::try_from(*kind).ok());
    let of = |kind| {
        let map = [Collection::Map(kind, kind), Collection::Map(Scalar::Text, kind)];
        [Collection::List(kind), Collection::Set(kind)].into_iter().chain(map)
    };
    scalars.flat_map(of).map(Type::Collection).collect()
}

pub async fn every_type_is_read_as_it_was_written<F: Fixture>() {
    let single = Type::ALL.map(|(_, kind)| kind);
    let kinds: Vec<Type> = single.into_iter().chain(collections()).collect();
    let mut columns = vec![Column::of_field("id", Type::Int)];
    columns.extend(kinds.iter().zip(1..).map(|(kind, at)| Column::of_field(&format!("column_{at}"), *kind)));
    let table = |name: &str, partition_key: Vec<usize>, columns| Table {
        partition_key,
        clustering_key: vec![(0, Order::Ascending)],
        columns,
        ..Table::empty(name)
    };
    // One table has all types as columns outside the key. Each further table has one type of single values as its key.
    let mut tables = vec![table("wide", vec![1], (2..columns.len()).collect())];
    tables[0].partition_key = vec![0];
    tables[0].clustering_key = Vec::new();
    tables[0].columns = (1..columns.len()).collect();
    tables.extend((1..=single.len()).map(|at| table(&format!("by_{at}"), vec![at], Vec::new())));
    let width = columns.len();
    let fingerprint = Fingerprint::of("types");
    let plan = Arc::new(Plan {
        columns,
        tables,
        attempt: fingerprint.clone(),
        rules: fingerprint.clone(),
        fingerprint,
        ..Plan::empty()
    });

    let place = F::new().await;
    let store = place.open(Arc::clone(&plan)).await;
    let new = entry("types", Verdict::Load { records: 100 });
    let delivery = store.take_up(NewDelivery { plan: Arc::clone(&plan), ..new }).await.unwrap().delivery;
    let most = kinds.iter().map(|kind| texts(*kind).len()).max().unwrap();
    let mut rows = Rows::new(width, most);
    for n in 0..most {
        let mut values = vec![(Type::Int, Some(n.to_string()))];
        values.extend(kinds.iter().map(|kind| (*kind, Some(texts(*kind)[n % texts(*kind).len()].clone()))));
        let mut cells = cells(&mut rows, &values);
        rows.push(delivery.stamps.of(n as u64).unwrap(), &mut cells);
    }
    let written: Vec<Vec<Value<'static>>> = (0..most)
        .map(|row| (0..width).map(|column| rows.value(row, column).into_owned()).collect())
        .collect();
    let empty = by(&plan, chunk(&delivery, &vec![Record::Skipped; most], 0, most, loaded()));
    apply(&store, RowChunk { rows, skipped: 0, ..empty }).await.unwrap();
    for record in &written {
        assert_eq!(rows_of(&store, 0, vec![record[0].clone()]).await, std::slice::from_ref(record));
        for at in 1..=single.len() {
            let found = rows_of(&store, at, vec![record[at].clone(), record[0].clone()]).await;
            assert_eq!(found, [[record[at].clone(), record[0].clone()]], "{} as key", plan.columns[at].kind);
        }
    }
}
