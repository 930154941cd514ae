//! What one client may do, in virtual time: frames per session, per user and per address, joins and
//! rooms per address. Nobody else pays for it.

use crate::world::{Client, Gateway, World, join};
use safe_chat::{
    gateway::{Config, Join},
    journal::memory,
    pressure::Level,
    room::{Body, CommandId, Identity, Key, Reason, Rejection, RoomId},
    wire::{Message, ServerFrame},
};
use serde_json::{Value, json};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::time::{advance, sleep};

async fn limited(config: Config) -> (World, Gateway) {
    let mut world = World::new().await;
    let gateway = world.gateway_with(config, Arc::new(memory::NoFaults));
    (world, gateway)
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn claimed(key: &Key) -> (Key, Identity) {
    (key.clone(), Identity::Claimed)
}

fn in_room(room: &str, user: &str) -> Join {
    Join {
        room: RoomId::parse(room).unwrap(),
        ..join(user)
    }
}

/// Says so much at once, and returns how much of it was journaled, and the frames that refused the
/// rest.
async fn flood(client: &mut Client, name: &str, count: usize) -> (usize, Vec<Value>) {
    (0..count).for_each(|n| client.send(&format!("{name}{n}")));
    answers(client, count).await
}

/// The same with the largest content; all that is refused is refused for its rate.
async fn flood_large(client: &mut Client, name: &str, count: usize) -> usize {
    let sealed = "A".repeat(87_380);
    (0..count).for_each(|n| {
        client.say(&json!({"type": "send", "id": format!("{name}{n}"), "sealed": sealed}))
    });
    let (journaled, refused) = answers(client, count).await;
    refused
        .iter()
        .for_each(|frame| assert_eq!(frame["reason"], "rate_limited"));
    journaled
}

async fn answers(client: &mut Client, count: usize) -> (usize, Vec<Value>) {
    let (mut journaled, mut refused) = (0, Vec::new());
    while journaled + refused.len() < count {
        let frame = client.frame().await;
        match frame["type"].as_str() {
            Some("journaled") => journaled += 1,
            Some("rejected") => refused.push(frame),
            _ => {}
        }
    }
    (journaled, refused)
}

#[tokio::test(start_paused = true)]
async fn a_session_may_send_a_burst_of_1000_and_then_200_in_a_second() {
    let (_world, gateway) = limited(Config::default()).await;
    let (mut harry, mut charly) = (
        gateway.join(join("harry")).await,
        gateway.join(join("charly")).await,
    );
    let (journaled, refused) = flood(&mut harry, "a", 1020).await;
    // A few more than the burst: some milliseconds of virtual time went by.
    assert!((1000..1020).contains(&journaled), "{journaled}");
    for frame in refused {
        assert_eq!(frame["reason"], "rate_limited");
        assert!(
            frame["id"].is_string()
                && frame["retry_after_ms"]
                    .as_u64()
                    .is_some_and(|ms| (100..=1000).contains(&ms)),
            "{frame}"
        );
    }
    let (others, _) = flood(&mut charly, "c", 100).await;
    assert_eq!(others, 100, "nobody else pays for it");
    sleep(Duration::from_secs(1)).await;
    let (journaled, refused) = flood(&mut harry, "b", 300).await;
    assert!(
        (200..260).contains(&journaled) && refused.len() == 300 - journaled,
        "{journaled}"
    );
    // The id may be used again after `rejected`.
    sleep(Duration::from_secs(1)).await;
    let (journaled, _) = flood(&mut harry, "b", 10).await;
    assert_eq!(journaled, 10);
}

/// Why a client at an address may not come to a room; `None`: it may, and stays.
async fn turned_away(gateway: &Gateway, from: &str, room: &str, user: &str) -> Option<Rejection> {
    let client = gateway.handle.client(address(from));
    let asked = gateway.handle.may_join(&client, &in_room(room, user)).await;
    let joined = gateway.handle.join_of(&client, in_room(room, user)).await;
    let refused = joined.map(std::mem::forget).err();
    // Who only asks hears the same, and takes nothing that the other needs.
    let said = |why: &Rejection| (why.reason, why.message.clone());
    assert_eq!(asked.err().as_ref().map(said), refused.as_ref().map(said));
    refused
}

#[tokio::test(start_paused = true)]
async fn who_makes_too_many_rooms_is_held_back_and_may_go_to_those_that_are_there() {
    let (_world, gateway) = limited(Config {
        user_new_rooms_rate: 60,
        user_new_rooms_burst: 2,
        new_rooms_rate: 3_600,
        new_rooms_burst: 3,
        ..Config::default()
    })
    .await;
    let (here, there) = ("192.0.2.1", "192.0.2.2");
    assert_eq!(turned_away(&gateway, here, "r1", "harry").await, None);
    assert_eq!(turned_away(&gateway, here, "r2", "harry").await, None);
    let refused = turned_away(&gateway, here, "r3", "harry").await.unwrap();
    assert_eq!(refused.reason, Reason::RateLimited);
    assert!(
        refused.message.contains("makes too many rooms"),
        "{refused}"
    );
    // A minute for the next one.
    let wait = refused.retry_after_ms.unwrap();
    assert!((50_000..=60_000).contains(&wait), "{wait}");
    // Rooms that are there cost nothing, nor does anybody else pay.
    assert_eq!(turned_away(&gateway, here, "r1", "charly").await, None);
    assert_eq!(turned_away(&gateway, here, "r3", "charly").await, None);
    let refused = turned_away(&gateway, here, "r4", "kim").await.unwrap();
    assert!(refused.message.contains("from this address"), "{refused}");
    assert_eq!(turned_away(&gateway, there, "r4", "kim").await, None);

    // A message makes a room as a session does.
    let post = async |room: &str, id: &str| {
        let Join { user, key, .. } = join("harry");
        let message = Message {
            id: CommandId::parse(id),
            to: None,
            body: Body::Text("Hello".into()),
        };
        let room = RoomId::parse(room).unwrap();
        let posted = gateway.handle.post(&room, user, claimed(&key), message);
        posted.await.unwrap()
    };
    let refused = post("r5", "p1").await;
    assert!(
        matches!(&refused, ServerFrame::Rejected { rejection, .. }
            if rejection.reason == Reason::RateLimited),
        "{refused:?}"
    );
    assert!(matches!(
        post("r4", "p1").await,
        ServerFrame::Journaled { .. }
    ));
    sleep(Duration::from_millis(wait)).await;
    assert!(matches!(
        post("r5", "p1").await,
        ServerFrame::Journaled { .. }
    ));
    assert!(matches!(
        post("r5", "p2").await,
        ServerFrame::Journaled { .. }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_cluster_with_as_many_rooms_as_it_may_have_lets_nobody_make_another() {
    let (_world, gateway) = limited(Config {
        max_rooms: 2,
        ..Config::default()
    })
    .await;
    let from = "192.0.2.1";
    assert_eq!(turned_away(&gateway, from, "r1", "harry").await, None);
    assert_eq!(gateway.handle.warnings(), [""; 0]);
    assert_eq!(turned_away(&gateway, from, "r2", "harry").await, None);
    // As this gateway has made them, and as the journal has them.
    for _ in 0..2 {
        let refused = turned_away(&gateway, from, "r3", "harry").await.unwrap();
        assert_eq!(refused.reason, Reason::RateLimited);
        assert!(
            refused.message.contains("as many rooms as it may have"),
            "{refused}"
        );
        let warned = gateway.handle.warnings();
        assert!(warned[0].contains("gateway.max_rooms"), "{warned:?}");
        assert_eq!(turned_away(&gateway, from, "r2", "charly").await, None);
        sleep(Duration::from_secs(61)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn everything_that_a_client_says_counts_also_what_is_not_understood() {
    let (_world, gateway) = limited(Config {
        session_rate: 10,
        session_burst: 20,
        ..Config::default()
    })
    .await;
    let mut harry = gateway.join(join("harry")).await;
    harry.until("event").await;
    harry.say(&json!({"type": "history", "id": "h", "limit": 500})); // 10
    harry.until("history").await;
    harry.say(&json!({"type": "members", "id": "q"})); // 15
    harry.say(&json!({"type": "ping", "id": "p"})); // 16
    harry.say(&json!({"type": "send", "id": "m", "text": ""})); // 17: bad_field
    harry.say(&json!({"type": "nonsense", "id": "n"})); // 18: unsupported
    (0..2).for_each(|n| harry.say(&json!({"type": "ping", "id": format!("p{n}")}))); // 20
    harry.say(&json!({"type": "ping", "id": "last"}));
    let refused = harry.until("rejected").await;
    assert_eq!(
        (&refused["reason"], &refused["id"]),
        (&json!("bad_field"), &json!("m"))
    );
    assert_eq!(harry.until("rejected").await["reason"], "unsupported");
    let refused = harry.until("rejected").await;
    assert_eq!(
        (&refused["reason"], &refused["id"]),
        (&json!("rate_limited"), &json!("last"))
    );
}

#[tokio::test(start_paused = true)]
async fn bad_frames_end_the_session_also_when_it_is_limited() {
    let (_world, gateway) = limited(Config {
        session_rate: 1,
        session_burst: 10,
        ..Config::default()
    })
    .await;
    let mut harry = gateway.join(join("harry")).await;
    flood(&mut harry, "m", 20).await;
    (0..20).for_each(|_| harry.say(&json!("nonsense")));
    assert_eq!(harry.end().await.code(), 4002);
}

#[tokio::test(start_paused = true)]
async fn the_sessions_of_a_user_share_a_limit_in_all_rooms_and_survive_no_reconnect() {
    let (_world, gateway) = limited(Config {
        user_rate: 10,
        user_burst: 100,
        ..Config::default()
    })
    .await;
    let mut first = gateway.join(in_room("aaa", "harry")).await;
    let mut second = gateway.join(in_room("bbb", "harry")).await;
    let stranger = Join {
        key: Key::parse("other").unwrap(),
        ..in_room("ccc", "harry")
    };
    let mut stranger = gateway.join(stranger).await;
    assert_eq!(flood(&mut first, "a", 100).await.0, 100);
    assert!(flood(&mut second, "b", 20).await.0 < 5);
    drop(second);
    let mut again = gateway.join(in_room("bbb", "harry")).await;
    assert!(
        flood(&mut again, "c", 20).await.0 < 5,
        "a new session begins no new burst of its user"
    );
    assert_eq!(
        flood(&mut stranger, "d", 50).await.0,
        50,
        "the same name with another key is somebody else"
    );
    advance(Duration::from_secs(10)).await;
    assert_eq!(flood(&mut first, "e", 90).await.0, 90);
}

#[tokio::test(start_paused = true)]
async fn the_clients_of_an_address_share_a_limit() {
    let (_world, gateway) = limited(Config {
        address_rate: 10,
        address_burst: 100,
        ..Config::default()
    })
    .await;
    let (here, there) = (
        gateway.handle.client(address("192.0.2.1")),
        gateway.handle.client(address("192.0.2.2")),
    );
    let mut harry = gateway.join_of(&here, join("harry")).await.unwrap();
    let mut charly = gateway.join_of(&here, join("charly")).await.unwrap();
    let mut dora = gateway.join_of(&there, join("dora")).await.unwrap();
    assert_eq!(flood(&mut harry, "a", 90).await.0, 90);
    assert!(flood(&mut charly, "b", 50).await.0 < 20);
    assert_eq!(flood(&mut dora, "c", 50).await.0, 50);
    // The same address, as a new connection sees it.
    let again = gateway.handle.client(address("::ffff:192.0.2.1"));
    let page = gateway
        .handle
        .history(&again, &RoomId::parse("aaa").unwrap(), None, 500)
        .await;
    assert_eq!(page.unwrap_err().reason, Reason::RateLimited);
    let page = gateway
        .handle
        .history(&there, &RoomId::parse("aaa").unwrap(), None, 500)
        .await;
    assert!(matches!(page, Ok(ServerFrame::History { .. })));
}

#[tokio::test(start_paused = true)]
async fn bytes_have_limits_of_their_own_per_session_user_and_address() {
    /// What 64 KiB of sealed content is in JSON.
    const LARGE: u32 = 88 * 1024;
    let config = Config {
        session_bytes_rate: LARGE,
        session_bytes_burst: 4 * LARGE,
        user_bytes_rate: LARGE,
        user_bytes_burst: 6 * LARGE,
        address_bytes_rate: LARGE,
        address_bytes_burst: 9 * LARGE,
        ..Config::default()
    };
    let (_world, gateway) = limited(config).await;
    let (here, there) = (
        gateway.handle.client(address("192.0.2.1")),
        gateway.handle.client(address("192.0.2.2")),
    );
    let mut first = gateway
        .join_of(&here, in_room("aaa", "harry"))
        .await
        .unwrap();
    let mut second = gateway
        .join_of(&here, in_room("bbb", "harry"))
        .await
        .unwrap();
    let mut charly = gateway
        .join_of(&here, in_room("ccc", "charly"))
        .await
        .unwrap();
    let mut dora = gateway
        .join_of(&there, in_room("ddd", "dora"))
        .await
        .unwrap();
    assert_eq!(flood_large(&mut first, "a", 6).await, 4, "a session");
    assert_eq!(
        flood_large(&mut second, "b", 4).await,
        2,
        "what the user has left"
    );
    assert_eq!(
        flood_large(&mut charly, "c", 4).await,
        3,
        "what the address has left"
    );
    assert_eq!(
        flood_large(&mut dora, "d", 4).await,
        4,
        "nobody else pays for it"
    );
    sleep(Duration::from_secs(1)).await;
    assert_eq!(flood_large(&mut charly, "e", 3).await, 1);
    sleep(Duration::from_secs(20)).await;
    // What is not understood counts by its bytes too, and so does what nobody asked for in a frame
    // that is.
    for _ in 0..2 {
        first.say(&json!({ "nonsense": "x".repeat(88_000) }));
        assert_eq!(first.until("rejected").await["reason"], "bad_frame");
        first.say(&json!({ "type": "ping", "id": "p", "nonsense": "x".repeat(88_000) }));
        assert_eq!(first.until("pong").await["id"], "p");
    }
    assert_eq!(flood_large(&mut first, "v", 1).await, 0);
    let room = RoomId::parse("aaa").unwrap();
    let message = |id: &str| Message {
        id: CommandId::parse(id),
        to: None,
        body: Body::Sealed(vec![0; 65_536].into()),
    };
    let (user, key) = (join("emil").user, join("emil").key);
    let mut posted = 0;
    for n in 0..10 {
        posted += usize::from(
            gateway
                .handle
                .post(
                    &room,
                    user.clone(),
                    claimed(&key),
                    message(&format!("p{n}")),
                )
                .await
                .is_ok(),
        );
    }
    assert_eq!(posted, 8, "messages without a session count for the user");
}

#[tokio::test(start_paused = true)]
async fn joins_of_an_address_have_a_limit_of_their_own() {
    let (_world, gateway) = limited(Config {
        join_rate: 10,
        join_burst: 10,
        ..Config::default()
    })
    .await;
    let here = gateway.handle.client(address("2001:db8::1"));
    let mut sessions = Vec::new();
    let refused = loop {
        match gateway
            .join_of(&here, in_room("aaa", &format!("user{}", sessions.len())))
            .await
        {
            Ok(session) => sessions.push(session),
            Err(rejection) => break rejection,
        }
    };
    assert!((10..20).contains(&sessions.len()), "{}", sessions.len());
    assert_eq!(refused.reason, Reason::RateLimited);
    let neighbour = gateway.handle.client(address("2001:db8::ffff:0:0:2"));
    assert_eq!(
        gateway
            .join_of(&neighbour, join("neighbour"))
            .await
            .err()
            .unwrap()
            .reason,
        Reason::RateLimited,
        "the same /64"
    );
    let other = gateway.handle.client(address("2001:db8:0:1::1"));
    gateway.join_of(&other, join("other")).await.unwrap();
    sleep(Duration::from_millis(refused.retry_after_ms.unwrap())).await;
    gateway.join_of(&here, join("later")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_address_is_in_so_many_rooms_at_a_time() {
    let (_world, gateway) = limited(Config {
        rooms_per_address: 3,
        ..Config::default()
    })
    .await;
    let here = gateway.handle.client(address("192.0.2.1"));
    let mut sessions = Vec::new();
    for room in ["a", "b", "c", "a"] {
        sessions.push(
            gateway
                .join_of(&here, in_room(room, "harry"))
                .await
                .unwrap(),
        );
    }
    assert_eq!(
        gateway
            .join_of(&here, in_room("d", "harry"))
            .await
            .err()
            .unwrap()
            .reason,
        Reason::RateLimited
    );
    let watched = gateway
        .handle
        .watch(&here, &RoomId::parse("d").unwrap(), Default::default())
        .await;
    assert_eq!(watched.err().unwrap().reason, Reason::RateLimited);
    drop(sessions.remove(1));
    gateway.join_of(&here, in_room("d", "harry")).await.unwrap();
    drop(sessions.remove(0));
    assert!(
        gateway.join_of(&here, in_room("e", "harry")).await.is_ok(),
        "the client in d has gone already"
    );
}

#[tokio::test(start_paused = true)]
async fn with_little_memory_new_clients_and_then_messages_are_refused_until_there_is_more() {
    let (_world, gateway) = limited(Config::default()).await;
    let pressure = gateway.handle.pressure();
    let mut harry = gateway.join(join("harry")).await;
    pressure.set(Level::Tight);
    let refused = gateway.handle.join(join("sally")).await.err().unwrap();
    assert_eq!(
        (refused.reason, refused.retry_after_ms),
        (Reason::Unavailable, Some(5_000))
    );
    assert_eq!(flood(&mut harry, "tight", 10).await.0, 10);
    pressure.set(Level::Short);
    let (journaled, refused) = flood(&mut harry, "short", 10).await;
    assert_eq!(journaled, 0);
    refused
        .iter()
        .for_each(|frame| assert_eq!(frame["reason"], "busy"));
    let post = || {
        let Join {
            room, user, key, ..
        } = join("kim");
        let message = Message {
            id: CommandId::parse("p1"),
            to: None,
            body: Body::Text("Hello".into()),
        };
        let handle = gateway.handle.clone();
        async move { handle.post(&room, user, claimed(&key), message).await }
    };
    let refused = post().await.unwrap();
    assert!(
        matches!(&refused, ServerFrame::Rejected { id: Some(id), rejection }
            if &**id == "p1" && rejection.reason == Reason::Busy),
        "{refused:?}"
    );
    pressure.set(Level::Fine);
    assert!(matches!(
        post().await.unwrap(),
        ServerFrame::Journaled {
            duplicate: false,
            ..
        }
    ));
    // What was refused may be sent again with the same ids.
    assert_eq!(flood(&mut harry, "short", 10).await.0, 10);
    gateway.join(join("sally")).await;
}

#[tokio::test(start_paused = true)]
async fn who_brings_too_many_names_is_held_back_and_those_that_a_room_knows_are_let_in() {
    let (_world, gateway) = limited(Config {
        new_names_rate: 60,
        new_names_burst: 3,
        ..Config::default()
    })
    .await;
    let (here, there) = ("192.0.2.1", "192.0.2.2");
    assert_eq!(turned_away(&gateway, there, "r1", "elsewhere").await, None);
    for user in ["n1", "n2", "n3"] {
        assert_eq!(turned_away(&gateway, here, "r1", user).await, None);
    }
    let refused = turned_away(&gateway, here, "r1", "n4").await.unwrap();
    assert_eq!(refused.reason, Reason::RateLimited);
    assert!(
        refused.message.contains("names that rooms do not know"),
        "{refused}"
    );
    let wait = refused.retry_after_ms.unwrap();
    assert!((50_000..=60_000).contains(&wait), "{wait}");
    // Whoever was here costs nothing, wherever from, and nobody else pays.
    assert_eq!(turned_away(&gateway, here, "r1", "n1").await, None);
    assert_eq!(turned_away(&gateway, here, "r1", "elsewhere").await, None);
    assert_eq!(turned_away(&gateway, there, "r1", "n4").await, None);

    // A message brings a name as a session does.
    let post = async |user: &str| {
        let Join { user, key, .. } = join(user);
        let message = Message {
            id: CommandId::parse("p1"),
            to: None,
            body: Body::Text("Hello".into()),
        };
        let room = RoomId::parse("r1").unwrap();
        let client = gateway.handle.client(address(here));
        let posted = gateway
            .handle
            .post_of(&client, &room, user, claimed(&key), message);
        posted.await.unwrap()
    };
    let refused = post("n5").await;
    assert!(
        matches!(&refused, ServerFrame::Rejected { rejection, .. }
            if rejection.reason == Reason::RateLimited),
        "{refused:?}"
    );
    assert!(matches!(post("n2").await, ServerFrame::Journaled { .. }));
    sleep(Duration::from_millis(wait)).await;
    assert!(matches!(post("n5").await, ServerFrame::Journaled { .. }));
}
