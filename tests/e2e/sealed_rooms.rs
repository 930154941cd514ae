//! A sealed room over real nodes: its members read each other, whichever node dies, and the service
//! has nothing of what they said: not on the bus, not in the database, not in a log, and not in the
//! memory of a node.

use crate::{
    cluster::{Cluster, eventually},
    memory,
    node::Node,
    person::{JSON, Person},
    sealed::{Device, aaa, body_of, said, send},
};
use async_nats::jetstream;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::TryStreamExt;
use loadtest::sealed::Marker;
use safe_chat::room::Body;
use scylla::client::session_builder::SessionBuilder;
use seal::rules::JoinPolicy;
use serde_json::Value;

/// What the service must not have anywhere.
const MARKER: &str = "Zwiebelfischkonfitüre";
/// What is said in the clear, in another room: who searches and does not find it, has not searched.
const OPENLY: &str = "Erdbeersalatschüssel";

/// Somebody at a node.
struct Member {
    device: Device,
    person: Person,
    sent: u64,
}

fn host(node: &Node) -> String {
    node.url().replacen("http://", "", 1)
}

impl Member {
    /// Comes in as whoever has proven the key, and reads what it has missed.
    async fn comes(device: Device, node: &Node, more: &str) -> Self {
        let (user, key) = (device.user(), device.key());
        let query = format!("{}&auth=1&since={}{more}", key.as_str(), device.cursor);
        let mut person = Person::joins(node, "aaa", user.as_str(), &query, JSON).await;
        let challenge = person.next("challenge").await;
        let proof = device.proof(&host(node), &challenge);
        person.types(&proof.to_string()).await;
        let welcome = person.next("welcome").await;
        assert_eq!(
            (&welcome["proven"], &welcome["policy"]),
            (&true.into(), &"sealed".into())
        );
        let mut member = Self {
            device,
            person,
            sent: 0,
        };
        member.reads(welcome["seq"].as_u64().unwrap()).await;
        member
    }

    /// Goes to another node.
    async fn moves(self, node: &Node) -> Self {
        Self::comes(self.device, node, "").await
    }

    fn takes(&mut self, event: &Value) {
        self.device.cursor = event["seq"].as_u64().unwrap();
        if let Some(body) = body_of(event) {
            self.device.take(&body);
        }
    }

    /// Reads up to a place; what others said.
    async fn reads(&mut self, seq: u64) -> Vec<String> {
        while self.device.cursor < seq {
            let event = self.person.next("event").await;
            self.takes(&event);
        }
        said(&self.device.caught_up())
    }

    /// Where it was placed.
    async fn says(&mut self, body: Body) -> u64 {
        self.sent += 1;
        let id = format!(
            "{}-{}-{}",
            self.device.user(),
            self.device.cursor,
            self.sent
        );
        self.person.types(&send(&id, &body)).await;
        loop {
            let frame = self.person.json().await;
            match frame["type"].as_str().unwrap() {
                "event" => self.takes(&frame),
                "journaled" => return frame["seq"].as_u64().unwrap(),
                "accepted" => {}
                _ => panic!("{frame}"),
            }
        }
    }

    /// The group as the owner of the room tells it at a node.
    async fn group(&self, node: &Node) -> Value {
        let url = format!("{}/rooms/aaa/group?{}", node.url(), self.device.named());
        let proof = self.device.signed(&host(node), "GET", b"");
        let request = reqwest::Client::new().get(url);
        let answer = request.header("Safe-Chat-Proof", proof).send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.json().await.expect("JSON")
    }
}

pub(crate) async fn members_of_a_sealed_room_read_each_other_and_nobody_else_does(
    cluster: Cluster,
) {
    let (mut first, mut second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let harry = Device::new("harry", 1);
    let mut harry = Member::comes(harry, &first, "&policy=sealed").await;
    let founding = harry.device.found(JoinPolicy::Open);
    let founded = harry.says(founding).await;
    harry.reads(founded).await;

    let mut charly = Member::comes(Device::new("charly", 2), &second, "").await;
    let group = charly.group(&second).await;
    assert_eq!(
        (&group["epoch"], &group["seq"]),
        (&0.into(), &founded.into())
    );
    let bytes = |name: &str| {
        let text = group[name].as_str().unwrap();
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    let coming = charly.device.rejoin(&bytes("group_info"), &bytes("tree"));
    let came = charly.says(coming).await;
    charly.reads(came).await;
    harry.reads(came).await;
    let code = |member: &Member| member.device.member.room_code(&aaa()).unwrap();
    assert_eq!(code(&harry), code(&charly));

    let hello = harry.device.encrypt(MARKER);
    let place = harry.says(hello).await;
    assert_eq!(charly.reads(place).await, [format!("harry: {MARKER}")]);
    harry.reads(place).await;

    let owner = cluster.owner("aaa").await;
    let (dies, lives) = match first.is(owner) {
        true => (&mut first, &mut second),
        false => (&mut second, &mut first),
    };
    dies.kill().await;
    let (mut harry, mut charly) = (harry.moves(lives).await, charly.moves(lives).await);
    let answer = charly.device.encrypt(&format!("{MARKER}!"));
    let place = charly.says(answer).await;
    assert_eq!(harry.reads(place).await, [format!("charly: {MARKER}!")]);
    charly.reads(place).await;
    let renewed = harry.device.renew();
    let place = harry.says(renewed).await;
    harry.reads(place).await;
    charly.reads(place).await;
    assert_eq!(code(&harry), code(&charly));
    dies.restart().await;
    let group = charly.group(dies).await;
    assert_eq!((&group["epoch"], &group["seq"]), (&2.into(), &place.into()));

    said_openly(lives).await;
    let (marker, openly) = (Marker::new(MARKER), Marker::new(OPENLY));
    for node in [&*dies, &*lives] {
        assert!(!marker.is_in(node.logs().as_bytes()));
        assert!(
            !memory::holds(node, &marker).await,
            "in the memory of a node"
        );
    }
    assert!(memory::holds(lives, &openly).await);
    let mut found = on_the_bus(&cluster, &[&marker, &openly]).await;
    if let Some(address) = cluster.cassandra_address() {
        let stored = in_the_database(address, cluster.keyspace(), &[&marker, &openly]).await;
        found = [found[0] || stored[0], found[1] && stored[1]];
    }
    assert_eq!(found, [false, true]);
    let inspected = cluster
        .run(&["journal", "inspect", "aaa"], &["--content"])
        .await;
    assert!(
        inspected.code == Some(0) && inspected.stdout.contains("handshake"),
        "{inspected:?}"
    );
    eventually("the room is written in one order", async || {
        cluster.run(&["journal", "verify", "aaa"], &[]).await.code == Some(0)
    })
    .await;
}

/// Somebody says something that everybody may read.
async fn said_openly(node: &Node) {
    let mut person = Person::joins_in_json(node, "bbb", "harry", "k").await;
    person.says("m1", OPENLY).await;
    person.next("journaled").await;
}

/// Which of the markers a stream or bucket of the bus has, in messages or their headers.
async fn on_the_bus(cluster: &Cluster, markers: &[&Marker; 2]) -> [bool; 2] {
    let client = async_nats::connect(cluster.nats())
        .await
        .expect("a connection");
    let context = jetstream::new(client);
    let names: Vec<String> = context.stream_names().try_collect().await.expect("names");
    let prefix = cluster.prefix().to_uppercase();
    let (mut streams, mut messages, mut found) = (0, 0, [false; 2]);
    for name in names.iter().filter(|name| name.contains(&prefix)) {
        let mut stream = context.get_stream(name).await.expect("a stream");
        let state = stream.info().await.expect("what it is like").state.clone();
        streams += 1;
        for seq in state.first_sequence.max(1)..=state.last_sequence {
            // Some are gone: decided commands, replaced records.
            if let Ok(message) = stream.get_raw_message(seq).await {
                messages += 1;
                let whole = [format!("{message:?}").as_bytes(), &message.payload].concat();
                note(&mut found, markers, &whole);
            }
        }
    }
    assert!(
        streams >= 4 && messages >= 10,
        "{streams} streams, {messages} messages"
    );
    found
}

/// Which of the markers a table has. Cassandra writes bytes as hex there.
async fn in_the_database(address: &str, keyspace: &str, markers: &[&Marker; 2]) -> [bool; 2] {
    let session = SessionBuilder::new()
        .known_node(address)
        .build()
        .await
        .expect("a session");
    let texts = async |statement: String| -> Vec<String> {
        let rows = session.query_unpaged(statement, ()).await.expect("rows");
        let rows = rows.into_rows_result().expect("rows");
        let rows = rows.rows::<(String,)>().expect("texts");
        rows.map(|row| row.expect("a text").0).collect()
    };
    let tables = texts(format!(
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = '{keyspace}'"
    ));
    let mut found = [false; 2];
    for table in tables.await {
        for row in texts(format!("SELECT JSON * FROM {keyspace}.{table}")).await {
            note(&mut found, markers, row.as_bytes());
        }
    }
    found
}

fn note(found: &mut [bool; 2], markers: &[&Marker; 2], bytes: &[u8]) {
    for (found, marker) in found.iter_mut().zip(markers) {
        *found |= marker.is_in(bytes);
    }
}
