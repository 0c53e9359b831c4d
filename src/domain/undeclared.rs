//! Files in the ledger whose feed is not declared, because it was renamed or removed.

use std::collections::BTreeMap;

use super::feed::{FileKey, title};

/// Counts the files of each feed that is not declared.
#[derive(Debug, Default)]
pub struct Undeclared(BTreeMap<String, Counts>);

#[derive(Debug, Default)]
struct Counts {
    files: u64,
    /// Open records in quarantine.
    open: u64,
}

impl Undeclared {
    /// Adds a file of such a feed, or some of its deliveries, with their open records in quarantine.
    pub fn add(&mut self, file: &FileKey, files: u64, open: u64) {
        if !self.0.contains_key(file.feed()) {
            self.0.insert(file.feed().to_owned(), Counts::default());
        }
        if let Some(counts) = self.0.get_mut(file.feed()) {
            counts.files += files;
            counts.open += open;
        }
    }

    /// Returns a warning for each feed, with what to do.
    pub fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.0.iter().map(|(name, counts)| counts.warning(name))
    }
}

impl Counts {
    fn warning(&self, name: &str) -> String {
        let Self { files, open } = self;
        let files = if *files == 1 { "1 file".to_owned() } else { format!("{files} files") };
        let (records, discard) = match open {
            0 => (String::new(), String::new()),
            open => (
                format!(" with {open} open {} in quarantine", if *open == 1 { "record" } else { "records" }),
                format!(", and `needledrop quarantine discard --file {name}//PATH` settles its open records"),
            ),
        };
        let renamed = match name {
            "" => "if source and tables were moved under a name, move them back",
            _ => "if it was renamed, restore its name",
        };
        format!(
            "the ledger has {files}{records} of {}, which is not declared: {renamed}, because under another name its \
             files are loaded again; if it was removed, its rows stay{discard}",
            title(name)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_feed_has_a_warning_with_its_counts_and_what_to_do() {
        let mut undeclared = Undeclared::default();
        assert_eq!(undeclared.warnings().count(), 0);
        for (file, open) in [("old//a.csv", 2), ("old//b.csv", 1), ("c.csv", 0)] {
            undeclared.add(&FileKey::from_text(file), 1, open);
        }
        let warnings: Vec<String> = undeclared.warnings().collect();
        let [unnamed, old] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert!(unnamed.contains("1 file of the feed without a name") && unnamed.contains("move them back"));
        assert!(unnamed.ends_with("its rows stay"), "{unnamed}");
        assert!(old.contains("2 files with 3 open records in quarantine of the feed `old`"), "{old}");
        assert!(old.contains("restore its name") && old.contains("discard --file old//PATH"), "{old}");
    }
}
