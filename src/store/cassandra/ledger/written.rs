//! The statements of a ledger batch, which is applied as a whole or not at all.

use scylla::statement::prepared::PreparedStatement;

use crate::store::cassandra::ledger::delivery_row::Stored;

/// A statement of a batch with its values.
pub type Beside = (PreparedStatement, Written);

/// The values of a statement in a ledger batch.
pub enum Written {
    Delivery(Box<Stored>),
    Path(String, i32, i64),
    Head(String, i64),
    /// The state, delivery and record of a quarantine entry.
    Fate(&'static str, i64, i64),
    /// The keys of a delivery in a table: delivery, table, position and hashes.
    Keys((i64, String, i64, Vec<u8>)),
}

impl scylla::serialize::row::SerializeRow for Written {
    fn serialize(
        &self,
        context: &scylla::serialize::row::RowSerializationContext<'_>,
        writer: &mut scylla::serialize::writers::RowWriter<'_>,
    ) -> Result<(), scylla::serialize::SerializationError> {
        match self {
            Self::Delivery(stored) => stored.serialize(context, writer),
            Self::Path(path, generation, id) => (path, generation, id).serialize(context, writer),
            Self::Head(head, id) => (head, id).serialize(context, writer),
            Self::Fate(fate, id, record) => (fate, id, record).serialize(context, writer),
            Self::Keys(keys) => keys.serialize(context, writer),
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}
