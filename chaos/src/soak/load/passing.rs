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

/// Who visits.
pub(super) struct Visitor {
    pub(super) n: usize,
    pub(super) user: String,
    pub(super) urls: Vec<String>,
    pub(super) ledger: Ledger,
}

/// What is visited.
pub(super) struct Rooms {
    /// So many rooms that are in use.
    pub(super) used: usize,
    /// So many of its own, or a new one each time.
    pub(super) own: Option<usize>,
}

pub(super) async fn run(visitor: Visitor, rooms: Rooms, mut phase: watch::Receiver<Phase>) {
    let mut number = visitor.n;
    while *phase.borrow() == Phase::Talk {
        // The run of the client names the room: a room of its own for each visit.
        let is_own = number.is_multiple_of(2);
        let which = rooms.own.map_or(number, |own| number % own);
        let name = match is_own {
            true => format!("visit-{}-{which}", visitor.n),
            false => room(number % rooms.used),
        };
        visitor.visit(&name, number).await;
        if is_own {
            visitor.ledger.forget(&name);
        }
        number += 1;
        let _ = timeout(PAUSE, phase.wait_for(|phase| *phase != Phase::Talk)).await;
    }
}

impl Visitor {
    /// Joins a room, talks and goes, every third time without a farewell.
    pub(super) async fn visit(&self, room: &str, number: usize) {
        let user = self.user.clone();
        let account = Account::new(&self.ledger, room, &user);
        let options = Options {
            urls: self.urls.clone(),
            room: room.to_owned(),
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
        self.ledger.count(|counts| counts.visits += 1);
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
