//! Tries the header and the first records of the newest files, for `needledrop check`. Nothing is written.

use std::cmp::Reverse;
use std::sync::Arc;

use super::feed::Declared;
use super::render::printable;
use crate::cli::outcome::{Exit, Failure};
use crate::domain::delivery::without_records;
use crate::domain::{FileKey, Refusals, RowChunk, path};
use crate::pipeline::archived_reader::ArchivedReader;
use crate::pipeline::prefix_check::{KeptFileError, VerifiedFile};
use crate::pipeline::row_builder::RowBuilder;
use crate::source::Found;

/// The number of files that are tried.
const TRIED: usize = 10;

/// Tries the newest of these files. Returns a finding for each file with something to say.
pub async fn try_files(
    feed: &Declared,
    mut files: Vec<Found>,
    longest: usize,
) -> Vec<Result<String, Failure>> {
    files.sort_by_key(|found| Reverse(found.noted.changed_at()));
    let mut findings = Vec::new();
    for found in files.iter().take(TRIED) {
        findings.extend(finding(&found.file, try_file(feed, &found.file, longest).await));
    }
    findings
}

/// A file whose first records were read.
struct Tried {
    /// The number of bytes before the end of the last of them.
    bytes: u64,
    /// Whether more bytes follow, which are no complete record.
    has_rest: bool,
    records: u64,
    refused: u64,
    refusals: Refusals,
}

fn finding(file: &FileKey, tried: Result<Option<Tried>, KeptFileError>) -> Option<Result<String, Failure>> {
    let file = printable(file.text());
    let wrong = |message| Some(Err(Failure { exit: Exit::Short, message }));
    match tried {
        // It may be complete when it is loaded.
        Err(KeptFileError::Header(error)) if error.is_unfinished() => None,
        Err(error) => wrong(format!("{file}: {error}")),
        Ok(Some(Tried { records: 0, has_rest: false, bytes, .. })) => {
            Some(Ok(format!("{file}: {}", without_records(bytes))))
        }
        Ok(None | Some(Tried { refused: 0, .. })) => None,
        Ok(Some(Tried { records, refused, refusals, .. })) => {
            let text = format!(
                "{file}: {refused} of its first {records} records would be refused: {}",
                refusals.describe()
            );
            if refused == records { wrong(text) } else { Some(Ok(text)) }
        }
    }
}

/// Reads the first chunk of a file. Returns `None` if the file has none.
async fn try_file(feed: &Declared, file: &FileKey, longest: usize) -> Result<Option<Tried>, KeptFileError> {
    let plan = &feed.plan;
    let file_date = path::check(plan, file.path())?;
    let beginning = VerifiedFile::not_loaded(&feed.source, file, plan, longest).await?;
    let mut reader = ArchivedReader::unstamped(beginning, (file, file_date), None);
    let Some(raw) = reader.next().await? else { return Ok(None) };
    let chunk = RowBuilder::new(Arc::clone(plan), Arc::default()).chunk(raw).await;
    Ok(Some(Tried::of(&chunk, reader.rest() > 0)))
}

impl Tried {
    fn of(chunk: &RowChunk, has_rest: bool) -> Self {
        let mut refusals = Refusals::default();
        let refused = chunk.quarantined.iter();
        let refused = refused.map(|entry| refusals.add(&chunk.source.file, entry)).count() as u64;
        Self { bytes: chunk.span.to.offset, has_rest, records: chunk.records(), refused, refusals }
    }
}
