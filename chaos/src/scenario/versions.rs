//! Two versions of the program in one cluster, under load.

use super::{
    Scenario, fault,
    nodes::UNNOTICED,
    operator::{erase, purge, retain},
    scenario,
};
use crate::fault::{Act, Version, Whom};

/// The cluster begins with the older version. Two of three nodes are upgraded, taken back one by
/// one, and then all are upgraded: so the older one was last to come and last to go, and each owned
/// rooms that the other wrote. Once all are new, newer forms are stored, and nobody goes back. All
/// the time an operator has rooms limited, purged and erased from, through either version.
pub(super) fn upgrade() -> Scenario {
    let to = |at: u64, version, whom| fault(at, None, Act::Install(version, whom));
    scenario(
        "upgrade",
        "nodes of the version before are replaced one by one, taken back, and replaced for good",
        110,
        UNNOTICED,
        vec![
            retain(3, 3, 100),
            to(5, Version::Now, Whom::Node(1)),
            erase(14, 0, 0),
            purge(15, 1),
            retain(16, 2, 100),
            to(18, Version::Now, Whom::Node(2)),
            purge(28, 0),
            erase(30, 1, 1),
            erase(32, 3, 1),
            to(36, Version::Before, Whom::Node(1)),
            purge(45, 2),
            erase(47, 0, 1),
            to(49, Version::Before, Whom::Node(2)),
            erase(60, 2, 0),
            purge(62, 1),
            to(66, Version::Now, Whom::EveryNode),
            erase(100, 1, 2),
            purge(102, 3),
            retain(104, 0, 50),
        ],
    )
}
