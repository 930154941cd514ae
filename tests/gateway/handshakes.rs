//! Handshakes at a gateway: what it refuses itself, and that nobody is held up by somebody else's.

use crate::support::sealed::{Device, send};
use crate::world::{Client, Gateway, World, join};
use safe_chat::{
    bus::memory::{ConnectionId, Fate, Faults, Op},
    gateway::Join,
    room::{Body, CommandId, Identity, Policy, Reason},
    wire::{Message, ServerFrame},
};
use seal::{Handshake, rules::JoinPolicy};
use serde_json::{Value, from_str};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Sessions of whoever attacks: as many as a user may have.
const ATTACKERS: usize = 8;
/// Handshakes of each.
const FLOOD: usize = 50;

/// Storing takes 5 ms, and is counted.
#[derive(Default)]
struct Slow(AtomicUsize);

impl Faults for Slow {
    fn call(&self, _: ConnectionId, op: Op) -> Fate {
        if op != Op::Submit {
            return Fate::default();
        }
        self.0.fetch_add(1, Relaxed);
        Fate {
            before: Duration::from_millis(5),
            ..Fate::default()
        }
    }
}

async fn comes(gateway: &Gateway, device: &Device) -> Client {
    let wanted = Join {
        user: device.user(),
        key: device.key(),
        identity: Identity::Proven,
        policy: Some(Policy::Sealed),
        former: None,
        ..join("-")
    };
    gateway.join(wanted).await
}

fn say(client: &mut Client, id: &str, body: &Body) {
    client.say(&from_str(&send(id, body)).unwrap());
}

/// What becomes of a message.
async fn outcome(client: &mut Client, id: &str) -> Value {
    loop {
        let frame = client.frame().await;
        if frame["id"] == id && frame["type"] != "accepted" && frame["type"] != "event" {
            return frame;
        }
    }
}

async fn reason(client: &mut Client, id: &str, body: &Body) -> String {
    say(client, id, body);
    let rejected = outcome(client, id).await;
    assert_eq!(rejected["type"], "rejected", "{rejected}");
    rejected["reason"].as_str().unwrap().into()
}

/// Its handshake, placed and taken in.
async fn does(client: &mut Client, device: &mut Device, id: &str, body: &Body) -> u64 {
    say(client, id, body);
    let placed = outcome(client, id).await["seq"].as_u64().unwrap();
    device.take(body);
    device.caught_up();
    placed
}

/// A gateway with the room that harry has made, and whose group has nobody else yet.
async fn founded(slow: &Arc<Slow>) -> (World, Gateway, Client, Device) {
    let mut world = World::of_today_with(slow.clone()).await;
    let gateway = world.gateway();
    let mut harry = Device::new("harry", 1);
    let mut client = comes(&gateway, &harry).await;
    let founding = harry.found(JoinPolicy::Invited);
    does(&mut client, &mut harry, "f", &founding).await;
    (world, gateway, client, harry)
}

/// The same commit, said to be of another epoch: only who follows the group sees that it is none.
fn of_epoch(body: &Body, epoch: u64) -> Body {
    let Body::Handshake(bytes) = body else {
        panic!("a handshake")
    };
    let Ok(Handshake::Bundle(mut bundle)) = Handshake::decode(bytes) else {
        panic!("a bundle")
    };
    // Behind version, format, and the group's id with its length in one byte.
    let at = 4 + 1 + usize::from(bundle.commit[4]);
    bundle.commit[at..at + 8].copy_from_slice(&epoch.to_be_bytes());
    Body::Handshake(Handshake::Bundle(bundle).encode().into())
}

#[tokio::test(start_paused = true)]
async fn what_no_group_takes_is_refused_here_and_stored_nowhere() {
    let slow = Arc::new(Slow::default());
    let (_world, gateway, mut client, mut harry) = founded(&slow).await;
    let first = harry.renew();
    let made = does(&mut client, &mut harry, "r1", &first).await;
    let mut other = comes(&gateway, &Device::new("charly", 2)).await;

    let stored = slow.0.load(Relaxed);
    let garbage = |bytes: &[u8]| Body::Handshake(bytes.to_vec().into());
    let proposal = Handshake::Leave(vec![7; 100]).encode();
    let list = Handshake::Devices(vec![7; 5000]).encode();
    let bundle = |commit: &[u8]| {
        let mut bundle = match Handshake::decode(&bytes_of(&first)) {
            Ok(Handshake::Bundle(bundle)) => bundle,
            other => panic!("{other:?}"),
        };
        bundle.commit = commit.to_vec();
        garbage(&Handshake::Bundle(bundle).encode())
    };
    for (n, (body, why)) in [
        (garbage(&[1, 2, 3]), "bad_bundle"),
        (garbage(&[9; 90_000]), "bad_bundle"),
        (garbage(&proposal), "bad_bundle"),
        (garbage(&list), "too_large"),
        (bundle(&[0; 300]), "bad_bundle"),
        (bundle(&[]), "bad_bundle"),
        (first.clone(), "stale_epoch"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(
            reason(&mut other, &format!("x{n}"), &body).await,
            why,
            "{n}"
        );
    }
    say(&mut other, "late", &first);
    let late = outcome(&mut other, "late").await;
    let named = format!("event {made}");
    assert!(late["message"].to_string().contains(&named), "{late}");
    assert_eq!(late["seq"], serde_json::Value::from(made));
    assert_eq!(slow.0.load(Relaxed), stored, "none of them was stored");

    // The one that made the epoch, sent again, is a duplicate as any message.
    say(&mut client, "r1", &first);
    let again = outcome(&mut client, "r1").await;
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&made.into(), &true.into())
    );

    // A room without a group.
    let open = Join {
        room: safe_chat::room::RoomId::parse("bbb").unwrap(),
        ..join("kim")
    };
    let mut kim = gateway.join(open).await;
    let stored = slow.0.load(Relaxed);
    assert_eq!(reason(&mut kim, "h", &first).await, "not_sealed");
    assert_eq!(slow.0.load(Relaxed), stored);
}

/// Nobody but the gateway reads it: it is in no file of the bus.
#[tokio::test(start_paused = true)]
async fn text_for_a_sealed_room_is_refused_here_and_stored_nowhere() {
    let slow = Arc::new(Slow::default());
    let (_world, gateway, mut client, harry) = founded(&slow).await;
    let stored = slow.0.load(Relaxed);
    let text = Body::Text("in the clear".into());
    assert_eq!(reason(&mut client, "t1", &text).await, "sealed_room");
    let message = Message {
        id: Some(CommandId::parse("t2").unwrap()),
        to: None,
        body: text,
    };
    let whose = (harry.key(), Identity::Proven);
    let room = join("-").room;
    let posted = gateway.handle.post(&room, harry.user(), whose, message);
    assert!(matches!(
        posted.await,
        Ok(ServerFrame::Rejected { rejection, .. }) if rejection.reason == Reason::SealedRoom
    ));
    assert_eq!(slow.0.load(Relaxed), stored);
}

fn bytes_of(body: &Body) -> Vec<u8> {
    match body {
        Body::Handshake(bytes) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// What the gateway cannot refuse goes to the owner, and others wait for one of them at most.
#[tokio::test(start_paused = true)]
async fn a_flood_of_handshakes_holds_up_nobody_else() {
    let slow = Arc::new(Slow::default());
    let (_world, gateway, mut client, mut harry) = founded(&slow).await;
    let hello = harry.encrypt("Hello");
    let renewal = harry.renew();
    let flood = of_epoch(&renewal, 9);
    let mallory = Device::new("mallory", 2);
    let mut attackers = Vec::new();
    for _ in 0..ATTACKERS {
        attackers.push(comes(&gateway, &mallory).await);
    }
    for n in 0..FLOOD {
        for attacker in &mut attackers {
            say(attacker, &format!("x{n}"), &flood);
        }
    }
    let (stored, since) = (slow.0.load(Relaxed), Instant::now());
    say(&mut client, "m1", &hello);
    let placed = outcome(&mut client, "m1").await;
    assert_eq!(placed["type"], "journaled", "{placed}");
    let (passed, waited) = (slow.0.load(Relaxed) - stored, since.elapsed());
    assert!(
        passed <= 3,
        "it waited for {passed} stored messages, {waited:?}"
    );

    // So does an honest change of the group, behind one of each attacker.
    let stored = slow.0.load(Relaxed);
    say(&mut client, "r1", &renewal);
    let placed = outcome(&mut client, "r1").await;
    assert_eq!(placed["type"], "journaled", "{placed}");
    let passed = slow.0.load(Relaxed) - stored;
    assert!(passed <= ATTACKERS + 3, "it waited for {passed}");
    for attacker in &mut attackers {
        for n in 0..FLOOD {
            let refused = outcome(attacker, &format!("x{n}")).await;
            assert_eq!(refused["reason"], "stale_epoch", "{refused}");
            assert!(refused["seq"].is_u64(), "{refused}");
        }
    }
}
