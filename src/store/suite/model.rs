//! A model of a store, which applies all records in the order of their stamps.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::Fixture;
use super::chunks::{Record, count, deliveries, plan, tables, value};
use crate::domain::ledger::DeliveryFilter;
use crate::domain::{Delivery, DeliveryId, Stamp, Value};

pub type Written = (Stamp, DeliveryId, Option<&'static str>, Option<i64>);

/// A model of the tables: by table and key, the stamp, delivery and values of every record.
#[derive(Default)]
pub struct Model {
    keys: BTreeMap<(usize, Vec<i64>), Vec<Written>>,
}

impl Model {
    pub fn add(&mut self, delivery: &Delivery, records: &[Record]) {
        for (number, record) in records.iter().enumerate() {
            let Record::Row(p, q, a, b) = record else { continue };
            let stamp = delivery.stamps.of(number as u64).unwrap();
            for (table, key) in [(0, vec![*p, *q]), (1, vec![*p, -*q]), (2, vec![*p])] {
                self.keys.entry((table, key)).or_default().push((stamp, delivery.id, *a, *b));
            }
        }
        for records in self.keys.values_mut() {
            records.sort_by_key(|(stamp, ..)| *stamp);
        }
    }

    pub fn tables(&self) -> Vec<Vec<Vec<Value<'static>>>> {
        let mut tables = vec![Vec::new(); 3];
        for ((table, key), records) in &self.keys {
            let (mut a, mut b) = (Value::Empty, Value::Empty);
            for (_, _, new_a, new_b) in records {
                let clears = *table == 1;
                if new_a.is_some() || clears {
                    a = new_a.map_or(Value::Empty, |text| Value::Text(text.into()));
                }
                if new_b.is_some() || clears {
                    b = new_b.map_or(Value::Empty, Value::Whole);
                }
            }
            // The model negates a descending column, so that the order of its map is the order of the rows.
            let sign = |(at, n): (usize, &i64)| value(if *table == 1 && at == 1 { -n } else { *n });
            let row = key.iter().enumerate().map(sign).chain([a, b]).collect();
            tables[*table].push(row);
        }
        tables
    }

    /// Returns the number of collisions of a delivery in a table. Every record except the first of its key is a
    /// collision of its own delivery. If `across` is false, only records of the same delivery collide.
    pub fn collisions(&self, id: DeliveryId, table: usize, across: bool) -> u64 {
        let of_table = self.keys.iter().filter(|((of, _), _)| *of == table);
        let of_key = of_table.map(|(_, records)| {
            let first = if across { 1 } else { usize::from(records.iter().any(|(_, of, ..)| *of == id)) };
            let own = records.iter().enumerate().filter(|(_, (_, of, ..))| *of == id);
            if across { own.filter(|(at, _)| *at >= first).count() } else { own.count() - first }
        });
        of_key.sum::<usize>() as u64
    }

    pub async fn check<F: Fixture>(&self, store: &F::Store) -> Result<(), TestCaseError> {
        prop_assert_eq!(tables(store).await, self.tables());
        for delivery in deliveries(store, DeliveryFilter::All).await {
            prop_assert!(delivery.receipt.closes(), "{:?}", delivery);
            for (index, table) in plan().tables.iter().enumerate() {
                let expected = self.collisions(delivery.id, index, F::COUNTS_ACROSS_DELIVERIES);
                let counted = count(&delivery, &table.name).1;
                prop_assert_eq!(counted, expected, "collisions of {} in {}", &delivery.file, &table.name);
            }
        }
        Ok(())
    }
}
