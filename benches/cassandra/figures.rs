//! The measurements, compared with the goals.

use super::Run;
use super::table::{Goal, Line};
use crate::common::drops::{self, Drops};
use crate::common::{Pairs, grouped, median, quantile};

const SPEED_GOAL: f64 = 0.9;
const PEERS_GOAL: f64 = 4.0;
const CPU_GOAL: f64 = 1.3;
const MEMORY_GOAL: f64 = 64.0;

/// All measurements.
pub struct Figures {
    /// The number of rows of all three tables together.
    pub rows: u64,
    pub ours: Vec<Run>,
    pub theirs: Vec<Run>,
    pub singles: Vec<Run>,
    pub peers: Vec<(&'static str, Run)>,
    /// needledrop with the big input.
    pub big: Option<Run>,
    /// needledrop with an empty inbox.
    pub empty: Option<Run>,
    pub drops: Drops,
}

impl Figures {
    pub fn lines(&self, big: &str) -> Vec<Line> {
        let mut lines = vec![self.beside("reference client", &self.theirs, Goal::Least(SPEED_GOAL))];
        lines.extend(self.peers());
        lines.push(self.beside("256 single inserts in flight", &self.singles, Goal::None));
        lines.push(self.cpu());
        lines.extend(self.memory(big));
        lines.push(self.latency());
        lines.extend(self.empty.map(|run| self.share(run)));
        lines
    }

    fn rates(&self, runs: &[Run]) -> Vec<f64> {
        runs.iter().map(|run| float(self.rows) / run.seconds).collect()
    }

    /// Describes how far apart the pairs are.
    pub fn spread(&self) -> String {
        let ratios = Pairs { ours: self.rates(&self.ours), theirs: self.rates(&self.theirs) }.ratios();
        let [least, low, high, most] = [0.0, 0.25, 0.75, 1.0].map(|share| quantile(&ratios, share));
        format!(
            "rows/s relative to the reference client, pair by pair: {least:.2} to {most:.2}, half of them {low:.2} to {high:.2}"
        )
    }

    /// Compares rows per second, pair by pair if both sides have as many runs.
    fn beside(&self, name: &str, runs: &[Run], goal: Goal) -> Line {
        let pairs = Pairs { ours: self.rates(&self.ours), theirs: self.rates(runs) };
        let (value, theirs) = (median(&pairs.ours), median(&pairs.theirs));
        let paired = pairs.ours.len() == pairs.theirs.len();
        Line {
            figure: "rows/s, all three tables".to_owned(),
            value: grouped(value),
            beside: format!("{name}: {}", grouped(theirs)),
            ratio: Some(if paired { pairs.ratio() } else { value / theirs }),
            goal,
        }
    }

    /// Returns one line for each peer. The goal applies to the fastest peer.
    fn peers(&self) -> Vec<Line> {
        let least = self.peers.iter().map(|(_, run)| run.seconds).fold(f64::INFINITY, f64::min);
        let line = |(name, run): &(&str, Run)| {
            let goal = if run.seconds <= least { Goal::Least(PEERS_GOAL) } else { Goal::None };
            self.beside(name, &[*run], goal)
        };
        self.peers.iter().map(line).collect()
    }

    fn cpu(&self) -> Line {
        let of = |runs: &[Run]| runs.iter().map(|run| run.cpu * 1e6 / float(self.rows)).collect();
        let pairs = Pairs { ours: of(&self.ours), theirs: of(&self.theirs) };
        Line {
            figure: "CPU-seconds, a million rows".to_owned(),
            value: format!("{:.2}", median(&pairs.ours)),
            beside: format!("reference client: {:.2}", median(&pairs.theirs)),
            ratio: Some(pairs.ratio()),
            goal: Goal::Most(CPU_GOAL),
        }
    }

    fn memory(&self, big: &str) -> Vec<Line> {
        let line = |input: String, peak: u64| Line {
            figure: format!("resident memory, MiB, {input}"),
            value: format!("{:.1}", mib(peak)),
            beside: String::new(),
            ratio: None,
            goal: Goal::Within(mib(peak), MEMORY_GOAL),
        };
        let most = self.ours.iter().map(|run| run.peak).max().unwrap_or(0);
        let mut lines = vec![line("this input".to_owned(), most)];
        lines.extend(self.big.map(|run| line(big.to_owned(), run.peak)));
        lines
    }

    /// Compares the time of a load without rows with the time of this load.
    fn share(&self, empty: Run) -> Line {
        let seconds: Vec<f64> = self.ours.iter().map(|run| run.seconds).collect();
        Line {
            figure: "seconds with an empty inbox".to_owned(),
            value: format!("{:.2}", empty.seconds),
            beside: format!("this input: {:.2}", median(&seconds)),
            ratio: Some(empty.seconds / median(&seconds)),
            goal: Goal::None,
        }
    }

    fn latency(&self) -> Line {
        let all = self.drops.all();
        let p99 = quantile(&all, 0.99);
        Line {
            figure: "drop to queryable, ms, p99".to_owned(),
            value: format!("{p99:.1}"),
            beside: format!("p50 {:.1}, most {:.1}", median(&all), quantile(&all, 1.0)),
            ratio: None,
            goal: Goal::Within(p99, drops::GOAL_MS),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "to be divided")]
fn float(number: u64) -> f64 {
    number as f64
}

pub fn mib(bytes: u64) -> f64 {
    float(bytes) / 1_048_576.0
}
