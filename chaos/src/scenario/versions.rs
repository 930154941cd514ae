//! Two versions of the program in one cluster, under load.

use super::{Scenario, fault, nodes::UNNOTICED, scenario};
use crate::fault::{Act, Version, Whom};

/// The cluster begins with the older version. Two of three nodes are upgraded, taken back one by
/// one, and then all are upgraded: so the older one was last to come and last to go, and each owned
/// rooms that the other wrote. Once all are new, newer forms are stored, and nobody goes back.
pub(super) fn upgrade() -> Scenario {
    let to = |at: u64, version, whom| fault(at, None, Act::Install(version, whom));
    scenario(
        "upgrade",
        "nodes of the version before are replaced one by one, taken back, and replaced for good",
        110,
        UNNOTICED,
        vec![
            to(5, Version::Now, Whom::Node(1)),
            to(18, Version::Now, Whom::Node(2)),
            to(36, Version::Before, Whom::Node(1)),
            to(49, Version::Before, Whom::Node(2)),
            to(66, Version::Now, Whom::EveryNode),
        ],
    )
}
