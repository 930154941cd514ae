//! What is done to a service: who joins what, who sends when. Every scenario is an open loop: it
//! sends at its times, whatever the answers do, so that a service that stands still shows in the
//! latencies of all that should have been sent meanwhile.

mod churn;
mod deep;
mod idle;
mod knee;
mod load;
mod storm;

use crate::engine::{Engine, Id};
use anyhow::{Result, bail};
use clap::ValueEnum;
pub use knee::Step;
pub use load::{Pace, load};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How long everybody may take to join.
const JOIN: Duration = Duration::from_secs(120);
/// How long everything may take to be answered and read in the end.
const SETTLE: Duration = Duration::from_secs(30);
/// Members of a room by its rank: few large rooms, many small ones.
const ZIPF: f64 = 1.1;

/// Which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// One room, many members, one sender
    Fanout,
    /// Many rooms of the same size, everybody sends
    Rooms,
    /// Many messages at once, again and again
    Burst,
    /// Sessions that do nothing: what each costs, and what stays when they left
    Idle,
    /// Members come and go while others talk; half of them resume
    Churn,
    /// Everybody loses the connection, misses messages, and comes back at once
    Storm,
    /// Somebody comes back to a room with very many messages, and missed only the last ones
    Deep,
    /// The highest rate that is still fast enough
    Knee,
    /// Rooms of very different sizes (Zipf), everybody sends
    Mixed,
}

/// What is set on the command line; `None`: as the scenario has it.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Shape {
    /// Rooms
    #[arg(long)]
    pub rooms: Option<usize>,
    /// Sessions in all, spread over the rooms
    #[arg(long)]
    pub members: Option<usize>,
    /// Sessions that send; they take turns [fanout, burst: 1; knee: 10; else all]
    #[arg(long)]
    pub senders: Option<usize>,
    /// Messages per second in all; of deep: returns
    #[arg(long)]
    pub rate: Option<f64>,
    /// Messages that a sender sends at once
    #[arg(long)]
    pub burst: Option<usize>,
    /// How long the load lasts; of knee: each step
    #[arg(long)]
    pub seconds: Option<f64>,
    /// Send the next burst when all members have the last one, instead of at a rate: what the
    /// servers can do at most, not how fast they are
    #[arg(long)]
    pub saturate: bool,
    /// Of churn: sessions per second that leave and come back
    #[arg(long, default_value_t = 50.0)]
    pub churn: f64,
    /// Of storm and deep: messages of each room that are missed
    #[arg(long, default_value_t = 100)]
    pub missed: usize,
    /// Of deep: messages that the room has
    #[arg(long, default_value_t = 1_000_000)]
    pub depth: usize,
    /// Of knee: milliseconds that p99 of answers and of last members may take
    #[arg(long, default_value_t = 100.0)]
    pub limit: f64,
}

/// A shape with everything decided.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Which scenario.
    pub scenario: Scenario,
    /// Rooms.
    pub rooms: usize,
    /// Sessions.
    pub members: usize,
    /// Sessions that send.
    pub senders: usize,
    /// How they send.
    pub pace: Pace,
    /// How long.
    pub length: Duration,
    /// The rest.
    pub shape: Shape,
}

/// What a scenario finds beside what is always measured.
#[derive(Debug, Default)]
pub struct Findings {
    /// By name.
    pub figures: BTreeMap<String, f64>,
    /// Of knee.
    pub steps: Vec<Step>,
    /// What a reader has to know of them.
    pub notes: Vec<String>,
    /// Whether the last member of a room is known: not while members come and go.
    pub moving: bool,
}

impl Plan {
    /// Fills in what was not set.
    ///
    /// # Errors
    /// It cannot be.
    pub fn new(scenario: Scenario, shape: Shape) -> Result<Self> {
        // Rooms, members, senders (0: all), messages per second, at once, seconds.
        let (rooms, members, senders, rate, burst, seconds) = match scenario {
            Scenario::Fanout => (1, 1000, 1, 50.0, 1, 10.0),
            Scenario::Rooms => (100, 1000, 0, 500.0, 1, 10.0),
            Scenario::Burst => (1, 100, 1, 320.0, 32, 10.0),
            Scenario::Idle => (80, 8000, 1, 1.0, 1, 10.0),
            Scenario::Churn => (20, 400, 0, 100.0, 1, 10.0),
            Scenario::Storm => (20, 2000, 0, 0.0, 1, 10.0),
            Scenario::Deep => (1, 2, 1, 20.0, 1, 10.0),
            Scenario::Knee => (1, 100, 10, 100.0, 1, 3.0),
            Scenario::Mixed => (500, 2000, 0, 1000.0, 1, 20.0),
        };
        let rooms = shape.rooms.unwrap_or(rooms).max(1);
        let members = shape.members.unwrap_or(members).max(rooms);
        let senders = match shape.senders.unwrap_or(senders) {
            0 => members,
            senders => senders.min(members),
        };
        let pace = Pace {
            rate: shape.rate.unwrap_or(rate),
            burst: shape.burst.unwrap_or(burst).max(1),
            saturate: shape.saturate,
        };
        if !(pace.rate > 0.0 && pace.rate.is_finite()) && scenario != Scenario::Storm {
            bail!("--rate must be above 0 (without a rate: --saturate)");
        }
        let seconds = shape.seconds.unwrap_or(seconds);
        if !(seconds > 0.0 && seconds <= 3600.0) {
            bail!("--seconds must be above 0, and at most 3600");
        }
        Ok(Self {
            scenario,
            rooms,
            members,
            senders,
            pace,
            length: Duration::from_secs_f64(seconds),
            shape,
        })
    }

    /// Runs it: everybody joins, the load goes on, everything settles.
    ///
    /// # Errors
    /// Not everybody could join, or the system gave out.
    pub fn run(&self, engine: &mut Engine) -> Result<Findings> {
        let mut findings = Findings::default();
        let before = engine.recorder.servers().now();
        engine
            .recorder
            .label(format!("{} sessions join", self.members));
        let sessions = self.join(engine)?;
        engine.settle_joins(JOIN)?;
        // What follows a join (events of the others) is not part of the load.
        engine.settle(SETTLE)?;
        self.cost_of_joins(engine, before, &mut findings);
        let senders = self.senders_of(&sessions);
        engine
            .recorder
            .label(format!("{:?}", self.scenario).to_lowercase());
        match self.scenario {
            Scenario::Idle => idle::run(self, engine, &sessions, before.1, &mut findings)?,
            Scenario::Storm => storm::run(self, engine, &sessions, &mut findings)?,
            Scenario::Deep => deep::run(self, engine, &sessions, &mut findings)?,
            Scenario::Knee => knee::run(self, engine, &senders, &mut findings)?,
            Scenario::Churn => churn::run(self, engine, &sessions, &mut findings)?,
            Scenario::Fanout | Scenario::Rooms | Scenario::Burst | Scenario::Mixed => {
                engine.recorder.begin();
                load(engine, &senders, self.pace, self.length, &mut |_| Ok(()))?;
            }
        }
        engine.recorder.end();
        engine.recorder.label("everything settles");
        engine.settle(SETTLE)?;
        engine.recorder.finish();
        Ok(findings)
    }

    fn join(&self, engine: &mut Engine) -> Result<Vec<Member>> {
        // New rooms: their history begins with this run.
        let run = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
        let mut sessions = Vec::with_capacity(self.members);
        for (room, size) in self.sizes().into_iter().enumerate() {
            for _ in 0..size {
                let user = format!("u{}", sessions.len());
                let room = format!("load-{run}-{room}");
                let id = engine.join(&room, &user, None)?;
                sessions.push(Member { id, room, user });
            }
        }
        Ok(sessions)
    }

    /// Members of each room.
    fn sizes(&self) -> Vec<usize> {
        let weight = |rank: usize| match self.scenario {
            Scenario::Mixed => 1.0 / ((rank + 1) as f64).powf(ZIPF),
            _ => 1.0,
        };
        let all: f64 = (0..self.rooms).map(weight).sum();
        let spare = self.members - self.rooms;
        let mut sizes: Vec<usize> = (0..self.rooms)
            .map(|rank| 1 + (spare as f64 * weight(rank) / all) as usize)
            .collect();
        // What rounding left over goes to the first rooms.
        let missing = self.members - sizes.iter().sum::<usize>();
        for n in 0..missing {
            sizes[n % self.rooms] += 1;
        }
        sizes
    }

    /// In the order of their turns: spread over all sessions, so that large rooms hear more, and
    /// over the rooms, so that each hears all the time.
    fn senders_of(&self, sessions: &[Member]) -> Vec<Id> {
        let step = sessions.len() as f64 / self.senders as f64;
        in_turns(self.senders)
            .map(|n| sessions[(n as f64 * step) as usize].id)
            .collect()
    }

    fn cost_of_joins(
        &self,
        engine: &mut Engine,
        (cpu, kib): (Duration, u64),
        findings: &mut Findings,
    ) {
        if engine.recorder.servers().is_empty() {
            return;
        }
        let now = engine.recorder.servers().now();
        let sessions = self.members as f64;
        let mut note = |name: &str, value: f64| {
            findings.figures.insert(name.into(), value);
        };
        note(
            "join.cpu_us",
            now.0.saturating_sub(cpu).as_micros() as f64 / sessions,
        );
        note(
            "memory.per_session_kib",
            now.1.saturating_sub(kib) as f64 / sessions,
        );
    }
}

/// All numbers below a count, neighbours far apart: multiples of the golden section.
fn in_turns(count: usize) -> impl Iterator<Item = usize> {
    let golden = (count as f64 * 0.618) as usize;
    let stride = (golden.max(1)..)
        .find(|stride| gcd(*stride, count) == 1)
        .unwrap_or(1);
    (0..count).map(move |n| n * stride % count)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A session, and what is needed to make it again.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) id: Id,
    pub(crate) room: String,
    pub(crate) user: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sender_has_its_turn_and_neighbours_are_far_apart() {
        for count in [1, 2, 3, 10, 500, 2000] {
            let turns: Vec<usize> = in_turns(count).collect();
            let all: std::collections::BTreeSet<_> = turns.iter().collect();
            assert_eq!(all.len(), count);
            if count >= 10 {
                let near = |pair: &[usize]| pair[0].abs_diff(pair[1]) < count / 5;
                assert!(!turns.windows(2).any(near), "{turns:?}");
            }
        }
    }

    #[test]
    fn every_room_has_a_member_and_all_members_have_a_room() {
        for (scenario, rooms, members) in [
            (Scenario::Mixed, 500, 2000),
            (Scenario::Mixed, 3, 3),
            (Scenario::Rooms, 7, 100),
        ] {
            let shape = Shape {
                rooms: Some(rooms),
                members: Some(members),
                ..Shape::default()
            };
            let sizes = Plan::new(scenario, shape).unwrap().sizes();
            assert_eq!(sizes.len(), rooms);
            assert_eq!(sizes.iter().sum::<usize>(), members);
            assert!(sizes.iter().all(|size| *size > 0) && sizes.is_sorted_by(|a, b| a >= b));
        }
    }

    #[test]
    fn a_rate_or_a_length_that_cannot_be_is_refused() {
        for (rate, seconds) in [(0.0, 1.0), (f64::NAN, 1.0), (1.0, 0.0), (1.0, 1e9)] {
            let shape = Shape {
                rate: Some(rate),
                seconds: Some(seconds),
                ..Shape::default()
            };
            assert!(Plan::new(Scenario::Fanout, shape).is_err());
        }
    }
}
