//! The client for everybody, against real nodes: what it promises to whoever embeds it.

use crate::{
    BOTH,
    support::{Cluster, Node},
};
use safe_chat_client::{
    Body, Builder, Client, Duplicate, Event, Message, Notice, Protocol, SendError,
};
use std::time::Duration;
use tokio::time::timeout;

/// Longer than anything takes in one process.
const PATIENCE: Duration = Duration::from_secs(20);

fn builder(nodes: &[&Node], room: &str, user: &str) -> Builder {
    let url = |node: &&Node| format!("http://{}", node.client_address().expect("a gateway"));
    Client::builder()
        .gateways(nodes.iter().map(url))
        .room(room)
        .user(user)
        .key(format!("key-of-{user}"))
}

async fn joins(builder: Builder) -> Client {
    builder.connect().await.expect("a node that takes clients")
}

/// Events up to a place.
async fn reads_until(client: &mut Client, seq: u64) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    while events.last().is_none_or(|event| event.seq < seq) {
        let event = timeout(PATIENCE, client.next_event()).await;
        events.push(event.expect("an event in time").expect("a client"));
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_shows_the_same_room_and_journals_what_it_says() {
    let cluster = Cluster::new(16);
    let node = cluster.node("first", &BOTH).await;
    node.ready().await;
    let protocols = [Protocol::Json, Protocol::Proto, Protocol::Text];
    let mut clients = Vec::new();
    for (protocol, user) in protocols.into_iter().zip(["json", "proto", "text"]) {
        let builder = builder(&[&node], "aaa", user).protocol(protocol);
        clients.push(joins(builder.history(10)).await);
    }
    for (n, client) in clients.iter().enumerate() {
        let hello = Message::text(format!("Hello\t{n}")).to("everybody");
        let receipt = client.send(hello).await.unwrap();
        assert_eq!(
            (receipt.seq, receipt.duplicate),
            (4 + n as u64, Duplicate::No)
        );
    }
    let mut rooms = Vec::new();
    for client in &mut clients {
        rooms.push(reads_until(client, 6).await);
    }
    assert_eq!(rooms[0], rooms[1]);
    let lines = |room: &[Event]| -> Vec<_> {
        let line = |event: &Event| {
            let text = event.text().map(|text| text.replace('\t', "\\u{9}"));
            (
                event.seq,
                event.kind().to_owned(),
                event.from.clone(),
                event.to.clone(),
                text,
            )
        };
        room.iter().map(line).collect()
    };
    assert_eq!(lines(&rooms[0]), lines(&rooms[2]));
    assert_eq!(rooms[0][0].body, Body::Joined);

    let members = clients[1].members().await.unwrap();
    assert_eq!(members, ["json", "proto", "text"]);
    let page = clients[0].history(Some(6), 2).await.unwrap();
    let seqs: Vec<_> = page.events.iter().map(|event| event.seq).collect();
    assert_eq!((seqs, page.more), (vec![4, 5], true));
    clients[0].ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_a_node_that_drains_goes_on_at_another_one_and_misses_nothing() {
    let cluster = Cluster::new(16);
    let (first, second) = (
        cluster.node("first", &BOTH).await,
        cluster.node("second", &BOTH).await,
    );
    first.ready().await;
    second.ready().await;
    let mut harry = joins(builder(&[&first, &second], "aaa", "harry")).await;
    let mut charly = joins(builder(&[&second], "aaa", "charly")).await;
    reads_until(&mut harry, 2).await;
    let draining = tokio::spawn(first.drain());
    for n in 0..10 {
        let both = tokio::join!(
            harry.send(format!("harry {n}")),
            charly.send(format!("charly {n}"))
        );
        both.0.unwrap();
        both.1.unwrap();
    }
    draining.await.unwrap();
    let last = charly.send("the end").await.unwrap().seq;
    let (of_harry, of_charly) = (
        reads_until(&mut harry, last).await,
        reads_until(&mut charly, last).await,
    );
    assert_eq!(of_harry, of_charly);
    let seqs: Vec<_> = of_harry.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (3..=last).collect::<Vec<_>>());
    let texts = of_harry.iter().filter(|event| event.text().is_some());
    assert_eq!(texts.count(), 21);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_used_before_is_a_duplicate_and_what_cannot_be_is_rejected() {
    let cluster = Cluster::new(4);
    let node = cluster.node("first", &BOTH).await;
    node.ready().await;
    let client = joins(builder(&[&node], "aaa", "harry")).await;
    let message = Message::text("Hello").with_id("m1");
    let first = client.send(message.clone()).await.unwrap();
    client.close().await;
    // Another process of the same user does not know that it was sent.
    let client = joins(builder(&[&node], "aaa", "harry")).await;
    let again = client.send(message).await.unwrap();
    assert_eq!((again.seq, again.duplicate), (first.seq, Duplicate::Yes));
    let refused = client.send(Message::text("")).await;
    assert!(
        matches!(&refused, Err(SendError::Rejected { reason, .. }) if reason == "bad_field"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_knows_how_far_it_has_read_goes_on_there() {
    let cluster = Cluster::new(4);
    let node = cluster.node("first", &BOTH).await;
    node.ready().await;
    let mut client = joins(builder(&[&node], "aaa", "harry")).await;
    client.send("one").await.unwrap();
    let seq = reads_until(&mut client, 2).await.last().unwrap().seq;
    client.send("two").await.unwrap();
    client.close().await;
    let mut client = joins(builder(&[&node], "aaa", "harry").since(seq)).await;
    let Some(Notice::Connected { welcome, .. }) = client.next().await else {
        panic!("not told that it is connected")
    };
    assert!(welcome.recovered);
    let text = reads_until(&mut client, 3).await[0]
        .text()
        .map(str::to_owned);
    assert_eq!(text.as_deref(), Some("two"));
}
