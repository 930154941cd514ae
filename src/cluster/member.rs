//! A node as operators see it: the words of Akka's cluster, which their scripts know, for what is
//! known of it here.

use super::membership::Standing;
use crate::{bus::NodeRecord, room::Incarnation};

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It has been seen, and is given no shards yet.
    Joining,
    /// It plays its part.
    Up,
    /// It hands its shards over, to stop.
    Leaving,
    /// It has none left; its clients are sent elsewhere.
    Exiting,
    /// It is dead, or was declared down. Its record is removed next.
    Down,
}

impl Status {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "Joining",
            Self::Up => "Up",
            Self::Leaving => "Leaving",
            Self::Exiting => "Exiting",
            Self::Down => "Down",
        }
    }

    /// Of another node. `owns`: whether a shard's record names it.
    pub(super) fn of(standing: Standing, record: &NodeRecord, owns: bool) -> Self {
        match standing {
            Standing::Dead => Self::Down,
            _ if record.draining => Self::stopping(owns),
            Standing::New => Self::Joining,
            Standing::Live => Self::Up,
        }
    }

    /// Of a node that stops.
    pub(super) fn stopping(owns: bool) -> Self {
        match owns {
            true => Self::Leaving,
            false => Self::Exiting,
        }
    }
}

/// A node as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// What it says of itself.
    pub node: NodeRecord,
    /// Where it is in its life.
    pub status: Status,
    /// The nodes that do not hear it, ascending; empty: it is reachable.
    pub observers: Vec<Incarnation>,
}

#[cfg(test)]
pub(crate) mod example {
    //! Members as tests need them.

    use super::*;
    use crate::bus::{FORMATS, Role};
    use uuid::Uuid;

    /// A node with every role, which all others reach.
    pub(crate) fn member(n: u128, port: u16, status: Status) -> Member {
        let node = NodeRecord {
            incarnation: Incarnation::new(Uuid::from_u128(n)),
            name: format!("node-{n}"),
            roles: vec![Role::Gateway, Role::Writer],
            draining: false,
            version: "0".into(),
            commit: "".into(),
            address: format!("127.0.0.1:{port}").into(),
            unreachable: Vec::new(),
            formats: FORMATS,
            keeps: None,
            gone_after_s: None,
        };
        Member {
            node,
            status,
            observers: Vec::new(),
        }
    }
}
