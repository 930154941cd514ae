//! Very many rooms of one message each: what each costs when nobody is there any more, and what a
//! takeover, a start and a list of rooms take beside them.

use super::{
    ground::Ground,
    post::{self, Message},
    tell::Grown,
};
use crate::operator::{Method, Operator, Question};
use anyhow::{Result, anyhow};
use std::time::Duration;
use tokio::time::Instant;

/// Rooms of which somebody wants something after a takeover.
const WANTED: u64 = 300;
/// A prime, so that they are far apart.
const STEP: u64 = 7919;

fn room(n: u64) -> String {
    format!("room-{n:07}")
}

pub(super) async fn run(count: u64, ground: &mut Ground, told: &mut Grown) -> Result<()> {
    let memory = [ground.memory(0)?, ground.memory(1)?];
    let before = (ground.nats()?, ground.disk("nats-1")?);
    ground.weigh("before", told)?;
    let since = Instant::now();
    let made = |n| Message::new(&room(n), "kim", "m1");
    let posted = post::all(&ground.gateways, count, since, &ground.interrupt, made).await?;
    told.number("messages sent again", posted.again);
    told.note(
        "rooms per second",
        count as f64 / since.elapsed().as_secs_f64(),
        "",
    );
    ground.falls_quiet().await?;
    ground.weigh("after", told)?;
    let (nats, disk) = (ground.nats()?, ground.disk("nats-1")?);
    let each = |now: f64, before: f64| (now - before) / count as f64;
    told.note(
        "of NATS for each room: memory",
        each(nats["mem"], before.0["mem"]),
        "bytes",
    );
    told.note(
        "of NATS for each room: stored",
        each(nats["bytes"], before.0["bytes"]),
        "bytes",
    );
    told.note("of NATS for each room: disk", each(disk, before.1), "bytes");
    for node in [0, 1] {
        let now = ground.memory(node)?;
        told.bytes(format!("node-{} before: memory", node + 1), memory[node]);
        told.bytes(format!("node-{} after: memory", node + 1), now);
    }
    list(ground, told).await?;

    let killed = ground.kill(0)?;
    talk(
        ground,
        1,
        count,
        killed,
        "node-1 killed, node-2 there",
        told,
    )
    .await?;
    let ready = ground.start_again(0)?;
    told.time("node-1 started beside node-2: ready", ready);
    ground.kill(0)?;
    ground.kill(1)?;
    let started = Instant::now();
    ground.start_again(0)?;
    told.time("both killed, node-1 started: ready", started.elapsed());
    talk(
        ground,
        0,
        count,
        started,
        "both killed, node-1 started",
        told,
    )
    .await?;
    ground.weigh("at the end", told)?;
    told.bytes("node-1 at the end: memory", ground.memory(0)?);
    let failed = ground.metric(0, "safechat_snapshots_total{outcome=\"failed\"}")?;
    told.number("snapshots that failed", failed as u64);
    Ok(())
}

/// Rooms far apart are wanted at the same time; when each has answered, from a moment on.
async fn talk(
    ground: &Ground,
    node: usize,
    count: u64,
    since: Instant,
    when: &str,
    told: &mut Grown,
) -> Result<()> {
    let wanted = WANTED.min(count);
    let id = format!("again-{node}");
    let message = move |n: u64| Message::new(&room(n * STEP % count), "kim", &id);
    let gateways = [ground.gateways[node]];
    let posted = post::all(&gateways, wanted, since, &ground.interrupt, message).await?;
    told.number(format!("{when}: messages sent again"), posted.again);
    told.times(
        &format!("{when}: an answer in one of {wanted} rooms"),
        &posted.answered,
    );
    let opened = ground.metric(node, "safechat_room_open_seconds_count")?;
    let took = ground.metric(node, "safechat_room_open_seconds_sum")?;
    told.note(
        format!("{when}: opening a room, mean"),
        took * 1e3 / opened.max(1.0),
        "ms",
    );
    Ok(())
}

async fn list(ground: &Ground, told: &mut Grown) -> Result<()> {
    let question = Question {
        method: Method::Get,
        path: "/rooms?limit=100".into(),
    };
    let operator = Operator::new(ground.operators.to_vec());
    let since = Instant::now();
    let until = since + Duration::from_secs(60);
    let page = operator.asks(0, &question, until, || {}).await;
    page.map_err(|why| anyhow!("rooms are not listed: {why:?}"))?;
    told.time("a page of 100 rooms", since.elapsed());
    Ok(())
}
