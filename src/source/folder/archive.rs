//! The archive: the folder that loaded files are moved to. A file keeps its name from the inbox, with a number if that
//! name is taken.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::domain::FileStat;
use crate::source::folder::file::note;
use crate::source::folder::real_path::real_path;

/// The folder for copies that are not complete yet.
pub const PARTS: &str = ".part";

/// The folder that files are moved to.
#[derive(Debug, Default)]
pub struct Archive {
    pub folder: PathBuf,
    /// The files found in each of its folders. A folder is listed only once.
    listed: Mutex<HashMap<PathBuf, Names>>,
}

/// The files of one folder, by the name they had in the inbox and by their number.
type Names = HashMap<String, BTreeMap<u64, (PathBuf, FileStat)>>;

impl Archive {
    pub fn new(folder: PathBuf) -> Self {
        let absolute = || std::path::absolute(&folder).ok();
        let folder = real_path(&folder).ok().or_else(absolute).unwrap_or(folder);
        Self { folder, listed: Mutex::default() }
    }

    /// Returns the place of a file of the inbox in the archive, if no other file is there.
    pub fn place(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    pub fn parts(&self) -> PathBuf {
        self.folder.join(PARTS)
    }

    /// Returns the files that may have had this path in the inbox. Files whose size and mtime match `noted` come first.
    /// Only a comparison of the bytes shows which file it is.
    pub fn candidates(&self, path: &str, noted: FileStat) -> Vec<PathBuf> {
        let place = self.place(path);
        let (Some(folder), Some(name)) = (place.parent(), place.file_name().and_then(|name| name.to_str()))
        else {
            return Vec::new();
        };
        // Files outside the inbox are not moved to the archive.
        if Path::new(path).is_absolute() {
            return Vec::new();
        }
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let names = listed.entry(folder.to_owned()).or_insert_with(|| names(folder).unwrap_or_default());
        let mut found: Vec<_> = names.get(name).into_iter().flat_map(BTreeMap::values).cloned().collect();
        found.sort_by_key(|(_, found)| !found.has_bytes_of(&noted));
        found.into_iter().map(|(place, _)| place).collect()
    }

    /// Returns the paths that a file of the archive may have had in the inbox. Returns none for a place outside the
    /// archive.
    pub fn paths_of(&self, place: &Path) -> Vec<String> {
        let within = place.strip_prefix(&self.folder).ok().and_then(Path::to_str);
        let Some(within) = within else { return Vec::new() };
        let folder = Path::new(within).parent().unwrap_or(Path::new(""));
        let name = Path::new(within).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let bare = unnumbered(name).and_then(|(bare, _)| folder.join(bare).to_str().map(str::to_owned));
        [within.to_owned()].into_iter().chain(bare).collect()
    }
}

fn names(folder: &Path) -> io::Result<Names> {
    let mut names = Names::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (Ok(name), Ok(meta)) = (entry.file_name().into_string(), entry.metadata()) else { continue };
        if !meta.is_file() {
            continue;
        }
        let file = (entry.path(), note(&meta));
        if let Some((bare, number)) = unnumbered(&name) {
            names.entry(bare).or_default().insert(number, file.clone());
        }
        names.entry(name).or_default().insert(1, file);
    }
    Ok(names)
}

/// Adds a number to a name: `sub/day.csv.gz` with 2 is `sub/day-2.csv.gz`. The first file of a name has no number.
pub fn numbered(place: &Path, number: u64) -> PathBuf {
    let name = place.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if number < 2 {
        return place.to_owned();
    }
    let (stem, ending) = split(name);
    place.with_file_name(format!("{stem}-{number}{ending}"))
}

/// Splits `day-2.csv.gz` into `day.csv.gz` and 2.
fn unnumbered(name: &str) -> Option<(String, u64)> {
    let (stem, ending) = split(name);
    let (bare, number) = stem.rsplit_once('-')?;
    let number = number.parse().ok().filter(|number| *number > 1)?;
    Some((format!("{bare}{ending}"), number))
}

/// Splits a name into stem and extension. The extension includes that of a compressed file.
fn split(name: &str) -> (&str, &str) {
    let plain = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    let at = plain.rfind('.').filter(|at| *at > 0).unwrap_or(plain.len());
    name.split_at(at)
}

/// Returns the first number that is free. Needs few lookups, even if thousands of files have the same name.
pub fn first_free(place: &Path) -> u64 {
    let is_there = |number| numbered(place, number).symlink_metadata().is_ok();
    let (mut taken, mut free) = (0, 1);
    while is_there(free) {
        (taken, free) = (free, free * 2);
    }
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        if is_there(middle) {
            taken = middle;
        } else {
            free = middle;
        }
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_goes_before_the_extension_and_is_found_there() {
        for (name, second) in [
            ("2018-11-01-events.csv", "2018-11-01-events-2.csv"),
            ("2018.11.01.csv.gz", "2018.11.01-2.csv.gz"),
            ("a.csv.zst", "a-2.csv.zst"),
            ("bare", "bare-2"),
        ] {
            let place = Path::new("/archive/sub").join(name);
            assert_eq!(numbered(&place, 2), Path::new("/archive/sub").join(second));
            assert_eq!(numbered(&place, 1), place);
            assert_eq!(unnumbered(second), Some((name.to_owned(), 2)));
        }
        assert_eq!(unnumbered("a-1.csv"), None);
    }

    #[test]
    fn the_next_number_is_the_first_that_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("a.csv");
        for number in 1..=40 {
            assert_eq!(first_free(&place), number);
            std::fs::write(numbered(&place, number), b"").unwrap();
        }
    }

    #[test]
    fn a_file_is_looked_for_under_its_name_and_its_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive { folder: folder.path().to_owned(), ..Archive::default() };
        std::fs::create_dir(archive.place("sub")).unwrap();
        for name in ["sub/a.csv", "sub/a-2.csv", "sub/a-10.csv", "sub/ab.csv", "a.csv"] {
            std::fs::write(archive.place(name), name).unwrap();
        }
        let noted = FileStat { size: 9, ..FileStat::default() };
        let found = archive.candidates("sub/a.csv", noted);
        assert_eq!(found, ["sub/a.csv", "sub/a-2.csv", "sub/a-10.csv"].map(|name| archive.place(name)));
        let tenth = note(&archive.place("sub/a-10.csv").metadata().unwrap());
        assert_eq!(archive.candidates("sub/a.csv", tenth)[0], archive.place("sub/a-10.csv"));
        assert_eq!(archive.paths_of(&archive.place("sub/a-2.csv")), ["sub/a-2.csv", "sub/a.csv"]);
        assert!(archive.paths_of(Path::new("/elsewhere/a.csv")).is_empty());
    }
}
