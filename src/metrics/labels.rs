//! The labels of a metric.

use metrics::Label;

/// Returns labels that begin with the feed. A feed without a name has no such label, so its metrics are those of earlier
/// versions. For Prometheus, a missing label is the same as an empty one.
pub fn labels<const N: usize>(feed: &str, others: [(&'static str, &str); N]) -> Vec<Label> {
    let feed = Some(("feed", feed)).filter(|(_, feed)| !feed.is_empty());
    feed.into_iter().chain(others).map(|(name, value)| Label::new(name, value.to_owned())).collect()
}
