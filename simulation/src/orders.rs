//! An operator who has rooms purged, or content erased, now and then.

use crate::{board::Board, client::Phase, cluster::Cluster, random::Random};
use loadtest::history::Removal;
use safe_chat::room::{Action, RoomId, UserId};
use std::time::Duration;
use tokio::{sync::watch, time::sleep};

pub(crate) struct Operator {
    pub(crate) cluster: Cluster,
    pub(crate) board: Board,
    pub(crate) rooms: Vec<RoomId>,
    pub(crate) orders: Orders,
    pub(crate) random: Random,
    pub(crate) phase: watch::Receiver<Phase>,
}

/// What is ordered, again and again.
pub(crate) enum Orders {
    Purges,
    /// Of one of these.
    Erasures(Vec<UserId>),
}

impl Orders {
    /// Between two of them, at most: one is done within seconds, or meets the next one in its
    /// middle.
    fn pause(&self) -> Duration {
        Duration::from_secs(match self {
            Self::Purges => 25,
            Self::Erasures(_) => 15,
        })
    }

    fn next(&self, random: &mut Random) -> (Action, Removal) {
        match self {
            Self::Purges => (Action::Purge, Removal::Purge),
            Self::Erasures(users) => {
                let user = random.pick(users).clone();
                let removal = Removal::Erase(user.to_string());
                (Action::Erase { user }, removal)
            }
        }
    }

    fn counted(&self) -> &'static str {
        match self {
            Self::Purges => "purges",
            Self::Erasures(_) => "erasures",
        }
    }
}

impl Operator {
    /// Runs until the run wants nothing new.
    pub(crate) async fn run(mut self) {
        loop {
            sleep(self.random.time(self.orders.pause())).await;
            if *self.phase.borrow() != Phase::Talk {
                return;
            }
            let room = self.random.pick(&self.rooms).clone();
            let (action, removal) = self.orders.next(&mut self.random);
            tracing::info!(%room, ?action, "ordered");
            self.board
                .room(room.as_str(), |room| room.history.removed.ordered(&removal));
            self.cluster.order(&room, action).await;
            self.board.count(self.orders.counted());
        }
    }
}
