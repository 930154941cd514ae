//! What the bus promises, claim by claim. The same claims run against the memory adapter (virtual
//! time) and a real nats-server (`SAFE_CHAT_TEST_NATS`); those about servers that die need servers
//! of their own (`SAFE_CHAT_TEST_NATS_SERVER`).

mod admissions;
mod blobs;
mod buckets;
mod commands;
mod crowded;
mod direct;
mod faults;
mod feed;
mod forged;
mod listeners;
mod packages;
mod registry;
mod start;
mod strays;
#[path = "../support/mod.rs"]
mod support;
mod things;
mod together;
mod world;

/// One test per claim and adapter.
macro_rules! contract {
    ($($part:ident: $($claim:ident)*;)*) => {
        mod memory {
            $($(
                #[tokio::test(start_paused = true)]
                async fn $claim() {
                    crate::$part::$claim(crate::world::World::memory()).await;
                }
            )*)*
        }

        mod nats {
            $($(
                #[tokio::test]
                async fn $claim() {
                    if let Some(world) = crate::world::World::nats(stringify!($claim)).await {
                        crate::$part::$claim(world).await;
                    }
                }
            )*)*
        }
    };
}

/// One test per claim and adapter, about servers that die.
macro_rules! faults {
    ($($claim:ident)*) => {
        mod faults_memory {
            $(
                #[tokio::test(start_paused = true)]
                async fn $claim() {
                    crate::faults::$claim(crate::world::Mortal::memory()).await;
                }
            )*
        }

        mod faults_nats {
            $(
                #[tokio::test]
                async fn $claim() {
                    if let Some(world) = crate::world::Mortal::nats(stringify!($claim)).await {
                        crate::faults::$claim(world).await;
                    }
                }
            )*
        }
    };
}

contract! {
    commands:
        a_command_is_delivered_as_it_was_submitted
        a_shard_sees_its_own_commands_in_stored_order
        a_reader_starts_where_it_is_told_and_sees_what_comes_later
        discarded_commands_are_not_read_again
        a_full_bus_refuses_and_stores_nothing
        what_is_submitted_at_once_is_each_where_it_is_said_to_be
        of_what_comes_at_once_a_full_bus_stores_what_it_has_room_for;
    feed:
        a_published_commit_is_live_and_stored
        an_outdated_publish_stores_nothing_and_nobody_sees_it
        a_claim_outdates_every_earlier_owner_and_nobody_sees_it
        the_last_message_is_told_with_epoch_and_place
        stored_messages_come_in_pages_of_one_room
        a_place_is_found_by_bisection_among_claims_and_other_rooms
        a_live_subscriber_misses_nothing_published_after_it_returned
        a_buffer_that_dropped_a_room_takes_its_next_commit
        rooms_of_a_shard_are_listed_in_order_of_their_names
        heads_reach_every_gateway;
    direct:
        a_word_reaches_its_node_only
        a_question_is_answered_by_the_owner_of_its_shard
        nobody_answers_for_a_shard_without_owner
        a_question_that_the_owner_drops_ends_by_its_deadline
        a_probe_tells_a_node_that_is_there_from_one_that_is_gone
        a_consultation_is_answered_by_its_node_and_ends_in_time;
    registry:
        the_first_settings_stay
        settings_that_are_open_are_filled_in_by_the_first_who_knows_them
        of_two_that_set_a_shard_one_is_first
        shards_are_watched_from_what_is_stored_on
        nodes_are_watched_from_beat_to_forgotten
        a_node_that_was_declared_down_is_told_so_whatever_it_beats
        a_plan_is_watched_with_the_shards
        marks_are_listed_by_shard_until_taken_back;
    blobs:
        a_blob_is_replaced_by_revision
        a_blob_of_any_permitted_size_is_kept
        a_blob_that_cannot_be_kept_is_refused
        copies_alone_are_read_by_whoever_owns_nothing;
    buckets:
        a_value_is_replaced_and_erased_by_revision
        what_was_erased_can_be_written_again_at_once
        names_are_found_by_pattern
        what_cannot_be_stored_is_refused;
    packages:
        no_two_who_ask_get_the_same_package
        what_is_left_is_told_and_what_is_removed_is_gone
        a_device_has_bounds_and_so_has_an_identity
        what_was_handed_out_does_not_come_back
        a_full_store_takes_no_more_and_still_gives
        a_recorded_request_changes_nothing;
    admissions:
        a_welcome_waits_until_it_is_confirmed
        what_a_commit_shares_goes_with_its_last_welcome
        putting_an_admission_again_adds_only_what_is_missing
        a_flood_pushes_out_itself_and_nothing_else
        of_one_adder_the_newest_welcomes_stay
        a_large_tree_comes_as_it_was
        an_erased_room_leaves_nothing;
}

faults! {
    readers_and_watchers_go_on_after_a_restart
    a_live_subscriber_is_told_that_it_may_have_missed_something
    calls_while_the_servers_are_away_say_that_nothing_happened
    a_reader_starts_again_when_the_stream_has_lost_its_tail
    a_reader_that_comes_later_starts_again_too
    a_reader_starts_again_when_nothing_is_left_where_it_was
}
