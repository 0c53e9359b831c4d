//! Finds processes that have a file open for writing and may append to it.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The device and inode of a file.
pub type Identity = (u64, u64);

pub fn identity(meta: &fs::Metadata) -> Identity {
    (meta.dev(), meta.ino())
}

/// Whether a process has this file open for writing; see [`open_for_writing`].
pub fn has_writer(file: &fs::Metadata) -> bool {
    !open_for_writing(&HashSet::from([identity(file)])).is_empty()
}

/// Returns which of these files a process has open for writing, as far as the system shows it. Finds nothing without
/// `/proc`, and sees no processes that this user may not inspect.
pub fn open_for_writing(files: &HashSet<Identity>) -> HashSet<Identity> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.flat_map(|process| of_process(&process.path(), files)).collect()
}

fn of_process(process: &Path, files: &HashSet<Identity>) -> Vec<Identity> {
    let opened = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    opened
        .filter_map(|descriptor| {
            let file = fs::metadata(descriptor.path()).ok().map(|meta| identity(&meta))?;
            let may_write = || writes(&process.join("fdinfo").join(descriptor.file_name()));
            (files.contains(&file) && may_write()).then_some(file)
        })
        .collect()
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
        let path = file.into_temp_path();
        let _reader = fs::File::open(&path).unwrap();
        assert!(open_for_writing(&wanted).is_empty());
    }
}
