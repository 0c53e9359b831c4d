//! What the path of a file says: its place in listing order, and the values of columns that are derived from it.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::feed::{Feed, FileKey};
use super::file_date::{Dated, FileDates};
use super::header::HeaderError;
use super::parse;
use super::path_value::{NoValue, PathValue};
use super::plan::{Column, Origin, Plan};
use super::text;
use super::value::Type;

/// The place of a file in listing order: by the date in its name (files without a date last), then by feed, then by
/// the natural order of paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    date: i32,
    pub file: FileKey,
}

impl Place {
    pub fn of(file: &FileKey, dates: FileDates) -> Self {
        Self { date: date(file.path(), dates).unwrap_or(i32::MAX), file: file.clone() }
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_feed = || self.file.feed().cmp(other.file.feed());
        let by_path = || natural(self.file.path(), other.file.path());
        self.date.cmp(&other.date).then_with(by_feed).then_with(by_path)
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares paths folder by folder, and numbers by their value: `part-2` comes before `part-10`. Paths that differ only
/// in leading zeros are compared as texts, so that only equal paths are equal.
fn natural(one: &str, other: &str) -> Ordering {
    let mut rests = (one.as_bytes(), other.as_bytes());
    loop {
        let (ordering, left) = match (rests.0.first(), rests.1.first()) {
            (Some(a), Some(b)) if a.is_ascii_digit() && b.is_ascii_digit() => numbers(rests.0, rests.1),
            (Some(a), Some(b)) => (rank(*a).cmp(&rank(*b)), (&rests.0[1..], &rests.1[1..])),
            (a, b) => return a.cmp(&b).then_with(|| one.cmp(other)),
        };
        if ordering.is_ne() {
            return ordering;
        }
        rests = left;
    }
}

/// Returns the rank of a byte. A folder ends before anything else, so that all its files come together.
fn rank(byte: u8) -> u8 {
    if byte == b'/' { 0 } else { byte }
}

/// Compares the numbers at the beginning of both texts. Returns what follows them.
fn numbers<'t>(one: &'t [u8], other: &'t [u8]) -> (Ordering, (&'t [u8], &'t [u8])) {
    let split = |text: &'t [u8]| {
        let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
        let zeros = text[..end].iter().take_while(|byte| **byte == b'0').count();
        (&text[zeros..end], &text[end..])
    };
    let ((one, one_rest), (other, other_rest)) = (split(one), split(other));
    (one.len().cmp(&other.len()).then_with(|| one.cmp(other)), (one_rest, other_rest))
}

/// Whether one of these files may be a copy of the other. Each feed has its own copies: the same bytes in another feed
/// are no copy.
pub fn may_be_copies(plan: &Plan, one: &FileKey, other: &FileKey) -> bool {
    one.feed() == other.feed() && one != other && derive_alike(plan, one.path(), other.path())
}

/// Whether two paths give the same value for every column that is derived from the path. If not, the same bytes may give
/// different rows under the two paths. Columns that no table has count too, because a table may have them later.
pub fn derive_alike(plan: &Plan, one: &str, other: &str) -> bool {
    plan.columns.iter().all(|column| match &column.origin {
        Origin::FileDate => date(one, plan.file_dates) == date(other, plan.file_dates),
        Origin::Path(value) => same_value(column.kind, value.of(one), value.of(other)),
        // A part of a timestamp is the same if the timestamp is, and that is a column too.
        Origin::Field(_) | Origin::PartOf(..) | Origin::Line => true,
    })
}

/// Whether two parts of paths are equal values of a type: `007` and `7` are one int.
fn same_value(kind: Type, one: Result<Cow<'_, str>, NoValue>, other: Result<Cow<'_, str>, NoValue>) -> bool {
    let parsed = |text: &str| {
        let mut arena = Vec::new();
        let cell = parse::parse(kind, text.as_bytes(), &mut arena).ok()?;
        Some(cell.value(&arena).into_owned())
    };
    match (one, other) {
        (Ok(one), Ok(other)) => one == other || parsed(&one).is_some_and(|one| Some(one) == parsed(&other)),
        (one, other) => one == other,
    }
}

/// Checks that every column that is derived from the path has a value for a file with this path. Returns the date of the
/// file.
///
/// # Errors
/// Returns the first column without a value, and what to do.
pub fn check(plan: &Plan, path: &str) -> Result<Option<i32>, HeaderError> {
    for column in &plan.columns {
        if let Origin::Path(value) = &column.origin {
            check_value((&plan.feed, column), value, path)?;
        }
    }
    file_date(plan, path)
}

fn check_value((feed, column): (&Feed, &Column), value: &PathValue, path: &str) -> Result<(), HeaderError> {
    let (name, part) = (column.name.clone(), value.describe());
    let text = value.of(path).map_err(|why| match why {
        NoValue::Missing => {
            HeaderError::NoPathValue { column: name.clone(), part: part.clone(), feed: feed.clone() }
        }
        NoValue::SeveralFolders => HeaderError::SeveralFolders { column: name.clone(), part: part.clone() },
        NoValue::SeveralValues => HeaderError::SeveralValues { column: name.clone(), part: part.clone() },
        NoValue::NotText => {
            let (value, feed) = (path.to_owned(), feed.clone());
            HeaderError::PathValue { column: name.clone(), value, rule: "text", feed }
        }
    })?;
    let parsed = parse::parse(column.kind, text.as_bytes(), &mut Vec::new());
    parsed.map(|_| ()).map_err(|refusal| HeaderError::PathValue {
        column: name,
        value: text.into_owned(),
        rule: refusal.rule,
        feed: feed.clone(),
    })
}

/// Returns the date of a file, in days since 1970.
fn date(path: &str, dates: FileDates) -> Option<i32> {
    dates.of(path).only()
}

/// Returns the date of a file for the columns of the plan.
///
/// # Errors
/// Returns an error if a column needs the date, but the path has no date or two different ones.
pub fn file_date(plan: &Plan, path: &str) -> Result<Option<i32>, HeaderError> {
    let dated = plan.file_dates.of(path);
    if plan.columns.iter().all(|column| column.origin != Origin::FileDate) {
        return Ok(dated.only());
    }
    match dated {
        Dated::On(day) => Ok(Some(day)),
        Dated::Undated => Err(HeaderError::NoDate(plan.feed.clone())),
        Dated::Twice(one, other) => Err(HeaderError::TwoDates(text::date(one), text::date(other))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::plan::Table;
    use crate::domain::reading::{Precision, TimePart};

    fn sorted<const N: usize>(mut names: [&str; N]) -> [&str; N] {
        names.sort_by_key(|name| Place::of(&FileKey::from_text(*name), FileDates::YearFirst));
        names
    }

    #[test]
    fn the_date_comes_before_the_name() {
        let names = ["b.csv", "z_2018_11_01.csv", "a-2018-11-02.csv", "a.csv"];
        assert_eq!(sorted(names), ["z_2018_11_01.csv", "a-2018-11-02.csv", "a.csv", "b.csv"]);
    }

    #[test]
    fn the_date_comes_before_the_feed_and_the_feed_before_the_name() {
        let expected =
            ["b//2018-11-01.csv", "2018-11-02.csv", "a//2018-11-02.csv", "z.csv", "a//y.csv", "b//x.csv"];
        let mut files = expected;
        files.reverse();
        assert_eq!(sorted(files), expected);
    }

    #[test]
    fn numbers_in_names_are_compared_by_their_value() {
        let expected = [
            "a/part-2.csv",
            "a/part-10.csv",
            "a-1/part-1.csv",
            "a2/part-9.csv",
            "a10/part-1.csv",
            "part-1.csv",
            "part-02.csv",
            "part-2.csv",
            "part-002x.csv",
            "part-99999999999999999999998.csv",
            "part-99999999999999999999999.csv",
            "part-x.csv",
        ];
        let mut files = expected;
        files.reverse();
        assert_eq!(sorted(files), expected);
    }

    #[test]
    fn every_column_derived_from_the_path_belongs_to_the_identity_of_a_file() {
        let column = |name: &str, kind, origin| Column { origin, ..Column::of_field(name, kind) };
        let hive = |name: &str| Origin::Path(PathValue::Hive(name.to_owned()));
        let day = TimePart { of: Precision::Day, zone: None };
        let hour = TimePart { of: Precision::Hour, zone: None };
        let columns = vec![
            Column::of_field("id", Type::Int),
            column("at", Type::Timestamp, hive("at")),
            column("hour", Type::Timestamp, Origin::PartOf(1, hour)),
            column("day", Type::Date, Origin::PartOf(2, day)),
            column("shop", Type::Int, hive("shop")),
        ];
        let of_table = |columns: &[usize]| Table { columns: columns.to_vec(), ..Table::empty("t") };
        for in_table in [[0].as_slice(), &[0, 1], &[0, 2], &[0, 3], &[0, 3, 4]] {
            let plan = Plan { columns: columns.clone(), tables: vec![of_table(in_table)], ..Plan::empty() };
            let alike = |one: &str, other: &str| derive_alike(&plan, one, other);
            let path = "at=2024-03-01 10:00/shop=7/a.csv";
            assert!(alike(path, "at=2024-03-01T10:00:00Z/shop=007/b.csv"), "{in_table:?}");
            assert!(!alike(path, "at=2024-03-02 10:00/shop=7/a.csv"), "{in_table:?}");
            assert!(!alike(path, "at=2024-03-01 10:00/shop=8/a.csv"), "{in_table:?}");
        }
    }

    proptest! {
        #[test]
        fn the_natural_order_is_total(a in "[a0-2/.-]{0,6}", b in "[a0-2/.-]{0,6}", c in "[a0-2/.-]{0,6}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b).is_eq(), a == b);
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                prop_assert!(natural(&a, &c).is_le());
            }
        }
    }
}
