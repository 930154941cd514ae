//! One suite of claims about the journal, run against every adapter.

#![allow(unreachable_pub)] // A test has no reader outside.

mod beside;
mod bus;
mod cassandra;
mod claims;
mod cluster;
mod copies;
mod events;
mod holes;
mod memory;
mod nats;
mod records;
mod retired;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod trims;

/// The tests of every claim on a cluster: an expression for a future of `Option<impl Cluster>`;
/// `None` leaves the claim out.
#[macro_export]
macro_rules! contract {
    ($cluster:expr) => {
        $crate::contract!($cluster;
            a_claim_is_higher_than_every_earlier_one
            claims_at_the_same_time_get_different_epochs
            a_room_that_was_never_written_opens_empty
            opening_a_room_that_was_never_written_stores_nothing
            an_owner_of_an_unwritten_room_is_fenced_at_its_first_append
            of_two_owners_that_saw_a_room_empty_one_gets_the_first_place
            an_empty_room_is_written_after_its_snapshot
            what_is_journaled_is_read_and_replayed
            the_next_owner_goes_on_where_the_last_one_ended
            a_room_that_was_closed_is_opened_again_under_the_same_epoch
            an_owner_that_was_replaced_journals_nothing
            what_a_replaced_owner_writes_is_never_seen
            a_replaced_owner_opens_no_room
            a_claim_is_good_for_rooms_of_its_shard_only
            opening_starts_at_the_newest_snapshot
            a_snapshot_of_an_empty_room_keeps_its_changes
            the_late_snapshot_of_a_replaced_owner_replaces_nothing
            a_large_room_has_large_snapshots
            an_event_of_an_unknown_version_refuses_its_room_and_nothing_is_overwritten
            pages_are_dense_and_end_at_their_bound
            a_page_of_large_events_ends_earlier
            the_largest_commits_are_kept_whole
            every_room_that_was_written_is_listed
            many_rooms_of_a_shard_share_their_confirmations
        );
    };
    ($cluster:expr; $($claim:ident)*) => { $crate::tests!(claims, $cluster; $($claim)*); };
}

/// The tests of every claim about what is lost.
#[macro_export]
macro_rules! holes {
    ($cluster:expr) => {
        $crate::tests!(holes, $cluster;
            what_is_gone_is_a_hole_behind_which_the_room_goes_on
            what_no_owner_can_have_written_is_a_hole
            a_page_begins_behind_a_hole_and_ends_before_one
            the_lost_beginning_of_a_room_is_a_hole
            what_a_snapshot_holds_is_no_hole
            a_room_never_goes_back_behind_its_snapshot
            a_room_whose_snapshots_are_lost_is_replayed
            what_follows_a_snapshot_is_not_given_again
            a_quiet_room_is_not_moved_by_what_is_deleted_elsewhere
            a_room_goes_on_behind_what_was_published
            an_owner_goes_on_when_what_it_wrote_is_lost
            every_second_event_may_be_lost
            a_whole_commit_that_is_lost_is_a_hole
        );
        $crate::tests!(beside, $cluster;
            what_is_lost_of_a_room_takes_nothing_along_that_is_kept
        );
    };
}

/// The tests of every claim about what is let go.
#[macro_export]
macro_rules! trims {
    ($cluster:expr) => {
        $crate::tests!(trims, $cluster;
            what_is_trimmed_is_gone_and_nothing_else
            nothing_goes_that_no_snapshot_holds
            after_another_snapshot_the_rest_goes
            the_last_commit_stays
            an_owner_that_was_replaced_removes_nothing
            no_other_room_is_moved
            a_long_past_goes_in_pieces
            a_glance_shows_the_newest_snapshot
            two_snapshots_later_nothing_is_left_of_one
        );
        $crate::tests!(beside, $cluster;
            what_the_next_event_is_to_take_along_is_kept_beside_a_snapshot
            what_an_event_has_taken_along_is_not_done_again
            what_a_replaced_owner_keeps_late_counts_for_nothing
            a_snapshot_later_nothing_is_left_of_what_was_beside_one
        );
        $crate::tests!(retired, $cluster;
            a_room_that_is_gone_goes_with_its_name
            a_removed_room_is_written_again
            an_owner_that_was_replaced_removes_no_room
            a_room_that_has_grown_stays
            no_other_room_goes
        );
    };
}

/// The tests of every claim about keys in records of their own.
#[macro_export]
macro_rules! records {
    ($cluster:expr) => {
        $crate::tests!(records, $cluster;
            what_is_recorded_is_read_and_nothing_else
            a_record_is_written_again_by_the_next_owner
            what_a_replaced_owner_records_counts_for_nothing
            a_generation_is_dropped_and_no_other
            thousands_of_names_are_recorded
        );
    };
}

/// The tests of every claim about copies that take the place of what goes.
#[macro_export]
macro_rules! copies {
    ($cluster:expr) => {
        $crate::tests!(copies, $cluster;
            what_is_rewritten_takes_the_place_of_what_goes
            nothing_goes_that_an_opening_needs
            nothing_goes_that_has_no_copy
            a_second_rewriting_replaces_the_first
            what_is_left_in_the_middle_is_done_again
            what_a_replaced_owner_rewrites_counts_for_nothing
            copies_are_trimmed
            copies_that_never_came_to_count_are_trimmed
            copies_that_came_to_count_in_part_are_trimmed
            copies_that_never_counted_go_with_a_trim
            a_long_past_is_rewritten
            a_room_whose_snapshots_are_lost_is_replayed_from_copies
            large_events_are_rewritten
        );
    };
}

/// A test for each claim of a part.
#[macro_export]
macro_rules! tests {
    ($part:ident, $cluster:expr; $($claim:ident)*) => {
        $(
            #[tokio::test]
            async fn $claim() {
                if let Some(cluster) = $cluster.await {
                    $crate::$part::$claim($crate::cluster::Case::new(cluster)).await;
                }
            }
        )*
    };
}
