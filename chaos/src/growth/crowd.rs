//! More sessions in one room than a machine has open files: what a gateway that has them would have
//! submitted. It beats and answers like a node, so that nobody takes it for gone.

use super::{ground::Ground, post::key_of};
use anyhow::{Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use safe_chat::{
    bus::{Commands, Direct, Error, FORMATS, NodeRecord, Registry, Role, Submission, nats::Nats},
    room::{Action, Identity, Incarnation, Key, RoomId, SessionId, UserId},
};
use std::time::Duration;
use tokio::{task::JoinHandle, time::interval};
use uuid::Uuid;

const NAME: &str = "crowd";
/// Between two heartbeats, as nodes have it.
const BEAT: Duration = Duration::from_millis(500);
/// Commands under way at the same time.
const AT_ONCE: usize = 128;
/// How often a command is submitted whose outcome is not known: it counts once.
const ATTEMPTS: usize = 5;

/// The gateway that has them. Dropping it is its death.
pub(super) struct Crowd {
    beats: JoinHandle<()>,
    _probes: Box<dyn Send + Sync>,
    _bus: Nats,
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.beats.abort();
    }
}

/// The name of a member.
pub(super) fn name(n: u64) -> String {
    format!("somebody-from-far-away-{n:06}")
}

impl Crowd {
    /// So many come into a room. When a later command of the room is answered they are in.
    pub(super) async fn comes(ground: &Ground, room: &RoomId, count: u64) -> Result<Self> {
        let bus = ground.connect(NAME).await?;
        let me = Incarnation::of_node(NAME, Uuid::now_v7());
        let record = NodeRecord {
            incarnation: me,
            name: NAME.to_owned(),
            roles: vec![Role::Gateway],
            draining: false,
            version: "0".into(),
            commit: "".into(),
            address: "".into(),
            unreachable: Vec::new(),
            formats: FORMATS,
            keeps: None,
            gone_after_s: None,
        };
        let probes = bus.answer_probes(me).await?;
        bus.beat(&record).await?;
        let beating = bus.clone();
        let beats = tokio::spawn(async move {
            let mut beats = interval(BEAT);
            loop {
                beats.tick().await;
                // One that fails is followed by the next.
                let _ = beating.beat(&record).await;
            }
        });
        let crowd = Self {
            beats,
            _probes: probes,
            _bus: bus.clone(),
        };
        bus.mark(me, room).await?;
        let opened = |n| submit(&bus, open(room, me, n));
        stream::iter((0..count).map(opened))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(crowd)
    }
}

fn open(room: &RoomId, gateway: Incarnation, n: u64) -> Result<Submission> {
    let user = name(n);
    Ok(Submission {
        room: room.clone(),
        action: Action::Open {
            session: SessionId::new(Uuid::now_v7()),
            key: Key::parse(&key_of(&user))?,
            user: UserId::parse(&user)?,
            identity: Identity::default(),
            device: None,
            gateway,
            policy: None,
            former: None,
        },
        reply: None,
    })
}

async fn submit(bus: &Nats, submission: Result<Submission>) -> Result<()> {
    let submission = submission?;
    for _ in 0..ATTEMPTS {
        match bus.submit(&submission).await {
            Ok(_) => return Ok(()),
            Err(Error::Unknown(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bail!("the outcome of a command on the bus stays unknown")
}
