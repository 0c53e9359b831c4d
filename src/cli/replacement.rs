//! What a delivery changed, compared with the earlier generation of its file that it replaces.

use serde_json::{Map, Value as Json, json};

use super::render::printable;
use crate::domain::Replacement;
use crate::domain::replacement::{Change, Comparison, Example, Mirror, TableChanges};

/// Returns the JSON form.
pub fn json(replacement: &Replacement) -> Json {
    let examples = |changes: &TableChanges, kind: Change| {
        let of_kind = changes.examples.iter().filter(|example| example.kind == kind);
        of_kind.map(|example| example.key.clone()).collect::<Vec<_>>()
    };
    let table = |changes: &TableChanges| {
        let counts = Change::ALL.map(|kind| (kind.name().to_owned(), json!(changes.count(kind))));
        let keys = Change::ALL.map(|kind| (kind.name().to_owned(), json!(examples(changes, kind))));
        let mut object: Map<String, Json> = counts.into_iter().collect();
        object.insert("examples".to_owned(), Json::Object(keys.into_iter().collect()));
        (changes.table.clone(), Json::Object(object))
    };
    let (tables, why_not) = match &replacement.comparison {
        Comparison::Done(tables) => (Json::Object(tables.iter().map(table).collect()), Json::Null),
        Comparison::Due => (Json::Null, json!("not compared yet")),
        Comparison::Impossible(why) => (Json::Null, json!(why)),
    };
    let (mirror, why_stays) = match &replacement.mirror {
        Mirror::Off => ("off", Json::Null),
        Mirror::Due => ("due", Json::Null),
        Mirror::Done => ("done", Json::Null),
        Mirror::Refused(why) => ("refused", json!(why)),
    };
    json!({
        "earlier_generation": replacement.earlier, "tables": tables, "not_compared": why_not,
        "mirror": mirror, "why_gone_rows_stay": why_stays,
    })
}

/// Returns the text form: the counts, then one line for each example.
pub fn lines(replacement: &Replacement) -> Vec<String> {
    let mut lines = vec![replacement.to_string()];
    if let Comparison::Done(tables) = &replacement.comparison {
        for TableChanges { table, examples, .. } in tables {
            let line = |example: &Example| {
                format!("  {}  {table}  {}", example.kind.name(), printable(&example.key))
            };
            lines.extend(examples.iter().map(line));
        }
    }
    lines
}
