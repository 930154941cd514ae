//! What every journal promises of events that are rewritten: what is erased of them goes, and
//! nothing else.

use crate::{
    claims::{journal, owner},
    cluster::{Case, Node},
    events::commit,
};
use safe_chat::{
    journal::{Claim, Error, Limits},
    room::{Body, Event, Kind, RoomId, Seq, State},
};

/// What is to be erased.
const SAID: &str = "what was said";

/// A room of so many commits of one event each, and its owner.
async fn ones(case: &Case, count: u64) -> (Node, Claim, Vec<Event>) {
    let (node, claim, _) = owner(case).await;
    let mut all = Vec::new();
    for first in 1..=count {
        let commit = commit(claim, first, 1, SAID);
        journal(&node, case, claim, &commit).await.unwrap();
        all.extend(commit.events);
    }
    (node, claim, all)
}

/// An event without what was said.
fn without(event: &Event) -> Event {
    let mut event = event.clone();
    if let Kind::Message { body, .. } = &mut event.kind {
        *body = Body::Text("".into());
    }
    event
}

fn all_without(events: &[Event]) -> Vec<Event> {
    events.iter().map(without).collect()
}

/// All that is readable, page by page.
async fn readable(node: &Node, case: &Case, last: u64) -> Vec<Event> {
    let (mut all, mut from): (Vec<Event>, _) = (Vec::new(), Seq(1));
    loop {
        let page = node.read(&case.room, from, Seq(last)).await.unwrap();
        let Some(end) = page.last() else { return all };
        assert!(page.windows(2).all(|two| two[1].seq == two[0].seq.next()));
        assert!(page.len() <= Limits::PAGE && page[0].seq >= from);
        from = end.seq.next();
        all.extend(page);
    }
}

fn places(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq.0).collect()
}

async fn save(node: &Node, case: &Case, claim: Claim, events: &[Event]) -> State {
    let mut state = State::default();
    events.iter().for_each(|event| state.evolve(event));
    node.save_snapshot(&case.room, claim, &state).await.unwrap();
    state
}

/// Rewrites what is readable below a place, as owners do.
async fn rewrite(node: &Node, case: &Case, claim: Claim, below: u64) {
    let last = Seq(below - 1);
    let mut from = Seq(1);
    loop {
        let page = node.read(&case.room, from, last).await.unwrap();
        let Some(end) = page.last() else { return };
        from = end.seq.next();
        let copies = all_without(&page);
        node.rewrite(&case.room, claim, &copies).await.unwrap();
    }
}

/// Has copies take the place of what is below; whether all of that is gone.
async fn replaced(node: &Node, room: &RoomId, claim: Claim, below: u64) -> Result<bool, Error> {
    let adopted = node.adopt_rewritten(room, claim, Seq(below)).await?;
    Ok(node.drop_rewritten(room, claim, adopted).await? && adopted == Seq(below))
}

async fn drop_below(node: &Node, case: &Case, claim: Claim, below: u64) -> bool {
    replaced(node, &case.room, claim, below).await.unwrap()
}

/// Rewrites what is below a place, and removes what was there.
async fn erase(node: &Node, case: &Case, claim: Claim, all: &[Event], below: u64) {
    rewrite(node, case, claim, below).await;
    for _ in 0..2 {
        save(node, case, claim, all).await;
    }
    assert!(drop_below(node, case, claim, below).await);
}

pub async fn what_is_rewritten_takes_the_place_of_what_goes(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    assert!(case.stored_below(7).await.concat().contains(SAID));
    rewrite(&node, &case, claim, 7).await;
    assert_eq!(readable(&node, &case, 9).await, all, "nothing has gone");
    for _ in 0..2 {
        save(&node, &case, claim, &all).await;
    }
    for _ in 0..2 {
        assert!(drop_below(&node, &case, claim, 7).await);
        let expected = [all_without(&all[..6]), all[6..].to_vec()].concat();
        assert_eq!(readable(&node, &case, 9).await, expected);
    }
    let page = node.read(&case.room, Seq(3), Seq(5)).await.unwrap();
    assert_eq!(page, all_without(&all[2..5]));
    let page = node.read(&case.room, Seq(5), Seq(8)).await.unwrap();
    assert_eq!(places(&page), [5, 6, 7, 8]);
    assert!(!case.stored_below(7).await.concat().contains(SAID));
    for (below, expected) in [(10, 9), (8, 7), (7, 6), (5, 4), (2, 1)] {
        let last = node.last_below(&case.room, Seq(below)).await.unwrap();
        assert_eq!(last, Some(Seq(expected)));
    }
    assert_eq!(node.last_below(&case.room, Seq(1)).await.unwrap(), None);
    // The next owner finds the room as it is.
    let (node, claim, opened) = owner(&case).await;
    assert_eq!((opened.head(), &opened.holes[..]), (Seq(9), &[][..]));
    journal(&node, &case, claim, &commit(claim, 10, 1, "goes on"))
        .await
        .unwrap();
    let there = readable(&node, &case, 10).await;
    assert_eq!(places(&there), (1..=10).collect::<Vec<_>>());
}

/// The guards are those of what is trimmed.
pub async fn nothing_goes_that_an_opening_needs(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    rewrite(&node, &case, claim, 7).await;
    assert!(!drop_below(&node, &case, claim, 7).await, "no snapshot");
    save(&node, &case, claim, &all[..4]).await;
    assert!(!drop_below(&node, &case, claim, 7).await);
    let expected = [all_without(&all[..3]), all[3..].to_vec()].concat();
    assert_eq!(readable(&node, &case, 9).await, expected);
    let opened = owner(&case).await.2;
    assert_eq!((opened.events, opened.holes), (all[4..].to_vec(), vec![]));
}

/// Whatever was forgotten to be written again stays.
pub async fn nothing_goes_that_has_no_copy(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    for _ in 0..2 {
        save(&node, &case, claim, &all).await;
    }
    let copies = all_without(&all[..6]);
    for part in [&[][..], &copies[1..6], &copies[..5]] {
        let refused = replaced(&node, &case.room, claim, 7).await;
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        assert_eq!(readable(&node, &case, 9).await, all);
        node.rewrite(&case.room, claim, part).await.unwrap();
    }
    assert!(drop_below(&node, &case, claim, 7).await);
}

pub async fn a_second_rewriting_replaces_the_first(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    // Of the first one, what was said by another stays.
    node.rewrite(&case.room, claim, &all[..4]).await.unwrap();
    for _ in 0..2 {
        save(&node, &case, claim, &all).await;
    }
    assert!(drop_below(&node, &case, claim, 5).await);
    assert_eq!(readable(&node, &case, 9).await, all);
    let (second, second_claim, _) = owner(&case).await;
    for (node, claim, below) in [(&second, second_claim, 7), (&second, second_claim, 8)] {
        erase(node, &case, claim, &all, below).await;
        let n = below as usize - 1;
        let expected = [all_without(&all[..n]), all[n..].to_vec()].concat();
        assert_eq!(readable(node, &case, 9).await, expected);
        let stored = case.stored_below(below).await.concat();
        assert!(!stored.contains(SAID), "{stored}");
    }
}

/// It died in the middle; its successor begins anew.
pub async fn what_is_left_in_the_middle_is_done_again(case: Case) {
    let (mut node, mut claim, all) = ones(&case, 9).await;
    for copied in [2, 6] {
        for _ in 0..2 {
            save(&node, &case, claim, &all).await;
        }
        let copies = all_without(&all[..copied]);
        node.rewrite(&case.room, claim, &copies).await.unwrap();
        (node, claim, _) = owner(&case).await;
        assert_eq!(readable(&node, &case, 9).await, all);
    }
    erase(&node, &case, claim, &all, 7).await;
    let expected = [all_without(&all[..6]), all[6..].to_vec()].concat();
    assert_eq!(readable(&node, &case, 9).await, expected);
}

pub async fn what_a_replaced_owner_rewrites_counts_for_nothing(case: Case) {
    let (old, old_claim, all) = ones(&case, 9).await;
    let (node, claim, _) = owner(&case).await;
    for done in [false, true] {
        if done {
            erase(&node, &case, claim, &all, 7).await;
        }
        let before = readable(&node, &case, 9).await;
        let refused = old.rewrite(&case.room, old_claim, &all[..6]).await;
        assert!(matches!(refused, Err(Error::Fenced { .. })), "{refused:?}");
        let refused = replaced(&old, &case.room, old_claim, 7).await;
        assert!(done || !matches!(refused, Ok(true)), "{refused:?}");
        assert_eq!(readable(&node, &case, 9).await, before);
    }
    assert!(!case.stored_below(7).await.concat().contains(SAID));
    let stranger = case.room_of_another_shard();
    let refused = node.rewrite(&stranger, claim, &all[..6]).await;
    assert!(matches!(refused, Err(Error::Stranger { .. })));
    let refused = replaced(&node, &stranger, claim, 7).await;
    assert!(matches!(refused, Err(Error::Stranger { .. })));
}

/// Retention and purge go on: copies are the past as well.
pub async fn copies_are_trimmed(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    erase(&node, &case, claim, &all, 7).await;
    let trim = async |start| node.trim(&case.room, claim, Seq(start)).await.unwrap();
    assert!(trim(4).await);
    let there = readable(&node, &case, 9).await;
    let first = there[0].seq.0;
    assert!((1..=4).contains(&first), "{first}");
    assert_eq!(places(&there), (first..=9).collect::<Vec<_>>());
    // Behind the trim it is erased once more.
    erase(&node, &case, claim, &all, 8).await;
    let there = readable(&node, &case, 9).await;
    assert!(there[0].seq.0 >= first);
    assert_eq!(*there.last().unwrap(), all[8]);
    assert!(trim(9).await);
    assert_eq!(readable(&node, &case, 9).await, all[8..]);
    assert_eq!(node.last_below(&case.room, Seq(9)).await.unwrap(), None);
    assert!(case.stored_below(9).await.is_empty());
}

/// The room was purged meanwhile, or its past too long: what was copied goes with what was
/// journaled.
pub async fn copies_that_never_came_to_count_are_trimmed(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    trims_a_pass(&case, &node, claim, &all).await;
}

/// Behind the places that count since an earlier erasure.
pub async fn copies_that_came_to_count_in_part_are_trimmed(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    erase(&node, &case, claim, &all, 3).await;
    trims_a_pass(&case, &node, claim, &all).await;
}

async fn trims_a_pass(case: &Case, node: &Node, claim: Claim, all: &[Event]) {
    node.rewrite(&case.room, claim, &all[..6]).await.unwrap();
    for _ in 0..2 {
        save(node, case, claim, all).await;
    }
    assert!(case.stored_below(7).await.concat().contains(SAID));
    assert!(node.trim(&case.room, claim, Seq(7)).await.unwrap());
    assert_eq!(case.stored_below(7).await, [""; 0]);
    assert_eq!(readable(node, case, 9).await, all[6..]);
    // What is erased later is copied again.
    let (node, claim, _) = owner(case).await;
    erase(&node, case, claim, all, 9).await;
    let there = readable(&node, case, 9).await;
    assert_eq!(there, [all_without(&all[6..8]), all[8..].to_vec()].concat());
}

/// Over several partitions and pages, with a hole, and beside another room.
pub async fn a_long_past_is_rewritten(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let (mut all, mut first) = (Vec::new(), 1);
    while first <= 2000 {
        let last = node.boundary(Seq(first)).0.min(first + 199).min(2000);
        let commit = commit(claim, first, last - first + 1, SAID);
        journal(&node, &case, claim, &commit).await.unwrap();
        all.extend(commit.events);
        first = last + 1;
    }
    let other = case.another_room();
    node.open(&other, claim).await.unwrap();
    let elsewhere = commit(claim, 1, 3, SAID);
    node.append(&other, claim, &elsewhere).await.unwrap();
    let begins = |seq: u64| all.iter().any(|event| event.seq.0 == seq);
    assert!(begins(1201));
    erase(&node, &case, claim, &all, 1201).await;
    let expected = [all_without(&all[..1200]), all[1200..].to_vec()].concat();
    let there = readable(&node, &case, 2000).await;
    assert_eq!(places(&there), places(&expected));
    // In whole commits.
    assert_eq!(there[..1000], expected[..1000]);
    let page = node.read(&other, Seq(1), Seq(3)).await.unwrap();
    assert_eq!(page, elsewhere.events);
    for below in [100, 700, 701, 702, 1201, 1900] {
        let last = node.last_below(&case.room, Seq(below)).await.unwrap();
        assert_eq!(last, Some(Seq(below - 1)));
    }
}

/// A hole stays one.
pub async fn copies_have_the_holes_of_what_they_replace(case: Case) {
    let (node, claim, all) = ones(&case, 150).await;
    for _ in 0..2 {
        save(&node, &case, claim, &all).await;
    }
    case.lose(3, 3).await;
    case.lose(60, 140).await;
    rewrite(&node, &case, claim, 145).await;
    if !drop_below(&node, &case, claim, 145).await {
        save(&node, &case, claim, &all).await;
        assert!(drop_below(&node, &case, claim, 145).await);
    }
    let expected: Vec<u64> = (1..=150)
        .filter(|place| *place != 3 && !(60..=140).contains(place))
        .collect();
    assert_eq!(places(&readable(&node, &case, 150).await), expected);
    for (first, begins) in [(3, 4), (60, 141), (100, 141), (141, 141), (145, 145)] {
        let page = node.read(&case.room, Seq(first), Seq(150)).await.unwrap();
        assert_eq!(page[0].seq, Seq(begins));
    }
    let last = node.last_below(&case.room, Seq(141)).await.unwrap();
    assert_eq!(last, Some(Seq(59)));
}

/// Without a snapshot nothing would have gone; it is lost since.
pub async fn a_room_whose_snapshots_are_lost_is_replayed_from_copies(case: Case) {
    let (node, claim, all) = ones(&case, 9).await;
    erase(&node, &case, claim, &all, 7).await;
    case.lose_snapshots().await;
    let opened = owner(&case).await.2;
    let expected = [all_without(&all[..6]), all[6..].to_vec()].concat();
    assert_eq!((opened.head(), &opened.holes[..]), (Seq(9), &[][..]));
    assert_eq!(opened.events, expected);
}

/// The largest messages, of which a page holds few.
pub async fn large_events_are_rewritten(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let large = "x".repeat(64 * 1024);
    let mut all = Vec::new();
    for first in 1..=70 {
        let commit = commit(claim, first, 1, &large);
        journal(&node, &case, claim, &commit).await.unwrap();
        all.extend(commit.events);
    }
    for _ in 0..2 {
        save(&node, &case, claim, &all[..70]).await;
    }
    // Half of them stay as they are.
    let half = |event: &Event| match event.seq.0 % 2 {
        0 => event.clone(),
        _ => without(event),
    };
    let mut from = Seq(1);
    loop {
        let page = node.read(&case.room, from, Seq(69)).await.unwrap();
        let Some(end) = page.last() else { break };
        from = end.seq.next();
        let copies: Vec<Event> = page.iter().map(half).collect();
        node.rewrite(&case.room, claim, &copies).await.unwrap();
    }
    assert!(drop_below(&node, &case, claim, 70).await);
    let expected: Vec<Event> = all[..69].iter().map(half).collect();
    assert_eq!(readable(&node, &case, 69).await, expected);
    // Then none of them.
    erase(&node, &case, claim, &all, 70).await;
    assert_eq!(readable(&node, &case, 69).await, all_without(&all[..69]));
    assert!(!case.stored_below(70).await.concat().contains("xxxx"));
}

/// What was copied for an erasure that came to no end does not outlive a trim, and does not come
/// back with the next one of the same owner.
pub async fn copies_that_never_counted_go_with_a_trim(case: Case) {
    let (node, claim, mut all) = ones(&case, 9).await;
    node.rewrite(&case.room, claim, &all[..5]).await.unwrap();
    for _ in 0..2 {
        save(&node, &case, claim, &all).await;
    }
    assert!(node.trim(&case.room, claim, Seq(7)).await.unwrap());
    assert_eq!(places(&readable(&node, &case, 9).await), [7, 8, 9]);
    assert!(!case.stored_below(7).await.concat().contains(SAID));
    for first in 10..=12 {
        let commit = commit(claim, first, 1, SAID);
        journal(&node, &case, claim, &commit).await.unwrap();
        all.extend(commit.events);
    }
    erase(&node, &case, claim, &all, 10).await;
    let left = readable(&node, &case, 12).await;
    assert_eq!(places(&left), [7, 8, 9, 10, 11, 12]);
    assert_eq!(left[..3], all_without(&all[6..9]));
}
