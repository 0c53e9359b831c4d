//! Tests that every store must pass. A store runs them with `store_suite!(Fixture)` in its own module of tests.

mod cases;
mod chunks;
mod feeds;
mod model;
mod properties;
mod quarantine;
mod reading;
mod row_pages;
mod types;

use std::sync::Arc;

pub use cases::*;
pub use chunks::*;
pub use feeds::*;
pub use properties::*;
pub use quarantine::*;
pub use reading::*;
pub use row_pages::*;
pub use types::*;

use super::Store;
use crate::domain::{Plan, Schema};

/// A place for one store: a folder or a keyspace.
pub trait Fixture: Sized {
    type Store: Store;

    /// Whether collisions with records of other deliveries are counted too, and exactly.
    const COUNTS_ACROSS_DELIVERIES: bool;

    /// The number of cases of a property test is divided by this.
    const SLOWER: u32;

    /// Whether such a store is available on this machine. If it is not, the tests do nothing.
    fn available() -> bool {
        true
    }

    fn new() -> impl Future<Output = Self>;

    /// Opens the store in this place with the tables of one plan. The store must not be open already.
    fn open(&self, plan: Arc<Plan>) -> impl Future<Output = Self::Store> {
        self.open_with(Arc::new(Schema::of([&*plan])))
    }

    /// Opens the store in this place. The store must not be open already.
    fn open_with(&self, schema: Arc<Schema>) -> impl Future<Output = Self::Store>;

    /// Deletes all rows of a table without using the store.
    fn wipe(&self, table: &str) -> impl Future<Output = ()>;
}

macro_rules! store_suite {
    ($fixture:ty) => {
        $crate::store::suite::store_suite!(@ $fixture:
            take_up_gives_generations_and_stamps_in_order,
            an_unfinished_generation_is_replaced_by_the_next,
            each_feed_has_its_own_deliveries_of_a_path,
            feeds_share_a_table_whatever_columns_they_read,
            a_loaded_generation_settles_all_before_it,
            apply_advances_reach_and_counts,
            a_chunk_that_does_not_continue_is_refused_and_changes_nothing,
            tolerated_counts_add_up_and_are_kept,
            chunks_are_sent_before_earlier_chunks_are_applied,
            a_tail_is_a_record_like_any_other,
            a_delivery_that_changed_since_it_was_compared_is_not_resumed,
            an_interrupted_or_replaced_delivery_keeps_its_position,
            extend_and_amend,
            files_that_another_program_loaded_are_entered_as_loaded,
            a_collision_before_a_backfill_is_counted_once,
            no_file_is_assumed_loaded_if_all_tables_are_empty,
            a_backfill_changes_nothing_and_restores_what_was_deleted,
            rows_come_by_key_in_order,
            rows_come_in_pages,
            a_cursor_continues_after_rows_were_added,
            a_page_is_bounded_in_bytes,
            a_cursor_of_another_listing_is_refused,
            quarantined_is_filtered,
            deliveries_come_in_pages,
            deliveries_are_found_by_their_content,
            entries_come_in_pages,
            entries_settled_during_a_listing_are_listed_once,
            a_replayed_record_ends_as_if_it_had_been_loaded_with_the_others,
            what_still_fails_stays_open_with_its_new_reason,
            a_refused_delivery_is_loaded_by_its_replay,
            a_failed_delivery_becomes_a_duplicate,
            discarded_records_are_kept_for_the_account,
            what_is_settled_is_not_settled_again,
            a_backfilled_table_has_the_replayed_records,
            known_tells_the_newest_generation,
            every_type_is_read_as_it_was_written,
            the_last_result_of_a_job_is_kept,
        );

        #[test]
        fn any_interleaving_gives_the_same_result_as_stamp_order() {
            if !<$fixture as $crate::store::suite::Fixture>::available() {
                return;
            }
            $crate::store::suite::any_interleaving_gives_the_same_result_as_stamp_order::<$fixture>();
        }

        #[test]
        fn tables_added_later_end_as_if_they_had_always_existed() {
            if !<$fixture as $crate::store::suite::Fixture>::available() {
                return;
            }
            $crate::store::suite::tables_added_later_end_as_if_they_had_always_existed::<$fixture>();
        }
    };
    (@ $fixture:ty: $($case:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $case() {
            if <$fixture as $crate::store::suite::Fixture>::available() {
                $crate::store::suite::$case::<$fixture>().await;
            }
        })+
    };
}
pub(crate) use store_suite;
