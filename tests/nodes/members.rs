//! The routes of Akka Management, to the letter.

use crate::{
    manage::{BOTH, ask, get, two},
    person::Person,
    support::{Cluster, Node, eventually},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::StreamExt;
use reqwest::Method;
use safe_chat::bus::Role;
use seal::Handshake;
use serde_json::{Value, json};
use std::cell::RefCell;

fn address(node: &Node) -> String {
    format!("safe-chat@{}", node.internal_address())
}

pub(crate) async fn settled(node: &Node, members: usize) -> Value {
    let told = RefCell::new(Value::Null);
    eventually("all members are up", async || {
        // Whoever asks too often is told so, and asks again.
        let (_, answer) = ask(node, Method::GET, "/cluster/members").await;
        let is_up = answer["members"].as_array().is_some_and(|all| {
            all.len() == members && all.iter().all(|member| member["status"] == "Up")
        });
        told.replace(answer);
        is_up
    })
    .await;
    told.into_inner()
}

async fn put(node: &Node, member: &str, kind: &str, body: &str) -> (u16, Value) {
    let url = format!(
        "http://{}/cluster/members/{member}",
        node.internal_address()
    );
    let request = reqwest::Client::new().put(url).header("content-type", kind);
    let answer = request
        .basic_auth("admin", Some("safe-chat"))
        .body(body.to_owned())
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_told_as_akka_tells_them() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let answer = settled(&first, 2).await;
    let (one, other) = (address(&first), address(&second));
    assert_eq!(answer["selfNode"], one);
    assert_eq!(answer["unreachable"], json!([]));
    assert_eq!(answer["oldest"], one);
    let ports = [&first, &second].map(|node| node.internal_address().port());
    let lowest = if ports[0] < ports[1] { &one } else { &other };
    assert_eq!(answer["leader"], *lowest);
    let roles = json!({"gateway": one, "writer": one, "dc-default": one});
    assert_eq!(answer["oldestPerRole"], roles);
    for member in answer["members"].as_array().unwrap() {
        assert_eq!(member["roles"], json!(["gateway", "writer", "dc-default"]));
        assert!(member["nodeUid"].as_str().unwrap().parse::<u64>().is_ok());
        assert_eq!(member["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(member["formats"], safe_chat::bus::FORMATS);
    }
    settled(&second, 2).await;
    let again = get(&second, "/cluster/members/").await;
    assert_eq!(again["members"], answer["members"], "the same to everybody");

    let mine = get(&first, &format!("/cluster/members/{other}")).await;
    assert_eq!(mine["node"], other);
    let escaped = format!("akka%3A%2F%2F{}", other.replace('@', "%40"));
    let host = other.strip_prefix("safe-chat@").unwrap();
    for form in [&format!("akka://{other}"), &escaped, host, "second"] {
        assert_eq!(get(&first, &format!("/cluster/members/{form}")).await, mine);
    }
    let missing = ask(&first, Method::GET, "/cluster/members/safe-chat@1.2.3.4:5").await;
    let message = json!({"message": "Member [safe-chat@1.2.3.4:5] not found"});
    assert_eq!(missing, (404, message.clone()));
    for method in [Method::PUT, Method::DELETE] {
        let missing = ask(&first, method, "/cluster/members/safe-chat@1.2.3.4:5").await;
        assert_eq!(missing, (404, message.clone()));
    }
    let form = "application/x-www-form-urlencoded";
    let unsupported = (400, json!({"message": "Operation not supported"}));
    for body in ["operation=Join", "", "operation="] {
        assert_eq!(put(&first, &other, form, body).await, unsupported, "{body}");
    }
    let seeds = get(&second, "/bootstrap/seed-nodes").await;
    assert_eq!(seeds["selfNode"], other);
    assert_eq!(seeds["seedNodes"], answer["members"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_told_as_akka_tells_them() {
    let cluster = Cluster::new(4);
    let node = cluster.node("writes", &BOTH).await;
    let gateway = cluster.node("gateway", &[Role::Gateway]).await;
    node.ready().await;
    gateway.ready().await;
    assert_eq!(
        get(&node, "/cluster/shards").await,
        json!({"entityTypeKeys": ["chat-rooms"]})
    );
    let mut harry = crate::person::Person::joins(&gateway, "aaa", "harry", "").await;
    harry.reads_until(1).await;
    eventually("the room is counted", async || {
        let answer = get(&node, "/cluster/shards/chat-rooms").await;
        let regions = answer["regions"].as_array().unwrap();
        let counts = regions.iter().map(|shard| shard["numEntities"].as_u64());
        let named = |shard: &Value| shard["shardId"].is_string();
        assert!(regions.len() == 4 && regions.iter().all(named), "{answer}");
        assert_eq!(answer["failed"], json!([]));
        counts.sum::<Option<u64>>() == Some(1)
    })
    .await;
    let own = get(&gateway, "/cluster/shards/chat-rooms").await;
    assert_eq!(own, json!({"regions": [], "failed": []}));
    let stats = get(&gateway, "/cluster/shards/chat-rooms/stats").await;
    let regions = stats["regions"].as_array().unwrap();
    assert!(
        regions.len() == 4 && stats["failed"] == json!([]),
        "{stats}"
    );
    assert!(regions.iter().all(|shard| shard["node"] == address(&node)));
    assert_eq!(
        ask(&node, Method::GET, "/cluster/shards/nonsense").await,
        (
            404,
            json!({"message": "Shard Region nonsense is not started"})
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_leaves_whichever_node_is_asked() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    settled(&first, 2).await;
    let other = address(&second);
    let (parts, kind) = (
        "--x\r\nContent-Disposition: form-data; name=\"operation\"\r\n\r\nleave\r\n--x--\r\n",
        "multipart/form-data; boundary=x",
    );
    let leaving = (200, json!({"message": format!("Leaving {other}")}));
    assert_eq!(put(&first, &other, kind, parts).await, leaving);
    second.unwanted().cancelled().await;
    second.drain().await;
    eventually("it is forgotten", async || {
        ask(&first, Method::GET, &format!("/cluster/members/{other}"))
            .await
            .0
            == 404
    })
    .await;
    let me = address(&first);
    let leaving = (200, json!({"message": format!("Leaving {me}")}));
    let path = format!("/cluster/members/{me}");
    assert_eq!(ask(&first, Method::DELETE, &path).await, leaving);
    first.unwanted().cancelled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_of_one_name_warn_until_one_is_gone_and_none_leaves_by_that_name() {
    let cluster = Cluster::new(4);
    let first = cluster.node("twin", &BOTH).await;
    let second = cluster.node("twin", &BOTH).await;
    settled(&first, 2).await;
    settled(&second, 2).await;
    for (node, other) in [(&first, &second), (&second, &first)] {
        node.ready().await;
        let ready = get(node, "/ready").await;
        let said = ready["warnings"][0].as_str().unwrap();
        assert!(said.contains("node.name twin is also"), "{said}");
        assert!(said.contains(&other.incarnation().to_string()), "{said}");
    }
    for operation in ["Leave", "Down"] {
        let body = format!(r#"{{"operation":"{operation}"}}"#);
        let (status, answer) = put(&first, "twin", "application/json", &body).await;
        let message = answer["message"].as_str().unwrap();
        assert_eq!(status, 409, "{message}");
        assert!(message.contains(&address(&second)), "{message}");
    }
    let other = second.incarnation();
    let path = format!("/cluster/members/{other}");
    assert_eq!(ask(&first, Method::DELETE, &path).await.0, 200);
    second.unwanted().cancelled().await;
    second.drain().await;
    settled(&first, 1).await;
    first.ready().await;
    assert_eq!(get(&first, "/ready").await, json!({"ready": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_declared_down_is_gone_at_once_and_ends() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    settled(&first, 2).await;
    let other = address(&second);
    let downing = (200, json!({"message": format!("Downing {other}")}));
    let json = r#"{"operation":"Down"}"#;
    assert_eq!(put(&first, &other, "application/json", json).await, downing);
    second.unwanted().cancelled().await;
    assert!(second.is_down());
    eventually("all shards are the other's", async || {
        cluster.owners().await == vec![first.incarnation(); 4]
    })
    .await;
    second.drain().await;
    assert_eq!(settled(&first, 1).await["selfNode"], address(&first));
}

#[tokio::test(flavor = "multi_thread")]
async fn domain_events_are_streamed_until_the_node_has_left() {
    let cluster = Cluster::new(4);
    let first = cluster.node("first", &BOTH).await;
    first.ready().await;
    let events = async |query: &str| {
        let url = format!(
            "http://{}/cluster/domain-events{query}",
            first.internal_address()
        );
        let request = reqwest::Client::new().get(url);
        let request = request.basic_auth("admin", Some("safe-chat"));
        request.send().await.unwrap()
    };
    let refused = events("?type=Nonsense").await;
    assert_eq!(refused.status(), 400);
    let refused: Value = refused.json().await.unwrap();
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains("Nonsense") && message.contains("MemberUp"),
        "{message}"
    );

    let stream = events("?type=MemberUp&type=MemberRemoved&type=ClusterShuttingDown").await;
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let mut bytes = stream.bytes_stream();
    let mut text = String::new();
    let mut until = async |end: &str| {
        while !text.contains(end) {
            let more = bytes.next().await.expect("more events").unwrap();
            text += std::str::from_utf8(&more).unwrap();
        }
        text.clone()
    };
    let up = until("\n\n").await;
    let data = up.strip_prefix("event: MemberUp\ndata: ").unwrap().trim();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["type"], "MemberUp");
    assert_eq!(data["member"]["uniqueAddress"]["address"], address(&first));
    let second = cluster.node("second", &BOTH).await;
    let other = address(&second);
    until(&other).await;
    second.drain().await;
    until("event: MemberRemoved").await;
    first.drain().await;
    until("event: ClusterShuttingDown").await;
}

#[tokio::test]
async fn the_port_for_clients_names_the_one_for_operators() {
    let cluster = Cluster::new(4);
    let node = cluster.node("first", &BOTH).await;
    node.ready().await;
    let clients = node.client_address().unwrap();
    for path in [
        "/cluster/members",
        "/bootstrap/seed-nodes",
        "/ready",
        "/rooms",
    ] {
        let answer = reqwest::get(format!("http://{clients}{path}"))
            .await
            .unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        let text = answer.text().await.unwrap();
        let port = node.internal_address().port().to_string();
        assert!(text.contains(&port), "{path}: {text}");
    }
    for path in ["/health/ready", "/health/alive"] {
        let url = format!("http://{}{path}", node.internal_address());
        assert_eq!(reqwest::get(url).await.unwrap().status(), 200, "{path}");
    }
}

/// A node of before would not read which devices count.
#[tokio::test(flavor = "multi_thread")]
async fn no_list_of_devices_is_taken_while_a_node_of_before_is_there() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    let list = BASE64_URL_SAFE_NO_PAD.encode(Handshake::Devices(vec![2]).encode());
    let old = cluster.beats("old", 7);
    settled(&first, 3).await;
    assert_eq!(harry.changes_in_vain(&list).await, "unavailable");
    old.abort();
    settled(&first, 2).await;
    assert_eq!(harry.changes_in_vain(&list).await, "not_sealed");
    second.drain().await;
}
