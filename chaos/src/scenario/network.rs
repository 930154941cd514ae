//! What happens to the network.

use super::{Scenario, Wanted, fault, s, scenario};
use crate::fault::{Act, Whom};
use std::time::Duration;

pub(super) fn all() -> Vec<Scenario> {
    let cut = |bus, journal| {
        vec![fault(
            6,
            Some(36),
            Act::Cut {
                whom: Whom::Owner,
                bus,
                journal,
            },
        )]
    };
    let resets = |name: &str, about, probability| {
        scenario(
            name,
            about,
            45,
            Wanted::Nothing,
            vec![fault(5, Some(35), Act::Resets(probability))],
        )
    };
    let kept = |scenario: Scenario| Scenario {
        needs_cassandra: true,
        ..scenario
    };
    vec![
        scenario(
            "partition-nats",
            "the owner of a room cannot reach NATS for 30 s",
            55,
            Wanted::Within(s(12)),
            cut(true, false),
        ),
        kept(scenario(
            "partition-cassandra",
            "the owner of a room cannot reach Cassandra for 30 s",
            55,
            Wanted::AfterReturn(s(3)),
            cut(false, true),
        )),
        kept(scenario(
            "partition-both",
            "the owner of a room can reach neither for 30 s",
            55,
            Wanted::Within(s(12)),
            cut(true, true),
        )),
        resets(
            "resets-1",
            "1 % of all connections are reset each second",
            0.01,
        ),
        resets(
            "resets-5",
            "5 % of all connections are reset each second",
            0.05,
        ),
        resets(
            "resets-20",
            "20 % of all connections are reset each second",
            0.20,
        ),
        scenario(
            "delays",
            "every byte takes 20 to 40 ms more",
            45,
            Wanted::Nothing,
            vec![fault(5, Some(35), Act::Delays(Duration::from_millis(20)))],
        ),
    ]
}
