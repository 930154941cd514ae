//! Welcomes that wait for devices.

use crate::world::World;
use safe_chat::{
    bus::{
        Admissions, Bucket, Error,
        admissions::{Kept, MOST_BY_ADDER, MOST_BYTES, MOST_WAITING, Place, Recipient, WelcomeId},
    },
    room::{Millis, RoomId, Seq},
};
use seal::{Certificate, DeviceKey, Identity, Name, delivery::Admission};

const AT: Millis = Millis(1_800_000_000_000);

fn device(seed: u8, user: &str, device: &str) -> Certificate {
    let name = |text| Name::parse(text).unwrap();
    let key = DeviceKey::from_seed(&[seed; 32]);
    Identity::from_seed(&[seed; 32]).certify(name(user), name(device), &key)
}

fn place(room: &str, seq: u64) -> Place {
    Place {
        room: RoomId::parse(room).unwrap(),
        seq: Seq(seq),
        epoch: seq + 100,
    }
}

fn admission(bytes: usize) -> Admission {
    Admission {
        welcome: b"welcome".to_vec(),
        tree: (0..bytes).map(|n| n as u8).collect(),
    }
}

impl World {
    async fn puts(&self, place: &Place, by: &Certificate, to: &[Certificate]) -> Vec<Kept> {
        let kept = self
            .a
            .put_admission(place, by, to, &admission(10), AT)
            .await;
        kept.unwrap()
    }

    async fn waits_for(&self, device: &Certificate) -> Vec<Place> {
        let waiting = self.b.waiting(&Recipient::of(device)).await.unwrap();
        waiting.into_iter().map(|one| one.id.place).collect()
    }

    /// What is kept of a room's commits.
    async fn parts(&self, room: &str) -> usize {
        let names = self
            .b
            .names(Bucket::Welcomes, &format!("commit.{room}.>"))
            .await;
        let mut parts = 0;
        for name in names.unwrap() {
            parts += usize::from(
                self.b
                    .read(Bucket::Welcomes, &name)
                    .await
                    .unwrap()
                    .is_some(),
            );
        }
        parts
    }
}

fn id(place: &Place, by: &Certificate) -> WelcomeId {
    WelcomeId {
        place: place.clone(),
        by: *by.identity(),
    }
}

pub(crate) async fn a_welcome_waits_until_it_is_confirmed(world: World) {
    let (harry, kim) = (device(1, "harry", "phone"), device(2, "kim", "laptop"));
    let (first, second) = (place("aaa", 3), place("bbb", 2));
    for place in [&first, &second] {
        let kept = world.puts(place, &harry, std::slice::from_ref(&kim)).await;
        assert_eq!(kept, [Kept::Waits]);
    }
    assert_eq!(world.waits_for(&kim).await, [first.clone(), second.clone()]);
    assert_eq!(world.waits_for(&harry).await, []);
    let (to, which) = (Recipient::of(&kim), id(&first, &harry));
    let (waiting, given) = world.b.admission(&to, &which).await.unwrap().unwrap();
    assert_eq!((waiting.at, &*waiting.by_user), (AT, "harry"));
    assert_eq!((&*waiting.by_device, given), ("phone", admission(10)));
    // It is there until the device has it.
    assert!(world.a.admission(&to, &which).await.unwrap().is_some());
    assert!(world.a.confirm_welcome(&to, &which).await.unwrap());
    assert!(!world.b.confirm_welcome(&to, &which).await.unwrap());
    assert_eq!(world.b.admission(&to, &which).await.unwrap(), None);
    let left = world.waits_for(&kim).await;
    assert_eq!(left, std::slice::from_ref(&second));
    let of_another = id(&second, &kim);
    assert_eq!(world.b.admission(&to, &of_another).await.unwrap(), None);
}

pub(crate) async fn what_a_commit_shares_goes_with_its_last_welcome(world: World) {
    let harry = device(1, "harry", "phone");
    let added = [device(2, "kim", "laptop"), device(3, "charly", "phone")];
    let at = place("shared", 5);
    assert_eq!(
        world.puts(&at, &harry, &added).await,
        [Kept::Waits, Kept::Waits]
    );
    for (one, left) in added.iter().zip([1, 0]) {
        assert_eq!(world.parts("shared").await, 1);
        let confirmed = world
            .a
            .confirm_welcome(&Recipient::of(one), &id(&at, &harry))
            .await;
        assert!(confirmed.unwrap());
        assert_eq!(world.parts("shared").await, left);
    }
}

pub(crate) async fn putting_an_admission_again_adds_only_what_is_missing(world: World) {
    let (harry, at) = (device(1, "harry", "phone"), place("again", 5));
    let added = [device(2, "kim", "laptop"), device(3, "charly", "phone")];
    let first = world.puts(&at, &harry, &added[..1]).await;
    assert_eq!(first, [Kept::Waits]);
    let again = world.puts(&at, &harry, &added).await;
    assert_eq!(again, [Kept::Known, Kept::Waits]);
    assert_eq!(world.waits_for(&added[0]).await.len(), 1);
    assert_eq!(world.parts("again").await, 1);
}

pub(crate) async fn a_flood_pushes_out_itself_and_nothing_else(world: World) {
    let kim = device(2, "kim", "laptop");
    let to = std::slice::from_ref(&kim);
    let real = place("real", 1);
    let friend = device(1, "harry", "phone");
    assert_eq!(world.puts(&real, &friend, to).await, [Kept::Waits]);
    // Strangers, the last one not as often as may be, until no more waits.
    let (mut seq, mut left) = (1, MOST_WAITING - 1);
    for stranger in 10.. {
        let stranger = device(stranger, "stranger", "phone");
        let count = left.min(MOST_BY_ADDER);
        for _ in 0..count {
            seq += 1;
            let kept = world.puts(&place("flood", seq), &stranger, to).await;
            assert_eq!(kept, [Kept::Waits]);
        }
        seq += 1;
        // One more takes the place of its own first one.
        let kept = world.puts(&place("flood", seq), &stranger, to).await;
        assert_eq!(kept, [Kept::Waits]);
        left -= count;
        if left == 0 {
            break;
        }
    }
    let other = place("other", 1);
    let second = device(3, "charly", "phone");
    assert_eq!(world.puts(&other, &second, to).await, [Kept::Waits]);
    let waiting = world.waits_for(&kim).await;
    assert!(waiting.len() <= MOST_WAITING + 1, "{}", waiting.len());
    for one in [&real, &other] {
        assert!(waiting.contains(one), "{one}: {waiting:?}");
    }
}

pub(crate) async fn of_one_adder_the_newest_welcomes_stay(world: World) {
    let (harry, kim) = (device(1, "harry", "phone"), device(2, "kim", "laptop"));
    let to = std::slice::from_ref(&kim);
    // One of another room is older, and is not what a later commit of this room makes useless.
    let elsewhere = place("elsewhere", 9);
    assert_eq!(world.puts(&elsewhere, &harry, to).await, [Kept::Waits]);
    for seq in 1..=40 {
        let kept = world.puts(&place("often", seq), &harry, to).await;
        assert_eq!(kept, [Kept::Waits], "{seq}");
    }
    let waiting = world.waits_for(&kim).await;
    let newest = (40 - MOST_BY_ADDER as u64 + 2)..=40;
    let newest: Vec<Place> = newest.map(|seq| place("often", seq)).collect();
    assert_eq!(waiting[0], elsewhere);
    assert!(newest.ends_with(&waiting[1..]), "{waiting:?}");
    assert!(waiting.len() > MOST_BY_ADDER / 2, "{waiting:?}");
    assert_eq!(
        world.parts("often").await,
        waiting.len() - 1,
        "what made room goes whole"
    );
    // An owner that opens the room hands over again what was pushed out.
    assert_eq!(
        world.puts(&place("often", 1), &harry, to).await,
        [Kept::Superseded]
    );
    // A room that has none yet: the oldest of all makes room.
    let last = place("last", 1);
    assert_eq!(world.puts(&last, &harry, to).await, [Kept::Waits]);
    let waiting = world.waits_for(&kim).await;
    assert!(
        waiting.contains(&last) && !waiting.contains(&elsewhere),
        "{waiting:?}"
    );
}

pub(crate) async fn a_large_tree_comes_as_it_was(world: World) {
    let (harry, kim) = (device(1, "harry", "phone"), device(2, "kim", "laptop"));
    let (at, large) = (place("large", 1), admission(2 * 1024 * 1024));
    let to = std::slice::from_ref(&kim);
    let kept = world.a.put_admission(&at, &harry, to, &large, AT).await;
    assert_eq!(kept.unwrap(), [Kept::Waits]);
    let found = world
        .b
        .admission(&Recipient::of(&kim), &id(&at, &harry))
        .await;
    let (waiting, given) = found.unwrap().unwrap();
    assert!(given == large && waiting.size > 2 * 1024 * 1024);
    let too_large = admission(MOST_BYTES);
    let refused = world.a.put_admission(&at, &harry, to, &too_large, AT).await;
    assert!(matches!(refused, Err(Error::TooLarge(_))), "{refused:?}");
}

pub(crate) async fn an_erased_room_leaves_nothing(world: World) {
    let (harry, kim) = (device(1, "harry", "phone"), device(2, "kim", "laptop"));
    let to = std::slice::from_ref(&kim);
    let (gone, stays) = (place("gone", 1), place("gone2", 1));
    for at in [&gone, &stays] {
        world.puts(at, &harry, to).await;
    }
    assert_eq!(
        world.a.forget_welcomes(&gone.room, gone.seq).await.unwrap(),
        0
    );
    assert_eq!(
        world
            .a
            .forget_welcomes(&gone.room, Seq(u64::MAX))
            .await
            .unwrap(),
        2
    );
    assert_eq!(world.waits_for(&kim).await, [stays]);
    assert_eq!(
        (world.parts("gone").await, world.parts("gone2").await),
        (0, 1)
    );
}
