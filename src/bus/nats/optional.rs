//! What is said of a stream that does not answer, and of the stores beside the rooms: a cluster does
//! without them, and they take nothing new beyond bounds of their own.

use super::definition::Definition;
use crate::bus::{Error, Store};
use std::sync::Arc;

impl Definition {
    /// What it means that looking at it fails. The login may lack the right to a store that this
    /// version adds.
    pub(super) fn unanswered(&self, error: &Error) -> Arc<str> {
        let name = &self.name;
        match self.store.is_optional() {
            true => format!(
                "stream {name} cannot be used ({error}): give the login that right \
                 (nats/cluster.conf), or see why it has no leader (nats stream info {name})"
            ),
            false => {
                format!("stream {name} does not answer: it has no leader (nats stream info {name})")
            }
        }
        .into()
    }

    /// What to do about a store beside the rooms that holds nearly all that it may.
    pub(super) fn is_nearly_full(&self, bytes: u64, most: u64) -> Option<Arc<str>> {
        let is_full = self.store.is_optional() && most > 0 && bytes >= most / 10 * 9;
        let refused = match self.store {
            Store::Packages => "key packages are refused",
            _ => "welcomes are refused",
        };
        is_full.then(|| {
            let name = &self.name;
            format!(
                "stream {name} holds {bytes} of {most} bytes, and {refused} when it is full: nats \
                 stream edit {name} --max-bytes={}",
                most.saturating_mul(2)
            )
            .into()
        })
    }
}
