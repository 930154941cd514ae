//! What grows, at its full size: rooms that very many visited, rooms that very many are in, the end
//! of a gateway that had them, and very many rooms. Each run measures what that costs, and how long
//! a takeover and a join take then.
//!
//! A `ground` is what it happens on: two nodes, so that one can be killed, and what they need.
//! `post` fills it through the interface for clients; a `crowd` is of more sessions than a machine
//! has open files, so it is what a gateway would have submitted for them. A `door` is where
//! somebody comes in. Nothing asserts a time; what is refused or not answered fails the run.

mod crowd;
mod door;
mod gateway;
mod ground;
mod members;
mod post;
mod rooms;
mod tell;
mod visitors;

use crate::{about, command::Journals, site::Kept};
use anyhow::Result;
use clap::{Args, ValueEnum};
use ground::Ground;
use post::{Line, Message};
use std::path::PathBuf;
use tell::{Grown, Report};
use tokio::{runtime::Runtime, task::block_in_place};
use xtask::{
    binary::{self, Build},
    console::{print, say},
    interrupt::Interrupt,
    process, runs,
};

/// A million visitors, a hundred thousand members, a million rooms: what they cost, and what a
/// takeover and a join take then.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// What grows (default: all of them, one after another, each on servers of its own)
    #[arg(value_enum)]
    what: Vec<What>,
    /// How many of it (default: 1000000 visitors, 100000 members, 50000 sessions, 1000000 rooms)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Where rooms are kept
    #[arg(long, value_enum, default_value_t = Journals::Bus)]
    journal: Journals,
    /// Where the figures are written, as JSON; tables are put beside it
    #[arg(long, value_name = "FILE", default_value = "target/growth.json")]
    report: PathBuf,
    /// Programs of the profile for development
    #[arg(long)]
    debug: bool,
    /// A safe-chat that is built already
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// What grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// One room, to which so many came once
    Visitors,
    /// One room, in which so many are
    Members,
    /// One room, in which so many are through one gateway, which dies
    Gateway,
    /// So many rooms of one message each
    Rooms,
}

impl What {
    fn count(self) -> u64 {
        match self {
            Self::Visitors | Self::Rooms => 1_000_000,
            Self::Members => 100_000,
            Self::Gateway => 50_000,
        }
    }

    pub(super) fn name(self) -> String {
        let value = self.to_possible_value().expect("none is skipped");
        value.get_name().to_owned()
    }
}

/// Runs them, and writes the figures as far as it came.
pub fn run(options: &Options, interrupt: &Interrupt) -> Result<bool> {
    Runtime::new()?.block_on(options.run(interrupt))?;
    Ok(true)
}

impl Options {
    async fn run(&self, interrupt: &Interrupt) -> Result<()> {
        block_in_place(process::raise_open_files);
        let program = match &self.program {
            Some(program) => std::path::absolute(program)?,
            None => block_in_place(|| binary::build(Build::whole(self.debug), interrupt))?,
        };
        let (state, dir) = block_in_place(runs::open)?;
        let mut report = Report {
            made_at: about::now(),
            commit: about::commit(),
            machine: about::machine(),
            program: about::version(&program),
            grown: Vec::new(),
        };
        for kept in self.journal.all() {
            for what in self.chosen() {
                let count = self.count.unwrap_or(what.count());
                say(format!("{count} {} on {}", what.name(), kept.as_str()));
                let ground = Ground::start(kept, &program, &state, interrupt).await?;
                let mut grown = Grown {
                    what: what.name(),
                    count,
                    journal: kept.as_str().to_owned(),
                    command: self.command(what, kept, count),
                    figures: Vec::new(),
                };
                let done = grow(what, count, ground, &mut grown).await;
                print(grown.table());
                // What was measured before an error is worth something, too.
                report.grown.push(grown);
                report.write(&self.report)?;
                done?;
            }
        }
        say(format!("the figures are in {}", self.report.display()));
        std::fs::remove_dir_all(&dir)?;
        Ok(())
    }

    fn chosen(&self) -> Vec<What> {
        match self.what[..] {
            [] => What::value_variants().to_vec(),
            _ => self.what.clone(),
        }
    }

    /// The command that repeats one of them.
    fn command(&self, what: What, kept: Kept, count: u64) -> String {
        let debug = if self.debug { " --debug" } else { "" };
        format!(
            "cargo xtask chaos growth {} --count {count} --journal {}{debug}",
            what.name(),
            kept.as_str()
        )
    }
}

async fn grow(what: What, count: u64, mut ground: Ground, told: &mut Grown) -> Result<()> {
    match what {
        What::Visitors => visitors::run(count, &mut ground, told).await,
        What::Members => members::run(count, &mut ground, told).await,
        What::Gateway => gateway::run(count, &mut ground, told).await,
        What::Rooms => rooms::run(count, &mut ground, told).await,
    }?;
    ground.end(told)
}

/// Kills the node that owns a room, and says something there, and in another room of its shard, at
/// the other node at once: what a takeover takes, and how much of it is that room.
async fn takeover(ground: &mut Ground, room: &str, told: &mut Grown) -> Result<()> {
    let (owner, other) = ground.owner(room).await?;
    let (gateway, beside) = (ground.gateways[other], ground.beside(room));
    let (mut here, mut there) = (Line::open(gateway).await?, Line::open(gateway).await?);
    const OPENED: &str = "safechat_room_open_seconds";
    let opened = |ground: &Ground, what| ground.metric(other, &format!("{OPENED}_{what}"));
    let before = (opened(ground, "sum")?, opened(ground, "count")?);
    let killed = ground.kill(owner)?;
    let [message, another] = [room, &beside].map(|room| Message::new(room, "sam", "takeover"));
    let in_time = async |line: &mut Line, message| {
        let again = line.post(message).await?;
        anyhow::Ok((killed.elapsed(), again))
    };
    let ((of_room, again), (of_another, _)) =
        tokio::try_join!(in_time(&mut here, &message), in_time(&mut there, &another))?;
    told.time("owner killed: an answer in the room", of_room);
    told.number("that message was sent again", again);
    told.time(
        "owner killed: an answer in an empty room of its shard",
        of_another,
    );
    let took = opened(ground, "sum")? - before.0;
    told.number(
        "rooms opened by then",
        (opened(ground, "count")? - before.1) as u64,
    );
    told.note("opening them, in all", took * 1e3, "ms");
    Ok(())
}
