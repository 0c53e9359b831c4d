//! Reads files whose rows another program wrote (`load --assume-loaded`), to enter them into the ledger.

use std::io;
use std::sync::Arc;

use crate::domain::ledger::Verdict;
use crate::domain::{FileKey, FileStat, Plan, Position, ToleratedCounts};
use crate::pipeline::archived_reader::ArchivedReader;
use crate::pipeline::prefix_check::VerifiedFile;
use crate::pipeline::row_builder::RowBuilder;
use crate::source::{Source, SourceFile};

/// A file that was read to its end.
pub struct Assumed {
    pub verdict: Verdict,
    /// The size and times of the file after it was read.
    pub noted: FileStat,
}

/// Counts of the records read so far.
#[derive(Default)]
struct Counted {
    reach: Position,
    hash: String,
    skipped: u64,
    tolerated: ToleratedCounts,
    /// The number of records that would be quarantined.
    quarantined: u64,
}

/// Reads a complete file. Counts and checks its records as if they were to be loaded.
///
/// # Errors
/// Returns an error if the file cannot be read, has no usable header, lies outside the inbox, or ends with an
/// incomplete record.
pub async fn read(
    inbox: &impl Source,
    file: &FileKey,
    plan: &Arc<Plan>,
    limit: usize,
) -> io::Result<Assumed> {
    let beginning = VerifiedFile::unverified(inbox, file, plan, limit).await.map_err(io::Error::other)?;
    let file_date = plan.file_dates.of(file.path()).only();
    let mut kept = ArchivedReader::unstamped(beginning, (file, file_date), None);
    let counted = count(&mut kept, plan).await?;
    if kept.rest() > 0 {
        let what = format!("its last {} bytes are not a complete record", kept.rest());
        return Err(io::Error::other(what));
    }
    let noted = inbox.look(file).await.map_or_else(FileStat::default, |found| found.noted);
    Ok(Assumed { verdict: verdict(counted, kept.tail), noted })
}

async fn count(kept: &mut ArchivedReader<impl SourceFile>, plan: &Arc<Plan>) -> io::Result<Counted> {
    let transform = RowBuilder::new(Arc::clone(plan), Arc::default());
    let mut all = Counted::default();
    while let Some(raw) = kept.next().await? {
        let chunk = transform.chunk(raw).await;
        all.skipped += chunk.skipped;
        all.tolerated.add(&chunk.tolerated);
        all.quarantined += chunk.quarantined.len() as u64;
        (all.reach, all.hash) = (chunk.span.to, chunk.hash);
    }
    Ok(all)
}

fn verdict(
    Counted { reach, hash, skipped, tolerated, quarantined }: Counted,
    tail: Option<Position>,
) -> Verdict {
    let loaded = reach.record - skipped;
    let note = match quarantined {
        0 => String::new(),
        count => format!("; {count} of them cannot become rows of these tables"),
    };
    let detail = format!("assumed loaded: {loaded} records that another program wrote{note}");
    Verdict::Assumed { reach, hash, tail, skipped, tolerated, detail }
}
