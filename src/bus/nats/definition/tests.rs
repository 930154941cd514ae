//! Tests of `definition.rs`.

use super::*;
use crate::{bus::nats::api, room::Shards};

fn events() -> Definition {
    let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
    definitions(&Config::default(), &subjects).remove(1)
}

#[test]
fn a_definition_takes_the_prefix_on() {
    assert_eq!(events().name, "T1X_EVT");
    assert_eq!(
        events().wanted["republish"],
        json!({ "src": "t1x.evt.>", "dest": "t1x.live.>" })
    );
}

#[test]
fn a_difference_that_matters_is_named_and_others_are_the_operators() {
    let mut found = events().wanted;
    found["num_replicas"] = 3.into();
    found["compression"] = "s2".into();
    found["sources"] = json!([]);
    assert!(events().check(&found, false).is_ok());
    found["max_age"] = 1_000_000.into();
    assert!(events().check(&found, true).is_ok(), "how long is, too");
    let error = events().check(&found, false).unwrap_err();
    assert!(
        error.contains("`max_age`") && error.contains("T1X_EVT"),
        "{error}"
    );
}

/// What nats-server 2.15.2 answers of a stream with three copies, without what is not read.
fn copies(leader: &str, replicas: &str) -> Copies {
    let answer = format!(
        r#"{{"type":"io.nats.jetstream.api.v1.stream_info_response","config":{{"num_replicas":3}},
        "created":"2026-11-27T10:00:11.525471154Z","state":{{"messages":0,"last_seq":0}},
        "cluster":{{"name":"c","raft_group":"S-R3F-rDDA5D9k",{leader}"system_account":true,
        "traffic_account":"$SYS","replicas":[{replicas}]}},"ts":"2026-11-27T10:00:18Z"}}"#
    );
    let read = api::read::<StreamInfo>(answer.as_bytes()).unwrap();
    read.unwrap().cluster.expect("three servers")
}

#[test]
fn copies_that_are_away_are_named_and_too_few_are_a_fault() {
    let led = r#""leader":"nats-1","leader_since":"2026-11-27T10:00:11.66597827Z","#;
    let short = |leader, replicas: [&str; 2]| {
        events().is_short_of_copies(&copies(leader, &replicas.join(",")))
    };
    let here = r#"{"name":"nats-3","current":true,"active":876956799,"peer":"cnrtt3eg"}"#;
    // Killed 6 s ago, and 2 minutes ago; stopped.
    let [lately, killed, stopped] = [
        r#"{"name":"nats-2","current":true,"active":6882282922,"peer":"yrzKKRBu"}"#,
        r#"{"name":"nats-2","current":false,"active":120387305710,"peer":"yrzKKRBu"}"#,
        r#"{"name":"nats-2","current":false,"offline":true,"active":876956799,"peer":"y"}"#,
    ];
    assert_eq!(short(led, [here, lately]), None);
    // Running again, and reading what it missed.
    let behind = r#"{"name":"nats-2","current":false,"active":399000218,"lag":7,"peer":"y"}"#;
    assert_eq!(short(led, [here, behind]), None);
    for away in [killed, stopped] {
        let (warning, is_fault) = short(led, [here, away]).unwrap();
        assert!(warning.contains("2 of 3") && warning.contains("start nats-2"));
        assert!(!is_fault, "{warning}");
    }
    let other = killed.replace("nats-2", "nats-3");
    let (fault, is_fault) = short(led, [&other, killed]).unwrap();
    let named = fault.contains("start nats-3, nats-2");
    assert!(named && is_fault, "{fault}");
    // Without a leader the server that answers is among them.
    let (fault, is_fault) = short("", [&other, killed]).unwrap();
    assert!(fault.contains("no leader") && is_fault, "{fault}");
    let alone = Copies::default();
    assert_eq!(events().is_short_of_copies(&alone), None);
}

#[test]
fn events_bounded_as_those_of_the_other_journal_are_told_to_be() {
    let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
    let checked = |mine: Option<u64>, found: i64| {
        let event_bytes = mine;
        let config = Config {
            event_bytes,
            ..Config::default()
        };
        let events = definitions(&config, &subjects).remove(1);
        let mut stream = events.wanted.clone();
        stream["max_bytes"] = found.into();
        events.check(&stream, false).err().unwrap_or_default()
    };
    // Rooms are kept on the bus, and the stream is one of rooms in Cassandra.
    let bounded = checked(None, 1024);
    let todo = ["set journal.kind to cassandra", "--max-bytes=-1"];
    assert!(todo.iter().all(|it| bounded.contains(it)), "{bounded}");
    // The other way round: a bound would lose messages.
    let unbounded = checked(Some(4096), -1);
    let todo = ["begin anew in Cassandra", "set journal.kind to bus"];
    assert!(todo.iter().all(|it| unbounded.contains(it)), "{unbounded}");
    assert!(!unbounded.contains("edit"), "it would cut the history");
    assert_eq!(checked(Some(4096), 1024), "", "how large is the operator's");
}

#[test]
fn what_a_stream_that_is_there_makes_of_a_setting_is_said() {
    let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
    let [commands, events] = [0, 1].map(|at| definitions(&Config::default(), &subjects).remove(at));
    let mut found = commands.wanted.clone();
    assert_eq!(commands.ignores(&found), Vec::<String>::new());
    (found["max_bytes"], found["num_replicas"]) = (4096.into(), 3.into());
    let told = commands.ignores(&found).join("; ");
    let parts = [
        "bus.command_bytes is 268435456",
        "--max-bytes=268435456",
        "bus.replicas",
    ];
    assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    found = events.wanted.clone();
    found["max_bytes"] = 4096.into();
    assert_eq!(
        events.ignores(&found),
        Vec::<String>::new(),
        "no setting says it"
    );
}

#[test]
fn how_much_of_the_past_an_operator_keeps_is_read_from_the_stream() {
    let events = events();
    let mut found = events.wanted.clone();
    assert_eq!(events.keeps_only(&found), None);
    (found["max_age"], found["max_bytes"]) = (3_600_000_000_000_u64.into(), 4096.into());
    let kept = events.keeps_only(&found);
    assert_eq!(kept.as_deref(), Some("max_bytes 4096, max_age 3600 s"));
}

#[test]
fn a_bucket_of_all_that_one_can_empty_is_weak() {
    let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
    for definition in definitions(&Config::default(), &subjects) {
        let is_shared = matches!(definition.store, Store::Nodes | Store::Marks);
        let mut found = definition.wanted.clone();
        assert_eq!(definition.lets_one_empty_it(&found), None);
        found["allow_rollup_hdrs"] = json!(true);
        assert_eq!(definition.lets_one_empty_it(&found).is_some(), is_shared);
    }
}

#[test]
fn what_nats_does_not_take_back_is_not_said_to_be_edited() {
    let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
    let refused = |store: Store, key: &str, value: Value| {
        let all = definitions(&Config::default(), &subjects);
        let definition = all.iter().find(|one| one.store == store).unwrap();
        let mut found = definition.wanted.clone();
        found[key] = value;
        definition.check(&found, true).err().unwrap_or_default()
    };
    let (yes, ten) = (json!(true), json!(10));
    let commands = refused(Store::Commands, "deny_purge", yes.clone());
    assert!(commands.contains("nats stream rm T1X_CMD -f"), "{commands}");
    let journal = refused(Store::Events, "sealed", yes.clone());
    assert!(
        journal.contains("nats stream restore DIR --config"),
        "{journal}"
    );
    assert!(!journal.contains("edit") && !commands.contains("edit"));
    assert_eq!(
        refused(Store::Events, "deny_purge", yes),
        "",
        "nobody purges them"
    );
    for store in [Store::Nodes, Store::Shards, Store::Marks] {
        let why = refused(store, "max_msg_size", ten.clone());
        assert!(
            why.contains("max_msg_size") && why.contains("nats stream edit"),
            "{why}"
        );
    }
}

#[test]
fn a_journal_of_before_keeps_everything_and_says_what_to_do() {
    let events = events();
    let mut found = events.wanted.clone();
    assert_eq!(events.keeps_everything(&found), None);
    found["deny_purge"] = json!(true);
    let why = events.keeps_everything(&found).unwrap();
    assert!(why.contains("nats stream restore DIR --config"), "{why}");
    assert!(events.check(&found, true).is_ok(), "it is used as it is");
    (found["deny_purge"], found["deny_delete"]) = (json!(false), json!(false));
    let why = events.keeps_everything(&found).unwrap();
    assert!(why.contains("--deny-delete"), "{why}");
}
