//! What the sender of a command is told of its outcome. Pure.

use crate::{
    bus::{Answered, MessageOutcome, too_large_now},
    room::{Decision, Epoch, Outcome, Seq},
};

/// The answer to a command of its own; `None`: it gets none.
pub(super) fn answered(outcome: Outcome, epoch: Epoch, head: Seq) -> Option<Answered> {
    let journaled = |seq, duplicate| {
        Some(Answered::Journaled {
            seq,
            epoch,
            duplicate,
        })
    };
    match outcome {
        Outcome::Done => journaled(head, false),
        Outcome::Redelivered(seq) => journaled(seq, false),
        Outcome::Repeated(seq) => journaled(seq, true),
        Outcome::Refused(rejection) => Some(Answered::Rejected(rejection)),
        Outcome::OutOfOrder { .. } | Outcome::Batch(_) | Outcome::DuplicateUnknownSeq => None,
    }
}

/// The answer to a message of a batch; `None`: its event is the answer.
pub(super) fn of_message(outcome: Outcome, epoch: Epoch, head: Seq) -> Option<MessageOutcome> {
    match outcome {
        Outcome::Done => None,
        Outcome::DuplicateUnknownSeq => Some(MessageOutcome::DecidedBy(head)),
        outcome => answered(outcome, epoch, head).map(MessageOutcome::Answered),
    }
}

/// A message that was stored while the servers took larger ones: it would hold up all behind it. It
/// was not placed, so its sender may send it again.
pub(super) fn does_not_fit() -> Decision {
    Decision {
        changes: Vec::new(),
        kinds: Vec::new(),
        last: Vec::new(),
        outcome: Outcome::Refused(too_large_now()),
        notices: Vec::new(),
    }
}
