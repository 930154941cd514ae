//! What holds for every room, whatever is commanded: shown on random histories of a small world.

mod commands;
mod erase;

use commands::{commands, gateway, key, request, session, user};
use proptest::{prelude::*, sample::Index};
use safe_chat::room::{
    Action, Attempt, Body, Change, Command, CommandId, Event, Identity, Key, Kind, Limits, Millis,
    Outcome, Reason, Seq, State, Turn, UserId, decide,
};
use std::collections::{BTreeSet, HashMap, HashSet};

fn run(state: &mut State, commands: &[Command]) -> (Vec<Event>, Vec<Outcome>) {
    let mut events = Vec::new();
    let mut outcomes = Vec::new();
    for command in commands {
        let decision = decide(state, command);
        events.extend(state.apply_decision(&decision, command));
        outcomes.push(decision.outcome);
    }
    (events, outcomes)
}

proptest! {
    #[test]
    fn a_replayed_state_equals_the_live_one(commands in commands()) {
        let mut live = State::default();
        let (events, _) = run(&mut live, &commands);
        let mut replayed = State::default();
        events.iter().for_each(|event| replayed.evolve(event));
        live.unjournaled.iter().for_each(|change| replayed.change(change.clone()));
        prop_assert_eq!(replayed, live);
    }

    #[test]
    fn a_replay_from_any_snapshot_equals_the_live_state(commands in commands(), at in any::<Index>()) {
        let mut live = State::default();
        let (before, after) = commands.split_at(at.index(commands.len() + 1));
        run(&mut live, before);
        let mut replayed = live.clone();
        let (events, _) = run(&mut live, after);
        events.iter().for_each(|event| replayed.evolve(event));
        let missing = replayed.unjournaled.len();
        live.unjournaled.iter().skip(missing).for_each(|change| replayed.change(change.clone()));
        prop_assert_eq!(replayed, live);
    }

    #[test]
    fn changes_that_a_snapshot_has_need_not_be_carried_any_more(commands in commands(), at in any::<Index>()) {
        let mut live = State::default();
        let (before, after) = commands.split_at(at.index(commands.len() + 1));
        run(&mut live, before);
        let mut replayed = live.clone();
        live.saved(live.unjournaled.len(), true);
        let (events, _) = run(&mut live, after);
        events.iter().for_each(|event| replayed.evolve(event));
        live.unjournaled.iter().for_each(|change| replayed.change(change.clone()));
        live.unjournaled.clear();
        replayed.unjournaled.clear();
        prop_assert_eq!(replayed, live);
    }

    #[test]
    fn the_sequence_is_dense_from_one(commands in commands()) {
        let (events, _) = run(&mut State::default(), &commands);
        prop_assert!(events.iter().map(|event| event.seq).eq((1..=events.len() as u64).map(Seq)));
    }

    #[test]
    fn commands_that_are_read_again_change_nothing_and_are_answered_alike(mut commands in commands(), from in any::<Index>()) {
        // What came too early was not answered, and may come in time when it is read again.
        let (_, outcomes) = run(&mut State::default(), &commands);
        let mut outcomes = outcomes.iter();
        commands.retain(|_| !matches!(outcomes.next(), Some(Outcome::OutOfOrder { .. })));
        let mut state = State::default();
        let (_, first) = run(&mut state, &commands);
        let from = from.index(commands.len() + 1);
        let before = state.clone();
        let (events, again) = run(&mut state, &commands[from..]);
        prop_assert_eq!(events, vec![]);
        prop_assert_eq!(state, before);
        for ((first, again), command) in first[from..].iter().zip(&again).zip(&commands[from..]) {
            let is_open = matches!(command.action, Action::Open { .. });
            let is_send = matches!(command.action, Action::Send { .. });
            let says_which = match command.action {
                Action::Send { turn, request, .. } => Attempt::of(turn, request).is_some(),
                _ => false,
            };
            match (first, again) {
                // A session that was admitted and is over by now is told so; nobody waits for that
                // answer.
                (Outcome::Done | Outcome::Repeated(_), Outcome::Refused(refused)) if is_open => prop_assert_eq!(refused.reason, Reason::NotMember),
                // What was placed is still no repetition of its client's; a repetition stays one.
                (Outcome::Done, Outcome::Redelivered(_)) if says_which => {}
                (Outcome::Done, Outcome::Repeated(_)) if is_send && !says_which => {}
                // An older version does not say which, and the name has had two holders meanwhile.
                (Outcome::Repeated(_), Outcome::Repeated(_)) if is_send && !says_which => {}
                (Outcome::Done | Outcome::Repeated(_), Outcome::Done | Outcome::Repeated(_)) if !is_send => {}
                // What an older version placed is told from a repetition by its session, which is
                // over by now.
                (Outcome::Redelivered(first), Outcome::Repeated(again)) if is_send && first == again => {}
                // Its gateway submitted it once more, and an operator had freed the name by then.
                (Outcome::Refused(first), Outcome::Redelivered(_)) if says_which && matches!(first.reason, Reason::KeyMismatch | Reason::ProofRequired) => {}
                // The id was used again after it was refused, and that one was accepted.
                (Outcome::Refused(_), Outcome::Repeated(_)) if !is_open => {}
                // Older versions cannot read the word of the first answer.
                (Outcome::Refused(first), Outcome::Refused(again)) if is_open && first.reason != again.reason => prop_assert_eq!(again.reason, first.reason.known_before()),
                // The name has another key by now, or its owner has proven it. Or it had, and an
                // operator took it away. What was placed is not told so, if it says which it is.
                (first, Outcome::Refused(refused)) if is_send && !(says_which && *first == Outcome::Done) && matches!(refused.reason, Reason::KeyMismatch | Reason::ProofRequired) => {}
                // Why it was refused is forgotten since the room was purged.
                (Outcome::Refused(_), Outcome::Refused(refused)) if is_send && refused.reason == Reason::Unavailable => {}
                // Its session had passed it over, and is over by now.
                (Outcome::Refused(refused), Outcome::Refused(_)) if refused.reason == Reason::Unavailable => {}
                (Outcome::DuplicateUnknownSeq, _) => {} // Nobody was told.
                // Of each message the answer is as if it had come alone; what was refused is not
                // placed any more, whatever the room is like by now.
                (Outcome::Batch(first), Outcome::Batch(again)) => {
                    for (first, again) in first.iter().zip(again) {
                        match (first, again) {
                            (Outcome::Done, Outcome::Redelivered(_)) => {}
                            (Outcome::Refused(_), again) => prop_assert!(*again != Outcome::Done),
                            (Outcome::DuplicateUnknownSeq, again) => prop_assert!(*again != Outcome::Done),
                            // Only the last generation's repetitions are remembered.
                            (Outcome::Repeated(_), Outcome::DuplicateUnknownSeq | Outcome::Refused(_)) => {}
                            (first, again) => prop_assert_eq!(first, again),
                        }
                    }
                }
                (first, again) => prop_assert_eq!(first, again),
            }
        }
    }

    #[test]
    fn a_command_that_is_stored_twice_makes_one_event(commands in commands()) {
        let doubled: Vec<Command> = commands.iter().flat_map(|command| [command.clone(), command.clone()]).collect();
        let (once, _) = run(&mut State::default(), &commands);
        let (twice, _) = run(&mut State::default(), &doubled);
        prop_assert_eq!(once, twice);
    }

    /// Whoever had the name: by the answer to an id nobody learns of messages of another key, or of
    /// one of which more was shown, nor loses an own one to them. Of a name that only posts came
    /// with that is not promised, nor of what older versions submit.
    #[test]
    fn an_id_says_nothing_of_what_another_key_sent(commands in commands()) {
        let (mut state, mut said, mut batches) = (State::default(), HashMap::new(), HashSet::new());
        for command in &commands {
            let decision = decide(&state, command);
            let owner = |user: &UserId| {
                let pin = state.pins.get(user).filter(|pin| pin.identity > Identity::Posted)?;
                Some((pin.key.clone(), pin.identity))
            };
            let mut note = |(owner, shown): (Option<(Key, Identity)>, Option<_>), seq: Seq, outcome: &Outcome| {
                match outcome {
                    Outcome::Done => if let Some(owner) = owner {
                        said.insert(seq, owner);
                    },
                    Outcome::Repeated(seq) => if let Some((key, least)) = said.get(seq) {
                        match (shown, owner) {
                            (Some((by, identity)), _) => prop_assert!(*key == by && *least <= identity, "at {}", seq.0),
                            (None, Some(owner)) => prop_assert_eq!((key, *least), (&owner.0, owner.1), "at {}", seq.0),
                            (None, None) => {}
                        }
                    },
                    _ => {}
                }
                Ok(())
            };
            let mut next = state.head.next();
            match (&command.action, &decision.outcome) {
                (Action::Send { user, key, identity, turn, request, .. }, outcome) => {
                    let is_spoken = turn.is_some_and(|turn| state.sessions.get(turn.session).is_some());
                    let shown = (key.clone(), *identity);
                    if Attempt::of(*turn, *request).is_some() {
                        note((owner(user), Some(shown).filter(|_| !is_spoken)), next, outcome)?;
                    }
                }
                // One that is read again is answered as it was.
                (Action::Batch { messages, from }, Outcome::Batch(outcomes)) if batches.insert(*from) => {
                    for (message, outcome) in messages.iter().zip(outcomes) {
                        note((owner(&message.user), None), next, outcome)?;
                        if *outcome == Outcome::Done { next = next.next(); }
                    }
                }
                _ => {}
            }
            state.apply_decision(&decision, command);
        }
    }

    #[test]
    fn members_are_exactly_the_users_with_open_sessions(commands in commands()) {
        let mut state = State::default();
        for command in &commands {
            let decision = decide(&state, command);
            state.apply_decision(&decision, command);
            let with_sessions = state.sessions.iter().map(|(_, session)| session.user.clone()).collect();
            prop_assert_eq!(&state.members, &with_sessions);
            for user in &state.members {
                prop_assert!(state.sessions.of(user).len() <= Limits::SESSIONS_PER_USER);
            }
        }
    }

    #[test]
    fn the_events_alone_say_who_is_here(commands in commands()) {
        let mut state = State::default();
        let (events, _) = run(&mut state, &commands);
        let mut here = BTreeSet::new();
        for event in &events {
            match &event.kind {
                Kind::Joined { user } => prop_assert!(here.insert(user.clone()), "joined twice"),
                Kind::Left { user } => prop_assert!(here.remove(user), "left without having joined"),
                Kind::Message { .. }
                | Kind::Unpinned { .. }
                | Kind::Purged
                | Kind::Erased { .. } => {}
            }
        }
        prop_assert_eq!(here, state.members);
    }
}

proptest! {
    #[test]
    fn nothing_comes_before_what_it_must_follow(commands in commands(), from in any::<Index>()) {
        let mut state = State::default();
        let (mut events, _) = run(&mut state, &commands);
        events.extend(run(&mut state, &commands[from.index(commands.len() + 1)..]).0);
        let mut last = HashMap::new();
        for event in &events {
            // A message that was in the room already is said again without an event.
            for change in &event.changes {
                let Change::DuplicateRecorded { turn, .. } = change else { continue };
                let last = last.entry(turn.session).or_insert(0);
                *last = turn.number.max(*last);
            }
            let Kind::Message { id: Some(id), turn: Some(turn), .. } = &event.kind else { continue };
            let last = last.entry(turn.session).or_insert(0);
            prop_assert!(turn.number == 0 || turn.number > *last, "{turn:?} came after {last}");
            let may_follow = |command: &Command| match &command.action {
                Action::Send { id: sent, turn: Some(its), after, .. } => (sent, its) == (id, turn) && *after <= *last,
                Action::Batch { messages, .. } => messages.iter().any(|it| (&it.id, &it.turn) == (id, turn)),
                _ => false,
            };
            prop_assert!(commands.iter().any(may_follow), "{turn:?} came before what it must follow");
            *last = turn.number.max(*last);
        }
    }
}

#[test]
fn the_window_forgets_only_after_4096_messages() {
    let mut state = State::default();
    let send = |n: usize| Command {
        at: Millis(n as u64),
        action: Action::Send {
            user: user(0),
            key: key(0),
            identity: Identity::Claimed,
            turn: None,
            request: None,
            after: 0,
            id: CommandId::parse(&format!("id-{n}")).unwrap(),
            to: None,
            body: Body::Text("hello".into()),
        },
    };
    for n in 0..Limits::WINDOW {
        let decision = decide(&state, &send(n));
        state.apply_decision(&decision, &send(n));
    }
    assert_eq!(decide(&state, &send(0)).outcome, Outcome::Repeated(Seq(1)));
    let one_more = send(Limits::WINDOW);
    let decision = decide(&state, &one_more);
    state.apply_decision(&decision, &one_more);
    assert_eq!(decide(&state, &send(0)).outcome, Outcome::Done);
    assert_eq!(decide(&state, &send(1)).outcome, Outcome::Repeated(Seq(2)));
}

/// Its gateway, cut off with an answer on the way, submits it again; the room has moved on.
#[test]
fn a_session_says_nothing_twice_even_when_the_window_has_forgotten_it() {
    let mut state = State::default();
    let mut enact = |action| {
        let command = Command {
            at: Millis(1),
            action,
        };
        let decision = decide(&state, &command);
        state.apply_decision(&decision, &command);
        decision.outcome
    };
    let send = |number: u64, turn| Action::Send {
        user: user(0),
        key: key(0),
        identity: Identity::Claimed,
        turn,
        request: None,
        after: 0,
        id: CommandId::parse(&format!("id-{number}")).unwrap(),
        to: None,
        body: Body::Text("hello".into()),
    };
    let through = |number| {
        send(
            number,
            Some(Turn {
                session: session(1),
                number,
            }),
        )
    };
    enact(Action::Open {
        session: session(1),
        user: user(0),
        key: key(0),
        identity: Identity::Claimed,
        device: None,
        gateway: gateway(1),
        policy: None,
        former: None,
    });
    assert_eq!(
        (enact(through(1)), enact(through(1))),
        (Outcome::Done, Outcome::Redelivered(Seq(2)))
    );
    // Its client sent the same once more: nobody behind it has to wait, and it is not said later
    // either.
    let again = |number| {
        send(
            1,
            Some(Turn {
                session: session(1),
                number,
            }),
        )
    };
    assert_eq!(
        (enact(again(2)), enact(again(2))),
        (Outcome::Repeated(Seq(2)), Outcome::Repeated(Seq(2)))
    );
    for n in 0..Limits::WINDOW as u64 {
        enact(send(1000 + n, None));
    }
    assert_eq!(
        (enact(through(1)), enact(again(2)), enact(through(3))),
        (
            Outcome::DuplicateUnknownSeq,
            Outcome::Repeated(Seq(2)),
            Outcome::Done
        )
    );
}

/// The event of message 2 is gone from the journal; 3 was refused, and the refusal lost.
#[test]
fn what_a_session_has_passed_over_is_refused_and_what_is_forgotten_is_not() {
    let mut state = State::default();
    let through = |number: u64| Action::Send {
        user: user(0),
        key: key(0),
        identity: Identity::Claimed,
        turn: Some(Turn {
            session: session(1),
            number,
        }),
        request: None,
        after: 0,
        id: CommandId::parse(&format!("id-{number}")).unwrap(),
        to: None,
        body: Body::Text("hello".into()),
    };
    let command = |action| Command {
        at: Millis(1),
        action,
    };
    let enact = |state: &mut State, action| {
        let command = command(action);
        let decision = decide(state, &command);
        (state.apply_decision(&decision, &command), decision.outcome)
    };
    let open = Action::Open {
        session: session(1),
        user: user(0),
        key: key(0),
        identity: Identity::Claimed,
        device: None,
        gateway: gateway(1),
        policy: None,
        former: None,
    };
    let mut replica = State::default();
    for (action, is_lost) in [(open, false), (through(1), false), (through(2), true)] {
        let (events, outcome) = enact(&mut state, action);
        assert_eq!(outcome, Outcome::Done);
        match is_lost {
            true => replica.skip_to(state.head),
            false => events.iter().for_each(|event| replica.evolve(event)),
        }
    }
    let (events, _) = enact(&mut state, through(4));
    replica.evolve(&events[0]);
    for (state, number) in [(&replica, 2), (&replica, 3), (&state, 3)] {
        match decide(state, &command(through(number))).outcome {
            Outcome::Refused(refused) => assert_eq!(refused.reason, Reason::Unavailable),
            other => panic!("{number}: {other:?}"),
        }
    }
    let placed = decide(&state, &command(through(2))).outcome;
    assert_eq!(placed, Outcome::Redelivered(Seq(3)));
}

/// What a client sent once is no repetition of it, however often it is submitted and decided, after
/// the session's end as well; what it sends again is one, in whatever way.
#[test]
fn only_a_client_repeats() {
    let mut state = State::default();
    let mut next = 0;
    let mut enact = |action: Action| {
        next += 1;
        let command = Command {
            at: Millis(next),
            action,
        };
        let decision = decide(&state, &command);
        state.apply_decision(&decision, &command);
        decision.outcome
    };
    let send = |id: &str, turn: Option<(u8, u64)>, by: Option<u8>| Action::Send {
        user: user(0),
        key: key(0),
        identity: Identity::Claimed,
        turn: turn.map(|(n, number)| Turn {
            session: session(n),
            number,
        }),
        request: by.map(request),
        after: 0,
        id: CommandId::parse(id).unwrap(),
        to: None,
        body: Body::Text("hello".into()),
    };
    for n in 1..=2 {
        enact(Action::Open {
            session: session(n),
            user: user(0),
            key: key(0),
            identity: Identity::Claimed,
            device: None,
            gateway: gateway(n),
            policy: None,
            former: None,
        });
    }
    use Outcome::{Done, Redelivered, Refused, Repeated};
    // A request, submitted twice; then another one, and a session, with the same id.
    assert_eq!(enact(send("a", None, Some(1))), Done);
    assert_eq!(enact(send("a", None, Some(1))), Redelivered(Seq(2)));
    assert_eq!(enact(send("a", None, Some(2))), Repeated(Seq(2)));
    assert_eq!(enact(send("a", Some((1, 1)), None)), Repeated(Seq(2)));
    assert_eq!(enact(send("a", Some((1, 1)), None)), Repeated(Seq(2)));
    // A session, then a request and another session with the same id.
    assert_eq!(enact(send("b", Some((1, 2)), None)), Done);
    assert_eq!(enact(send("b", None, Some(3))), Repeated(Seq(3)));
    assert_eq!(enact(send("b", Some((2, 1)), None)), Repeated(Seq(3)));
    assert_eq!(enact(send("b", Some((1, 2)), None)), Redelivered(Seq(3)));
    // The session ends while its gateway still waits for the answer.
    enact(Action::Close {
        session: session(1),
        gateway: None,
    });
    assert_eq!(enact(send("b", Some((1, 2)), None)), Redelivered(Seq(3)));
    assert!(matches!(enact(send("c", Some((1, 3)), None)), Refused(_)));
    // An older version's gateway does not say which request it is.
    assert_eq!(enact(send("d", None, None)), Done);
    assert_eq!(enact(send("d", None, None)), Repeated(Seq(4)));
}
