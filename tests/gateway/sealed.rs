//! Rooms with a policy over real sockets: who comes in, and what every way in takes.

use crate::support::sealed::{self, Device, send};
use crate::world::{
    World,
    server::{Server, Socket, frame, say},
};
use reqwest::StatusCode;
use safe_chat::{gateway::Config, room::Body};
use seal::rules::JoinPolicy;
use serde_json::Value;

const JSON: Option<&str> = Some("safechat.v1+json");

async fn server() -> Server {
    let world = World::of_today().await;
    Server::of(world, Config::default()).await.run()
}

/// The way in of somebody, with what more the query has.
fn path(device: &Device, more: &str) -> String {
    let (user, key) = (device.user(), device.key());
    format!("/chat/aaa/user/{user}?pub={}{more}", key.as_str())
}

/// Comes in with a proof; the welcome.
async fn proves(server: &Server, device: &Device, more: &str) -> (Socket, Value) {
    let path = path(device, &format!("&auth=1{more}"));
    let mut socket = server.try_connect(&path, JSON).await.unwrap();
    let challenge = frame(&mut socket, "challenge").await;
    let proof = device.proof(&server.address, &challenge);
    say(&mut socket, proof.to_string()).await;
    let welcome = frame(&mut socket, "welcome").await;
    (socket, welcome)
}

/// The status and the reason of an answer, or its body.
async fn answered(answer: reqwest::Result<reqwest::Response>) -> (StatusCode, Value) {
    let answer = answer.unwrap();
    let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
    let reason = body["error"]["reason"].clone();
    (status, if reason.is_null() { body } else { reason })
}

async fn get(server: &Server, what: &str, by: Option<&Device>) -> (StatusCode, Value) {
    let client = reqwest::Client::new();
    let query = by.map_or(String::new(), |device| format!("?{}", device.named()));
    let mut request = client.get(server.url(&format!("/rooms/aaa/{what}{query}")));
    if let Some(device) = by {
        let proof = device.signed(&server.address, "GET", b"");
        request = request.header("Safe-Chat-Proof", proof);
    }
    answered(request.send().await).await
}

async fn post(
    server: &Server,
    device: &Device,
    is_proven: bool,
    body: String,
) -> (StatusCode, Value) {
    let url = server.url(&format!("/rooms/aaa/messages?{}", device.named()));
    let mut request = reqwest::Client::new().post(url);
    if is_proven {
        let proof = device.signed(&server.address, "POST", body.as_bytes());
        request = request.header("Safe-Chat-Proof", proof);
    }
    answered(request.body(body).send().await).await
}

async fn refused(socket: &mut Socket, id: &str, body: &Body) -> Value {
    say(socket, send(id, body)).await;
    let rejected = frame(socket, "rejected").await;
    assert_eq!(rejected["id"], id);
    rejected["reason"].clone()
}

async fn journaled(socket: &mut Socket, id: &str, body: &Body) {
    say(socket, send(id, body)).await;
    let journaled = frame(socket, "journaled").await;
    assert_eq!(journaled["id"], id);
}

#[tokio::test]
async fn a_room_has_the_policy_of_its_first_session() {
    let server = server().await;
    let (harry, charly) = (Device::new("harry", 1), Device::new("charly", 2));
    for (query, refusal) in [
        ("&policy=closed", (400, "bad_query")),
        ("&policy=proven", (403, "proof_required")),
        ("&policy=sealed", (403, "proof_required")),
    ] {
        let (status, reason) = server.refused(&path(&harry, query), JSON).await;
        assert_eq!((status, &*reason), refusal, "{query}");
    }
    let (_socket, welcome) = proves(&server, &harry, "&policy=proven").await;
    assert_eq!(welcome["policy"], "proven");
    let (status, reason) = server.refused(&path(&charly, ""), JSON).await;
    assert_eq!((status, &*reason), (403, "proof_required"));
    for query in ["&policy=open", "&auth=1&policy=sealed"] {
        let (status, reason) = server.refused(&path(&charly, query), JSON).await;
        assert_eq!((status, &*reason), (409, "other_policy"), "{query}");
    }
    let (_other, welcome) = proves(&server, &charly, "").await;
    assert_eq!(welcome["policy"], "proven");

    // Whoever reads without a session shows a key as well.
    for what in ["history", "events"] {
        let (status, reason) = get(&server, what, None).await;
        assert_eq!(
            (status, reason),
            (StatusCode::FORBIDDEN, "proof_required".into())
        );
    }
    let (status, page) = get(&server, "history", Some(&charly)).await;
    assert_eq!(
        (status, &page["events"][0]["kind"]),
        (StatusCode::OK, &"joined".into())
    );
    let hello = send("m1", &Body::Text("Hello".into()));
    let (status, reason) = post(&server, &charly, false, hello.clone()).await;
    assert_eq!(
        (status, reason),
        (StatusCode::FORBIDDEN, "proof_required".into())
    );
    let (status, frame) = post(&server, &charly, true, hello).await;
    assert_eq!(
        (status, &frame["type"]),
        (StatusCode::OK, &"journaled".into())
    );
    let (status, reason) = get(&server, "group", Some(&charly)).await;
    assert_eq!(
        (status, reason),
        (StatusCode::NOT_FOUND, "not_found".into())
    );
}

#[tokio::test]
async fn a_room_that_is_there_gets_no_policy() {
    let server = server().await;
    let harry = Device::new("harry", 1);
    let mut first = server.json("kim", "").await;
    assert_eq!(frame(&mut first, "welcome").await.get("policy"), None);
    let (status, reason) = server
        .refused(&path(&harry, "&auth=1&policy=sealed"), JSON)
        .await;
    assert_eq!((status, &*reason), (409, "other_policy"));
    let (_socket, welcome) = proves(&server, &harry, "&policy=open").await;
    assert_eq!(welcome.get("policy"), None);
    let (status, reason) = get(&server, "history?policy=sealed", None).await;
    assert_eq!(
        (status, reason),
        (StatusCode::CONFLICT, "other_policy".into())
    );
}

#[tokio::test]
async fn a_sealed_room_takes_handshakes_and_what_members_encrypt() {
    let server = server().await;
    let mut harry = Device::new("harry", 1);
    let (mut socket, welcome) = proves(&server, &harry, "&policy=sealed").await;
    assert_eq!(welcome["policy"], "sealed");
    let text = Body::Text("Hello".into());
    assert_eq!(refused(&mut socket, "m1", &text).await, "sealed_room");
    let founding = harry.found(JoinPolicy::Invited);
    // Only a session that has proven its key changes the group.
    let posted = post(&server, &harry, true, send("f1", &founding)).await;
    assert_eq!(
        (posted.0, &posted.1["reason"]),
        (StatusCode::BAD_REQUEST, &"bad_field".into())
    );
    journaled(&mut socket, "f1", &founding).await;
    assert_eq!(refused(&mut socket, "f2", &founding).await, "stale_epoch");
    let (_, page) = get(&server, "history", Some(&harry)).await;
    let events = page["events"].as_array().unwrap().iter();
    let founded = events.last().unwrap();
    assert_eq!(founded["kind"], "handshake");
    harry.take(&sealed::body_of(founded).unwrap());
    harry.caught_up();
    let hello = harry.encrypt("Hello");
    journaled(&mut socket, "m2", &hello).await;
    let posted = post(&server, &harry, true, send("m3", &hello)).await;
    assert_eq!(
        (posted.0, &posted.1["reason"]),
        (StatusCode::BAD_REQUEST, &"sealed_room".into())
    );
    let too_large = Body::Handshake(vec![1; safe_chat::room::Limits::HANDSHAKE + 1].into());
    assert_eq!(refused(&mut socket, "h1", &too_large).await, "too_large");
    // The largest fits into a message.
    let largest = Body::Handshake(vec![1; safe_chat::room::Limits::HANDSHAKE].into());
    assert_eq!(
        refused(&mut socket, &"h".repeat(64), &largest).await,
        "bad_bundle"
    );

    // Somebody else, who is not in the group, reads events and may not speak.
    let (mut other, _) = proves(&server, &Device::new("charly", 2), "").await;
    assert_eq!(refused(&mut other, "m1", &hello).await, "not_a_member");
    let (status, group) = get(&server, "group", Some(&harry)).await;
    assert_eq!((status, &group["epoch"]), (StatusCode::OK, &0.into()));
    assert!(group["tree"].is_string() && group["group_info"].is_string());
    let (status, reason) = get(&server, "group", None).await;
    assert_eq!(
        (status, reason),
        (StatusCode::FORBIDDEN, "proof_required".into())
    );
}
