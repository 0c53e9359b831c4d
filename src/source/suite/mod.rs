//! Tests that every source must pass. A source runs them with `source_suite!(Fixture)` in its own module of tests.

mod cases;
pub mod memory;
mod retiring;
mod story;

pub use cases::*;
pub use retiring::*;
pub use story::*;

use super::{Found, Source, SourceFile};
use crate::domain::{Feed, FileKey};

/// An inbox of its own, and what others do in it.
pub trait Fixture: Sized {
    type Source: Source;

    fn new() -> Self;

    /// Returns the source as a new process has it, with its files in this feed.
    fn source_of(&self, feed: Feed) -> Self::Source;

    /// Returns the source with its files in the unnamed feed.
    fn source(&self) -> Self::Source {
        self.source_of(Feed::default())
    }

    /// Makes this the whole content of a file at once, as a rename does.
    fn put(&self, path: &str, bytes: &[u8]);

    /// Appends to a file. Called only if files can grow.
    fn append(&self, path: &str, bytes: &[u8]);

    fn remove(&self, path: &str);

    /// Waits until the next change gets another version, even if it leaves the size as it is.
    fn tick(&self);
}

/// Returns all files of the inbox, by path.
async fn listed(source: &impl Source) -> Vec<Found> {
    let mut all = Vec::new();
    source.each(&mut |file| all.push(file)).await.unwrap();
    all.sort_by(|one, other| one.file.cmp(&other.file));
    all
}

/// Reads an open file from its position to its end, a few bytes at a time.
async fn rest(file: &impl SourceFile) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let mut part = Vec::with_capacity(3);
        if file.read(&mut part).await? == 0 {
            return Ok(all);
        }
        all.append(&mut part);
    }
}

async fn content(source: &impl Source, file: &FileKey) -> Vec<u8> {
    rest(&source.open(file, 0).await.unwrap()).await.unwrap()
}

macro_rules! source_suite {
    ($fixture:ty) => {
        $crate::source::suite::source_suite!(@ $fixture:
            every_file_is_listed_once_with_its_version,
            a_version_changes_with_the_bytes_and_only_then,
            a_file_is_read_from_any_offset,
            an_open_file_never_has_the_bytes_of_another,
            appended_bytes_are_seen_and_read,
            a_missing_file_is_not_found,
            a_file_of_another_feed_is_not_seen,
            changes_are_reported,
            a_moved_file_is_found_by_its_path,
            moved_files_of_one_name_are_all_kept,
            a_deleted_file_has_no_copy,
            only_unchanged_files_leave,
        );

        #[test]
        fn a_listing_is_that_of_the_model_after_random_changes() {
            $crate::source::suite::a_listing_is_that_of_the_model_after_random_changes::<$fixture>();
        }
    };
    (@ $fixture:ty: $($case:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            $crate::source::suite::$case::<$fixture>().await;
        })+
    };
}
pub(crate) use source_suite;
