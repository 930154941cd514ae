//! What a batch means in a state. Its number says whether it is decided at all; then each of its
//! messages is, in their order, as if they had come alone.

use super::{
    Attempt, BatchMessage, Body, Change, CommandId, Decision, Kind, Millis, Outcome, ProducerSeq,
    Reason, Rejection, Sent, Seq, Session, Standing, State, UserId, decide::refusal,
};
use std::collections::HashMap;

/// When what came behind a handshake may be sent again, in milliseconds.
const BUSY_RETRY_MS: u64 = 100;

pub(super) fn decide(
    state: &State,
    from: ProducerSeq,
    (messages, at): (&[BatchMessage], Millis),
    fits: impl Fn(&Kind, &[Change]) -> Result<(), Rejection>,
) -> Decision {
    match state.producers.standing(from) {
        Standing::Next => next(state, from, (messages, at), fits),
        Standing::Duplicate => Decision::nothing(Outcome::Batch(known(state, from, messages))),
        Standing::OutOfOrder { expected } => Decision::nothing(Outcome::OutOfOrder { expected }),
    }
}

/// The batch that follows: its messages take the next places.
fn next(
    state: &State,
    from: ProducerSeq,
    (messages, at): (&[BatchMessage], Millis),
    fits: impl Fn(&Kind, &[Change]) -> Result<(), Rejection>,
) -> Decision {
    let taken = |repeats| Change::BatchTaken { from, repeats };
    let bare = [taken(Vec::new())];
    let mut kinds = Vec::with_capacity(messages.len());
    let mut repeats = Vec::new();
    let mut outcomes = Vec::with_capacity(messages.len());
    // Those that this batch has placed so far.
    let mut placed: HashMap<(&UserId, &CommandId), Seq> = HashMap::new();
    // What follows a handshake would be decided in the group of before.
    let mut has_handshake = false;
    for (message, index) in messages.iter().zip(0..) {
        let here = placed.get(&(&message.user, &message.id)).copied();
        let outcome = match here {
            Some(seq) => Outcome::Repeated(seq),
            None => of_one(state, from, message),
        };
        let outcome = match outcome {
            Outcome::Done => {
                let kind = event(state, message);
                let taken = match has_handshake {
                    true => Err(behind_a_handshake()),
                    false => fits(&kind, &bare)
                        .and_then(|()| state.takes(&message.user, &message.body, at)),
                };
                match taken {
                    Ok(()) => {
                        has_handshake = matches!(message.body, Body::Handshake(_));
                        kinds.push(kind);
                        let seq = Seq(state.head.0 + kinds.len() as u64);
                        placed.insert((&message.user, &message.id), seq);
                        Outcome::Done
                    }
                    Err(rejection) => Outcome::Refused(rejection),
                }
            }
            outcome => outcome,
        };
        if let Outcome::Repeated(seq) = outcome {
            repeats.push((index, seq));
        }
        outcomes.push(outcome);
    }
    // They only spare a question whose answer was lost.
    let mut last = taken(repeats);
    if kinds
        .last()
        .is_some_and(|kind| fits(kind, std::slice::from_ref(&last)).is_err())
    {
        last = taken(Vec::new());
    }
    Decision {
        kinds,
        last: vec![last],
        ..Decision::nothing(Outcome::Batch(outcomes))
    }
}

/// What became of the messages of a batch that was decided before.
fn known(state: &State, from: ProducerSeq, messages: &[BatchMessage]) -> Vec<Outcome> {
    let of_one = |(message, index): (&BatchMessage, u32)| {
        if let Some(seq) = state.producers.repeat(from, index) {
            return Outcome::Repeated(seq);
        }
        match of_one(state, from, message) {
            Outcome::Done => Outcome::DuplicateUnknownSeq,
            outcome => outcome,
        }
    };
    messages.iter().zip(0..).map(of_one).collect()
}

/// What becomes of a message: [`Outcome::Done`] if it is to be placed.
fn of_one(state: &State, from: ProducerSeq, message: &BatchMessage) -> Outcome {
    let attempt = Some(Attempt::Turn(message.turn));
    // The session is of who has the name: it would have ended with that one's key.
    let sent = state.sent((&message.user, &message.id), attempt, (None, true));
    match sent {
        // The owner died between two commits of the batch.
        Some(Sent { seq, by, .. }) if *by == attempt => return Outcome::Redelivered(*seq),
        _ => {}
    }
    // Nobody speaks for another gateway's session.
    let session = state.sessions.get(message.turn.session);
    let is_own = |session: &&Session| {
        session.gateway == from.producer.gateway && session.user == message.user
    };
    let Some(session) = session.filter(is_own) else {
        return Outcome::Refused(refusal(Reason::NotMember));
    };
    match sent {
        // So long ago that the room remembers neither it nor its producer.
        _ if message.turn.number <= session.last => Outcome::DuplicateUnknownSeq,
        Some(Sent { seq, .. }) => Outcome::Repeated(*seq),
        None => Outcome::Done,
    }
}

/// A gateway puts nothing behind a handshake.
fn behind_a_handshake() -> Rejection {
    let message = "a handshake was placed right before it: send it again";
    Rejection::retry(Reason::Busy, message, BUSY_RETRY_MS)
}

fn event(state: &State, message: &BatchMessage) -> Kind {
    let session = state.sessions.get(message.turn.session);
    Kind::Message {
        from: message.user.clone(),
        to: message.to.clone(),
        body: message.body.clone(),
        id: Some(message.id.clone()),
        device: session.and_then(|session| session.device.clone()),
        turn: Some(message.turn),
        request: None,
    }
}
