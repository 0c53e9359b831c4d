//! Counts what the lenient settings of a format tolerated in a delivery. Ledgers keep the counts in the column `lenient`.

use std::fmt;

/// Something that a lenient setting tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerated {
    /// A line was a comment.
    Comments,
    /// Blanks around a field were left out.
    Trimmed,
    /// A record of nothing but delimiters was skipped.
    BlankRows,
    /// A record that repeats the header was skipped.
    RepeatedHeaders,
    /// A record had more fields than the header.
    ExtraFields,
    /// A record had fewer fields than the header.
    Padded,
    /// A line was a part of the footer.
    Footer,
}

impl Tolerated {
    pub const ALL: [Self; 7] = [
        Self::Comments,
        Self::Trimmed,
        Self::BlankRows,
        Self::RepeatedHeaders,
        Self::ExtraFields,
        Self::Padded,
        Self::Footer,
    ];

    /// Returns the name in receipts and ledgers. It never changes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Comments => "comments",
            Self::Trimmed => "trimmed",
            Self::BlankRows => "blank_rows",
            Self::RepeatedHeaders => "repeated_headers",
            Self::ExtraFields => "extra_fields",
            Self::Padded => "padded",
            Self::Footer => "footer",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// How often each [`Tolerated`] was counted.
///
/// Its text form, as in `comments=2 trimmed=5`, leaves out what never happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToleratedCounts([u64; Tolerated::ALL.len()]);

impl ToleratedCounts {
    /// Reads the text form. Leaves out what it does not know.
    pub fn parse(text: &str) -> Self {
        let mut counts = Self::default();
        for (name, count) in text.split(' ').filter_map(|part| part.split_once('=')) {
            if let (Some(kind), Ok(count)) = (Tolerated::from_name(name), count.parse()) {
                counts.count(kind, count);
            }
        }
        counts
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub fn get(&self, kind: Tolerated) -> u64 {
        self.iter().find(|(found, _)| *found == kind).map_or(0, |(_, count)| count)
    }

    pub fn count(&mut self, kind: Tolerated, times: u64) {
        let mut counts = Tolerated::ALL.into_iter().zip(&mut self.0);
        if let Some((_, count)) = counts.find(|(found, _)| *found == kind) {
            *count += times;
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// Returns what happened at least once.
    pub fn iter(&self) -> impl Iterator<Item = (Tolerated, u64)> + '_ {
        Tolerated::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0)
    }

    /// Returns the text form, or `None` if nothing happened.
    pub fn stored(&self) -> Option<String> {
        (!self.is_empty()).then(|| self.to_string())
    }
}

impl fmt::Display for ToleratedCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (kind, count)) in self.iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{}={count}", kind.name())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_survive_their_text_form() {
        let mut counts = ToleratedCounts::default();
        assert_eq!((counts.is_empty(), counts.stored()), (true, None));
        counts.count(Tolerated::Trimmed, 2);
        let mut more = ToleratedCounts::default();
        more.count(Tolerated::Trimmed, 3);
        more.count(Tolerated::Comments, 2);
        counts.add(&more);
        assert_eq!(counts.stored().as_deref(), Some("comments=2 trimmed=5"));
        assert_eq!(ToleratedCounts::parse(&counts.to_string()), counts);
        let all = Tolerated::ALL.map(|kind| format!("{}=1", kind.name())).join(" ");
        assert_eq!(ToleratedCounts::parse(&all).to_string(), all);
        assert_eq!(ToleratedCounts::parse("unknown=1 padded=x comments=4").to_string(), "comments=4");
    }
}
