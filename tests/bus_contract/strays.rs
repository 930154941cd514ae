//! What others send under the name of a shard that it is not for, by a plain client of NATS: nobody
//! is handed it. Of the memory adapter no such thing can be asked.

use crate::{
    things::*,
    world::{nats_config, shard_of},
};
use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use futures::StreamExt;
use safe_chat::{
    bus::{
        Ask, Commands, Direct, Feed, Head, NodeRecord, NodeSeen, Position, Registry, RoomView,
        Settings, ShardRecord, ShardSeen, codec, nats::Nats,
    },
    room::{Epoch, RoomId, Seq, ShardId},
};

pub(crate) struct World {
    pub(crate) bus: Nats,
    pub(crate) stranger: async_nats::Client,
    pub(crate) prefix: String,
}

impl World {
    pub(crate) async fn new(claim: &str) -> Option<Self> {
        let server = crate::support::server("SAFE_CHAT_TEST_NATS", claim)?;
        let config = nats_config(&server);
        Some(Self {
            bus: Nats::connect(&config).await.unwrap(),
            stranger: async_nats::connect(&config.servers[0]).await.unwrap(),
            prefix: config.prefix,
        })
    }

    /// Stores a message as anybody can who may speak to the servers.
    pub(crate) async fn store(&self, subject: &str, payload: Bytes) {
        self.store_with(subject, HeaderMap::new(), payload).await;
    }

    pub(crate) async fn store_with(&self, subject: &str, headers: HeaderMap, payload: Bytes) {
        let stream = jetstream::new(self.stranger.clone());
        let stored = stream
            .publish_with_headers(self.of_prefix(subject), headers, payload)
            .await
            .unwrap();
        stored.await.unwrap();
    }

    fn of_prefix(&self, subject: &str) -> String {
        let subject = subject.replace("PRE", &self.prefix.to_uppercase());
        subject.replace("pre", &self.prefix)
    }

    async fn stream(&self, kind: &str) -> jetstream::stream::Stream {
        let name = format!("{}_{kind}", self.prefix.to_uppercase());
        let stream = jetstream::new(self.stranger.clone()).get_stream(name).await;
        stream.unwrap()
    }

    /// The subjects of a stream that have messages.
    pub(crate) async fn subjects(&self, kind: &str) -> Vec<String> {
        let stream = self.stream(kind).await;
        let mut found = stream.info_with_subjects(">").await.unwrap();
        let mut subjects = Vec::new();
        while let Some(subject) = found.next().await {
            subjects.push(subject.unwrap().0);
        }
        subjects
    }

    /// Where the last message of a subject is.
    pub(crate) async fn last(&self, kind: &str, subject: &str) -> u64 {
        let stream = self.stream(kind).await;
        let subject = self.of_prefix(subject);
        let found = stream.get_last_raw_message_by_subject(&subject).await;
        found.unwrap().sequence
    }

    pub(crate) async fn payload(&self, kind: &str, subject: &str) -> Bytes {
        let stream = self.stream(kind).await;
        let subject = self.of_prefix(subject);
        let found = stream.get_last_raw_message_by_subject(&subject).await;
        found.unwrap().payload
    }

    /// How many keys of a bucket a filter names.
    pub(crate) async fn count(&self, bucket: &str, filter: &str) -> usize {
        let name = format!("KV_{}_{bucket}", self.prefix.to_uppercase());
        let stream = jetstream::new(self.stranger.clone()).get_stream(name).await;
        let filter = self.of_prefix(&format!("$KV.PRE_{bucket}.{filter}"));
        let stream = stream.unwrap();
        let found = stream.info_with_subjects(filter).await.unwrap();
        found.count().await
    }
}

/// A shard that does not hold the room.
fn another(room: &RoomId) -> ShardId {
    ShardId((shard_of(room).0 + 1) % crate::world::SHARDS)
}

fn told(room: &RoomId, seq: u64) -> Head {
    Head {
        room: room.clone(),
        epoch: Epoch(1),
        seq: Seq(seq),
    }
}

/// A permission cannot know how many shards there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_no_shard_are_removed_before_they_fill_the_stream() {
    let Some(world) = World::new("commands of no shard").await else {
        return;
    };
    let settings = Settings::of_shards(crate::world::SHARDS);
    world.bus.settings(&settings).await.unwrap();
    world.bus.submit(&send("lobby", 1)).await.unwrap();
    let kept = world.subjects("CMD").await;
    // More than a quarter of what the stream takes.
    let junk = Bytes::from(vec![0; 900_000]);
    for shard in ["99", "x", "007", "65536", "-1"] {
        world
            .store(&format!("pre.cmd.{shard}.junk.two"), junk.clone())
            .await;
    }
    let removed = async {
        while world.subjects("CMD").await != kept {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), removed)
        .await
        .expect("they are removed");
}

#[tokio::test]
async fn a_command_for_a_room_of_another_shard_is_not_delivered() {
    let Some(world) = World::new("strays among commands").await else {
        return;
    };
    let (lobby, wrong) = (room("lobby"), another(&room("lobby")));
    let bytes = codec::encode_command(&send("lobby", 1));
    for shard in [wrong.to_string(), format!("0{wrong}"), format!("{wrong}.x")] {
        world
            .store(&format!("pre.cmd.{shard}.lobby"), bytes.clone())
            .await;
    }
    let own = (0..).map(|n| format!("room-{n}"));
    let own = own
        .into_iter()
        .find(|name| shard_of(&room(name)) == wrong)
        .unwrap();
    world.bus.submit(&send(&own, 2)).await.unwrap();
    let mut commands = world.bus.commands(wrong, Position::ZERO).await.unwrap();
    assert_eq!(next(&mut commands).await.submission, send(&own, 2));
    world.bus.submit(&send("lobby", 3)).await.unwrap();
    let mut commands = world
        .bus
        .commands(shard_of(&lobby), Position::ZERO)
        .await
        .unwrap();
    assert_eq!(next(&mut commands).await.submission, send("lobby", 3));
}

#[tokio::test]
async fn a_question_about_a_room_of_another_shard_is_not_handed_to_its_owner() {
    let Some(world) = World::new("strays among questions").await else {
        return;
    };
    let (lobby, wrong) = (room("lobby"), another(&room("lobby")));
    let own = (0..).map(|n| room(&format!("room-{n}")));
    let own = own
        .into_iter()
        .find(|room| shard_of(room) == wrong)
        .unwrap();
    let mut questions = world.bus.questions(wrong).await.unwrap();
    let subject = format!("{}.ask.{wrong}", world.prefix);
    for room in [&lobby, &own] {
        let ask = codec::encode_ask(&Ask::room(room.clone()));
        let reply = world.stranger.new_inbox();
        let asked = world
            .stranger
            .publish_with_reply(subject.clone(), reply, ask);
        asked.await.unwrap();
    }
    let question = next(&mut questions).await;
    assert_eq!(question.ask.room, own);
    (question.respond)(RoomView {
        epoch: Epoch(1),
        head: Seq(0),
        members: Vec::new(),
        snapshot: Seq(0),
        ..RoomView::default()
    });
}

#[tokio::test]
async fn a_head_of_a_room_of_another_shard_is_told_to_nobody() {
    let Some(world) = World::new("strays among heads").await else {
        return;
    };
    let lobby = room("lobby");
    let mut heads = world.bus.heads().await.unwrap();
    let subject = |shard| format!("{}.head.{shard}", world.prefix);
    let (wrong, right) = (subject(another(&lobby)), subject(shard_of(&lobby)));
    for (subject, seq) in [(wrong, 1_000), (right, 7)] {
        let bytes = codec::encode_heads(&[told(&lobby, seq)]);
        world.stranger.publish(subject, bytes).await.unwrap();
    }
    assert_eq!(next(&mut heads).await, told(&lobby, 7));
}

#[tokio::test]
async fn marks_and_messages_under_a_wrong_shard_are_not_listed() {
    let Some(world) = World::new("strays among marks").await else {
        return;
    };
    let (lobby, wrong, node) = (room("lobby"), another(&room("lobby")), node());
    world
        .store(
            &format!("$KV.PRE_SESSIONS.{node}.{wrong}.lobby"),
            Bytes::new(),
        )
        .await;
    assert_eq!(world.bus.marks(wrong).await.unwrap(), []);
    world.bus.mark(node, &lobby).await.unwrap();
    assert_eq!(
        world.bus.marks(shard_of(&lobby)).await.unwrap(),
        [(node, lobby)]
    );

    world
        .store(&format!("pre.evt.{wrong}.lobby"), Bytes::new())
        .await;
    assert_eq!(world.bus.rooms_of(wrong, None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn records_under_a_wrong_name_are_not_seen() {
    let Some(world) = World::new("strays among records").await else {
        return;
    };
    let record = |epoch| ShardRecord {
        epoch: Epoch(epoch),
        ..ShardRecord::default()
    };
    for key in ["01", "+1", "4", "65535"] {
        let bytes = codec::encode_shard(&record(9));
        world.store(&format!("$KV.PRE_SHARDS.{key}"), bytes).await;
    }
    world
        .bus
        .set_shard(ShardId(1), &record(1), 0)
        .await
        .unwrap();
    let mut shards = world.bus.shards().await.unwrap();
    let ShardSeen::Stored {
        shard,
        record: seen,
        ..
    } = next(&mut shards).await
    else {
        panic!("no shard is seen");
    };
    assert_eq!((shard, seen), (ShardId(1), record(1)));
    assert_eq!(next(&mut shards).await, ShardSeen::Current);

    let beat = |incarnation| NodeRecord {
        incarnation,
        name: "node-1".into(),
        roles: Vec::new(),
        draining: false,
        version: "0".into(),
        commit: "".into(),
        address: "127.0.0.1:8558".into(),
        unreachable: Vec::new(),
        formats: safe_chat::bus::FORMATS,
        keeps: None,
        gone_after_s: None,
    };
    let (one, two) = (node(), node());
    world
        .store(
            &format!("$KV.PRE_NODES.{one}"),
            codec::encode_node(&beat(two)),
        )
        .await;
    // Answers of the server that somebody had sent where a node is declared down.
    for text in [
        r#"{"type":"io.nats.jetstream.api.v1.stream_info_response"}"#,
        "",
    ] {
        let key = format!("$KV.PRE_NODES.{one}.down");
        world.store(&key, Bytes::from_static(text.as_bytes())).await;
    }
    let mut nodes = world.bus.nodes().await.unwrap();
    assert_eq!(next(&mut nodes).await, NodeSeen::Current);
}
