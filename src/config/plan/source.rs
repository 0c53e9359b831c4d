//! Rules about the files of a source: their encoding, their format and their archive.

use std::path::Component;

use encoding_rs::Encoding;

use crate::config::plan::broken::{Broken, Checked};
use crate::config::sections::{After, SourceConfig};
use crate::domain::{Column, FieldNames, Format, Origin};
use crate::source::folder::apart::real;

pub fn encoding(source: &SourceConfig) -> Checked<&'static Encoding> {
    let Some(label) = &source.encoding else { return Ok(source.format.encoding()) };
    // Some old labels stand for encodings that are no longer decoded.
    Encoding::for_label_no_replacement(label.value.as_bytes()).ok_or_else(|| {
        let next =
            "use a label of encoding.spec.whatwg.org, such as utf-8, utf-16le, windows-1252 or shift_jis";
        Broken::new("source.encoding", format!("there is no encoding `{}`", label.value), next).at(label)
    })
}

pub fn format(source: &SourceConfig, columns: &[Column]) -> Checked<Format> {
    let format = source.format.compile();
    let format = format.map_err(|(path, problem, next)| Broken::new(path, problem, next))?;
    let Some(names) = format.names() else { return Ok(format) };
    let rule = format.name_match();
    let count = |wanted: &FieldNames| {
        names.iter().filter(|name| wanted.iter().any(|wanted| rule.is_same(name, wanted))).count()
    };
    let bad = columns.iter().find_map(|column| match &column.origin {
        Origin::Field(wanted) => Some((wanted, count(wanted))).filter(|(_, count)| *count != 1),
        _ => None,
    });
    match bad {
        None => Ok(format),
        Some((wanted, 0)) => Err(Broken::new(
            "source.format.names",
            format!("does not have {wanted}, which source.columns reads"),
            "list the names of all fields in order, with the names of source.columns",
        )),
        Some((wanted, _)) => Err(Broken::new(
            "source.format.names",
            format!("has more than one field for {wanted}, so it is not known which one to load"),
            "give each field a name of its own, and name one of them in from:",
        )),
    }
}

/// Checks that moved files do not come back as new files.
pub fn check_archive(source: &SourceConfig) -> Checked<()> {
    let (inbox, archive) = (real(&source.folder), real(&source.archive()));
    let is_hidden = |name: Component<'_>| name.as_os_str().as_encoded_bytes().starts_with(b".");
    let is_listed = match archive.strip_prefix(&inbox) {
        Ok(within) => {
            within.as_os_str().is_empty() || (source.subfolders && !within.components().any(is_hidden))
        }
        // The archive repeats the subfolders of the inbox, so a moved file could land in the inbox again.
        Err(_) => source.subfolders && inbox.starts_with(&archive),
    };
    if source.after != After::Move || !is_listed {
        return Ok(());
    }
    let problem = format!("{}: moved files would be listed as new files of the inbox", archive.display());
    Err(Broken::new("source.archive", problem, "name a folder outside the inbox, or leave the setting out"))
}
