//! Guesses a key: columns that are never empty and whose combination never repeats.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::domain::parse::parse;
use crate::domain::{Type, text};

/// The maximum number of columns in a guessed key.
const MOST: usize = 3;

/// The maximum number of columns that are combined. More columns have too many combinations.
const TRIED: usize = 24;

/// What was observed about one column.
#[derive(Debug)]
pub struct Seen {
    pub never_empty: bool,
    pub distinct: usize,
    kind: Type,
    /// The hashes of the values. A hash is enough to tell values apart, so the values are not kept.
    hashes: Vec<u64>,
}

/// A guessed key, as indexes of the columns.
#[derive(Debug, PartialEq, Eq)]
pub struct Guess {
    pub key: Vec<usize>,
    /// Whether no two records had the same key.
    pub unique: bool,
}

impl Seen {
    pub fn of<'a>(kind: Type, fields: impl Iterator<Item = &'a [u8]>) -> Self {
        let hashes: Vec<Option<u64>> = fields.map(|field| hash(kind, field)).collect();
        let never_empty = hashes.iter().all(Option::is_some);
        let hashes: Vec<u64> = hashes.into_iter().flatten().collect();
        let distinct = hashes.iter().collect::<HashSet<_>>().len();
        Self { never_empty, distinct, kind, hashes }
    }
}

/// Hashes the value and not the field, because 1.0 and 1.00 are one key. Returns `None` for an empty field.
fn hash(kind: Type, field: &[u8]) -> Option<u64> {
    let mut arena = Vec::new();
    let cell = parse(kind, field, &mut arena).ok().filter(|cell| !cell.is_empty())?;
    let mut hasher = DefaultHasher::new();
    text::plain(&cell.value(&arena)).hash(&mut hasher);
    Some(hasher.finish())
}

/// Returns the shortest combination from the left that never repeats, or else the columns that repeat least.
pub fn guess(columns: &[&Seen], records: usize) -> Guess {
    // Nobody queries by a measured number.
    let is_candidate = |index: &usize| columns[*index].never_empty && columns[*index].kind != Type::Double;
    let candidates: Vec<usize> = (0..columns.len()).filter(is_candidate).collect();
    let tried = &candidates[..candidates.len().min(TRIED)];
    let mut sizes = (1..=MOST).flat_map(|size| combinations(tried, size));
    match sizes.find(|key| may_be_key(columns, key) && is_unique(columns, key, records)) {
        Some(key) => Guess { key, unique: true },
        None => Guess { key: least_repeated(columns, &candidates), unique: false },
    }
}

fn combinations(from: &[usize], size: usize) -> Vec<Vec<usize>> {
    if size == 0 {
        return vec![Vec::new()];
    }
    let firsts = from.iter().enumerate();
    let all = firsts.flat_map(|(at, first)| {
        let rest = combinations(&from[at + 1..], size - 1);
        rest.into_iter().map(|rest| std::iter::once(*first).chain(rest).collect())
    });
    all.collect()
}

/// Whether the columns can be a key. The SQLite store refuses inet as a clustering key, because its text does not sort
/// like the addresses.
fn may_be_key(columns: &[&Seen], key: &[usize]) -> bool {
    key.iter().skip(1).all(|index| columns[*index].kind != Type::Inet)
}

fn is_unique(columns: &[&Seen], key: &[usize], records: usize) -> bool {
    let most = key.iter().fold(1_usize, |most, index| most.saturating_mul(columns[*index].distinct));
    let mut seen = HashSet::with_capacity(records);
    let value = |record: usize| -> Vec<Option<&u64>> {
        key.iter().map(|index| columns[*index].hashes.get(record)).collect()
    };
    most >= records && (0..records).all(|record| seen.insert(value(record)))
}

/// Returns the columns that repeat least, in the order of the file. The user can start from them.
fn least_repeated(columns: &[&Seen], candidates: &[usize]) -> Vec<usize> {
    let mut key = candidates.to_vec();
    key.sort_by_key(|index| std::cmp::Reverse(columns[*index].distinct));
    key.truncate(MOST);
    key.sort_unstable();
    if !may_be_key(columns, &key) {
        key.truncate(1);
    }
    // Every table needs a partition key, even if no column is suitable.
    if key.is_empty() { vec![0] } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: Type, fields: &[&str]) -> Seen {
        Seen::of(kind, fields.iter().map(|field| field.as_bytes()))
    }

    fn guessed(columns: &[Seen]) -> (Vec<usize>, bool) {
        let records = columns.iter().map(|column| column.hashes.len()).max().unwrap_or(0);
        let guess = guess(&columns.iter().collect::<Vec<_>>(), records);
        (guess.key, guess.unique)
    }

    #[test]
    fn values_are_counted_not_spellings() {
        let lengths = seen(Type::Double, &["1.0", "1.00", " 1", "2"]);
        assert_eq!((lengths.never_empty, lengths.distinct), (true, 2));
        let spaces = seen(Type::Int, &["1", "  "]);
        assert_eq!((spaces.never_empty, spaces.distinct), (false, 1));
        assert!(seen(Type::Text, &["a", "  "]).never_empty);
    }

    #[test]
    fn the_shortest_combination_from_the_left_is_guessed() {
        let twice = || seen(Type::Int, &["1", "1", "2", "2"]);
        let other = || seen(Type::Int, &["1", "2", "1", "2"]);
        let each = || seen(Type::Int, &["1", "2", "3", "4"]);
        let holes = || seen(Type::Int, &["1", "2", "", "4"]);
        let price = || seen(Type::Double, &["1.5", "2.5", "3.5", "4.5"]);
        assert_eq!(guessed(&[twice(), each(), other()]), (vec![1], true));
        assert_eq!(guessed(&[holes(), twice(), price(), other()]), (vec![1, 3], true));
        assert_eq!(guessed(&[twice(), holes(), twice()]), (vec![0, 2], false));
        assert_eq!(guessed(&[holes()]), (vec![0], false));
        assert_eq!(guessed(&[]), (vec![0], false));
    }

    #[test]
    fn three_columns_can_be_needed() {
        let bit = |n: usize| {
            let bits: Vec<_> = (0..8).map(|record| (record >> n & 1).to_string()).collect();
            seen(Type::Int, &bits.iter().map(String::as_str).collect::<Vec<_>>())
        };
        assert_eq!(guessed(&[bit(0), bit(1), bit(2)]), (vec![0, 1, 2], true));
    }

    #[test]
    fn an_address_is_not_a_clustering_key() {
        let twice = seen(Type::Int, &["1", "1", "2"]);
        let address = seen(Type::Inet, &["::1", "::2", "::1"]);
        let text = seen(Type::Text, &["a", "b", "a"]);
        assert_eq!(guessed(&[twice, address, text]), (vec![0, 2], true));
    }
}
