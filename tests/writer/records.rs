//! Keys of who is not there move into records: names stay whose they are, on both journals, whoever
//! owns the room, whoever died in the middle.

use crate::{
    retired::{SWEEPS, ago},
    world::{Client, LONG, Node, World},
};
use safe_chat::{
    bus::{Admission, Answered, Ask, Bus, FORMATS},
    cluster::Owner,
    journal::{Journal, bus::OnBus, codec::encode_snapshot},
    room::{Action, Identity, Incarnation, Key, Reason, Seq, SessionId, State, UserId},
    writer::Config,
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use uuid::Uuid;

const VISITORS: u32 = 300;
/// As a state counts them.
const NAMES: u64 = 300;

/// A node of each journal, which keeps no key in the state that it need not.
fn node(world: &World, on_bus: bool, n: u128, config: Config) -> Node {
    let bus: Arc<dyn Bus> = Arc::new(world.hub.connect());
    let journal: Arc<dyn Journal> = match on_bus {
        true => Arc::new(OnBus::new(bus.clone(), world.shards)),
        false => Arc::new(world.database.connect(world.shards)),
    };
    let node = world.node_with_config(n, config, bus, journal);
    node.writer.note_formats(FORMATS);
    node
}

fn lean() -> Config {
    Config {
        names_in_snapshot: 0,
        ..Config::default()
    }
}

fn user(n: u32) -> UserId {
    UserId::parse(&format!("visitor-{n}")).unwrap()
}

fn key(of: &str, n: u32) -> Key {
    Key::parse(&format!("key-of-{of}-{n}")).unwrap()
}

fn session(n: u128) -> SessionId {
    SessionId::new(Uuid::from_u128(n))
}

fn open(number: u128, n: u32, of: &str) -> Action {
    Action::Open {
        session: session(number),
        user: user(n),
        key: key(of, n),
        identity: Identity::Claimed,
        device: None,
        gateway: Incarnation::new(Uuid::from_u128(0xc11e)),
        policy: None,
        former: None,
    }
}

fn close(number: u128) -> Action {
    Action::Close {
        session: session(number),
        gateway: None,
    }
}

impl Client {
    /// Everybody comes and goes.
    async fn visited(&mut self) {
        let mut last = 0;
        for n in 0..VISITORS {
            let number = u128::from(n) + 1;
            self.submit(open(number, n, "owner")).await;
            last = self.submit(close(number)).await;
        }
        self.place(last).await;
    }

    async fn is_refused(&mut self, number: u128, n: u32) -> bool {
        match self.ask(open(number, n, "stranger")).await {
            Answered::Rejected(why) => why.reason == Reason::KeyMismatch,
            Answered::Journaled { .. } => false,
        }
    }

    /// Whether a gateway is told that a stranger would be refused.
    async fn would_be_refused(&self, n: u32) -> bool {
        let admission = Some(Admission {
            user: user(n),
            key: key("stranger", n),
            identity: Identity::Claimed,
            device: None,
            policy: None,
            former: None,
        });
        let ask = Ask {
            admission,
            ..Ask::head(self.room.clone())
        };
        let view = self.bus.ask(&ask).await.unwrap();
        view.refused
            .is_some_and(|why| why.reason == Reason::KeyMismatch)
    }
}

async fn saved(node: &Node, world: &World) -> State {
    node.journal.glance(&world.room).await.unwrap().unwrap()
}

/// A room where everybody has been once, at its first owner.
async fn visited(on_bus: bool) -> (World, Node, Client) {
    let world = World::without_deletes();
    let first = node(&world, on_bus, 1, lean());
    first.take().await;
    let mut client = world.client().await;
    client.visited().await;
    (world, first, client)
}

#[tokio::test(start_paused = true)]
async fn names_stay_whose_they_are_when_their_keys_are_in_records() {
    for on_bus in [false, true] {
        let (world, first, mut client) = visited(on_bus).await;
        sleep(LONG).await;
        let state = saved(&first, &world).await;
        assert_eq!((state.pins.len(), state.names()), (0, NAMES));
        assert!(encode_snapshot(&state).len() < 50_000);
        for owner in 2..4 {
            first.writer.lose(first.shard).await;
            let next = node(&world, on_bus, owner, lean());
            next.take().await;
            let tries = owner * 10_000;
            for n in [0, 7, VISITORS - 1] {
                assert!(
                    client.is_refused(tries + u128::from(n), n).await,
                    "{n} at {owner}"
                );
                assert!(client.would_be_refused(n).await, "{n} at {owner}");
            }
            // Whoever comes back is let in, and is found by the next owner.
            client.journaled(open(tries + 1000, 7, "owner")).await;
            assert!(client.is_refused(tries + 1001, 7).await);
            client.journaled(close(tries + 1000)).await;
            // Who is new gets a name.
            client.journaled(open(tries + 1002, 1000, "owner")).await;
            client.journaled(close(tries + 1002)).await;
            sleep(LONG).await;
            let state = saved(&next, &world).await;
            assert_eq!((state.pins.len(), state.names()), (0, NAMES + 1));
            next.writer.lose(next.shard).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_dies_while_keys_move_lets_no_stranger_in() {
    for on_bus in [false, true] {
        for died_after in (4_000..8_000).step_by(250) {
            let (world, first, mut client) = visited(on_bus).await;
            sleep(Duration::from_millis(died_after)).await;
            first.writer.lose(first.shard).await;
            let second = node(&world, on_bus, 2, lean());
            second.take().await;
            for n in (0..VISITORS).step_by(37) {
                assert!(
                    client.is_refused(10_000 + u128::from(n), n).await,
                    "{n} {died_after}"
                );
            }
            client.journaled(open(20_000, 5, "owner")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_freed_is_the_next_ones() {
    for on_bus in [false, true] {
        let (world, first, mut client) = visited(on_bus).await;
        sleep(LONG).await;
        client.journaled(Action::Unpin { user: user(3) }).await;
        sleep(LONG).await;
        assert!(saved(&first, &world).await.away.freed.is_empty());
        first.writer.lose(first.shard).await;
        let second = node(&world, on_bus, 2, lean());
        second.take().await;
        client.journaled(open(10_000, 3, "stranger")).await;
        client.journaled(close(10_000)).await;
        sleep(LONG).await;
        let Answered::Rejected(why) = client.ask(open(10_001, 3, "owner")).await else {
            panic!("two have the name");
        };
        assert_eq!(why.reason, Reason::KeyMismatch);
        let names = saved(&second, &world).await.names();
        assert_eq!(names, NAMES);
    }
}

#[tokio::test(start_paused = true)]
async fn a_purge_frees_names_and_removes_their_records() {
    for on_bus in [false, true] {
        let world = World::without_deletes();
        let first = node(&world, on_bus, 1, lean());
        first.take().await;
        let mut client = world.client().await;
        client.journaled(open(9_000, 999, "owner")).await;
        client.visited().await;
        sleep(LONG).await;
        let all = first.journal.all_recorded(&world.room, Seq::ZERO).await;
        assert_eq!(all.unwrap().len(), VISITORS as usize);
        client.journaled(Action::Purge).await;
        sleep(LONG).await;
        let left = first.journal.all_recorded(&world.room, Seq::ZERO).await;
        assert_eq!(left.unwrap(), []);
        let state = saved(&first, &world).await;
        assert!(state.away.stale.is_empty(), "{:?}", state.away);
        client.journaled(open(10_000, 3, "stranger")).await;
        assert!(client.is_refused(10_001, 999).await, "who is here stays");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_room_says_so() {
    let world = World::without_deletes();
    let config = Config {
        max_names_per_room: NAMES,
        ..lean()
    };
    let node = node(&world, false, 1, config);
    node.take().await;
    let mut client = world.client().await;
    client.visited().await;
    sleep(LONG).await;
    assert!(node.writer.warnings().is_empty());
    let Answered::Rejected(why) = client.ask(open(10_000, 1000, "owner")).await else {
        panic!("let in");
    };
    assert_eq!(why.reason, Reason::RateLimited);
    assert!(node.writer.warnings()[0].contains("writer.max_names_per_room"));
    client.journaled(open(10_001, 1, "owner")).await;
}

/// Retention lets all events go, and an operator has freed each name. Whoever comes later has the
/// name, in records that nothing of before covers.
#[tokio::test(start_paused = true)]
async fn a_room_whose_records_have_no_key_goes_with_them() {
    for on_bus in [false, true] {
        let world = ago(100);
        let config = Config {
            trim_ms: 1000,
            keep_age_s: 86_400,
            ..lean()
        };
        let owner = node(&world, on_bus, 1, config.clone());
        owner.take().await;
        let is_there = async || {
            let rooms = owner.journal.rooms(None, 9).await;
            rooms.unwrap().contains(&world.room)
        };
        let mut client = world.client().await;
        for n in 0..3 {
            let number = u128::from(n) + 1;
            client.journaled(open(number, n, "owner")).await;
            client.journaled(close(number)).await;
        }
        sleep(SWEEPS).await;
        let recorded = owner.journal.all_recorded(&world.room, Seq::ZERO).await;
        assert_eq!(recorded.unwrap().len(), 3);
        assert!(is_there().await, "names have keys");
        for n in 0..3 {
            client.journaled(Action::Unpin { user: user(n) }).await;
        }
        sleep(SWEEPS).await;
        assert!(!is_there().await);
        let left = owner.bus.names_under("pin.aaa").await.unwrap();
        assert_eq!(left, Vec::<String>::new());

        client.journaled(open(100, 1, "stranger")).await;
        client.journaled(close(100)).await;
        sleep(LONG).await;
        assert_eq!(saved(&owner, &world).await.away.count, 1);
        owner.writer.lose(owner.shard).await;
        let next = node(&world, on_bus, 2, config);
        next.take().await;
        let Answered::Rejected(why) = client.ask(open(101, 1, "owner")).await else {
            panic!("two have the name");
        };
        assert_eq!(why.reason, Reason::KeyMismatch);
    }
}
