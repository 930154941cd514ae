//! A gateway with very many sessions in one room dies: all of them end, no message is larger than a
//! message may be, and the shard goes on meanwhile.

use super::{
    crowd::{self, Crowd},
    door::Guest,
    ground::Ground,
    post::{Line, Message},
    tell::Grown,
};
use anyhow::{Context, Result, ensure};
use safe_chat::room::RoomId;
use std::{collections::BTreeSet, net::SocketAddr, time::Duration};
use tokio::{sync::oneshot, time::Instant};

const ROOM: &str = "left";

pub(super) async fn run(count: u64, ground: &mut Ground, told: &mut Grown) -> Result<()> {
    let room = RoomId::parse(ROOM)?;
    let (owner, other) = ground.owner(ROOM).await?;
    let gateway = ground.gateways[other];
    let crowd = Crowd::comes(ground, &room, count).await?;
    let mut line = Line::open(gateway).await?;
    line.post(&Message::new(ROOM, "harry", "m1")).await?;
    let mut charly = Guest::comes(gateway, ROOM, "charly").await?;
    let there = charly.members().await?.names.len() as u64;
    ensure!(
        there == count + 1,
        "{there} members are there, not {}",
        count + 1
    );
    told.bytes("owner with all of them: memory", ground.memory(owner)?);

    let (ended, talked) = oneshot::channel();
    let beside = ground.beside(ROOM);
    let talk = tokio::spawn(talk(gateway, beside, talked));
    let since = Instant::now();
    drop(crowd);
    let (mut left, mut first) = (BTreeSet::new(), None);
    while (left.len() as u64) < count {
        let (event, _) = charly.next("event").await?;
        if event["kind"] == "left" {
            let name = event["from"].as_str().context("who left has a name")?;
            ensure!(left.insert(name.to_owned()), "{name} left twice");
            first.get_or_insert_with(|| since.elapsed());
        }
        ground.interrupt.check()?;
    }
    told.time(
        "from the death to the first who left",
        first.context("some left")?,
    );
    told.time("from the death to the last who left", since.elapsed());
    ensure!(left == (0..count).map(crowd::name).collect(), "others left");
    // An error there is the end of the receiver, too.
    let _ = ended.send(());
    let answers = talk.await??;
    told.number(
        "messages in another room of the shard meanwhile",
        answers.len() as u64,
    );
    told.times("such a message is answered", &answers);
    line.post(&Message::new(ROOM, "harry", "m2")).await?;
    drop(charly);
    told.bytes("owner after: memory", ground.memory(owner)?);
    told.bytes("snapshot", ground.snapshot(&room).await?);
    let mut again = Guest::comes(gateway, ROOM, "charly").await?;
    let names = again.members().await?.names;
    ensure!(names.len() == 1, "{} members are still there", names.len());
    Ok(())
}

/// Says one thing after another, until it is told to end.
async fn talk(
    gateway: SocketAddr,
    room: String,
    mut ended: oneshot::Receiver<()>,
) -> Result<Vec<Duration>> {
    let (mut line, mut answers) = (Line::open(gateway).await?, Vec::new());
    while ended.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
        let since = Instant::now();
        let id = format!("m{}", answers.len());
        line.post(&Message::new(&room, "sam", &id)).await?;
        answers.push(since.elapsed());
    }
    Ok(answers)
}
