//! What ends a line, and which lines at the end of a file are no records.

/// What ends a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnd {
    /// A line feed, with the carriage return before it if there is one.
    #[default]
    Any,
    /// A line feed. A carriage return before it is text.
    Lf,
    /// A carriage return and a line feed. A line feed alone is text.
    CrLf,
    /// Two carriage returns and a line feed. With fewer carriage returns, a line feed is text.
    CrCrLf,
    /// A carriage return. Line feeds are text.
    Cr,
}

impl LineEnd {
    /// Returns the bytes of a line end.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::Any | Self::CrLf => b"\r\n",
            Self::CrCrLf => b"\r\r\n",
            Self::Cr => b"\r",
        }
    }

    /// Returns all texts that end a line.
    pub fn forms(self) -> &'static [&'static [u8]] {
        match self {
            Self::Any => &[b"\n", b"\r\n"],
            Self::Lf => &[b"\n"],
            Self::CrLf => &[b"\r\n"],
            Self::CrCrLf => &[b"\r\r\n"],
            Self::Cr => &[b"\r"],
        }
    }

    /// Returns the last byte of a line end.
    pub fn last_byte(self) -> u8 {
        if self == Self::Cr { b'\r' } else { b'\n' }
    }

    /// Returns the largest number of carriage returns before the last byte of a line end.
    pub fn returns(self) -> usize {
        match self {
            Self::Lf | Self::Cr => 0,
            Self::Any | Self::CrLf => 1,
            Self::CrCrLf => 2,
        }
    }

    /// Whether every [`Self::last_byte`] outside quotes ends a line, whatever precedes it.
    pub fn is_one_byte(self) -> bool {
        matches!(self, Self::Any | Self::Lf | Self::Cr)
    }

    /// Whether a line feed outside quotes may be text.
    pub fn allows_line_feeds(self) -> bool {
        !matches!(self, Self::Any | Self::Lf)
    }

    /// Whether the text has a line end.
    pub fn is_in(self, text: &[u8]) -> bool {
        let has = |form: &&[u8]| text.windows(form.len()).any(|part| part == *form);
        self.forms().iter().any(has)
    }
}

/// The number of lines in the footer of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FooterLines(u8);

impl FooterLines {
    /// The largest number. While a file is read, so many lines are in memory.
    pub const MOST: u8 = 100;

    /// Returns `None` if there are more than [`Self::MOST`] lines.
    pub fn new(lines: u64) -> Option<Self> {
        u8::try_from(lines).ok().filter(|lines| *lines <= Self::MOST).map(Self)
    }

    pub fn count(self) -> usize {
        self.0.into()
    }
}
