//! A world in memory: nodes that write, clients that submit commands.

use futures::{StreamExt, stream::BoxStream};
use safe_chat::{
    bus::{self, Answered, Ask, Bus, Inbound, ReplyTo, RoomView, Submission, memory::Hub},
    cluster::{Ends, Lease, Owner},
    journal::{
        Journal,
        bus::OnBus,
        memory::{self, Database, Fate, Faults, Op, Outcome},
        readback::Partitions,
    },
    room::{
        Action, Body, CommandId, DeviceId, Epoch, Event, Identity, Incarnation, Key, RequestId,
        RoomId, Seq, SessionId, ShardId, Shards, Turn, UserId,
    },
    writer::{Config, Handle},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::timeout};
use uuid::Uuid;

/// Beyond every deadline and pause of the parts.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// What an owner goes on with at once takes this long at most, in a small room.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) database: Database,
    pub(crate) shards: Shards,
    pub(crate) room: RoomId,
}

/// An owner of the room's shard.
pub(crate) struct Node {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) writer: Handle,
    pub(crate) me: Incarnation,
    pub(crate) ends: Ends,
    pub(crate) ended: mpsc::UnboundedReceiver<safe_chat::cluster::Ended>,
    pub(crate) shard: ShardId,
}

/// Somebody who submits commands and gets the answers.
pub(crate) struct Client {
    pub(crate) bus: Arc<dyn Bus>,
    pub(crate) me: Incarnation,
    pub(crate) inbox: BoxStream<'static, Inbound>,
    pub(crate) tag: u64,
    pub(crate) room: RoomId,
}

impl World {
    /// Where nobody can delete single events.
    pub(crate) fn without_deletes() -> Self {
        Self::on(bus::memory::Config {
            deny_delete: true,
            ..bus::memory::Config::default()
        })
    }

    pub(crate) fn new() -> Self {
        Self::on(bus::memory::Config::default())
    }

    pub(crate) fn on(config: bus::memory::Config) -> Self {
        let shards = config.shards;
        let database = Database::new(Partitions::new(1000));
        Self {
            hub: Hub::new(config),
            database,
            shards,
            room: RoomId::parse("aaa").unwrap(),
        }
    }

    pub(crate) fn node(&self, n: u128) -> Node {
        self.node_with(n, Arc::new(memory::NoFaults))
    }

    pub(crate) fn node_with(&self, n: u128, faults: Arc<dyn memory::Faults>) -> Node {
        let bus: Arc<dyn Bus> = Arc::new(self.hub.connect());
        let journal = Arc::new(self.database.connect_with(self.shards, faults));
        self.node_of(n, bus, journal)
    }

    /// A node whose journal is the bus.
    pub(crate) fn node_on_bus(&self, n: u128) -> Node {
        let bus: Arc<dyn Bus> = Arc::new(self.hub.connect());
        let journal = Arc::new(OnBus::new(bus.clone(), self.shards));
        self.node_of(n, bus, journal)
    }

    fn node_of(&self, n: u128, bus: Arc<dyn Bus>, journal: Arc<dyn Journal>) -> Node {
        self.node_with_config(n, Config::default(), bus, journal)
    }

    pub(crate) fn node_with_config(
        &self,
        n: u128,
        config: Config,
        bus: Arc<dyn Bus>,
        journal: Arc<dyn Journal>,
    ) -> Node {
        let (ends, ended) = mpsc::unbounded_channel();
        let writer = Handle::new(config, bus.clone(), journal.clone());
        Node {
            bus,
            journal,
            writer,
            me: Incarnation::new(Uuid::from_u128(n)),
            ends,
            ended,
            shard: self.shards.of(&self.room),
        }
    }

    pub(crate) async fn client(&self) -> Client {
        let bus: Arc<dyn Bus> = Arc::new(self.hub.connect());
        let me = Incarnation::new(Uuid::from_u128(0xc11e));
        let inbox = bus.inbox(me).await.unwrap();
        Client {
            bus,
            me,
            inbox,
            tag: 0,
            room: self.room.clone(),
        }
    }
}

impl Node {
    /// Takes the shard, whoever has it.
    pub(crate) async fn take(&self) {
        let found = self.bus.shard(self.shard).await.unwrap();
        let lease = Lease::take(
            self.bus.clone(),
            self.ends.clone(),
            self.me,
            self.shard,
            found,
            Epoch(0),
        )
        .await
        .unwrap();
        self.writer.acquire(lease).await;
    }

    pub(crate) async fn events(&self, room: &RoomId, last: Seq) -> Vec<Event> {
        self.journal.read(room, Seq(1), last).await.unwrap()
    }

    pub(crate) async fn floor(&self) -> bus::Position {
        self.bus.shard(self.shard).await.unwrap().unwrap().0.floor
    }
}

impl Client {
    /// Submits a command; the answer has the returned tag.
    pub(crate) async fn submit(&mut self, action: Action) -> u64 {
        self.tag += 1;
        let reply = Some(ReplyTo {
            node: self.me,
            tag: self.tag,
        });
        self.bus
            .submit(&Submission {
                room: self.room.clone(),
                action,
                reply,
            })
            .await
            .unwrap();
        self.tag
    }

    pub(crate) async fn answer(&mut self, tag: u64) -> Answered {
        let wait = async {
            loop {
                if let Inbound::Answer(answer) =
                    self.inbox.next().await.expect("an inbox does not end")
                    && answer.tag == tag
                {
                    return answer.answered;
                }
            }
        };
        timeout(LONG, wait).await.expect("the command is answered")
    }

    pub(crate) async fn ask(&mut self, action: Action) -> Answered {
        let tag = self.submit(action).await;
        self.answer(tag).await
    }

    /// The place at which the command was journaled, and whether it was before.
    pub(crate) async fn journaled(&mut self, action: Action) -> (u64, bool) {
        let tag = self.submit(action).await;
        self.place(tag).await
    }

    /// The place of the command with this tag, and whether it was there before.
    pub(crate) async fn place(&mut self, tag: u64) -> (u64, bool) {
        match self.answer(tag).await {
            Answered::Journaled { seq, duplicate, .. } => (seq.0, duplicate),
            Answered::Rejected(rejection) => panic!("{rejection}"),
        }
    }

    pub(crate) async fn view(&self) -> RoomView {
        self.bus.ask(&Ask::room(self.room.clone())).await.unwrap()
    }
}

pub(crate) fn send(id: u64) -> Action {
    Action::Send {
        user: UserId::parse("harry").unwrap(),
        key: Key::parse("key").unwrap(),
        identity: Identity::Claimed,
        turn: None,
        request: None,
        after: 0,
        id: CommandId::parse(&format!("m{id}")).unwrap(),
        to: None,
        body: Body::Text("Hello".into()),
    }
}

/// The same, brought by a request.
pub(crate) fn post(id: u64, request: u128) -> Action {
    let mut action = send(id);
    if let Action::Send { request: by, .. } = &mut action {
        *by = Some(RequestId::new(Uuid::from_u128(request)));
    }
    action
}

/// The same with the largest content.
pub(crate) fn send_large(id: u64) -> Action {
    let Action::Send {
        user,
        key,
        turn,
        after,
        id,
        to,
        ..
    } = send(id)
    else {
        unreachable!()
    };
    Action::Send {
        user,
        key,
        identity: Identity::Claimed,
        turn,
        request: None,
        after,
        id,
        to,
        body: Body::Sealed(vec![7; 65_536].into()),
    }
}

/// The session's message `number`, with the id of that number, which must not come before message
/// `after`.
pub(crate) fn send_through(session: u128, number: u64, after: u64) -> Action {
    let Action::Send {
        user,
        key,
        id,
        to,
        body,
        ..
    } = send(number)
    else {
        unreachable!()
    };
    let turn = Some(Turn {
        session: SessionId::new(Uuid::from_u128(session)),
        number,
    });
    Action::Send {
        user,
        key,
        identity: Identity::Claimed,
        turn,
        request: None,
        after,
        id,
        to,
        body,
    }
}

pub(crate) fn open(session: u128, device: Option<&str>) -> Action {
    Action::Open {
        session: SessionId::new(Uuid::from_u128(session)),
        user: UserId::parse("harry").unwrap(),
        key: Key::parse("key").unwrap(),
        identity: Identity::Claimed,
        device: device.map(|device| DeviceId::parse(device).unwrap()),
        gateway: Incarnation::new(Uuid::from_u128(0xc11e)),
        policy: None,
        former: None,
    }
}

pub(crate) fn close(session: u128) -> Action {
    Action::Close {
        session: SessionId::new(Uuid::from_u128(session)),
        gateway: None,
    }
}

/// A node of each journal.
pub(crate) const JOURNALS: [fn(&World, u128) -> Node; 2] = [World::node, World::node_on_bus];

/// Saves nothing.
pub(crate) struct NoSnapshots;

impl Faults for NoSnapshots {
    fn call(&self, op: Op) -> Fate {
        Fate {
            outcome: match op {
                Op::PutSnapshot => Outcome::Refused,
                _ => Outcome::Done,
            },
            ..Fate::default()
        }
    }
}
