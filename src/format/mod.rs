//! Turns bytes into records: decompression, encoding, headers, framing and fields.
//!
//! A format has a folder, such as `csv`. The files beside it choose by [`Format`](crate::domain::Format), so the rest of
//! the program does not know which format it reads.

mod csv;
pub mod header;
pub mod stream_error;
pub mod encoding;
pub mod sniff;
pub mod framer;
pub mod tail;
pub(crate) mod splitter;
pub mod decoded;
