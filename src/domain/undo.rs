//! What an undo finds and does. An undo takes back what one delivery wrote.

use crate::domain::{Delivery, DeliveryId, TableRow};

/// The maximum number of rows of each kind that are kept as examples.
pub const EXAMPLES: usize = 3;

/// The rows of one table that contain values of a delivery, or that a record of the delivery was the first to write.
#[derive(Clone, Debug, PartialEq)]
pub struct RowsOf {
    pub table: String,
    /// Rows to which no other delivery wrote. An undo removes them.
    pub own: u64,
    /// Rows to which other deliveries may have written. An undo needs their kept files.
    pub shared: u64,
    /// Shared rows whose first record is of the delivery. The records that follow it are not collisions after an undo.
    pub first: u64,
    /// Whether records with later stamps may come back too, because of `newest_by`.
    pub is_newest_by: bool,
    /// The keys of the first rows of its own.
    pub examples: Vec<TableRow>,
}

/// What an undo did to one table, or would do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableUndo {
    pub table: String,
    /// Rows that were removed.
    pub removed: u64,
    /// Rows in which the values of other deliveries are back.
    pub restored: u64,
    pub examples: Vec<RowUndo>,
}

/// A row that was removed or restored.
#[derive(Clone, Debug, PartialEq)]
pub struct RowUndo {
    pub key: TableRow,
    pub restored: bool,
}

impl TableUndo {
    /// Counts a row, and keeps it as an example if there are few of its kind.
    pub fn add(&mut self, key: TableRow, restored: bool) {
        let count = if restored { &mut self.restored } else { &mut self.removed };
        *count += 1;
        let of_kind = self.examples.iter().filter(|one| one.restored == restored);
        if of_kind.count() < EXAMPLES {
            self.examples.push(RowUndo { key, restored });
        }
    }
}

/// How an undo ends.
#[derive(Clone, Debug, Default)]
pub struct UndoEnd {
    /// Whether the tables and the ledger are changed. Otherwise the undo only counts.
    pub write: bool,
    /// The generation of the file that takes the place of the undone one, if one does.
    pub by: Option<u32>,
    /// Whether values are taken back that no expected row replaces. Their cells are then empty.
    pub force: bool,
    /// The deliveries whose values were not expected in a table because their files cannot be read. If `write` is set, these
    /// tables are behind by them.
    pub lost: Vec<(DeliveryId, String)>,
}

/// Says how to complete an undo that was interrupted.
pub fn interrupted(delivery: &Delivery) -> String {
    let Delivery { file, generation, .. } = delivery;
    let feed = match file.feed() {
        "" => String::new(),
        feed => format!(" --feed {feed}"),
    };
    format!(
        "its undo was interrupted, so some of its rows may be in the tables; complete it with `needledrop undo {}{feed} \
         --generation {generation}`",
        file.path()
    )
}
