//! What happens to NATS and Cassandra.

use super::{
    Scenario, Wanted, fault,
    operator::{erase, purge, retain},
    s, scenario,
};
use crate::fault::{Act, Whom};

/// Who uses three servers of each kind upgrades them one by one, and nobody is told.
const UNNOTICED: Wanted = Wanted::Unnoticed(s(10));

pub(super) fn all() -> Vec<Scenario> {
    let kept = |scenario: Scenario| Scenario {
        needs_cassandra: true,
        ..scenario
    };
    vec![
        scenario(
            "nats-leader-kill",
            "kill -9 of the nats-server that leads",
            35,
            Wanted::AfterReturn(s(3)),
            vec![fault(6, Some(11), Act::Kill(Whom::BusLeader))],
        ),
        scenario(
            "nats-leader-stop",
            "SIGSTOP of the nats-server that leads, for 30 s",
            60,
            Wanted::AfterReturn(s(3)),
            vec![fault(6, Some(36), Act::Freeze(Whom::BusLeader))],
        ),
        scenario(
            "all-nats-killed",
            "kill -9 of all nats-servers, started again",
            40,
            Wanted::AfterReturn(s(3)),
            vec![fault(6, Some(10), Act::Kill(Whom::EveryNats))],
        ),
        scenario(
            "disk-full",
            "the streams' limit of disk is reached, for some seconds",
            40,
            Wanted::AfterReturn(s(3)),
            vec![fault(6, Some(20), Act::Fill)],
        ),
        scenario(
            "nats-lame-duck",
            "SIGUSR2 to the nats-server that leads: clients move on, it ends in order",
            65,
            UNNOTICED,
            vec![fault(6, Some(45), Act::LameDuck(Whom::BusLeader))],
        ),
        scenario(
            "nats-upgrade",
            "every nats-server is stopped in order and started again, one after another",
            75,
            UNNOTICED,
            vec![fault(5, None, Act::Roll(Whom::EveryNats))],
        ),
        kept(scenario(
            "cassandra-upgrade",
            "every Cassandra node is stopped in order and started again, one after another",
            200,
            UNNOTICED,
            vec![fault(5, None, Act::Roll(Whom::EveryCassandra))],
        )),
        kept(scenario(
            "cassandra-kill",
            "kill -9 of a Cassandra node",
            60,
            Wanted::AfterReturn(s(3)),
            vec![fault(6, Some(12), Act::Kill(Whom::OneCassandra))],
        )),
        kept(scenario(
            "cassandra-stop",
            "SIGSTOP of a Cassandra node, for 30 s",
            55,
            Wanted::AfterReturn(s(3)),
            vec![fault(6, Some(36), Act::Freeze(Whom::OneCassandra))],
        )),
        kept(scenario(
            "cassandra-down",
            "all Cassandra nodes are down for 60 s",
            130,
            Wanted::AfterReturn(s(3)),
            vec![fault(6, Some(66), Act::Kill(Whom::EveryCassandra))],
        )),
    ]
}

pub(super) fn short_nats() -> Scenario {
    scenario(
        "short-nats",
        "kill -9 of NATS, started again",
        22,
        Wanted::Nothing,
        vec![fault(5, Some(8), Act::Kill(Whom::EveryNats))],
    )
}

pub(super) fn short_cassandra() -> Scenario {
    let faults = vec![
        fault(5, Some(7), Act::Kill(Whom::EveryCassandra)),
        purge(6, 0),
        erase(7, 1, 0),
        retain(8, 2, 50),
    ];
    let scenario = scenario(
        "short-cassandra",
        "kill -9 of Cassandra, started again, and an operator meanwhile",
        30,
        Wanted::Nothing,
        faults,
    );
    Scenario {
        needs_cassandra: true,
        ..scenario
    }
}
