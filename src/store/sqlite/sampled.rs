//! Which partitions a sample has, by the stored form of their keys.

use std::hash::{Hash, Hasher};

use rusqlite::types::Value as Sql;

use crate::domain::Sample;

/// Whether the sample has the partition with this key.
pub fn has(sample: &Sample, partition: impl Iterator<Item = Sql>) -> bool {
    sample.has(partition.map(StoredKey).collect::<Vec<_>>())
}

/// A column of a key. Values that are equal as keys have the same hash.
struct StoredKey(Sql);

impl Hash for StoredKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.0 {
            Sql::Null => 0_u8.hash(state),
            Sql::Integer(n) => (1_u8, n).hash(state),
            // 0.0 and -0.0 are one key. Adding 0.0 gives both the same bits.
            Sql::Real(x) => (2_u8, (x + 0.0).to_bits()).hash(state),
            Sql::Text(text) => (3_u8, text).hash(state),
            Sql::Blob(bytes) => (4_u8, bytes).hash(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Share;

    #[test]
    fn equal_keys_are_in_the_sample_together() {
        let sample = Sample::new(Share::percent(50));
        let has = |key: Vec<Sql>| super::has(&sample, key.into_iter());
        for n in 0..100 {
            let key = || vec![Sql::Text(n.to_string()), Sql::Integer(n)];
            assert_eq!(has(key()), has(key()));
        }
        assert_eq!(has(vec![Sql::Real(0.0)]), has(vec![Sql::Real(-0.0)]));
    }
}
