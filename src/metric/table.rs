//! The table of all metrics. docs/metrics.md is made from it.

use super::{
    Kind, Metric,
    series::{Counter, Gauge, Histogram, Series},
};

/// `NAME: kind "name" in "unit" [by "label" of VALUES], "help";` becomes a static that counts, and
/// a row of the table. `told` rows have no static: they are taken when somebody asks (`text`).
macro_rules! table {
    (
        counted {
            $($id:ident: $kind:ident $name:literal in $unit:literal
                $(by $label:literal of $values:expr)?, $help:literal;)*
        }
        told {
            $($told:ident $told_name:literal in $told_unit:literal
                $(by $told_label:literal of $told_values:expr)?, $told_help:literal;)*
        }
    ) => {
        $(
            #[doc = $help]
            pub(crate) static $id: table!(@type $kind) =
                Series::$kind($name, table!(@label $($label, $values)?));
        )*

        /// All metrics of a node.
        pub const TABLE: &[Metric] = &[
            $(Metric {
                name: $name,
                kind: table!(@kind $kind),
                unit: $unit,
                label: table!(@label $($label, $values)?),
                help: $help,
            },)*
            $(Metric {
                name: $told_name,
                kind: table!(@kind $told),
                unit: $told_unit,
                label: table!(@label $($told_label, $told_values)?),
                help: $told_help,
            },)*
        ];

        /// Makes the handles of all metrics, with their help.
        pub(super) fn register() {
            $(
                table!(@describe $kind, $name, $help);
                $id.handles();
            )*
        }
    };
    (@type counter) => { Counter };
    (@type gauge) => { Gauge };
    (@type histogram) => { Histogram };
    (@kind counter) => { Kind::Counter };
    (@kind gauge) => { Kind::Gauge };
    (@kind histogram) => { Kind::Histogram };
    (@label) => { None };
    (@label $label:literal, $values:expr) => { Some(($label, $values)) };
    (@describe counter, $name:literal, $help:literal) => {
        metrics::describe_counter!($name, $help)
    };
    (@describe gauge, $name:literal, $help:literal) => {
        metrics::describe_gauge!($name, $help)
    };
    (@describe histogram, $name:literal, $help:literal) => {
        metrics::describe_histogram!($name, $help)
    };
}

/// Of the machine.
const ANY: &[&str] = &[];
const LIMITS: &[&str] = &[
    "session",
    "session_bytes",
    "user",
    "user_bytes",
    "address",
    "address_bytes",
    "joins",
    "connections",
    "rooms",
    "user_new_rooms",
    "new_rooms",
    "cluster_rooms",
    "new_names",
    "key_claims",
    "address_key_claims",
    "key_publish",
    "origin",
    "memory",
    "node",
];
/// What became of a message: journaled, or the reason of its refusal in the client protocol.
const MESSAGE_OUTCOMES: &[&str] = &[
    "journaled",
    "duplicate",
    "busy",
    "unavailable",
    "key_mismatch",
    "proof_required",
    "not_member",
    "other",
];
const PROOF_OUTCOMES: &[&str] = &[
    "fits",
    "late",
    "malformed",
    "host",
    "signature",
    "repeated",
    "other",
];
/// What became of requests for key packages.
const KEY_PACKAGE_OUTCOMES: &[&str] = &[
    "published",
    "one_time",
    "last_resort",
    "limited",
    "missing",
    "full",
];
const DECISIONS: &[&str] = &[
    "done",
    "redelivered",
    "repeated",
    "refused",
    "out_of_order",
    "duplicate_unknown_seq",
    "other",
];
const JOIN_OUTCOMES: &[&str] = &[
    "joined",
    "rate_limited",
    "busy",
    "unavailable",
    "draining",
    "key_mismatch",
    "proof_required",
    "too_many_sessions",
    "other",
];
const CLOSE_CODES: &[&str] = &[
    "1001", "1002", "1007", "1009", "4001", "4002", "4003", "4004", "4005", "4006", "4007", "4008",
    "4010", "other",
];
/// Why somebody was not let in, in the words of the client protocol.
const REFUSED_ADMISSIONS: &[&str] = &[
    "token_required",
    "token_invalid",
    "token_expired",
    "forbidden",
    "proof_required",
    "unavailable",
    "other",
];
const CONNECTIONS: &[&str] = &["commands", "registry", "live", "other"];
const STORES: &[&str] = &[
    "commands", "events", "nodes", "shards", "marks", "blobs", "packages", "welcomes",
];
/// What /ready asks.
pub(crate) const CHECKS: &[&str] = &["bus", "streams", "journal", "cluster", "gateway"];
/// What a node may do.
pub(crate) const ROLES: &[&str] = &["gateway", "writer"];
const READ_FROM_BUS: &[&str] = &[
    "command", "commit", "event", "heads", "head", "inbound", "ask", "mark", "record", "reply",
    "view", "other",
];

table! {
    counted {
        // Clients of a gateway.
        SESSIONS: gauge "safechat_sessions" in "sessions", "Sessions that are open here";
        ROOMS: gauge "safechat_rooms" in "rooms", "Rooms with clients here, each with one replica";
        ROOMS_MADE: counter "safechat_rooms_made_total" in "rooms",
            "Rooms that clients of this node came to where nobody had been";
        ROOMS_STORED: gauge "safechat_rooms_stored" in "rooms",
            "Rooms of the cluster, as this node counted them last; 0: not yet";
        WAITING_BYTES: gauge "safechat_waiting_bytes" in "bytes",
            "Frames that wait for their clients to take them";
        JOINS: counter "safechat_joins_total" in "joins" by "outcome" of JOIN_OUTCOMES,
            "Sessions that were asked for: joined, or the reason of the refusal";
        JOIN_SECONDS: histogram "safechat_join_seconds" in "seconds",
            "From a client's request to its session, of those that joined";
        RESUMES: counter "safechat_resumes_total" in "resumes"
            by "outcome" of &["recovered", "reset", "failed"],
            "Joins with since: got all that followed, were told that it is gone, or failed";
        RESUME_EVENTS: histogram "safechat_resume_events" in "events",
            "Events that a client had missed when it resumed and recovered";
        MESSAGES: counter "safechat_messages_total" in "messages" by "outcome" of MESSAGE_OUTCOMES,
            "Messages of clients that were answered: journaled, or the reason of the refusal";
        MESSAGES_ACCEPTED: counter "safechat_messages_accepted_total" in "messages",
            "Messages that were stored on the bus: accepted, as clients are told";
        ACCEPTED_REFUSED: counter "safechat_accepted_refused_total" in "messages",
            "Messages that the service refused after it had accepted them";
        MESSAGES_RESUBMITTED: counter "safechat_messages_resubmitted_total" in "messages",
            "Messages that were stored once more because no answer came in time";
        FRAME_TO_JOURNALED: histogram "safechat_frame_to_journaled_seconds" in "seconds",
            "From a message's frame or request to its answer journaled";
        ACCEPTED_TO_JOURNALED: histogram "safechat_accepted_to_journaled_seconds" in "seconds",
            "From accepted to journaled; without answer it counts when it is submitted again";
        ACCEPTED_TO_DELIVERED: histogram "safechat_accepted_to_delivered_seconds" in "seconds",
            "From the store of a command to the hand-over of its event to the clients here";
        JOURNALED_TO_DELIVERED: histogram "safechat_journaled_to_delivered_seconds" in "seconds",
            "From the store of a commit in the stream to its hand-over to the clients here";
        EVENTS: counter "safechat_events_total" in "events",
            "Events that came for rooms with clients here";
        EVENTS_FANNED_OUT: counter "safechat_events_fanned_out_total" in "events",
            "Events that were put before clients, once for each client";
        FRAMES_WRITTEN: counter "safechat_frames_written_total" in "frames",
            "Frames that were written to sockets";
        FLUSHES: counter "safechat_flushes_total" in "writes",
            "Writes of all that waited for a client at once";
        RATE_LIMITED: counter "safechat_rate_limited_total" in "refusals" by "limit" of LIMITS,
            "What was refused because of a limit, by the limit";
        ADMISSIONS_REFUSED: counter "safechat_admissions_refused_total" in "refusals"
            by "reason" of REFUSED_ADMISSIONS,
            "What the policy of a room refused, with or without a token, by the reason";
        KEY_FETCHES: counter "safechat_key_fetches_total" in "fetches"
            by "outcome" of &["fetched", "unusable", "failed"],
            "Fetches of the keys that tokens are signed with, from where they are published";
        BACKLOG_CLOSES: counter "safechat_backlog_closes_total" in "sessions",
            "Clients whose backlog passed the limit";
        LOOPS_REPLACED: counter "safechat_socket_loops_replaced_total" in "loops",
            "Loops of sockets that a panic ended: their clients were closed with 4010";
        CLOSES: counter "safechat_closes_total" in "sessions" by "code" of CLOSE_CODES,
            "Sessions that the server ended, by the code of the close frame";
        PROOFS: counter "safechat_proofs_total" in "proofs" by "outcome" of PROOF_OUTCOMES,
            "Proofs of possession of a key that were asked for or sent, by what became of them";
        KEY_PACKAGES: counter "safechat_key_packages_total" in "requests"
            by "outcome" of KEY_PACKAGE_OUTCOMES,
            "Requests that published key packages; devices that were asked for one, by what they gave; no space for them";
        WELCOMES: counter "safechat_welcomes_total" in "welcomes"
            by "outcome" of &["stored", "refused", "fetched", "confirmed"],
            "Welcomes to sealed rooms: kept for a device or refused, sent to it, forgotten when it had them";
        PING_SECONDS: histogram "safechat_ping_seconds" in "seconds",
            "From a ping, which a client gets after 25 s of silence, to its pong";
        GAPS_REPAIRED: counter "safechat_gaps_repaired_total" in "gaps",
            "Gaps between the events that a room's replica heard, read from the journal";
        EVENTS_REPAIRED: counter "safechat_repaired_events_total" in "events",
            "Events that a room's replica did not hear and read from the journal";
        RUMOURS: counter "safechat_rumours_total" in "rumours",
            "Events and epochs of a room that were heard and that its journal or owner has not";
        ANSWERS_UNASKED: counter "safechat_answers_unasked_total" in "answers",
            "Answers for which nothing waited: late ones, second ones, forged ones";
        RESYNCS: counter "safechat_resyncs_total" in "rooms"
            by "cause" of &["interrupted", "lost"],
            "Replicas that asked their owner again (interrupted), or began anew (lost)";
        HOLES: counter "safechat_holes_skipped_total" in "holes",
            "Runs of events that were gone before they could be shown; clients went on behind them";
        PAGES_READ: counter "safechat_journal_pages_read_total" in "pages",
            "Pages of earlier events that were read from the journal";

        // Writing shards.
        COMMANDS_DECIDED: counter "safechat_commands_decided_total" in "commands"
            by "outcome" of DECISIONS,
            "Commands by what was decided: done now or before, sent again, refused, too early";
        EVENTS_JOURNALED: counter "safechat_events_journaled_total" in "events",
            "Events that were journaled";
        WRITTEN_BACK: counter "safechat_events_written_back_total" in "events",
            "Events that Cassandra had lost and that owners wrote back from the bus";
        EVENTS_LET_GO: counter "safechat_events_let_go_total" in "events",
            "Events that rooms do not keep any more, by their retention";
        REMOVALS: counter "safechat_removals_total" in "removals"
            by "step" of &["purge_begun", "purge_done", "erasure_begun", "erasure_done"],
            "Purges and erasures: said by an operator, or done: nothing of it is stored any more";
        COMMIT_SECONDS: histogram "safechat_commit_seconds" in "seconds",
            "From a commit's begin to its confirmation, repetitions included";
        COMMIT_EVENTS: histogram "safechat_commit_events" in "events", "Events of a commit";
        COMMIT_BYTES: histogram "safechat_commit_bytes" in "bytes", "Content of a commit";
        CONFIRM_SECONDS: histogram "safechat_confirm_seconds" in "seconds",
            "How long one commit or answer waits for the confirmation of the shard's claim";
        PUBLISH_SECONDS: histogram "safechat_publish_seconds" in "seconds",
            "From journaled in Cassandra to published on the bus; none with a journal there";
        ROOM_OPEN_SECONDS: histogram "safechat_room_open_seconds" in "seconds",
            "Opening a room under a new claim: reading, fencing and publishing what is left";
        ROOMS_REFUSED: counter "safechat_rooms_refused_total" in "rooms",
            "Openings of rooms that failed for good: the log names them";
        ROOMS_REMOVED: counter "safechat_rooms_removed_total" in "rooms",
            "Rooms that were gone and went with their names";
        SNAPSHOTS: counter "safechat_snapshots_total" in "snapshots"
            by "outcome" of &["saved", "beside", "failed"],
            "Snapshots of rooms: saved, or what the next event takes along beside the last one, or failed \
             and taken again later";
        NAME_RECORDS: counter "safechat_name_records_total" in "records"
            by "call" of &["read", "written"],
            "Keys of names in records of their own: read for a command, written after a snapshot";

        // The cluster.
        SHARDS: gauge "safechat_cluster_shards" in "shards", "Shards of the cluster, as configured";
        NODES: gauge "safechat_cluster_nodes" in "nodes",
            "Nodes of the cluster, as this one sees it";
        SHARDS_OWNED: gauge "safechat_cluster_shards_owned" in "shards",
            "Shards whose lease this node has";
        SHARDS_WAITING: gauge "safechat_cluster_shards_waiting" in "shards",
            "Shards that are this node's and that it does not write yet";
        SHARDS_TAKEN: counter "safechat_cluster_shards_taken_total" in "epochs",
            "Leases of shards that this node took, each with a new epoch";
        SHARDS_FENCED: counter "safechat_cluster_shards_fenced_total" in "shards"
            by "cause" of &["newer_owner", "rolled_back", "failed", "lease_lost"],
            "Shards that this node had to give up, by the cause";
        DEATHS: counter "safechat_cluster_deaths_total" in "nodes",
            "Nodes that this one found dead";

        // NATS.
        BUS_CONNECTED: gauge "safechat_bus_connected" in "boolean" by "connection" of CONNECTIONS,
            "Whether the connection to NATS is there, by what it is for";
        BUS_RECONNECTS: counter "safechat_bus_reconnects_total" in "reconnects"
            by "connection" of CONNECTIONS,
            "Times that a connection to NATS was there again after a loss";
        BUS_LAME_DUCK: gauge "safechat_bus_lame_duck" in "boolean" by "connection" of CONNECTIONS,
            "Whether the nats-server of the connection has said that it stops soon";
        BUS_LAME_DUCKS: counter "safechat_bus_lame_ducks_total" in "notices",
            "Times that a nats-server said that it stops soon, once for each connection";
        BUS_FAULTS_NOW: gauge "safechat_bus_faults" in "faults",
            "What is not as it must be on the bus now; the node is not ready";
        BUS_WARNINGS_NOW: gauge "safechat_bus_warnings" in "warnings",
            "What is not as it should be on the bus now";
        BUS_BATCHES: counter "safechat_bus_batches_total" in "batches",
            "Batches of commands that were stored together, or tried to be";
        BUS_FAULTS: counter "safechat_bus_faults_total" in "faults",
            "Faults of the bus that were found";
        BUS_FULL: counter "safechat_bus_full_total" in "messages",
            "Messages that NATS refused to store for want of space";
        BUS_ROLLBACKS: counter "safechat_bus_rollbacks_total" in "streams" by "store" of STORES,
            "Streams that were made anew, or lost what they had stored";
        BUS_TAIL_LOSSES: counter "safechat_bus_tail_losses_total" in "streams",
            "Streams that were read again from the begin because their newest messages were lost";
        BUS_UNDECODABLE: counter "safechat_bus_undecodable_total" in "messages"
            by "what" of READ_FROM_BUS,
            "Messages and records on the bus that were skipped because they cannot be read";
        BUS_STRAY: counter "safechat_bus_stray_total" in "messages" by "what" of READ_FROM_BUS,
            "Messages and records on the bus that were skipped: their room is of another shard";
        BUS_FORGED: counter "safechat_bus_forged_total" in "messages" by "what" of READ_FROM_BUS,
            "Messages and records on the bus that were skipped: their sender may not say that";
        BUS_REFUSED: counter "safechat_bus_refused_total" in "refusals"
            by "what" of &["publish", "subscribe", "login", "other"],
            "What the nats-servers refused this node; the log names each subject once";
        BUS_STUCK_CONSUMERS: counter "safechat_bus_stuck_consumers_total" in "consumers",
            "Consumers that were made anew because they were paused, changed or stuck";
        BUS_STORED_MESSAGES: gauge "safechat_bus_stored_messages" in "messages"
            by "store" of STORES,
            "Messages in the streams of the bus; every node sees the same";
        BUS_STORED_BYTES: gauge "safechat_bus_stored_bytes" in "bytes" by "store" of STORES,
            "Size of the streams of the bus; every node sees the same";
        BUS_CAPACITY_BYTES: gauge "safechat_bus_capacity_bytes" in "bytes" by "store" of STORES,
            "How large the streams of the bus may become; 0: their disk is the bound";

        // Cassandra.
        CASSANDRA_NODES: gauge "safechat_cassandra_nodes" in "nodes"
            by "state" of &["connected", "lost"],
            "Cassandra's nodes, by whether this node has a connection to them";
        CASSANDRA_FAILURES: counter "safechat_cassandra_failures_total" in "requests",
            "Requests to Cassandra that failed or timed out; they are repeated";

        // The process.
        MEMORY_PRESSURE: gauge "safechat_memory_pressure" in "level",
            "How short of memory the process is within its limit: 0 not, 1 tight, 2 short";
        READY: gauge "safechat_ready" in "boolean", "Whether /ready says so";
        CHECK: gauge "safechat_check_passed" in "boolean"
            by "check" of CHECKS,
            "Whether a check of /ready passes; 0 while the node starts or stops";
        WARNINGS: gauge "safechat_warnings" in "warnings",
            "What is not as it should be and keeps nothing from being ready: /ready says what";
        NODE_ROLE: gauge "safechat_node_role" in "boolean" by "role" of ROLES,
            "Whether the node does that";
        CERTIFICATE_EXPIRY: gauge "safechat_certificate_expiry_seconds" in "seconds"
            by "use" of &["clients", "nats", "cassandra"],
            "When the certificate that it shows ends, in Unix time; 0: it shows none";
        MANAGEMENT_REFUSED: counter "safechat_management_refused_total" in "requests"
            by "reason" of &["unauthorized", "forbidden", "rate_limited", "not_found", "other"],
            "Requests to the management that were refused before they were looked at";
        MANAGEMENT_REQUESTS: counter "safechat_management_requests_total" in "requests"
            by "outcome" of &["looked", "acted", "failed"],
            "Requests of operators that were looked at: what they saw or did, or failed to";
        TASKS: gauge "safechat_tasks" in "tasks", "Tasks of the runtime that have not ended";
        LOG_LINES_DROPPED: counter "safechat_log_lines_dropped_total" in "lines",
            "Lines of the log that stderr did not take";
        TRACES: counter "safechat_traces_total" in "traces" by "outcome" of &["begun", "capped"],
            "Traces for a collector that this node began, or would have begun below its cap";
        TRACE_SPANS: counter "safechat_trace_spans_total" in "spans"
            by "outcome" of &["exported", "dropped", "failed"],
            "Spans: taken by the collector, without room in the queue before it, or not taken";
    }
    told {
        gauge "safechat_shard_epoch" in "epoch" by "shard" of ANY,
            "The epoch under which this node writes the shard; only of shards that it writes";
        gauge "safechat_shard_rooms" in "rooms" by "shard" of ANY, "Open rooms of the shard";
        gauge "safechat_shard_unsettled_commands" in "commands" by "shard" of ANY,
            "Commands of the shard that were read and are not journaled yet, or not decided";
        gauge "safechat_shard_lag_seconds" in "seconds" by "shard" of ANY,
            "How long ago the oldest of them was stored; up to writer.carry_ms is usual";
        gauge "safechat_build_info" in "info" by "version" of ANY,
            "1, with the version, the commit that this was built from (commit), the node's name (node)";
        counter "process_cpu_seconds_total" in "seconds",
            "Processor time that the process has used";
        gauge "process_resident_memory_bytes" in "bytes", "Memory of the process that is in RAM";
        gauge "process_virtual_memory_bytes" in "bytes", "Address space of the process";
        gauge "process_open_fds" in "files", "Open files of the process";
        gauge "process_max_fds" in "files", "Open files that the process may have";
        gauge "process_threads" in "threads", "Threads of the process";
        gauge "process_start_time_seconds" in "seconds", "When the process started, in Unix time";
    }
}
