//! Makes the shards even over the writers when an operator wants it, a few at a time: a move is a
//! short pause for the rooms of a shard.

use super::{NodeOperator, members::Members};
use crate::{
    bus::{Bus, Error, Plan, Role},
    cluster::{Status, assignee, even},
    ops::{ApiError, answer},
    room::{Incarnation, ShardId},
};
use axum::http::StatusCode;
use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Shards moved per second, at most.
pub(super) const RATE: (u32, u32) = (1, 100);

type Move = (ShardId, Incarnation, Incarnation);

impl NodeOperator {
    /// Begins to move shards to an even assignment, so many per second; says which. `dry`: only
    /// says it.
    pub(super) async fn begin_rebalance(
        &self,
        rate: u32,
        dry: bool,
    ) -> Result<answer::Rebalance, ApiError> {
        if !(RATE.0..=RATE.1).contains(&rate) {
            let message = format!("rate must be {} to {} shards per second", RATE.0, RATE.1);
            return Err(ApiError::bad("bad_rate", message));
        }
        let seen = self.seen();
        let writers = writers(&seen);
        if writers.is_empty() {
            return Err(self.without_writer().unwrap_or_else(|| {
                let message =
                    "no writer is up and reachable now: see GET /cluster/members, try again";
                ApiError::unavailable(message)
            }));
        }
        let records = self.records().await?;
        let owners: BTreeMap<_, _> = records
            .iter()
            .filter_map(|(shard, record)| Some((*shard, record.owner?)))
            .collect();
        let moves = even(&owners, &writers);
        let line = |(shard, from, to): &Move| answer::Move {
            shard: shard.0,
            from: seen.name(*from),
            to: seen.name(*to),
        };
        let lines: Vec<_> = moves.iter().map(line).collect();
        let begins = !dry && !moves.is_empty();
        if begins {
            if self.moving.swap(true, Ordering::Relaxed) {
                let message = "this node is moving shards already: see GET /shards";
                return Err(ApiError::new(StatusCode::CONFLICT, "busy", message));
            }
            // What is where now stays there, whatever the hash says, but for what is moved.
            let stays = owners
                .into_iter()
                .filter(|(shard, owner)| assignee(*shard, &writers) != Some(*owner));
            let plan = Plan {
                moved: stays.collect(),
                writers,
            };
            let (bus, moving) = (self.bus.clone(), self.moving.clone());
            let stop = self.unwanted.clone();
            tokio::spawn(async move {
                let count = moves.len();
                match make(bus, plan, moves, rate, stop).await {
                    Ok(()) => tracing::info!(shards = count, "shards were moved"),
                    Err(error) => tracing::warn!(%error, "not all shards were moved: ask again"),
                }
                moving.store(false, Ordering::Relaxed);
            });
        }
        Ok(answer::Rebalance {
            moves: lines,
            per_second: rate,
            begun: begins,
        })
    }
}

/// The writers that shards go to, ascending.
fn writers(seen: &Members) -> Vec<Incarnation> {
    let writes = seen.iter().filter(|member| {
        let may = matches!(member.status, Status::Up) && member.observers.is_empty();
        may && member.node.roles.contains(&Role::Writer)
    });
    let mut writers: Vec<_> = writes.map(|member| member.node.incarnation).collect();
    writers.sort_unstable();
    writers
}

async fn make(
    bus: Arc<dyn Bus>,
    mut plan: Plan,
    moves: Vec<Move>,
    rate: u32,
    stop: CancellationToken,
) -> Result<(), Error> {
    let stored = bus.plan().await?;
    let mut revision = stored.map_or(0, |(_, revision)| revision);
    let pause = Duration::from_secs(1) / rate;
    for (shard, _, to) in moves {
        // By hash it goes there anyway: then it needs no word.
        match assignee(shard, &plan.writers) == Some(to) {
            true => _ = plan.moved.remove(&shard),
            false => _ = plan.moved.insert(shard, to),
        }
        revision = bus.set_plan(&plan, revision).await?;
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            return Err(Error::Unavailable("this node stops".into()));
        }
    }
    Ok(())
}
