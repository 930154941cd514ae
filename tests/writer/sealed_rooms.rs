//! What an owner of a sealed room hands over to newcomers, and when it saves the room.

use crate::{
    sealed::{Device, aaa},
    world::{Client, LONG, Node, World},
};
use async_trait::async_trait;
use futures::{StreamExt, stream::BoxStream};
use safe_chat::{
    bus::{self, Ask, Live},
    cluster::Owner,
    room::{
        Action, Admitted, BatchMessage, Body, CommandId, Event, Identity, Incarnation, Kind,
        Millis, Policy, Producer, ProducerSeq, RoomId, Seq, SessionId, Turn,
    },
    writer::{Admissions, Config, Handle},
};
use seal::rules::JoinPolicy;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// What was put, and how often it fails before.
#[derive(Default)]
struct Kept {
    failures: Mutex<u32>,
    put: Mutex<Vec<Admitted>>,
}

#[async_trait]
impl Admissions for Kept {
    async fn put(&self, _room: &RoomId, admitted: &Admitted) -> Result<(), bus::Error> {
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(bus::Error::Unavailable("as the test says".into()));
        }
        self.put.lock().unwrap().push(admitted.clone());
        Ok(())
    }
}

impl Kept {
    fn failing(failures: u32) -> Arc<Self> {
        let this = Self::default();
        *this.failures.lock().unwrap() = failures;
        Arc::new(this)
    }

    fn puts(&self) -> usize {
        self.put.lock().unwrap().len()
    }
}

/// The clock of the bus is that of MLS.
fn world() -> World {
    World::on(bus::memory::Config {
        epoch: Millis(crate::sealed::now() * 1_000),
        ..bus::memory::Config::default()
    })
}

fn node(world: &World, n: u128, kept: &Arc<Kept>) -> Node {
    let mut node = world.node(n);
    let (bus, journal) = (node.bus.clone(), node.journal.clone());
    node.writer = Handle::admitting(Config::default(), bus, journal, kept.clone());
    node
}

/// A member of the room, through a gateway.
struct Talk {
    client: Client,
    live: BoxStream<'static, Live>,
    sent: u64,
}

impl Talk {
    async fn begin(world: &World, device: &Device) -> Self {
        let mut client = world.client().await;
        let live = client.bus.live(&world.room).await.unwrap();
        let open = Action::Open {
            session: SessionId::new(Uuid::from_u128(1)),
            user: device.user(),
            key: device.key(),
            identity: Identity::Proven,
            device: None,
            gateway: client.me,
            policy: Some(Policy::Sealed),
        };
        assert_eq!(client.journaled(open).await, (1, false));
        Self {
            client,
            live,
            sent: 0,
        }
    }

    /// The next event with content.
    async fn event(&mut self) -> Event {
        let next = async {
            loop {
                if let Some(Live::Commit(commit)) = self.live.next().await
                    && let Some(event) = commit
                        .events
                        .iter()
                        .find(|event| matches!(event.kind, Kind::Message { .. }))
                {
                    return event.clone();
                }
            }
        };
        timeout(LONG, next).await.expect("it is placed")
    }

    async fn says(&mut self, device: &mut Device, body: Body) -> Seq {
        self.sent += 1;
        let from = ProducerSeq {
            producer: Producer {
                gateway: self.client.me,
                generation: 1,
            },
            sequence: self.sent,
        };
        let message = BatchMessage {
            turn: Turn {
                session: SessionId::new(Uuid::from_u128(1)),
                number: self.sent,
            },
            user: device.user(),
            id: CommandId::parse(&format!("m{}", self.sent)).unwrap(),
            to: None,
            body: body.clone(),
        };
        let messages = [message].into();
        self.client.submit(Action::Batch { from, messages }).await;
        let event = self.event().await;
        device.take(&body);
        device.caught_up();
        event.seq
    }

    /// Waits until the room is saved up to a place.
    async fn is_saved(&self, seq: Seq) {
        // While there is no owner nobody answers.
        let ask = Ask::head(self.client.room.clone());
        let saved = async {
            while self
                .client
                .bus
                .ask(&ask)
                .await
                .map_or(Seq::ZERO, |view| view.snapshot)
                < seq
            {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(LONG, saved).await.expect("it is saved");
    }
}

#[tokio::test(start_paused = true)]
async fn newcomers_get_what_they_need_before_the_room_is_saved_and_again_until_it_is_kept() {
    let (world, kept) = (world(), Kept::failing(2));
    let node = node(&world, 1, &kept);
    node.take().await;
    let (mut harry, mut charly) = (Device::new("harry", 1), Device::new("charly", 2));
    let mut talk = Talk::begin(&world, &harry).await;
    let founding = harry.found(JoinPolicy::Invited);
    let founded = talk.says(&mut harry, founding).await;
    talk.is_saved(founded).await;
    assert_eq!(kept.puts(), 0);
    let bundle = harry.add(&[&charly]);
    let added = talk.says(&mut harry, bundle).await;
    talk.is_saved(added).await;
    let put = kept.put.lock().unwrap().clone();
    let [admitted] = &put[..] else {
        panic!("{} were put", put.len())
    };
    assert_eq!((admitted.epoch, admitted.seq), (1, added));
    assert_eq!(admitted.by.user().as_str(), "harry");
    assert_eq!(admitted.recipients[0].user().as_str(), "charly");
    charly.join(&admitted.admission, added.0);
    let code = |device: &Device| device.member.room_code(&aaa());
    assert_eq!(code(&charly), code(&harry));
}

#[tokio::test(start_paused = true)]
async fn a_new_owner_hands_over_what_the_one_before_did_not() {
    let (world, lost, kept) = (world(), Kept::failing(u32::MAX), Kept::failing(0));
    let first = node(&world, 1, &lost);
    first.take().await;
    let (mut harry, charly) = (Device::new("harry", 1), Device::new("charly", 2));
    let mut talk = Talk::begin(&world, &harry).await;
    let founding = harry.found(JoinPolicy::Invited);
    talk.says(&mut harry, founding).await;
    let bundle = harry.add(&[&charly]);
    let added = talk.says(&mut harry, bundle).await;
    first.writer.lose(first.shard).await;
    let second = node(&world, 2, &kept);
    second.take().await;
    talk.is_saved(added).await;
    assert_eq!(kept.puts(), 1);
    assert_eq!(kept.put.lock().unwrap()[0].seq, added);
    // A third one finds the room as it is saved, and owes nothing.
    second.writer.lose(second.shard).await;
    let third = node(&world, 3, &kept);
    third.take().await;
    let hello = harry.encrypt("Hello");
    talk.says(&mut harry, hello).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(kept.puts(), 1);
    assert_eq!(Incarnation::new(Uuid::from_u128(3)), third.me);
}
