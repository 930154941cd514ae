//! What happens to nodes.

use super::{
    Scenario, Wanted, fault,
    operator::{erase, purge, retain},
    s, scenario,
};
use crate::fault::{Act, Whom};
use std::time::Duration;

pub(super) const UNNOTICED: Wanted = Wanted::Unnoticed(Duration::from_millis(500));

pub(super) fn all() -> Vec<Scenario> {
    vec![
        scenario("steady", "nothing happens", 20, Wanted::Nothing, vec![]),
        scenario(
            "owner-kill",
            "kill -9 of the node that writes a room",
            20,
            Wanted::Within(s(2)),
            vec![fault(6, Some(14), Act::Kill(Whom::Owner))],
        ),
        scenario(
            "owner-stop",
            "SIGSTOP of the node that writes a room, for 30 s",
            50,
            Wanted::Within(s(12)),
            vec![fault(6, Some(36), Act::Freeze(Whom::Owner))],
        ),
        scenario(
            "gateway-kill",
            "kill -9 of another node",
            20,
            Wanted::Within(s(2)),
            vec![fault(6, Some(14), Act::Kill(Whom::Gateway))],
        ),
        scenario(
            "gateway-stop",
            "SIGSTOP of another node, for 30 s",
            50,
            Wanted::Within(s(12)),
            vec![fault(6, Some(36), Act::Freeze(Whom::Gateway))],
        ),
        scenario(
            "owner-term",
            "the node that writes a room is asked to stop",
            20,
            UNNOTICED,
            vec![fault(6, Some(13), Act::Stop(Whom::Owner))],
        ),
        scenario(
            "rolling-restart",
            "every node is asked to stop and started again, one after another",
            45,
            UNNOTICED,
            vec![fault(5, None, Act::Roll(Whom::EveryNode))],
        ),
        scenario(
            "node-joins",
            "one more node starts, and stops in order later",
            40,
            UNNOTICED,
            vec![fault(6, Some(25), Act::Join)],
        ),
        scenario(
            "all-nodes-killed",
            "kill -9 of all nodes, started again",
            35,
            Wanted::AfterReturn(s(12)),
            vec![fault(6, Some(9), Act::Kill(Whom::EveryNode))],
        ),
    ]
}

/// The faults of nodes that every change must survive, and what an operator does meanwhile.
pub(super) fn short() -> Scenario {
    scenario(
        "short-nodes",
        "kill -9 and SIGSTOP of a room's owner, kill -9 of a gateway, and an operator meanwhile",
        62,
        Wanted::Nothing,
        vec![
            fault(5, Some(12), Act::Kill(Whom::Owner)),
            purge(6, 0),
            erase(7, 1, 0),
            fault(20, Some(40), Act::Freeze(Whom::Owner)),
            purge(22, 2),
            retain(23, 3, 50),
            fault(48, Some(55), Act::Kill(Whom::Gateway)),
        ],
    )
}
