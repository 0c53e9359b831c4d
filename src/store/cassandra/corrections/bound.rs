//! The values of a statement of a correction.

use scylla::serialize::SerializationError;
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::value::SerializeValue;
use scylla::serialize::writers::RowWriter;

use crate::domain::{Type, Value};
use crate::store::cassandra::writer::cell;

/// One value of a statement.
#[derive(Clone, Copy, Debug)]
pub enum Bound<'v> {
    Value(Type, &'v Value<'static>),
    /// The column stays as it is.
    Unset,
    Stamp(i64),
    /// A limit, or a time to live in seconds, where 0 is for ever.
    Int(i32),
}

/// The values of a statement, in the order of its markers.
#[derive(Debug)]
pub struct BoundValues<'v>(pub Vec<Bound<'v>>);

impl SerializeRow for BoundValues<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        for (bound, column) in self.0.iter().zip(context.columns()) {
            let writer = writer.make_cell_writer();
            match bound {
                Bound::Value(_, Value::Empty) => {
                    writer.set_null();
                }
                Bound::Unset => {
                    writer.set_unset();
                }
                Bound::Value(kind, Value::Collection(text)) => cell::collection_of(writer, *kind, text)?,
                Bound::Value(kind, value) => {
                    cell::cql(*kind, value).serialize(column.typ(), writer)?;
                }
                Bound::Stamp(stamp) => cell::bytes(writer, &stamp.to_be_bytes())?,
                Bound::Int(n) => cell::bytes(writer, &n.to_be_bytes())?,
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
