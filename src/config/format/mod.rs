//! `source.format`: the dialect of the files, by name or key by key.

mod keys;
mod kind;
mod value;

use std::sync::Arc;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use keys::{Extra, Header, Keys, Match, Missing, Skip};
use kind::Kind;
use serde::Deserialize;
use value::Problem;

use crate::config::columns::number_form;
use crate::config::text::Text;
use crate::domain::Format;
use crate::domain::format::{HeaderRule, NameMatch};
use crate::domain::lenient_settings::{ExtraFields, LenientSettings};
use crate::domain::reading::NumberForm;

/// The section `source.format`. A key that is missing has the value of `kind`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct FormatConfig(Keys);

impl FormatConfig {
    /// Returns the format that the keys describe.
    ///
    /// # Errors
    /// Returns the first key with a value that cannot be used.
    pub fn compile(&self) -> Result<Format, Problem> {
        let Self(keys) = self;
        let mut dialect = keys.kind.dialect();
        if let Some(Text(text)) = &keys.delimiter {
            dialect.delimiter = value::delimiter(text)?;
        }
        if let Some(Text(text)) = &keys.quote {
            dialect.quote = value::quote(text)?;
        }
        if let Some(Text(text)) = &keys.escape {
            dialect.escape = value::escape(text)?;
        }
        if let Some(lines) = keys.skip_lines {
            dialect.skip_lines = value::lines_of_beginning("source.format.skip_lines", lines)?;
        }
        dialect.skip_footer = value::footer(keys.skip_footer)?;
        if let Some(words) = &keys.null {
            dialect.null = value::texts(words);
        }
        if let Some(lines) = keys.lines {
            dialect.lines = lines.into();
        }
        dialect.header = keys.header(dialect.header)?;
        dialect.name_match = match keys.header_match {
            Match::Exact => NameMatch::Exact,
            Match::Relaxed => NameMatch::Relaxed,
        };
        dialect.lenient = keys.lenient()?;
        dialect.check().map_err(value::ambiguous)?;
        Ok(Format::Csv(Arc::new(dialect)))
    }

    /// Returns how numbers are written, unless their column says otherwise.
    ///
    /// # Errors
    /// Returns an error if the characters cannot be used.
    pub fn numbers(&self) -> Result<NumberForm, Problem> {
        let Self(Keys { kind, decimal, thousands, .. }) = self;
        let of_kind = match kind {
            Kind::Excel => NumberForm { decimal: ',', ..NumberForm::default() },
            _ => NumberForm::default(),
        };
        number_form(decimal.as_ref(), thousands.as_ref(), of_kind).map_err(|problem| {
            let path =
                if problem.key == "decimal" { "source.format.decimal" } else { "source.format.thousands" };
            (path, problem.problem, problem.next)
        })
    }

    /// Returns the encoding of the files if `source.encoding` does not tell it.
    pub fn encoding(&self) -> &'static Encoding {
        match self.0.kind {
            Kind::Excel => WINDOWS_1252,
            _ => UTF_8,
        }
    }
}

impl Keys {
    fn lenient(&self) -> Result<LenientSettings, Problem> {
        Ok(LenientSettings {
            comment: self.comment.as_ref().map(|Text(text)| value::comment(text)).transpose()?,
            trim: self.trim,
            skip_blank_rows: self.blank_rows == Skip::Skip,
            skip_repeated_headers: self.repeated_header == Skip::Skip,
            extra_fields: match self.extra_fields {
                Extra::Refuse => ExtraFields::Refuse,
                Extra::Ignore => ExtraFields::Ignore,
                Extra::IgnoreEmptyLast => ExtraFields::IgnoreEmptyLast,
            },
            pad_missing: self.missing_fields == Missing::Pad,
        })
    }

    fn header(&self, of_kind: HeaderRule) -> Result<HeaderRule, Problem> {
        let has_header = match (self.header, of_kind) {
            (Some(Header::Lines(lines)), _) => Some(lines),
            (None, HeaderRule::Lines(lines)) => Some(lines),
            (Some(Header::Absent), _) | (None, HeaderRule::Names(_)) => None,
        };
        match (has_header, &self.names) {
            (Some(0), _) => Err((
                "source.format.header",
                "is 0".to_owned(),
                "set it to false if the files have no header",
            )),
            (Some(lines), None) => {
                value::lines_of_beginning("source.format.header", lines).map(HeaderRule::Lines)
            }
            (Some(_), Some(_)) => Err((
                "source.format.names",
                "names the fields, but the files have a header".to_owned(),
                "set source.format.header to false, or remove the names",
            )),
            (None, Some(names)) if !names.is_empty() => Ok(HeaderRule::Names(value::texts(names))),
            (None, _) => Err((
                "source.format.names",
                "is missing, and the files have no header".to_owned(),
                "list the names of all fields in order: names: [id, name]",
            )),
        }
    }
}
