//! Quarantined records summarised by column and reason, as a table for people and as JSON.

use std::io::{self, Write};

use serde_json::{Value as Json, json};

use super::render;
use crate::domain::Refusals;
use crate::domain::refusals::Refusal;

/// The maximum number of kinds that the table shows.
const SHOWN: usize = 20;

/// Writes a line for each kind, the most frequent first. Writes nothing if there are none.
pub fn table(out: &mut impl Write, refusals: &Refusals) -> io::Result<()> {
    let kinds = refusals.by_count();
    let rows: Vec<Vec<String>> = kinds.iter().take(SHOWN).map(|refusal| row(refusal)).collect();
    if rows.is_empty() {
        return Ok(());
    }
    render::table(out, &["quarantined", "reason", "column", "first"], &rows)?;
    match kinds.len().saturating_sub(SHOWN) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more kinds"),
    }
}

fn row(Refusal { column, reason, count, file, line, detail }: &Refusal) -> Vec<String> {
    let column = column.clone().unwrap_or_default();
    vec![
        format!("  {}", render::grouped(*count)),
        reason.to_string(),
        column,
        format!("{file}:{line} {detail}"),
    ]
}

pub fn json(refusals: &Refusals) -> Json {
    let object = |Refusal { column, reason, count, file, line, detail }: &&Refusal| {
        json!({
            "records": count, "reason": reason.name(), "column": column, "feed": file.feed(), "file": file.path(),
            "line": line, "detail": detail,
        })
    };
    refusals.by_count().iter().take(SHOWN).map(object).collect()
}
