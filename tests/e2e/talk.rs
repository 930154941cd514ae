//! What people at different nodes see of each other, in every protocol.

use crate::{
    cluster::Cluster,
    person::{JSON, PROTO, Person, TEXT},
};
use safe_chat::proto::client::v1::{Event, event::Content, server_frame::Frame};
use serde_json::{Value, json};

pub(crate) async fn two_people_at_two_nodes_read_the_same_lines(cluster: Cluster) {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let mut harry = Person::joins(&first, "aaa", "harry", "key-harry", TEXT).await;
    assert_eq!(
        harry.lines(2).await,
        ["harry:aaa:connected", "[aaa:1 - harry joined]"]
    );
    let mut charly = Person::joins(&second, "aaa", "charly", "key-charly", TEXT).await;
    assert_eq!(
        charly.lines(3).await,
        [
            "charly:aaa:connected",
            "[aaa:1 - harry joined]",
            "[aaa:2 - charly joined]"
        ]
    );
    harry.types("harry:charly:Hello").await;
    let hello = ["[aaa:2 - charly joined]", "[aaa:3 - harry -> charly] Hello"];
    assert_eq!(harry.lines(2).await, hello);
    assert_eq!(charly.line().await, hello[1]);
    charly.types("charly:*:to: all").await;
    for person in [&mut harry, &mut charly] {
        assert_eq!(person.line().await, "[aaa:4 - charly -> *] to: all");
    }
    drop(harry);
    assert_eq!(charly.line().await, "[aaa:5 - harry left]");
}

pub(crate) async fn json_and_protobuf_show_the_same_events(cluster: Cluster) {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let mut harry = Person::joins(&first, "aaa", "harry", "key-harry", JSON).await;
    let mut charly = Person::joins(&second, "aaa", "charly", "key-charly", PROTO).await;
    harry.says("h1", "from harry").await;
    charly.says_in_proto("c1", "from charly").await;

    let frames = harry.reads_until_events(4).await;
    let (mut events, mut answers) = (Vec::new(), Vec::new());
    while events.len() < 4
        || !answers
            .iter()
            .any(|answer| matches!(answer, Frame::Journaled(_)))
    {
        match charly.proto().await {
            Frame::Event(event) => events.push(event),
            answer => answers.push(answer),
        }
    }
    assert_eq!(frames, events.iter().map(as_json).collect::<Vec<_>>());
    let place = |id: &str| {
        events
            .iter()
            .find(|event| event.id.as_deref() == Some(id))
            .map(|event| event.seq)
    };
    assert!(
        matches!(&answers[0], Frame::Welcome(welcome) if welcome.seq == 2 && welcome.members == ["charly", "harry"]),
        "{answers:?}"
    );
    let Some(Frame::Journaled(journaled)) = answers.last() else {
        panic!("{answers:?}")
    };
    assert_eq!(
        (
            journaled.id.as_str(),
            Some(journaled.seq),
            journaled.duplicate
        ),
        ("c1", place("c1"), false)
    );
    let accepted = &answers[1..answers.len() - 1];
    assert!(
        accepted
            .iter()
            .all(|answer| matches!(answer, Frame::Accepted(accepted) if accepted.id == "c1")),
        "{answers:?}"
    );
}

pub(crate) async fn a_message_that_is_sent_again_keeps_its_place(cluster: Cluster) {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let mut harry = Person::joins_in_json(&first, "aaa", "harry", "key-harry").await;
    harry.says("m1", "Hello").await;
    let answer = harry.next("journaled").await;
    let epoch = &answer["epoch"];
    assert_eq!(
        answer,
        json!({ "type": "journaled", "id": "m1", "seq": 2, "epoch": epoch, "duplicate": false })
    );
    // At once at the same node, and later at another one.
    harry.says("m1", "Hello").await;
    let again = harry.next("journaled").await;
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&json!(2), &json!(true))
    );
    let mut elsewhere = Person::joins_in_json(&second, "aaa", "harry", "key-harry").await;
    elsewhere.says("m1", "Hello").await;
    let again = elsewhere.next("journaled").await;
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&json!(2), &json!(true))
    );
    assert_eq!(second.head("aaa").await, 2);
}

pub(crate) async fn nodes_with_one_role_each_work_together(cluster: Cluster) {
    let roles = |role| ["--roles", role];
    let (gateway, writer) = (roles("gateway"), roles("writer"));
    let (first, second, _third, _fourth) = tokio::join!(
        cluster.node_with("first", &gateway),
        cluster.node_with("second", &gateway),
        cluster.node_with("third", &writer),
        cluster.node_with("fourth", &writer),
    );
    let mut harry = Person::joins_in_json(&first, "aaa", "harry", "key-harry").await;
    let mut charly = Person::joins_in_json(&second, "aaa", "charly", "key-charly").await;
    harry.says("h1", "Hello").await;
    charly.events_until(3).await;
    charly.says("c1", "Hello").await;
    assert_eq!(
        harry
            .events_until(4)
            .await
            .last()
            .map(|event| event["id"].clone()),
        Some(json!("c1"))
    );
}

impl Person {
    /// Events in JSON, until there are so many.
    async fn reads_until_events(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next("event").await);
        }
        events
    }
}

/// The JSON form of an event in protobuf.
fn as_json(event: &Event) -> Value {
    let mut json = json!({ "type": "event", "seq": event.seq, "at": event.at, "kind": event.kind, "from": event.from });
    let text = match &event.content {
        Some(Content::Text(text)) => Some(text),
        Some(Content::Sealed(_) | Content::Handshake(_)) => {
            panic!("nobody sent sealed content")
        }
        None => None,
    };
    for (name, value) in [
        ("to", event.to.as_ref()),
        ("text", text),
        ("id", event.id.as_ref()),
    ] {
        if let Some(value) = value {
            json[name] = value.as_str().into();
        }
    }
    json
}
