//! Finds processes that have a file open for writing and may append to it.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
use rustix::io::Errno;

/// The device and inode of a file.
pub type Identity = (u64, u64);

pub fn identity(meta: &fs::Metadata) -> Identity {
    (meta.dev(), meta.ino())
}

/// How long a scan shows which files are open.
const FRESH: Duration = Duration::from_secs(1);

/// The files that the last scan for a file found open for writing. Each scan takes all processes, so files share it.
static LAST: Mutex<Option<Scan>> = Mutex::new(None);

struct Scan {
    at: Instant,
    open: HashSet<Identity>,
}

/// Whether a process has this file open for writing; see [`open_for_writing`].
pub fn has_writer(file: &fs::Metadata) -> bool {
    let (at, device) = (Instant::now(), file.dev());
    let open = scan(|(on, _)| *on == device);
    let has_writer = open.contains(&identity(file));
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Scan { at, open });
    has_writer
}

/// Whether the last scan found this file open for writing, less than a second ago.
pub fn had_writer(file: &fs::Metadata) -> bool {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    last.as_ref().is_some_and(|last| last.at.elapsed() < FRESH && last.open.contains(&identity(file)))
}

/// Returns which of these files a process has open for writing, as far as the system shows it. Finds nothing without
/// `/proc`, and sees no processes that this user may not inspect.
pub fn open_for_writing(files: &HashSet<Identity>) -> HashSet<Identity> {
    scan(|file| files.contains(file))
}

fn scan(is_wanted: impl Fn(&Identity) -> bool) -> HashSet<Identity> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.flat_map(|process| of_process(&process.path(), &is_wanted)).collect()
}

fn of_process(process: &Path, is_wanted: &impl Fn(&Identity) -> bool) -> Vec<Identity> {
    let opened = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    opened
        .filter_map(|descriptor| {
            let file = identity_at(&descriptor.path()).ok().filter(is_wanted)?;
            writes(&process.join("fdinfo").join(descriptor.file_name())).then_some(file)
        })
        .collect()
}

/// Returns the identity of an open file of a process. Does not ask the server of a network share for it, which may not
/// answer: the process may read from the inbox of another feed, or have nothing to do with this program.
fn identity_at(descriptor: &Path) -> io::Result<Identity> {
    match statx(CWD, descriptor, AtFlags::STATX_DONT_SYNC, StatxFlags::INO) {
        Ok(found) => Ok((makedev(found.stx_dev_major, found.stx_dev_minor), found.stx_ino)),
        // The kernel is older than 4.11.
        Err(Errno::NOSYS) => fs::metadata(descriptor).map(|meta| identity(&meta)),
        Err(error) => Err(error.into()),
    }
}

/// Whether the flags in a `fdinfo` file allow writing. They are octal, and their last two bits are 0 for read-only.
fn writes(fdinfo: &Path) -> bool {
    let text = fs::read_to_string(fdinfo).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
    u64::from_str_radix(flags.trim(), 8).is_ok_and(|flags| flags & 3 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn writers_are_seen_and_readers_are_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let wanted = HashSet::from([identity(&file.as_file().metadata().unwrap())]);
        assert_eq!(open_for_writing(&wanted), wanted);
        let meta = file.as_file().metadata().unwrap();
        assert!(has_writer(&meta) && had_writer(&meta));
        let path = file.into_temp_path();
        let _reader = fs::File::open(&path).unwrap();
        assert!(open_for_writing(&wanted).is_empty());
    }
}
