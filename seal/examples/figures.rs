//! What groups of some sizes cost, in time and bytes: `cargo run --release -p seal --example
//! figures [DEVICES...]`.

use seal::delivery::{Admission, Delivery, Proven};
use seal::device::{DeviceKey, Name};
use seal::member::{Agreed, Event, Frame, Member, Person, Step, holder_of};
use seal::rules::JoinPolicy;
use seal::{Bundle, Identity};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Devices that are added with one commit.
const ADDED: usize = 20;

struct Device {
    proven: Proven,
    member: Member,
    package: Vec<u8>,
}

fn main() {
    let given: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    let sizes = if given.is_empty() {
        vec![2, 10, 100, 999]
    } else {
        given
    };
    println!("devices | what | device | others | writer | bytes");
    for size in sizes {
        figures(size.max(2));
    }
}

fn figures(size: usize) {
    let room = Name::parse("aaa").expect("a name");
    let mut devices: Vec<_> = (0..size + 1).map(device).collect();
    let mut newcomer = devices.pop().expect("one more");
    let (first, others) = devices.split_first_mut().expect("two or more");
    let founded = first
        .member
        .found(&room, JoinPolicy::Invited, &[0; 16], now())
        .expect("a group of one");
    let Some(Frame::Found { founding, .. }) = founded.frames.into_iter().next() else {
        panic!("no founding");
    };
    let mut delivery =
        Delivery::found(room.clone(), &founding, &first.proven, now()).expect("a good founding");
    receive(
        &mut first.member,
        &room,
        Event::Founded(&founding.group_info),
    );
    // One device makes all commits here, so each is encrypted to nearly every device by itself, and
    // has less space for who is added.
    for others in others.chunks_mut(ADDED) {
        let packages: Vec<_> = others.iter().map(|other| other.package.clone()).collect();
        let people = people_of(&packages);
        let step = first.member.add(&room, &people, &packages, now());
        let step = step.expect("added");
        let bundle = bundle_of(step);
        let (admission, _) = place(&mut delivery, &bundle, &first.proven);
        receive(&mut first.member, &room, Event::Commit(&bundle.commit));
        join(&mut others[0].member, &room, &admission.expect("a welcome"));
    }
    // Who was added with the first commit has read none of the others, and comes back.
    let second = &mut others[0];
    if second.member.epoch(&room) != first.member.epoch(&room) {
        let (info, tree) = delivery.reentry();
        let _ = second
            .member
            .give_up(&room, "it is measured")
            .expect("it is in");
        let step = second
            .member
            .rejoin(&room, (&info, &tree), Agreed::AnotherGroup, now());
        let bundle = bundle_of(step.expect("it may"));
        place(&mut delivery, &bundle, &second.proven);
        for member in [&mut first.member, &mut second.member] {
            receive(member, &room, Event::Commit(&bundle.commit));
        }
    }
    second.member.caught_up(&room);

    let mut change =
        |what: &str, step: &mut dyn FnMut(&mut Member) -> Step, device: &mut Member| {
            let (step, took) = timed(|| step(device));
            let bundle = bundle_of(step);
            let bytes = bundle.encode().len();
            let (admission, writer) = place(&mut delivery, &bundle, &first.proven);
            receive(device, &room, Event::Commit(&bundle.commit));
            let ((), other) =
                timed(|| receive(&mut second.member, &room, Event::Commit(&bundle.commit)));
            row(size, what, took, Some(other), Some(writer), bytes);
            admission
        };
    let package = vec![newcomer.package.clone()];
    let people = people_of(&package);
    let mut add = |member: &mut Member| {
        let added = member.add(&room, &people, &package, now());
        added.expect("added")
    };
    let admission = change("add", &mut add, &mut first.member).expect("a welcome");
    let bytes = admission.welcome.len() + admission.tree.len();
    let ((), took) = timed(|| join(&mut newcomer.member, &room, &admission));
    row(size, "join", took, None, None, bytes);
    let mut renew = |member: &mut Member| member.renew(&room, now()).expect("renewed");
    change("renew", &mut renew, &mut first.member);
    let gone = newcomer.proven.user.clone();
    let mut remove =
        |member: &mut Member| member.remove(&room, &gone, None, now()).expect("removed");
    change("remove", &mut remove, &mut first.member);

    let (sent, took) = timed(|| first.member.send(&room, &[b'a'; 100]).expect("sent"));
    let Some(Frame::Message { bytes, .. }) = sent.1.frames.first() else {
        panic!("no message");
    };
    let (taken, writer) = timed(|| delivery.decide_message(bytes, &first.proven));
    taken.expect("a good message");
    let ((), other) = timed(|| receive(&mut second.member, &room, Event::Message(bytes)));
    row(
        size,
        "message",
        took,
        Some(other),
        Some(writer),
        bytes.len(),
    );
    let (snapshot, took) = timed(|| delivery.snapshot());
    row(
        size,
        "snapshot",
        Duration::ZERO,
        None,
        Some(took),
        snapshot.len(),
    );
    let (_, took) = timed(|| Delivery::restore(&snapshot).expect("a good snapshot"));
    row(
        size,
        "restore",
        Duration::ZERO,
        None,
        Some(took),
        snapshot.len(),
    );
}

fn device(n: usize) -> Device {
    let seed: [u8; 32] = std::array::from_fn(|at| (n >> (8 * (at % 2))) as u8);
    let (identity, key) = (Identity::from_seed(&seed), DeviceKey::from_seed(&seed));
    let user = Name::parse(&format!("user-{n}")).expect("a name");
    let device = Name::parse("phone").expect("a name");
    let certificate = identity.certify(user.clone(), device, &key);
    let mut member = Member::new(key, certificate);
    let step = member.publish(0, now()).expect("a key package");
    let Some(Frame::Publish { last_resort, .. }) = step.frames.into_iter().next() else {
        panic!("no key package");
    };
    let identity = identity.public();
    Device {
        proven: Proven { user, identity },
        member,
        package: last_resort,
    }
}

fn place(delivery: &mut Delivery, bundle: &Bundle, by: &Proven) -> (Option<Admission>, Duration) {
    let (changed, took) = timed(|| {
        let accepted = delivery.decide(bundle, by, now()).expect("a good bundle");
        delivery.apply(accepted)
    });
    (changed.admission, took)
}

fn join(member: &mut Member, room: &Name, admission: &Admission) {
    let Admission { welcome, tree } = admission;
    let _ = member
        .join(room, welcome, tree, now())
        .expect("a good welcome");
}

fn receive(member: &mut Member, room: &Name, event: Event<'_>) {
    let _ = member.receive(room, event).expect("the next event");
}

fn bundle_of(step: Step) -> Bundle {
    match step.frames.into_iter().next() {
        Some(Frame::Change { bundle, .. }) => bundle,
        other => panic!("no bundle: {other:?}"),
    }
}

fn timed<T>(f: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = f();
    (done, start.elapsed())
}

fn row(
    size: usize,
    what: &str,
    device: Duration,
    other: Option<Duration>,
    writer: Option<Duration>,
    bytes: usize,
) {
    let ms = |time: Option<Duration>| {
        time.map_or("-".into(), |time| {
            format!("{:.2} ms", time.as_secs_f64() * 1e3)
        })
    };
    let (device, other, writer) = (ms(Some(device)), ms(other), ms(writer));
    println!("{size} | {what} | {device} | {other} | {writer} | {bytes}");
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock after 1970").as_secs()
}

/// Whose these key packages are.
fn people_of(packages: &[Vec<u8>]) -> Vec<Person> {
    let holders = packages.iter().map(|one| holder_of(one).expect("good"));
    let people = holders.map(|one| Person {
        user: one.user,
        identity: one.identity,
    });
    people.collect()
}
