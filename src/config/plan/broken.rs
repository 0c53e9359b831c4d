//! A rule that the declaration breaks.

use serde_saphyr::Spanned;

use crate::domain::Feed;

/// A broken rule: the path of the setting, the problem, what to do next, and the line if it is known.
pub struct Broken {
    pub path: String,
    pub line: Option<u64>,
    pub problem: String,
    pub next: String,
}

pub type Checked<T> = Result<T, Broken>;

impl Broken {
    pub fn new(path: &str, problem: impl Into<String>, next: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, problem: problem.into(), next: next.into() }
    }

    /// Names the setting as the file has it, for a feed with a name.
    pub fn of(self, feed: &Feed) -> Self {
        let is_own = ["source", "tables"].iter().any(|section| self.path.starts_with(section));
        if !is_own {
            return self;
        }
        let next = self.next.replace(" source.", &format!(" {}", feed.setting("source.")));
        Self { path: feed.setting(&self.path), next, ..self }
    }

    pub fn at<T>(mut self, place: &Spanned<T>) -> Self {
        self.line = Some(place.referenced.line()).filter(|line| *line > 0);
        self
    }
}
