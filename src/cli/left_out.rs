//! Shows the files that are left out: because of their names, or because they are no regular files.

use serde_json::{Value as Json, json};

use crate::source::left_out::{LeftOut, Suffixes};

/// Returns a line for each kind, if there are such files.
pub fn lines(left_out: &LeftOut) -> Vec<String> {
    let names = [left_out.unmatched_text(""), left_out.ignored_text(), left_out.not_utf8_text()];
    names.into_iter().chain([left_out.not_files_text()]).flatten().collect()
}

pub fn json(left_out: &LeftOut) -> Json {
    let LeftOut { unmatched, ignored, not_utf8, not_files } = left_out;
    json!({
        "unmatched": suffixes(unmatched), "ignored": suffixes(ignored), "not_utf8": not_utf8.files,
        "not_files": { "files": not_files.total(), "kinds": not_files.kinds },
    })
}

fn suffixes(all: &Suffixes) -> Json {
    json!({ "files": all.total(), "suffixes": all.files })
}
