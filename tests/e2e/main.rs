//! The real program, end to end: every node is a process, on a real nats-server
//! (`SAFE_CHAT_TEST_NATS`), and where the journal matters also on a real Cassandra
//! (`SAFE_CHAT_TEST_CASSANDRA`). What changes a server has one of its own
//! (`SAFE_CHAT_TEST_NATS_SERVER`). Every test has a prefix, a keyspace and ports of its own, so all
//! can run side by side.

mod access;
mod accounts;
mod backed_up;
mod belonging;
mod bounded;
mod changed;
mod cluster;
mod commands;
mod crowd;
#[path = "../support/devices.rs"]
mod devices;
mod direct;
mod doctor;
mod erase;
mod faults;
mod gone;
mod guest;
mod holes;
mod http;
mod implementations;
#[path = "../support/issuer.rs"]
mod issuer;
mod kept;
mod keys;
mod known;
mod liar;
mod lies;
mod logins;
mod logs;
mod memory;
mod moved;
mod newer;
mod node;
mod openapi;
mod operators;
mod outage;
#[path = "../../seal/tests/peer/mod.rs"]
mod peer;
mod person;
mod pki;
mod process;
mod proofs;
mod proxy;
mod purge;
mod retention;
mod roles;
#[path = "../support/sealed.rs"]
mod sealed;
mod sealed_rooms;
mod sealed_terminals;
mod server;
mod start;
mod stored;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod talk;
mod tampered;
#[path = "../support/terminal.rs"]
mod terminal;
mod tls;
mod told;
mod traces;

/// One test per claim and journal.
macro_rules! claims {
    ($($journal:ident: $($part:ident::$claim:ident)*;)*) => {
        $(mod $journal {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $claim() {
                    if let Some(cluster) = crate::cluster::Cluster::$journal(stringify!($claim)) {
                        crate::$part::$claim(cluster).await;
                    }
                }
            )*
        })*
    };
}

claims! {
    bus:
        talk::two_people_at_two_nodes_read_the_same_lines
        talk::json_and_protobuf_show_the_same_events
        talk::a_message_that_is_sent_again_keeps_its_place
        talk::nodes_with_one_role_each_work_together
        faults::killed_nodes_cost_no_message_and_no_order
        faults::a_node_that_is_stopped_under_load_ends_well_and_costs_nothing
        faults::after_all_nodes_were_killed_a_room_is_complete_and_nobody_is_left_behind
        stored::what_was_said_is_stored_and_can_be_looked_at
        crowd::a_room_of_100_000_members_is_entered_and_told_part_by_part
        strangers::what_comes_to_a_wrong_shard_undoes_nothing
        http::a_stream_a_message_and_a_page_go_without_a_websocket
        http::who_gave_up_while_a_node_was_frozen_ends_no_session
        holes::a_room_with_a_hole_is_served_and_goes_on
        holes::a_purged_room_begins_with_what_is_left
        retention::what_a_room_is_not_to_keep_goes
        purge::a_purged_room_goes_on_and_nothing_of_before_is_stored
        gone::a_room_that_is_gone_goes_with_its_name
        gone::a_room_whose_past_is_let_go_goes_with_its_name
        erase::what_somebody_said_is_stored_nowhere_and_the_room_goes_on
        doctor::what_a_cluster_rests_on_is_looked_at
        proofs::a_name_is_proven_at_one_node_and_freed_by_an_operator
        keys::each_key_package_goes_to_one_whichever_node_is_asked
        keys::a_welcome_waits_at_every_node_until_its_device_has_it
        sealed_terminals::terminals_read_each_other_and_what_was_said_meanwhile
        sealed_terminals::a_terminal_that_was_away_at_a_purge_comes_back
        sealed_terminals::a_terminal_comes_in_wherever_its_session_is
        direct::two_people_meet_alone_and_go_back
        direct::what_is_typed_goes_where_the_user_goes_and_not_into_the_room
        direct::what_is_said_where_two_cannot_meet_is_named_and_sent_nowhere
        direct::the_first_words_wait_until_the_other_one_can_read_them
        direct::who_waits_to_be_let_in_is_when_the_user_is_back
        direct::what_waits_when_a_room_refuses_is_named_with_what_to_do
        direct::why_two_cannot_meet_is_what_is_known_of_it
        kept::what_was_said_and_read_is_there_after_a_kill
        known::what_is_shared_is_of_before_somebody_came_also_after_a_restart
        known::who_waits_to_be_let_in_is_not_asked_for_any_more_after_a_remove
        known::what_waits_for_an_answer_about_the_group_says_so
        lies::keys_of_somebody_else_than_was_named_let_nobody_in
        lies::nothing_that_no_member_encrypted_is_shown_as_said
        lies::a_group_that_the_service_hides_is_told_and_not_founded_without_end
        lies::what_is_not_where_the_service_says_is_told_at_once
        lies::nothing_is_encrypted_for_somebody_whose_removal_is_hidden
        lies::a_warning_is_heeded_by_who_is_killed_when_it_is_read
        lies::what_waits_after_a_refusal_says_for_what
        lies::who_changed_the_key_is_marked_and_nothing_goes_to_the_former_one_unasked
        lies::what_the_service_says_was_done_to_names_is_not_told_without_end
        lies::what_is_said_of_a_member_is_named_whatever_is_said_of_others
        lies::a_welcome_to_another_room_or_as_somebody_else_is_none
        lies::a_room_that_is_called_open_is_not_entered_by_who_knows_it_as_sealed
        commands::what_fails_names_its_command_and_what_to_do
        sealed_rooms::members_of_a_sealed_room_read_each_other_and_nobody_else_does
        implementations::devices_of_two_implementations_share_sealed_rooms
        openapi::the_internal_port_is_as_its_document_says
        operators::each_does_what_its_role_allows_and_it_is_written_down
        logs::nothing_secret_is_logged
        access::tokens_let_people_in_and_stand_in_no_log
        traces::one_trace_goes_from_a_frame_to_the_deliveries_of_both_gateways
        traces::without_sampling_nothing_of_a_trace_is_on_the_bus
        traces::a_collector_that_does_not_answer_costs_only_spans
        process::a_node_without_a_reader_of_its_log_works_and_ends_as_any
        process::a_reader_that_stops_stops_nobody_and_is_told_what_it_missed
        process::a_stop_without_nats_is_soon
        start::a_node_refuses_another_number_of_shards
        start::a_port_in_use_is_named
        tls::clients_come_with_tls_by_every_way_in
        tls::a_certificate_is_renewed_under_its_clients_and_a_bad_one_is_not_taken;
    cassandra:
        talk::two_people_at_two_nodes_read_the_same_lines
        faults::killed_nodes_cost_no_message_and_no_order
        faults::a_node_that_is_stopped_under_load_ends_well_and_costs_nothing
        stored::what_was_said_is_stored_and_can_be_looked_at
        stored::every_message_is_a_row
        strangers::what_comes_to_a_wrong_shard_undoes_nothing
        holes::a_room_with_a_hole_is_served_and_goes_on
        retention::what_a_room_is_not_to_keep_goes
        purge::a_purged_room_goes_on_and_nothing_of_before_is_stored
        gone::a_room_that_is_gone_goes_with_its_name
        gone::a_room_whose_past_is_let_go_goes_with_its_name
        erase::what_somebody_said_is_stored_nowhere_and_the_room_goes_on
        doctor::what_a_cluster_rests_on_is_looked_at
        moved::what_only_the_bus_has_is_written_back_into_an_older_cassandra
        outage::what_is_said_while_cassandra_is_away_is_journaled_later
        sealed_rooms::members_of_a_sealed_room_read_each_other_and_nobody_else_does
        process::a_stop_without_nats_is_soon
        process::a_stop_without_cassandra_is_soon
        traces::one_trace_goes_from_a_frame_to_the_deliveries_of_both_gateways
        logs::nothing_secret_is_logged;
}
