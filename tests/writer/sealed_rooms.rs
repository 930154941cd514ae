//! What an owner of a sealed room hands over to newcomers, and when it saves the room.

use crate::{
    sealed::{Device, aaa},
    world::{Client, LONG, World},
};
use futures::{StreamExt, stream::BoxStream};
use safe_chat::{
    bus::{self, Admissions, Ask, Live, admissions::Recipient},
    room::{
        Action, BatchMessage, Body, CommandId, Event, Identity, Kind, Millis, Policy, Producer,
        ProducerSeq, Seq, SessionId, Turn,
    },
};
use seal::rules::JoinPolicy;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// The clock of the bus is that of MLS.
fn world(bucket_bytes: usize) -> World {
    World::on(bus::memory::Config {
        epoch: Millis(crate::sealed::now() * 1_000),
        bucket_bytes,
        ..bus::memory::Config::default()
    })
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
            former: None,
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

/// A room in which harry adds charly, saved with that; where the commit is.
async fn added(talk: &mut Talk, harry: &mut Device, charly: &Device) -> Seq {
    let founding = harry.found(JoinPolicy::Invited);
    talk.says(harry, founding).await;
    let bundle = harry.add(&[charly]);
    let added = talk.says(harry, bundle).await;
    talk.is_saved(added).await;
    added
}

#[tokio::test(start_paused = true)]
async fn newcomers_get_what_they_need_before_the_room_is_saved() {
    let world = world(1 << 20);
    let (mut harry, mut charly) = (Device::new("harry", 1), Device::new("charly", 2));
    let node = world.node(1);
    node.take().await;
    let mut talk = Talk::begin(&world, &harry).await;
    let added = added(&mut talk, &mut harry, &charly).await;
    let to = Recipient::of(charly.member.certificate());
    let waiting = talk.client.bus.waiting(&to).await.unwrap();
    let [one] = &waiting[..] else {
        panic!("{} wait", waiting.len())
    };
    assert_eq!((one.id.place.epoch, one.id.place.seq), (1, added));
    assert_eq!(one.by_user, "harry");
    let found = talk.client.bus.admission(&to, &one.id).await.unwrap();
    let (_, admission) = found.expect("it waits");
    charly.join(&admission, added.0);
    let code = |device: &Device| device.member.room_code(&aaa());
    assert_eq!(code(&charly), code(&harry));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_full_keeps_no_room_from_being_saved() {
    let world = world(0);
    let (mut harry, charly) = (Device::new("harry", 1), Device::new("charly", 2));
    let node = world.node(1);
    node.take().await;
    let mut talk = Talk::begin(&world, &harry).await;
    added(&mut talk, &mut harry, &charly).await;
    let to = Recipient::of(charly.member.certificate());
    assert_eq!(talk.client.bus.waiting(&to).await.unwrap(), []);
}
