//! Content that is erased: it is stored nowhere after a while, on both journals, whoever dies in
//! the middle and whether or not anybody asks for the room; and nothing else goes with it.

use crate::world::{Client, JOURNALS, LONG, NoSnapshots, Node, SOON, World, open, post, send};
use safe_chat::{
    bus::{FORMATS, Position},
    cluster::Owner,
    room::{Action, Body, Event, Kind, Retention, Seq, UserId},
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

pub(crate) fn erase(name: &str) -> Action {
    Action::Erase { user: user(name) }
}

/// A message of somebody else.
pub(crate) fn says(id: u64, name: &str) -> Action {
    let mut action = post(id, id.into());
    let Action::Send { user: who, .. } = &mut action else {
        unreachable!("a post is sent")
    };
    *who = user(name);
    action
}

/// Harry's and charly's messages in turns, from the place 2 on.
pub(crate) async fn talk(client: &mut Client, messages: u64) -> u64 {
    client.journaled(open(7, None)).await;
    let mut last = 0;
    for id in 1..=messages {
        let action = match id % 2 {
            1 => send(id),
            _ => says(id, "charly"),
        };
        last = client.journaled(action).await.0;
    }
    last
}

/// Whether an event has content.
pub(crate) fn has_content(event: &Event) -> bool {
    matches!(&event.kind, Kind::Message { body, .. } if *body != Body::Erased)
}

impl Node {
    pub(crate) async fn takes_newest(&self) -> &Self {
        self.writer.note_formats(FORMATS);
        self.take().await;
        self
    }

    /// All events of the room, as they are stored.
    async fn stored(&self, world: &World, head: u64) -> Vec<Event> {
        let (mut all, mut next) = (Vec::new(), Seq(1));
        while next <= Seq(head) {
            let page = self.journal.read(&world.room, next, Seq(head)).await;
            let page = page.unwrap();
            let Some(last) = page.last() else { break };
            next = last.seq.next();
            all.extend(page);
        }
        all
    }

    /// Every event is there, and those of one user up to a place are without content, in the
    /// journal and where they were published.
    async fn has_erased(&self, world: &World, (name, through): (&str, u64), head: u64) {
        let stored = self.stored(world, head).await;
        let places: Vec<u64> = stored.iter().map(|event| event.seq.0).collect();
        assert_eq!(places, (1..=head).collect::<Vec<_>>());
        let published = self.bus.stored(&world.room, Position::ZERO, 5000).await;
        let published = published.unwrap().into_iter();
        let published = published.flat_map(|message| message.events);
        for event in stored.into_iter().chain(published) {
            let Kind::Message { from, .. } = &event.kind else {
                continue;
            };
            let goes = from.as_str() == name && event.seq.0 <= through;
            assert_eq!(has_content(&event), !goes, "{event:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_user_said_is_removed_and_nothing_else() {
    for make in JOURNALS {
        let world = World::without_deletes();
        let first = make(&world, 1);
        first.takes_newest().await;
        let mut client = world.client().await;
        let head = talk(&mut client, 1300).await;
        let erased = head + 1;
        assert_eq!(client.journaled(erase("harry")).await, (erased, false));
        let view = client.view().await;
        let erasing: Vec<_> = view.erasing.iter().collect();
        assert_eq!(erasing, [(&user("harry"), Seq(head))]);
        assert_eq!(client.journaled(send(2001)).await, (erased + 1, false));
        sleep(LONG).await;
        first.has_erased(&world, ("harry", head), erased + 1).await;
        assert!(client.view().await.erasing.is_empty(), "it is done");

        // Sent again it is none, by this owner and the next one, to whom nothing is left to do.
        assert!(client.journaled(send(1299)).await.1);
        first.writer.lose(first.shard).await;
        let second = make(&world, 2);
        second.takes_newest().await;
        assert!(client.journaled(send(1)).await.1);
        let view = client.view().await;
        assert_eq!((view.head, view.first), (Seq(erased + 1), Seq(1)));
        assert!(view.erasing.is_empty());
        // What came since goes with a second one.
        let again = client.journaled(erase("harry")).await.0;
        client.journaled(erase("charly")).await;
        sleep(LONG).await;
        let stored = second.stored(&world, again + 1).await;
        assert_eq!(stored.len() as u64, again + 1);
        assert!(!stored.iter().any(has_content), "of both");
    }
}

/// At whatever moment the owner dies, the next one goes on at once, though nobody asks for the
/// room.
#[tokio::test(start_paused = true)]
async fn whoever_dies_in_the_middle_leaves_nothing() {
    for make in JOURNALS {
        for died_after in (0..5_000).step_by(500) {
            let world = World::without_deletes();
            let (first, second) = (make(&world, 1), make(&world, 2));
            first.takes_newest().await;
            let mut client = world.client().await;
            let head = talk(&mut client, 20).await;
            client.submit(erase("harry")).await;
            sleep(Duration::from_millis(died_after)).await;
            first.writer.lose(first.shard).await;
            second.takes_newest().await;
            sleep(SOON).await;
            second.has_erased(&world, ("harry", head), head + 1).await;
            let view = client.view().await;
            let found = (view.head, view.erasing.is_empty(), view.members.len());
            assert_eq!(found, (Seq(head + 1), true, 1), "{died_after}");
        }
    }
}

/// Messages come while it is removed: a room that is never quiet is served as well.
#[tokio::test(start_paused = true)]
async fn a_busy_room_has_content_erased_as_well() {
    for make in JOURNALS {
        let world = World::without_deletes();
        let node = make(&world, 1);
        node.takes_newest().await;
        let mut client = world.client().await;
        let head = talk(&mut client, 50).await;
        client.submit(erase("harry")).await;
        let mut last = 0;
        for id in 1000..1400 {
            sleep(Duration::from_millis(50)).await;
            last = client.journaled(says(id, "charly")).await.0;
        }
        node.has_erased(&world, ("harry", head), last).await;
    }
}

/// What goes with retention and purges meanwhile need not be copied.
#[tokio::test(start_paused = true)]
async fn a_room_that_forgets_meanwhile_ends_up_with_neither() {
    for make in JOURNALS {
        for purges in [false, true] {
            let world = World::without_deletes();
            let node = make(&world, 1);
            node.takes_newest().await;
            let mut client = world.client().await;
            let head = talk(&mut client, 600).await;
            client.submit(erase("harry")).await;
            sleep(Duration::from_millis(1_500)).await;
            let own = Some(Retention {
                events: Some(100),
                ..Retention::default()
            });
            let forgets = match purges {
                true => Action::Purge,
                false => Action::Retain { own },
            };
            client.submit(forgets).await;
            sleep(LONG + LONG).await;
            let head = head + 1 + u64::from(purges);
            let stored = node.stored(&world, head).await;
            let first = if purges { head } else { head - 99 };
            let places: Vec<u64> = stored.iter().map(|event| event.seq.0).collect();
            assert_eq!(places, (first..=head).collect::<Vec<_>>(), "{purges}");
            let said = stored.iter().filter(|event| has_content(event));
            assert_eq!(said.count(), if purges { 0 } else { 50 });
            assert!(client.view().await.erasing.is_empty());
        }
    }
}

/// Nothing but the event says then that there is something to erase, and a room that nobody asks
/// for is not replayed: the command is read again.
#[tokio::test(start_paused = true)]
async fn an_owner_that_could_save_nothing_leaves_the_command_to_the_next_one() {
    let world = World::without_deletes();
    let (first, second) = (world.node_with(1, Arc::new(NoSnapshots)), world.node(2));
    first.takes_newest().await;
    let mut client = world.client().await;
    let head = talk(&mut client, 20).await;
    assert_eq!(client.journaled(erase("harry")).await.0, head + 1);
    sleep(Duration::from_secs(30)).await;
    first.writer.lose(first.shard).await;
    second.takes_newest().await;
    sleep(LONG).await;
    second.has_erased(&world, ("harry", head), head + 1).await;
}

impl World {
    /// How many copies there are, of either journal.
    async fn copies(&self) -> usize {
        use safe_chat::{bus::Blobs as _, journal::readback::Store as _};
        let names = self.hub.connect().names_under("copies").await.unwrap();
        let database = self.database.connect(self.shards);
        let rows = database.store().copies(&self.room, Seq(1), Seq(1000)).await;
        names.len() + rows.unwrap().len()
    }
}

/// Finding that out is to read the past once.
#[tokio::test(start_paused = true)]
async fn who_said_nothing_costs_no_copy() {
    for make in JOURNALS {
        let world = World::without_deletes();
        let node = make(&world, 1);
        node.takes_newest().await;
        let mut client = world.client().await;
        let head = talk(&mut client, 700).await;
        for erased in [head + 1, head + 2] {
            assert_eq!(client.journaled(erase("moritz")).await, (erased, false));
            sleep(SOON).await;
            assert!(client.view().await.erasing.is_empty(), "it is done");
            assert_eq!(world.copies().await, 0);
        }
        node.has_erased(&world, ("moritz", head), head + 2).await;
        // Somebody else's is another matter, and then there is nothing left of it to copy again.
        client.journaled(erase("harry")).await;
        sleep(SOON).await;
        let copies = world.copies().await;
        assert!(copies > 0);
        client.journaled(erase("harry")).await;
        sleep(SOON).await;
        assert!(client.view().await.erasing.is_empty());
        assert_eq!(world.copies().await, copies);
        node.has_erased(&world, ("harry", head), head + 4).await;
    }
}
