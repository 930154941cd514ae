//! What a command means in a state. Deterministic: a command that is read again gets the answer
//! that it got first.

use super::{
    Action, Attempt, Change, Command, DeviceId, Ended, Event, Identity, Incarnation, Kept, Key,
    Kind, Known, Limits, Maker, Millis, Policy, Reason, Rejection, Retention, Sent, Seq, Session,
    SessionId, State, UserId, away::is_full, batch, group::refuse_outside,
};
use std::collections::HashSet;

/// When a client may send again what its session has passed over, in milliseconds.
const NOT_PLACED_RETRY_MS: u64 = 1_000;

/// When another user's content may be erased, in milliseconds.
const ERASING_RETRY_MS: u64 = 60_000;

/// What a command does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What changes without taking a place, in order; before `kinds`.
    pub changes: Vec<Change>,
    /// What takes the next places, in order.
    pub kinds: Vec<Kind>,
    /// What changes with the last of `kinds`, in order: all of them are decided. Without any it waits
    /// for the next event, as `changes` do.
    pub last: Vec<Change>,
    /// What the sender is told once all of it is journaled.
    pub outcome: Outcome,
    /// Which gateways are told that a session of theirs is over.
    pub notices: Vec<Notice>,
}

/// What the sender of a command is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is done; the place is that of its last event, or else the head.
    Done,
    /// It was done before, at this place: the client sends it again.
    Repeated(Seq),
    /// This very attempt was done before, at this place: its gateway submits it again, or a new
    /// owner decides it again.
    Redelivered(Seq),
    /// It is refused, and will be whenever it is decided again.
    Refused(Rejection),
    /// Nothing happens: a batch of the same producer, or a message of the same session, that must
    /// come first is not in the room, because the bus lost it.
    OutOfOrder {
        /// The number of the first that is missing.
        expected: u64,
    },
    /// What became of each message of a batch.
    Batch(Vec<Outcome>),
    /// Nothing happens: it was decided so long ago that the room has forgotten where it is, or
    /// whether it was refused. Its gateway has seen the event, if there is one.
    DuplicateUnknownSeq,
}

/// A gateway is told that its session was replaced by one of the same device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notice {
    /// The node that holds the connection.
    pub gateway: Incarnation,
    /// The session that is over.
    pub session: SessionId,
}

impl Decision {
    pub(super) fn nothing(outcome: Outcome) -> Self {
        Self {
            changes: Vec::new(),
            kinds: Vec::new(),
            last: Vec::new(),
            outcome,
            notices: Vec::new(),
        }
    }

    fn refused(reason: Reason) -> Self {
        Self::nothing(Outcome::Refused(refusal(reason)))
    }
}

impl State {
    /// Applies a decision at the time of its command and returns the events that it makes.
    pub fn apply_decision(&mut self, decision: &Decision, command: &Command) -> Vec<Event> {
        self.begin_anew(&decision.kinds);
        let changes = decision.changes.iter().cloned();
        changes.for_each(|change| self.change(change));
        let mut events = Vec::with_capacity(decision.kinds.len());
        for (index, kind) in decision.kinds.iter().enumerate() {
            let is_last = index + 1 == decision.kinds.len();
            if *kind == Kind::Purged {
                self.leave_names_out();
            }
            let mut changes = self.unjournaled.clone();
            if is_last {
                changes.extend(decision.last.iter().cloned());
            }
            let event = Event {
                seq: self.head.next(),
                at: command.at,
                kind: kind.clone(),
                changes,
            };
            self.evolve(&event);
            events.push(event);
        }
        if events.is_empty() {
            decision
                .last
                .iter()
                .for_each(|last| self.change(last.clone()));
        }
        events
    }
}

/// Decides a command. The state stays as it is; [`State::apply_decision`] applies what was decided.
pub fn decide(state: &State, command: &Command) -> Decision {
    decide_within(state, command, |_, _| Ok(()))
}

/// As [`decide`], where a message of a batch is refused, and only it, when `fits` refuses its event
/// with what changes with it.
pub fn decide_within(
    state: &State,
    command: &Command,
    fits: impl Fn(&Kind, &[Change]) -> Result<(), Rejection>,
) -> Decision {
    decide_knowing(state, command, Known::default(), fits)
}

/// As [`decide_within`], knowing what the record says of the name that the state lacks.
pub fn decide_knowing(
    state: &State,
    command: &Command,
    known: Known<'_>,
    fits: impl Fn(&Kind, &[Change]) -> Result<(), Rejection>,
) -> Decision {
    match &command.action {
        Action::Open {
            session,
            user,
            key,
            identity,
            device,
            gateway,
            policy,
            former,
        } => {
            let whose = (user, device.as_ref(), *gateway);
            let brought = (key, *identity, former.as_ref());
            open(
                state,
                known,
                *session,
                whose,
                brought,
                (*policy, command.at),
            )
        }
        Action::Close { session, gateway } => close(state, *session, *gateway),
        Action::Abandon { gateway } => abandon(state, *gateway, command.at),
        Action::Send { .. } => send(state, known, &command.action, command.at),
        Action::Unpin { user } => unpin(state, known, user, command.at),
        Action::Batch { from, messages } => {
            batch::decide(state, *from, (messages, command.at), fits)
        }
        Action::Retain { own } => retain(state, *own, command.at),
        Action::Purge => purge(state, command.at),
        Action::Erase { user } => erase(state, user, command.at),
    }
}

fn open(
    state: &State,
    known: Known<'_>,
    session: SessionId,
    (user, device, gateway): (&UserId, Option<&DeviceId>, Incarnation),
    (key, identity, former): (&Key, Identity, Option<&Key>),
    (wanted, at): (Option<Policy>, Millis),
) -> Decision {
    let joined = || Kind::Joined { user: user.clone() };
    if let Some(open) = state.sessions.get(session) {
        let is_same = (&open.user, open.device.as_ref(), open.gateway) == (user, device, gateway);
        if !is_same {
            // Somebody else's, who stays in.
            return Decision::refused(Reason::NotMember);
        }
        let mut decision = Decision::nothing(Outcome::Repeated(state.head));
        // The owner died between the `left` and the `joined` of a name that was proven.
        if !state.members.contains(user) {
            decision.kinds.push(joined());
        }
        return decision;
    }
    match state.ended.get(&session) {
        Some(Ended::Closed) => return Decision::refused(Reason::NotMember),
        Some(Ended::Refused(reason)) => return Decision::refused(*reason),
        None => {}
    }
    // The first event makes the room.
    let is_new = state.head == Seq::ZERO && state.policy == Policy::Open;
    let policy = match is_new {
        true => wanted.unwrap_or_default(),
        false => state.policy,
    };
    if wanted.is_some_and(|wanted| wanted != policy) {
        return turn_away(session, Reason::OtherPolicy);
    }
    let (pin, recalled) = state.pin_of(user, known);
    let refused = pin.and_then(|pin| pin.refuses(key, identity));
    let changes_key = refused == Some(Reason::KeyMismatch)
        && pin.is_some_and(|pin| pin.yields_to(identity, former));
    if let Some(reason) = refused.filter(|_| !changes_key) {
        return turn_away(session, reason);
    }
    if let Some(reason) = policy.refuses(key, identity) {
        return turn_away(session, reason);
    }
    // Its owner proves a name that was only claimed so far: the sessions that have only claimed it
    // may be a stranger's, and end.
    let takes_over = !key.is_vouched() && pin.is_some_and(|pin| pin.identity < identity);
    let is_replaced = |other: &Session| device.is_some() && other.device.as_ref() == device;
    let others = state.sessions.of(user).iter();
    let ends: Vec<_> = others
        .filter_map(|id| Some((*id, state.sessions.get(*id)?)))
        .filter(|(_, other)| takes_over || changes_key || is_replaced(other))
        .collect();
    if ends.is_empty() && state.sessions.of(user).len() >= Limits::SESSIONS_PER_USER {
        return turn_away(session, Reason::TooManySessions);
    }

    let is_new_name = pin.is_none() && !key.is_vouched();
    if is_new_name && state.names() >= known.most_names {
        let full = is_full();
        return Decision {
            outcome: Outcome::Refused(full.clone()),
            ..turn_away(session, full.reason)
        };
    }

    let mut decision = Decision::nothing(Outcome::Done);
    decision.changes.extend(recalled);
    if policy != state.policy {
        let maker = (policy == Policy::Sealed).then(|| Maker {
            key: key.clone(),
            at,
        });
        decision.changes.push(Change::PolicySet { policy, maker });
    }
    let pinned = Change::Pinned {
        user: user.clone(),
        key: key.clone(),
        identity,
    };
    let opened = Change::Opened {
        session,
        user: user.clone(),
        device: device.cloned(),
        gateway,
    };
    for (session, old) in ends {
        decision.changes.push(Change::Closed { session });
        if is_replaced(old) {
            decision.notices.push(Notice {
                gateway: old.gateway,
                session,
            });
        }
    }
    let is_member = state.members.contains(user);
    if changes_key {
        // Whatever is left of it by an owner that dies between two of the events, the name is that
        // of the former key, or free, and nobody is in: deciding it again gives the rest.
        let left = is_member.then(|| Kind::Left { user: user.clone() });
        decision.kinds.extend(left);
        decision.kinds.push(Kind::Unpinned {
            user: user.clone(),
            changed: true,
        });
        decision.kinds.push(joined());
        decision.last = vec![pinned, opened];
        return decision;
    }
    if takes_over || is_new_name {
        decision.changes.push(pinned);
    }
    decision.changes.push(opened);
    if is_member && takes_over {
        // Events end the other sessions at once, and show that it may be somebody else now.
        decision.kinds.push(Kind::Left { user: user.clone() });
    }
    if !is_member || takes_over {
        decision.kinds.push(joined());
    }
    decision
}

fn turn_away(session: SessionId, reason: Reason) -> Decision {
    // Only the same command, read again, is answered by it. Older versions cannot read the newer
    // word.
    Decision {
        changes: vec![Change::Refused {
            session,
            reason: reason.known_before(),
        }],
        ..Decision::refused(reason)
    }
}

fn close(state: &State, session: SessionId, by: Option<Incarnation>) -> Decision {
    let mut decision = Decision::nothing(Outcome::Done);
    if state.ended.get(&session).is_some() {
        return decision;
    }
    let open = state.sessions.get(session);
    if open.zip(by).is_some_and(|(open, by)| open.gateway != by) {
        return Decision::refused(Reason::NotMember);
    }
    // Also of a session that was never opened: its opening may still be on the way, and must find
    // it closed.
    decision.changes.push(Change::Closed { session });
    let Some(Session { user, .. }) = state.sessions.get(session) else {
        return decision;
    };
    if state.sessions.of(user) == [session] && state.members.contains(user) {
        decision.kinds.push(Kind::Left { user: user.clone() });
    }
    decision
}

/// The `left` of many users may be spread over several commits, and the owner may die between two
/// of them: then the command is decided again, and finds the members whose sessions are gone but
/// who have not left.
fn abandon(state: &State, gateway: Incarnation, at: Millis) -> Decision {
    let mut decision = Decision::nothing(Outcome::Done);
    let again = state.abandoned.get(&(gateway, at)).is_some();
    let ends = |session: &Session| session.gateway == gateway && !again;
    let mut stay = HashSet::new();
    for (session, described) in state.sessions.iter() {
        if ends(described) {
            decision.changes.push(Change::Closed { session });
        } else {
            stay.insert(&described.user);
        }
    }
    if !again {
        decision.changes.push(Change::Abandoned { gateway, at });
    }
    let gone = state.members.iter().filter(|user| !stay.contains(user));
    decision
        .kinds
        .extend(gone.map(|user| Kind::Left { user: user.clone() }));
    decision
}

fn unpin(state: &State, known: Known<'_>, user: &UserId, at: Millis) -> Decision {
    if state.precedes_unpin(user, at) || state.kept.precedes_purge(at) {
        return Decision::nothing(Outcome::Repeated(state.head));
    }
    let mut decision = Decision::nothing(Outcome::Done);
    decision.changes.extend(state.pin_of(user, known).1);
    let sessions = state.sessions.of(user).iter();
    let closed = sessions.map(|session| Change::Closed { session: *session });
    decision.changes.extend(closed);
    if state.members.contains(user) {
        decision.kinds.push(Kind::Left { user: user.clone() });
    }
    decision.kinds.push(Kind::Unpinned {
        user: user.clone(),
        changed: false,
    });
    decision
}

fn retain(state: &State, own: Option<Retention>, at: Millis) -> Decision {
    let kept = &state.kept;
    if at < kept.said || (kept.own, kept.said) == (own, at) {
        return Decision::nothing(Outcome::Repeated(state.head));
    }
    let changes = vec![Change::RetentionSet { own, at }];
    Decision {
        changes,
        ..Decision::nothing(Outcome::Done)
    }
}

/// Its event says what the room was set to, so that it is that whatever else is left of it.
fn purge(state: &State, at: Millis) -> Decision {
    if state.kept.precedes_purge(at) || state.kept.precedes_all(at) {
        return Decision::nothing(Outcome::Repeated(state.head));
    }
    let mut decision = Decision::nothing(Outcome::Done);
    if state.head == Seq::ZERO {
        return decision; // There is nothing, and it is not made by this.
    }
    let (policy, Kept { own, said, .. }) = (state.policy, state.kept);
    if policy != Policy::Open {
        let maker = state.maker.clone();
        decision.changes.push(Change::PolicySet { policy, maker });
    }
    if said > Millis(0) {
        decision
            .changes
            .push(Change::RetentionSet { own, at: said });
    }
    decision.kinds.push(Kind::Purged);
    decision
}

/// Without an event nothing is known of it: what comes then must not go when it is read again.
fn erase(state: &State, user: &UserId, at: Millis) -> Decision {
    let kept = &state.kept;
    if state.erasures.precedes(user, at) || kept.precedes_purge(at) || kept.precedes_all(at) {
        return Decision::nothing(Outcome::Repeated(state.head));
    }
    let mut decision = Decision::nothing(Outcome::Done);
    if state.head == Seq::ZERO {
        return decision; // There is nothing, and it is not made by this.
    }
    if !state.erasures.takes(user) {
        return Decision::nothing(Outcome::Refused(erases_enough()));
    }
    decision.kinds.push(Kind::Erased {
        user: user.clone(),
        through: state.head,
    });
    decision
}

/// What is being erased is bounded.
fn erases_enough() -> Rejection {
    let message = format!(
        "the room is erasing what {} users said: try again when the first of it is gone",
        Limits::ERASING
    );
    Rejection::retry(Reason::Busy, message, ERASING_RETRY_MS)
}

fn send(state: &State, known: Known<'_>, action: &Action, at: Millis) -> Decision {
    let Action::Send {
        user,
        key,
        identity,
        turn,
        after,
        request,
        id,
        to,
        body,
    } = action
    else {
        unreachable!("only called for a send")
    };
    // Nobody speaks through another user's session.
    let spoken = turn.and_then(|turn| state.sessions.get(turn.session));
    if spoken.is_some_and(|session| session.user != *user) {
        return Decision::refused(Reason::NotMember);
    }
    let attempt = Attempt::of(*turn, *request);
    let whose = spoken.is_none().then_some((key, *identity));
    let is_now = turn.is_none() || spoken.is_some();
    let sent = state.sent((user, id), attempt, (whose, is_now));
    if let Some(Sent { seq, by, .. }) = sent
        && by.is_some()
        && *by == attempt
    {
        return Decision::nothing(Outcome::Redelivered(*seq));
    }
    // The key of a session was checked when it opened.
    let is_post = turn.is_none();
    let (pin, recalled) = match is_post {
        true => state.pin_of(user, known),
        false => (None, None),
    };
    if let Some(reason) = pin.and_then(|pin| pin.refuses(key, *identity)) {
        return Decision::refused(reason);
    }
    let session = turn.and_then(|turn| state.sessions.get(turn.session));
    match (turn, session) {
        (Some(turn), Some(session)) if (1..=session.last).contains(&turn.number) => {
            let outcome = match (session.repeats.get(&turn.number), sent) {
                (Some(seq), _) => Outcome::Repeated(*seq),
                // Stored by an older version, which did not say by which attempt.
                (None, Some(Sent { seq, by: None, .. })) => Outcome::Redelivered(*seq),
                (None, Some(Sent { seq, .. })) => Outcome::Repeated(*seq),
                (None, None) if session.has_skipped(turn.number) => Outcome::Refused(not_placed()),
                (None, None) => Outcome::DuplicateUnknownSeq,
            };
            return Decision::nothing(outcome);
        }
        (Some(_), Some(session)) if *after > session.last => {
            let expected = session.last + 1;
            return Decision::nothing(Outcome::OutOfOrder { expected });
        }
        (Some(turn), Some(_))
            if turn.number > 0
                && let Some(&Sent { seq, .. }) = sent =>
        {
            return Decision {
                changes: vec![Change::DuplicateRecorded { turn: *turn, seq }],
                ..Decision::nothing(Outcome::Repeated(seq))
            };
        }
        _ => {}
    }
    if let Some(&Sent { seq, .. }) = sent {
        return Decision::nothing(Outcome::Repeated(seq));
    }
    // A session id is never used again after its end, so this refusal stays true however late the
    // command is decided again.
    if turn.is_some() && session.is_none() {
        return Decision::refused(Reason::NotMember);
    }
    // It was refused then, and why is forgotten.
    if state.kept.precedes_purge(at) {
        return Decision::nothing(Outcome::Refused(of_before_purge()));
    }
    // What was refused under the key of then stays refused.
    if is_post && !key.is_vouched() && state.precedes_unpin(user, at) {
        return Decision::refused(Reason::KeyMismatch);
    }
    // It is always refused, so that this is true however late it is decided again.
    if state.policy == Policy::Sealed {
        return Decision::nothing(Outcome::Refused(refuse_outside(is_post)));
    }
    let lacks = is_post.then(|| state.policy.refuses(key, *identity));
    if let Some(reason) = lacks.flatten() {
        return Decision::refused(reason);
    }
    if let Err(rejection) = state.takes(user, body, at) {
        return Decision::nothing(Outcome::Refused(rejection));
    }
    let is_new_name = is_post && !key.is_vouched() && pin.is_none();
    if is_new_name && state.names() >= known.most_names {
        return Decision::nothing(Outcome::Refused(is_full()));
    }
    let mut decision = Decision::nothing(Outcome::Done);
    decision.changes.extend(recalled);
    if is_new_name {
        decision.changes.push(Change::Pinned {
            user: user.clone(),
            key: key.clone(),
            identity: Identity::Posted,
        });
    }
    decision.kinds.push(Kind::Message {
        from: user.clone(),
        to: to.clone(),
        body: body.clone(),
        id: Some(id.clone()),
        device: session.and_then(|session| session.device.clone()),
        turn: *turn,
        request: *request,
    });
    decision
}

/// A message that its session has passed over: its refusal was lost on the way, or its event was
/// lost from the journal. It will never be placed under this number.
fn not_placed() -> Rejection {
    Rejection::retry(
        Reason::Unavailable,
        "the message is not in the room, though a later one of this session is: send it again",
        NOT_PLACED_RETRY_MS,
    )
}

/// A message of about the time of a purge. By the bus's clock it came before, so it was decided
/// before; but a clock may have gone back, and then it was not.
fn of_before_purge() -> Rejection {
    let message = "everything of then was removed from the room: send it again";
    Rejection::retry(Reason::Unavailable, message, NOT_PLACED_RETRY_MS)
}

pub(super) fn refusal(reason: Reason) -> Rejection {
    let message = match reason {
        Reason::KeyMismatch => {
            "another key is pinned to this user in this room: bring that one (--key-file FILE at a \
             terminal), or change it by `safe-chat keys change`, so that it signs for the new one \
             (programs: former=KEY), or take another name"
        }
        Reason::ProofRequired => {
            "this room asks for a proof of the key, or this user has proven one in it: prove yours \
             (auth=1, or the header Safe-Chat-Proof), or take another name"
        }
        Reason::OtherPolicy => {
            "the room was made with another policy: leave out policy, or take another room"
        }
        Reason::RateLimited => return is_full(),
        // As it was remembered in the words of before.
        Reason::BadQuery => "the room does not let this in as it was asked for: leave out policy",
        Reason::TooManySessions => {
            "this user has 8 sessions in this room already: close one, or name its device to replace it"
        }
        _ => "this session is not open any more: connect again, then send with the same id",
    };
    Rejection::new(reason, message)
}
