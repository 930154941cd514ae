//! What crosses between the accounts of `nats/cluster.conf`: all that nodes and people need, and
//! nothing that a server would do for somebody who may not do it.

use crate::{changed::gets_in, cluster::eventually, person::Person, roles::Bus};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::{StreamExt, future::join_all};
use safe_chat::{
    bus::{
        Answer, Answered, Ask, Blobs, Commands, Direct, Inbound, NodeRecord, NodeSeen, Registry,
        Role, RoomView, Submission,
        nats::{Config, Login, Nats},
    },
    room::{
        Action, Epoch, Identity, Incarnation, Key, Reason, Rejection, RoomId, Seq, SessionId,
        UserId,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;
use uuid::Uuid;

/// What each stream is, and what of it nobody here may have changed.
async fn streams(bus: &Bus, admin: &Client) -> Vec<Value> {
    let mut found = Vec::new();
    for kind in ["EVT", "CMD", "NODES", "SHARDS", "SESSIONS", "SNAPSHOTS"] {
        let bucket = if kind.len() > 3 { "KV_" } else { "" };
        let call = format!("STREAM.INFO.{bucket}{}", bus.stream(kind));
        let info = bus
            .ask(admin, &call, json!({ "subjects_filter": ">" }))
            .await;
        let subjects = info["state"]["subjects"].as_object();
        let subjects = subjects.into_iter().flat_map(|all| all.keys());
        let forged: Vec<_> = subjects.filter(|it| it.contains("forged")).collect();
        found.push(json!([kind, info["created"], forged]));
    }
    let marks = format!("STREAM.INFO.KV_{}", bus.stream("SESSIONS"));
    let marks = bus.ask(admin, &marks, json!({})).await;
    let events = format!("STREAM.INFO.{}", bus.stream("EVT"));
    let events = bus.ask(admin, &events, json!({})).await;
    found.push(json!([
        marks["state"]["messages"],
        events["state"]["messages"]
    ]));
    found
}

/// A server sends its answer to whatever subject the asker names, and asks nobody whether the asker
/// may publish there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_that_reads_has_an_answer_sent_to_where_it_does_harm() {
    let Some(bus) = Bus::new("answers of NATS").await else {
        return;
    };
    let _writer = bus.node("first", "writer", "writer").await;
    let one = bus.node("one", "one", "gateway").await;
    let mut harry = Person::joins_in_json(&one, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    let (admin, shard) = (bus.admin().await, bus.shard().to_string());
    let before = streams(&bus, &admin).await;
    let named = |subject: &str| bus.named(&subject.replace("SHARD.", &format!("{shard}.")));
    let harmful = [
        "$JS.API.STREAM.PURGE.KV_PRE_SESSIONS",
        "$JS.API.STREAM.PURGE.PRE_CMD",
        "$JS.API.STREAM.PURGE.PRE_EVT",
        "$JS.API.STREAM.DELETE.PRE_EVT",
        "$JS.API.STREAM.DELETE.KV_PRE_SHARDS",
        "$JS.API.ACCOUNT.PURGE.CHAT",
        "$KV.PRE_SHARDS.forged",
        "$KV.PRE_SNAPSHOTS.forged",
        "$KV.PRE_NODES.writer.two.forged",
        "$KV.PRE_NODES.forged.down",
        "pre.evt.SHARD.forged",
        "pre.cmd.SHARD.forged",
    ]
    .map(named);
    let last = json!({ "last_by_subj": named("pre.evt.SHARD.aaa") }).to_string();
    let asked = [
        ("$JS.API.DIRECT.GET.PRE_EVT", &*last),
        // Without a payload, as a call that deletes wants it.
        ("$JS.API.DIRECT.GET.PRE_EVT", "{\"seq\":999999999}"),
        ("$JS.API.STREAM.MSG.GET.PRE_EVT", &*last),
        ("$JS.API.STREAM.INFO.PRE_EVT", ""),
        ("$SYS.REQ.SERVER.PING.JSZ", ""),
        ("$SYS.REQ.SERVER.PING", ""),
        ("pre.srv.health", ""),
        ("$SRV.PING", ""),
    ];
    for user in ["two", "gateway", "operator", "monitoring"] {
        let client = bus.login(user, user).await;
        for reply in &harmful {
            for (call, body) in asked {
                let body = Bytes::copy_from_slice(body.as_bytes());
                let sent = client.publish_with_reply(named(call), reply.clone(), body);
                sent.await.expect("sent");
            }
        }
        client.flush().await.expect("all of it");
        // Behind all of it.
        let seen = streams(&bus, &admin).await;
        assert_eq!(seen, before, "{user}");
    }
    gets_in(&mut harry, "m2").await;
    assert_eq!(streams(&bus, &admin).await[..6], before[..6]);
}

fn config(bus: &Bus, login: &str, node: &str) -> Config {
    Config {
        servers: vec![format!("nats://{}", bus.server.at())],
        node: node.into(),
        writes: login == "writer",
        login: Login::User {
            name: login.into(),
            password: "secret".into(),
        },
        prefix: bus.cluster.prefix().into(),
        shards: bus.cluster.shards(),
        command_bytes: 16 * 1024 * 1024,
        key_bytes: 16 * 1024 * 1024,
        welcome_bytes: 16 * 1024 * 1024,
        event_bytes: Some(16 * 1024 * 1024),
        ..Config::default()
    }
}

/// A node as its heartbeat says it.
fn record(name: &str, role: Role) -> NodeRecord {
    NodeRecord {
        incarnation: Incarnation::of_node(name, Uuid::now_v7()),
        name: name.into(),
        roles: vec![role],
        draining: false,
        version: "99.0.0".into(),
        commit: "".into(),
        address: "127.0.0.1:1".into(),
        unreachable: Vec::new(),
        formats: safe_chat::bus::FORMATS,
        keeps: None,
        gone_after_s: None,
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    let found = timeout(Duration::from_secs(20), what).await;
    found.expect("it takes no time")
}

/// Words, questions and probes, from the account of the streams to that of gateways and back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_hear_and_answer_each_other_in_both_directions() {
    let Some(bus) = Bus::new("words between accounts").await else {
        return;
    };
    let connect = async |login, node| {
        let connected = Nats::connect(&config(&bus, login, node)).await;
        connected.expect("let in")
    };
    let writer = connect("writer", "first").await;
    let (one, two) = (connect("one", "one").await, connect("two", "two").await);
    let first = record("first", Role::Writer);
    let [of_one, of_two] = ["one", "two"].map(|name| record(name, Role::Gateway));
    writer.beat(&first).await.expect("its own record");
    one.beat(&of_one).await.expect("its own record");
    two.beat(&of_two).await.expect("its own record");

    let answering = [
        (&writer, first.incarnation),
        (&one, of_one.incarnation),
        (&two, of_two.incarnation),
    ];
    for (asker, of) in [&writer, &one, &two]
        .into_iter()
        .zip(["first", "one", "two"])
    {
        for (answerer, me) in answering {
            let asked = format!("{of} asks {me}");
            let found = async || asker.probe(me).await.ok();
            assert_eq!(found().await, Some(false), "{asked}: nobody is there");
            let there = answerer.answer_probes(me).await.expect("subscribed");
            assert_eq!(found().await, Some(true), "{asked}");
            drop(there);
            eventually("it has gone", async || found().await == Some(false)).await;
        }
    }

    let mut inbox = one.inbox(of_one.incarnation).await.expect("subscribed");
    let word = Inbound::Answer(Answer {
        tag: 7,
        answered: Answered::Rejected(Rejection::new(Reason::Busy, "why")),
    });
    let told = writer.tell(of_one.incarnation, &word).await;
    told.expect("sent");
    assert_eq!(soon(inbox.next()).await, Some(word));

    let room = RoomId::parse("aaa").expect("a name");
    let shard = bus.cluster.shards().of(&room);
    let view = RoomView {
        epoch: Epoch(3),
        head: Seq(5),
        members: vec![UserId::parse("harry").expect("a name")],
        more_members: false,
        refused: None,
        snapshot: Seq(2),
        ..RoomView::default()
    };
    let mut questions = writer.questions(shard).await.expect("subscribed");
    let ask = Ask::room(room.clone());
    let (seen, ()) = tokio::join!(one.ask(&ask), async {
        let question = soon(questions.next()).await.expect("a question");
        (question.respond)(view.clone());
    });
    assert_eq!(seen.expect("an answer"), view);

    let orders = one.consultations(of_one.incarnation).await;
    let mut orders = orders.expect("subscribed");
    let (obeyed, ()) = tokio::join!(
        writer.consult(of_one.incarnation, Bytes::from_static(b"leave")),
        async {
            let order = soon(orders.next()).await.expect("an order");
            assert_eq!(&*order.request, b"leave");
            (order.respond)(Bytes::from_static(b"done"));
        }
    );
    assert_eq!(&*obeyed.expect("an answer"), b"done");
}

/// Batches of commands cross whole and in order, and nothing is stored with them of the crossing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_a_gateway_are_stored_together_and_in_order() {
    let Some(bus) = Bus::new("batches between accounts").await else {
        return;
    };
    let writer = Nats::connect(&config(&bus, "writer", "first")).await;
    let (_writer, record) = (writer.expect("let in"), record("one", Role::Gateway));
    let one = Nats::connect(&config(&bus, "one", "one"))
        .await
        .expect("let in");
    one.beat(&record).await.expect("its own record");
    let mut seen = one.nodes().await.expect("followed");
    while !matches!(soon(seen.next()).await, Some(NodeSeen::Current)) {}
    let room = RoomId::parse("aaa").expect("a name");
    let open = |n: usize| Submission {
        room: room.clone(),
        action: Action::Open {
            session: SessionId::new(Uuid::now_v7()),
            user: UserId::parse(&format!("user-{n}")).expect("a name"),
            key: Key::parse("key").expect("a key"),
            identity: Identity::Claimed,
            device: None,
            gateway: record.incarnation,
            policy: None,
            former: None,
        },
        reply: None,
    };
    let submissions: Vec<_> = (0..400).map(open).collect();
    let stored = join_all(submissions.iter().map(|it| one.submit(it))).await;
    let positions: Vec<u64> = stored.into_iter().map(|it| it.expect("stored").0).collect();
    let distinct: BTreeSet<_> = positions.iter().collect();
    assert_eq!(distinct.len(), positions.len());
    let admin = bus.admin().await;
    let mut in_batches = 0;
    for (submission, position) in submissions.iter().zip(positions) {
        let call = format!("$JS.API.DIRECT.GET.{}", bus.stream("CMD"));
        let asked = json!({ "seq": position }).to_string();
        let found = admin.request(call, asked.into()).await.expect("stored");
        let headers = found.headers.unwrap_or_default();
        let subject = headers.get("Nats-Subject").expect("one").as_str();
        assert!(subject.ends_with(".aaa.one"), "{subject}");
        assert!(headers.get("Nats-Request-Info").is_none(), "{headers:?}");
        in_batches += usize::from(headers.get("Nats-Batch-Id").is_some());
        let read = safe_chat::bus::codec::decode_command(&room, found.payload);
        assert_eq!(&read.expect("a command"), submission);
    }
    assert!(in_batches > 100, "{in_batches} of 400 came in batches");
}

/// People see what is said and how everything is, of nodes in either account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_everything_from_an_account_of_its_own() {
    let Some(bus) = Bus::new("operators at NATS").await else {
        return;
    };
    let _writer = bus.node("first", "writer", "writer").await;
    let one = bus.node("one", "one", "gateway").await;
    let operator = bus.login("operator", "operator").await;
    let mut events = operator
        .subscribe(bus.named("pre.live.>"))
        .await
        .expect("sent");
    let mut records = operator
        .subscribe(bus.named("$KV.PRE_NODES.>"))
        .await
        .expect("sent");
    operator.flush().await.expect("sent");
    let mut harry = Person::joins_in_json(&one, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    soon(events.next()).await.expect("an event");
    soon(records.next()).await.expect("a heartbeat");

    let inbox = operator.new_inbox();
    let mut answers = operator.subscribe(inbox.clone()).await.expect("sent");
    let asked = operator.publish_with_reply("$SRV.PING.safe-chat", inbox, Bytes::new());
    asked.await.expect("sent");
    let mut nodes = BTreeSet::new();
    while nodes.len() < 2 {
        let answer = soon(answers.next()).await.expect("an answer").payload;
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        nodes.insert(answer["metadata"]["node"].to_string());
    }
    let stream = bus.stream("EVT");
    let info = bus
        .ask(&operator, &format!("STREAM.INFO.{stream}"), json!({}))
        .await;
    assert_eq!(info["config"]["name"], *stream, "{info}");
    let names = bus.ask(&operator, "STREAM.NAMES", json!({})).await;
    assert_eq!(names["total"], 8, "{names}");
    let all = bus.ask(&operator, "INFO", json!({})).await;
    assert_eq!(all["streams"], 8, "{all}");

    // Many answers to one question.
    let inbox = operator.new_inbox();
    let mut answers = operator.subscribe(inbox.clone()).await.expect("sent");
    let all = json!({ "next_by_subj": bus.named("pre.evt.>"), "seq": 1, "batch": 100 });
    let call = format!("$JS.API.DIRECT.GET.{stream}");
    let asked = operator.publish_with_reply(call, inbox, all.to_string().into());
    asked.await.expect("sent");
    let mut read = 0;
    let is_message = |headers: &Option<HeaderMap>| {
        let headers = headers.as_ref();
        headers.is_some_and(|it| it.get("Nats-Sequence").is_some())
    };
    while is_message(&soon(answers.next()).await.expect("an answer").headers) {
        read += 1;
    }
    assert!(read >= 2, "{read}");
}

/// Accounts without an import of that of gateways.
fn without(accounts: String, kind: &str, subject: &str) -> String {
    let (before, gateways) = accounts.split_once("GATEWAY {\n    exports").expect("it");
    let is_it = |line: &&str| line.contains(&format!("{{ {kind}: {{")) && line.contains(subject);
    let line = gateways.lines().find(is_it).expect("imported").to_owned();
    format!(
        "{before}GATEWAY {{\n    exports{}",
        gateways.replacen(&line, "", 1)
    )
}

/// Events that a gateway does not hear it reads, once a writer repeats where the room ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_account_imports_no_events_reads_them_all() {
    let change = |accounts| without(accounts, "stream", ".live.>");
    let Some(bus) = Bus::with("no events at NATS", change).await else {
        return;
    };
    let _writer = bus.node("first", "writer", "writer").await;
    let one = bus.node("one", "one", "gateway").await;
    let mut harry = Person::joins_in_json(&one, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    let metrics = one.metrics().await;
    let repaired = metrics
        .lines()
        .find_map(|line| line.strip_prefix("safechat_gaps_repaired_total "));
    assert!(repaired.is_some_and(|count| count != "0"), "{repaired:?}");
}

/// What the account of gateways does not import, and its node needs, is said in words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_missing_is_said_in_words() {
    let change = |accounts| without(accounts, "service", ".cmd.*.*.*");
    let Some(bus) = Bus::with("a missing import at NATS", change).await else {
        return;
    };
    let _writer = bus.node("first", "writer", "writer").await;
    let one = bus.launch("one", "one", "gateway");
    let words = [&*bus.named("nothing answers pre.cmd."), "--print imports"];
    eventually("it says so", async || {
        let said = one.unready().await;
        words.iter().all(|it| said.contains(it))
    })
    .await;
    let servers = format!("nats://one:secret@{}", bus.server.at());
    let cluster = bus.cluster.clone().with_nats_at(servers);
    let flags = ["--roles", "gateway", "--node", "one"];
    let looked = cluster.run(&["doctor", "--json"], &flags).await;
    let found: Vec<Value> = serde_json::from_str(&looked.stdout).expect("a list");
    let imports = found.iter().find(|it| it["check"] == "nats: imports");
    let imports = imports.expect("looked at");
    let said = imports["message"].as_str().expect("words");
    assert_eq!(imports["state"], "fail");
    assert!(words.iter().all(|it| said.contains(it)), "{said}");
}

/// Whoever accepts clients reads what was said in rooms, wherever it lies, and no key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_reads_copies_of_events_and_nothing_beside_them() {
    let Some(bus) = Bus::new("copies at NATS").await else {
        return;
    };
    let writer = Nats::connect(&config(&bus, "writer", "first")).await;
    let writer = writer.expect("let in");
    let (copy, other) = ("copies.aaa.0.0.0", "snapshot.aaa.0.0");
    for name in [copy, other] {
        let stored = writer.put(name, Bytes::from_static(b"said"), 0).await;
        stored.expect("stored");
    }
    let gateway = Nats::connect(&config(&bus, "one", "one")).await;
    let gateway = gateway.expect("let in");
    eventually("it reads the copy", async || {
        let found = gateway.peek(copy).await.expect("an answer");
        found.is_some_and(|value| *value == *b"said")
    })
    .await;
    let none = gateway.peek("copies.aaa.0.1.0").await;
    assert_eq!(none.expect("an answer"), None);
    let listed = gateway.names_under("copies.aaa").await;
    assert_eq!(listed.expect("an answer"), [copy]);
    gateway.peek(other).await.expect_err("not allowed");
    let call = format!("$JS.API.DIRECT.GET.KV_{0}", bus.stream("SNAPSHOTS"));
    let refused = [
        call.clone(),
        format!("{call}.$KV.{}.{other}", bus.stream("SNAPSHOTS")),
        bus.named("$KV.PRE_SNAPSHOTS.copies.aaa.0.0.0"),
    ];
    bus.is_refused("one", &refused, &[]).await;
}
