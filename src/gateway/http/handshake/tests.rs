//! How long a client may take to show who it is, and what that time is not counted for.

use super::*;
use crate::{
    access::{self, Access, Policy},
    bus::memory::{Config as Bus, Hub},
    gateway::{Config, Service, StartAt},
    journal::{memory::Database, readback::Partitions},
    room::{Identity, Incarnation, Key, RoomId, UserId},
    wire::Protocol,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use std::net::Ipv4Addr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpListener,
    time::Instant,
};
use uuid::Uuid;

/// The public key of the first example of RFC 8032.
const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

#[tokio::test(start_paused = true)]
async fn who_shows_nothing_in_10_s_may_come_back() {
    let key = PublicKey::parse(&Key::parse(KEY).unwrap()).unwrap().into();
    let hosts = Hosts::none();
    for shows in [
        Shows::Key {
            key,
            former: None,
            hosts,
        },
        Shows::Token,
    ] {
        let (mut near, mut far) = duplex(4096);
        let begun = Instant::now();
        let unadmitted = unadmitted(shows, Access::default());
        let entering = tokio::spawn(async move { unadmitted.enter(&mut near).await.is_some() });
        let said = rest(&mut far).await;
        assert_eq!(begun.elapsed(), DEADLINE);
        drop(far);
        assert!(!entering.await.unwrap());
        // A network that stalls must not end anybody for good.
        assert_ends(&said, Close::Late);
        assert_eq!(Close::Late.code(), 4010);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_came_in_time_is_not_late_because_its_issuer_is_slow() {
    let issuer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let config = access::Config {
        default: Policy::Token,
        jwks: Some(format!("http://{}/keys", issuer.local_addr().unwrap())),
        jwks_timeout_ms: 20_000,
        ..access::Config::default()
    };
    let unadmitted = unadmitted(Shows::Token, Access::load(&config).unwrap());
    let (mut near, mut far) = duplex(4096);
    let entering = tokio::spawn(async move { unadmitted.enter(&mut near).await.is_some() });
    let begun = Instant::now();
    far.write_all(&token_frame()).await.unwrap();
    let said = rest(&mut far).await;
    // It accepts, and never answers.
    assert_eq!(begun.elapsed(), Duration::from_secs(20));
    drop((far, issuer));
    assert!(!entering.await.unwrap());
    let text = String::from_utf8_lossy(&said);
    assert!(text.contains(r#""reason":"unavailable""#), "{text}");
    assert_ends(&said, Close::Unavailable);
}

/// A first frame, with a mask of zeros, whose token names a key that nobody knows yet.
fn token_frame() -> Vec<u8> {
    let (header, claims) = (r#"{"alg":"EdDSA","kid":"new"}"#, r#"{"sub":"harry"}"#);
    let parts = [header, claims, "x"].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let frame = format!(
        r#"{{"type":"token","id":"t1","token":"{}"}}"#,
        parts.join(".")
    );
    let length = (frame.len() as u16).to_be_bytes();
    [
        &[0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0],
        frame.as_bytes(),
    ]
    .concat()
}

async fn rest(far: &mut DuplexStream) -> Vec<u8> {
    let mut said = Vec::new();
    far.read_to_end(&mut said).await.unwrap();
    said
}

fn assert_ends(said: &[u8], close: Close) {
    let end = [&close.code().to_be_bytes(), close.reason().as_bytes()].concat();
    assert!(said.ends_with(&end), "{}", String::from_utf8_lossy(said));
}

/// A client of a gateway with nobody else.
fn unadmitted(shows: Shows, access: Access) -> Unadmitted {
    let (hub, me) = (Hub::default(), Incarnation::new(Uuid::from_u128(1)));
    let journal = Database::new(Partitions::new(1000)).connect(Bus::default().shards);
    let (bus, journal) = (Arc::new(hub.connect()), Arc::new(journal));
    let handle = Service::new(Config::default(), access, me, "node", bus, journal).handle();
    let key = Key::parse(KEY).unwrap();
    Unadmitted {
        client: handle.client(Ipv4Addr::LOCALHOST.into()),
        handle,
        shows,
        join: Join {
            room: RoomId::parse("aaa").unwrap(),
            user: UserId::parse("harry").unwrap(),
            key,
            identity: Identity::Proven,
            device: None,
            from: StartAt::default(),
            protocol: Protocol::Json,
            policy: None,
            former: None,
        },
        connection: Connection::new(),
    }
}
