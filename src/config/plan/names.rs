//! Rules about the names of columns and tables.

use serde_saphyr::Spanned;

use crate::config::plan::broken::{Broken, Checked};
use crate::domain::Column;

/// Checks a name. Names are used in DDL, URLs and metric labels. Names that begin with `_` are reserved for the store.
pub fn check_name(path: &str, name: &Spanned<String>) -> Checked<()> {
    let text = &name.value;
    let text = bare(text);
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    if is_plain && begins && text.len() <= 48 {
        return Ok(());
    }
    let next = "use up to 48 letters, digits and _, and begin with a letter; if the header has another name, put it in from:";
    Err(Broken::new(path, format!("`{}` is not a valid name", name.value), next).at(name))
}

/// Returns a name without its double quotes. In CQL, the quotes keep the case of the name. Everywhere else the name is
/// used without them.
pub fn bare(name: &str) -> &str {
    quoted(name).unwrap_or(name)
}

pub fn quoted(name: &str) -> Option<&str> {
    name.strip_prefix('"')?.strip_suffix('"').filter(|inner| !inner.is_empty())
}

pub fn check_folding<'a>(path: &str, names: impl Iterator<Item = &'a Spanned<String>>) -> Checked<()> {
    let mut seen = std::collections::HashMap::new();
    for name in names {
        if let Some(other) = seen.insert(bare(&name.value).to_lowercase(), &name.value) {
            let problem = format!("`{other}` and `{}` are the same name to a database", name.value);
            return Err(Broken::new(path, problem, "rename one of them").at(name));
        }
    }
    Ok(())
}

pub fn find(columns: &[Column], name: &Spanned<String>, path: &str) -> Checked<usize> {
    let found = columns.iter().position(|column| column.name == bare(&name.value));
    found.ok_or_else(|| {
        let known: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        let next = format!("choose from {}", known.join(", "));
        Broken::new(path, format!("there is no column `{}`", name.value), next).at(name)
    })
}
