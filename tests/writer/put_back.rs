//! A database that is put back to before while nodes run, or from under them: owners give up what
//! rests on it, and what the bus has comes back, also below the end of a room. Nothing that was
//! removed is told again, and no message is placed twice.

use crate::{
    erase::{erase, says, talk, user},
    recovered::{goes_on, goes_on_without, has_said},
    world::{Client, Node, SOON, World, send},
};
use safe_chat::{
    bus::Position,
    cluster::Owner,
    room::{Event, Seq},
};
use std::time::Duration;
use tokio::time::sleep;

/// What the journal has of the room, also behind holes.
async fn journaled(world: &World, node: &Node, last: u64) -> Vec<Event> {
    node.events_from(&world.room, Seq(1), Seq(last)).await
}

fn places(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq.0).collect()
}

/// All that was said is where it was, what was erased is not, and a message that was answered is
/// known.
async fn is_whole(world: &World, node: &Node, client: &mut Client, head: u64) {
    assert_eq!(client.journaled(says(205, "charly")).await, (28, false));
    let erasing = client.view().await.erasing;
    let is_erasing = erasing.iter().any(|(who, _)| *who == user("harry"));
    let there = journaled(world, node, head).await;
    assert!(is_erasing || !has_said(&there, "harry"));
    sleep(SOON).await;
    assert!(client.view().await.erasing.is_empty(), "it is done again");
    let there = journaled(world, node, head).await;
    assert_eq!(places(&there), (1..=head).collect::<Vec<_>>());
    assert!(has_said(&there, "charly") && !has_said(&there, "harry"));
}

/// 21 events, a backup, and 49 more, of which the first erases harry's messages.
async fn before_and_after(world: &World, first: &Node, client: &mut Client) -> Backup {
    first.takes_newest().await;
    talk(client, 20).await;
    sleep(SOON).await;
    let backup = Backup(world.database.copy());
    assert_eq!(client.journaled(erase("harry")).await.0, 22);
    assert_eq!(goes_on(client, 200..210).await, 32);
    assert_eq!(goes_on(client, 300..338).await, 70);
    backup
}

struct Backup(safe_chat::journal::memory::Database);

#[tokio::test(start_paused = true)]
async fn an_owner_gives_up_a_shard_whose_newest_event_is_gone_after_an_outage() {
    let world = World::without_deletes();
    let first = world.node(1);
    let mut client = world.client().await;
    let backup = before_and_after(&world, &first, &mut client).await;
    world.database.crash(Duration::from_secs(5));
    let waits = client.submit(says(400, "charly")).await;
    sleep(Duration::from_secs(1)).await;
    world.database.put_back(&backup.0);
    sleep(SOON).await;
    let second = world.node(2);
    second.takes_newest().await;
    assert_eq!(client.place(waits).await, (71, false));
    is_whole(&world, &second, &mut client, 71).await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_alone_takes_no_shard_from_its_owner() {
    let world = World::without_deletes();
    let first = world.node(1);
    let mut client = world.client().await;
    before_and_after(&world, &first, &mut client).await;
    world.database.sync();
    world.database.crash(Duration::from_secs(5));
    assert_eq!(client.journaled(says(400, "charly")).await, (71, false));
    assert_eq!(client.journaled(says(401, "charly")).await, (72, false));
    is_whole(&world, &first, &mut client, 72).await;
}

/// Nobody asked the database while it was away.
#[tokio::test(start_paused = true)]
async fn what_is_missing_below_the_end_is_written_back_by_the_next_owner() {
    let world = World::without_deletes();
    let first = world.node(1);
    let mut client = world.client().await;
    let backup = before_and_after(&world, &first, &mut client).await;
    world.database.put_back(&backup.0);
    let head = goes_on(&mut client, 400..403).await;
    assert_eq!(head, 73);
    first.writer.lose(first.shard).await;
    let second = world.node(2);
    second.takes_newest().await;
    is_whole(&world, &second, &mut client, head).await;
    let warned = second.writer.warnings().join("; ");
    assert!(warned.contains("before the bus"), "{warned}");

    // And it stays so for whoever comes next, on the journal alone.
    second.writer.lose(second.shard).await;
    let third = world.node(3);
    third.takes_newest().await;
    assert_eq!(client.journaled(says(500, "charly")).await, (74, false));
    is_whole(&world, &third, &mut client, 74).await;
    assert_eq!(third.writer.warnings(), Vec::<String>::new());
}

/// A message of the bus holds dense places: no other one can be read. What is behind the hole is
/// published as well.
#[tokio::test(start_paused = true)]
async fn what_was_not_published_yet_is_published_around_a_hole() {
    let world = World::without_deletes();
    let first = world.node(1);
    first.takes_newest().await;
    let mut client = world.client().await;
    let head = talk(&mut client, 20).await;
    sleep(SOON).await;
    first.writer.lose(first.shard).await;
    world.hub.lose_tail(0, 8);
    world
        .database
        .lose_rows(&world.room, |seq, _| seq == Seq(head - 2));
    let second = world.node(2);
    second.takes_newest().await;
    assert_eq!(goes_on(&mut client, 200..201).await, head + 1);
    let published = second.bus.stored(&world.room, Position(1), 1_000).await;
    let commits = published.unwrap().into_iter().map(|message| message.events);
    let commits: Vec<Vec<u64>> = commits.map(|events| places(&events)).collect();
    let dense = |places: &[u64]| places.windows(2).all(|two| two[1] == two[0] + 1);
    assert!(commits.iter().all(|places| dense(places)), "{commits:?}");
    let there: Vec<u64> = commits.concat();
    let all = (1..=head + 1).filter(|place| *place != head - 2);
    assert_eq!(there, all.collect::<Vec<_>>());
}

/// The room went on in the places of what the bus has, and nobody published that.
#[tokio::test(start_paused = true)]
async fn what_belongs_to_another_history_is_not_written_behind_this_one() {
    let mut world = World::without_deletes();
    let first = world.node(1);
    first.takes_newest().await;
    let mut client = world.client().await;
    talk(&mut client, 20).await;
    sleep(SOON).await;
    let backup = world.database.copy();
    let head = goes_on(&mut client, 200..210).await;
    // The floor passes the commands: the owner below does not know that they are placed.
    sleep(SOON).await;
    first.writer.lose(first.shard).await;
    world.database = backup;
    let other = goes_on_without(&world, 0, 3).await;
    let second = world.node(2);
    second.takes_newest().await;
    let before = journaled(&world, &second, other).await;
    assert_eq!(client.journaled(send(900)).await, (head + 1, false));
    let there = journaled(&world, &second, head + 1).await;
    assert_eq!(there[..before.len()], before);
    let added: Vec<u64> = places(&there[before.len()..]);
    assert_eq!(added, [head + 1], "nothing of the other history");
}

/// Nodes of before went on behind what they did not find, and saved the room so.
#[tokio::test(start_paused = true)]
async fn what_recover_puts_back_below_a_snapshot_counts() {
    let mut world = World::without_deletes();
    let first = world.node(1);
    let mut client = world.client().await;
    let backup = before_and_after(&world, &first, &mut client).await;
    // The floor passes the commands: the owner below does not know that they are placed.
    sleep(SOON).await;
    first.writer.lose(first.shard).await;
    world.database = backup.0;
    let head = goes_on_without(&world, 70, 3).await;
    assert_eq!(head, 73);
    let taken = world.recover().await;
    assert_eq!((taken.added, taken.holes.len()), (49, 0));
    assert_eq!(world.recover().await.added, 0);
    let second = world.node(2);
    second.takes_newest().await;
    is_whole(&world, &second, &mut client, head).await;
}
