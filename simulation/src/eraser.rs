//! An operator who has content erased, now and then.

use crate::{board::Board, client::Phase, cluster::Cluster, random::Random};
use safe_chat::room::{Action, RoomId, UserId};
use std::time::Duration;
use tokio::{sync::watch, time::sleep};

/// Between two erasures, at most: one is done within seconds, or meets the next one.
const PAUSE: Duration = Duration::from_secs(15);

pub(crate) struct Eraser {
    pub(crate) cluster: Cluster,
    pub(crate) board: Board,
    pub(crate) rooms: Vec<RoomId>,
    pub(crate) users: Vec<UserId>,
    pub(crate) random: Random,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Eraser {
    /// Runs until the run wants nothing new.
    pub(crate) async fn run(mut self) {
        loop {
            sleep(self.random.time(PAUSE)).await;
            if *self.phase.borrow() != Phase::Talk {
                return;
            }
            let room = self.random.pick(&self.rooms).clone();
            let user = self.random.pick(&self.users).clone();
            tracing::info!(%room, %user, "erased");
            self.cluster.order(&room, Action::Erase { user }).await;
            self.board.count("erasures");
        }
    }
}
