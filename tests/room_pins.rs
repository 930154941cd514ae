//! Whose a name is in a room: what holds whoever comes with whichever key, and what an operator can
//! do about it. Each claim is shown on the decisions alone.

#[path = "support/decided.rs"]
mod decided;
#[path = "room_pins/former.rs"]
mod former;

use decided::Room;
use proptest::{collection::vec, prelude::*};
use safe_chat::{
    journal::codec,
    room::{
        Action, BatchMessage, Body, Change, CommandId, Event, Identity, Incarnation, Key, Kind,
        Outcome, Producer, ProducerSeq, Reason, RequestId, Seq, SessionId, State, Turn, UserId,
        decide,
    },
};
use std::{collections::HashMap, sync::Arc};
use uuid::Uuid;

fn session(n: u8) -> SessionId {
    SessionId::new(Uuid::from_u128(1000 + u128::from(n)))
}

fn harry() -> UserId {
    UserId::parse("harry").unwrap()
}

fn key(n: u8) -> Key {
    Key::parse(&format!("key-{n}")).unwrap()
}

fn open(n: u8, k: u8, identity: Identity) -> Action {
    Action::Open {
        session: session(n),
        user: harry(),
        key: key(k),
        identity,
        device: None,
        gateway: Incarnation::new(Uuid::from_u128(1)),
        policy: None,
        former: None,
    }
}

/// As [`open`] with a proof, and a signature of another key for this one.
fn change(n: u8, from: u8, to: u8) -> Action {
    let mut action = open(n, to, Proven);
    if let Action::Open { former, .. } = &mut action {
        *former = Some(key(from));
    }
    action
}

fn close(n: u8) -> Action {
    Action::Close {
        session: session(n),
        gateway: None,
    }
}

fn post(n: u8, k: u8, identity: Identity) -> Action {
    Action::Send {
        user: harry(),
        key: key(k),
        identity,
        turn: None,
        after: 0,
        request: Some(RequestId::new(Uuid::from_u128(u128::from(n)))),
        id: CommandId::parse(&format!("m{n}")).unwrap(),
        to: None,
        body: Body::Text("hello".into()),
    }
}

/// The same id once more, by another request.
fn again(n: u8, request: u8, k: u8) -> Action {
    let mut action = post(n, k, Proven);
    if let Action::Send { request: by, .. } = &mut action {
        *by = Some(RequestId::new(Uuid::from_u128(u128::from(request))));
    }
    action
}

/// Through a session, by its number there.
fn said(n: u8, k: u8, (through, number): (u8, u64)) -> Action {
    let mut action = post(n, k, Claimed);
    if let Action::Send { request, turn, .. } = &mut action {
        let session = session(through);
        (*request, *turn) = (None, Some(Turn { session, number }));
    }
    action
}

fn batch(sequence: u64, n: u8, (through, number): (u8, u64)) -> Action {
    let producer = Producer {
        gateway: Incarnation::new(Uuid::from_u128(1)),
        generation: 1,
    };
    let message = BatchMessage {
        turn: Turn {
            session: session(through),
            number,
        },
        user: harry(),
        id: CommandId::parse(&format!("m{n}")).unwrap(),
        to: None,
        body: Body::Text("hello".into()),
    };
    Action::Batch {
        from: ProducerSeq { producer, sequence },
        messages: Arc::new([message]),
    }
}

/// An action of a client that has shown this much of its key.
trait With {
    fn with(self, identity: Identity) -> Self;
}

impl With for Action {
    fn with(mut self, shown: Identity) -> Self {
        if let Action::Send { identity, .. } = &mut self {
            *identity = shown;
        }
        self
    }
}

fn unpin() -> Action {
    Action::Unpin { user: harry() }
}

/// A room whose commands come one after the other.
impl Room {
    fn refused(&mut self, action: Action) -> Reason {
        match self.take(action) {
            Outcome::Refused(rejection) => rejection.reason,
            outcome => panic!("{outcome:?}"),
        }
    }

    fn pin(&self) -> Option<(Key, Identity)> {
        let pin = self.state.pins.get(&harry())?;
        Some((pin.key.clone(), pin.identity))
    }

    fn kinds(&self) -> Vec<&'static str> {
        let word = |event: &Event| match event.kind {
            Kind::Joined { .. } => "joined",
            Kind::Left { .. } => "left",
            Kind::Message { .. } => "message",
            Kind::Unpinned { .. } => "unpinned",
            Kind::Purged => "purged",
            Kind::Erased { .. } => "erased",
        };
        self.events.iter().map(word).collect()
    }
}

use Identity::{Claimed, Posted, Proven};

#[test]
fn a_claimed_name_is_proven_by_its_owner_later_and_stays_so() {
    let mut room = Room::default();
    assert_eq!(room.take(open(1, 1, Claimed)), Outcome::Done);
    assert_eq!(room.pin(), Some((key(1), Claimed)));
    assert_eq!(room.refused(open(2, 2, Proven)), Reason::KeyMismatch);
    assert_eq!(room.take(open(3, 1, Proven)), Outcome::Done);
    assert_eq!(room.pin(), Some((key(1), Proven)));
    assert_eq!(room.refused(open(4, 1, Claimed)), Reason::ProofRequired);
    assert_eq!(room.refused(open(5, 2, Claimed)), Reason::KeyMismatch);
    assert_eq!(room.take(open(6, 1, Proven)), Outcome::Done);
    room.take(close(3));
    room.take(close(6));
    assert_eq!(room.refused(open(7, 1, Claimed)), Reason::ProofRequired);
}

#[test]
fn who_only_claimed_the_name_leaves_when_it_is_proven() {
    let mut room = Room::default();
    (1..=8).for_each(|n| assert_eq!(room.take(open(n, 1, Claimed)), Outcome::Done));
    assert_eq!(room.refused(open(9, 1, Claimed)), Reason::TooManySessions);
    assert_eq!(room.take(open(10, 1, Proven)), Outcome::Done);
    assert_eq!(room.state.sessions.of(&harry()), [session(10)]);
    assert_eq!(room.kinds(), ["joined", "left", "joined"]);
    let ended = |change: &&Change| matches!(change, Change::Closed { .. });
    let changes = &room.events[1].changes;
    assert_eq!(changes.iter().filter(ended).count(), 8, "told by the event");
    // A second proven session ends nobody.
    room.take(open(11, 1, Proven));
    assert_eq!(room.state.sessions.of(&harry()).len(), 2);
}

#[test]
fn an_operator_frees_a_name_and_the_room_sees_it() {
    let mut room = Room::default();
    room.take(open(1, 1, Proven));
    room.take(open(2, 1, Proven));
    assert_eq!(room.take(unpin()), Outcome::Done);
    assert_eq!((room.pin(), room.state.sessions.is_empty()), (None, true));
    assert_eq!(room.kinds(), ["joined", "left", "unpinned"]);
    assert_eq!(room.take(open(3, 2, Claimed)), Outcome::Done);
    assert_eq!(room.pin(), Some((key(2), Claimed)));
    assert_eq!(room.refused(open(4, 1, Proven)), Reason::KeyMismatch);
}

#[test]
fn an_unpin_that_is_read_again_takes_no_second_key() {
    let mut room = Room::default();
    room.take(open(1, 1, Claimed));
    room.take(unpin());
    room.take(open(2, 2, Proven));
    let again = room.commands[1].clone();
    let decision = decide(&room.state, &again);
    assert_eq!(decision.outcome, Outcome::Repeated(room.state.head));
    assert!(decision.kinds.is_empty() && decision.changes.is_empty());
}

#[test]
fn a_repeated_id_tells_nothing_to_another_key() {
    let mut room = Room::default();
    room.take(open(1, 1, Claimed));
    room.take(post(1, 1, Claimed));
    assert_eq!(room.take(again(1, 2, 1)), Outcome::Repeated(Seq(2)));
    assert_eq!(room.refused(again(1, 3, 9)), Reason::KeyMismatch);
}

#[test]
fn whoever_gets_a_freed_name_uses_the_ids_of_before_and_learns_nothing_of_them() {
    use Outcome::{Done, Redelivered, Repeated};
    let mut room = Room::default();
    room.take(open(1, 1, Proven));
    assert_eq!(room.take(post(1, 1, Proven)), Done, "at 2");
    assert_eq!(room.take(said(2, 1, (1, 1))), Done, "at 3");
    assert_eq!(
        room.take(batch(1, 3, (1, 2))),
        Outcome::Batch(vec![Done]),
        "at 4"
    );
    room.take(unpin());
    let before = room.commands.clone();
    room.take(open(2, 2, Proven));
    for (n, action) in [(1, again(1, 11, 2)), (2, said(2, 2, (2, 1)))] {
        assert_eq!(room.take(action), Done, "m{n} is another one's");
    }
    let of_batch = room.take(batch(2, 3, (2, 2)));
    assert_eq!(of_batch, Outcome::Batch(vec![Done]), "m3 is another one's");
    assert_eq!(room.take(again(1, 12, 2)), Repeated(Seq(8)));
    assert_eq!(room.take(again(3, 13, 2)), Repeated(Seq(10)));
    // What the holder of before said is submitted again, and read again: it is there.
    assert_eq!(room.take(post(1, 1, Proven)), Redelivered(Seq(2)));
    assert_eq!(room.take(said(2, 1, (1, 1))), Redelivered(Seq(3)));
    let known = Outcome::Batch(vec![Redelivered(Seq(4))]);
    assert_eq!(room.take(batch(1, 3, (1, 2))), known);
    let events = room.events.len();
    for command in before {
        let decision = decide(&room.state, &command);
        room.state.apply_decision(&decision, &command);
        assert!(decision.kinds.is_empty(), "{command:?}: {decision:?}");
    }
    // It comes back, and finds its own messages, wherever it repeats them.
    room.take(unpin());
    room.take(open(3, 1, Proven));
    let head = Seq(events as u64 + 3);
    assert_eq!(room.state.head, head);
    assert_eq!(room.take(again(1, 14, 1)), Repeated(Seq(2)));
    assert_eq!(room.take(said(2, 1, (3, 1))), Repeated(Seq(3)));
    let repeated = Outcome::Batch(vec![Repeated(Seq(4))]);
    assert_eq!(room.take(batch(3, 3, (3, 2))), repeated);
    assert_eq!(room.state.head, head);
    // A restart changes nothing of that.
    let stored = codec::encode_snapshot(&room.state);
    let read = codec::decode_snapshot(stored).unwrap();
    assert_eq!(read.sent, room.state.sent);
}

#[test]
fn who_only_names_a_key_learns_nothing_of_who_has_proven_it_and_uses_up_none_of_its_ids() {
    use Outcome::{Done, Repeated};
    let mut room = Room::default();
    room.take(open(1, 1, Proven));
    assert_eq!(room.take(post(1, 1, Proven)), Done, "at 2");
    assert_eq!(room.take(said(2, 1, (1, 1))), Done, "at 3");
    room.take(unpin());
    // Anybody has seen that key in the events.
    room.take(open(2, 1, Claimed));
    assert_eq!(room.take(again(1, 9, 1).with(Claimed)), Done, "at 7");
    assert_eq!(room.take(said(2, 1, (2, 1))), Done, "at 8");
    assert_eq!(room.take(said(3, 1, (2, 2))), Done, "at 9");
    assert_eq!(room.take(open(3, 1, Proven)), Done);
    assert_eq!(room.take(again(1, 10, 1)), Repeated(Seq(2)), "its own");
    assert_eq!(room.take(said(2, 1, (3, 1))), Repeated(Seq(3)), "its own");
    assert_eq!(
        room.take(said(3, 1, (3, 2))),
        Done,
        "what another one has said"
    );
    // The same where the name was never freed.
    let mut room = Room::default();
    room.take(open(1, 1, Claimed));
    assert_eq!(room.take(said(1, 1, (1, 1))), Done);
    room.take(open(2, 1, Proven));
    assert_eq!(
        room.take(said(1, 1, (2, 1))),
        Done,
        "what another one has said"
    );
    assert_eq!(room.take(said(1, 1, (2, 2))), Repeated(Seq(5)));
}

#[test]
fn what_is_posted_under_a_name_without_an_owner_is_there_once_whatever_becomes_of_the_name() {
    let mut room = Room::default();
    room.take(post(1, 1, Claimed));
    room.take(post(3, 2, Proven));
    assert_eq!(room.take(again(3, 9, 2)), Outcome::Repeated(Seq(2)));
    room.take(open(1, 2, Proven));
    assert_eq!(room.take(again(3, 10, 2)), Outcome::Repeated(Seq(2)));
    let mut room = Room::default();
    room.take(post(1, 1, Claimed));
    room.take(post(3, 2, Proven));
    room.take(unpin());
    assert_eq!(room.take(again(3, 9, 2)), Outcome::Repeated(Seq(2)));
}

#[test]
fn a_post_needs_a_proof_where_the_name_is_proven() {
    let mut room = Room::default();
    room.take(open(1, 2, Claimed));
    assert_eq!(room.refused(post(2, 1, Proven)), Reason::KeyMismatch);
    assert_eq!(room.take(post(3, 2, Proven)), Outcome::Done);
    assert_eq!(room.pin(), Some((key(2), Claimed)), "it proves no name");
    room.take(open(2, 2, Proven));
    assert_eq!(room.refused(post(4, 2, Claimed)), Reason::ProofRequired);
    assert_eq!(room.take(post(5, 2, Proven)), Outcome::Done);
    // Its gateway asks again.
    assert!(matches!(
        room.take(post(3, 2, Proven)),
        Outcome::Redelivered(_)
    ));
}

#[test]
fn a_name_that_only_posts_came_with_goes_to_whoever_proves_a_key() {
    let mut room = Room::default();
    assert_eq!(room.take(post(1, 1, Claimed)), Outcome::Done);
    assert_eq!(room.pin(), Some((key(1), Posted)));
    assert_eq!(room.refused(open(1, 2, Claimed)), Reason::KeyMismatch);
    assert_eq!(room.refused(post(2, 2, Claimed)), Reason::KeyMismatch);
    assert_eq!(room.take(post(3, 2, Proven)), Outcome::Done);
    assert_eq!(room.pin(), Some((key(1), Posted)), "it takes no name");
    let before = room.state.clone();
    assert_eq!(room.take(open(4, 1, Claimed)), Outcome::Done);
    assert_eq!(room.pin(), Some((key(1), Claimed)));
    room.state = before.clone();
    assert_eq!(room.take(open(5, 3, Proven)), Outcome::Done);
    assert_eq!(room.pin(), Some((key(3), Proven)));
    assert_eq!(room.refused(post(6, 1, Claimed)), Reason::KeyMismatch);
    assert_eq!(room.refused(post(7, 2, Proven)), Reason::KeyMismatch);
}

#[test]
fn what_was_refused_stays_refused_when_it_is_read_again_after_an_unpin() {
    let mut room = Room::default();
    room.take(open(1, 1, Claimed));
    assert_eq!(room.refused(post(1, 2, Claimed)), Reason::KeyMismatch);
    room.take(unpin());
    let again = room.commands[1].clone();
    let decision = decide(&room.state, &again);
    assert!(matches!(decision.outcome, Outcome::Refused(_)));
    assert_eq!(room.take(post(2, 2, Claimed)), Outcome::Done, "a new one");
}

#[test]
fn an_owner_that_died_between_leaving_and_joining_is_followed_by_one_that_finishes() {
    let mut room = Room::default();
    room.take(open(1, 1, Claimed));
    let before = room.state.clone();
    room.take(open(2, 1, Proven));
    // Only the first event was journaled.
    let mut state = before;
    state.evolve(&room.events[1]);
    let again = room.commands.last().unwrap().clone();
    let decision = decide(&state, &again);
    let events = state.apply_decision(&decision, &again);
    assert_eq!(events.len(), 1);
    assert!(matches!(events[0].kind, Kind::Joined { .. }));
    assert_eq!(state, room.state);
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let identity = any::<bool>().prop_map(Identity::of);
    let action = (0..12u8, 0..3u8, identity, 0..12u8);
    let action = action.prop_map(|(n, k, identity, what)| match what {
        0..=4 => open(n, k, identity),
        5..=6 => post(n, k, identity),
        7..=8 => close(n),
        9..=10 => change(n, (k + 1) % 3, k),
        _ => unpin(),
    });
    vec(action, 0..60)
}

proptest! {
    /// Against a model that knows nothing but the rules: whoever is let in brought the key of the
    /// name, or one that it signed, and showed as much of it as anybody before, since the last unpin.
    #[test]
    fn nobody_gets_in_with_less_than_was_shown_before(actions in actions()) {
        let mut room = Room::default();
        let mut owner: Option<(Key, Identity)> = None;
        let mut shown: HashMap<SessionId, Identity> = HashMap::new();
        for action in actions {
            let outcome = room.take(action.clone());
            match action {
                Action::Open { session, key, identity, former, .. } if outcome == Outcome::Done => {
                    if let Some((pinned, least)) = &owner {
                        let is_changed = former.as_ref() == Some(pinned);
                        let is_freer = *least == Posted || is_changed;
                        prop_assert!(key == *pinned || is_freer && identity == Proven);
                        prop_assert!(identity >= *least);
                    }
                    owner = Some((key, identity));
                    shown.insert(session, identity);
                }
                Action::Send { key, identity, .. } if outcome == Outcome::Done => {
                    if let Some((pinned, least)) = &owner {
                        prop_assert!(key == *pinned || *least == Posted && identity == Proven);
                        prop_assert!(identity >= *least);
                    }
                    owner.get_or_insert((key, Posted));
                }
                Action::Unpin { .. } => owner = None,
                _ => {}
            }
            prop_assert_eq!(room.pin(), owner.clone());
            // Nobody is in who has shown less than the owner.
            for id in room.state.sessions.of(&harry()) {
                let least = owner.as_ref().map(|(_, least)| *least);
                prop_assert_eq!(shown.get(id).copied(), least);
            }
        }
    }

    /// The pins are those of a replay, and the same from the middle of one.
    #[test]
    fn the_events_tell_whose_names_are(actions in actions()) {
        let mut room = Room::default();
        actions.into_iter().for_each(|action| drop(room.take(action)));
        let mut replayed = State::default();
        room.events.iter().for_each(|event| replayed.evolve(event));
        let unjournaled = room.state.unjournaled.clone();
        unjournaled.into_iter().for_each(|change| replayed.change(change));
        prop_assert_eq!(&replayed.pins, &room.state.pins);
        prop_assert_eq!(&replayed.unpinned, &room.state.unpinned);
        prop_assert_eq!(replayed.head, Seq(room.events.len() as u64));
    }

    /// An id is used up for who had shown as much of the same key when it was used, and for nobody
    /// else: whoever had the name meanwhile, and whatever was purged or read back.
    #[test]
    fn an_id_is_of_the_key_that_used_it_as_that_was_shown(steps in steps()) {
        let mut room = Room::default();
        let mut used: HashMap<(Key, Identity, u8), Seq> = HashMap::new();
        let (mut opened, mut request) = (0, 100);
        for step in steps {
            match step {
                Step::Open(k, identity) => {
                    opened += 1;
                    room.take(open(opened, k, identity));
                }
                Step::Say(n, how) => {
                    let sessions = room.state.sessions.of(&harry()).to_vec();
                    let (Some((key, identity)), Some(session)) = (room.pin(), sessions.last())
                    else {
                        continue;
                    };
                    let number = room.state.sessions.get(*session).unwrap().last + 1;
                    request += 1;
                    let mut action = again(n, request, 0).with(identity);
                    if let Action::Send { key: with, turn, request, .. } = &mut action {
                        *with = key.clone();
                        if how {
                            *turn = Some(Turn { session: *session, number });
                            *request = None;
                        }
                    }
                    let outcome = room.take(action);
                    // A post finds also what was sent while the name was only claimed.
                    let claimed = (key.clone(), Claimed, n);
                    let of = (key, identity, n);
                    match used.get(&of).or_else(|| used.get(&claimed).filter(|_| !how)) {
                        Some(seq) => prop_assert_eq!(outcome, Outcome::Repeated(*seq), "{:?}", of),
                        None => {
                            prop_assert_eq!(outcome, Outcome::Done, "{:?}", of);
                            used.insert(of, room.state.head);
                        }
                    }
                }
                Step::Unpin => drop(room.take(unpin())),
                Step::Purge => drop(room.take(Action::Purge)),
                Step::Restart => {
                    let stored = codec::encode_snapshot(&room.state);
                    room.state = codec::decode_snapshot(stored).unwrap();
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Open(u8, Identity),
    Say(u8, bool),
    Unpin,
    Purge,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..2u8, any::<bool>(), 0..3u8, 0..16u8).prop_map(|(k, yes, n, what)| match what {
        0..=3 => Step::Open(k, Identity::of(yes)),
        4..=11 => Step::Say(n, yes),
        12..=13 => Step::Unpin,
        14 => Step::Purge,
        _ => Step::Restart,
    });
    vec(step, 0..60)
}
