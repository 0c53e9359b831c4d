//! An undo that has begun.

use std::sync::Mutex;

use rusqlite::Connection;

use crate::domain::undo::RowsOf;
use crate::domain::{DeliveryId, Stamps};
use crate::store::sqlite::entry;
use crate::store::sqlite::fault::SqlResult;
use crate::store::sqlite::schema;
use crate::store::sqlite::shared::Shared;
use crate::store::sqlite::undo::expected::Expected;
use crate::store::sqlite::undo::find;

/// An undo that has begun: the rows that were found, and the file of expected rows.
pub struct Undo {
    pub id: DeliveryId,
    pub stamps: Stamps,
    pub found: Vec<RowsOf>,
    pub expected: Mutex<Expected>,
}

impl Undo {
    /// Finds the rows of a delivery.
    pub fn begin(shared: &Shared, connection: &Connection, id: DeliveryId) -> SqlResult<Self> {
        let (expected, stamps) = (Expected::create(shared)?, entry::by_id(connection, id)?.stamps);
        let mut found = Vec::new();
        for (index, table) in shared.declared.tables.iter().enumerate() {
            if !schema::exists(connection, table)? {
                continue;
            }
            let of_table = find::rows(connection, &expected, (index, table, &shared.declared), id)?;
            if of_table.own + of_table.shared > 0 {
                found.push(of_table);
            }
        }
        Ok(Self { id, stamps, found, expected: Mutex::new(expected) })
    }
}
