//! The inbox: which names are files, where the files are, and in which order they are taken up.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::path::Place;
use crate::domain::{Feed, FileDates, FileKey};
use crate::source::folder::apart::Apart;
use crate::source::folder::archive::Archive;
use crate::source::folder::file::{FolderFile, note};
use crate::source::folder::names::{Judged, Names};
use crate::source::folder::not_files;
use crate::source::folder::real_path::real_path;
use crate::source::folder::settings::{Links, Settings};
use crate::source::left_out::LeftOut;
use crate::source::{Found, Listing};

/// The watched folder, and the rules for its files.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// The feed that the files belong to.
    pub feed: Feed,
    pub folder: PathBuf,
    /// The folder as declared. A link in its path may lead elsewhere by now.
    declared: PathBuf,
    /// The path of `folder` in the inbox of the configuration, if a subfolder is listed instead of it. Empty otherwise.
    within: PathBuf,
    pub names: Arc<Names>,
    /// Which dates in names decide the listing order.
    dates: FileDates,
    links: Links,
    pub archive: Arc<Archive>,
    /// Keeps the inbox apart from those of other feeds.
    pub(super) apart: Arc<Apart>,
    /// Folders and links that are left out and were already logged.
    left_out: Arc<Mutex<BTreeSet<PathBuf>>>,
}

/// The maximum number of left-out folders that are logged, and the maximum number of characters of a path that are
/// shown.
const LEFT_OUT: usize = 64;
const SHOWN: usize = 200;

impl Inbox {
    pub fn new(settings: &Settings) -> Self {
        let declared = settings.folder.clone();
        let mut inbox = Self {
            feed: settings.feed.clone(),
            folder: declared.clone(),
            declared,
            within: PathBuf::new(),
            names: Arc::new(Names::new(&settings.patterns, &settings.ignored, settings.subfolders)),
            dates: settings.dates,
            links: settings.links,
            archive: Arc::new(Archive::new(settings.archive.clone())),
            apart: Arc::new(Apart::new(
                &settings.feed,
                (&settings.folder, settings.subfolders),
                &settings.others,
            )),
            left_out: Arc::default(),
        };
        if let Ok(folder) = real_path(&inbox.declared) {
            inbox.folder = folder;
        }
        inbox
    }

    /// Returns the real path of the folder, because events name files by it.
    ///
    /// # Errors
    /// Returns an error if the folder does not exist or cannot be found.
    pub fn found_again(&self) -> io::Result<PathBuf> {
        self.declared.canonicalize()
    }

    /// Returns an inbox with the same rules for another folder. If that folder is in this inbox, the rules for paths
    /// apply to the paths in this inbox.
    pub fn at(&self, folder: PathBuf) -> Self {
        let within = folder.strip_prefix(&self.folder).map(Path::to_owned).unwrap_or_default();
        Self { declared: folder.clone(), folder, within, ..self.clone() }
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
        self.judge(place) == Judged::File
    }

    fn judge(&self, place: &Path) -> Judged {
        match place.strip_prefix(&self.folder) {
            Ok(relative) => self.names.judge(&self.within, relative),
            Err(_) => Judged::Elsewhere,
        }
    }

    /// Returns every file in the folder, in listing order, and which files are left out.
    ///
    /// # Errors
    /// Returns an error if the folder itself cannot be read. A subfolder that cannot be read is logged and left out.
    pub fn list(&self) -> io::Result<Listing> {
        self.apart.check()?;
        let (mut files, mut left_out) = (Vec::new(), LeftOut::default());
        let mut push = |file| {
            files.push(file);
            ControlFlow::Continue(())
        };
        // It ends early only if `push` breaks it off.
        let _ = self.list_into(&self.folder, &mut push, &mut left_out)?;
        files.sort_by_cached_key(|found| Place::of(&found.file, self.dates));
        Ok(Listing { files, left_out })
    }

    /// Passes on each file in a folder, in no particular order, until `found` breaks off.
    pub(super) fn list_into(
        &self,
        folder: &Path,
        found: &mut dyn FnMut(Found) -> ControlFlow<()>,
        left_out: &mut LeftOut,
    ) -> io::Result<ControlFlow<()>> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let (place, name, kind) = (entry.path(), entry.file_name(), entry.file_type()?);
            if kind.is_dir() {
                if self.names.subfolders && !name.as_encoded_bytes().starts_with(b".") {
                    match self.list_into(&place, found, left_out) {
                        Ok(ControlFlow::Break(())) => return Ok(ControlFlow::Break(())),
                        Ok(ControlFlow::Continue(())) => {}
                        Err(error) => self.log_left_out(&place, &format!("it cannot be read: {error}")),
                    }
                }
                continue;
            }
            let is_file = || kind.is_file() || place.is_file();
            match self.judge(&place) {
                Judged::File if self.key_of(&place).is_none() => {
                    if is_file() {
                        let shown = place.strip_prefix(&self.folder).unwrap_or(&place);
                        left_out.not_utf8.add(shown.as_os_str().as_encoded_bytes());
                    }
                }
                Judged::File => match self.look_at(&place) {
                    Some(file) => {
                        if found(file).is_break() {
                            return Ok(ControlFlow::Break(()));
                        }
                    }
                    None => not_files::kind(kind, &place)
                        .into_iter()
                        .for_each(|kind| left_out.not_files.add(kind)),
                },
                Judged::Unmatched if self.names.subfolders && kind.is_symlink() && place.is_dir() => {
                    left_out.not_files.add(not_files::FOLDERS);
                }
                Judged::Ignored if is_file() => left_out.ignored.add(&name.to_string_lossy()),
                Judged::Unmatched if is_file() => left_out.unmatched.add(&name.to_string_lossy()),
                Judged::Ignored | Judged::Unmatched | Judged::Elsewhere => {}
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Logs each left-out folder or link once, and only the beginning of a long path.
    fn log_left_out(&self, place: &Path, why: &str) {
        let mut logged = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.len() < LEFT_OUT && logged.insert(place.to_owned()) {
            let path = place.display().to_string();
            let folder: String = path.chars().take(SHOWN).collect();
            let more = if folder.len() < path.len() { "…" } else { "" };
            tracing::warn!(folder = format!("{folder}{more}"), "left out, because {why} (logged once)");
        }
    }

    /// Whether the place is no link, or a link that may lead where it does.
    fn may_lead(&self, place: &Path) -> bool {
        let is_checked = self.links == Links::Inside || self.apart.checks_links();
        if !is_checked || !place.is_symlink() {
            return true;
        }
        let Ok(real) = place.canonicalize() else { return false };
        if self.links == Links::Inside && !real.starts_with(&self.folder) {
            return false;
        }
        let may = self.apart.check_link(&real);
        may.inspect_err(|error| self.log_left_out(place, &error.to_string())).is_ok()
    }

    /// Checks that an open file of the inbox may be read. After the file was last looked at, its name or its folder may
    /// have been replaced by a link that leads elsewhere.
    ///
    /// # Errors
    /// Returns an error if the file lies outside the inbox, or if its place cannot be determined.
    pub fn check_opened(&self, path: &str, file: &FolderFile) -> io::Result<()> {
        let is_checked = self.links == Links::Inside || self.apart.checks_links();
        if !is_checked || Path::new(path).is_absolute() {
            return Ok(());
        }
        match file.real_place()? {
            real if self.links == Links::Inside && !real.starts_with(&self.folder) => {
                Err(io::Error::other(format!("it leads to {}, outside the inbox", real.display())))
            }
            real => self.apart.check_link(&real),
        }
    }

    /// Returns the file at a place, if it exists and is a file of the inbox.
    pub fn look_at(&self, place: &Path) -> Option<Found> {
        let meta = std::fs::metadata(place).ok().filter(std::fs::Metadata::is_file)?;
        if place.starts_with(&self.folder) && !self.may_lead(place) {
            return None;
        }
        Some(Found { file: self.key_of(place)?, noted: note(&meta) })
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
        Arc::make_mut(&mut inbox.names).subfolders = false;
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
