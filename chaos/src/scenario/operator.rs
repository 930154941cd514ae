//! What an operator has removed while everybody talks.

use super::{Scenario, Wanted, fault, nodes::UNNOTICED, scenario};
use crate::{
    fault::{Act, Fault, Whom},
    order::Order,
};

pub(super) fn all() -> Vec<Scenario> {
    vec![
        scenario(
            "operator",
            "rooms are limited, purged and erased from while everybody talks",
            45,
            UNNOTICED,
            vec![
                retain(4, 0, 100),
                erase(8, 1, 0),
                purge(12, 2),
                erase(16, 0, 1),
                purge(20, 1),
                erase(24, 2, 1),
                purge(28, 3),
                erase(32, 1, 1),
                retain(34, 3, 50),
                erase(36, 3, 0),
            ],
        ),
        scenario(
            "operator-faults",
            "the same while a room's owner is killed and frozen, NATS is killed, clients come back",
            85,
            Wanted::Nothing,
            vec![
                fault(6, Some(14), Act::Kill(Whom::Owner)),
                purge(6, 0),
                erase(7, 1, 0),
                retain(8, 2, 100),
                fault(22, Some(40), Act::Freeze(Whom::Owner)),
                erase(23, 0, 0),
                purge(24, 1),
                retain(25, 0, 50),
                fault(48, Some(52), Act::Kill(Whom::EveryNats)),
                purge(49, 3),
                erase(50, 2, 1),
                fault(58, Some(76), Act::Resets(0.1)),
                erase(62, 1, 1),
                purge(66, 0),
                erase(70, 3, 0),
            ],
        ),
    ]
}

pub(super) fn retain(at: u64, room: usize, events: u64) -> Fault {
    fault(at, None, Act::Order(Order::Retain { room, events }))
}

pub(super) fn purge(at: u64, room: usize) -> Fault {
    fault(at, None, Act::Order(Order::Purge { room }))
}

pub(super) fn erase(at: u64, room: usize, user: usize) -> Fault {
    fault(at, None, Act::Order(Order::Erase { room, user }))
}
