//! How long a client may take to show who it is.

use super::*;
use crate::{
    bus::memory::{Config as Bus, Hub},
    gateway::{Config, From, Service},
    journal::{memory::Database, readback::Partitions},
    room::{Identity, Incarnation, Key, RoomId, UserId},
    wire::Protocol,
};
use std::net::Ipv4Addr;
use tokio::{
    io::{AsyncReadExt, duplex},
    time::Instant,
};
use uuid::Uuid;

/// The public key of the first example of RFC 8032.
const KEY: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

#[tokio::test(start_paused = true)]
async fn who_shows_nothing_in_10_s_is_closed() {
    let key = PublicKey::parse(&Key::parse(KEY).unwrap()).unwrap().into();
    let hosts = Hosts::none();
    is_closed_after_10_s(Shows::Key { key, hosts }, Close::Proof(Fault::Late)).await;
    is_closed_after_10_s(Shows::Token, Close::NotAdmitted).await;
}

async fn is_closed_after_10_s(shows: Shows, close: Close) {
    let (hub, me) = (Hub::default(), Incarnation::new(Uuid::from_u128(1)));
    let journal = Database::new(Partitions::new(1000)).connect(Bus::default().shards);
    let (bus, journal) = (Arc::new(hub.connect()), Arc::new(journal));
    let service = Service::seeded(Config::default(), me, "node", bus, journal, 1);
    let handle = service.handle();
    let key = Key::parse(KEY).unwrap();
    let unadmitted = Unadmitted {
        client: handle.client(Ipv4Addr::LOCALHOST.into()),
        handle,
        shows,
        join: Join {
            room: RoomId::parse("aaa").unwrap(),
            user: UserId::parse("harry").unwrap(),
            key,
            identity: Identity::Proven,
            device: None,
            from: From::default(),
            protocol: Protocol::Json,
        },
        connection: Connection::new(),
    };
    let (mut near, mut far) = duplex(4096);
    let begun = Instant::now();
    let entering = tokio::spawn(async move { unadmitted.enter(&mut near).await.is_some() });
    let mut said = Vec::new();
    far.read_to_end(&mut said).await.unwrap();
    assert_eq!(begun.elapsed(), DEADLINE);
    drop(far);
    assert!(!entering.await.unwrap());
    let end = [&close.code().to_be_bytes(), close.reason().as_bytes()].concat();
    assert!(said.ends_with(&end), "{}", String::from_utf8_lossy(&said));
}
