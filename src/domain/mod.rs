//! The words of the product as types. Knows no other module.

pub mod chunk;
pub mod delivery;
pub mod header;
pub mod parse;
pub mod parts;
pub mod plan;
pub mod record;
pub mod stamp;
pub mod text;
pub mod value;

pub use chunk::{End, Frame, Outcome, RawChunk, RowChunk, Rows, Source};
pub use delivery::{
    Ahead, Checkpoint, Delivery, DeliveryId, Noted, Receipt, State, TableCount, TailNote, told_collisions,
};
pub use header::{Header, Mapping};
pub use parts::Parts;
pub use plan::{Column, Empty, Fingerprint, Order, Origin, Plan, Table};
pub use record::{Mark, Quarantined, Reason, Span};
pub use stamp::{Stamp, StampRange, Stamps, StampsAhead, TooFarAhead};
pub use value::{Cell, Type, Unit, Value};
