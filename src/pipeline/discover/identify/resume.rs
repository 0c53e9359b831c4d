//! Resumes a delivery where the ledger stands.

use tracing::info;

use crate::domain::ledger::Continuation;
use crate::domain::{Delivery, DeliveryState, Tolerated, text};
use crate::pipeline::discover::identify::identified::{Identified, IdentifyError, Same};
use crate::pipeline::discover::identify::{Identify, Subject, head};
use crate::pipeline::header_probe::{framer, trusted};
use crate::pipeline::prefix_check::PrefixCheck;
use crate::source::{Source, SourceFile};
use crate::store::Store;

impl<S: Store, I: Source> Identify<S, I> {
    /// Resumes a delivery. Returns `None` if the delivery was changed in the meantime.
    pub(super) async fn resume(
        &self,
        mut subject: Subject<'_, I::File>,
        current: &Delivery,
        mut prefix: PrefixCheck<I::File>,
    ) -> Result<Option<Identified<I::File>>, IdentifyError> {
        let start = match self.start(&subject.opened, &current.file).await {
            Ok(start) => start,
            Err(error) if error.is_unfinished() => {
                return Ok(Some(Identified::Unchanged(Same::unchanged(current, &subject.opened, false))));
            }
            Err(error) => return self.fail(&subject, error.to_string()).await.map(Some),
        };
        if !start.is_complete {
            subject.opened.bytes = subject.opened.bytes.ended();
            prefix = prefix.end();
        }
        let noted = trusted(prefix.bytes.file.noted());
        // An untrusted version never compares equal, so a file that was not fully verified is compared again once it is
        // quiet.
        let noted = if prefix.verified { noted } else { noted.untrusted() };
        let how = Continuation {
            noted,
            head: head(&subject.opened),
            detail: describe_resumed(current, &prefix),
            rules: self.plan.rules.clone(),
            compared: (current.reach, current.ahead.clone()),
        };
        let reopened = self.backoff.with(|| self.store.reopen(current.id, how.clone())).await?;
        let Some(delivery) = reopened else { return Ok(None) };
        let from = delivery.reach;
        if is_interrupted(current) {
            info!(file = current.file.text(), records = from.record, "resumed: {}", how.detail);
        }
        // If no record is durable yet, the header was read again, because it may have grown too.
        if from.record == 0 && start.mark.offset > from.offset {
            let from = (from, delivery.receipt.tolerated.get(Tolerated::Comments));
            let framer = framer(&self.plan, self.max_record_bytes, from, &start, &subject.opened.read);
            let ends = (subject.opened.head(), subject.opened.window());
            return Ok(Some(self.work(subject, delivery, start, framer, ends)));
        }
        let framer = prefix.framer(&delivery, &self.plan.format, self.max_record_bytes);
        let ends = (subject.opened.head(), prefix.window);
        subject.opened.bytes = prefix.bytes;
        Ok(Some(self.work(subject, delivery, start, framer, ends)))
    }
}

/// Whether loading was interrupted before the end of the file.
pub fn is_interrupted(delivery: &Delivery) -> bool {
    matches!(delivery.state, DeliveryState::Loading | DeliveryState::Replaced)
}

/// Describes a resumed delivery for `status`.
fn describe_resumed<F: SourceFile>(current: &Delivery, prefix: &PrefixCheck<F>) -> String {
    let grown = prefix.bytes.file.noted().size.saturating_sub(current.noted.size);
    let ended =
        matches!(current.state, DeliveryState::Loaded | DeliveryState::Incomplete | DeliveryState::Failed);
    let what = if ended && grown > 0 {
        format!("grew by {}", text::bytes(grown))
    } else {
        format!("continued at byte {}", current.reach.offset)
    };
    let verified = if prefix.verified { "beginning" } else { "head and last 64 KiB before that" };
    format!("{what}, its {verified} verified")
}
