//! Journals in memory, and rooms in which something happened.

use async_trait::async_trait;
use safe_chat::{
    bus::{self, Bus, Commit, JournalKind, memory::Hub},
    cluster::{Ends, Lease},
    journal::{
        Claim, Journal,
        bus::OnBus,
        dump::{self, Elect, FileRoom, Intake, Item, Reader, Source, Taken, Whole, Writer},
        memory::Database,
        readback::Partitions,
    },
    room::{
        Action, Body, Change, Command, CommandId, Epoch, Identity, Incarnation, Key, Millis,
        RoomId, Seq, SessionId, ShardId, Shards, State, UserId, decide,
    },
};
use std::sync::Arc;
use tokio::sync::mpsc;
use uuid::Uuid;

pub(crate) const AT: &str = "2026-11-27T20:00:00Z";

pub(crate) fn shards() -> Shards {
    Shards::new(4).unwrap()
}

pub(crate) fn room(name: &str) -> RoomId {
    RoomId::parse(name).unwrap()
}

/// A bus whose shards are these.
pub(crate) fn hub() -> Hub {
    Hub::new(bus::memory::Config {
        shards: shards(),
        deny_delete: true,
        ..bus::memory::Config::default()
    })
}

/// The node that holds the sessions.
pub(crate) fn gateway() -> Incarnation {
    Incarnation::new(Uuid::from_u128(7))
}

/// A journal, and how its shards are given away.
pub(crate) enum Place {
    Memory(Database),
    Bus(Hub),
}

impl Place {
    pub(crate) fn memory() -> Self {
        // Small partitions, so that rooms cross them.
        Self::Memory(Database::new(Partitions::new(700)))
    }

    pub(crate) fn bus() -> Self {
        Self::Bus(hub())
    }

    pub(crate) fn journal(&self) -> Arc<dyn Whole> {
        match self {
            Self::Memory(database) => Arc::new(database.connect(shards())),
            Self::Bus(hub) => Arc::new(OnBus::new(Arc::new(hub.connect()), shards())),
        }
    }

    fn elect(&self) -> Anyone {
        let (ends, _) = mpsc::unbounded_channel();
        Anyone {
            bus: match self {
                Self::Memory(_) => None,
                Self::Bus(hub) => Some(Arc::new(hub.connect())),
            },
            ends,
            held: Vec::new(),
        }
    }

    pub(crate) fn intake(&self) -> Intake<Anyone> {
        Intake::new(self.journal(), shards(), self.elect())
    }

    pub(crate) fn source(&self) -> Source {
        Source::new(self.journal(), None, false)
    }

    /// As a node owns it.
    pub(crate) async fn claim(&self, journal: &dyn Journal, room: &RoomId) -> Claim {
        let shard = shards().of(room);
        let (me, least) = self.elect().elect(shard).await.unwrap();
        journal.claim(shard, me, least).await.unwrap()
    }

    pub(crate) async fn state(&self, room: &RoomId) -> State {
        let mut incoming = self.source().room(room).await.unwrap().unwrap();
        use dump::Incoming;
        while !incoming.page().await.unwrap().is_empty() {}
        incoming.state().await.unwrap()
    }
}

/// Whoever asks is elected.
pub(crate) struct Anyone {
    bus: Option<Arc<dyn Bus>>,
    ends: Ends,
    held: Vec<Lease>,
}

#[async_trait]
impl Elect for Anyone {
    async fn elect(&mut self, shard: ShardId) -> Result<(Incarnation, Epoch), dump::Error> {
        let me = Incarnation::new(Uuid::now_v7());
        let Some(bus) = &self.bus else {
            return Ok((me, Epoch(1)));
        };
        let found = bus.shard(shard).await.unwrap();
        let (bus, ends) = (bus.clone(), self.ends.clone());
        let lease = Lease::take(bus, ends, me, shard, found, Epoch::default()).await;
        self.held.push(lease.unwrap());
        Ok((me, self.held.last().unwrap().epoch()))
    }
}

/// An owner of a room, who says things.
pub(crate) struct Speaker {
    pub(crate) journal: Arc<dyn Whole>,
    pub(crate) claim: Claim,
    pub(crate) room: RoomId,
    pub(crate) state: State,
}

impl Speaker {
    pub(crate) async fn of(place: &Place, name: &str) -> Self {
        let (journal, room) = (place.journal(), room(name));
        let claim = place.claim(&*journal, &room).await;
        let state = journal.open(&room, claim).await.unwrap().replay();
        Self {
            journal,
            claim,
            room,
            state,
        }
    }

    /// Harry opens a session and stays.
    pub(crate) async fn joins(&mut self) {
        self.acts(Action::Open {
            session: SessionId::new(Uuid::from_u128(9)),
            user: UserId::parse("harry").unwrap(),
            key: Key::parse("KEY").unwrap(),
            identity: Identity::Claimed,
            device: None,
            gateway: gateway(),
            policy: None,
            former: None,
        })
        .await;
    }

    pub(crate) async fn says(&mut self, ids: std::ops::RangeInclusive<u64>) {
        for n in ids {
            self.acts(Action::Send {
                user: UserId::parse("charly").unwrap(),
                key: Key::parse("OTHER").unwrap(),
                identity: Identity::Claimed,
                turn: None,
                request: None,
                after: 0,
                id: CommandId::parse(&format!("m{n}")).unwrap(),
                to: None,
                body: Body::Text(format!("said {n}").into()),
            })
            .await;
        }
    }

    pub(crate) async fn acts(&mut self, action: Action) {
        let at = Millis(1_795_465_200_000 + self.state.head.0);
        let command = Command { at, action };
        let decision = decide(&self.state, &command);
        let events = self.state.apply_decision(&decision, &command);
        if events.is_empty() {
            return;
        }
        let commit = Commit {
            epoch: self.claim.epoch(),
            events,
        };
        let appended = self.journal.append(&self.room, self.claim, &commit).await;
        appended.unwrap();
    }

    /// Something that no event carries yet.
    pub(crate) async fn saves_a_change(&mut self) {
        self.state.change(Change::Closed {
            session: SessionId::new(Uuid::from_u128(10)),
        });
        self.saves().await;
    }

    pub(crate) async fn saves(&self) {
        let saved = self
            .journal
            .save_snapshot(&self.room, self.claim, &self.state);
        saved.await.unwrap();
    }
}

/// A room with a session, messages, a snapshot in between, and a change that only that has.
pub(crate) async fn talk(place: &Place, name: &str, messages: u64) -> State {
    let mut speaker = Speaker::of(place, name).await;
    speaker.joins().await;
    speaker.says(1..=messages / 2).await;
    speaker.saves().await;
    speaker.says(messages / 2 + 1..=messages).await;
    speaker.saves_a_change().await;
    speaker.state
}

/// A file of these rooms.
pub(crate) async fn export(place: &Place, names: &[&str]) -> Vec<u8> {
    let (kind, cluster) = (JournalKind::Bus, Some("the-cluster".into()));
    let mut writer = Writer::begin(Vec::new(), cluster, kind, 4, AT.into()).unwrap();
    for name in names {
        let incoming = place.source().room(&room(name)).await.unwrap();
        writer.room(&mut incoming.expect("a room")).await.unwrap();
    }
    writer.end().unwrap().0
}

/// Writes the rooms of a file.
pub(crate) async fn import(place: &Place, file: &[u8]) -> Vec<Result<Taken, String>> {
    let (mut reader, mut intake) = (Reader::open(file).unwrap(), place.intake());
    let mut told = Vec::new();
    while let Some(item) = reader.item().unwrap() {
        if let Item::Room { room, head } = item {
            let mut incoming = FileRoom::new(&mut reader, room, head);
            let taken = intake.take(&mut incoming).await;
            told.push(taken.map_err(|error| error.to_string()));
            reader.skip_room().unwrap();
        }
    }
    told
}

/// All events of a room that are there.
pub(crate) async fn events(place: &Place, name: &str) -> Vec<safe_chat::room::Event> {
    let (journal, room) = (place.journal(), room(name));
    let head = journal.end(&room).await.unwrap().head;
    let (mut events, mut next) = (Vec::new(), Seq(1));
    while next <= head {
        let page = journal.read(&room, next, head).await.unwrap();
        next = page.last().map_or(head, |last| last.seq).next();
        events.extend(page);
    }
    events
}
