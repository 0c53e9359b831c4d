//! Turns bytes into records: decompression, encoding, headers, framing and fields.
//!
//! A format has a folder, such as `csv`. The files beside it choose by [`Format`](crate::domain::Format), so the rest of
//! the program does not know which format it reads.

mod csv;
pub mod header;
pub mod header_advice;
pub mod stream_error;
pub mod encoding;
pub mod sniff;
pub mod utf8_text;
pub mod footer;
pub mod framer;
pub mod tail;
mod zip;
pub mod totals;
pub mod raw_file;
pub(crate) mod splitter;
pub mod decoded;
