//! Archives that cannot be read, and why.

/// Why an archive cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    Empty,
    Several,
    Office,
    Encrypted,
    /// The file is compressed by another method than deflate.
    Method,
    /// The archive is damaged, in several parts, or has other bytes before it.
    Unusual,
}

impl Unusable {
    /// Returns what the file is, as in "the file is …".
    pub fn kind(self) -> &'static str {
        match self {
            Self::Empty => "a zip archive without files",
            Self::Several => "a zip archive with several files",
            Self::Office => "an Excel workbook or another Office document",
            Self::Encrypted => "an encrypted zip archive",
            Self::Method => "a zip archive with another compression than deflate",
            Self::Unusual => "a zip archive that is damaged, split or over 4 GiB",
        }
    }
}
