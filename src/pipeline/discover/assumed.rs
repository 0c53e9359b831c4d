//! Files whose rows another program wrote (`load --assume-loaded`): what the ledger is to know of them.

use std::io;
use std::sync::Arc;

use super::begun::Beginning;
use super::inbox::Inbox;
use crate::domain::{DeliveryId, Mark, Noted, Plan, Stamp, StampRange, Stamps};
use crate::ledger::Verdict;
use crate::pipeline::kept::Kept;
use crate::pipeline::transform::Transform;

/// A file that was read to its end.
pub struct Assumed {
    pub verdict: Verdict,
    /// Size and times behind that.
    pub noted: Noted,
}

/// What was counted so far.
struct Counted {
    reach: Mark,
    hash: String,
    skipped: u64,
    /// Records that would be in quarantine.
    odd: u64,
}

/// Reads all of a file: its records are counted and checked as if they were to be loaded.
///
/// # Errors
/// What keeps it from being read, or that its last record is not whole.
pub async fn read(inbox: &Inbox, path: &str, plan: &Arc<Plan>, limit: usize) -> io::Result<Assumed> {
    let place = inbox.place(path);
    let beginning = Beginning::unverified(&place, plan, limit).await.map_err(io::Error::other)?;
    inbox.check_opened(path, &beginning.bytes)?;
    // Every record its own stamp; none of them is written.
    let stamps = Stamps::new(vec![StampRange { first: 0, base: Stamp(0), records: u64::MAX / 4 }]);
    let mut kept = Kept::new(beginning, DeliveryId(0), path, stamps, u64::MAX);
    let counted = count(&mut kept, plan).await?;
    if kept.rest() > 0 {
        let what = format!("its last {} bytes are no whole record", kept.rest());
        return Err(io::Error::other(what));
    }
    let noted = inbox.look(&place).map_or_else(Noted::default, |file| file.noted);
    Ok(Assumed { verdict: verdict(counted, kept.tail), noted })
}

async fn count(kept: &mut Kept, plan: &Arc<Plan>) -> io::Result<Counted> {
    let transform = Transform::new(Arc::clone(plan), Arc::default());
    let mut all = Counted { reach: Mark::default(), hash: String::new(), skipped: 0, odd: 0 };
    while let Some(raw) = kept.next().await? {
        let chunk = transform.chunk(raw).await;
        all.skipped += chunk.skipped;
        all.odd += chunk.quarantined.len() as u64;
        (all.reach, all.hash) = (chunk.span.to, chunk.hash);
    }
    Ok(all)
}

fn verdict(Counted { reach, hash, skipped, odd }: Counted, tail: Option<Mark>) -> Verdict {
    let loaded = reach.record - skipped;
    let odd = match odd {
        0 => String::new(),
        odd => format!("; {odd} of them cannot be rows here"),
    };
    let detail = format!("assumed loaded: {loaded} records that another program wrote{odd}");
    Verdict::Assumed { reach, hash, tail, skipped, detail }
}
