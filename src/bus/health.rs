//! What a node knows of the bus beyond its connections: whether the streams and buckets are as they
//! must be, and whether what they hold is still what was there before. An adapter keeps it up to
//! date; gateway, writer, cluster and `/ready` ask it.

use crate::room::{Reason, Rejection};
use std::{fmt, sync::Arc};
use tokio::sync::watch;

/// The most bytes of a message that an adapter without a bound of its own takes.
const UNBOUNDED: usize = usize::MAX;

/// When a client may send again what does not fit, in milliseconds.
const TOO_LARGE_MS: u64 = 30_000;

/// What a command, or a commit of one event, has around the content of its message, at most: names,
/// ids, keys, headers.
pub const ENVELOPE: usize = 1024;

/// The refusal of a message that the protocol permits and the servers do not take: an operator can
/// mend that, so it is not `too_large`, which is for ever.
pub fn too_large_now() -> Rejection {
    Rejection::retry(
        Reason::Unavailable,
        "the message is larger than the servers are set up for: send it again later",
        TOO_LARGE_MS,
    )
}

/// What a stream or bucket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store {
    /// Commands.
    Commands,
    /// Events: the journal, unless there is another.
    Events,
    /// Heartbeats of nodes.
    Nodes,
    /// Records of shards, and the cluster's settings.
    Shards,
    /// Which node has sessions in which room.
    Marks,
    /// Larger values.
    Blobs,
    /// Key packages.
    Packages,
    /// Welcomes that wait.
    Welcomes,
}

impl Store {
    /// Whether a cluster does without it: one that is from before, or a login with the rights of
    /// before, has none.
    pub fn is_optional(self) -> bool {
        matches!(self, Self::Packages | Self::Welcomes)
    }

    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Commands => "commands",
            Self::Events => "events",
            Self::Nodes => "nodes",
            Self::Shards => "shards",
            Self::Marks => "marks",
            Self::Blobs => "blobs",
            Self::Packages => "packages",
            Self::Welcomes => "welcomes",
        }
    }
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What it concerns; `None`: all of it.
    pub store: Option<Store>,
    /// What differs, on what, and what to do.
    pub why: Arc<str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// How the bus was when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What keeps a node from being ready.
    pub faults: Vec<Fault>,
    /// What works for the most part.
    pub warnings: Vec<Fault>,
    /// The most bytes of one message, with its headers.
    pub largest: usize,
    /// How often the stored events turned out to be others than before: what is kept of them in
    /// memory is void.
    pub rollbacks: u64,
    /// How often notes of sessions may have been lost: whoever made one makes it again.
    pub marks_lost: u64,
    /// How often records of shards may have been lost: whoever has a lease stores it again.
    pub records_lost: u64,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            faults: Vec::new(),
            warnings: Vec::new(),
            largest: UNBOUNDED,
            rollbacks: 0,
            marks_lost: 0,
            records_lost: 0,
        }
    }
}

/// Waits until the health is so; for ever when nobody looks at the bus any more.
pub async fn until(mut health: watch::Receiver<Health>, is_so: impl Fn(&Health) -> bool + Send) {
    if health.wait_for(|now| is_so(now)).await.is_err() {
        std::future::pending().await
    }
}

impl Health {
    /// Why nothing new can be promised to be kept; `None`: it can.
    pub fn refuses_commands(&self) -> Option<&Fault> {
        self.fault_of(&[Store::Commands, Store::Events])
    }

    /// Why no session can be opened; `None`: one can.
    pub fn refuses_sessions(&self) -> Option<&Fault> {
        self.fault_of(&[Store::Commands, Store::Events, Store::Marks])
    }

    fn fault_of(&self, stores: &[Store]) -> Option<&Fault> {
        self.faults
            .iter()
            .find(|fault| fault.store.is_none_or(|store| stores.contains(&store)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::{Commit, ReplyTo, Submission, codec},
        journal::codec::encode_commit,
        room::{
            Action, Body, Change, CommandId, DeviceId, Epoch, Event, Identity, Incarnation, Key,
            Kind, Limits, Millis, RequestId, RoomId, Seq, SessionId, Turn, UserId,
        },
    };

    #[test]
    fn the_longest_names_around_a_message_fit_into_an_envelope() {
        let user = UserId::parse(&"u".repeat(64)).unwrap();
        let key = Key::parse(&"k".repeat(Key::MAX)).unwrap();
        let (session, node) = (SessionId::from_slice(&[7; 16]), [7; 16]);
        let turn = session.map(|session| Turn {
            session,
            number: Limits::NUMBER,
        });
        let request = RequestId::from_slice(&[7; 16]);
        let id = CommandId::Client("i".repeat(CommandId::MAX).into());
        let body = Body::Text("x".repeat(Limits::TEXT).into());
        let reply = Incarnation::from_slice(&node).map(|node| ReplyTo {
            node,
            tag: u64::MAX,
        });
        let command = codec::encode_command(&Submission {
            room: RoomId::parse(&"r".repeat(64)).unwrap(),
            action: Action::Send {
                user: user.clone(),
                key: key.clone(),
                identity: Identity::Claimed,
                turn,
                after: Limits::NUMBER,
                request,
                id: id.clone(),
                to: Some(user.clone()),
                body: body.clone(),
            },
            reply,
        });
        let commit = encode_commit(&Commit {
            epoch: Epoch(Limits::NUMBER),
            events: vec![Event {
                seq: Seq(Limits::NUMBER),
                at: Millis(Limits::NUMBER),
                kind: Kind::Message {
                    from: user.clone(),
                    to: Some(user.clone()),
                    body,
                    id: Some(id),
                    device: DeviceId::parse(&"d".repeat(32)).ok(),
                    turn,
                    request,
                },
                changes: vec![Change::Pinned {
                    user,
                    key,
                    identity: Identity::Proven,
                }],
            }],
        });
        // Five headers, each of a name and a number.
        let headers = 256;
        for (what, bytes) in [
            ("command", command.len()),
            ("commit", commit.len() + headers),
        ] {
            assert!(
                bytes <= Limits::TEXT + ENVELOPE,
                "a {what} of {bytes} bytes"
            );
        }
    }

    #[test]
    fn a_fault_refuses_only_what_it_concerns() {
        let of = |store| Health {
            faults: vec![Fault {
                store,
                why: "it is missing".into(),
            }],
            ..Health::default()
        };
        let refuses = |store| {
            let health = of(store);
            let refused = (health.refuses_commands(), health.refuses_sessions());
            (refused.0.is_some(), refused.1.is_some())
        };
        assert_eq!(refuses(None), (true, true));
        assert_eq!(refuses(Some(Store::Events)), (true, true));
        assert_eq!(refuses(Some(Store::Marks)), (false, true));
        assert_eq!(refuses(Some(Store::Nodes)), (false, false));
        assert_eq!(Health::default().refuses_sessions(), None);
    }
}
