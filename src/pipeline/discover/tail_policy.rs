//! Decides when the open tail of a file may be loaded (law 4): when its writer has finished, as far as can be known.

use std::time::{Duration, SystemTime};

use crate::config::{FinalNewline, SourceConfig};
use crate::domain::FileStat;
use crate::format::tail::TailPolicy;
use crate::pipeline::discover::files::Queued;
use crate::pipeline::messages::Scope;

/// How many times longer a tail waits after growth first showed that it was not a complete record. Each further
/// contradiction doubles the wait.
const AFTER_A_STRIKE: u32 = 10;

/// The longest wait for a tail, however often it was contradicted.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The rules for open tails in one run.
#[derive(Clone, Copy, Debug)]
pub struct Tails {
    after: Duration,
    required: bool,
    complete: Complete,
}

/// Which files are complete without further signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Complete {
    /// Files that were closed by their writer or renamed in.
    Closed,
    /// Files whose tail was never contradicted. Used for a single pass over the inbox.
    Unblamed,
    /// All files. Used for files that the user named.
    All,
}

impl Tails {
    pub fn new(source: &SourceConfig, scope: &Scope) -> Self {
        let complete = match scope {
            Scope::Watch => Complete::Closed,
            Scope::Once(_) => Complete::Unblamed,
            Scope::These(_) => Complete::All,
        };
        let required = source.final_newline == FinalNewline::Required;
        Self { after: *source.tail_after, required, complete }
    }

    /// Returns how long a file must be unchanged before its tail is loaded without other signs.
    fn quiet(&self, strikes: u32) -> Duration {
        match strikes.checked_sub(1) {
            None => self.after,
            Some(doubled) => {
                let factor = AFTER_A_STRIKE.saturating_mul(2_u32.saturating_pow(doubled));
                self.after.saturating_mul(factor).min(LONGEST.max(self.after))
            }
        }
    }

    /// Returns what may be done with the open tail of a file. `noted` is its size and times now that it is open.
    pub fn policy(&self, queued: &Queued, noted: FileStat, strikes: u32) -> TailPolicy {
        let is_as_seen = queued.noted.has_bytes_of(&noted);
        let is_complete = match self.complete {
            Complete::Closed => queued.closed && is_as_seen && strikes == 0,
            Complete::Unblamed => strikes == 0,
            Complete::All => true,
        };
        let watched = (queued.quiet && is_as_seen).then(|| queued.since.elapsed());
        let unchanged = unchanged(noted).max(watched.unwrap_or_default());
        match is_complete || unchanged >= self.quiet(strikes) {
            is_complete if self.required => TailPolicy::Never { is_complete },
            true => TailPolicy::Load,
            false => TailPolicy::Hold,
        }
    }

    /// Returns when to look again at a file whose tail is held.
    pub fn look_again_in(&self, noted: FileStat, strikes: u32) -> Duration {
        match self.quiet(strikes).saturating_sub(unchanged(noted)) {
            // The file has been quiet for long enough, so a writer must have it open.
            Duration::ZERO => self.after.max(Duration::from_secs(1)),
            left => left,
        }
    }
}

/// Returns how long ago the file changed according to its times, or zero if they lie ahead of the clock.
fn unchanged(noted: FileStat) -> Duration {
    SystemTime::now().duration_since(noted.quiet_since()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strike_doubles_the_wait_up_to_a_day() {
        let tails = Tails { after: Duration::from_secs(30), required: false, complete: Complete::Closed };
        let seconds = |strikes| tails.quiet(strikes).as_secs();
        assert_eq!([0, 1, 2, 3].map(seconds), [30, 300, 600, 1200]);
        assert_eq!([20, 64, u32::MAX].map(seconds), [24 * 3600; 3]);
    }
}
