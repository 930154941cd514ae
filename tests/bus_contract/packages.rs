//! Key packages: each goes to one.

use crate::world::World;
use futures::future::join_all;
use safe_chat::bus::{
    Error,
    memory::{self, ConnectionId, Fate, Faults, Hub, Op},
    packages::{
        BURST, Left, MOST_BYTES, MOST_DEVICES, MOST_ONE_TIME, Offer, Package, Packages, Person,
        Refusal, Taken,
    },
};
use seal::{Identity, Name};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

const NOW: u64 = 1_800_000_000;

/// When the next request was signed.
fn signed() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    NOW * 1000 + LAST.fetch_add(1, Relaxed)
}

/// A claim that nobody has made.
fn claim() -> [u8; 8] {
    signed().to_be_bytes()
}

fn person(seed: u8) -> Person {
    Person {
        identity: Identity::from_seed(&[seed; 32]).public(),
        user: name("harry"),
    }
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn package(text: String) -> Package {
    Package {
        bytes: text.into_bytes().into(),
        until: NOW + 1000,
    }
}

fn offer(count: usize, with_last: bool) -> Offer {
    let one_time = (0..count).map(|number| package(format!("package {number}")));
    Offer {
        device_key: [7; 32],
        one_time: one_time.collect(),
        last_resort: with_last.then(|| package("last".into())),
    }
}

pub(crate) async fn no_two_who_ask_get_the_same_package(world: World) {
    let (harry, phone) = (person(1), name("phone"));
    let count = BURST as usize;
    let left = world
        .a
        .publish_packages(&harry, &phone, offer(count, true), (signed(), NOW))
        .await;
    let whole = Left {
        one_time: count,
        last_resort: true,
    };
    assert_eq!(left.unwrap(), whole);
    // At a time, as many as never get in each other's way for long.
    let mut seen = BTreeSet::new();
    for _ in 0..count / 4 {
        let asks = [&world.a, &world.b, &world.a, &world.b]
            .map(async |bus| bus.claim_packages(&harry, &claim(), NOW).await);
        for answer in join_all(asks).await {
            let answer = answer.unwrap();
            let [(device, Taken::OneTime(bytes))] = &answer[..] else {
                panic!("{answer:?}")
            };
            assert_eq!(device, &phone);
            assert!(seen.insert(bytes.clone()), "given twice: {bytes:?}");
        }
    }
    assert_eq!(seen.len(), count);
    // The last resort goes to everybody, and stays.
    for bus in [&world.a, &world.b] {
        let answer = bus.claim_packages(&harry, &claim(), NOW).await.unwrap();
        let last = Taken::LastResort("last".as_bytes().into());
        assert_eq!(answer, [(phone.clone(), last)]);
    }
}

pub(crate) async fn what_is_left_is_told_and_what_is_removed_is_gone(world: World) {
    let harry = person(2);
    for (device, count) in [("phone", 3), ("laptop", 0)] {
        let offer = offer(count, true);
        let published = world
            .a
            .publish_packages(&harry, &name(device), offer, (signed(), NOW))
            .await;
        published.unwrap();
    }
    let left = |one_time| Left {
        one_time,
        last_resort: true,
    };
    let told = world.b.left_packages(&harry, NOW).await.unwrap();
    assert_eq!(told, [(name("laptop"), left(0)), (name("phone"), left(3))]);
    // The same identity under another name, and another identity of the same name, are others.
    let other = Person {
        user: name("charly"),
        ..harry.clone()
    };
    for other in [other, person(3)] {
        assert_eq!(world.b.left_packages(&other, NOW).await.unwrap(), []);
        assert_eq!(
            world.b.claim_packages(&other, &claim(), NOW).await.unwrap(),
            []
        );
        assert!(
            !world
                .b
                .remove_packages(&other, &name("phone"), signed())
                .await
                .unwrap()
        );
    }
    assert!(
        world
            .b
            .remove_packages(&harry, &name("phone"), signed())
            .await
            .unwrap()
    );
    assert!(
        !world
            .a
            .remove_packages(&harry, &name("phone"), signed())
            .await
            .unwrap()
    );
    let told = world.a.left_packages(&harry, NOW).await.unwrap();
    assert_eq!(told, [(name("laptop"), left(0))]);
    let late = world
        .a
        .claim_packages(&harry, &claim(), NOW + 1001)
        .await
        .unwrap();
    assert_eq!(late, [(name("laptop"), Taken::Nothing)], "its time is over");
}

pub(crate) async fn a_device_has_bounds_and_so_has_an_identity(world: World) {
    let harry = person(4);
    let many = offer(MOST_ONE_TIME + 1, false);
    let left = world
        .a
        .publish_packages(&harry, &name("phone"), many, (signed(), NOW))
        .await;
    assert_eq!(left.unwrap().one_time, MOST_ONE_TIME);
    let large = Offer {
        one_time: vec![package("x".repeat(MOST_BYTES))],
        ..Offer::default()
    };
    let refused = world
        .a
        .publish_packages(&harry, &name("large"), large, (signed(), NOW))
        .await;
    assert!(matches!(refused, Err(Refusal::TooLarge)), "{refused:?}");

    let publish = |number: usize, user: &str| {
        let person = Person {
            user: name(user),
            ..harry.clone()
        };
        let bus = world.b.clone();
        async move {
            let device = name(&format!("device-{number}"));
            bus.publish_packages(&person, &device, offer(1, false), (signed(), NOW))
                .await
        }
    };
    for number in 1..MOST_DEVICES {
        publish(number, "harry").await.unwrap();
    }
    let refused = publish(MOST_DEVICES, "under-another-name").await;
    assert!(
        matches!(refused, Err(Refusal::TooManyDevices)),
        "{refused:?}"
    );
    publish(1, "harry").await.expect("one that is there");
    let first = name("device-1");
    assert!(
        world
            .a
            .remove_packages(&harry, &first, signed())
            .await
            .unwrap()
    );
    publish(MOST_DEVICES, "harry")
        .await
        .expect("there is a place at once");
}

pub(crate) async fn what_was_handed_out_does_not_come_back(world: World) {
    let (harry, phone) = (person(5), name("phone"));
    let publish = async || {
        let published = world
            .a
            .publish_packages(&harry, &phone, offer(3, false), (signed(), NOW))
            .await;
        published.unwrap().one_time
    };
    assert_eq!(publish().await, 3);
    world.b.claim_packages(&harry, &claim(), NOW).await.unwrap();
    assert_eq!(publish().await, 2, "a repeated request brings nothing back");
}

/// Through whichever node: what was recorded undoes nothing that came later.
pub(crate) async fn a_recorded_request_changes_nothing(world: World) {
    let (harry, phone) = (person(6), name("phone"));
    let first = (signed(), NOW);
    let publish = |bus: &World, count, times| {
        let (bus, harry, phone) = (bus.a.clone(), harry.clone(), phone.clone());
        async move {
            bus.publish_packages(&harry, &phone, offer(count, false), times)
                .await
        }
    };
    publish(&world, 3, first).await.unwrap();
    let claim = claim();
    let claimed = world.a.claim_packages(&harry, &claim, NOW).await.unwrap();
    assert!(matches!(claimed[..], [(_, Taken::OneTime(_))]));
    let claimed = world.b.claim_packages(&harry, &claim, NOW).await.unwrap();
    assert_eq!(claimed, [(phone.clone(), Taken::Repeated)]);
    let removal = signed();
    let removed = world.b.remove_packages(&harry, &phone, removal).await;
    assert!(removed.unwrap());
    for bus in [&world.a, &world.b] {
        let again = bus
            .publish_packages(&harry, &phone, offer(3, false), first)
            .await;
        assert!(matches!(again, Err(Refusal::Superseded)), "{again:?}");
        assert_eq!(bus.left_packages(&harry, NOW).await.unwrap(), []);
        let none = bus.claim_packages(&harry, &claim, NOW).await.unwrap();
        assert_eq!(none, []);
    }
    let times = (signed(), NOW);
    assert_eq!(publish(&world, 4, times).await.unwrap().one_time, 3);
    for signed in [removal, times.0] {
        let again = world.a.remove_packages(&harry, &phone, signed).await;
        assert!(matches!(again, Err(Refusal::Superseded)), "{again:?}");
    }
    // A name that was removed takes a place for some minutes at most.
    for number in 0..2 * MOST_DEVICES as u64 {
        let (device, later) = (name(&format!("device-{number}")), NOW + 1000 * number);
        let bus = &world.b;
        let published = bus
            .publish_packages(&harry, &device, offer(1, false), (later * 1000, later))
            .await;
        published.unwrap();
        let removed = bus.remove_packages(&harry, &device, later * 1000 + 1).await;
        assert!(removed.unwrap());
    }
    let pattern = format!("{}.>", harry.identity);
    let bucket = safe_chat::bus::Bucket::Packages;
    let mut kept = 0;
    for name in world.a.names(bucket, &pattern).await.unwrap() {
        kept += usize::from(world.a.read(bucket, &name).await.unwrap().is_some());
    }
    assert!(kept <= MOST_DEVICES, "{kept}");
}

pub(crate) async fn a_full_store_takes_no_more_and_still_gives(world: World) {
    let (world, phone) = (world.small().await, name("phone"));
    let large = Offer {
        one_time: vec![package("x".repeat(4096))],
        ..offer(3, true)
    };
    let mut taken = Vec::new();
    let refused = loop {
        let one = person(100 + taken.len() as u8);
        match world
            .a
            .publish_packages(&one, &phone, large.clone(), (signed(), NOW))
            .await
        {
            Ok(_) => taken.push(one),
            Err(refusal) => break refusal,
        }
    };
    let is_full = matches!(refused, Refusal::Bus(Error::Full(_)));
    assert!(
        is_full && taken.len() > 8,
        "{refused:?} after {}",
        taken.len()
    );
    for _ in 0..2 {
        let given = world
            .b
            .claim_packages(&taken[0], &claim(), NOW)
            .await
            .unwrap();
        let is_given = matches!(&given[..], [(_, Taken::OneTime(_) | Taken::LastResort(_))]);
        assert!(is_given, "{given:?}");
    }
    assert!(
        world
            .b
            .remove_packages(&taken[1], &phone, signed())
            .await
            .unwrap()
    );
}

/// Every call takes a while, so that all who ask have read before one of them writes.
struct Slow;

impl Faults for Slow {
    fn call(&self, _: ConnectionId, _: Op) -> Fate {
        Fate {
            before: Duration::from_millis(1),
            ..Fate::default()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_read_what_somebody_else_took_takes_another() {
    let hub = Hub::with_faults(memory::Config::default(), Arc::new(Slow));
    let (harry, bus) = (person(1), hub.connect());
    let published = bus
        .publish_packages(&harry, &name("phone"), offer(4, false), (signed(), NOW))
        .await;
    published.unwrap();
    let asks = (0..4).map(async |_| bus.claim_packages(&harry, &claim(), NOW).await);
    let mut seen = BTreeSet::new();
    for answer in join_all(asks).await {
        let [(_, Taken::OneTime(bytes))] = &answer.unwrap()[..] else {
            panic!("there is one for each")
        };
        assert!(seen.insert(bytes.clone()), "given twice: {bytes:?}");
    }
    assert_eq!(
        bus.left_packages(&harry, NOW).await.unwrap()[0].1,
        Left::default()
    );
}
