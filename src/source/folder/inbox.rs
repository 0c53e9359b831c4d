//! The inbox: which names are files, where the files are, and in which order they are taken up.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use glob::Pattern;

use crate::domain::{Feed, FileKey, path};
use crate::source::Found;
use crate::source::folder::archive::Archive;
use crate::source::folder::file::{FolderFile, note};
use crate::source::folder::settings::{Links, Settings};

/// The watched folder, and the rules for its files.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// The feed that the files belong to.
    pub feed: Feed,
    pub folder: PathBuf,
    /// The folder as declared. A link in its path may lead elsewhere by now.
    declared: PathBuf,
    patterns: Vec<Pattern>,
    ignored: Vec<Pattern>,
    pub subfolders: bool,
    links: Links,
    pub archive: Arc<Archive>,
    /// Whether a name that is not UTF-8 was already logged.
    logged: Arc<AtomicBool>,
    /// Folders that cannot be listed and were already logged.
    left_out: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// The maximum number of left-out folders that are logged, and the maximum number of characters of a path that are
/// shown.
const LEFT_OUT: usize = 64;
const SHOWN: usize = 200;

impl Inbox {
    pub fn new(settings: &Settings) -> Self {
        let patterns = |of: &[String]| of.iter().filter_map(|pattern| Pattern::new(pattern).ok()).collect();
        let declared = settings.folder.clone();
        let mut inbox = Self {
            feed: settings.feed.clone(),
            folder: declared.clone(),
            declared,
            patterns: patterns(&settings.patterns),
            ignored: patterns(&settings.ignored),
            subfolders: settings.subfolders,
            links: settings.links,
            archive: Arc::new(Archive::new(settings.archive.clone())),
            logged: Arc::default(),
            left_out: Arc::default(),
        };
        inbox.resolve();
        inbox
    }

    /// Finds the real path of the folder, because events name files by it.
    pub fn resolve(&mut self) {
        if let Ok(folder) = self.declared.canonicalize() {
            self.folder = folder;
        }
    }

    /// Returns an inbox with the same rules for another folder.
    pub fn at(&self, folder: PathBuf) -> Self {
        Self { declared: folder.clone(), folder, ..self.clone() }
    }

    /// Returns the same inbox. It lists the archive again when it is first asked for a moved file.
    #[must_use]
    pub fn with_archive_unread(&self) -> Self {
        Self { archive: Arc::new(Archive::new(self.archive.folder.clone())), ..self.clone() }
    }

    /// Returns the place of a path of the ledger.
    pub fn place(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// Returns the key of the file at a place. Its path is relative to the inbox if the place is in it, else absolute.
    /// Returns `None` if the path is not UTF-8.
    pub fn key_of(&self, place: &Path) -> Option<FileKey> {
        let relative = place.strip_prefix(&self.folder).unwrap_or(place);
        // A typed path may have repeated slashes, which would make another key.
        let plain: PathBuf = relative.components().collect();
        plain.to_str().map(|path| FileKey::new(&self.feed, path))
    }

    /// Returns the key of an existing file. Logs the first name that is not UTF-8, because its file is not loaded.
    pub fn named(&self, place: &Path) -> Option<FileKey> {
        let key = self.key_of(place);
        if key.is_none() && place.is_file() && !self.logged.swap(true, Ordering::Relaxed) {
            let file = place.display();
            tracing::warn!(%file, "its name is not UTF-8; rename it and it will be loaded (logged once for all)");
        }
        key
    }

    /// Returns the files of the inbox that a file of the archive may have been. Returns none for a place outside the
    /// archive.
    pub fn origins_of(&self, place: &Path) -> Vec<FileKey> {
        self.archive.paths_of(place).into_iter().map(|path| FileKey::new(&self.feed, path)).collect()
    }

    /// Returns the keys that the ledger may have for a file as a user typed it: relative to the working directory, or
    /// to the inbox. The file need not exist any more, nor its folder if the path is relative to the inbox.
    pub fn typed(&self, typed: &Path) -> Vec<FileKey> {
        let here = real_place(typed).and_then(|place| self.key_of(&place));
        let there = self.key_of(&self.folder.join(typed));
        here.into_iter().chain(there).collect()
    }

    /// Whether a place may be a file of the inbox, judged only by its path.
    pub fn is_file_name(&self, place: &Path) -> bool {
        let Ok(relative) = place.strip_prefix(&self.folder) else { return false };
        let mut names = relative.components().filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy()),
            _ => None,
        });
        let hidden = names.clone().any(|name| name.starts_with('.'));
        let depth = names.clone().count();
        let name = names.next_back().unwrap_or_default();
        !hidden
            && (self.subfolders || depth == 1)
            && self.patterns.iter().any(|pattern| pattern.matches(&name))
            && !self.ignored.iter().any(|pattern| pattern.matches(&name))
    }

    /// Returns every file in the folder, in listing order.
    ///
    /// # Errors
    /// Returns an error if the folder itself cannot be read. A subfolder that cannot be read is logged and left out.
    pub fn list(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        self.list_into(&self.folder, &mut |file| found.push(file))?;
        found.sort_by_cached_key(|found| path::order(&found.file));
        Ok(found)
    }

    pub(super) fn list_into(&self, folder: &Path, found: &mut (dyn FnMut(Found) + Send)) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let place = entry.path();
            let hidden = entry.file_name().to_string_lossy().starts_with('.');
            if entry.file_type()?.is_dir() {
                if self.subfolders && !hidden {
                    self.list_into(&place, found).unwrap_or_else(|error| self.log_left_out(&place, &error));
                }
            } else if self.is_file_name(&place)
                && let Some(file) = self.look_at(&place)
            {
                found(file);
            }
        }
        Ok(())
    }

    /// Logs each left-out folder once, and only the beginning of a long path.
    fn log_left_out(&self, place: &Path, error: &io::Error) {
        let mut logged = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < LEFT_OUT && logged.insert(place.to_owned()) {
            let path = place.display().to_string();
            let folder: String = path.chars().take(SHOWN).collect();
            let more = if folder.len() < path.len() { "…" } else { "" };
            tracing::warn!(
                folder = format!("{folder}{more}"),
                "left out, because it cannot be read: {error} (logged once)"
            );
        }
    }

    fn is_inside(&self, place: &Path) -> bool {
        !place.is_symlink() || place.canonicalize().is_ok_and(|real| real.starts_with(&self.folder))
    }

    /// Checks that an open file of the inbox may be read. After the file was last looked at, its name or its folder may
    /// have been replaced by a link that leads elsewhere.
    ///
    /// # Errors
    /// Returns an error if the file lies outside the inbox, or if its place cannot be determined.
    pub fn check_opened(&self, path: &str, file: &FolderFile) -> io::Result<()> {
        if self.links == Links::Anywhere || Path::new(path).is_absolute() {
            return Ok(());
        }
        match file.real_place()? {
            real if real.starts_with(&self.folder) => Ok(()),
            real => Err(io::Error::other(format!("it leads to {}, outside the inbox", real.display()))),
        }
    }

    /// Returns the file at a place, if it exists and is a file of the inbox.
    pub fn look_at(&self, place: &Path) -> Option<Found> {
        let meta = std::fs::metadata(place).ok().filter(std::fs::Metadata::is_file)?;
        if self.links == Links::Inside && place.starts_with(&self.folder) && !self.is_inside(place) {
            return None;
        }
        Some(Found { file: self.named(place)?, noted: note(&meta) })
    }
}

/// Returns the place with all links in its folder resolved. If the file itself is a link, its name is kept.
pub fn real_place(typed: &Path) -> Option<PathBuf> {
    let folder = typed.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(folder.canonicalize().ok()?.join(typed.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn hidden_names_and_names_outside_the_pattern_are_not_files() {
        let shipped: config::Config = serde_saphyr::from_str(config::SHIPPED).unwrap();
        let mut inbox = Inbox::new(&shipped.source.folder());
        inbox.folder = PathBuf::from("/inbox");
        let is = |name: &str| inbox.is_file_name(Path::new(name));
        assert!(is("/inbox/a.csv") && is("/inbox/sub/a.csv.gz") && is("/inbox/a.csv.zst"));
        assert!(
            !is("/inbox/.a.csv") && !is("/inbox/.tmp/a.csv") && !is("/inbox/a.csv.part") && !is("/a.csv")
        );
        inbox.subfolders = false;
        assert!(!inbox.is_file_name(Path::new("/inbox/sub/a.csv")));
    }

    /// Covers a link that is created between looking at a file and opening it.
    #[tokio::test]
    async fn a_file_that_was_opened_through_a_link_is_judged_by_where_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("inbox/sub")).unwrap();
        std::fs::create_dir(at("outside")).unwrap();
        ["inbox/sub/a.csv", "outside/b.csv"].iter().for_each(|name| std::fs::write(at(name), "x").unwrap());
        std::os::unix::fs::symlink(at("outside"), at("inbox/turned")).unwrap();
        let shipped: config::Config = serde_saphyr::from_str(config::SHIPPED).unwrap();
        let source = config::SourceConfig { folder: at("inbox"), links: Links::Inside, ..shipped.source };
        let inbox = Inbox::new(&source.folder());
        for (path, may) in [("sub/a.csv", true), ("turned/b.csv", false)] {
            let file = FolderFile::open(&inbox.place(path)).await.unwrap();
            assert_eq!(inbox.check_opened(path, &file).is_ok(), may, "{path}");
        }
    }

    /// Names that rsync, browsers, editors and transfer, office and sync programs use before they give a file its real
    /// name.
    #[test]
    fn temporary_names_are_not_files_even_if_the_pattern_matches() {
        let shipped: config::Config = serde_saphyr::from_str(config::SHIPPED).unwrap();
        let wide = config::SourceConfig { pattern: vec!["*".to_owned()], ..shipped.source };
        let inbox = Inbox { folder: PathBuf::from("/inbox"), ..Inbox::new(&wide.folder()) };
        let is = |name: &str| inbox.is_file_name(&Path::new("/inbox").join(name));
        for name in [
            ".a.csv.Xk3Q9z",
            "a.csv.crdownload",
            "a.csv.part",
            "a.csv.partial",
            "a.csv.filepart",
            "a.csv.download",
            "~$a.csv",
            ".~lock.a.csv#",
            "lu1234.tmp",
            "a.csv.tmp",
            "~syncthing~a.csv.tmp",
            "a.csv~",
            ".a.csv.swp",
            "#a.csv#",
            ".#a.csv",
        ] {
            assert!(!is(name), "{name}");
        }
        assert!(is("a.csv") && is("part-0001.csv") && is("a~1.csv") && is("tmp.csv"));
    }
}
