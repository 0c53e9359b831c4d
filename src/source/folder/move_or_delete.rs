//! Files out of the inbox: moved or removed, many at a time, with everything durable before the next step.
//!
//! The order is what makes it safe: a copy is whole, compared, named and on disk before its original goes.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tokio_util::sync::CancellationToken;

use crate::domain::FileStat;
use crate::source::folder::archive::{Archive, PARTS, first_free, numbered};
use crate::source::folder::file::note;
use crate::source::folder::hooks;
use crate::source::folder::open_writers;
use crate::source::folder::open_writers::Identity;
use crate::source::folder::openat_path;
use crate::source::folder::openat_path::Within;
use crate::source::folder::part_file::Part;

/// Bytes that are copied or compared at a time.
const PIECE: usize = 256 * 1024;

/// Files that leave together: each folder is made durable once for all of them.
pub const TOGETHER: usize = 256;

/// A file that may go, as it was when it was known to be what was loaded.
#[derive(Clone, Debug)]
pub struct Leaving {
    pub path: Arc<str>,
    pub noted: FileStat,
}

/// Why a file is still there.
#[derive(Debug, thiserror::Error)]
pub enum Stays {
    /// It, or its writer, is not at rest.
    #[error("{0}")]
    Busy(&'static str),
    #[error("{0}")]
    Failed(#[from] io::Error),
}

/// Where files go.
pub enum Way {
    Move(Arc<Archive>),
    Delete,
}

/// Takes files out of the inbox.
pub struct Retirer {
    pub inbox: PathBuf,
    pub way: Way,
    /// Copies under way are given up.
    pub halt: CancellationToken,
}

/// One that is in the archive; its original may be left to be removed.
struct Placed {
    folder: PathBuf,
    is_copy: bool,
    original: Within,
}

impl Retirer {
    /// All of these, in the same order: gone, or why not. Each folder is made durable once.
    pub fn all(&self, files: &[Leaving]) -> Vec<Result<(), Stays>> {
        let written = open_writers::open_for_writing(&self.identities(files));
        match &self.way {
            Way::Move(archive) => self.moved(files, archive, &written),
            Way::Delete => self.deleted(files, &written),
        }
    }

    fn place(&self, file: &Leaving) -> PathBuf {
        self.inbox.join(&*file.path)
    }

    fn identities(&self, files: &[Leaving]) -> HashSet<Identity> {
        let metas = files.iter().filter_map(|file| self.place(file).symlink_metadata().ok());
        metas.map(|meta| open_writers::identity(&meta)).collect()
    }

    fn moved(
        &self,
        files: &[Leaving],
        archive: &Archive,
        written: &HashSet<Identity>,
    ) -> Vec<Result<(), Stays>> {
        let mut made = BTreeSet::new();
        let placed: Vec<_> =
            files.iter().map(|file| self.archived(file, archive, written, &mut made)).collect();
        let durable = synced(placed.iter().flatten().map(|placed| placed.folder.clone()).chain(made));
        let gone = files.iter().zip(placed).map(|(file, placed)| {
            let placed = placed?;
            durable_in(&durable, &placed.folder)?;
            if placed.is_copy {
                remove(file, &placed.original)?;
            }
            Ok(())
        });
        let gone = gone.collect();
        self.inbox_synced(files, gone)
    }

    fn deleted(&self, files: &[Leaving], written: &HashSet<Identity>) -> Vec<Result<(), Stays>> {
        let gone = files.iter().map(|file| {
            // The store may be gone.
            if self.halt.is_cancelled() {
                return Err(Stays::Busy("needledrop is stopping"));
            }
            let place = Within::of(&self.inbox, &file.path)?;
            at_rest(file, &place, written)?;
            remove(file, &place)
        });
        let gone = gone.collect();
        self.inbox_synced(files, gone)
    }

    /// Those that are gone are gone for good.
    fn inbox_synced(&self, files: &[Leaving], gone: Vec<Result<(), Stays>>) -> Vec<Result<(), Stays>> {
        let left = files.iter().zip(&gone).filter(|(_, gone)| gone.is_ok());
        let folders = left.filter_map(|(file, _)| Some(self.place(file).parent()?.to_owned()));
        for (folder, error) in synced(folders) {
            // It may be back after a power cut, and goes again then.
            tracing::debug!(folder = %folder.display(), "cannot be synced: {error}");
        }
        gone
    }

    fn archived(
        &self,
        file: &Leaving,
        archive: &Archive,
        written: &HashSet<Identity>,
        made: &mut BTreeSet<PathBuf>,
    ) -> Result<Placed, Stays> {
        let original = Within::of(&self.inbox, &file.path)?;
        let meta = at_rest(file, &original, written)?;
        make_folder(&archive.folder, made)?;
        let target = Within::made(&archive.folder, &file.path, made)?;
        // Until now it may be in memory only; in the archive it is the only one there is.
        openat_path::file(&original.place())?.sync_all()?;
        hooks::step("before it is archived");
        let is_copy = match under_free_name(&original.place(), &target.place()) {
            Err(error) if error.kind() == ErrorKind::CrossesDevices => {
                self.copied(file, (&original, &meta), archive, &target)?;
                true
            }
            renamed => {
                renamed?;
                false
            }
        };
        hooks::step("after it is archived");
        let folder = archive.place(&file.path).parent().unwrap_or(&archive.folder).to_owned();
        Ok(Placed { folder, is_copy, original })
    }

    /// To another device: under another name until it is whole.
    fn copied(
        &self,
        file: &Leaving,
        (original, meta): (&Within, &fs::Metadata),
        archive: &Archive,
        target: &Within,
    ) -> Result<(), Stays> {
        let (place, target) = (original.place(), target.place());
        // The copy of an earlier try, whose original was not removed any more.
        let last = numbered(&target, first_free(&target).saturating_sub(1));
        if is_like(&last, meta) && self.same(&place, &last)? {
            return Ok(());
        }
        let name = format!("{PARTS}/{}", self.part_name(&file.path));
        let part = Within::made(&archive.folder, &name, &mut BTreeSet::new())?;
        let part = Part::of(part.place());
        self.copy(&place, part.place(), meta)?;
        hooks::step("a copy is written");
        unchanged(file, original)?;
        if !self.same(&place, part.place())? {
            return Err(io::Error::other("the copy is not the same; check the disk of the archive").into());
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
        // Who is not root cannot give files away.
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

    /// Fills the piece, unless the file ends.
    fn read(&self, file: &mut File, piece: &mut [u8]) -> io::Result<usize> {
        if self.halt.is_cancelled() {
            return Err(io::Error::other("stopped in the middle; it goes on next time"));
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

    /// Its inbox is in the name, for several may share an archive.
    fn part_name(&self, path: &str) -> String {
        format!("{}-{}", self.part_prefix(), blake3::hash(path.as_bytes()).to_hex())
    }

    fn part_prefix(&self) -> String {
        let inbox = blake3::hash(self.inbox.as_os_str().as_encoded_bytes());
        inbox.to_hex().chars().take(16).collect()
    }

    /// Removes copies that an earlier process did not finish: their originals are in the inbox.
    ///
    /// # Errors
    /// What the system says; what is still there is written over by the next try.
    pub fn sweep(&self) -> io::Result<()> {
        let Way::Move(archive) = &self.way else { return Ok(()) };
        let parts = fs::read_dir(archive.parts()).into_iter().flatten().flatten();
        let prefix = self.part_prefix();
        let mut ours = parts.filter(|part| part.file_name().to_string_lossy().starts_with(&prefix));
        ours.try_for_each(|part| fs::remove_file(part.path()))
    }
}

fn remove(file: &Leaving, place: &Within) -> Result<(), Stays> {
    unchanged(file, place)?;
    hooks::step("before the original is removed");
    fs::remove_file(place.place())?;
    hooks::step("after the original is removed");
    Ok(())
}

/// Still the very file.
fn unchanged(file: &Leaving, place: &Within) -> Result<fs::Metadata, Stays> {
    let meta = place.place().symlink_metadata()?;
    if meta.is_symlink() {
        return Err(Stays::Busy("is a link; what it leads to is not moved"));
    }
    if note(&meta) != file.noted {
        return Err(Stays::Busy("has changed since it was loaded"));
    }
    Ok(meta)
}

fn at_rest(file: &Leaving, place: &Within, written: &HashSet<Identity>) -> Result<fs::Metadata, Stays> {
    let meta = unchanged(file, place)?;
    if written.contains(&open_writers::identity(&meta)) {
        return Err(Stays::Busy("a process has it open for writing"));
    }
    Ok(meta)
}

/// In place of one that an earlier try left; never through a link that somebody has laid there.
fn new(part: &Path) -> io::Result<File> {
    match fs::remove_file(part) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    File::create_new(part)
}

/// Makes a folder, and notes those in which something was made.
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

/// Renames without ever replacing what is there.
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
        // A file system that cannot do both in one: nobody else gives names in the archive.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match to.symlink_metadata() {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(_) => fs::rename(from, to),
        },
        other => Ok(other?),
    }
}

/// Whether it may be a copy: copies keep size and time.
fn is_like(place: &Path, original: &fs::Metadata) -> bool {
    let (original, found) = (note(original), place.symlink_metadata().ok());
    found
        .filter(fs::Metadata::is_file)
        .map(|meta| note(&meta))
        .is_some_and(|found| (found.size, found.mtime) == (original.size, original.mtime))
}

/// Makes the names in these folders durable, each folder once; those that could not be.
fn synced(folders: impl Iterator<Item = PathBuf>) -> Vec<(PathBuf, io::Error)> {
    let folders: BTreeSet<PathBuf> = folders.collect();
    let sync = |folder: &Path| match File::open(folder).and_then(|file| file.sync_all()) {
        // A file system that knows no such thing.
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
