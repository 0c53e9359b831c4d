//! Turns bytes into records: decompression, encoding, framing and fields.

pub mod stream_error;
pub mod encoding;
pub mod sniff;
pub mod framer;
pub mod tail;
pub(crate) mod splitter;
pub mod decoded;
