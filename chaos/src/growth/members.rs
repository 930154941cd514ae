//! A room in which very many are: it is entered, told part by part, and taken over, over servers
//! that take messages of 1 MiB. And what is written because somebody was refused in it.

use super::{
    crowd::{self, Crowd},
    door::{Guest, PEOPLE, are_refused, come_and_go},
    ground::Ground,
    post::{Line, Message},
    tell::Grown,
};
use anyhow::{Result, ensure};
use safe_chat::room::RoomId;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const ROOM: &str = "crowded";
/// Longer than a room carries a change that has no event (`writer.carry_ms`).
const CARRIED: Duration = Duration::from_secs(8);

pub(super) async fn run(count: u64, ground: &mut Ground, told: &mut Grown) -> Result<()> {
    let room = RoomId::parse(ROOM)?;
    let (owner, other) = ground.owner(ROOM).await?;
    let gateway = ground.gateways[other];
    told.bytes("owner before: memory", ground.memory(owner)?);
    ground.weigh("before", told)?;
    let since = Instant::now();
    let _crowd = Crowd::comes(ground, &room, count).await?;
    // Commands of a room are decided in the order in which they were stored.
    let mut line = Line::open(gateway).await?;
    line.post(&Message::new(ROOM, "harry", "m1")).await?;
    told.note(
        "joins per second",
        count as f64 / since.elapsed().as_secs_f64(),
        "",
    );
    enters(ground, other, count, "before the takeover", told).await?;
    told.bytes("owner after: memory", ground.memory(owner)?);
    ground.weigh("after", told)?;

    let quiet = written(ground).await?;
    let taken = std::iter::once(crowd::name(0));
    told.times(
        "who has another key is refused",
        &are_refused(gateway, ROOM, taken).await?,
    );
    let refused = written(ground).await?;
    told.bytes(
        format!("sent to NATS within {CARRIED:?}, nobody there"),
        quiet,
    );
    told.bytes(
        format!("sent to NATS within {CARRIED:?}, one was refused"),
        refused,
    );
    told.bytes("snapshot", ground.snapshot(&room).await?);

    super::takeover(ground, ROOM, told).await?;
    enters(ground, other, count, "after the takeover", told).await?;
    told.bytes("new owner: memory", ground.memory(other)?);
    let new = (0..PEOPLE).map(|n| format!("newcomer-{n}"));
    told.times("who is new joins", &come_and_go(gateway, ROOM, new).await?);
    Ok(())
}

/// Charly comes in, and asks for everybody.
async fn enters(
    ground: &Ground,
    node: usize,
    others: u64,
    when: &str,
    told: &mut Grown,
) -> Result<()> {
    let mut charly = Guest::comes(ground.gateways[node], ROOM, "charly").await?;
    told.time(format!("{when}: charly is welcome"), charly.after);
    told.bytes(format!("{when}: his welcome"), charly.bytes as f64);
    let since = Instant::now();
    let members = charly.members().await?;
    told.time(format!("{when}: he knows all members"), since.elapsed());
    told.number(format!("{when}: parts"), members.parts);
    told.bytes(
        format!("{when}: the largest part but the first"),
        members.largest as f64,
    );
    let mut expected: std::collections::BTreeSet<_> = (0..others).map(crowd::name).collect();
    expected.insert("charly".into());
    ensure!(
        members.names == expected,
        "{} members were told, and {} are there",
        members.names.len(),
        expected.len()
    );
    Ok(())
}

/// Bytes that all clients of the nats-server sent to it meanwhile: that is the figure, so the time
/// has to pass.
async fn written(ground: &Ground) -> Result<f64> {
    let before = ground.nats()?["in_bytes"];
    sleep(CARRIED).await;
    Ok(ground.nats()?["in_bytes"] - before)
}
