//! Which names in the inbox are files to load.

use std::ffi::OsStr;
use std::path::{Component, Path};

use glob::{MatchOptions, Pattern};

/// The rules for names, from `source.pattern`, `source.ignore` and `source.subfolders`.
#[derive(Clone, Debug)]
pub struct Names {
    patterns: Vec<NamePattern>,
    ignored: Vec<NamePattern>,
    pub subfolders: bool,
}

/// What a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// A file to load.
    File,
    /// A hidden or temporary file.
    Ignored,
    /// The name matches no pattern.
    Unmatched,
    /// The file is in a hidden folder, or in a subfolder although those are left out.
    Elsewhere,
}

/// A glob. It is matched without regard to ASCII case: against the name of a file, or against its path relative to the
/// inbox if the glob has a slash.
#[derive(Clone, Debug)]
pub struct NamePattern {
    glob: Pattern,
    is_path: bool,
}

/// `*` stays within a folder; only `**` crosses folders.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: false,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Why a pattern cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadPattern {
    #[error("{0}")]
    Glob(#[from] glob::PatternError),
    #[error("it begins with a slash, but paths are relative to the inbox, so it can never match")]
    Absolute,
    #[error("it ends with a slash, but only files have names that match")]
    Folder,
    #[error("it has an empty part, `.` or `..`, which no path in the inbox has, so it can never match")]
    Part,
}

impl BadPattern {
    /// Returns what to write instead of `pattern`.
    pub fn next(&self, pattern: &str) -> String {
        match self {
            Self::Glob(_) => "write it like *.csv, or folder/*.csv".to_owned(),
            Self::Absolute => format!("write {}", pattern.trim_start_matches('/')),
            Self::Folder => format!(
                "write {0}/* for the files in the folder, or {0}/** for its subfolders too",
                pattern.trim_end_matches('/')
            ),
            Self::Part => "write the path as it is below the inbox, like folder/*.csv".to_owned(),
        }
    }
}

impl NamePattern {
    /// # Errors
    /// Returns an error if the text is not a glob, or a path that no file can have.
    pub fn new(text: &str) -> Result<Self, BadPattern> {
        let is_path = text.contains('/');
        match text {
            _ if text.starts_with('/') => return Err(BadPattern::Absolute),
            _ if text.ends_with('/') => return Err(BadPattern::Folder),
            _ if is_path && text.split('/').any(|part| matches!(part, "" | "." | "..")) => {
                return Err(BadPattern::Part);
            }
            _ => {}
        }
        Ok(Self { glob: Pattern::new(text)?, is_path })
    }

    fn matches(&self, path: &str, name: &str) -> bool {
        self.glob.matches_with(if self.is_path { path } else { name }, MATCHING)
    }
}

impl Names {
    /// Leaves out patterns that cannot be used. The configuration has rejected them.
    pub fn new(patterns: &[String], ignored: &[String], subfolders: bool) -> Self {
        let usable = |all: &[String]| all.iter().filter_map(|text| NamePattern::new(text).ok()).collect();
        Self { patterns: usable(patterns), ignored: usable(ignored), subfolders }
    }

    /// Judges a file by its path relative to the listed folder. `folder` is the path of that folder in the inbox.
    pub fn judge(&self, folder: &Path, relative: &Path) -> Judged {
        let mut folders = relative.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        let is_hidden = |name: &OsStr| name.as_encoded_bytes().starts_with(b".");
        let Some(name) = folders.next_back() else { return Judged::Elsewhere };
        if folders.clone().any(is_hidden) || (folders.next().is_some() && !self.subfolders) {
            return Judged::Elsewhere;
        }
        let place = folder.join(relative);
        let (path, shown) = (place.to_string_lossy(), name.to_string_lossy());
        let any = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(&path, &shown));
        match () {
            () if is_hidden(name) || any(&self.ignored) => Judged::Ignored,
            () if any(&self.patterns) => Judged::File,
            () => Judged::Unmatched,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(pattern: &str, ignored: &str, path: &str) -> Judged {
        Names::new(&[pattern.to_owned()], &[ignored.to_owned()], true).judge(Path::new(""), Path::new(path))
    }

    fn matches(pattern: &str, path: &str) -> bool {
        judged(pattern, "", path) == Judged::File
    }

    #[test]
    fn case_does_not_matter() {
        assert!(matches("*.csv", "ORDERS.CSV") && matches("*.CSV.gz", "a.csv.GZ"));
        assert!(matches("[a-c]*.csv", "B.csv") && !matches("É.csv", "é.csv"));
        assert_eq!(judged("*", "*.tmp", "A.TMP"), Judged::Ignored);
    }

    #[test]
    fn a_pattern_with_a_slash_matches_the_path_and_others_the_name() {
        assert!(matches("day1/*.csv", "day1/a.csv") && matches("*.csv", "day1/a.csv"));
        assert!(!matches("day1/*.csv", "day1/x/a.csv") && !matches("day1/*.csv", "a.csv"));
        assert!(matches("day1/**/*.csv", "day1/x/y/a.csv") && matches("**/day1/*.csv", "day1/a.csv"));
        assert!(matches("*/*.csv", "x/a.csv") && !matches("*/*.csv", "x/y/a.csv"));
        assert_eq!(judged("*", "old/**", "old/x/a.csv"), Judged::Ignored);
        assert_eq!(judged("*", "old/*", "a.csv"), Judged::File);
    }

    #[test]
    fn a_path_in_a_listed_subfolder_begins_at_the_inbox() {
        let names = Names::new(&["day1/*.csv".to_owned()], &[], true);
        assert_eq!(names.judge(Path::new("day1"), Path::new("a.csv")), Judged::File);
        assert_eq!(names.judge(Path::new("day2"), Path::new("a.csv")), Judged::Unmatched);
    }

    #[test]
    fn hidden_files_are_ignored_and_those_in_hidden_folders_are_elsewhere() {
        assert_eq!(judged("*", "", ".a.csv"), Judged::Ignored);
        assert_eq!(judged("*", "", ".archive/a.csv"), Judged::Elsewhere);
        assert_eq!(judged("*.csv", "", "a.txt"), Judged::Unmatched);
        let flat = Names::new(&["*".to_owned()], &[], false);
        assert_eq!(flat.judge(Path::new(""), Path::new("x/a.csv")), Judged::Elsewhere);
    }

    #[test]
    fn a_pattern_that_can_never_match_is_refused_with_what_to_write() {
        for (pattern, next) in [
            ("/a.csv", "write a.csv"),
            ("day1/", "day1/**"),
            ("./a.csv", "below the inbox"),
            ("a//b.csv", "below the inbox"),
            ("../a.csv", "below the inbox"),
            ("a**", "write it like"),
            ("[", "write it like"),
        ] {
            let error = NamePattern::new(pattern).unwrap_err();
            assert!(error.next(pattern).contains(next), "{pattern}: {error}; {}", error.next(pattern));
        }
    }
}
