//! Who may come in: policies of rooms, and tokens, over real sockets.

mod costs;

use crate::support::issuer::{self, Publisher, by_secret, claims, token, unsigned, with};
use crate::world;
use crate::world::server::{Server, Socket, code, frame, next, say};
use jsonwebtoken::Algorithm;
use reqwest::{Client, RequestBuilder, Response};
use safe_chat::access::{Config, Policy};
use serde_json::{Value, json};
use std::time::Instant;
use tempfile::TempDir;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, http::HeaderValue},
};

const ALL: [Algorithm; 4] = [
    Algorithm::HS256,
    Algorithm::RS256,
    Algorithm::ES256,
    Algorithm::EdDSA,
];
/// A public key whose private half nobody has.
const OTHER_ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";
const POST: &str = "/rooms/team-red/messages?user=harry";
const HISTORY: &str = "/rooms/team-red/history";
const EVENTS: &str = "/rooms/team-red/events";
const CHAT: &str = "/chat/team-red/user/harry";

/// A configuration with the keys of all algorithms, whose clocks are exact. The folder holds a
/// file.
fn by_files() -> (Config, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, issuer::SECRET).unwrap();
    let config = Config {
        rooms: vec!["lobby=open".into(), "team-*=token".into()],
        keys: ALL.into_iter().filter_map(|it| issuer::key(it).1).collect(),
        hs256_keys: vec![secret],
        leeway_s: 0,
        ..Config::default()
    };
    (config, folder)
}

async fn start() -> Server {
    let (config, _folder) = by_files();
    Server::guarded(world::unlimited(), &config).await
}

fn post(server: &Server, path: &str, token: Option<&str>) -> RequestBuilder {
    let request = Client::new().post(server.url(path));
    bearing(request, token).body(json!({"id": "m1", "text": "Hello"}).to_string())
}

fn get(server: &Server, path: &str, token: Option<&str>) -> RequestBuilder {
    bearing(Client::new().get(server.url(path)), token)
}

fn bearing(request: RequestBuilder, token: Option<&str>) -> RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

/// The status, and the reason of a refusal, which does not quote the token.
async fn said(request: RequestBuilder, token: Option<&str>) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let is_stream = answer.headers()["content-type"] == "text/event-stream";
    if status == 200 && is_stream {
        return (200, String::new());
    }
    assert_eq!(
        status == 401,
        answer.headers().contains_key("www-authenticate"),
        "{answer:?}"
    );
    let text = answer.text().await.unwrap();
    assert!(token.is_none_or(|token| token.is_empty() || !text.contains(token)));
    let body: Value = serde_json::from_str(&text).unwrap();
    let reason = body["error"]["reason"].as_str().or(body["reason"].as_str());
    (status, reason.unwrap_or_default().to_owned())
}

async fn posted(server: &Server, token: &str) -> (u16, String) {
    said(post(server, POST, Some(token)), Some(token)).await
}

/// A WebSocket with these headers, or the status and reason of the refusal.
async fn connect(
    server: &Server,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<(Socket, Option<String>), (u16, String)> {
    let mut request = format!("ws://{}{path}", server.address)
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert(*name, value);
    }
    match connect_async(request).await {
        Ok((socket, answer)) => {
            let echoed = answer.headers().get("sec-websocket-protocol");
            Ok((socket, echoed.map(|it| it.to_str().unwrap().to_owned())))
        }
        Err(Error::Http(answer)) => {
            let body: Value = serde_json::from_slice(answer.body().as_ref().unwrap()).unwrap();
            let reason = body["error"]["reason"].as_str().unwrap().to_owned();
            Err((answer.status().as_u16(), reason))
        }
        Err(error) => panic!("{error}"),
    }
}

/// A session of harry with a token, in JSON, past its welcome.
async fn session(server: &Server, token: &str) -> Socket {
    let headers = [
        ("authorization", &*format!("Bearer {token}")),
        ("sec-websocket-protocol", "safechat.v1+json"),
    ];
    let (mut socket, _) = connect(server, CHAT, &headers).await.unwrap();
    frame(&mut socket, "welcome").await;
    socket
}

#[tokio::test]
async fn a_token_of_each_algorithm_lets_its_user_in_and_an_altered_one_nobody() {
    let server = start().await;
    for algorithm in ALL {
        let good = token(algorithm, &claims());
        assert_eq!(
            posted(&server, &good).await,
            (200, String::new()),
            "{algorithm:?}"
        );
        session(&server, &good).await.close(None).await.unwrap();
        // Of another user, by whoever cannot sign.
        let other = token(algorithm, &with("sub", "charly"));
        let [header, _, signature] = good.split('.').collect::<Vec<_>>()[..] else {
            panic!("{good}");
        };
        let body = other.split('.').nth(1).unwrap();
        let none = unsigned(&json!({"alg": "none"}), &claims());
        for bad in [
            format!("{header}.{body}.{signature}"),
            format!("{header}.{body}."),
            format!("{header}.{body}"),
            none,
        ] {
            let refused = posted(&server, &bad).await;
            assert_eq!(refused, (401, "token_invalid".into()), "{bad}");
        }
    }
}

#[tokio::test]
async fn a_token_is_for_one_user_in_some_rooms_for_some_rights_until_it_expires() {
    let server = start().await;
    let (invalid, forbidden) = ((401, "token_invalid"), (403, "forbidden"));
    for (claims, expected) in [
        (claims(), (200, "")),
        (with("rooms", "team-red"), (200, "")),
        (with("exp", issuer::now() - 1), (401, "token_expired")),
        (with("exp", Value::Null), invalid),
        (with("nbf", issuer::now() + 600), invalid),
        (with("aud", "another"), invalid),
        (with("sub", "har ry"), invalid),
        (with("rooms", Value::Null), invalid),
        (with("sub", "charly"), forbidden),
        (with("rooms", json!(["team-blue", "lobby"])), forbidden),
        (with("rooms", json!([])), forbidden),
        (with("rights", json!(["read"])), forbidden),
        (with("rights", json!([])), forbidden),
    ] {
        let expected = (expected.0, expected.1.to_owned());
        assert_eq!(
            posted(&server, &by_secret(&claims)).await,
            expected,
            "{claims}"
        );
    }
    for garbage in ["", "x", "a.b.c", "....", &"x".repeat(9000)] {
        let refused = posted(&server, garbage).await;
        let expected = match garbage {
            // A header that says nothing.
            "" => "token_required",
            _ => "token_invalid",
        };
        assert_eq!(refused, (401, expected.into()), "{garbage:.20}");
    }
    // Who may only write reads nothing, by any way.
    let deaf = by_secret(&with("rights", json!(["write"])));
    assert_eq!(posted(&server, &deaf).await.0, 200);
    for path in [HISTORY, EVENTS, CHAT] {
        let refused = said(get(&server, path, Some(&deaf)), Some(&deaf)).await;
        assert_eq!(refused, (403, "forbidden".into()), "{path}");
    }
    // Who may only read is in the room, and says nothing.
    let mut mute = session(&server, &by_secret(&with("rights", json!(["read"])))).await;
    say(
        &mut mute,
        json!({"type": "send", "id": "m9", "text": "x"}).to_string(),
    )
    .await;
    let rejected = frame(&mut mute, "rejected").await;
    assert_eq!(
        (&rejected["id"], &rejected["reason"]),
        (&json!("m9"), &json!("forbidden"))
    );
    say(
        &mut mute,
        json!({"type": "history", "id": "h1"}).to_string(),
    )
    .await;
    assert_eq!(frame(&mut mute, "history").await["id"], "h1");
}

#[tokio::test]
async fn every_way_in_asks_for_what_the_policy_of_the_room_says() {
    let server = start().await;
    let token = by_secret(&with("rooms", json!(["team-*", "lobby"])));
    for room in ["lobby", "other", "team-red"] {
        // Where no token says who somebody is, a key does.
        let key = if room == "team-red" { "" } else { "&pub=key" };
        for (posts, path) in [
            (true, format!("/rooms/{room}/messages?user=harry{key}")),
            (false, format!("/rooms/{room}/history")),
            (false, format!("/rooms/{room}/events")),
            (false, format!("/chat/{room}/user/harry?{key}")),
        ] {
            for token in [None, Some(&*token), Some("garbage")] {
                let request = if posts { post } else { get }(&server, &path, token);
                let (status, reason) = said(request, token).await;
                let expected = match (room, token) {
                    ("team-red", None) => (401, "token_required"),
                    ("team-red", Some("garbage")) => (401, "token_invalid"),
                    // An upgrade is all that is missing. What else is brought is not looked at.
                    _ if path.contains("chat") => (426, "upgrade_required"),
                    _ => (200, ""),
                };
                assert_eq!((status, &*reason), expected, "{path} {token:?}");
            }
        }
    }
    let by_upgrade = connect(&server, CHAT, &[]).await.err();
    assert_eq!(by_upgrade, Some((401, "token_required".into())));
    // What holds for all rooms that no rule names.
    let (config, _folder) = by_files();
    let closed = Config {
        default: Policy::Token,
        ..config
    };
    let server = Server::guarded(world::unlimited(), &closed).await;
    for (path, status) in [("/rooms/other/history", 401), ("/rooms/lobby/history", 200)] {
        assert_eq!(
            said(get(&server, path, None), None).await.0,
            status,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_browser_brings_token_and_key_as_subprotocols_and_gets_neither_back() {
    let server = start().await;
    let token = by_secret(&claims());
    let offers = |offered: &str| offered.replace("TOKEN", &format!("safechat.token.{token}"));
    for (offered, echoed) in [
        ("safechat.v1+json, TOKEN", "safechat.v1+json"),
        ("TOKEN, safechat.v1+proto", "safechat.v1+proto"),
        (
            "TOKEN,safechat.key.some-key,safechat.v1+text",
            "safechat.v1+text",
        ),
    ] {
        let headers = [("sec-websocket-protocol", &*offers(offered))];
        let (mut socket, echo) = connect(&server, CHAT, &headers).await.unwrap();
        assert_eq!(echo.as_deref(), Some(echoed));
        socket.close(None).await.unwrap();
    }
    let only = [("sec-websocket-protocol", &*offers("TOKEN"))];
    let refused = connect(&server, CHAT, &only).await.err();
    assert_eq!(
        refused,
        Some((400, "bad_query".into())),
        "no browser would take an answer"
    );
    // A key outside of the address, where no token is asked for.
    for key in [
        ("chat-key", "some-key"),
        (
            "sec-websocket-protocol",
            "safechat.v1+json, safechat.key.some-key",
        ),
    ] {
        let path = "/chat/lobby/user/kim";
        assert!(connect(&server, path, &[key]).await.is_ok(), "{key:?}");
        let other = [("chat-key", "another-key")];
        let refused = connect(&server, path, &other).await.err();
        assert_eq!(refused, Some((403, "key_mismatch".into())));
    }
    // Where tokens say who somebody is, no key does; and nobody can pretend to have one.
    let proving = format!("{CHAT}?auth=1&pub=whatever");
    let headers = [(
        "sec-websocket-protocol",
        &*offers("safechat.v1+json, TOKEN"),
    )];
    let (mut harry, _) = connect(&server, &proving, &headers).await.unwrap();
    assert_eq!(frame(&mut harry, "welcome").await.get("proven"), None);
    harry.close(None).await.unwrap();
    let keyed = format!("{POST}&pub=whatever");
    assert_eq!(said(post(&server, &keyed, Some(&token)), None).await.0, 200);
    let reserved = [("chat-key", "by-token")];
    let refused = connect(&server, "/chat/lobby/user/kim", &reserved)
        .await
        .err();
    assert_eq!(refused, Some((400, "bad_pub".into())));
    let path = "/rooms/lobby/messages?user=kim";
    let by_header = post(&server, path, None).header("chat-key", "some-key");
    assert_eq!(said(by_header, None).await.0, 200);
    assert_eq!(
        said(post(&server, path, None), None).await,
        (400, "bad_pub".into())
    );
}

#[tokio::test]
async fn a_token_may_come_in_the_first_frame_and_nothing_happens_before() {
    let server = start().await;
    let path = format!("{CHAT}?first=token");
    let json = [("sec-websocket-protocol", "safechat.v1+json")];
    let first = |token: &str| json!({"type": "token", "id": "t1", "token": token}).to_string();
    let (mut waiting, _) = connect(&server, &path, &json).await.unwrap();
    let (mut harry, _) = connect(&server, &path, &json).await.unwrap();
    // What follows at once waits for the session.
    say(&mut harry, first(&by_secret(&claims()))).await;
    say(
        &mut harry,
        json!({"type": "send", "id": "m1", "text": "Hello"}).to_string(),
    )
    .await;
    assert_eq!(
        frame(&mut harry, "welcome").await["members"],
        json!(["harry"])
    );
    assert_eq!(frame(&mut harry, "journaled").await["seq"], 2);
    say(&mut waiting, first(&by_secret(&claims()))).await;
    let welcome = frame(&mut waiting, "welcome").await;
    assert_eq!(welcome["seq"], 2, "who waited has not joined before");

    for (said, reason) in [
        (first("garbage"), "token_invalid"),
        (first(&by_secret(&with("sub", "charly"))), "forbidden"),
        (
            first(&by_secret(&with("exp", issuer::now() - 9))),
            "token_expired",
        ),
        (
            json!({"type": "ping", "id": "t1"}).to_string(),
            "token_required",
        ),
        ("garbage".into(), "bad_frame"),
    ] {
        let (mut socket, _) = connect(&server, &path, &json).await.unwrap();
        say(&mut socket, said.clone()).await;
        let rejected = frame(&mut socket, "rejected").await;
        assert_eq!(rejected["reason"], reason, "{said}");
        assert_eq!(code(&mut socket).await, 4008, "{said}");
    }
    // A question for it tells nothing; by lines there is no such frame; elsewhere nobody waits.
    assert_eq!(
        said(get(&server, &path, None), None).await,
        (426, "upgrade_required".into())
    );
    let by_lines = connect(&server, &path, &[]).await.err();
    assert_eq!(by_lines, Some((400, "bad_query".into())));
    let other = connect(&server, &format!("{CHAT}?first=x"), &json)
        .await
        .err();
    assert_eq!(other, Some((400, "bad_query".into())));
    let lobby = "/chat/lobby/user/kim?pub=key&first=token";
    let (mut open, _) = connect(&server, lobby, &json).await.unwrap();
    frame(&mut open, "welcome").await;
}

#[tokio::test]
async fn a_token_in_an_address_counts_only_where_that_is_allowed() {
    let token = by_secret(&claims());
    let path = format!("{HISTORY}?token={token}");
    let (config, _folder) = by_files();
    for (in_url, status) in [(false, 401), (true, 200)] {
        let config = Config {
            in_url,
            ..config.clone()
        };
        let server = Server::guarded(world::unlimited(), &config).await;
        assert_eq!(said(get(&server, &path, None), None).await.0, status);
    }
}

#[tokio::test]
async fn keys_that_rotate_are_found_by_their_names_and_seldom_asked_for() {
    let publisher = Publisher::start().await;
    publisher.publish(&[]);
    let config = Config {
        rooms: vec!["team-*=token".into()],
        jwks: Some(publisher.address.clone()),
        jwks_cooldown_ms: 1_000,
        ..Config::default()
    };
    let server = Server::guarded(world::unlimited(), &config).await;
    let becomes = async |token: &str, status: u16| {
        let until = Instant::now() + crate::world::LONG;
        while posted(&server, token).await.0 != status {
            assert!(Instant::now() < until, "it never becomes {status}");
        }
    };
    let [old, new] = [Algorithm::RS256, Algorithm::EdDSA]
        .map(|algorithm| Publisher::token(algorithm, &format!("{algorithm:?}")));
    // Without a key nobody is told that the token is bad.
    becomes(&old, 503).await;
    publisher.publish(&[Algorithm::RS256]);
    becomes(&old, 200).await;
    publisher.publish(&[Algorithm::RS256, Algorithm::EdDSA]);
    becomes(&new, 200).await;
    assert_eq!(posted(&server, &old).await.0, 200, "it is still in the set");
    // However many tokens name keys that nobody knows, the issuer is hardly asked.
    let (before, begun) = (publisher.asked(), Instant::now());
    let strange = Publisher::token(Algorithm::EdDSA, "strange");
    for _ in 0..50 {
        assert_eq!(
            posted(&server, &strange).await,
            (401, "token_invalid".into())
        );
    }
    let most = 1 + begun.elapsed().as_secs() as usize;
    assert!(
        publisher.asked() - before <= most,
        "{} fetches",
        publisher.asked() - before
    );
    // A key that left the set counts no more, once that is known.
    publisher.publish(&[Algorithm::EdDSA]);
    let until = Instant::now() + crate::world::LONG;
    while posted(&server, &old).await.0 == 200 {
        posted(&server, &strange).await;
        assert!(Instant::now() < until, "a key that is gone is still taken");
    }
    // Nobody answers: what is known stays.
    publisher.stop();
    for _ in 0..3 {
        assert_eq!(posted(&server, &strange).await.0, 401);
        assert_eq!(posted(&server, &new).await.0, 200);
    }

    let nowhere = Config {
        jwks: Some("http://127.0.0.1:1/keys".into()),
        ..config
    };
    let server = Server::guarded(world::unlimited(), &nowhere).await;
    let answer: Response = post(&server, POST, Some(&new)).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"));
}

#[tokio::test]
async fn a_key_of_a_file_does_not_hide_that_the_issuer_has_a_new_one() {
    let publisher = Publisher::start().await;
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.pub.pem");
    std::fs::write(&other, OTHER_ED25519).unwrap();
    let config = Config {
        rooms: vec!["team-*=token".into()],
        // Of the algorithm of the issuer's.
        keys: vec![other],
        jwks: Some(publisher.address.clone()),
        jwks_cooldown_ms: 1_000,
        ..Config::default()
    };
    let server = Server::guarded(world::unlimited(), &config).await;
    let new = Publisher::token(Algorithm::EdDSA, "EdDSA");
    publisher.publish(&[Algorithm::EdDSA]);
    // Long before the keys are fetched by themselves again.
    let until = Instant::now() + crate::world::LONG;
    while posted(&server, &new).await.0 != 200 {
        assert!(Instant::now() < until, "the new key is never found");
    }
    let nowhere = Config {
        jwks: Some("http://127.0.0.1:1/keys".into()),
        ..config
    };
    let server = Server::guarded(world::unlimited(), &nowhere).await;
    assert_eq!(posted(&server, &new).await.0, 503, "it may be good");
}

#[tokio::test]
async fn a_session_is_told_of_its_end_and_goes_on_with_a_new_token() {
    let server = start().await;
    let soon = || with("exp", issuer::now() + 3);
    let short = by_secret(&soon());
    let (mut leaves, mut stays) = (
        session(&server, &short).await,
        session(&server, &short).await,
    );
    let stream = get(&server, EVENTS, Some(&short)).send().await.unwrap();
    for socket in [&mut leaves, &mut stays] {
        let told = frame(socket, "expiring").await;
        assert!(told["expires_in_ms"].as_u64().unwrap() <= 3_000, "{told}");
    }
    let mut renews = async |id: &str, token: &str| {
        say(
            &mut stays,
            json!({"type": "token", "id": id, "token": token}).to_string(),
        )
        .await;
        loop {
            let Message::Text(text) = next(&mut stays).await else {
                continue;
            };
            let answer: Value = serde_json::from_str(&text).unwrap();
            if answer["id"] == id {
                assert!(!text.contains(token));
                break answer;
            }
        }
    };
    for (id, bad, reason) in [
        ("t1", "garbage", "token_invalid"),
        ("t2", &by_secret(&with("sub", "charly")), "forbidden"),
        ("t3", &by_secret(&with("rooms", "team-blue")), "forbidden"),
        ("t4", &by_secret(&with("rights", "write")), "forbidden"),
        (
            "t5",
            &by_secret(&with("exp", issuer::now() - 9)),
            "token_expired",
        ),
    ] {
        assert_eq!(renews(id, bad).await["reason"], reason, "{id}");
    }
    let good = renews("t6", &by_secret(&with("exp", issuer::now() + 600))).await;
    assert_eq!(good["type"], "refreshed");
    let left = good["expires_in_ms"].as_u64().unwrap();
    assert!((500_000..=600_000).contains(&left), "{left}");

    assert_eq!(code(&mut leaves).await, 4007);
    // The stream of the old token has ended; it cannot come back with it.
    assert!(stream.text().await.unwrap().contains("id: "));
    let again = said(get(&server, EVENTS, Some(&short)), Some(&short)).await;
    assert_eq!(again, (401, "token_expired".into()));
    say(&mut stays, json!({"type": "ping", "id": "p1"}).to_string()).await;
    assert_eq!(frame(&mut stays, "pong").await["id"], "p1");
    // By the text protocol nobody can renew, and everybody is told.
    let headers = [("authorization", &*format!("Bearer {}", by_secret(&soon())))];
    let (mut text, _) = connect(&server, CHAT, &headers).await.unwrap();
    loop {
        let line = crate::world::server::line(&mut text).await;
        if line.starts_with("!expiring ") {
            break;
        }
    }
    assert_eq!(code(&mut text).await, 4007);
}

#[tokio::test]
async fn a_refusal_does_not_say_whether_a_room_exists() {
    let server = start().await;
    assert_eq!(posted(&server, &by_secret(&claims())).await.0, 200);
    let mut told = Vec::new();
    for room in ["team-red", "team-blue"] {
        let path = format!("/rooms/{room}/history");
        let answer = get(&server, &path, None).send().await.unwrap();
        told.push((answer.status(), answer.text().await.unwrap()));
    }
    assert_eq!(told[0], told[1]);
}
