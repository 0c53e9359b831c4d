//! Recognises files whose end is reserved but not written yet.

use crate::source::SourceFile;

/// The number of NUL bytes at the end that show that it is not written. The end of a complete gzip file has fewer.
const RESERVED: u64 = 16;

/// Whether a writer is seen that may still write the end of the file: its last bytes are NUL. Programs that copy files
/// may set the size first, and fill the file from its beginning.
pub async fn has_unwritten_end<F: SourceFile>(file: &F) -> bool {
    let size = file.noted().size;
    let begin = size.saturating_sub(RESERVED);
    let Ok(end) = file.at(begin, usize::try_from(size - begin).unwrap_or(0)).await else { return false };
    !end.is_empty() && end.iter().all(|byte| *byte == 0) && file.has_writer().await
}
