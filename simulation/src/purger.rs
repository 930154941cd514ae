//! An operator who has rooms purged, now and then.

use crate::{board::Board, client::Phase, cluster::Cluster, random::Random};
use safe_chat::room::{Action, RoomId};
use std::time::Duration;
use tokio::{sync::watch, time::sleep};

/// Between two purges, at most: a room is removed within seconds, or in the middle of that.
const PAUSE: Duration = Duration::from_secs(25);

pub(crate) struct Purger {
    pub(crate) cluster: Cluster,
    pub(crate) board: Board,
    pub(crate) rooms: Vec<RoomId>,
    pub(crate) random: Random,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Purger {
    /// Runs until the run wants nothing new.
    pub(crate) async fn run(mut self) {
        loop {
            sleep(self.random.time(PAUSE)).await;
            if *self.phase.borrow() != Phase::Talk {
                return;
            }
            let room = self.random.pick(&self.rooms).clone();
            self.cluster.order(&room, Action::Purge).await;
            tracing::info!(%room, "purged");
            self.board.count("purges");
        }
    }
}
