//! Rooms are in the journal that they are written into as they were where they come from.

use crate::world::{Place, Speaker, events, export, gateway, hub, import, room, shards, talk};
use futures::StreamExt;
use safe_chat::{
    bus::{Commit, Direct, Feed, Position, RoomView},
    journal::{
        dump::{Incoming, Source},
        inspect::verify,
    },
    room::{Action, Kind, Seq, UserId},
};
use std::{collections::BTreeSet, sync::Arc};

fn places() -> [Place; 2] {
    [Place::memory(), Place::bus()]
}

/// Every pair of a journal that is read and one that is written.
fn pairs() -> impl Iterator<Item = (Place, Place)> {
    let one = || places().into_iter().enumerate();
    one().flat_map(move |(at, _)| {
        let of = move |at: usize| places().into_iter().nth(at).expect("two of them");
        one().map(move |(_, to)| (of(at), to))
    })
}

#[tokio::test(start_paused = true)]
async fn a_room_comes_back_with_events_members_keys_window_and_carried_changes() {
    for (from, to) in pairs() {
        let state = talk(&from, "aaa", 1_500).await;
        let file = export(&from, &["aaa"]).await;
        let told = import(&to, &file).await;
        let taken = told[0].as_ref().unwrap();
        assert_eq!((taken.was, taken.added), (Seq::ZERO, 1_501));
        assert_eq!(taken.gateways, BTreeSet::from([gateway()]));
        assert_eq!(events(&to, "aaa").await, events(&from, "aaa").await);
        assert_eq!(to.state(&room("aaa")).await, state);
        let journal = to.journal();
        assert_eq!(journal.rooms(None, 10).await.unwrap(), [room("aaa")]);
        let report = verify(&*journal, &room("aaa")).await.unwrap();
        assert!(report.is_sound(), "{report}");
        // And goes on with the next place; what was said before is known.
        let mut speaker = Speaker::of(&to, "aaa").await;
        assert_eq!(speaker.state.sent, state.sent);
        speaker.says(1_500..=1_501).await;
        assert_eq!(speaker.state.head, Seq(1_502), "one of them is a duplicate");
    }
}

/// A journal that was left, and that a room comes back to, has what the room has let go since.
#[tokio::test(start_paused = true)]
async fn what_was_let_go_goes_where_it_was_as_well() {
    for (from, to) in pairs() {
        talk(&from, "aaa", 1_500).await;
        import(&to, &export(&from, &["aaa"]).await).await[0]
            .as_ref()
            .unwrap();
        assert_eq!(events(&to, "aaa").await[0].seq, Seq(1));
        let mut speaker = Speaker::of(&from, "aaa").await;
        // With something new, and with nothing but that more is gone.
        for (start, last) in [(801, 1_505), (1_201, 1_500)] {
            speaker.says(1_501..=last).await;
            speaker.state.kept.start = Seq(start);
            speaker.saves().await;
            import(&to, &export(&from, &["aaa"]).await).await[0]
                .as_ref()
                .unwrap();
            let first = events(&to, "aaa").await[0].seq.0;
            // Whole commits go.
            assert!((start - 400..=start).contains(&first), "{first} of {start}");
            assert_eq!(to.state(&room("aaa")).await.kept.start, Seq(start));
        }
        let report = verify(&*to.journal(), &room("aaa")).await.unwrap();
        assert!(report.is_sound(), "{report}");
    }
}

/// What is not removed yet of a purged room is not carried on, and of a file of the moment of the
/// purge it can be removed.
#[tokio::test(start_paused = true)]
async fn of_a_purged_room_comes_what_is_behind_that() {
    for (from, to) in pairs() {
        talk(&from, "aaa", 300).await;
        let mut speaker = Speaker::of(&from, "aaa").await;
        speaker.acts(Action::Purge).await;
        let early = export(&from, &["aaa"]).await;
        speaker.saves().await;
        speaker.says(301..=305).await;
        assert_eq!(events(&from, "aaa").await.len(), 307, "it is all there");
        let file = export(&from, &["aaa"]).await;
        import(&to, &file).await[0].as_ref().unwrap();
        let there = events(&to, "aaa").await;
        assert_eq!((there.len(), there[0].seq), (6, Seq(302)));
        assert_eq!(there[0].kind, Kind::Purged);
        assert_eq!(to.state(&room("aaa")).await, speaker.state);
        let report = verify(&*to.journal(), &room("aaa")).await.unwrap();
        assert!(report.is_sound(), "{report}");

        let other = match to {
            Place::Memory(_) => Place::memory(),
            Place::Bus(_) => Place::bus(),
        };
        import(&other, &early).await[0].as_ref().unwrap();
        let mut speaker = Speaker::of(&other, "aaa").await;
        speaker.says(301..=301).await;
        speaker.saves().await;
        speaker.saves().await;
        let (journal, claim) = (speaker.journal.clone(), speaker.claim);
        if journal.trims().await.is_ok() {
            assert!(journal.trim(&speaker.room, claim, Seq(302)).await.unwrap());
            assert_eq!(events(&other, "aaa").await[0].seq, Seq(302));
        }
    }
}

/// Only the journal that a purge comes to has records of names of before: they go, too.
#[tokio::test(start_paused = true)]
async fn records_of_before_a_purge_go_where_it_comes_to() {
    for (from, to) in pairs() {
        talk(&from, "aaa", 300).await;
        let early = export(&from, &["aaa"]).await;
        import(&to, &early).await[0].as_ref().unwrap();
        let mut owner = Speaker::of(&to, "aaa").await;
        let (user, pin) = owner.state.pins.iter().next().expect("a name");
        let moving = vec![(user.clone(), Some(pin.clone()))];
        let recorded = owner
            .journal
            .record(&owner.room, owner.claim, Seq(0), &moving);
        recorded.await.unwrap();
        owner.state.away.is_used = true;
        owner.saves().await;

        let mut speaker = Speaker::of(&from, "aaa").await;
        speaker.acts(Action::Purge).await;
        speaker.says(301..=305).await;
        let file = export(&from, &["aaa"]).await;
        for _ in 0..2 {
            import(&to, &file).await[0].as_ref().unwrap();
            let owner = Speaker::of(&to, "aaa").await;
            let away = &owner.state.away;
            assert_eq!((away.is_used, &*away.stale), (false, &[Seq(0)][..]));
            assert_eq!(owner.state.pins, speaker.state.pins);
        }
    }
}

/// Whether it is still journaled or not; the event that says so is in no snapshot yet, or is.
#[tokio::test(start_paused = true)]
async fn what_is_erased_is_not_carried_on() {
    for (from, to) in pairs() {
        talk(&from, "aaa", 700).await;
        let before = export(&from, &["aaa"]).await;
        let mut speaker = Speaker::of(&from, "aaa").await;
        let user = UserId::parse("charly").unwrap();
        speaker.acts(Action::Erase { user }).await;
        let early = export(&from, &["aaa"]).await;
        speaker.saves().await;
        speaker.says(701..=705).await;
        let mut all = events(&from, "aaa").await;
        all.iter_mut().take(701).for_each(|it| *it = it.erased());
        assert!(matches!(all[701].kind, Kind::Erased { .. }));
        let later = export(&from, &["aaa"]).await;
        let copies = &all[..701];
        let (journal, claim) = (speaker.journal.clone(), speaker.claim);
        for page in copies.chunks(500) {
            journal.rewrite(&speaker.room, claim, page).await.unwrap();
        }
        speaker.saves().await;
        speaker.saves().await;
        let adopted = journal
            .adopt_rewritten(&speaker.room, claim, Seq(702))
            .await;
        let dropped = journal.drop_rewritten(&speaker.room, claim, adopted.unwrap());
        let dropped = dropped.await;
        assert!(dropped.unwrap());
        assert_eq!(events(&from, "aaa").await, all);
        let last = export(&from, &["aaa"]).await;
        assert_eq!(import(&to, &early).await[0].as_ref().unwrap().added, 702);
        for file in [&later, &last] {
            import(&to, file).await[0].as_ref().unwrap();
            assert_eq!(events(&to, "aaa").await, all);
            let report = verify(&*to.journal(), &room("aaa")).await.unwrap();
            assert!(report.is_sound(), "{report}");
        }
        assert_eq!(to.state(&room("aaa")).await, speaker.state);
        // What was carried before it was erased is another matter.
        let other = match to {
            Place::Memory(_) => Place::memory(),
            Place::Bus(_) => Place::bus(),
        };
        import(&other, &before).await[0].as_ref().unwrap();
        let refused = import(&other, &last).await;
        let why = refused[0].as_ref().unwrap_err();
        assert!(why.contains("still has what was erased since"), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_again_changes_nothing_and_what_is_new_is_added() {
    for (from, to) in pairs() {
        talk(&from, "aaa", 300).await;
        let first = export(&from, &["aaa"]).await;
        import(&to, &first).await[0].as_ref().unwrap();
        let again = import(&to, &first).await;
        let again = again[0].as_ref().unwrap();
        assert_eq!((again.added, again.is_changed), (0, false));

        let mut speaker = Speaker::of(&from, "aaa").await;
        speaker.says(301..=900).await;
        let second = export(&from, &["aaa"]).await;
        let more = import(&to, &second).await;
        let more = more[0].as_ref().unwrap();
        assert_eq!((more.was, more.added, more.head), (Seq(301), 600, Seq(901)));
        assert_eq!(to.state(&room("aaa")).await, speaker.state);
        // What changed without an event is saved.
        speaker.saves_a_change().await;
        let third = import(&to, &export(&from, &["aaa"]).await).await;
        let third = third[0].as_ref().unwrap();
        assert_eq!((third.added, third.is_changed), (0, true));
        assert_eq!(to.state(&room("aaa")).await, speaker.state);
        // The journal is ahead of the older file.
        let older = import(&to, &first).await;
        let why = older[0].as_ref().unwrap_err();
        assert!(
            why.contains("ends at 901 in the journal and at 301"),
            "{why}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_of_other_events_stays_and_the_others_are_written() {
    for (from, to) in pairs() {
        talk(&from, "aaa", 20).await;
        talk(&from, "bbb", 5).await;
        let mut speaker = Speaker::of(&to, "aaa").await;
        speaker.joins().await;
        speaker.says(1..=9).await;
        speaker.says(77..=77).await;
        let before = events(&to, "aaa").await;
        let told = import(&to, &export(&from, &["aaa", "bbb"]).await).await;
        let why = told[0].as_ref().unwrap_err();
        assert!(why.contains("its event 11 is another one"), "{why}");
        assert_eq!(events(&to, "aaa").await, before);
        assert_eq!(told[1].as_ref().unwrap().added, 6);
        // Its owner was not disturbed.
        speaker.says(78..=78).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_owner_is_fenced_and_never_mixed_in() {
    for (from, to) in pairs() {
        talk(&from, "aaa", 20).await;
        let file = export(&from, &["aaa"]).await;
        let (journal, room) = (to.journal(), room("aaa"));
        let claim = to.claim(&*journal, &room).await;
        journal.open(&room, claim).await.unwrap();
        import(&to, &file).await[0].as_ref().unwrap();
        assert!(journal.confirm(claim).await.is_err());
        assert_eq!(events(&to, "aaa").await.len(), 21);
        assert_eq!(shards().of(&room), claim.shard());
    }
}

#[tokio::test(start_paused = true)]
async fn holes_stay_holes_and_no_place_in_them_is_given_again() {
    let database = match Place::memory() {
        Place::Memory(database) => database,
        Place::Bus(_) => unreachable!(),
    };
    let from = Place::Memory(database.clone());
    let state = talk(&from, "aaa", 1_500).await;
    for lost in [1..=50, 400..=410, 990..=1_020] {
        let lost = |seq: Seq, _| lost.contains(&seq.0);
        database.lose_rows(&room("aaa"), lost);
    }
    let file = export(&from, &["aaa"]).await;
    let end = String::from_utf8(file.clone()).unwrap();
    assert!(
        end.contains("\"holes\":[[1,50],[400,410],[990,1020]]"),
        "told"
    );
    for to in places() {
        let told = import(&to, &file).await;
        assert_eq!(told[0].as_ref().unwrap().added, 1_501 - 50 - 11 - 31);
        assert_eq!(events(&to, "aaa").await, events(&from, "aaa").await);
        assert_eq!(to.state(&room("aaa")).await, state);
        assert_eq!(to.journal().rooms(None, 10).await.unwrap(), [room("aaa")]);
        let again = import(&to, &file).await;
        assert!(!again[0].as_ref().unwrap().is_changed);
        let mut speaker = Speaker::of(&to, "aaa").await;
        speaker.says(9_000..=9_000).await;
        assert_eq!(speaker.state.head, Seq(1_502));
    }
}

/// Its last commit may still be replaced by that of another owner: it is carried once the bus has
/// it, or the owner says so.
#[tokio::test(start_paused = true)]
async fn what_an_owner_may_not_have_confirmed_is_not_carried_while_nodes_run() {
    let (from, hub) = (Place::memory(), hub());
    let mut speaker = Speaker::of(&from, "aaa").await;
    speaker.joins().await;
    speaker.says(1..=4).await;
    let (room, bus) = (room("aaa"), Arc::new(hub.connect()));
    let source = |is_running| Source::new(from.journal(), Some(bus.clone()), is_running);
    let head = async |source: Source| {
        let found = source.room(&room).await;
        found.map(|found| found.map(|found| found.head()))
    };
    let unknown = head(source(true)).await.unwrap_err().to_string();
    assert!(unknown.contains("not known for certain"), "{unknown}");
    assert_eq!(head(source(false)).await.unwrap(), Some(Seq(5)));

    let mut questions = bus.questions(shards().of(&room)).await.unwrap();
    let answer = async {
        let question = questions.next().await.unwrap();
        (question.respond)(RoomView {
            head: Seq(4),
            ..RoomView::default()
        });
        Ok(())
    };
    let told = tokio::try_join!(head(source(true)), answer);
    assert_eq!(told.unwrap().0, Some(Seq(4)));
    let commit = Commit {
        epoch: speaker.claim.epoch(),
        events: events(&from, "aaa").await,
    };
    bus.publish(&room, &commit, Position::ZERO).await.unwrap();
    assert_eq!(head(source(true)).await.unwrap(), Some(Seq(5)));
}

/// Interrupted after any part: the same again goes on there.
#[tokio::test(start_paused = true)]
async fn an_import_that_stopped_goes_on_where_it_stopped() {
    for (from, to) in pairs() {
        let mut speaker = Speaker::of(&from, "aaa").await;
        speaker.joins().await;
        speaker.says(1..=100).await;
        let part = export(&from, &["aaa"]).await;
        speaker.says(101..=700).await;
        let whole = export(&from, &["aaa"]).await;
        import(&to, &part).await[0].as_ref().unwrap();
        // As it was left: without the state at its end.
        if let Place::Memory(database) = &to {
            database.lose_snapshots(&room("aaa"));
        }
        let told = import(&to, &whole).await;
        assert_eq!(told[0].as_ref().unwrap().added, 600);
        assert_eq!(to.state(&room("aaa")).await, speaker.state);
    }
}
