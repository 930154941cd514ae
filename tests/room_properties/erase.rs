//! Erasures on random histories: what is hidden is what a plain reading of the events says, and a
//! room whose past is copied without it goes on as one that has it.

use super::{commands::commands, run};
use proptest::{prelude::*, sample::Index};
use safe_chat::room::{Body, Event, Kind, Seq, State};

/// Whether an event behind it, but behind no purge, says that its content goes.
fn is_erased(event: &Event, events: &[Event]) -> bool {
    let Kind::Message { from, body, .. } = &event.kind else {
        return false;
    };
    let behind = events.iter().filter(|later| later.seq > event.seq);
    matches!(body, Body::Text(_) | Body::Sealed(_))
        && behind
            .take_while(|later| later.kind != Kind::Purged)
            .any(|later| matches!(&later.kind, Kind::Erased { user, .. } if user == from))
}

/// An owner has copied everything, and noted it.
fn rewrite(state: &mut State, events: &mut [Event]) {
    let erasing = state.erasures.erasing();
    if erasing.is_empty() {
        return;
    }
    erasing.apply(events);
    let (first, through) = (state.kept.first(), erasing.last());
    let left = events.iter();
    let left = left.filter(|event| (first..=through).contains(&event.seq));
    let bytes = left.map(|event| event.size() as u64).sum();
    state.rewritten(through, bytes);
}

/// Which bytes of content there are depends on whether it was erased yet.
fn without_bytes(mut state: State) -> State {
    state.kept.bytes = 0;
    for erasure in state.erasures.pending.values_mut() {
        erasure.bytes_since = 0;
    }
    state
}

proptest! {
    #[test]
    fn what_is_hidden_is_what_was_said_before_the_event(commands in commands()) {
        let mut state = State::default();
        let (events, _) = run(&mut state, &commands);
        let erasing = state.erasures.erasing();
        for event in events.iter().filter(|event| event.seq >= state.kept.first()) {
            prop_assert_eq!(erasing.hides(event), is_erased(event, &events), "{:?}", event);
        }
        prop_assert!(erasing.last() < state.head.next());
    }

    #[test]
    fn a_replay_of_copies_equals_the_live_state(commands in commands()) {
        let mut live = State::default();
        let (mut events, _) = run(&mut live, &commands);
        live.erasures.erasing().apply(&mut events);
        let mut replayed = State::default();
        events.iter().for_each(|event| replayed.evolve(event));
        live.unjournaled.iter().for_each(|change| replayed.change(change.clone()));
        prop_assert_eq!(without_bytes(replayed), without_bytes(live));
    }

    #[test]
    fn a_room_that_is_rewritten_goes_on_alike_and_counts_what_is_left(
        commands in commands(), at in any::<Index>()
    ) {
        let (before, after) = commands.split_at(at.index(commands.len() + 1));
        let (mut state, mut other) = (State::default(), State::default());
        let (mut events, _) = run(&mut state, before);
        run(&mut other, before);
        rewrite(&mut state, &mut events);
        let (more, outcomes) = run(&mut state, after);
        let (expected, told) = run(&mut other, after);
        let plain = |events: &[Event]| -> Vec<_> {
            events.iter().map(|event| (event.seq, event.kind.clone())).collect()
        };
        prop_assert_eq!(plain(&more), plain(&expected));
        prop_assert_eq!(outcomes, told);
        events.extend(more);
        rewrite(&mut state, &mut events);
        prop_assert!(state.erasures.pending.is_empty());
        let first = state.kept.first().max(Seq(1));
        let left = events.iter().filter(|event| event.seq >= first);
        prop_assert_eq!(state.kept.bytes, left.map(|event| event.size() as u64).sum::<u64>());
    }
}
