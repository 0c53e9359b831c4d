//! Suggests settings for refused lines that do not look like records: a line of units below the header, a repeated or
//! undeclared header, and totals at the end. No line is skipped automatically.

use crate::domain::format::HeaderRule;
use crate::domain::{DeliveryContext, Format, Origin, Plan, Reason, Type};
use crate::format::splitter::SplitRecord;
use crate::format::totals;
use crate::pipeline::row_builder::hints::is_null_word;
use crate::pipeline::row_builder::refused::Refused;

/// A refused record of a file.
#[derive(Clone, Copy)]
pub struct Line<'r> {
    pub plan: &'r Plan,
    pub source: &'r DeliveryContext,
    pub record: SplitRecord<'r>,
}

impl Line<'_> {
    /// Returns what to set if this line repeats the header or is a line of totals.
    pub fn hint(self) -> Option<String> {
        let setting = |key| self.plan.format.setting(key);
        if self.repeats_header() {
            return Some(format!("if it repeats the header, set {}: skip", setting("repeated_header")));
        }
        let Format::Csv(dialect) = &self.plan.format;
        let footer = setting("skip_footer");
        totals::is_total(self.record.iter()).then(|| match dialect.skip_footer.count() {
            0 => format!(
                "if the file ends with lines like this that are not records, set {footer} to the number of such lines"
            ),
            _ => format!(
                "if it was read before {footer} was set, or before the file grew, remove it with `needledrop \
                 quarantine discard`"
            ),
        })
    }

    /// Returns what to set if this record, the first of its file, has words where values are expected. `refused` are
    /// its empty and its refused columns.
    pub fn first_hint(self, refused: &[(usize, Option<Refused>)]) -> Option<String> {
        self.is_of_words(refused).then(|| self.header_hint())
    }

    /// Whether the record repeats the header. `Tolerance` has already found repetitions of headers with several names,
    /// so this finds those with one.
    fn repeats_header(self) -> bool {
        let names = self.source.header.0.iter().map(String::as_bytes);
        self.plan.format.names().is_none() && self.record.iter().eq(names)
    }

    /// Whether each field that should be a number, a time or the like is a word instead, and there is one.
    fn is_of_words(self, refused: &[(usize, Option<Refused>)]) -> bool {
        let typed = self
            .plan
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| is_telling(column.kind, &column.origin));
        let mut fields = typed
            .filter_map(|(column, _)| {
                let at = self.source.mapping.field_of.get(column).copied().flatten()?;
                let field = String::from_utf8_lossy(self.record.get(at)?);
                (!field.trim().is_empty()).then(|| is_refused(refused, column) && is_word(&field))
            })
            .peekable();
        fields.peek().is_some() && fields.all(|is_word| is_word)
    }

    fn header_hint(self) -> String {
        let Format::Csv(dialect) = &self.plan.format;
        match &dialect.header {
            HeaderRule::Lines(lines) => {
                let (header, more) = (self.plan.format.setting("header"), lines + 1);
                format!("if this line belongs to the header, such as a line of units, set {header}: {more}")
            }
            HeaderRule::Names(_) => {
                let (header, names) = (self.plan.format.setting("header"), self.plan.format.setting("names"));
                format!("if this line is a header, set {header}: true and remove {names}")
            }
        }
    }
}

fn is_refused(refused: &[(usize, Option<Refused>)], column: usize) -> bool {
    let is_it = |(index, problem): &(usize, Option<Refused>)| {
        *index == column && problem.as_ref().is_some_and(|refused| refused.reason == Reason::Value)
    };
    refused.iter().any(is_it)
}

/// Whether a word in a field of this type shows that its line is not a record.
fn is_telling(kind: Type, origin: &Origin) -> bool {
    let is_field = matches!(origin, Origin::Field(_));
    is_field && !matches!(kind, Type::Text | Type::Blob | Type::Boolean | Type::Collection(_))
}

/// Whether a text is a unit or a name, and not a number, a date or a word for an empty field.
fn is_word(field: &str) -> bool {
    let text = field.trim().trim_start_matches(['(', '[', '{', '<', '"', '\'']);
    let begins =
        text.chars().next().is_some_and(|c| !c.is_ascii_digit() && !matches!(c, '-' | '+' | '.' | ','));
    begins && !is_null_word(field.trim())
}
