//! Signed messages that were journaled through this gateway, for as long as their signatures count.
//! A room knows the ids of its last messages only: whoever has recorded a request, and waits until
//! a busy room has forgotten its id, gets the first answer again, and no second message.

use crate::room::{Epoch, Reason, Rejection, Seq};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The most that are remembered: some 40 MB. Beyond it signed messages are refused as busy, for one
/// that is not remembered could be repeated. An address gets as far as a tenth of it, by its
/// limits.
const MOST: usize = 262_144;

/// Which signed request it is: a hash of all that is signed.
pub(super) type Digest = [u8; 32];

/// A request whose signature fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signed {
    pub(super) digest: Digest,
    /// When it was signed, in milliseconds since 1970.
    pub(super) at: u64,
    /// Until when its signature counts, in milliseconds since 1970.
    pub(super) until: u64,
}

/// The signed messages that were journaled.
#[derive(Default)]
pub(super) struct Replays(Mutex<State>);

#[derive(Default)]
struct State {
    journaled: HashMap<Digest, (Seq, Epoch)>,
    /// By the time until which they count.
    order: BTreeSet<(u64, Digest)>,
}

impl Replays {
    /// Where a request was journaled, if it was. Refuses a new one that could not be remembered.
    pub(super) fn first(
        &self,
        signed: &Signed,
        now: u64,
    ) -> Result<Option<(Seq, Epoch)>, Rejection> {
        let mut state = self.state();
        state.trim(now);
        match state.journaled.get(&signed.digest) {
            Some(first) => Ok(Some(*first)),
            None if state.journaled.len() < MOST => Ok(None),
            None => Err(Rejection::retry(
                Reason::Busy,
                "this node remembers as many signed messages as it can: send it again later",
                1_000,
            )),
        }
    }

    /// It was journaled there.
    pub(super) fn keep(&self, signed: Signed, at: (Seq, Epoch)) {
        let mut state = self.state();
        state.journaled.insert(signed.digest, at);
        state.order.insert((signed.until, signed.digest));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops those whose signatures do not count any more.
    fn trim(&mut self, now: u64) {
        while let Some((until, digest)) = self.order.first().copied()
            && until < now
        {
            self.order.pop_first();
            self.journaled.remove(&digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(number: usize, until: u64) -> Signed {
        let mut digest = Digest::default();
        digest[..8].copy_from_slice(&number.to_be_bytes());
        Signed {
            digest,
            at: until,
            until,
        }
    }

    #[test]
    fn what_cannot_be_remembered_is_refused_until_others_count_no_more() {
        let (replays, at) = (Replays::default(), (Seq(7), Epoch(1)));
        for number in 0..MOST {
            replays.keep(signed(number, 1_000), at);
        }
        let found = |number, now| replays.first(&signed(number, 2_000), now);
        assert_eq!(found(0, 1_000).ok(), Some(Some(at)));
        let refused = found(MOST, 1_000).unwrap_err();
        assert_eq!(refused.reason, Reason::Busy);
        assert!(refused.retry_after_ms.is_some());
        assert_eq!(found(MOST, 1_001).ok(), Some(None));
        assert_eq!(
            found(0, 1_001).ok(),
            Some(None),
            "its signature is none now"
        );
        assert!(replays.state().journaled.is_empty() && replays.state().order.is_empty());
    }
}
