//! What the logins of `nats/cluster.conf` may do: each party its part, and nothing of what another
//! one does. A whole cluster works with exactly these rights, and a hostile client that has stolen
//! one of them is refused, or not listened to.

use crate::{
    changed::gets_in,
    cluster::{Cluster, eventually},
    devices::{self, Device, now},
    node::Node,
    person::Person,
    server::Server,
};
use async_nats::{Client, ConnectOptions, HeaderMap};
use bytes::Bytes;
use futures::StreamExt;
use safe_chat::{
    bus::{
        Ask, NodeRecord, ReplyTo, Role, Submission, codec,
        nats::{Party, rights},
    },
    journal::codec::decode_commit,
    room::{
        Action, BatchMessage, Body, Change, CommandId, Identity, Incarnation, Key, Producer,
        ProducerSeq, RoomId, SessionId, Turn, UserId,
    },
};
use serde_json::{Value, json};
use std::fs;

/// A nats-server with the accounts of `nats/cluster.conf`, and two gateways with logins of their
/// own.
pub(crate) struct Bus {
    pub(crate) server: Server,
    pub(crate) cluster: Cluster,
}

impl Bus {
    pub(crate) async fn new(claim: &str) -> Option<Self> {
        Self::with(claim, |accounts| accounts).await
    }

    /// With something else in its accounts.
    pub(crate) async fn with(claim: &str, change: impl Fn(String) -> String) -> Option<Self> {
        let mut server = Server::start(claim).await?;
        let cluster = Cluster::nowhere(format!("nats://service:secret@{}", server.at()));
        let prefix = cluster.prefix();
        let shipped = include_str!("../../nats/cluster.conf");
        let start = shipped.find("MAY_GATEWAY {").expect("what logins may do");
        let end = shipped.find("# Time for clients").expect("an end of it");
        let mut accounts = shipped[start..end]
            .replace("CHAT_", &format!("{}_", prefix.to_uppercase()))
            .replace("\"chat", &format!("\"{prefix}"));
        let gateways = ["one", "two"].map(|name| {
            let rights = rights(prefix, Party::Gateway, name);
            format!("{{ user: {name}, password: secret, permissions {{ {rights} }} }}\n")
        });
        let shared = "{ user: gateway";
        accounts = accounts.replace(shared, &format!("{}{shared}", gateways.concat()));
        let passwords = [
            "GATEWAY",
            "WRITER",
            "SERVICE",
            "OPERATOR",
            "ADMIN",
            "MONITORING",
        ];
        let passwords = passwords.map(|user| format!("{user}_PASSWORD: secret\n"));
        let logged = format!("log_file: \"{}\"\n", server.log().display());
        server
            .run_with(&(logged + &passwords.concat() + &change(accounts)))
            .await;
        Some(Self { server, cluster })
    }

    pub(crate) async fn node(&self, name: &str, login: &str, roles: &str) -> Node {
        let mut node = self.launch(name, login, roles);
        node.ready().await;
        node
    }

    pub(crate) fn launch(&self, name: &str, login: &str, roles: &str) -> Node {
        let servers = format!("nats://{login}:secret@{}", self.server.at());
        let cluster = self.cluster.clone().with_nats_at(servers);
        cluster.launch(name, &["--roles", roles])
    }

    pub(crate) async fn login(&self, user: &str, inbox: &str) -> Client {
        let login = ConnectOptions::with_user_and_password(user.into(), "secret".into());
        let login = login.custom_inbox_prefix(format!("_INBOX.{inbox}"));
        login.connect(self.server.at()).await.expect("let in")
    }

    /// What the server has refused so far.
    pub(crate) fn refused(&self) -> Vec<String> {
        let log = fs::read_to_string(self.server.log()).expect("a log");
        let lines = log.lines().filter(|line| line.contains("Violation"));
        lines.map(str::to_owned).collect()
    }

    /// A login may not publish to these subjects, nor subscribe to those.
    pub(crate) async fn is_refused(&self, user: &str, publish: &[String], subscribe: &[String]) {
        let client = self.login(user, user).await;
        let mut listening = Vec::new();
        for subject in publish {
            let sent = client.publish(subject.clone(), Bytes::new()).await;
            sent.expect("sent, and refused there");
        }
        for subject in subscribe {
            listening.push(client.subscribe(subject.clone()).await.expect("sent"));
        }
        client.flush().await.expect("all of it");
        eventually("every one is refused", async || {
            let refused = self.refused();
            let is_refused = |kind: &str, subject: &String| {
                refused.iter().any(|line| {
                    line.contains(kind)
                        && line.contains(&format!("user:{user}\""))
                        && line.contains(&format!("\"{subject}\""))
                })
            };
            publish.iter().all(|it| is_refused("Publish Violation", it))
                && subscribe
                    .iter()
                    .all(|it| is_refused("Subscription Violation", it))
        })
        .await;
    }

    pub(crate) fn stream(&self, kind: &str) -> String {
        format!("{}_{kind}", self.cluster.prefix().to_uppercase())
    }

    /// A subject or key of prefix `pre` or `PRE` in that of this test.
    pub(crate) fn named(&self, subject: &str) -> String {
        let prefix = self.cluster.prefix();
        let subject = subject.replace("PRE", &prefix.to_uppercase());
        subject.replace("pre.", &format!("{prefix}."))
    }

    pub(crate) fn shard(&self) -> u16 {
        self.cluster.shards().of(&room()).0
    }

    pub(crate) async fn admin(&self) -> Client {
        self.login("admin", "admin").await
    }

    pub(crate) async fn ask(&self, client: &Client, call: &str, body: Value) -> Value {
        let asked = client.request(format!("$JS.API.{call}"), body.to_string().into());
        let answer = asked.await.expect("an answer of JetStream");
        serde_json::from_slice(&answer.payload).expect("JSON")
    }

    /// The run of a node, and the newest sessions of it, as its record and its events say.
    async fn run_of(&self, name: &str) -> Incarnation {
        let client = self.admin().await;
        let filter = self.named(&format!("$KV.PRE_NODES.*.{name}.*"));
        let asked = json!({ "subjects_filter": filter });
        let call = format!("STREAM.INFO.KV_{}", self.stream("NODES"));
        let info = self.ask(&client, &call, asked).await;
        let keys = info["state"]["subjects"].as_object().expect("keys");
        let key = keys.keys().next().expect("a record");
        Incarnation::parse(key.rsplit('.').next().expect("a run")).expect("a run")
    }
}

fn room() -> RoomId {
    RoomId::parse("aaa").expect("a name")
}

/// Two gateways with a login each, two writers: through a takeover, and while nothing happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_works_with_exactly_the_rights_of_its_roles() {
    let Some(bus) = Bus::new("rights at NATS").await else {
        return;
    };
    let mut first = bus.node("first", "writer", "writer").await;
    let (one, two) = (
        bus.node("one", "one", "gateway").await,
        bus.node("two", "two", "gateway").await,
    );
    let both = bus.node("both", "service", "gateway,writer").await;
    let mut harry = Person::joins_in_json(&one, "aaa", "harry", "key-harry").await;
    let mut charly = Person::joins_in_json(&two, "aaa", "charly", "key-charly").await;
    gets_in(&mut harry, "before").await;
    gets_in(&mut charly, "and").await;
    first.kill().await;
    eventually("the other one writes all", async || {
        both.logs().contains("writes 16 of 16 shards")
    })
    .await;
    gets_in(&mut harry, "after").await;
    drop(charly);
    let mut dora = Person::joins_in_json(&both, "aaa", "dora", "key-dora").await;
    gets_in(&mut dora, "here").await;
    let page = format!("{}/rooms/aaa/history?limit=100", two.url());
    eventually(
        "a gateway reads all that was said, and who has left",
        async || {
            let page: Value = reqwest::get(&page).await.unwrap().json().await.unwrap();
            let events = page["events"].as_array().unwrap();
            let is = |id: &str| events.iter().any(|event| event["id"] == id);
            let left = events
                .iter()
                .any(|it| it["kind"] == "left" && it["from"] == "charly");
            ["before", "and", "after", "here"].iter().all(|id| is(id)) && left
        },
    )
    .await;
    // Key packages and welcomes, through accounts that have no streams.
    let mut phone = Device::new(1, "harry", "phone", &one.url());
    assert_eq!(phone.publishes(2).await.status, 200);
    let asker = Device::keys_at(2, &two.url());
    for _ in 0..2 {
        let claim = asker.claim(&phone.identity(), "harry", now());
        assert_eq!(devices::send(&claim).await.status, 200);
    }
    let waiting = phone.keys.welcomes("harry", "phone", now());
    assert_eq!(devices::send(&waiting).await.status, 200);
    let remove = phone.keys.remove("harry", "phone", now());
    assert_eq!(devices::send(&remove).await.status, 200);
    assert_eq!(bus.refused(), [""; 0]);
    let told = both.logs() + &one.logs() + &two.logs();
    assert!(!told.contains("does not let this login"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_client_with_the_login_of_one_party_does_nothing_of_another() {
    let Some(bus) = Bus::new("hostile clients of NATS").await else {
        return;
    };
    let writer = bus.node("first", "writer", "writer").await;
    let (one, two) = (
        bus.node("one", "one", "gateway").await,
        bus.node("two", "two", "gateway").await,
    );
    let mut harry = Person::joins_in_json(&one, "aaa", "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    let shard = bus.shard();
    let of_one = bus.run_of("one").await;
    let named = |subjects: &[&str]| -> Vec<String> {
        subjects.iter().map(|subject| bus.named(subject)).collect()
    };
    let call = |call: &str, stream: &str| bus.named(&format!("$JS.API.{call}.{stream}"));
    let never = [
        call("STREAM.PURGE", "KV_PRE_SHARDS"),
        call("STREAM.DELETE", "PRE_EVT"),
        call("STREAM.UPDATE", "PRE_EVT"),
        call("STREAM.CREATE", "X"),
        call("STREAM.SNAPSHOT", "PRE_EVT"),
        call("STREAM.MSG.DELETE", "PRE_EVT"),
        "$JS.API.CONSUMER.DELETE.x.y".to_owned(),
        bus.named(&format!("pre.live.{shard}.aaa")),
    ];
    // A gateway: own no shard, publish no event, purge nothing, read nobody's answers, speak for
    // nobody else.
    let mut of_gateway = named(&[
        "$KV.PRE_SHARDS.7",
        "$KV.PRE_SHARDS.settings",
        "$KV.PRE_SNAPSHOTS.snapshot.aaa.0.0",
        "$KV.PRE_NODES.writer.two.x",
        "$KV.PRE_NODES.gateway.one.x",
        "$KV.PRE_NODES.x.down",
        "$KV.PRE_SESSIONS.one.x.1.aaa",
        "pre.evt.1.aaa",
        "pre.head.1",
        "pre.cmd.1.aaa",
        "pre.cmd.1.aaa.one",
        "pre.node.one.x.in",
        "pre.node.first.x.manage",
    ]);
    of_gateway.extend(never.clone());
    of_gateway.extend([
        call("STREAM.PURGE", "PRE_CMD"),
        call("STREAM.PURGE", "PRE_EVT"),
        call("STREAM.PURGE", "KV_PRE_SESSIONS"),
        call("STREAM.PURGE", "KV_PRE_SNAPSHOTS"),
        call("STREAM.PURGE", "KV_PRE_KEYS"),
        call("STREAM.MSG.DELETE", "KV_PRE_WELCOMES"),
        call("STREAM.CREATE", "PRE_EVT"),
        call("STREAM.MSG.GET", "PRE_CMD"),
        call("CONSUMER.CREATE", "KV_PRE_NODES.x.y"),
        call("CONSUMER.CREATE", "PRE_EVT"),
    ]);
    let others = named(&[
        "_INBOX.>",
        "_INBOX.one.>",
        "pre.node.one.>",
        "pre.node.*.*.in",
        "pre.ask.*",
        "pre.cmd.>",
        "pre.>",
        "$JS.API.>",
    ]);
    bus.is_refused("two", &of_gateway, &others).await;
    let mut of_writer = never.to_vec();
    of_writer.extend(named(&["$KV.PRE_KEYS.x.y.z"]));
    bus.is_refused("writer", &of_writer, &others[5..]).await;
    // Consumers deliver to whatever their maker names, in the account of the stream.
    let mut of_operator = never.to_vec();
    of_operator.extend([
        call("CONSUMER.CREATE", "PRE_EVT"),
        call("CONSUMER.CREATE", "KV_PRE_SHARDS.x.y"),
        call("CONSUMER.DURABLE.CREATE", "PRE_CMD.x"),
        call("CONSUMER.MSG.NEXT", "PRE_EVT.x"),
    ]);
    of_operator.extend(named(&[
        "$KV.PRE_SHARDS.1",
        "$KV.PRE_KEYS.x.y.z",
        "$KV.PRE_WELCOMES.to.x",
        "pre.evt.1.aaa",
        "pre.cmd.1.aaa",
        "pre.node.one.x.in",
        "pre.node.one.x.manage",
    ]));
    of_operator.extend(
        ["PRE_CMD", "PRE_EVT", "KV_PRE_SNAPSHOTS"].map(|stream| call("STREAM.PURGE", stream)),
    );
    bus.is_refused("operator", &of_operator, &others[..4]).await;

    // What it may store, under its own name, it may not say of others.
    let hostile = bus.login("two", "two").await;
    let mine = bus.run_of("two").await;
    let session = harrys(&bus).await;
    let own_subject = bus.named(&format!("pre.cmd.{shard}.aaa.two"));
    for action in [
        Action::Close {
            session,
            gateway: Some(mine),
        },
        Action::Close {
            session,
            gateway: Some(of_one),
        },
        Action::Close {
            session,
            gateway: None,
        },
        Action::Abandon { gateway: of_one },
        batch(mine, session),
        batch(of_one, session),
        send(session),
    ] {
        let said = Submission {
            room: room(),
            action,
            reply: Some(ReplyTo { node: mine, tag: 1 }),
        };
        stored(&hostile, own_subject.clone(), codec::encode_command(&said)).await;
    }
    // Nor is it a writer, for all that it says of itself, nor one that has gone.
    let record = NodeRecord {
        incarnation: mine,
        name: "two".into(),
        roles: vec![Role::Writer],
        draining: false,
        version: "99.0.0".into(),
        commit: "".into(),
        address: "127.0.0.1:1".into(),
        unreachable: Vec::new(),
        formats: safe_chat::bus::FORMATS,
        keeps: None,
        gone_after_s: None,
    };
    let key = |run: Incarnation| bus.named(&format!("$KV.PRE_NODES.gateway.two.{run}"));
    stored(&hostile, key(mine), codec::encode_node(&record)).await;
    let mut gone = HeaderMap::new();
    gone.insert("KV-Operation", "DEL");
    let told = hostile.request_with_headers(key(of_one), gone, Bytes::new());
    told.await.expect("stored");
    // The server sends answers wherever they are wanted, in the asker's account; owners do not.
    let asked = bus.named("$JS.API.DIRECT.GET.PRE_EVT");
    let last = json!({ "last_by_subj": bus.named(&format!("pre.evt.{shard}.aaa")) });
    for to in ["pre.evt.S.aaa", "pre.cmd.S.aaa", "pre.cmd.S.aaa.one"] {
        let to = bus.named(&to.replace('S', &shard.to_string()));
        let sent = hostile.publish_with_reply(asked.clone(), to, last.to_string().into());
        sent.await.expect("sent");
    }
    let asked = bus.named(&format!("pre.ask.{shard}"));
    let purge = bus.named("$JS.API.STREAM.PURGE.PRE_CMD");
    let ask = codec::encode_ask(&Ask::room(room()));
    let at_streams = bus.login("writer", "writer").await;
    for asker in [&hostile, &at_streams] {
        let sent = asker.publish_with_reply(asked.clone(), purge.clone(), ask.clone());
        sent.await.expect("sent");
        asker.flush().await.expect("all of it");
    }

    // The room goes on as it was: harry is there, and has said what he said.
    let at = gets_in(&mut harry, "m2").await;
    let mut charly = Person::joins_in_json(&two, "aaa", "charly", "key-charly").await;
    assert_eq!(gets_in(&mut charly, "m3").await, at + 2);
    gets_in(&mut harry, "m4").await;
    let page = format!("{}/rooms/aaa/history?limit=100", one.url());
    let page: Value = reqwest::get(&page).await.unwrap().json().await.unwrap();
    let events = page["events"].as_array().unwrap();
    let said: Vec<_> = events.iter().map(|event| event["text"].clone()).collect();
    assert!(!said.contains(&json!("forged")), "{said:?}");
    assert!(
        events.iter().all(|event| event["kind"] != "left"),
        "{events:?}"
    );
    eventually("what was forged is counted", async || {
        let counted = |metrics: String, what: &str| {
            let line = format!("safechat_bus_forged_total{{what=\"{what}\"}} ");
            let value = metrics
                .lines()
                .find_map(|it| it.strip_prefix(&line).map(str::to_owned));
            value.is_some_and(|value| value != "0")
        };
        let kinds = ["command", "record", "reply"];
        let metrics = writer.metrics().await;
        kinds.iter().all(|kind| counted(metrics.clone(), kind))
    })
    .await;
    let told = writer.logs().matches("skipped; more of its kind").count();
    assert!(told <= 4, "once for each kind: {}", writer.logs());
    headers_and_replies_of_its_own(&bus, &hostile, &one, record).await;
}

/// What a server obeys or says in headers is not obeyed or believed of a client, and who asks
/// itself may answer nowhere but where answers are waited for.
async fn headers_and_replies_of_its_own(
    bus: &Bus,
    hostile: &Client,
    one: &Node,
    record: NodeRecord,
) {
    let run = Incarnation::of_node("two", uuid::Uuid::now_v7());
    let mark = bus.named(&format!("$KV.PRE_SESSIONS.two.{run}.1.x"));
    let mut rollup = HeaderMap::new();
    rollup.insert("Nats-Rollup", "all");
    let emptied = hostile.request_with_headers(mark, rollup, Bytes::new());
    let answer = emptied.await.expect("an answer").payload;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("rollup not permitted"), "{answer}");

    let record = NodeRecord {
        incarnation: run,
        roles: vec![Role::Gateway],
        ..record
    };
    let key = bus.named(&format!("$KV.PRE_NODES.gateway.two.{run}"));
    let mut last = HeaderMap::new();
    last.insert("Nats-Last-Sequence", "14");
    let told = hostile.request_with_headers(key, last, codec::encode_node(&record));
    told.await.expect("stored");
    eventually("others read on past it", async || {
        let metrics = one.metrics().await;
        let nodes = metrics
            .lines()
            .find_map(|line| line.strip_prefix("safechat_cluster_nodes "));
        nodes == Some("4")
    })
    .await;

    let probe = format!("{}-probe.two", bus.cluster.prefix());
    let forged = bus.named("pre.evt.1.forged");
    let mut own = hostile.subscribe(format!("{probe}.*")).await.expect("own");
    let asked = hostile.publish_with_reply(format!("{probe}.x"), forged.clone(), Bytes::new());
    asked.await.expect("sent");
    hostile.flush().await.expect("sent");
    own.next().await.expect("its own question");
    let answered = hostile.publish(forged.clone(), Bytes::new()).await;
    answered.expect("sent, and refused there");
    hostile.flush().await.expect("sent");
    eventually("its answer is refused", async || {
        let refused = bus.refused();
        refused.iter().any(|line| line.contains(&forged))
    })
    .await;
}

/// The session of harry, as an event says.
async fn harrys(bus: &Bus) -> SessionId {
    let client = bus.admin().await;
    let subject = bus.named(&format!("pre.evt.{}.aaa", bus.shard()));
    let call = format!("DIRECT.GET.{}", bus.stream("EVT"));
    let asked = json!({ "seq": 1, "next_by_subj": subject });
    let asked = client.request(format!("$JS.API.{call}"), asked.to_string().into());
    let answer = asked.await.expect("an event").payload;
    let commit = decode_commit(&answer).expect("a commit");
    let changes = commit.events.iter().flat_map(|event| &event.changes);
    let mut opened = changes.filter_map(|change| match change {
        Change::Opened { session, .. } => Some(*session),
        _ => None,
    });
    opened.next().expect("an opening")
}

async fn stored(client: &Client, subject: String, payload: Bytes) {
    let answer = client.request(subject, payload).await.expect("an answer");
    let answer: Value = serde_json::from_slice(&answer.payload).expect("JSON");
    assert!(answer["seq"].is_u64(), "{answer}");
}

fn message(session: SessionId) -> BatchMessage {
    BatchMessage {
        turn: Turn { session, number: 9 },
        user: UserId::parse("harry").expect("a name"),
        id: CommandId::parse("forged").expect("an id"),
        to: None,
        body: Body::Text("forged".into()),
    }
}

fn batch(gateway: Incarnation, session: SessionId) -> Action {
    let producer = Producer {
        gateway,
        generation: 1,
    };
    Action::Batch {
        from: ProducerSeq {
            producer,
            sequence: 1,
        },
        messages: [message(session)].into(),
    }
}

fn send(session: SessionId) -> Action {
    let message = message(session);
    Action::Send {
        user: message.user,
        key: Key::parse("key-other").expect("a key"),
        identity: Identity::Claimed,
        turn: Some(message.turn),
        after: 0,
        request: None,
        id: message.id,
        to: None,
        body: message.body,
    }
}

/// A node with a login that is not for what it does says what is refused, once for each subject.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nats_refuses_is_said_in_words_once() {
    let Some(bus) = Bus::new("refusals of NATS").await else {
        return;
    };
    let _writer = bus.node("first", "writer", "writer").await;
    let astray = bus.launch("one", "one", "gateway,writer");
    // A node that owns shards makes consumers.
    let consumers = bus.named("$JS.API.CONSUMER.CREATE.KV_PRE_NODES");
    let said = || {
        let logs = astray.logs();
        let of_consumers = logs.lines().filter(|line| {
            line.contains("WARN")
                && line.contains("does not let this login publish there")
                && line.contains(&consumers)
        });
        of_consumers.count()
    };
    eventually("its consumers are refused", async || said() > 0).await;
    eventually("it goes on trying", async || {
        let metrics = astray.metrics().await;
        let counted = metrics
            .lines()
            .find_map(|line| line.strip_prefix("safechat_bus_refused_total{what=\"publish\"} "));
        counted.is_some_and(|count| count.parse::<u64>().is_ok_and(|count| count > 5))
    })
    .await;
    assert_eq!(said(), 1, "{}", astray.logs());
}
