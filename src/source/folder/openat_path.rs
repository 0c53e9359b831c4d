//! Reaches folders below a trusted folder step by step, without following links. Otherwise anybody who may write there
//! could redirect a removal or a move to another place.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
use rustix::io::Errno;

/// A name in a folder that is held open. If the folder is renamed or replaced by a link, the name still refers to the
/// original folder.
pub struct Within {
    folder: OwnedFd,
    name: PathBuf,
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Within {
    /// Opens the folder of `path` below `base`.
    ///
    /// # Errors
    /// Returns an error if a folder does not exist or is a link, or if `path` leads out of `base`.
    pub fn of(base: &Path, path: &str) -> io::Result<Self> {
        Self::reached(base, Path::new(path), None)
    }

    /// Opens the folder of `path` below `base`, and creates missing folders. Adds the folders that received a new entry
    /// to `made`.
    ///
    /// # Errors
    /// Returns an error if a folder cannot be created or is a link, or if `path` leads out of `base`.
    pub fn made(base: &Path, path: &str, made: &mut BTreeSet<PathBuf>) -> io::Result<Self> {
        Self::reached(base, Path::new(path), Some(made))
    }

    fn reached(base: &Path, path: &Path, mut made: Option<&mut BTreeSet<PathBuf>>) -> io::Result<Self> {
        let mut folder = open(base, FOLDER, Mode::empty())?;
        let mut place = base.to_owned();
        for step in path.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(name) = step else { return Err(io::ErrorKind::InvalidInput.into()) };
            if let Some(made) = made.as_deref_mut()
                && make(&folder, name)?
            {
                made.insert(place.clone());
            }
            place.push(name);
            folder = openat(&folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty())
                .map_err(|error| describe(error, &place))?;
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { folder, name: name.into() })
    }

    /// Returns a path that reaches the name through the open folder, even if the folder is renamed.
    pub fn place(&self) -> PathBuf {
        Path::new(&format!("/proc/self/fd/{}", self.folder.as_raw_fd())).join(&self.name)
    }
}

/// Creates a folder. Returns false if it already exists.
fn make(folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    match mkdirat(folder, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn describe(error: Errno, place: &Path) -> io::Error {
    match error {
        Errno::NOTDIR | Errno::LOOP => io::Error::other(format!(
            "{}: is a symbolic link or not a folder, and links are not followed",
            place.display()
        )),
        other => other.into(),
    }
}

/// Opens a file. Does not follow a link and does not wait for a pipe that may have replaced the file.
///
/// # Errors
/// Returns an error if the path is a link or cannot be opened.
pub fn file(place: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(place)
}
