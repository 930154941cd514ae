//! Rooms that go: people come to one, talk and leave; an operator has it forgotten, and for a while
//! nobody comes. Then they come again, to what is there. Meanwhile others read without a session.
//! In the end all have seen everything, leave, and nothing is stored of the room.

use crate::{
    board::Board,
    client::{Client, Phase},
    cluster::Cluster,
    poster::Poster,
    random::Random,
    reader::Reader,
    talk::Talk,
};
use safe_chat::{
    room::{Action, RoomId, UserId},
    writer,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// Those who come.
const GUESTS: [&str; 3] = ["user-0", "user-1", "user-2"];
/// Who says something without a session.
const POSTER: &str = "poster";
/// How long people are in the room, at most.
const STAY: Duration = Duration::from_secs(15);
/// How long it may take until a session has ended whose gateway died, or was frozen.
const LEAVES: Duration = Duration::from_secs(60);
/// How long a room usually takes to go: a purge is looked at once more after half of it.
const GOES: Duration = Duration::from_secs(60);

/// How rooms go in a run.
#[derive(Debug, Clone)]
pub(crate) struct Passing {
    /// So long after their last event.
    after: Duration,
    /// Events are let go so long after they were said, and names by an operator; `None`: he has the
    /// room purged.
    keeps: Option<Duration>,
}

impl Passing {
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::of(seed, "passing");
        let after = Duration::from_secs(1 + random.below(5));
        let is_by_age = random.chance(400);
        let keeps = is_by_age.then(|| Duration::from_secs(1 + random.below(10)));
        Self { after, keeps }
    }

    /// So long after their last event rooms may go.
    pub(crate) fn after(&self) -> Duration {
        self.after
    }

    /// The settings of owners, who look for rooms that are gone every few seconds.
    pub(crate) fn writer(&self, usual: writer::Config) -> writer::Config {
        // A room whose keys were ever in records goes by a purge alone.
        let names_in_snapshot = match self.keeps {
            Some(_) => writer::Config::default().names_in_snapshot,
            None => usual.names_in_snapshot,
        };
        writer::Config {
            names_in_snapshot,
            trim_ms: 20,
            keep_age_s: self.keeps.map_or(0, |age| age.as_secs()),
            gone_after_s: self.after.as_secs(),
            ..usual
        }
    }

    /// What an operator says, so that nothing is left that anybody has to be told.
    fn orders(&self) -> Vec<Action> {
        match self.keeps {
            None => vec![Action::Purge],
            Some(_) => {
                let names = GUESTS.into_iter().chain([POSTER]);
                let unpin = |name| Action::Unpin { user: user(name) };
                names.map(unpin).collect()
            }
        }
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a valid name")
}

/// All who are in a run: a host for each room, with guests, and readers.
pub(crate) fn cast(
    seed: u64,
    cluster: &Cluster,
    board: &Board,
    phase: &watch::Sender<Phase>,
) -> Vec<JoinHandle<()>> {
    let mut random = Random::of(seed, "clients");
    let pace = Duration::from_millis(50 + random.below(1000));
    let mut all = Vec::new();
    for number in 0..1 + random.below(3) {
        let name = format!("room-{number}");
        let room = RoomId::parse(&name).expect("a valid name");
        for reader in 0..2 {
            let random = Random::of(seed, &format!("reader {reader} in {name}"));
            let reader = Reader {
                cluster: cluster.clone(),
                board: board.clone(),
                room: room.clone(),
                number: reader,
                random,
                phase: phase.subscribe(),
            };
            all.push(tokio::spawn(reader.run()));
        }
        let host = Host {
            cluster: cluster.clone(),
            board: board.clone(),
            room,
            random: Random::of(seed, &format!("host of {name}")),
            phase: phase.subscribe(),
            pace,
        };
        all.push(tokio::spawn(host.run(seed)));
    }
    all
}

/// Lets people into a room, and has it forgotten when they have left.
struct Host {
    cluster: Cluster,
    board: Board,
    room: RoomId,
    random: Random,
    phase: watch::Receiver<Phase>,
    /// Between two messages of one of them, on average.
    pace: Duration,
}

/// Who comes, and where each is in the room.
struct Guests {
    people: BTreeMap<&'static str, (Client, Talk)>,
    poster: Poster,
}

impl Host {
    async fn run(mut self, seed: u64) {
        let mut guests = self.guests(seed);
        while self.is_talking() {
            guests = self.meet(guests).await;
            if self.is_talking() {
                self.remove().await;
                let most = *self.random.pick(&[GOES / 4, GOES * 2]);
                let pause = self.random.time(most);
                self.until_calm(pause).await;
            }
        }
        drop(self.meet(guests).await);
        loop {
            self.remove().await;
            let until = Instant::now() + GOES * 2;
            while Instant::now() < until {
                if self.cluster.what_is_stored(&self.room).await.is_none() {
                    return self.board.count("rooms that are gone in the end");
                }
                sleep(Duration::from_secs(1)).await;
            }
        }
    }

    fn guests(&self, seed: u64) -> Guests {
        let random = |who: &str| Random::of(seed, &format!("{who} in {}", self.room));
        let people = GUESTS.map(|name| {
            let client = Client {
                cluster: self.cluster.clone(),
                board: self.board.clone(),
                room: self.room.clone(),
                user: user(name),
                random: random(name),
                phase: self.phase.clone(),
                pace: self.pace,
                history: 50,
                naps: true,
                said: BTreeMap::new(),
            };
            (name, (client, Talk::in_passing(name)))
        });
        let poster = Poster {
            cluster: self.cluster.clone(),
            board: self.board.clone(),
            room: self.room.clone(),
            user: user(POSTER),
            random: random(POSTER),
            phase: self.phase.clone(),
            pace: self.pace * 4,
            said: 0,
        };
        Guests {
            people: people.into(),
            poster,
        }
    }

    fn is_talking(&self) -> bool {
        *self.phase.borrow() == Phase::Talk
    }

    /// Waits so long, or until nothing goes wrong any more.
    async fn until_calm(&mut self, most: Duration) {
        let calm = self.phase.wait_for(|phase| *phase != Phase::Talk);
        // Either way; the sender lives as long as the run.
        let _ = timeout(most, calm).await;
    }

    /// Some come, and leave again; in the end all, who see everything before they leave.
    async fn meet(&mut self, guests: Guests) -> Guests {
        let now = *self.phase.borrow();
        let phase = watch::Sender::new(now);
        let (mut away, mut there) = (BTreeMap::new(), Vec::new());
        for (name, (mut client, mut talk)) in guests.people {
            if now == Phase::Talk && self.random.chance(300) {
                away.insert(name, (client, talk));
                continue;
            }
            client.phase = phase.subscribe();
            there.push(tokio::spawn(async move {
                client.go_on(&mut talk).await;
                (name, (client, talk))
            }));
        }
        let mut poster = guests.poster;
        poster.phase = phase.subscribe();
        let posts = tokio::spawn(async move {
            poster.go_on().await;
            poster
        });
        match now {
            Phase::Talk => {
                let stay = self.random.time(STAY);
                self.until_calm(stay).await;
            }
            Phase::Listen | Phase::Over => {
                while !self.has_all_seen_all().await {
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
        phase.send_replace(Phase::Over);
        let fine = "no client panics";
        for one in there {
            let (name, one) = one.await.expect(fine);
            away.insert(name, one);
        }
        Guests {
            people: away,
            poster: posts.await.expect(fine),
        }
    }

    async fn has_all_seen_all(&self) -> bool {
        let Some((head, _)) = self.cluster.head(&self.room).await else {
            return false;
        };
        self.board.room(self.room.as_str(), |room| {
            let mut all = GUESTS.into_iter().map(|name| room.standing.get(name));
            all.all(|one| one.is_some_and(|it| it.connected && it.open == 0 && it.seen == head.0))
        })
    }

    /// An operator has the room removed, if nobody is there.
    async fn remove(&mut self) {
        let until = Instant::now() + LEAVES;
        while self.cluster.is_empty(&self.room).await != Some(true) {
            if Instant::now() > until {
                return self.board.count("rooms that somebody did not leave");
            }
            sleep(Duration::from_secs(1)).await;
        }
        let orders = self.cluster.passing().map(Passing::orders);
        for order in orders.unwrap_or_default() {
            self.cluster.order(&self.room, order).await;
        }
        self.board.count("rooms that were to be forgotten");
    }
}
