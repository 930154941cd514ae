//! Sealed rooms where tokens are asked for: a token says what somebody may do, and a key who that
//! is in the group.

use crate::support::issuer::{self, by_secret, with};
use crate::support::sealed::{Device, send};
use crate::world;
use crate::world::{
    World,
    server::{Server, Socket, frame, say},
};
use safe_chat::{access, room::Body};
use seal::rules::JoinPolicy;
use serde_json::Value;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error, client::IntoClientRequest},
};

async fn server() -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, issuer::SECRET).unwrap();
    let access = access::Config {
        rooms: vec!["*=token".into()],
        hs256_keys: vec![secret],
        ..access::Config::default()
    };
    let world = World::of_today().await;
    let server = Server::guarded_in(world, world::unlimited(), &access).await;
    (server, folder)
}

/// A token for rooms of any name.
fn token(user: &str, rights: &[&str]) -> String {
    let mut claims = with("rooms", vec!["*"]);
    claims["sub"] = user.into();
    claims["rights"] = rights.to_vec().into();
    by_secret(&claims)
}

const ALL: &[&str] = &["read", "write"];

/// A connection, or the status and the reason of the refusal.
async fn connects(
    server: &Server,
    device: &Device,
    token: Option<&str>,
    more: &str,
) -> Result<Socket, (u16, String)> {
    let (user, key) = (device.user(), device.key());
    let path = format!("/chat/aaa/user/{user}?pub={}{more}", key.as_str());
    let url = format!("ws://{}{path}", server.address);
    let mut request = url.into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert(
        "sec-websocket-protocol",
        "safechat.v1+json".parse().unwrap(),
    );
    if let Some(token) = token {
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    match connect_async(request).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(answer)) => {
            let body: Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
            let reason = body["error"]["reason"].as_str().unwrap().to_owned();
            Err((answer.status().as_u16(), reason))
        }
        Err(error) => panic!("{error}"),
    }
}

/// Comes in with both.
async fn comes(server: &Server, device: &Device, token: &str, more: &str) -> (Socket, Value) {
    let more = format!("&auth=1{more}");
    let mut socket = connects(server, device, Some(token), &more).await.unwrap();
    let challenge = frame(&mut socket, "challenge").await;
    let proof = device.proof(&server.address, &challenge);
    say(&mut socket, proof.to_string()).await;
    let welcome = frame(&mut socket, "welcome").await;
    (socket, welcome)
}

async fn refused(socket: &mut Socket, id: &str, body: &Body) -> Value {
    say(socket, send(id, body)).await;
    frame(socket, "rejected").await["reason"].clone()
}

async fn placed(socket: &mut Socket, device: &mut Device, id: &str, body: &Body) {
    say(socket, send(id, body)).await;
    assert_eq!(frame(socket, "journaled").await["id"], id);
    device.take(body);
    device.caught_up();
}

#[tokio::test]
async fn a_token_says_what_somebody_may_do_and_a_key_who_it_is() {
    let (server, _folder) = server().await;
    let (mut harry, charly) = (Device::new("harry", 1), Device::new("charly", 2));
    let (of_harry, of_charly) = (token("harry", ALL), token("charly", ALL));
    let sealed = "&policy=sealed&auth=1";
    for (device, token, more, refusal) in [
        (&harry, None, sealed, (401, "token_required")),
        (&harry, Some(&of_charly), sealed, (403, "forbidden")),
        (
            &harry,
            Some(&of_harry),
            "&policy=sealed",
            (403, "proof_required"),
        ),
    ] {
        let token = token.map(String::as_str);
        let answer = connects(&server, device, token, more).await.map(drop);
        assert_eq!(answer, Err((refusal.0, refusal.1.into())), "{more}");
    }
    let (mut socket, welcome) = comes(&server, &harry, &of_harry, "&policy=sealed").await;
    assert_eq!(
        (&welcome["policy"], &welcome["proven"]),
        (&"sealed".into(), &true.into())
    );
    let founding = harry.found(JoinPolicy::Invited);
    placed(&mut socket, &mut harry, "f", &founding).await;
    let hello = harry.encrypt("Hello");
    placed(&mut socket, &mut harry, "m1", &hello).await;

    // The room is known to be sealed. The key of a name is that of its first session.
    let impostor = Device::new("harry", 9);
    let answer = connects(&server, &impostor, Some(&of_harry), "&auth=1").await;
    assert_eq!(answer.map(drop), Err((403, "key_mismatch".into())));
    let reads = token("charly", &["read"]);
    let (mut other, welcome) = comes(&server, &charly, &reads, "").await;
    assert_eq!(welcome["proven"], true);
    assert_eq!(refused(&mut other, "m1", &hello).await, "forbidden");
    let (mut other, _) = comes(&server, &charly, &of_charly, "").await;
    assert_eq!(refused(&mut other, "m1", &hello).await, "not_a_member");
}

#[tokio::test]
async fn whoever_asks_without_a_session_brings_both_too() {
    let (server, _folder) = server().await;
    let mut harry = Device::new("harry", 1);
    let (of_harry, of_charly) = (token("harry", ALL), token("charly", ALL));
    let (mut socket, _) = comes(&server, &harry, &of_harry, "&policy=sealed").await;
    let founding = harry.found(JoinPolicy::Invited);
    placed(&mut socket, &mut harry, "f", &founding).await;
    for (token, is_signed, answer) in [
        (None, true, (401, "token_required")),
        (Some(&of_harry), false, (403, "proof_required")),
        (Some(&of_charly), true, (403, "forbidden")),
        (Some(&of_harry), true, (200, "")),
    ] {
        for what in ["group", "history"] {
            let url = server.url(&format!("/rooms/aaa/{what}?{}", harry.named()));
            let mut request = reqwest::Client::new().get(url);
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            if is_signed {
                let proof = harry.signed(&server.address, "GET", b"");
                request = request.header("Safe-Chat-Proof", proof);
            }
            let told = request.send().await.unwrap();
            let status = told.status().as_u16();
            let body: Value = told.json().await.unwrap();
            let reason = body["error"]["reason"].as_str().unwrap_or_default();
            assert_eq!((status, reason), answer, "{what}");
        }
    }
}

/// As it was: a token says who somebody is, and neither key nor auth is looked at.
#[tokio::test]
async fn in_any_other_room_a_token_is_enough() {
    let (server, _folder) = server().await;
    let harry = Device::new("harry", 1);
    let of_harry = token("harry", ALL);
    let mut socket = connects(&server, &harry, Some(&of_harry), "&auth=1")
        .await
        .unwrap();
    let welcome = frame(&mut socket, "welcome").await;
    assert_eq!(welcome.get("proven"), None);
}
