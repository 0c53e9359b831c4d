//! Keeps the inboxes of feeds apart. Folders and links may be created or replaced at any time, so the folders are compared
//! when the configuration is read, and again before files are listed and before they leave.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::domain::Feed;
use crate::source::folder::real_path::real_path;
use crate::source::folder::settings::OtherInbox;

/// A feed's inbox, and the inboxes that it must not overlap.
#[derive(Clone, Debug)]
pub struct Apart {
    feed: Feed,
    own: Checked,
    subfolders: bool,
    others: Vec<(OtherInbox, Checked)>,
}

/// A folder as it was when the configuration was read.
#[derive(Clone, Debug)]
struct Checked {
    declared: PathBuf,
    real: PathBuf,
}

impl Checked {
    fn of(declared: &Path) -> Self {
        Self { declared: declared.to_owned(), real: real(declared) }
    }

    /// Returns where the path leads now, and whether that is elsewhere.
    fn now(&self) -> (PathBuf, bool) {
        let real = real(&self.declared);
        let has_moved = real != self.real;
        (real, has_moved)
    }
}

impl Apart {
    pub fn new(feed: &Feed, (folder, subfolders): (&Path, bool), others: &[OtherInbox]) -> Self {
        let others = others.iter().map(|other| (other.clone(), Checked::of(&other.folder))).collect();
        Self { feed: feed.clone(), own: Checked::of(folder), subfolders, others }
    }

    /// Checks that no file of the inbox is also a file of another feed. If one is, the feed whose folder was replaced gives
    /// way; if both were, the one that comes later.
    ///
    /// # Errors
    /// Returns an error if this feed gives way to another.
    pub fn check(&self) -> io::Result<()> {
        let own = real(&self.own.declared);
        // Inboxes of other feeds are looked at only if they matter, because they may not answer.
        if own == self.own.real {
            return Ok(());
        }
        for (other, checked) in &self.others {
            let (theirs, has_moved) = checked.now();
            let is_over = overlap((&own, self.subfolders), (&theirs, other.subfolders));
            if is_over && (!has_moved || self.feed > other.feed) {
                return Err(io::Error::other(format!(
                    "its path leads to {}, whose files are files of {}; give each feed a folder of its own",
                    own.display(),
                    other.feed.setting("source.folder")
                )));
            }
        }
        Ok(())
    }

    /// Checks that a link of this inbox does not lead to a file that another feed moves or deletes. A feed whose folder was
    /// replaced does neither.
    ///
    /// # Errors
    /// Returns an error if it does.
    pub fn check_link(&self, target: &Path) -> io::Result<()> {
        let folder = target.parent().unwrap_or(target);
        let mut removing = self.others.iter().filter(|(other, _)| other.removes);
        let owner = removing
            .find(|(other, checked)| !checked.now().1 && lists(&checked.real, other.subfolders, folder));
        match owner {
            None => Ok(()),
            Some((other, _)) => Err(io::Error::other(format!(
                "it leads to {}, which leaves the inbox of {} when that feed has loaded it; drop a copy or a hard link",
                target.display(),
                other.feed.setting("source.folder")
            ))),
        }
    }

    /// Whether links have to be checked.
    pub fn checks_links(&self) -> bool {
        self.others.iter().any(|(other, _)| other.removes)
    }
}

/// Whether two inboxes, given by their real paths and whether they have subfolders, have files in common.
pub fn overlap((one, one_subfolders): (&Path, bool), (other, other_subfolders): (&Path, bool)) -> bool {
    lists(one, one_subfolders, other) || lists(other, other_subfolders, one)
}

/// Whether an inbox lists the files of a folder in it.
pub fn lists(inbox: &Path, subfolders: bool, folder: &Path) -> bool {
    let is_hidden = |name: Component<'_>| name.as_os_str().as_encoded_bytes().starts_with(b".");
    folder.strip_prefix(inbox).is_ok_and(|within| {
        within.as_os_str().is_empty() || (subfolders && !within.components().any(is_hidden))
    })
}

/// Resolves the links in a path, as far as the path exists.
pub fn real(folder: &Path) -> PathBuf {
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let existing = absolute.ancestors().find_map(|part| Some((part, real_path(part).ok()?)));
    let Some((part, real)) = existing else { return absolute };
    real.join(absolute.strip_prefix(part).unwrap_or(Path::new("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inboxes_overlap_if_one_lists_the_folder_of_the_other() {
        let is = |one: (&str, bool), other: (&str, bool)| {
            overlap((Path::new(one.0), one.1), (Path::new(other.0), other.1))
        };
        assert!(is(("/in", false), ("/in", false)));
        assert!(is(("/in", true), ("/in/a", false)) && is(("/in/a", false), ("/in", true)));
        assert!(!is(("/in", false), ("/in/a", true)) && !is(("/in", true), ("/inside", true)));
        assert!(!is(("/in", true), ("/in/.hidden/a", true)), "hidden folders are not listed");
    }
}
