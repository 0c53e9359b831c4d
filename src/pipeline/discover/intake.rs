//! One feed as discovery sees it.

use std::time::{Duration, Instant};

use crate::config::SourceConfig;
use crate::domain::Feed;
use crate::metrics;
use crate::pipeline::discover::identify::Identify;
use crate::source::left_out::{LeftOut, Logged};

/// How often a missing inbox is looked for.
const ABSENT: Duration = Duration::from_secs(1);

/// How often further files that are left out are logged.
const LEFT_OUT_PAUSE: Duration = Duration::from_secs(3600);

/// One feed as discovery sees it: how its files are identified, and how its inbox is watched.
pub struct Intake<S, I> {
    pub identify: Identify<S, I>,
    pub settings: SourceConfig,
    /// The maximum number of its files that are under way.
    pub files_under_way: usize,
    /// How long a file must have been unchanged before it leaves the inbox. `None` if files stay where they are.
    pub rest: Option<Duration>,
    /// Why the last listing of the inbox failed, if it did. Each reason is logged once.
    pub absent: Option<String>,
    /// Whether the system sends no events for the inbox.
    pub unwatched: bool,
    /// When the inbox is listed next.
    pub list_at: Instant,
    /// The files that were logged as left out because of their names.
    logged: Logged,
    /// When further files like these are logged.
    logged_until: Option<Instant>,
}

impl<S, I> Intake<S, I> {
    pub fn new(
        identify: Identify<S, I>,
        settings: SourceConfig,
        files_under_way: usize,
        rest: Option<Duration>,
    ) -> Self {
        let (absent, unwatched, list_at) = (None, false, Instant::now());
        let (logged, logged_until) = (Logged::default(), None);
        Self { identify, settings, files_under_way, rest, absent, unwatched, list_at, logged, logged_until }
    }

    /// Schedules the next listing after one that succeeded or failed.
    pub fn listed(&mut self, is_listed: bool) {
        let poll = *self.settings.poll;
        self.list_at = Instant::now() + if is_listed { poll } else { poll.min(ABSENT) };
    }

    /// Lists the inbox again soon, unless it is listed even earlier.
    pub fn list_within(&mut self, wait: Duration) {
        self.list_at = self.list_at.min(Instant::now() + wait);
    }

    /// Reports the files that are left out. New suffixes are logged at once, further files with
    /// the same suffixes once an hour.
    pub fn left_out(&mut self, feed: &Feed, left_out: LeftOut) {
        let LeftOut { unmatched, ignored, not_utf8, not_files } = &left_out;
        let counts = [unmatched.total(), ignored.total(), not_utf8.files, not_files.total()];
        metrics::left_out(feed.name(), counts);
        let now = Instant::now();
        let more = self.logged_until.is_some_and(|due| due <= now);
        if left_out.log(feed.name(), &mut self.logged, more) {
            self.logged_until = Some(now + LEFT_OUT_PAUSE);
        }
    }
}
