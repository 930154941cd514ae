//! Proofs of keys over real sockets: a client that proves its key is in, and a proof that is not
//! quite the right one is none.

use crate::world;
use crate::world::server::{Server, Socket, code, frame, line, next, say};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use futures::{SinkExt, StreamExt};
use prost::Message as _;
use safe_chat::{
    access,
    gateway::Config,
    proto::client::v1::{self as pb, client_frame, server_frame},
    room::{DeviceId, Key, RoomId, UserId},
    wire::proof::{Nonce, PublicKey, RequestContext, SessionContext},
};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio_tungstenite::tungstenite::Message;

const JSON: Option<&str> = Some("safechat.v1+json");

/// Somebody with a key pair.
pub(crate) struct Person {
    pub(crate) pair: SigningKey,
    pub(crate) user: &'static str,
}

impl Person {
    pub(crate) fn new(user: &'static str, seed: u8) -> Self {
        let pair = SigningKey::from_bytes(&[seed; 32]);
        Self { pair, user }
    }

    pub(crate) fn key(&self) -> Key {
        let public = self.pair.verifying_key();
        Key::parse(&BASE64_URL_SAFE_NO_PAD.encode(public.as_bytes())).unwrap()
    }

    pub(crate) fn path(&self, more: &str) -> String {
        let (user, key) = (self.user, self.key());
        format!("/chat/aaa/user/{user}?pub={}{more}", key.as_str())
    }

    /// What a proof is about that answers this challenge.
    pub(crate) fn about(&self, nonce: Nonce) -> SessionContext {
        SessionContext {
            room: RoomId::parse("aaa").unwrap(),
            user: UserId::parse(self.user).unwrap(),
            device: None,
            key: PublicKey::parse(&self.key()).unwrap(),
            nonce,
        }
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(self.pair.sign(bytes).to_bytes())
    }

    pub(crate) fn proof(&self, host: &str, about: &SessionContext) -> Value {
        let signature = self.sign(&about.bytes(host));
        json!({"type": "proof", "host": host, "signature": signature})
    }

    pub(crate) async fn challenged(&self, server: &Server, more: &str) -> (Socket, Nonce) {
        let path = self.path(&format!("&auth=1{more}"));
        let mut socket = server.try_connect(&path, JSON).await.unwrap();
        let challenge = frame(&mut socket, "challenge").await;
        assert_eq!(challenge["within_ms"], 10_000);
        (socket, nonce(challenge["nonce"].as_str().unwrap()))
    }

    /// Proves the key, and is in.
    pub(crate) async fn proves(&self, server: &Server) -> Socket {
        let (mut socket, nonce) = self.challenged(server, "").await;
        let proof = self.proof(&server.address, &self.about(nonce));
        say(&mut socket, proof.to_string()).await;
        let welcome = frame(&mut socket, "welcome").await;
        assert_eq!(welcome["proven"], true);
        socket
    }

    /// The proof of a GET in room aaa.
    fn reads(&self, server: &Server, at: i64) -> String {
        let request = Request {
            method: "GET",
            person: self,
            host: server.address.clone(),
            room: "aaa",
            body: "",
            at,
        };
        request.header()
    }

    async fn claims(&self, server: &Server) -> Socket {
        server.try_connect(&self.path(""), JSON).await.unwrap()
    }

    pub(crate) async fn refused(&self, server: &Server, more: &str) -> (u16, String) {
        server.refused(&self.path(more), JSON).await
    }
}

pub(crate) fn nonce(text: &str) -> Nonce {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
    Nonce(bytes.try_into().unwrap())
}

fn reason(reason: &str) -> (u16, String) {
    (403, reason.into())
}

#[tokio::test]
async fn whoever_proves_a_key_keeps_the_name_from_those_who_only_name_it() {
    let server = Server::start().await;
    let harry = Person::new("harry", 1);
    let mut claimed = harry.claims(&server).await;
    let welcome = frame(&mut claimed, "welcome").await;
    assert_eq!(welcome.get("proven"), None);

    let mut socket = harry.proves(&server).await;
    assert_eq!(
        code(&mut claimed).await,
        4010,
        "who only claimed it comes again"
    );
    let required = reason("proof_required");
    assert_eq!(harry.refused(&server, "").await, required);
    let other = Person::new("harry", 2);
    assert_eq!(other.refused(&server, "").await, reason("key_mismatch"));
    assert_eq!(
        other.refused(&server, "&auth=1").await,
        reason("key_mismatch"),
        "before the upgrade"
    );
    let plain = reqwest::get(server.url(&harry.path(""))).await.unwrap();
    let body: Value = plain.json().await.unwrap();
    assert_eq!(body["error"]["reason"], "proof_required", "as a page asks");
    say(&mut socket, r#"{"type":"send","id":"m1","text":"Hello"}"#).await;
    frame(&mut socket, "journaled").await;
    drop(socket);
    assert_eq!(harry.refused(&server, "").await, required);
    drop(harry.proves(&server).await);
}

#[tokio::test]
async fn every_protocol_carries_a_proof() {
    let server = Server::start().await;
    let text = Person::new("text", 1);
    let mut socket = server.try_connect(&text.path("&auth=1"), None).await;
    let socket = socket.as_mut().unwrap();
    let challenge = line(socket).await;
    let nonce_of = nonce(challenge.strip_prefix("!challenge ").unwrap());
    let host = &server.address;
    let signature = text.sign(&text.about(nonce_of).bytes(host));
    // What is said with the same write is for the session.
    let proof = Message::text(format!("!proof {host} {signature}"));
    socket.feed(proof).await.unwrap();
    socket.feed(Message::text("text:*:Hello")).await.unwrap();
    socket.flush().await.unwrap();
    assert_eq!(line(socket).await, "text:aaa:connected");
    assert_eq!(line(socket).await, "[aaa:1 - text joined]");
    assert_eq!(line(socket).await, "[aaa:2 - text -> *] Hello");

    let proto = Person::new("proto", 2);
    let path = proto.path("&auth=1&device=phone");
    let connected = server.try_connect(&path, Some("safechat.v1+proto")).await;
    let mut socket = connected.unwrap();
    let read = |message: Message| {
        let frame = pb::ServerFrame::decode(message.into_data()).unwrap();
        frame.frame.unwrap()
    };
    let server_frame::Frame::Challenge(challenge) = read(next(&mut socket).await) else {
        panic!("no challenge")
    };
    let nonce = Nonce(challenge.nonce.as_ref().try_into().unwrap());
    let about = SessionContext {
        device: DeviceId::parse("phone").ok(),
        ..proto.about(nonce)
    };
    let signature = proto.pair.sign(&about.bytes(host)).to_bytes();
    let proof = pb::Proof {
        host: host.clone(),
        signature: signature.to_vec().into(),
        former: None,
    };
    let frame = Some(client_frame::Frame::Proof(proof));
    let proof = pb::ClientFrame { frame }.encode_to_vec();
    socket.send(Message::binary(proof)).await.unwrap();
    let server_frame::Frame::Welcome(welcome) = read(next(&mut socket).await) else {
        panic!("no welcome")
    };
    assert!(welcome.proven);
}

#[tokio::test]
async fn a_proof_of_anything_else_is_none() {
    let server = Server::start().await;
    let (harry, mallory) = (Person::new("harry", 1), Person::new("mallory", 2));
    let host = server.address.clone();
    let (_other, others_nonce) = harry.challenged(&server, "").await;
    type Wrong<'a> = Box<dyn Fn(SessionContext) -> Value + 'a>;
    let proof = |about: SessionContext| harry.proof(&host, &about);
    let user = |name| UserId::parse(name).unwrap();
    let wrong: Vec<(&str, Wrong<'_>)> = vec![
        (
            "another's signature",
            Box::new(|about| mallory.proof(&host, &about)),
        ),
        (
            "another connection's nonce",
            Box::new(|about| {
                proof(SessionContext {
                    nonce: others_nonce,
                    ..about
                })
            }),
        ),
        (
            "another room",
            Box::new(|about| {
                let room = RoomId::parse("bbb").unwrap();
                proof(SessionContext { room, ..about })
            }),
        ),
        (
            "another user",
            Box::new(|about| {
                let user = user("charly");
                proof(SessionContext { user, ..about })
            }),
        ),
        (
            "another device",
            Box::new(|about| {
                let device = DeviceId::parse("phone").ok();
                proof(SessionContext { device, ..about })
            }),
        ),
        (
            "another key",
            Box::new(|about| {
                let key = PublicKey::parse(&mallory.key()).unwrap();
                proof(SessionContext { key, ..about })
            }),
        ),
        (
            "another host",
            Box::new(|about| harry.proof("evil.example", &about)),
        ),
        (
            "another host, passed on as this one",
            Box::new(|about| {
                let mut proof = harry.proof("evil.example", &about);
                proof["host"] = json!(host);
                proof
            }),
        ),
        (
            "no signature",
            Box::new(|_| json!({"type": "proof", "host": host})),
        ),
        (
            "zeros",
            Box::new(|_| json!({"type": "proof", "host": host, "signature": "A".repeat(86)})),
        ),
        (
            "a message",
            Box::new(|_| json!({"type": "send", "id": "m1", "text": "Hello"})),
        ),
        ("garbage", Box::new(|_| json!("garbage"))),
    ];
    for (what, wrong) in &wrong {
        let (mut socket, nonce) = harry.challenged(&server, "").await;
        say(&mut socket, wrong(harry.about(nonce)).to_string()).await;
        assert_eq!(code(&mut socket).await, 4004, "{what}");
        assert!(socket.next().await.is_none(), "{what}");
    }
    let (mut socket, nonce) = harry.challenged(&server, "").await;
    let right = proof(harry.about(nonce)).to_string();
    say(&mut socket, &right).await;
    frame(&mut socket, "welcome").await;
    // The same once more, over another connection.
    let (mut socket, _) = harry.challenged(&server, "").await;
    say(&mut socket, &right).await;
    assert_eq!(code(&mut socket).await, 4004, "a nonce counts once");

    let key = harry.key();
    let short = &key.as_str()[1..];
    for (query, expected) in [
        ("pub=key&auth=1", "bad_pub"),
        (&format!("pub={short}&auth=1"), "bad_pub"),
        (&format!("pub={}&auth=1", "A".repeat(43)), "bad_pub"),
        ("pub=key&auth=2", "bad_query"),
    ] {
        let path = format!("/chat/aaa/user/harry?{query}");
        assert_eq!(
            server.refused(&path, JSON).await,
            (400, expected.into()),
            "{query}"
        );
    }
    // Only the one that was let in, and those who had nothing to prove, are in the room.
    assert_eq!(server.handle.sessions(), 1);
}

#[tokio::test]
async fn behind_a_proxy_the_host_is_the_one_that_the_operator_says() {
    let config = Config {
        public_hosts: vec!["Chat.example:443".into()],
        ..Config::default()
    };
    let server = Server::with(config).await;
    let harry = Person::new("harry", 1);
    let (mut socket, nonce) = harry.challenged(&server, "").await;
    let proof = harry.proof(&server.address, &harry.about(nonce));
    say(&mut socket, proof.to_string()).await;
    assert_eq!(code(&mut socket).await, 4004);
    let (mut socket, nonce) = harry.challenged(&server, "").await;
    let proof = harry.proof("chat.example", &harry.about(nonce));
    say(&mut socket, proof.to_string()).await;
    frame(&mut socket, "welcome").await;
}

/// A request over HTTP that is signed, and what is changed of it afterwards.
struct Request<'a> {
    method: &'static str,
    person: &'a Person,
    host: String,
    room: &'static str,
    body: &'static str,
    /// Milliseconds from now.
    at: i64,
}

impl Request<'_> {
    fn header(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let at = (now.as_millis() as i64 + self.at) as u64;
        let context = RequestContext {
            method: self.method,
            room: &RoomId::parse(self.room).unwrap(),
            user: &UserId::parse(self.person.user).unwrap(),
            key: PublicKey::parse(&self.person.key()).unwrap(),
            at,
            body: self.body.as_bytes(),
        };
        let signature = self.person.sign(&context.bytes(&self.host));
        let host = &self.host;
        format!("host={host}, time={at}, signature={signature}")
    }
}

#[tokio::test]
async fn a_post_in_a_proven_name_is_signed() {
    let server = Server::start().await;
    let harry = Person::new("harry", 1);
    let body = r#"{"id":"m1","text":"Hello"}"#;
    let post = async |proof: Option<String>, body: &'static str| {
        let (user, key) = (harry.user, harry.key());
        let path = format!("/rooms/aaa/messages?user={user}&pub={}", key.as_str());
        let mut request = reqwest::Client::new().post(server.url(&path)).body(body);
        if let Some(proof) = proof {
            request = request.header("Safe-Chat-Proof", proof);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        let reason = body["error"]["reason"].as_str().unwrap_or_default();
        (status, reason.to_owned(), body["duplicate"].clone())
    };
    let right = || Request {
        method: "POST",
        person: &harry,
        host: server.address.clone(),
        room: "aaa",
        body,
        at: 0,
    };
    let first = r#"{"id":"m0","text":"Hello"}"#;
    assert_eq!(post(None, first).await.0, 200, "the name is nobody's");
    drop(harry.proves(&server).await);
    let refused = post(None, body).await;
    assert_eq!((refused.0, refused.1), reason("proof_required"));

    let mallory = Person::new("harry", 2);
    for (what, header) in [
        (
            "another's",
            Request {
                person: &mallory,
                ..right()
            }
            .header(),
        ),
        (
            "for another room",
            Request {
                room: "bbb",
                ..right()
            }
            .header(),
        ),
        (
            "of another body",
            Request {
                body: first,
                ..right()
            }
            .header(),
        ),
        (
            "for another host",
            Request {
                host: "evil.example".into(),
                ..right()
            }
            .header(),
        ),
        (
            "of before",
            Request {
                at: -61_000,
                ..right()
            }
            .header(),
        ),
        (
            "of later",
            Request {
                at: 61_000,
                ..right()
            }
            .header(),
        ),
        (
            "with another time",
            right().header().replacen("time=1", "time=2", 1),
        ),
        ("of nothing", String::new()),
        ("of half of it", "host=x, time=1".into()),
        ("garbage", "garbage".into()),
    ] {
        let refused = post(Some(header), body).await;
        assert_eq!((refused.0, refused.1), reason("proof_failed"), "{what}");
    }
    let signed = right().header();
    let again = signed.clone();
    let (status, _, duplicate) = post(Some(signed), body).await;
    assert_eq!((status, duplicate), (200, json!(false)));
    let (status, _, duplicate) = post(Some(again), body).await;
    assert_eq!((status, duplicate), (200, json!(true)), "the same message");
}

#[tokio::test]
async fn a_room_that_asks_for_a_proof_lets_nobody_in_without() {
    let access = access::Config {
        rooms: vec!["aaa=proven".into()],
        ..access::Config::default()
    };
    let server = Server::guarded(world::unlimited(), &access).await;
    let harry = Person::new("harry", 1);
    let required = reason("proof_required");
    // The name is nobody's, and nobody comes in who only claims it.
    assert_eq!(harry.refused(&server, "").await, required);
    let asked = reqwest::get(server.url(&harry.path("&auth=1"))).await;
    assert_eq!(asked.unwrap().status(), 426, "an upgrade is all that lacks");
    let (mut socket, _) = harry.challenged(&server, "").await;
    say(&mut socket, r#"{"type":"send","id":"m0","text":"Hello"}"#).await;
    assert_eq!(code(&mut socket).await, 4004);
    drop(harry.proves(&server).await);

    let body = r#"{"id":"m1","text":"Hello"}"#;
    let whose = format!("user=harry&pub={}", harry.key().as_str());
    let client = reqwest::Client::new();
    for (method, path, body) in [
        ("POST", format!("/rooms/aaa/messages?{whose}"), body),
        ("GET", format!("/rooms/aaa/history?{whose}"), ""),
        ("GET", format!("/rooms/aaa/events?{whose}"), ""),
    ] {
        let right = || Request {
            method,
            person: &harry,
            host: server.address.clone(),
            room: "aaa",
            body,
            at: 0,
        };
        let other = Request {
            method: "PUT",
            ..right()
        };
        let said = async |proof: Option<String>| {
            let method = method.parse().unwrap();
            let mut request = client.request(method, server.url(&path)).body(body);
            if let Some(proof) = proof {
                request = request.header("Safe-Chat-Proof", proof);
            }
            let answer = request.send().await.unwrap();
            let status = answer.status().as_u16();
            if status == 200 {
                return (200, String::new());
            }
            let body: Value = answer.json().await.unwrap();
            (status, body["error"]["reason"].as_str().unwrap().to_owned())
        };
        assert_eq!(said(None).await, required, "{path}");
        assert_eq!(
            said(Some(other.header())).await,
            reason("proof_failed"),
            "{path}"
        );
        assert_eq!(said(Some(right().header())).await.0, 200, "{path}");
    }
    // Nor does anybody read under a name that belongs to another key, though it proves its own.
    let stranger = Person::new("harry", 2);
    let whose = format!("user=harry&pub={}", stranger.key().as_str());
    for what in ["history", "events", "group"] {
        let proof = stranger.reads(&server, 0);
        let asked = client.get(server.url(&format!("/rooms/aaa/{what}?{whose}")));
        let answer = asked.header("Safe-Chat-Proof", proof).send().await.unwrap();
        assert_eq!(answer.status(), 403, "{what}");
        let body: Value = answer.json().await.unwrap();
        assert_eq!(body["error"]["reason"], "key_mismatch", "{what}");
    }
    let open = reqwest::get(server.url("/rooms/bbb/history")).await;
    assert_eq!(open.unwrap().status(), 200);
}

/// What docs/protocol.md says of it, neither more nor less.
#[tokio::test]
async fn a_recorded_get_reads_its_room_for_a_minute_and_does_nothing_else() {
    let access = access::Config {
        rooms: vec!["*=proven".into()],
        ..access::Config::default()
    };
    let server = Server::guarded(world::unlimited(), &access).await;
    let harry = Person::new("harry", 1);
    drop(harry.proves(&server).await);
    let client = reqwest::Client::new();
    let (recorded, key) = (harry.reads(&server, 0), harry.key());
    let said = async |method: &str, proof: &str, room: &str, user: &str, what: &str| {
        let path = format!("/rooms/{room}/{what}?user={user}&pub={}", key.as_str());
        let request = client.request(method.parse().unwrap(), server.url(&path));
        let answer = request.header("Safe-Chat-Proof", proof).send().await;
        answer.unwrap().status().as_u16()
    };
    let late = harry.reads(&server, -61_000);
    for (method, proof, room, user, what, status) in [
        ("GET", &recorded, "aaa", "harry", "history", 200),
        ("GET", &recorded, "aaa", "harry", "events", 200),
        // There is none, which is told to whoever may ask.
        ("GET", &recorded, "aaa", "harry", "group", 404),
        ("GET", &recorded, "bbb", "harry", "history", 403),
        ("GET", &recorded, "aaa", "kim", "history", 403),
        ("POST", &recorded, "aaa", "harry", "messages", 403),
        ("GET", &late, "aaa", "harry", "history", 403),
    ] {
        let answer = said(method, proof, room, user, what).await;
        assert_eq!(answer, status, "{method} {room} {user} {what}");
    }
}

#[tokio::test]
async fn a_recorded_post_is_no_second_message_when_the_room_has_forgotten_its_id() {
    let server = Server::with(world::unlimited()).await;
    let harry = Person::new("harry", 1);
    let body = r#"{"id":"m1","text":"Hello"}"#;
    let recorded = Request {
        method: "POST",
        person: &harry,
        host: server.address.clone(),
        room: "aaa",
        body,
        at: 0,
    }
    .header();
    let key = harry.key();
    let path = format!("/rooms/aaa/messages?user=harry&pub={}", key.as_str());
    let post = async || {
        let request = reqwest::Client::new().post(server.url(&path)).body(body);
        let request = request.header("Safe-Chat-Proof", &recorded);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        (answer["seq"].clone(), answer["duplicate"].clone())
    };
    assert_eq!(post().await, (json!(1), json!(false)));
    // More than the 4096 that a room knows.
    let mut kim = server.json("kim", "&history=0").await;
    for batch in 0..33 {
        for n in 0..128 {
            let text = format!(r#"{{"type":"send","id":"{batch}.{n}","text":"x"}}"#);
            kim.feed(Message::text(text)).await.unwrap();
        }
        kim.flush().await.unwrap();
        while frame(&mut kim, "journaled").await["id"] != format!("{batch}.127") {}
    }
    assert_eq!(post().await, (json!(1), json!(true)));
}
