//! A room to which very many came once, each with a key of their own: what it keeps of them, who
//! waits for that.

use super::{
    door::{PEOPLE, are_refused, come_and_go},
    ground::Ground,
    post::{self, Message},
    tell::Grown,
};
use anyhow::Result;
use safe_chat::room::RoomId;
use tokio::time::Instant;

const ROOM: &str = "visited";
/// Keys that may be in the snapshot of such a room: of who said one of the last 4096 messages, and
/// of the last 1024 others; some more before they are moved.
const IN_SNAPSHOT: u64 = 8192;

fn visitor(n: u64) -> String {
    format!("visitor-{n:07}")
}

pub(super) async fn run(count: u64, ground: &mut Ground, told: &mut Grown) -> Result<()> {
    let room = RoomId::parse(ROOM)?;
    let (owner, other) = ground.owner(ROOM).await?;
    told.bytes("owner before: memory", ground.memory(owner)?);
    ground.weigh("before", told)?;
    let since = Instant::now();
    // Through the other node, so that the owner has no clients.
    let gateways = [ground.gateways[other]];
    let visit = |n| Message::new(ROOM, &visitor(n), "m1");
    let posted = post::all(&gateways, count, since, &ground.interrupt, visit).await?;
    told.number("messages sent again", posted.again);
    told.note(
        "messages per second",
        count as f64 / since.elapsed().as_secs_f64(),
        "",
    );
    const WRITTEN: &str = "safechat_name_records_total{call=\"written\"}";
    let least = count.saturating_sub(IN_SNAPSHOT) as f64;
    let moved = |ground: &Ground| Ok(ground.metric(owner, WRITTEN)? >= least);
    ground.until("keys have moved into records", moved).await?;
    told.number("keys in records", ground.metric(owner, WRITTEN)? as u64);
    told.bytes("owner after: memory", ground.memory(owner)?);
    // It is saved then without the keys that have moved.
    ground.falls_quiet().await?;
    told.bytes("snapshot", ground.snapshot(&room).await?);
    ground.weigh("after", told)?;

    super::takeover(ground, ROOM, told).await?;
    let gateway = ground.gateways[other];
    told.bytes("new owner: memory", ground.memory(other)?);
    let back = (0..PEOPLE.min(count)).map(visitor);
    told.times(
        "who was there joins",
        &come_and_go(gateway, ROOM, back).await?,
    );
    let new = (0..PEOPLE).map(|n| format!("newcomer-{n}"));
    told.times("who is new joins", &come_and_go(gateway, ROOM, new).await?);
    let taken = (0..PEOPLE.min(count)).map(|n| visitor(count - 1 - n));
    told.times(
        "who has another key is refused",
        &are_refused(gateway, ROOM, taken).await?,
    );
    Ok(())
}
