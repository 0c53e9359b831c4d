//! The vocabulary of the product as types, without I/O. This module uses no other module of the crate.

pub mod chunk;
pub mod delivery;
pub mod feed;
pub mod format;
pub mod header;
pub mod lenience;
pub mod lenient;
mod lifecycle;
pub mod parse;
pub mod parts;
pub mod path;
pub mod plan;
pub mod receipt;
pub mod record;
pub mod stamp;
pub mod text;
pub mod value;
pub mod ledger;
pub mod paging;
pub mod quarantine;
pub mod table_row;
pub mod units;

pub use chunk::{DeliveryContext, End, Frame, RawChunk, RowChunk, Rows};
pub use delivery::{Ahead, Checkpoint, Delivery, DeliveryId, DeliveryState, FileStat, TailNote};
pub use feed::{Feed, FileKey};
pub use format::Format;
pub use header::{Header, Mapping};
pub use lenience::{Lenience, LenienceCounts};
pub use parts::Parts;
pub use plan::{Column, Empty, Fingerprint, Order, Origin, Plan, Table};
pub use receipt::{Receipt, TableCount, TableDelta, reported_collisions};
pub use record::{OutOfOrder, Position, Quarantined, Reason, Span};
pub use stamp::{Stamp, StampRange, Stamps, StampsAhead, TooFarAhead};
pub use table_row::{RowCursor, TableRow};
pub use value::{Cell, Type, Unit, Value};
