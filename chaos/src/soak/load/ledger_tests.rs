//! Each promise that the ledger checks is found when it is broken.

use super::ledger::{Account, Ledger};
use loadtest::history::{Event, Step};
use tokio::time::Instant;

fn saw(seq: u64, from: &str, id: &str) -> Step {
    Step::Saw(Event {
        seq,
        kind: "text".into(),
        from: from.into(),
        id: Some(id.into()),
        text: Some("x".into()),
        ..Event::default()
    })
}

/// What is broken when harry, who sends m1 and m2, goes through these steps and charly through
/// those.
fn broken(harry: &[Step], charly: &[Step]) -> Vec<String> {
    let ledger = Ledger::default();
    let accounts = ["harry", "charly"].map(|user| Account::new(&ledger, "aaa", user));
    for id in ["m1", "m2"] {
        accounts[0].sends(id, Instant::now());
    }
    for (account, steps) in accounts.iter().zip([harry, charly]) {
        account.step(Instant::now(), &Step::Connected { after: 0 });
        steps
            .iter()
            .for_each(|step| account.step(Instant::now(), step));
    }
    accounts[0].settle();
    ledger.violations()
}

fn journaled(id: &str, seq: u64) -> Step {
    Step::Journaled { id: id.into(), seq }
}

#[test]
fn what_keeps_all_promises_passes() {
    let harry = [
        saw(1, "harry", "m1"),
        journaled("m1", 1),
        journaled("m2", 2),
        saw(2, "harry", "m2"),
    ];
    assert_eq!(
        broken(&harry, &[saw(1, "harry", "m1"), saw(2, "harry", "m2")]),
        [""; 0]
    );
}

#[test]
fn each_broken_promise_is_found() {
    let good = [
        journaled("m1", 1),
        saw(1, "harry", "m1"),
        journaled("m2", 2),
        saw(2, "harry", "m2"),
    ];
    let finds = |harry: &[Step], charly: &[Step], what: &str| {
        let found = broken(harry, charly);
        assert!(
            found.len() == 1 && found[0].contains(what),
            "{what}: {found:?}"
        );
    };
    finds(
        &good,
        &[saw(2, "harry", "m2")],
        "charly in aaa: expected 1 and saw 2",
    );
    finds(
        &good,
        &[saw(1, "harry", "m1"), saw(1, "harry", "m1")],
        "expected 2 and saw 1",
    );
    finds(
        &good,
        &[
            saw(1, "harry", "m1"),
            saw(2, "harry", "m2"),
            saw(3, "harry", "m1"),
        ],
        "m1 of harry is at 1 and at 3",
    );
    finds(
        &good,
        &[saw(1, "sam", "m1")],
        "saw another event at 1 than others",
    );
    finds(
        &good,
        &[Step::Reset { seq: 9 }],
        "was told to forget and go on at 9",
    );
    finds(&good[..2], &[], "harry in aaa: m2 was never answered");
    finds(
        &good[..3],
        &[],
        "m2 was journaled at 2 and never seen there",
    );
    finds(
        &[good[0].clone(), good[1].clone(), saw(2, "harry", "m2")],
        &[],
        "m2 is at 2 and was never answered",
    );
    finds(
        &[
            journaled("m1", 2),
            saw(1, "harry", "m1"),
            good[2].clone(),
            good[3].clone(),
        ],
        &[],
        "m1 was journaled at 2 and is at 1",
    );
    finds(
        &[
            &good[2..3],
            &[
                journaled("m2", 7),
                saw(1, "harry", "m1"),
                journaled("m1", 1),
            ],
            &good[3..],
        ]
        .concat()[..],
        &[],
        "m2 was journaled at 2 and at 7",
    );
}

#[test]
fn what_is_refused_for_good_is_answered() {
    let rejected = Step::Rejected {
        id: "m2".into(),
        reason: "too_large".into(),
    };
    assert_eq!(
        broken(&[journaled("m1", 1), saw(1, "harry", "m1"), rejected], &[]),
        [""; 0]
    );
}
