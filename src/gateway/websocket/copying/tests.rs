//! A session on a pipe, in virtual time: silence, slow and loud clients, large frames.

use super::*;
use crate::{
    bus::{self, Ask, Bus, Inbound, RoomView, memory::Hub},
    gateway::{Config, Join, Service, StartAt},
    journal::{memory::Database, readback::Partitions},
    room::{Epoch, Identity, Incarnation, Key, RoomId, Seq, UserId},
    wire::Protocol,
};
use std::sync::Arc;
use tokio::io::{DuplexStream, duplex};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Silence after which a client is closed.
const SILENCE_MOST: Duration = SILENCE.saturating_add(PATIENCE);

/// A session of a room whose owner lets everybody in, served on a pipe.
async fn connect(pipe: usize) -> WebSocketStream<DuplexStream> {
    connect_with(Config::default(), Vec::new(), Protocol::Text, pipe).await
}

async fn connect_with(
    settings: Config,
    members: Vec<UserId>,
    protocol: Protocol,
    pipe: usize,
) -> WebSocketStream<DuplexStream> {
    let (hub, config) = (Hub::default(), bus::memory::Config::default());
    let (me, room) = (
        Incarnation::new(Uuid::from_u128(1)),
        RoomId::parse("aaa").unwrap(),
    );
    tokio::spawn(own(Arc::new(hub.connect()), me, room.clone(), members));
    let journal = Arc::new(Database::new(Partitions::new(1000)).connect(config.shards));
    let service = Service::seeded(settings, me, "node", Arc::new(hub.connect()), journal, 1);
    let handle = service.handle();
    tokio::spawn(async move { service.attach(CancellationToken::new()).await });
    let (user, key) = (UserId::parse("harry").unwrap(), Key::parse("key").unwrap());
    let join = Join {
        room,
        user,
        key,
        identity: Identity::Claimed,
        device: None,
        from: StartAt::default(),
        protocol,
        policy: None,
        former: None,
    };
    let session = handle.join(join).await.unwrap();
    let (near, far) = duplex(pipe);
    tokio::spawn(serve(near, session));
    WebSocketStream::from_raw_socket(far, Role::Client, None).await
}

async fn own(bus: Arc<dyn Bus>, gateway: Incarnation, room: RoomId, members: Vec<UserId>) {
    let shard = bus::memory::Config::default().shards.of(&room);
    let view = RoomView {
        epoch: Epoch(1),
        head: Seq::ZERO,
        members,
        snapshot: Seq::ZERO,
        ..RoomView::default()
    };
    let mut questions = bus.questions(shard).await.unwrap();
    let mut commands = bus.commands(shard, bus::Position::ZERO).await.unwrap();
    loop {
        tokio::select! {
            Some(bus::Question { ask: Ask { .. }, respond }) = questions.next() => respond(view.clone()),
            Some(command) = commands.next() => if let Some(reply) = command.submission.reply {
                let answered = bus::Answered::Journaled { seq: Seq::ZERO, epoch: Epoch(1), duplicate: false };
                bus.tell(gateway, &Inbound::Answer(bus::Answer { tag: reply.tag, answered })).await.unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_pinged_after_25_s_and_closed_after_35() {
    let mut client = connect(4096).await;
    let started = Instant::now();
    assert!(
        matches!(client.next().await, Some(Ok(Message::Text(_)))),
        "the welcome"
    );
    assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
    assert_eq!(started.elapsed().as_secs(), 25);
    // That ping is answered when the client reads on, and all begins again.
    assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
    assert_eq!(started.elapsed().as_secs(), 50);
    // This one is not: the rest is read raw. The answer to the close frame is waited for as well.
    let mut bytes = Vec::new();
    client.get_mut().read_to_end(&mut bytes).await.unwrap();
    let code = 4006_u16.to_be_bytes();
    assert!(bytes.windows(2).any(|pair| pair == code));
    assert_eq!(started.elapsed(), SILENCE + SILENCE_MOST + CLOSE_LINGER);
}

#[tokio::test(start_paused = true)]
async fn after_a_freeze_the_client_is_pinged_before_it_is_judged() {
    let mut client = connect(4096).await;
    assert!(
        matches!(client.next().await, Some(Ok(Message::Text(_)))),
        "the welcome"
    );
    tokio::time::advance(3 * SILENCE_MOST).await;
    assert!(matches!(client.next().await, Some(Ok(Message::Ping(_)))));
    // The answer goes out with the next reading.
    assert!(
        matches!(client.next().await, Some(Ok(Message::Ping(_)))),
        "it is there, and silent again"
    );
}

#[tokio::test(start_paused = true)]
async fn half_a_frame_is_no_sign_of_life() {
    let mut client = connect(4096).await;
    let started = Instant::now();
    // The head of a masked text frame of 100000 bytes, of which one comes each second.
    let raw = client.get_mut();
    raw.write_all(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0x86, 0xa0, 0, 0, 0, 0])
        .await
        .unwrap();
    while raw.write_all(b"x").await.is_ok() && started.elapsed() < 2 * SILENCE_MOST {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let mut bytes = Vec::new();
    raw.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.windows(2).any(|pair| pair == 4006_u16.to_be_bytes()));
    assert!(
        started.elapsed() <= SILENCE_MOST + CLOSE_DEADLINE + CLOSE_LINGER,
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn the_welcome_of_a_large_room_fits_into_the_smallest_backlog() {
    let members: Vec<UserId> = (0..50_000)
        .map(|n| UserId::parse(&format!("a-member-with-a-long-name-{n}")).unwrap())
        .collect();
    let smallest = Config {
        backlog_bytes: 256 * 1024,
        ..Config::default()
    };
    let mut client = connect_with(smallest, members, Protocol::Json, 64 * 1024).await;
    let Some(Ok(Message::Text(welcome))) = client.next().await else {
        panic!("a welcome")
    };
    assert!(welcome.len() < 256 * 1024, "{}", welcome.len());
    assert!(welcome.contains(r#""member_count":50000"#));
    client
        .send(Message::text("not a line of the protocol"))
        .await
        .unwrap();
    let Some(Ok(Message::Text(answer))) = client.next().await else {
        panic!("an answer")
    };
    assert!(answer.contains("bad_frame"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn pongs_that_nobody_takes_are_bounded_as_the_backlog_is() {
    let unlimited = Config {
        session_rate: 0,
        user_rate: 0,
        session_bytes_rate: 0,
        user_bytes_rate: 0,
        ..Config::default()
    };
    let mut client = connect_with(unlimited, Vec::new(), Protocol::Text, 1024).await;
    // 100000 pings of 125 bytes, mask 0; nothing is read meanwhile.
    let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
    for _ in 0..100_000 {
        client.get_mut().write_all(&ping).await.unwrap();
    }
    client
        .send(Message::text("not a line of the protocol"))
        .await
        .unwrap();
    let mut pongs = 0;
    loop {
        match client.next().await.unwrap().unwrap() {
            Message::Pong(_) => pongs += 1,
            Message::Text(text) if text.starts_with("!rejected bad_frame") => break,
            _ => {}
        }
    }
    assert!(
        pongs * 127 <= 2 * Config::default().backlog_bytes,
        "{pongs}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_more_than_it_may_is_not_listened_to_for_a_while() {
    let slow = Config {
        session_rate: 10,
        session_burst: 10,
        ..Config::default()
    };
    let mut client = connect_with(slow, Vec::new(), Protocol::Text, 1024).await;
    let started = Instant::now();
    let ping = [&[0x89, 0xfd, 0, 0, 0, 0][..], &[b'p'; 125]].concat();
    let (mut reader, mut writer) = tokio::io::split(client.get_mut());
    let write = async {
        for _ in 0..120 {
            writer.write_all(&ping).await.unwrap();
        }
    };
    let read = async {
        let mut waste = [0; 1024];
        while reader.read(&mut waste).await.is_ok_and(|count| count > 0) {}
    };
    tokio::select! {
        () = write => {}
        () = read => panic!("it was closed"),
    }
    // 10 at once, 10 per second, and some that wait in buffers.
    assert!(
        (Duration::from_secs(5)..=Duration::from_secs(12)).contains(&started.elapsed()),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_dropped_within_the_deadlines() {
    let mut client = connect(16).await;
    let started = Instant::now();
    // The pipe is full with a part of the welcome. Nothing more fits, not even the close frame.
    tokio::time::sleep(SILENCE_MOST + CLOSE_DEADLINE + CLOSE_LINGER).await;
    let mut bytes = Vec::new();
    client.get_mut().read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.len() <= 16, "the other end is gone");
    assert_eq!(
        started.elapsed(),
        SILENCE_MOST + CLOSE_DEADLINE + CLOSE_LINGER
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_without_end_is_read_at_the_rate_of_its_bytes() {
    let settings = Config {
        session_bytes_rate: 64 * 1024,
        session_bytes_burst: 256 * 1024,
        ..Config::default()
    };
    let mut client = connect_with(settings, Vec::new(), Protocol::Text, 64 * 1024).await;
    let (begin, go_on) = ([0x01, 0x80, 0, 0, 0, 0], [0x00, 0x80, 0, 0, 0, 0]);
    let io = client.get_mut();
    io.write_all(&begin).await.unwrap();
    let fragments = go_on.repeat(1_000_000);
    assert!(
        timeout(Duration::from_secs(10), io.write_all(&fragments))
            .await
            .is_err(),
        "all of it was read"
    );
}
