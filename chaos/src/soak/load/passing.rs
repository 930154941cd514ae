//! A client that comes, says something and goes, again and again: to rooms that are in use and to
//! rooms that nobody else will ever see.

use super::{Account, Ledger, Phase, room};
use loadtest::client::{self, Options, Outgoing};
use std::time::Duration;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout},
};

/// Messages of a visit, one by one.
pub(super) const MESSAGES: usize = 4;
/// Between two messages.
const BETWEEN: Duration = Duration::from_millis(250);
/// Between two visits.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a visit may take to be answered and to see its own messages.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) struct Visitor {
    pub(super) n: usize,
    pub(super) urls: Vec<String>,
    pub(super) rooms: usize,
    pub(super) ledger: Ledger,
}

pub(super) async fn run(visitor: Visitor, mut phase: watch::Receiver<Phase>) {
    let mut number = visitor.n;
    while *phase.borrow() == Phase::Talk {
        visitor.visit(number).await;
        visitor.ledger.count(|counts| counts.visits += 1);
        number += 1;
        let _ = timeout(PAUSE, phase.wait_for(|phase| *phase != Phase::Talk)).await;
    }
}

impl Visitor {
    async fn visit(&self, number: usize) {
        let (user, is_new) = (format!("passing-{}", self.n), number.is_multiple_of(2));
        // The run of the client names the room: a room of its own for each visit.
        let room = if is_new {
            format!("visit-{}-{number}", self.n)
        } else {
            room(number % self.rooms)
        };
        let account = Account::new(&self.ledger, &room, &user);
        let options = Options {
            urls: self.urls.clone(),
            room: room.clone(),
            user,
            first: number,
            since: None,
        };
        let (outgoing, messages) = mpsc::channel(MESSAGES);
        let (steps, mut own) = mpsc::unbounded_channel();
        let (stop, stopped) = watch::channel(false);
        let (connected, _first) = mpsc::channel(1);
        let client = tokio::spawn(client::run(options, messages, steps, connected, stopped));
        let watch = async {
            while let Some((at, step)) = own.recv().await {
                account.step(at, &step);
            }
        };
        let talk = async {
            self.talk(&account, number, &outgoing).await;
            let is_rude = number.is_multiple_of(3);
            if is_rude {
                client.abort();
            } else {
                stop.send_replace(true);
            }
        };
        // The client ends, and with it its steps.
        tokio::join!(watch, talk);
        let _ = client.await;
        account.settle();
        if is_new {
            self.ledger.forget(&room);
        }
    }

    async fn talk(&self, account: &Account, number: usize, outgoing: &mpsc::Sender<Outgoing>) {
        for n in 0..MESSAGES {
            let id = format!("visit-{number}-{n}");
            account.sends(&id, Instant::now());
            if outgoing
                .send(Outgoing {
                    text: "x".repeat(60),
                    id,
                })
                .await
                .is_err()
            {
                return;
            }
            sleep(BETWEEN).await;
        }
        let settled = async {
            while account.open() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        // What is open then is told by `settle`.
        let _ = timeout(PATIENCE, settled).await;
    }
}
