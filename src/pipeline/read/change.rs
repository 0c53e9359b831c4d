//! Checks whether a file changed since it was opened. Only growth is allowed.

use std::io;

use crate::domain::FileStat;
use crate::pipeline::byte_source;
use crate::pipeline::messages::Work;
use crate::source::SourceFile;

/// How the size and times of a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    Growth,
    /// Only the ctime changed. Most likely the file was renamed or removed, or got another owner or other permissions.
    Touched,
    Other,
}

impl Change {
    fn between(before: FileStat, now: FileStat) -> Self {
        let same_bytes = now.has_bytes_of(&before);
        match () {
            () if now == before => Self::Nothing,
            () if now.size > before.size => Self::Growth,
            () if same_bytes => Self::Touched,
            () => Self::Other,
        }
    }
}

/// Checks the file before the bytes read from it are passed on. Returns a description of the change if the bytes are
/// not, or may not be, those of the file any more.
///
/// # Errors
/// Returns an error if the file or its size and times cannot be read.
pub async fn since_opened<F: SourceFile>(work: &mut Work<F>) -> io::Result<Option<String>> {
    let (before, now) = (work.bytes.file.noted(), work.bytes.file.look().await?);
    let changed = match Change::between(before, now) {
        Change::Nothing => return Ok(None),
        Change::Growth => grown(work).await?,
        Change::Touched => touched(work).await?,
        Change::Other if now.size < before.size => Some(format!("truncated to {} bytes", now.size)),
        Change::Other => Some("rewritten".to_owned()),
    };
    work.bytes.file.note(now);
    Ok(changed)
}

/// Compares the first and the last bytes that were read. A compressed file or one in another encoding would have to be
/// read completely, which happens once it is quiet.
async fn grown<F: SourceFile>(work: &Work<F>) -> io::Result<Option<String>> {
    if !work.bytes.is_plain() {
        return Ok(None);
    }
    let window = work.window.bytes();
    let behind = work.framer.reach().saturating_sub(window.len() as u64);
    let head = work.bytes.file.at(0, work.head.len).await?;
    let same_head = blake3::hash(&head).to_hex().as_str() == work.head.hash;
    let same = same_head && work.bytes.file.at(behind, window.len()).await? == window;
    Ok((!same).then(|| "rewritten with more bytes".to_owned()))
}

/// Compares all bytes that were read: bytes can be rewritten and the mtime restored.
async fn touched<F: SourceFile>(work: &Work<F>) -> io::Result<Option<String>> {
    let same = byte_source::again(&work.bytes).await?.hash_of_first(work.framer.reach()).await?
        == Some(work.framer.hash());
    Ok((!same).then(|| "rewritten, and its modification time restored,".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_more_bytes_are_growth() {
        let before = FileStat { size: 10, mtime: 5, ctime: 7 };
        let change = |now| Change::between(before, now);
        assert_eq!(change(before), Change::Nothing);
        assert_eq!(change(FileStat { size: 11, mtime: 6, ctime: 8 }), Change::Growth);
        assert_eq!(change(FileStat { ctime: 8, ..before }), Change::Touched);
        assert_eq!(change(FileStat { size: 9, mtime: 6, ctime: 8 }), Change::Other);
        assert_eq!(change(FileStat { size: 9, ctime: 8, ..before }), Change::Other);
        assert_eq!(change(FileStat { mtime: 6, ctime: 8, ..before }), Change::Other);
    }
}
