//! Those whom the owner has let in, sessions and event streams, on their way into a replica:
//! whether what the replica has of the room is what the owner has.

use super::{Extent, Opening, log::Recent};
use crate::room::{Change, Epoch, Seq};
use tokio::sync::oneshot;

/// Openings that wait to be answered; each is of a client that waits.
#[derive(Default)]
pub(super) struct Openings(Vec<Waiting>);

struct Waiting {
    opening: Opening,
    /// The owner was asked since it came.
    asked: bool,
    reply: oneshot::Sender<Extent>,
}

/// Whether something is left to be proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// All that the replica has got so far are answered.
    Done,
    /// Ask the owner whether this is the room still, and try again.
    Wanted,
}

impl Openings {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, opening: Opening, reply: oneshot::Sender<Extent>) {
        self.0.retain(|waiting| !waiting.reply.is_closed());
        self.0.push(Waiting {
            opening,
            asked: false,
            reply,
        });
    }

    /// Answers those that a replica of this head and epoch has, or has asked about.
    pub(super) fn let_in(
        &mut self,
        head: Seq,
        epoch: Epoch,
        recent: &Recent,
        extent: Extent,
    ) -> Proof {
        let mut proof = Proof::Done;
        let reached = self.0.extract_if(.., |waiting| {
            let is_here = waiting.opening.seq <= head;
            if is_here && !waiting.asked && !waiting.opening.is_in(recent, head, epoch) {
                (waiting.asked, proof) = (true, Proof::Wanted);
                return false;
            }
            is_here
        });
        for waiting in reached {
            let _ = waiting.reply.send(extent); // Its client may be gone.
        }
        proof
    }
}

impl Opening {
    /// Whether it is where it should be. One without an event of its own goes with the next one, so
    /// at the head there is nothing of it yet. Of an event stream there is nothing in the room:
    /// what its owner said of the room holds for the replica, unless it is a new owner, which may
    /// have found less than was taken here.
    fn is_in(&self, recent: &Recent, head: Seq, epoch: Epoch) -> bool {
        let Some(session) = self.session else {
            return self.epoch <= epoch;
        };
        let opens = |change: &Change| match change {
            Change::Opened {
                session: opened, ..
            } => *opened == session,
            _ => false,
        };
        let mut from = recent.from(self.seq).into_iter().flatten().take(2);
        from.any(|shared| shared.event().changes.iter().any(opens))
            || (self.seq == head && self.epoch == epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        room::{Event, Incarnation, Kind, Millis, RoomId, SessionId, UserId},
        wire::SharedEvent,
    };
    use uuid::Uuid;

    const HEAD: Seq = Seq(7);

    fn session(n: u128) -> SessionId {
        SessionId::new(Uuid::from_u128(n))
    }

    /// Events up to [`HEAD`]; that at `opens` has the opening of session 1.
    fn recent(first: u64, opens: u64) -> Recent {
        let mut recent = Recent::default();
        let user = UserId::parse("harry").unwrap();
        for seq in first..=HEAD.0 {
            let opened = Change::Opened {
                session: session(1),
                user: user.clone(),
                device: None,
                gateway: Incarnation::new(Uuid::nil()),
            };
            let event = Event {
                seq: Seq(seq),
                at: Millis(1),
                kind: Kind::Joined { user: user.clone() },
                changes: (seq == opens).then_some(opened).into_iter().collect(),
            };
            recent.push(SharedEvent::new(RoomId::parse("aaa").unwrap(), event));
        }
        recent
    }

    #[test]
    fn an_opening_that_is_not_where_it_should_be_is_asked_about_once() {
        use Proof::{Done, Wanted};
        let of = |number| Some(session(number));
        for (what, session, recent, seq, epoch, expected) in [
            ("its event", of(1), recent(1, 5), 5, 3, Done),
            (
                "it goes with the next event",
                of(1),
                recent(1, 6),
                5,
                3,
                Done,
            ),
            ("nothing follows yet", of(1), recent(1, 0), 7, 3, Done),
            ("nothing is kept", of(1), Recent::default(), 7, 3, Done),
            ("another's event", of(1), recent(1, 0), 5, 3, Wanted),
            ("of another place", of(1), recent(1, 3), 5, 3, Wanted),
            ("another owner", of(1), recent(1, 0), 7, 4, Wanted),
            ("an owner of before", of(1), recent(1, 0), 7, 2, Wanted),
            ("not kept any more", of(1), recent(6, 0), 4, 3, Wanted),
            ("a stream", None, recent(1, 0), 5, 3, Done),
            (
                "a stream, an owner of before",
                None,
                recent(1, 0),
                5,
                2,
                Done,
            ),
            ("a stream, another owner", None, recent(1, 0), 5, 4, Wanted),
        ] {
            let (reply, mut answer) = oneshot::channel();
            let mut openings = Openings::default();
            let opening = Opening {
                session,
                seq: Seq(seq),
                epoch: Epoch(epoch),
            };
            openings.push(opening, reply);
            let extent = Extent {
                generation: 1,
                head: HEAD,
                purged: Seq::ZERO,
                oldest: Seq(1),
            };
            let mut let_in = |head| openings.let_in(head, Epoch(3), &recent, extent);
            assert_eq!(let_in(Seq(seq - 1)), Done, "{what}");
            assert!(answer.try_recv().is_err(), "{what}: it is not here yet");
            assert_eq!(let_in(HEAD), expected, "{what}");
            assert_eq!(answer.try_recv().is_ok(), expected == Done, "{what}");
            assert_eq!(let_in(HEAD), Done, "{what}: the owner was asked");
            assert_eq!(answer.try_recv().is_ok(), expected == Wanted, "{what}");
        }
    }
}
