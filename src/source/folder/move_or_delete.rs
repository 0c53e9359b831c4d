//! Moves or deletes files of the inbox, many at a time. Each step is durable before the next one.
//!
//! The order makes this safe: a copy is complete, compared, named and on disk before its original is removed.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tokio_util::sync::CancellationToken;

use crate::source::folder::archive::{Archive, PARTS, first_free, numbered};
use crate::source::folder::file::note;
use crate::source::folder::open_writers::Identity;
use crate::source::folder::openat_path::Within;
use crate::source::folder::part_file::Part;
use crate::source::folder::{hooks, open_writers, openat_path};
use crate::source::{Found, Stays};

/// The number of bytes copied or compared at a time.
const PIECE: usize = 256 * 1024;

/// How files leave the inbox.
pub enum Way {
    Move(Arc<Archive>),
    Delete,
}

/// Moves or deletes files of the inbox.
pub struct Retirer {
    pub inbox: PathBuf,
    pub way: Way,
    /// When cancelled, unfinished copies are abandoned.
    pub halt: CancellationToken,
}

/// The inboxes whose files are being moved or deleted now. A thread whose inbox or archive does not answer may still be
/// at it when the next configuration is in force. Two threads at the same files could take each other's copies.
static BEGUN: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn begun() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    BEGUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The only work on the files of an inbox.
struct Begun(PathBuf);

impl Begun {
    /// Returns `None` while other work on these files is not done.
    fn at(inbox: &Path) -> Option<Self> {
        begun().insert(inbox.to_owned()).then(|| Self(inbox.to_owned()))
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        begun().remove(&self.0);
    }
}

/// A file that is in the archive. If it was copied, its original must still be removed.
struct Placed {
    folder: PathBuf,
    is_copy: bool,
    original: Within,
}

impl Retirer {
    /// Moves or deletes these files. Returns the outcomes in the same order. Each folder is synced once.
    pub fn all(&self, files: &[Found]) -> Vec<Result<(), Stays>> {
        let Some(_begun) = Begun::at(&self.inbox) else {
            let busy = |_| Err(Stays::Busy("earlier files of this inbox are still on their way out of it"));
            return files.iter().map(busy).collect();
        };
        let written = open_writers::open_for_writing(&self.identities(files));
        let outcomes = match &self.way {
            Way::Move(archive) => self.moved(files, archive, &written),
            Way::Delete => self.deleted(files, &written),
        };
        let outcomes = outcomes.into_iter().zip(files);
        outcomes.map(|(outcome, found)| outcome.map_err(|why| self.or_gone(why, found))).collect()
    }

    fn or_gone(&self, why: Stays, found: &Found) -> Stays {
        let is_gone = || self.place(found).symlink_metadata().is_err();
        match why {
            Stays::Failed(error) if error.kind() == ErrorKind::NotFound && is_gone() => Stays::Gone,
            why => why,
        }
    }

    fn place(&self, found: &Found) -> PathBuf {
        self.inbox.join(found.file.path())
    }

    fn identities(&self, files: &[Found]) -> HashSet<Identity> {
        let metas = files.iter().filter_map(|found| self.place(found).symlink_metadata().ok());
        metas.map(|meta| open_writers::identity(&meta)).collect()
    }

    fn moved(
        &self,
        files: &[Found],
        archive: &Archive,
        written: &HashSet<Identity>,
    ) -> Vec<Result<(), Stays>> {
        let mut made = BTreeSet::new();
        let placed: Vec<_> =
            files.iter().map(|found| self.archived(found, archive, written, &mut made)).collect();
        let durable = synced(placed.iter().flatten().map(|placed| placed.folder.clone()).chain(made));
        let gone = files.iter().zip(placed).map(|(found, placed)| {
            let placed = placed?;
            durable_in(&durable, &placed.folder)?;
            if placed.is_copy {
                remove(found, &placed.original)?;
            }
            Ok(())
        });
        let gone = gone.collect();
        self.inbox_synced(files, gone)
    }

    fn deleted(&self, files: &[Found], written: &HashSet<Identity>) -> Vec<Result<(), Stays>> {
        let gone = files.iter().map(|found| {
            // The process may be stopping because the store is lost.
            if self.halt.is_cancelled() {
                return Err(Stays::Busy("needledrop is stopping"));
            }
            let place = Within::of(&self.inbox, found.file.path())?;
            at_rest(found, &place, written)?;
            remove(found, &place)
        });
        let gone = gone.collect();
        self.inbox_synced(files, gone)
    }

    /// Syncs the folders of the files that left, so that the files do not come back after a power cut.
    fn inbox_synced(&self, files: &[Found], gone: Vec<Result<(), Stays>>) -> Vec<Result<(), Stays>> {
        let left = files.iter().zip(&gone).filter(|(_, gone)| gone.is_ok());
        let folders = left.filter_map(|(found, _)| Some(self.place(found).parent()?.to_owned()));
        for (folder, error) in synced(folders) {
            // After a power cut the file may be back. It then leaves again.
            tracing::debug!(folder = %folder.display(), "cannot be synced: {error}");
        }
        gone
    }

    fn archived(
        &self,
        found: &Found,
        archive: &Archive,
        written: &HashSet<Identity>,
        made: &mut BTreeSet<PathBuf>,
    ) -> Result<Placed, Stays> {
        let original = Within::of(&self.inbox, found.file.path())?;
        let meta = at_rest(found, &original, written)?;
        make_folder(&archive.folder, made)?;
        let target = Within::made(&archive.folder, found.file.path(), made)?;
        // The data of the file may still be in memory only. It must be on disk before the archive has the only copy.
        openat_path::file(&original.place())?.sync_all()?;
        hooks::step("before it is archived");
        let is_copy = match under_free_name(&original.place(), &target.place()) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                self.copied(found, (&original, &meta), archive, &target)?;
                true
            }
            renamed => {
                renamed?;
                false
            }
        };
        hooks::step("after it is archived");
        let folder = archive.place(found.file.path()).parent().unwrap_or(&archive.folder).to_owned();
        Ok(Placed { folder, is_copy, original })
    }

    /// Copies a file to another device. The copy has another name until it is complete.
    fn copied(
        &self,
        found: &Found,
        (original, meta): (&Within, &fs::Metadata),
        archive: &Archive,
        target: &Within,
    ) -> Result<(), Stays> {
        let (place, target) = (original.place(), target.place());
        // An earlier attempt may have made the copy without removing the original.
        let last = numbered(&target, first_free(&target).saturating_sub(1));
        if is_like(&last, meta) && self.same(&place, &last)? {
            return Ok(());
        }
        let name = format!("{PARTS}/{}", self.part_name(found.file.path()));
        let part = Within::made(&archive.folder, &name, &mut BTreeSet::new())?;
        let part = Part::of(part.place());
        self.copy(&place, part.place(), meta)?;
        hooks::step("a copy is written");
        unchanged(found, original)?;
        if !self.same(&place, part.place())? {
            return Err(io::Error::other(
                "the copy differs from the original; check the disk of the archive",
            )
            .into());
        }
        under_free_name(part.place(), &target)?;
        Ok(())
    }

    fn copy(&self, place: &Path, part: &Path, meta: &fs::Metadata) -> io::Result<()> {
        let (mut from, mut to) = (openat_path::file(place)?, new(part)?);
        let mut piece = vec![0; PIECE];
        loop {
            let read = self.read(&mut from, &mut piece)?;
            if read == 0 {
                break;
            }
            to.write_all(&piece[..read])?;
            hooks::step("a piece is copied");
        }
        // Only root can change the owner, so an error is ignored.
        let _ = fchown(&to, Some(meta.uid()), Some(meta.gid()));
        to.set_permissions(meta.permissions())?;
        to.set_modified(meta.modified()?)?;
        to.sync_all()
    }

    fn same(&self, one: &Path, other: &Path) -> io::Result<bool> {
        let (mut one, mut other) = (openat_path::file(one)?, openat_path::file(other)?);
        let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
        loop {
            let (l, r) = (self.read(&mut one, &mut left)?, self.read(&mut other, &mut right)?);
            if left[..l] != right[..r] {
                return Ok(false);
            }
            if l == 0 {
                return Ok(true);
            }
        }
    }

    /// Fills `piece`, unless the file ends first.
    fn read(&self, file: &mut File, piece: &mut [u8]) -> io::Result<usize> {
        if self.halt.is_cancelled() {
            return Err(io::Error::other(
                "needledrop is stopping; the file is copied again after the next start",
            ));
        }
        let mut filled = 0;
        while filled < piece.len() {
            match file.read(&mut piece[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Returns the name of an unfinished copy. It includes a hash of the inbox, because several inboxes may share an
    /// archive.
    fn part_name(&self, path: &str) -> String {
        format!("{}-{}", self.part_prefix(), blake3::hash(path.as_bytes()).to_hex())
    }

    fn part_prefix(&self) -> String {
        let inbox = blake3::hash(self.inbox.as_os_str().as_encoded_bytes());
        inbox.to_hex().chars().take(16).collect()
    }

    /// Removes copies that an earlier process did not finish. Their originals are still in the inbox.
    ///
    /// # Errors
    /// Returns an error if a copy cannot be removed. The next try overwrites the remaining copies.
    pub fn sweep(&self) -> io::Result<()> {
        let Way::Move(archive) = &self.way else { return Ok(()) };
        let Some(_begun) = Begun::at(&self.inbox) else { return Ok(()) };
        let parts = fs::read_dir(archive.parts()).into_iter().flatten().flatten();
        let prefix = self.part_prefix();
        let mut ours = parts.filter(|part| part.file_name().to_string_lossy().starts_with(&prefix));
        ours.try_for_each(|part| fs::remove_file(part.path()))
    }
}

fn remove(found: &Found, place: &Within) -> Result<(), Stays> {
    unchanged(found, place)?;
    hooks::step("before the original is removed");
    fs::remove_file(place.place())?;
    hooks::step("after the original is removed");
    Ok(())
}

/// Checks that the file is unchanged and not a link.
fn unchanged(found: &Found, place: &Within) -> Result<fs::Metadata, Stays> {
    let meta = place.place().symlink_metadata()?;
    if meta.is_symlink() {
        return Err(Stays::Busy("it is a symbolic link, and links are not moved or deleted"));
    }
    if note(&meta) != found.noted {
        return Err(Stays::Busy("it has changed since it was loaded"));
    }
    Ok(meta)
}

fn at_rest(found: &Found, place: &Within, written: &HashSet<Identity>) -> Result<fs::Metadata, Stays> {
    let meta = unchanged(found, place)?;
    if written.contains(&open_writers::identity(&meta)) {
        return Err(Stays::Busy("a process has it open for writing"));
    }
    Ok(meta)
}

/// Creates a file, replacing one that an earlier try left. Never follows a link that somebody put there.
fn new(part: &Path) -> io::Result<File> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create_new(part)
}

/// Creates a folder and its parents. Adds the folders that received a new entry to `made`.
fn make_folder(folder: &Path, made: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent() {
        make_folder(above, made)?;
        made.insert(above.to_owned());
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        other => other,
    }
}

/// Renames a file to the first free name. Never replaces an existing file.
fn under_free_name(from: &Path, target: &Path) -> io::Result<()> {
    let mut number = first_free(target);
    loop {
        match rename(from, &numbered(target, number)) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            other => return other,
        }
    }
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system cannot check and rename in one step. Two steps suffice, because no other process names files
        // in the archive.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match to.symlink_metadata() {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        other => Ok(other?),
    }
}

/// Whether a file may be a copy of `original`: a copy has the same size and mtime.
fn is_like(place: &Path, original: &fs::Metadata) -> bool {
    let found = place.symlink_metadata().ok().filter(fs::Metadata::is_file);
    found.is_some_and(|found| note(&found).has_bytes_of(&note(original)))
}

/// Syncs each folder once, so that the names in it are durable. Returns the folders that could not be synced.
fn synced(folders: impl Iterator<Item = PathBuf>) -> Vec<(PathBuf, io::Error)> {
    let folders: BTreeSet<PathBuf> = folders.collect();
    let sync = |folder: &Path| match File::open(folder).and_then(|file| file.sync_all()) {
        // The file system does not support syncing folders.
        Err(error) if error.kind() == ErrorKind::InvalidInput => None,
        synced => synced.err(),
    };
    folders.into_iter().filter_map(|folder| sync(&folder).map(|error| (folder, error))).collect()
}

fn durable_in(failed: &[(PathBuf, io::Error)], folder: &Path) -> io::Result<()> {
    match failed.iter().find(|(other, _)| folder.starts_with(other)) {
        Some((_, error)) => Err(io::Error::new(error.kind(), error.to_string())),
        None => Ok(()),
    }
}
