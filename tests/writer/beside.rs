//! Changes without a place, such as a refused join, are saved alone where the room is large.

use crate::world::{Client, LONG, Node, World, close, send};
use safe_chat::{
    bus::{Answered, Bus, FORMATS},
    cluster::Owner,
    journal::{Journal, bus::OnBus},
    room::{Action, Change, Identity, Incarnation, Key, Seq, SessionId, State, UserId},
    writer::Config,
};
use std::sync::Arc;
use tokio::time::sleep;
use uuid::Uuid;

const MEMBERS: u128 = 60;

fn node(world: &World, on_bus: bool, n: u128) -> Node {
    let bus: Arc<dyn Bus> = Arc::new(world.hub.connect());
    let journal: Arc<dyn Journal> = match on_bus {
        true => Arc::new(OnBus::new(bus.clone(), world.shards)),
        false => Arc::new(world.database.connect(world.shards)),
    };
    world.node_with_config(n, Config::default(), bus, journal)
}

fn open(session: u128, user: u128, key: &str) -> Action {
    Action::Open {
        session: SessionId::new(Uuid::from_u128(session)),
        user: UserId::parse(&format!("member-{user}")).unwrap(),
        key: Key::parse(key).unwrap(),
        identity: Identity::Claimed,
        device: None,
        gateway: Incarnation::new(Uuid::from_u128(0xc11e)),
        policy: None,
        former: None,
    }
}

/// A room with members, saved by its owner; a node of each kind of journal owns it.
async fn full(on_bus: bool, formats: u32) -> (World, Node, Client) {
    let world = World::new();
    let first = node(&world, on_bus, 1);
    first.writer.note_formats(formats);
    first.take().await;
    let mut client = world.client().await;
    for n in 1..=MEMBERS {
        client.journaled(open(n, n, "key")).await;
    }
    // A change without a place: for the first one the whole room is saved.
    is_refused(&mut client, MEMBERS + 1).await;
    sleep(LONG).await;
    (world, first, client)
}

async fn is_refused(client: &mut Client, session: u128) {
    let answered = client.ask(open(session, 1, "another-key")).await;
    assert!(matches!(answered, Answered::Rejected(_)), "{answered:?}");
}

async fn saved(world: &World, node: &Node) -> State {
    node.journal.glance(&world.room).await.unwrap().unwrap()
}

fn is_refusal(change: &Change) -> bool {
    matches!(change, Change::Refused { .. })
}

#[tokio::test(start_paused = true)]
async fn a_refused_join_in_a_large_room_does_not_save_all_of_it() {
    for on_bus in [false, true] {
        let (world, first, mut client) = full(on_bus, FORMATS).await;
        let whole = saved(&world, &first).await;
        assert_eq!((whole.head, &whole.beside), (Seq(MEMBERS as u64), &None));
        for n in 2..5 {
            let before = first.floor().await;
            is_refused(&mut client, MEMBERS + n).await;
            sleep(LONG).await;
            assert!(first.floor().await > before, "nothing waits for an event");
            let mut now = saved(&world, &first).await;
            let beside = now.beside.take().unwrap();
            assert_eq!(beside.changes.len() as u128, n);
            assert!(beside.changes.iter().all(is_refusal));
            assert_eq!(now, whole);
        }
        // It is part of the room, whoever owns it and however often; the next event has it.
        first.writer.lose(first.shard).await;
        let second = node(&world, on_bus, 2);
        second.writer.note_formats(FORMATS);
        second.take().await;
        is_refused(&mut client, MEMBERS + 5).await;
        let said = client.journaled(send(1)).await.0;
        let events = second.events(&world.room, Seq(said)).await;
        let journaled = &events[MEMBERS as usize].changes;
        let refusals = journaled.iter().filter(|change| is_refusal(change));
        assert_eq!(refusals.count(), 5, "{journaled:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn beside_a_node_that_does_not_read_it_all_of_the_room_is_saved() {
    for on_bus in [false, true] {
        let (world, first, mut client) = full(on_bus, FORMATS - 1).await;
        is_refused(&mut client, MEMBERS + 2).await;
        sleep(LONG).await;
        let now = saved(&world, &first).await;
        assert_eq!((now.ended.len(), now.beside), (2, None));
    }
}

/// The commands of these are below the floor.
#[tokio::test(start_paused = true)]
async fn what_is_saved_alone_outlives_a_room_that_leaves_the_memory() {
    for on_bus in [false, true] {
        let (world, first, mut client) = full(on_bus, FORMATS).await;
        is_refused(&mut client, MEMBERS + 2).await;
        sleep(LONG).await;
        first.writer.lose(first.shard).await;
        let second = node(&world, on_bus, 2);
        second.writer.note_formats(FORMATS);
        second.take().await;
        for n in 1..=MEMBERS {
            client.journaled(close(n)).await;
        }
        sleep(LONG).await;
        let state = saved(&world, &second).await;
        let refused = SessionId::new(Uuid::from_u128(MEMBERS + 2));
        assert!(state.ended.iter().any(|(session, _)| *session == refused));
    }
}
