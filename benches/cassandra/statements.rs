//! The three tables of the reference client. They have the same columns and rows as the tables of needledrop.

use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::statement::batch::{Batch, BatchType};
use scylla::statement::prepared::PreparedStatement;
use scylla::value::MaybeUnset;

use crate::common::events::Event;

/// The largest number of rows in a batch.
pub const BATCH_ROWS: usize = 100;

/// The definition and the insert statement of each table. Both are appended to the name of the keyspace.
pub const TABLES: [(&str, &str); 3] = [
    (
        "session_item (sessionid int, iteminsession int, artist text, song text, length float, \
         PRIMARY KEY ((sessionid), iteminsession))",
        "session_item (sessionid, iteminsession, artist, song, length) VALUES (?, ?, ?, ?, ?)",
    ),
    (
        "user_session (sessionid int, userid int, iteminsession int, artist text, song text, \
         firstname text, lastname text, PRIMARY KEY ((sessionid, userid), iteminsession))",
        "user_session (sessionid, userid, iteminsession, artist, song, firstname, lastname) \
         VALUES (?, ?, ?, ?, ?, ?, ?)",
    ),
    (
        "user_song (song text, userid int, firstname text, lastname text, PRIMARY KEY ((song), userid))",
        "user_song (song, userid, firstname, lastname) VALUES (?, ?, ?, ?)",
    ),
];

/// The row of an event in a table.
pub struct Row<'e> {
    pub table: usize,
    pub event: &'e Event,
    pub stamp: i64,
}

/// Returns `Unset` for an empty column, so that the column is not sent.
fn text(text: &str) -> MaybeUnset<&str> {
    if text.is_empty() { MaybeUnset::Unset } else { MaybeUnset::Set(text) }
}

impl SerializeRow for Row<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        let (e, stamp) = (self.event, self.stamp);
        let (artist, song) = (text(&e.artist), text(&e.song));
        let (first, last) = (text(&e.first_name), text(&e.last_name));
        match self.table {
            0 => (e.session, e.item, artist, song, e.length, stamp).serialize(context, writer),
            1 => {
                let row = (e.session, e.user, e.item, artist, song, first, last, stamp);
                row.serialize(context, writer)
            }
            _ => (&e.song, e.user, first, last, stamp).serialize(context, writer),
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

/// The prepared statements of a table.
pub struct Statements {
    pub insert: PreparedStatement,
    /// A batch of n rows is at index n - 2. Building a batch costs more than filling it.
    pub batches: Vec<Batch>,
}

impl Statements {
    pub fn new(mut insert: PreparedStatement) -> Self {
        insert.set_is_idempotent(true);
        let batch = |rows| {
            let mut batch = Batch::new(BatchType::Unlogged);
            batch.set_is_idempotent(true);
            for _ in 0..rows {
                batch.append_statement(insert.clone());
            }
            batch
        };
        Self { batches: (2..=BATCH_ROWS).map(batch).collect(), insert }
    }
}
