//! A client without a session: it posts a message to any gateway, and the same again until it is
//! answered; then the next.

use crate::{board::Board, client::Phase, cluster::Cluster, random::Random, talk::content};
use loadtest::history::Step;
use safe_chat::{
    room::{RoomId, UserId},
    wire::{ServerFrame, decode_send_object},
};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// How long it waits for an answer: longer than a gateway waits for one.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) struct Poster {
    pub(crate) cluster: Cluster,
    pub(crate) board: Board,
    pub(crate) room: RoomId,
    pub(crate) user: UserId,
    pub(crate) random: Random,
    pub(crate) phase: watch::Receiver<Phase>,
    /// Between two messages, on average.
    pub(crate) pace: Duration,
    /// Messages so far.
    pub(crate) said: u64,
}

impl Poster {
    /// Runs until it was answered and the run wants nothing new.
    pub(crate) async fn run(mut self) {
        // What comes before the first session of all is seen by nobody.
        while !self.is_watched() {
            sleep(self.pace).await;
        }
        self.go_on().await;
    }

    /// Goes on where it was, until it is over.
    pub(crate) async fn go_on(&mut self) {
        loop {
            sleep(self.random.time(self.pace * 2)).await;
            if *self.phase.borrow() != Phase::Talk {
                return;
            }
            self.said += 1;
            let id = format!("{}-{}", self.user, self.said);
            while !self.post(&id).await {
                sleep(self.random.skewed(Duration::from_secs(2))).await;
            }
        }
    }

    /// Posts once; whether it is journaled.
    async fn post(&mut self, id: &str) -> bool {
        let names = self.cluster.names();
        if names.is_empty() {
            return false;
        }
        let Some(node) = self.cluster.node(self.random.pick::<&str>(&names)) else {
            return false;
        };
        self.step(Step::Sent { id: id.into() });
        let mut message = content(id);
        message["id"] = id.into();
        let message = decode_send_object(message.to_string().as_bytes());
        let message = message.expect("a message of the protocol");
        let answer = node.post(self.room.clone(), self.user.clone(), message);
        let step = match timeout(PATIENCE, answer).await.ok().flatten() {
            Some(Ok(ServerFrame::Journaled { seq, duplicate, .. })) => {
                self.board.count("posts answered");
                let (id, seq) = (id.into(), seq.0);
                self.step(if duplicate {
                    Step::Repeated { id, seq }
                } else {
                    Step::Journaled { id, seq }
                });
                return true;
            }
            Some(Ok(ServerFrame::Rejected { rejection, .. }) | Err(rejection)) => Step::Refused {
                id: id.into(),
                reason: rejection.reason.to_string(),
            },
            Some(Ok(_)) => unreachable!("a POST is answered with one of two frames"),
            // The node is gone or stands still.
            None => return false,
        };
        self.step(step);
        false
    }

    fn is_watched(&self) -> bool {
        self.board.room(self.room.as_str(), |room| {
            let mut steps = room.history.clients.values().flatten();
            steps.any(|step| matches!(step, Step::Welcomed { .. }))
        })
    }

    fn step(&self, step: Step) {
        tracing::debug!(room = %self.room, user = %self.user, ?step);
        self.board.room(self.room.as_str(), |room| {
            room.step(self.user.as_str(), step)
        });
    }
}
