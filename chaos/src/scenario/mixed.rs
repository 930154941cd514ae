//! Everything, in an order that a seed gives.

use super::{Scenario, Wanted};
use crate::{
    fault::{Act, Fault, Whom},
    order::Order,
    site::NODES,
};
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use std::time::Duration;

/// From the beginning to the first fault, and from the last one to the end.
const CALM: Duration = Duration::from_secs(15);
/// Of so many faults two have an operator do something meanwhile.
const ORDERS: usize = 5;

/// Faults of everybody, one or two at a time. The same seed gives the same ones.
pub fn mixed(seed: u64, talk: Duration, nats: u16, cassandra: usize) -> Scenario {
    let mut random = SmallRng::seed_from_u64(seed);
    let (mut faults, mut at) = (Vec::new(), CALM);
    loop {
        let act = act(&mut random, nats, cassandra);
        let lasts = Duration::from_millis(random.random_range(
            1_000..match act {
                Act::Freeze(_) | Act::Cut { .. } => 31_000,
                Act::Kill(Whom::Cassandra(_)) => 20_000,
                _ => 10_000,
            },
        ));
        if at + lasts + CALM * 2 > talk {
            break;
        }
        faults.push(Fault {
            at,
            until: Some(at + lasts),
            act,
        });
        // While it goes on, or soon after.
        while random.random_range(0..ORDERS) < 2 {
            faults.push(Fault {
                at: at + random.random_range(Duration::ZERO..lasts + CALM),
                until: None,
                act: Act::Order(order(&mut random)),
            });
        }
        // Every third one begins while the one before is going on.
        let pause = Duration::from_millis(random.random_range(4_000..12_000));
        at += if random.random_range(0..3) == 0 {
            lasts.min(pause)
        } else {
            lasts + pause
        };
    }
    let faults = without_clashes(faults);
    Scenario {
        name: "mixed".to_owned(),
        about: "everything by seed, for --seconds (1200)",
        faults,
        talk,
        wanted: Wanted::Nothing,
        needs_cassandra: false,
    }
}

fn act(random: &mut SmallRng, nats: u16, cassandra: usize) -> Act {
    let node = Whom::Node(random.random_range(1..=NODES));
    let server = Whom::Nats(random.random_range(1..=nats));
    let ring = Whom::Cassandra(random.random_range(1..=cassandra.max(1)) as u16);
    let kinds = if cassandra > 0 { 14 } else { 10 };
    match random.random_range(0..kinds) {
        0 | 1 => Act::Kill(node),
        2 => Act::Freeze(node),
        3 => Act::Stop(node),
        4 | 5 => Act::Kill(server),
        6 => Act::Freeze(server),
        7 => Act::Cut {
            whom: node,
            bus: true,
            journal: cassandra > 0 && random.random_range(0..2) == 0,
        },
        8 => Act::Resets([0.01, 0.05, 0.2][random.random_range(0..3)]),
        9 => Act::Delays(Duration::from_millis(random.random_range(5..50))),
        10 | 11 => Act::Kill(ring),
        12 => Act::Freeze(ring),
        _ => Act::Cut {
            whom: node,
            bus: false,
            journal: true,
        },
    }
}

/// An operator's act, in any of the rooms.
fn order(random: &mut SmallRng) -> Order {
    let (room, user) = (random.random_range(0..64), random.random_range(0..64));
    match random.random_range(0..4) {
        0 => Order::Retain {
            room,
            events: random.random_range(100..5_000),
        },
        1 => Order::Purge { room },
        _ => Order::Erase { room, user },
    }
}

/// What is down cannot be killed again, and the network has one set of rules: of two faults that
/// touch the same at the same time, the first stays.
fn without_clashes(faults: Vec<Fault>) -> Vec<Fault> {
    // A Cassandra needs so long after its start before it can be hurt again.
    const AFTER: Duration = Duration::from_secs(30);
    let mut kept: Vec<Fault> = Vec::new();
    for fault in faults {
        let is_fault = |fault: &Fault| !matches!(fault.act, Act::Order(_));
        let clashes = is_fault(&fault)
            && kept.iter().filter(|it| is_fault(it)).any(|other| {
                let over = other.until.unwrap_or(other.at) + AFTER;
                fault.at < over && touches(&fault.act) == touches(&other.act)
            });
        if !clashes {
            kept.push(fault);
        }
    }
    kept
}

fn touches(act: &Act) -> Option<Whom> {
    match act {
        Act::Kill(whom) | Act::Freeze(whom) | Act::Stop(whom) => Some(*whom),
        _ => None, // the network
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_and_another_one_others() {
        let of = |seed| mixed(seed, Duration::from_secs(1200), 3, 3).faults;
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn twenty_minutes_have_faults_of_every_part() {
        let faults = mixed(1, Duration::from_secs(1200), 3, 3).faults;
        assert!(faults.len() > 30, "{}", faults.len());
        let some =
            |wanted: &dyn Fn(&Act) -> bool| assert!(faults.iter().any(|fault| wanted(&fault.act)));
        some(&|act| matches!(act, Act::Kill(Whom::Node(_))));
        some(&|act| matches!(act, Act::Kill(Whom::Nats(_)) | Act::Freeze(Whom::Nats(_))));
        some(&|act| {
            matches!(
                act,
                Act::Kill(Whom::Cassandra(_)) | Act::Freeze(Whom::Cassandra(_))
            )
        });
        some(&|act| matches!(act, Act::Cut { .. } | Act::Resets(_)));
        some(&|act| matches!(act, Act::Order(Order::Purge { .. })));
        some(&|act| matches!(act, Act::Order(Order::Retain { .. })));
        some(&|act| matches!(act, Act::Order(Order::Erase { .. })));
    }
}
