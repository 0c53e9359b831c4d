//! Dialects by name.

use serde::Deserialize;

use crate::domain::format::{Delimiter, Dialect, Escape, HeaderRule, LineEnd, Mark};

/// The names of known dialects.
#[derive(Debug, Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Commas, and quotes by RFC 4180.
    #[default]
    Csv,
    /// Tabs, and quotes by RFC 4180.
    Tsv,
    /// What Excel saves as CSV where numbers have a decimal comma: semicolons, in windows-1252.
    Excel,
    /// What `SELECT … INTO OUTFILE` and `mysqldump --tab` of MySQL write.
    Mysql,
    /// The text format of `COPY … TO` of PostgreSQL.
    Postgres,
    /// What `dsbulk unload` writes.
    Dsbulk,
}

impl Kind {
    pub fn dialect(self) -> Dialect {
        let tab = || Delimiter::new("\t").unwrap_or(Dialect::default().delimiter);
        let text_dump = || Dialect {
            delimiter: tab(),
            quote: None,
            escape: Escape::Backslash,
            header: HeaderRule::Names(Vec::new()),
            null: vec!["\\N".to_owned()],
            ..Dialect::default()
        };
        match self {
            Self::Csv => Dialect::default(),
            Self::Tsv => Dialect { delimiter: tab(), ..Dialect::default() },
            Self::Excel => Dialect {
                delimiter: Delimiter::new(";").unwrap_or(Dialect::default().delimiter),
                ..Dialect::default()
            },
            // MySQL writes carriage returns as they are.
            Self::Mysql => Dialect { lines: LineEnd::Lf, ..text_dump() },
            Self::Postgres => text_dump(),
            Self::Dsbulk => Dialect {
                escape: Mark::new("\\").map_or(Escape::Doubled, Escape::Mark),
                ..Dialect::default()
            },
        }
    }
}
