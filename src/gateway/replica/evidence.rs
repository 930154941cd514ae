//! What a commit that is heard says about the events that were taken: whether it contradicts them,
//! or proves nothing of them.

use super::log::Recent;
use crate::{
    bus::Commit,
    room::{Body, Event, Kind, Seq},
};

/// The first place up to `head` at which a commit has another event than was taken. An owner that
/// opens a room publishes again what it cannot see published, so a place that is not kept proves
/// nothing.
pub(super) fn contradiction(kept: &Recent, head: Seq, commit: &Commit) -> Option<Seq> {
    let mut old = commit.events.iter().filter(|event| event.seq <= head);
    let other = old.find(|event| {
        let kept = kept.from(event.seq);
        kept.and_then(|mut kept| kept.next())
            .is_some_and(|kept| !same(kept.event(), event))
    });
    other.map(|event| event.seq)
}

/// Whether a commit repeats places that are not kept, so that nothing tells whether it has the
/// events that were taken.
pub(super) fn is_unproven(kept: &Recent, head: Seq, commit: &Commit) -> bool {
    commit.first() <= head && kept.first().is_none_or(|kept| commit.first() < kept)
}

/// Whether clients see no difference, but that the content of one of them may be erased.
pub(super) fn same(one: &Event, other: &Event) -> bool {
    let is_erased = |event: &Event| {
        let Kind::Message { body, .. } = &event.kind else {
            return false;
        };
        *body == Body::Erased
    };
    if is_erased(one) != is_erased(other) {
        return same(&one.erased(), &other.erased());
    }
    (one.seq, one.at, &one.kind) == (other.seq, other.at, &other.kind)
}
