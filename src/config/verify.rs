//! `verify`: verifications by the daemon. The short form is only the share.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor, value::MapAccessDeserializer};

use crate::domain::Share;
use crate::domain::units::{Duration, Word};

/// What the daemon verifies while it is idle, and how often.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(remote = "Self", deny_unknown_fields, default)]
pub struct Verify {
    /// The share of the partitions. `None` means that nothing is verified.
    #[serde(deserialize_with = "sample")]
    pub sample: Option<Share>,
    pub every: Duration,
    /// 0 means no limit.
    pub rows_per_second: u64,
    /// `None` means the folder for temporary files.
    pub scratch: Option<PathBuf>,
}

impl Default for Verify {
    fn default() -> Self {
        let every = Duration::from_secs(24 * 3600);
        Self { sample: None, every, rows_per_second: 10_000, scratch: None }
    }
}

fn sample<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Share>, D::Error> {
    let Word(text) = Word::deserialize(from)?;
    share(&text)
}

fn share<E: de::Error>(text: &str) -> Result<Option<Share>, E> {
    match Share::read_sample(text) {
        Some(share) => Ok(Some(share)),
        None if matches!(text, "off" | "false") => Ok(None),
        None => Err(E::custom(format!(
            "`{text}` is not a share of the partitions above 0% and at most 100%, like 1%, or off"
        ))),
    }
}

impl<'de> Deserialize<'de> for Verify {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct ShareOrKeys;
        impl<'de> Visitor<'de> for ShareOrKeys {
            type Value = Verify;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share of the partitions such as 1%, off, or the keys of this section")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Verify, E> {
                Ok(Verify { sample: share(text.trim())?, ..Verify::default() })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Verify, A::Error> {
                // The keys of the section, which the attribute `remote` reads.
                Verify::deserialize(MapAccessDeserializer::new(map))
            }
        }
        from.deserialize_any(ShareOrKeys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::yaml::read;

    fn keys(yaml: &str) -> Result<Verify, String> {
        read::<Verify>(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn the_short_form_is_the_share() {
        let one = Verify { sample: Some(Share::percent(1)), ..Verify::default() };
        assert_eq!(keys("1%").unwrap(), one);
        assert_eq!(keys("{ sample: 1% }").unwrap(), one);
        assert_eq!(keys("off").unwrap(), Verify::default());
        assert_eq!(keys("{ sample: false }").unwrap(), Verify::default());
        let all = keys("{ sample: 100%, every: 1h, rows_per_second: 0, scratch: /var/tmp }").unwrap();
        assert_eq!((*all.every, all.rows_per_second), (*Duration::from_secs(3600), 0));
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for wrong in ["x", "0%", "101%", "on", "{ sample: 0% }", "{ sample: 5 }"] {
            let error = keys(wrong).unwrap_err();
            assert!(error.contains("share of the partitions"), "{wrong}: {error}");
        }
        assert!(keys("{ share: 1% }").unwrap_err().contains("share"));
        assert!(keys("{ every: 5 }").unwrap_err().contains("duration"));
    }
}
