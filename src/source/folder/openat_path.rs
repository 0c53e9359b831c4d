//! Folders below one that is trusted, reached step by step without following a link: whoever may write there could
//! otherwise let a removal or a move happen elsewhere.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
use rustix::io::Errno;

/// A name in a folder that is held open: also when the folder is renamed, or a link put in its place, the name
/// stays one in this folder.
pub struct Within {
    folder: OwnedFd,
    name: PathBuf,
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Within {
    /// The place of `path` below `base`.
    ///
    /// # Errors
    /// A folder that is not there, or is a link.
    pub fn of(base: &Path, path: &str) -> io::Result<Self> {
        Self::reached(base, Path::new(path), None)
    }

    /// The same, with the folders that are missing made, and those noted in which something was made.
    ///
    /// # Errors
    /// A folder that cannot be made, or is a link.
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
                .map_err(|error| told(error, &place))?;
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { folder, name: name.into() })
    }

    /// By this path it is reached whatever becomes of the names of its folders.
    pub fn place(&self) -> PathBuf {
        Path::new(&format!("/proc/self/fd/{}", self.folder.as_raw_fd())).join(&self.name)
    }
}

/// Whether it was not there.
fn make(folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    match mkdirat(folder, name, Mode::RWXU | Mode::RWXG | Mode::RWXO) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn told(error: Errno, place: &Path) -> io::Error {
    match error {
        Errno::NOTDIR | Errno::LOOP => {
            io::Error::other(format!("{}: is a link or no folder, and is not followed", place.display()))
        }
        other => other.into(),
    }
}

/// Opens what was seen to be a file: neither a link that took its place is followed nor a pipe waited for.
///
/// # Errors
/// What the system says.
pub fn file(place: &Path) -> io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(place)
}
