//! Names what an entry of the inbox is that has the name of a file and is none.

use std::fs::FileType;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Links to folders are not followed, so the files in them are not loaded.
pub const FOLDERS: &str = "links to folders";

/// Returns what the entry at this place is, in the plural. Returns `None` if it is a regular file: it was created or
/// removed just now.
pub fn kind(kind: FileType, place: &Path) -> Option<&'static str> {
    match kind {
        _ if kind.is_symlink() => Some(kind_of_link(place)),
        _ if kind.is_fifo() => Some("pipes"),
        _ if kind.is_socket() => Some("sockets"),
        _ if kind.is_block_device() || kind.is_char_device() => Some("devices"),
        _ => None,
    }
}

fn kind_of_link(place: &Path) -> &'static str {
    match std::fs::metadata(place) {
        Err(_) => "broken links",
        Ok(to) if to.is_dir() => FOLDERS,
        Ok(to) if to.is_file() => "links out of the inbox",
        Ok(_) => "links to pipes or devices",
    }
}
