//! Key packages and welcomes over HTTP, at one gateway: who may ask for what, and what is refused.

use crate::support::devices::{Device, now, send};
use crate::world::{World, server::Server};
use safe_chat::{
    bus::{
        Admissions, Bus,
        admissions::{Kept, Place},
        packages::BURST,
    },
    gateway::Config,
    room::{Millis, RoomId, Seq},
};
use safe_chat_client::keys::{Claimed, Devices, Left, Removed, Request, Welcome, Welcomes};
use seal::{
    Delivery, Name,
    delivery::{Admission, Proven},
    member::{Event, Frame},
    rules::JoinPolicy,
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn left(device: &str, one_time: usize) -> Left {
    Left {
        device: device.into(),
        one_time,
        last_resort: true,
    }
}

async fn start() -> (Server, String) {
    start_with(Config::default()).await
}

async fn start_with(config: Config) -> (Server, String) {
    let server = Server::with(config).await;
    let url = server.url("");
    (server, url)
}

#[tokio::test]
async fn a_device_publishes_others_claim_and_it_sees_what_is_left() {
    let (_server, url) = start().await;
    let mut harry = Device::new(1, "harry", "phone", &url);
    let kim = Device::new(2, "kim", "laptop", &url);
    assert_eq!(harry.publishes(3).await.is::<Left>(), left("phone", 3));
    let claim = || kim.keys.claim(&harry.identity(), "harry", now());
    let claimed: Claimed = send(&claim()).await.is();
    let [package] = &claimed.packages[..] else {
        panic!("{claimed:?}")
    };
    assert!(!package.last_resort && package.device == "phone" && claimed.missing.is_empty());
    let of_harry = seal::Published::check(
        &package.package,
        &Proven {
            user: harry.certificate.user().clone(),
            identity: *harry.certificate.identity(),
        },
        now() / 1000,
    );
    assert_eq!(of_harry.unwrap().certificate, harry.certificate);
    let seen: Devices = send(&harry.keys.left("harry", now())).await.is();
    assert_eq!(seen.devices, [left("phone", 2)]);

    let none = send(&kim.keys.claim(&harry.identity(), "not-harry", now())).await;
    assert_eq!((none.status, none.reason()), (404, "not_found"));
    let removed: Removed = send(&harry.keys.remove("harry", "phone", now())).await.is();
    assert!(removed.removed);
    assert_eq!(send(&claim()).await.status, 404);
}

#[tokio::test]
async fn what_was_signed_by_another_or_for_something_else_is_refused() {
    let (_server, url) = start().await;
    let mut harry = Device::new(1, "harry", "phone", &url);
    let thief = Device::new(2, "harry", "phone", &url);
    let (one_time, last) = harry.packages(1);
    let publish = |at| {
        harry
            .keys
            .publish("harry", "phone", &one_time, Some(&last), at)
    };

    // By another key, in the place of the right one.
    let theirs = thief
        .keys
        .publish("harry", "phone", &one_time, Some(&last), now());
    let mut forged = publish(now());
    forged.proof = theirs.proof.clone();
    let mut elsewhere = publish(now());
    elsewhere.url = elsewhere.url.replace("/devices/phone", "/devices/laptop");
    let mut changed = publish(now());
    changed.body[20] ^= 1;
    let mut as_delete = publish(now());
    as_delete.method = "DELETE";
    let other_host = Device::keys_at(1, "https://other.example");
    let mut for_another = publish(now());
    for_another.proof = other_host
        .publish("harry", "phone", &one_time, Some(&last), now())
        .proof;
    let late = publish(now() - 120_000);
    for request in [forged, elsewhere, changed, as_delete, for_another, late] {
        let refused = send(&request).await;
        let told = (refused.status, refused.reason());
        assert_eq!(told, (403, "proof_failed"), "{}", request.url);
    }
    let mut unsigned = publish(now());
    unsigned.proof.clear();
    assert_eq!(send(&unsigned).await.reason(), "proof_failed");

    // Their own place does not take them: the certificate is of another identity, name or device.
    assert_eq!(send(&theirs).await.reason(), "bad_field");
    for (user, device) in [("charly", "phone"), ("harry", "laptop")] {
        let request = harry.keys.publish(user, device, &one_time, None, now());
        assert_eq!(
            send(&request).await.reason(),
            "bad_field",
            "{user} {device}"
        );
    }
    let swapped = harry
        .keys
        .publish("harry", "phone", std::slice::from_ref(&last), None, now());
    assert_eq!(send(&swapped).await.reason(), "bad_field");
    let swapped = harry
        .keys
        .publish("harry", "phone", &[], Some(&one_time[0]), now());
    assert_eq!(send(&swapped).await.reason(), "bad_field");
    let seen: Devices = send(&harry.keys.left("harry", now())).await.is();
    assert_eq!(seen.devices, [], "nothing of all that was kept");
    assert_eq!(send(&publish(now())).await.is::<Left>(), left("phone", 1));
}

#[tokio::test]
async fn a_recorded_claim_or_removal_counts_once() {
    let (_server, url) = start().await;
    let mut harry = Device::new(1, "harry", "phone", &url);
    let kim = Device::new(2, "kim", "laptop", &url);
    harry.publishes(5).await;
    let claim = kim.keys.claim(&harry.identity(), "harry", now());
    send(&claim).await.is::<Claimed>();
    let again = send(&claim).await;
    assert_eq!((again.status, again.reason()), (403, "proof_failed"));
    let seen: Devices = send(&harry.keys.left("harry", now())).await.is();
    assert_eq!(seen.devices, [left("phone", 4)]);

    let remove = harry.keys.remove("harry", "phone", now());
    send(&remove).await.is::<Removed>();
    harry.publishes(2).await;
    let again = send(&remove).await;
    assert_eq!((again.status, again.reason()), (409, "superseded"));
    let seen: Devices = send(&harry.keys.left("harry", now())).await.is();
    assert_eq!(seen.devices, [left("phone", 2)]);
}

#[tokio::test]
async fn a_recorded_publication_brings_nothing_back_through_whichever_gateway() {
    let config = Config {
        public_hosts: vec!["chat.example".into()],
        ..Config::default()
    };
    let mut world = World::new().await;
    let journal = Arc::new(world.database.connect(world.shards));
    let (_, second) = world.service(config.clone(), journal);
    let listener = safe_chat::gateway::bind("127.0.0.1", 0).await.unwrap();
    let other = listener.local_addr().unwrap().to_string();
    tokio::spawn(second.run(listener, CancellationToken::new()));
    let server = Server::of(world, config).await.run();
    let at = async |address: &str, request: &Request| {
        let mut request = request.clone();
        request.url = request.url.replace("chat.example", address);
        send(&request).await
    };
    let mut harry = Device::new(1, "harry", "phone", "http://chat.example");
    let (one_time, last) = harry.packages(2);
    let signed = now();
    let recorded = harry
        .keys
        .publish("harry", "phone", &one_time, Some(&last), signed);
    let published = at(&server.address, &recorded).await;
    assert_eq!(published.is::<Left>(), left("phone", 2));
    let remove = harry.keys.remove("harry", "phone", signed + 1);
    assert!(at(&server.address, &remove).await.is::<Removed>().removed);
    for address in [&server.address, &other] {
        let again = at(address, &recorded).await;
        assert_eq!((again.status, again.reason()), (409, "superseded"));
    }
    let counted = at(&other, &harry.keys.left("harry", now())).await;
    assert_eq!(counted.is::<Devices>().devices, []);
}

#[tokio::test]
async fn whoever_asks_much_is_told_to_wait_and_empties_no_store() {
    let (_server, url) = start_with(Config {
        key_claims_rate: 1,
        key_claims_burst: 25,
        address_key_claims_rate: 1,
        address_key_claims_burst: 60,
        ..Config::default()
    })
    .await;
    let mut harry = Device::new(1, "harry", "phone", &url);
    harry.publishes(30).await;
    let asks = async |seed: u8, whose: &Device| {
        let asker = Device::new(seed, "any", "any", &url);
        send(
            &asker
                .keys
                .claim(&whose.identity(), whose.certificate.user().as_str(), now()),
        )
        .await
    };
    // One identity gets ten of one person, then it waits.
    for _ in 0..10 {
        asks(50, &harry).await.is::<Claimed>();
    }
    let refused = asks(50, &harry).await;
    assert_eq!((refused.status, refused.reason()), (429, "rate_limited"));
    assert!(
        refused.retry_after.is_some_and(|seconds| seconds > 60),
        "{refused:?}"
    );
    // Others get the rest of what is given at once, then the last resort.
    let mut last_resorts = 0;
    for number in 0..20 {
        let claimed: Claimed = asks(60 + number / 10, &harry).await.is();
        last_resorts += u64::from(claimed.packages[0].last_resort);
    }
    assert_eq!(last_resorts, 30 - BURST);
    let seen: Devices = send(&harry.keys.left("harry", now())).await.is();
    assert_eq!(seen.devices, [left("phone", 30 - BURST as usize)]);
    // The address, whoever it says it is; only what was answered or limited further in counted.
    let mut given = 0;
    let refused = loop {
        let answer = asks(70 + given, &harry).await;
        if answer.status != 200 {
            break answer;
        }
        given += 1;
    };
    assert_eq!((given, refused.status), (30, 429));
    assert!(
        refused.body["error"]["message"]
            .to_string()
            .contains("address")
    );
}

#[tokio::test]
async fn who_asks_for_the_devices_of_its_own_is_not_told_to_wait_so_soon() {
    let (_server, url) = start().await;
    let mut harry = Device::new(1, "harry", "phone", &url);
    harry.publishes(30).await;
    let began = now();
    // Two of the same millisecond would be the same request.
    for n in 0..30 {
        let request = harry.keys.claim(&harry.identity(), "harry", began + n);
        send(&request).await.is::<Claimed>();
    }
}

#[tokio::test]
async fn a_store_is_not_filled_from_one_address() {
    let (_server, url) = start_with(Config {
        key_publish_rate: 1,
        key_publish_burst: 10,
        ..Config::default()
    })
    .await;
    let mut devices: Vec<_> = (1..12)
        .map(|seed| Device::new(seed, "harry", "phone", &url))
        .collect();
    for (number, device) in devices.iter_mut().enumerate() {
        let answer = device.publishes(1).await;
        match number {
            0..10 => assert_eq!(answer.status, 200, "{answer:?}"),
            _ => {
                assert_eq!(answer.reason(), "rate_limited");
                assert!(answer.retry_after.is_some());
            }
        }
    }
}

#[tokio::test]
async fn a_welcome_is_listed_fetched_and_deleted_by_its_device_only() {
    let (server, url) = start().await;
    let (harry, kim) = (
        Device::new(1, "harry", "phone", &url),
        Device::new(2, "kim", "laptop", &url),
    );
    let writer: Arc<dyn Bus> = Arc::new(server.world.hub.connect());
    let place = Place {
        room: RoomId::parse("aaa").unwrap(),
        seq: Seq(17),
        epoch: 3,
    };
    let (welcome, tree) = (vec![7; 300], vec![8; 300_000]);
    let admission = Admission {
        welcome: welcome.clone(),
        tree: tree.clone(),
    };
    let (by, to) = (&harry.certificate, std::slice::from_ref(&kim.certificate));
    let kept = writer
        .put_admission(&place, by, to, &admission, Millis(5))
        .await;
    assert_eq!(kept.unwrap(), [Kept::Waits]);

    let list = async |device: &Device| {
        let certificate = &device.certificate;
        let (user, name) = (certificate.user().as_str(), certificate.device().as_str());
        let answer = send(&device.keys.welcomes(user, name, now())).await;
        assert_eq!(answer.retry_after, Some(30), "it need not poll hard");
        answer.is::<Welcomes>()
    };
    assert_eq!(list(&harry).await.welcomes, []);
    let waiting = list(&kim).await;
    let [one] = &waiting.welcomes[..] else {
        panic!("{waiting:?}")
    };
    assert_eq!((&*one.room, one.seq, one.epoch, one.at), ("aaa", 17, 3, 5));
    assert_eq!((&*one.by.user, &*one.by.device), ("harry", "phone"));
    assert_eq!(one.by.key, harry.identity());
    assert_eq!((waiting.poll_after_ms, one.tree.len()), (30_000, 0));

    let fetch = || kim.keys.welcome("kim", "laptop", &one.id, now());
    let whole: Welcome = send(&fetch()).await.is();
    assert_eq!((whole.welcome, whole.tree), (welcome, tree));
    let theirs = Device::keys_at(1, &url).welcome("kim", "laptop", &one.id, now());
    assert_eq!(send(&theirs).await.status, 404, "in their own queue");
    let mut stolen = fetch();
    stolen.proof = theirs.proof;
    assert_eq!(send(&stolen).await.reason(), "proof_failed");
    for id in ["x", "aaa.17.3", &format!("aaa.18.3.{}", harry.identity())] {
        let request = kim.keys.welcome("kim", "laptop", id, now());
        assert_eq!(send(&request).await.reason(), "not_found", "{id}");
    }
    let confirm = || kim.keys.confirm("kim", "laptop", &one.id, now());
    assert!(send(&confirm()).await.is::<Removed>().removed);
    assert!(!send(&confirm()).await.is::<Removed>().removed);
    assert_eq!(send(&fetch()).await.status, 404);
    assert_eq!(list(&kim).await.welcomes, []);
    let bucket = safe_chat::bus::Bucket::Welcomes;
    assert_eq!(
        writer.names(bucket, ">").await.unwrap(),
        [""; 0],
        "all is gone"
    );
}

#[tokio::test]
async fn a_device_that_is_away_is_added_and_joins_when_it_comes() {
    let (server, url) = start().await;
    let mut harry = Device::new(1, "harry", "phone", &url);
    let mut kim = Device::new(2, "kim", "laptop", &url);
    kim.publishes(1).await;
    let (room, seconds) = (Name::parse("aaa").unwrap(), now() / 1000);
    let by = Proven {
        user: harry.certificate.user().clone(),
        identity: *harry.certificate.identity(),
    };
    let policy = JoinPolicy::Invited;
    let founded = harry
        .member
        .found(&room, policy, &[7; 16], seconds)
        .unwrap();
    let [Frame::Found { founding, .. }] = &founded.frames[..] else {
        panic!("{founded:?}")
    };
    let mut delivery = Delivery::found(room.clone(), founding, &by, seconds).unwrap();
    let event = Event::Founded(&founding.group_info);
    drop(harry.member.receive(&room, event).unwrap());

    let claim = harry.keys.claim(&kim.identity(), "kim", now());
    let claimed: Claimed = send(&claim).await.is();
    let packages = [claimed.packages[0].package.clone()];
    let person = seal::member::Person {
        user: seal::Name::parse("kim").unwrap(),
        identity: seal::Public::parse(&kim.identity()).unwrap(),
    };
    let added = harry
        .member
        .add(&room, &[person], &packages, seconds)
        .unwrap();
    let [Frame::Change { bundle, .. }] = &added.frames[..] else {
        panic!("{added:?}")
    };
    let accepted = delivery.decide(bundle, &by, seconds).unwrap();
    let changed = delivery.apply(accepted);
    drop(
        harry
            .member
            .receive(&room, Event::Commit(&bundle.commit))
            .unwrap(),
    );
    let place = Place {
        room: RoomId::parse("aaa").unwrap(),
        seq: Seq(2),
        epoch: changed.epoch,
    };
    let writer: Arc<dyn Bus> = Arc::new(server.world.hub.connect());
    let (by, to) = (&changed.by, &changed.joined[..]);
    let admission = changed.admission.unwrap();
    let kept = writer
        .put_admission(&place, by, to, &admission, Millis(1))
        .await;
    assert_eq!(kept.unwrap(), [Kept::Waits]);

    let listed: Welcomes = send(&kim.keys.welcomes("kim", "laptop", now())).await.is();
    let id = &listed.welcomes[0].id;
    let whole: Welcome = send(&kim.keys.welcome("kim", "laptop", id, now()))
        .await
        .is();
    let joined = kim.member.join(&room, &whole.welcome, &whole.tree, seconds);
    drop(joined.unwrap());
    assert!(kim.member.room_code(&room).is_some());
    assert_eq!(kim.member.room_code(&room), harry.member.room_code(&room));
}

#[tokio::test]
async fn below_a_path_the_rest_of_the_path_is_signed() {
    let config = Config {
        base_path: "/talk".into(),
        ..Config::default()
    };
    let server = Server::of(World::new().await, config).await.run();
    let mut harry = Device::new(1, "harry", "phone", &server.url("/talk"));
    assert_eq!(harry.publishes(1).await.is::<Left>(), left("phone", 1));
}

#[tokio::test]
async fn without_the_bus_it_is_said_when_to_come_back() {
    let (server, url) = start().await;
    let mut harry = Device::new(1, "harry", "phone", &url);
    for connection in 0..8 {
        server
            .world
            .hub
            .cut(safe_chat::bus::memory::ConnectionId(connection));
        let answer = harry.publishes(1).await;
        if answer.status == 200 {
            continue;
        }
        assert_eq!((answer.status, answer.reason()), (503, "unavailable"));
        assert!(answer.retry_after.is_some());
        return;
    }
    panic!("no connection was the gateway's");
}
