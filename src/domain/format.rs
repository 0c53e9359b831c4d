//! How the bytes of a file are divided into records and fields.

/// The format of the files of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header, and quotes by RFC 4180.
    #[default]
    Csv,
}
