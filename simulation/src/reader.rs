//! Who reads a room without a session, as a browser does its event stream: it stays while nobody is
//! there, and comes back to any gateway with the last id.

use crate::{board::Board, client::Phase, cluster::Cluster, random::Random};
use loadtest::history::{Event, Step};
use safe_chat::{
    gateway::StartAt,
    room::{RoomId, Seq},
};
use serde_json::Value;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, timeout_at},
};

pub(crate) struct Reader {
    pub(crate) cluster: Cluster,
    pub(crate) board: Board,
    pub(crate) room: RoomId,
    pub(crate) number: u8,
    pub(crate) random: Random,
    pub(crate) phase: watch::Receiver<Phase>,
}

impl Reader {
    /// Runs until the run is over.
    pub(crate) async fn run(mut self) {
        let mut last = None;
        while *self.phase.borrow() != Phase::Over {
            if let Some(heard) = self.connect(last) {
                self.read(heard, &mut last).await;
            }
            sleep(self.random.skewed(Duration::from_secs(3))).await;
        }
    }

    fn connect(&mut self, last: Option<u64>) -> Option<mpsc::Receiver<String>> {
        let names = self.cluster.names();
        if names.is_empty() {
            return None;
        }
        let node = self.cluster.node(self.random.pick::<&str>(&names))?;
        let from = StartAt {
            since: last.map(Seq),
            since_at: None,
            history: 50,
        };
        if let Some(after) = last {
            self.step(Step::Connected { after });
        }
        let address = IpAddr::V4(Ipv4Addr::new(127, 0, 1, self.number));
        let wire = self.cluster.next_wire();
        Some(node.watch(address, self.room.clone(), from, wire))
    }

    /// Reads until the stream ends, or for as long as it stays.
    async fn read(&mut self, mut heard: mpsc::Receiver<String>, last: &mut Option<u64>) {
        let until = Instant::now() + self.random.time(Duration::from_secs(200));
        let mut text = String::new();
        while let Ok(Some(piece)) = timeout_at(until, heard.recv()).await {
            text.push_str(&piece);
            while let Some((entry, rest)) = text.split_once("\n\n") {
                let taken = self.take(entry, last);
                if let Err(what) = taken {
                    self.complain(format!("{what}: {entry}"));
                }
                text = rest.to_owned();
            }
        }
    }

    fn take(&self, entry: &str, last: &mut Option<u64>) -> Result<(), &'static str> {
        let (mut kind, mut data) = ("message", None);
        for line in entry.lines() {
            match line.split_once(": ").ok_or("no field")? {
                ("id", id) => *last = Some(id.parse().map_err(|_| "an id that is no place")?),
                ("event", event) => kind = event,
                ("data", text) => data = serde_json::from_str::<Value>(text).ok(),
                _ => return Err("an unknown field"),
            }
        }
        let Some(data) = data else { return Ok(()) };
        let step = match kind {
            "reset" => {
                let seq = data["seq"].as_u64().ok_or("a reset without a place")?;
                self.board.count("readers that were told to forget");
                Step::Reset { seq }
            }
            _ => Step::Saw(Event::of_json(&data).ok_or("not an event")?),
        };
        self.step(step);
        Ok(())
    }

    fn name(&self) -> String {
        format!("reader-{}", self.number)
    }

    fn step(&self, step: Step) {
        tracing::debug!(room = %self.room, reader = self.number, ?step);
        let room = self.room.as_str();
        self.board.room(room, |room| room.step(&self.name(), step));
    }

    fn complain(&self, what: String) {
        tracing::error!(room = %self.room, reader = self.number, what, "complaint");
        let what = format!("{}: {what}", self.name());
        self.board
            .room(self.room.as_str(), |room| room.complaints.push(what));
    }
}
