//! People who come to a room for a moment, and come back; and strangers who try their names. Their
//! keys move into records, and each name stays with whom it was given to.

use crate::{
    board::Board,
    client::Phase,
    cluster::Cluster,
    random::Random,
    wire::{Heard, Wire},
};
use safe_chat::{
    gateway::{Join, StartAt},
    room::{Identity, Key, Reason, RoomId, UserId},
    wire::Protocol,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Names of visitors of a room.
const NAMES: u64 = 5;
/// Longest wait for the first frame.
const CONNECT: Duration = Duration::from_secs(15);
/// Between two visits, on average.
const PACE: Duration = Duration::from_millis(700);

pub(crate) struct Visitor {
    pub(crate) cluster: Cluster,
    pub(crate) board: Board,
    pub(crate) room: RoomId,
    pub(crate) random: Random,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Names whose owners were let in. A purge frees those of who is away.
    pub(crate) owned: BTreeSet<u64>,
}

impl Visitor {
    /// Runs until the run wants nothing new.
    pub(crate) async fn run(mut self) {
        loop {
            sleep(self.random.time(PACE * 2)).await;
            if *self.phase.borrow() != Phase::Talk {
                return;
            }
            let name = self.random.below(NAMES);
            let may_be_tried = self.owned.contains(&name) && !self.cluster.purges();
            let is_stranger = may_be_tried && self.random.chance(400);
            match self.join(name, is_stranger).await {
                Some(Ok(_)) if is_stranger => self.complain(name, "a stranger was let in"),
                Some(Ok(wire)) => {
                    self.owned.insert(name);
                    self.board.count("visits");
                    sleep(self.random.skewed(PACE)).await;
                    drop(wire);
                }
                Some(Err(Reason::KeyMismatch)) if is_stranger => {
                    self.board.count("strangers refused");
                }
                Some(Err(Reason::KeyMismatch)) => self.complain(name, "its owner was refused"),
                // Nobody is there to let it in or to refuse it.
                Some(Err(_)) | None => {}
            }
        }
    }

    /// Connects to any node that runs; `None` when that did not work this time.
    async fn join(&mut self, name: u64, is_stranger: bool) -> Option<Result<Wire, Reason>> {
        let names = self.cluster.names();
        if names.is_empty() {
            return None;
        }
        let node = self.cluster.node(self.random.pick::<&str>(&names))?;
        let key = match is_stranger {
            true => format!("key-of-a-stranger-{name}"),
            false => format!("key-of-visitor-{name}"),
        };
        let join = Join {
            room: self.room.clone(),
            user: UserId::parse(&format!("visitor-{name}")).expect("a valid name"),
            key: Key::parse(&key).expect("a valid key"),
            identity: Identity::Claimed,
            device: None,
            from: StartAt {
                since: None,
                since_at: None,
                history: 0,
            },
            protocol: Protocol::Json,
            policy: None,
            former: None,
        };
        let mut wire = node.connect(join, self.cluster.next_wire());
        match timeout(CONNECT, wire.down.recv()).await.ok().flatten()? {
            Heard::Frames(_) => Some(Ok(wire)),
            Heard::Refused(reason) => Some(Err(reason)),
            Heard::Closed(_) => None,
        }
    }

    fn complain(&self, name: u64, what: &str) {
        tracing::error!(room = %self.room, name, what, "complaint");
        self.board.room(self.room.as_str(), |room| {
            room.complaints.push(format!("visitor-{name}: {what}"))
        });
    }
}
