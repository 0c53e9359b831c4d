//! The size of the largest request that the nodes accept.

use crate::store::cassandra::cluster::Cluster;

/// A limit on the bytes that one request may write, and the name of the setting that limits them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SizeLimit {
    name: String,
    pub bytes: usize,
}

/// The settings that limit a request, each with the divisor that turns it into the limit.
const SETTINGS: [(&str, usize); 5] = [
    ("native_transport_max_message_size", 1),
    ("native_transport_max_frame_size", 1),
    ("max_mutation_size", 1),
    ("max_value_size", 1),
    // A mutation may take at most half of a segment.
    ("commitlog_segment_size", 2),
];

impl SizeLimit {
    /// Returns the smallest limit of a node. Returns `None` if no limit can be read: Cassandra before 4.0 and ScyllaDB
    /// do not report limits, and a role may not be allowed to read them.
    pub async fn smallest(cluster: &Cluster) -> Option<Self> {
        let cql = "SELECT name, value FROM system_views.settings";
        let found = cluster.query::<(String, Option<String>)>(cql, ()).await;
        let found = found.unwrap_or_default().into_iter();
        found.filter_map(|(name, value)| Self::of(name, &value?)).min_by_key(|limit| limit.bytes)
    }

    /// Parses a setting in the notation of Cassandra 4.0 (`commitlog_segment_size_in_mb`: 32) or of later versions
    /// (`16MiB`).
    fn of(name: String, value: &str) -> Option<Self> {
        let (base, unit) = match name.rsplit_once("_in_") {
            Some((base, unit)) => (base, unit),
            None => (name.as_str(), ""),
        };
        let (_, divisor) = SETTINGS.iter().find(|(setting, _)| *setting == base)?;
        let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        let (number, own_unit) = value.split_at_checked(digits)?;
        let factor: usize = match (unit, own_unit) {
            ("mb", "") | ("", "MiB") => 1 << 20,
            ("kb", "") | ("", "KiB") => 1 << 10,
            ("", "GiB") => 1 << 30,
            ("", "B") => 1,
            _ => return None,
        };
        let bytes = number.parse::<usize>().ok()?.checked_mul(factor)? / divisor;
        (bytes > 0).then_some(Self { name, bytes })
    }

    /// Returns a warning if records may be longer than the limit.
    pub fn warning(&self, max_record_bytes: usize) -> Option<String> {
        let Self { name, bytes } = self;
        (max_record_bytes > *bytes).then(|| {
            format!(
                "limits.max_record_bytes is {max_record_bytes} bytes, and a node accepts no request over {bytes} bytes \
                 ({name}): longer records go to quarantine"
            )
        })
    }

    /// Returns the reason why a row of this size is not sent, if it is too large.
    pub fn refusal(&self, size: usize) -> Option<String> {
        let Self { name, bytes } = self;
        (size > *bytes).then(|| {
            format!("the row takes {size} bytes, and a node accepts no request over {bytes} bytes ({name})")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_all_versions_are_read() {
        let bytes = |name: &str, value: &str| SizeLimit::of(name.to_owned(), value).map(|limit| limit.bytes);
        assert_eq!(bytes("native_transport_max_message_size", "16777216B"), Some(16 << 20));
        assert_eq!(bytes("native_transport_max_frame_size", "16MiB"), Some(16 << 20));
        assert_eq!(bytes("native_transport_max_frame_size_in_mb", "256"), Some(256 << 20));
        assert_eq!(bytes("max_mutation_size", "16384KiB"), Some(16 << 20));
        assert_eq!(bytes("max_mutation_size_in_kb", "16384"), Some(16 << 20));
        assert_eq!(bytes("commitlog_segment_size", "32MiB"), Some(16 << 20));
        for (name, value) in [
            ("max_mutation_size", "null"),
            ("max_value_size", "-1"),
            ("max_value_size", "0B"),
            ("other", "1MiB"),
        ] {
            assert_eq!(bytes(name, value), None, "{name} {value}");
        }
    }
}
