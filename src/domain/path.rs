//! What the path of a file says: its place in listing order, and the values of columns that are derived from it.

use super::feed::FileKey;
use super::parse;
use super::plan::{Origin, Plan, Table};

/// The place of a file in listing order: by the date in its name (files without a date last), then by feed, then by
/// name.
pub type Place = (i32, FileKey);

pub fn order(file: &FileKey) -> Place {
    (date(file.path()).unwrap_or(i32::MAX), file.clone())
}

/// Whether two paths give the same value for every table column that is derived from the path. If not, the same bytes
/// give different rows under the two paths.
pub fn derive_alike(plan: &Plan, one: &str, other: &str) -> bool {
    let columns = plan.tables.iter().flat_map(Table::all).filter_map(|index| plan.columns.get(index));
    let mut origins = columns.map(|column| &column.origin);
    origins.all(|origin| match origin {
        Origin::FileDate => date(one) == date(other),
        Origin::FileName => file_name(one) == file_name(other),
        Origin::Field(_) | Origin::DateOf(_) => true,
    })
}

/// Returns the last part of a path.
fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Returns the date in a file name, `2018-11-01` or `20181101`, in days since 1970.
pub fn date(path: &str) -> Option<i32> {
    let name = path.rsplit('/').next()?;
    let mut places = name.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at);
    places.find_map(|at| {
        let before = name[..at].chars().next_back();
        if before.is_some_and(|c| c.is_ascii_digit()) {
            return None;
        }
        long(&name[at..]).or_else(|| short(&name[at..]))
    })
}

fn ends_there(name: &str, len: usize) -> bool {
    name[len..].chars().next().is_none_or(|c| !c.is_ascii_digit())
}

fn long(name: &str) -> Option<i32> {
    let text = name.get(..10)?;
    parse::days(text).filter(|_| ends_there(name, 10))
}

fn short(name: &str) -> Option<i32> {
    let text = name.get(..8).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    let dashed = format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]);
    parse::days(&dashed).filter(|_| ends_there(name, 8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text;

    #[test]
    fn dates_are_found_in_names() {
        let found = |name: &str| date(name).map(text::date);
        assert_eq!(found("2018-11-02-events.csv").as_deref(), Some("2018-11-02"));
        assert_eq!(found("a/b/events_20181102.csv.gz").as_deref(), Some("2018-11-02"));
        assert_eq!(found("2018-11-02/events.csv"), None, "the date is in the folder's name");
        assert_eq!(found("events-120181102.csv"), None);
        assert_eq!(found("events-2018-13-02.csv"), None);
    }

    #[test]
    fn the_date_comes_before_the_name() {
        let mut names = ["b.csv", "z-2018-11-01.csv", "a-2018-11-02.csv", "a.csv"];
        names.sort_by_key(|name| order(&FileKey::from(*name)));
        assert_eq!(names, ["z-2018-11-01.csv", "a-2018-11-02.csv", "a.csv", "b.csv"]);
    }

    #[test]
    fn the_date_comes_before_the_feed_and_the_feed_before_the_name() {
        let expected =
            ["b//2018-11-01.csv", "2018-11-02.csv", "a//2018-11-02.csv", "z.csv", "a//y.csv", "b//x.csv"];
        let mut files = expected.map(FileKey::from_text);
        files.reverse();
        files.sort_by_key(order);
        assert_eq!(files.map(|file| file.to_string()), expected);
    }
}
