//! The counts of a table in a receipt.

use crate::domain::{Fingerprint, Receipt, TableCount};

pub fn table_count(table: &str, fingerprint: &Fingerprint) -> TableCount {
    TableCount {
        table: table.to_owned(),
        rows: 0,
        refused: 0,
        collisions: 0,
        estimated: false,
        fingerprint: fingerprint.clone(),
    }
}

/// Returns the count of a table in a receipt. Adds the count if there is none.
pub fn count_of<'r>(receipt: &'r mut Receipt, table: &str) -> &'r mut TableCount {
    let at = match receipt.tables.binary_search_by(|count| count.table.as_str().cmp(table)) {
        Ok(at) => at,
        Err(at) => {
            receipt.tables.insert(at, table_count(table, &Fingerprint(String::new())));
            at
        }
    };
    &mut receipt.tables[at]
}
