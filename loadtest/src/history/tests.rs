//! Each broken promise is found, and nothing else.

use super::*;

fn saw(seq: u64, from: &str, id: &str) -> Step {
    Step::Saw(Event {
        seq,
        kind: "text".into(),
        from: from.into(),
        id: Some(id.into()),
        text: Some("Hello".into()),
        ..Event::default()
    })
}

fn sent(id: &str) -> Step {
    Step::Sent { id: id.into() }
}

fn journaled(id: &str, seq: u64) -> Step {
    Step::Journaled { id: id.into(), seq }
}

fn connected(after: u64) -> Step {
    Step::Connected { after }
}

fn history(clients: &[(&str, Vec<Step>)]) -> History {
    History {
        clients: clients
            .iter()
            .map(|(name, steps)| ((*name).to_owned(), steps.clone()))
            .collect(),
        ..History::default()
    }
}

#[test]
fn a_history_that_keeps_all_promises_passes() {
    let harry = vec![
        connected(0),
        sent("m1"),
        sent("m2"),
        saw(1, "harry", "m1"),
        journaled("m1", 1),
        saw(2, "harry", "m2"),
        journaled("m2", 2),
    ];
    let charly = vec![connected(1), saw(2, "harry", "m2")];
    let history = history(&[("harry", harry), ("charly", charly)]);
    assert_eq!(history.safety(), []);
    assert_eq!(history.liveness(), []);
}

#[test]
fn each_broken_promise_is_found() {
    let found = |clients: &[(&str, Vec<Step>)]| history(clients).safety();
    let gap = found(&[(
        "harry",
        vec![
            connected(0),
            sent("m1"),
            sent("m3"),
            saw(1, "harry", "m1"),
            saw(3, "harry", "m3"),
        ],
    )]);
    assert!(
        matches!(
            gap[..],
            [Violation::NotDense {
                expected: 2,
                saw: 3,
                ..
            }]
        ),
        "{gap:?}"
    );

    let repeat = found(&[(
        "harry",
        vec![
            connected(0),
            sent("m1"),
            saw(1, "harry", "m1"),
            saw(1, "harry", "m1"),
        ],
    )]);
    assert!(
        matches!(
            repeat[..],
            [Violation::NotDense {
                expected: 2,
                saw: 1,
                ..
            }]
        ),
        "{repeat:?}"
    );

    let steps = |id: &str| vec![connected(0), sent(id), saw(1, "x", id)];
    let diverged = found(&[("harry", steps("m1")), ("charly", steps("m2"))]);
    assert!(
        matches!(diverged[..], [Violation::Diverged { seq: 1, .. }]),
        "{diverged:?}"
    );

    let twice = found(&[(
        "harry",
        vec![
            connected(0),
            sent("m1"),
            saw(1, "harry", "m1"),
            saw(2, "harry", "m1"),
        ],
    )]);
    assert!(
        matches!(twice[..], [Violation::Duplicated { places: (1, 2), .. }]),
        "{twice:?}"
    );

    let lost = found(&[(
        "harry",
        vec![
            connected(0),
            sent("m1"),
            sent("m2"),
            journaled("m1", 1),
            saw(1, "harry", "m2"),
        ],
    )]);
    assert!(
        matches!(lost[..], [Violation::Lost { seq: 1, .. }]),
        "{lost:?}"
    );

    let invented = found(&[("harry", vec![connected(0), saw(1, "harry", "m1")])]);
    assert!(
        matches!(invented[..], [Violation::Invented { .. }]),
        "{invented:?}"
    );

    let order = found(&[(
        "harry",
        vec![
            connected(0),
            sent("m1"),
            sent("m2"),
            saw(1, "harry", "m2"),
            saw(2, "harry", "m1"),
        ],
    )]);
    assert!(
        matches!(order[..], [Violation::Reordered { .. }]),
        "{order:?}"
    );
}

#[test]
fn what_is_missing_in_the_end_is_found() {
    let harry = vec![
        connected(0),
        sent("m1"),
        sent("m2"),
        saw(1, "harry", "m1"),
        journaled("m1", 1),
    ];
    let found = history(&[("harry", harry), ("charly", vec![connected(0)])]).liveness();
    assert!(
        matches!(&found[..], [Violation::Behind { saw: 0, head: 1, .. }, Violation::Unanswered { id, .. }] if id == "m2"),
        "{found:?}"
    );
}

#[test]
fn after_a_reset_the_next_place_is_the_one_that_was_said() {
    let harry = vec![
        connected(0),
        Step::Reset { seq: 7 },
        sent("m7"),
        saw(7, "harry", "m7"),
    ];
    // The reset itself is a complaint, but the place after it is not one more.
    let found = history(&[("harry", harry)]).safety();
    assert!(
        matches!(found[..], [Violation::Reset { seq: 7, .. }]),
        "{found:?}"
    );
}

/// What is known of a message when it is sent again is limited, and was not sent again by itself.
#[test]
fn a_message_may_be_new_again_only_if_it_was_sent_again_after_very_many() {
    let far = |sends: usize, place: u64| {
        let sends = (0..sends).map(|_| sent("m1"));
        let harry = [connected(0)].into_iter().chain(sends).chain([
            saw(1, "harry", "m1"),
            connected(place - 1),
            saw(place, "harry", "m1"),
        ]);
        history(&[(
            "harry",
            harry
                .chain([journaled("m1", 1), journaled("m1", place)])
                .collect(),
        )])
        .safety()
    };
    assert_eq!(far(2, 5000), []);
    assert!(matches!(
        far(1, 5000)[..],
        [Violation::Duplicated {
            places: (1, 5000),
            ..
        }]
    ));
    assert!(matches!(
        far(2, 4097)[..],
        [Violation::Forgotten { .. }, Violation::Duplicated { .. }]
    ));
}

fn joined(seq: u64, from: &str) -> Step {
    Step::Saw(Event {
        seq,
        kind: "joined".into(),
        from: from.into(),
        ..Event::default()
    })
}

fn left(seq: u64, from: &str) -> Step {
    Step::Saw(Event {
        seq,
        kind: "left".into(),
        from: from.into(),
        ..Event::default()
    })
}

fn repeated(id: &str, seq: u64) -> Step {
    Step::Repeated { id: id.into(), seq }
}

fn accepted(id: &str) -> Step {
    Step::Accepted { id: id.into() }
}

fn welcomed(seq: u64, members: &[&str], recovered: bool) -> Step {
    Step::Welcomed {
        seq,
        members: members.iter().map(ToString::to_string).collect(),
        recovered,
    }
}

fn safety(steps: Vec<Step>) -> Vec<Violation> {
    history(&[("harry", steps)]).safety()
}

#[test]
fn a_reset_is_found_once_whether_it_was_announced_or_not() {
    let announced = safety(vec![
        connected(3),
        welcomed(9, &["harry"], false),
        Step::Reset { seq: 10 },
    ]);
    assert!(
        matches!(announced[..], [Violation::Reset { .. }]),
        "{announced:?}"
    );
    let sudden = safety(vec![
        connected(9),
        welcomed(9, &["harry"], true),
        Step::Reset { seq: 10 },
    ]);
    assert!(
        matches!(sudden[..], [Violation::Reset { seq: 10, .. }]),
        "{sudden:?}"
    );
}

#[test]
fn what_was_sent_once_is_no_duplicate() {
    let told = |times: usize| {
        let mut steps = vec![connected(0)];
        steps.extend((0..times).map(|_| sent("m1")));
        steps.extend([saw(1, "harry", "m1"), repeated("m1", 1)]);
        safety(steps)
    };
    assert!(matches!(told(1)[..], [Violation::FalseDuplicate { .. }]));
    assert_eq!(told(2), []);
}

#[test]
fn accepted_is_said_once_and_before_the_answer() {
    assert_eq!(
        safety(vec![
            connected(0),
            sent("m1"),
            accepted("m1"),
            journaled("m1", 1),
            saw(1, "harry", "m1")
        ]),
        []
    );
    let twice = safety(vec![
        connected(0),
        sent("m1"),
        accepted("m1"),
        accepted("m1"),
    ]);
    let late = safety(vec![
        connected(0),
        sent("m1"),
        journaled("m1", 1),
        accepted("m1"),
    ]);
    let of_another_connection =
        safety(vec![connected(0), sent("m1"), connected(0), accepted("m1")]);
    for found in [twice, late, of_another_connection] {
        assert!(
            matches!(found[..], [Violation::Accepted { .. }]),
            "{found:?}"
        );
    }
    // Sent again before the answer: each of the two may be accepted.
    assert_eq!(
        safety(vec![
            connected(0),
            sent("m1"),
            sent("m1"),
            accepted("m1"),
            accepted("m1")
        ]),
        []
    );
}

#[test]
fn a_message_that_is_sent_again_is_known_as_what_it_is() {
    let start = |more: &[Step]| {
        let first = [
            connected(0),
            sent("m1"),
            journaled("m1", 1),
            saw(1, "harry", "m1"),
            sent("m1"),
        ];
        safety(first.into_iter().chain(more.iter().cloned()).collect())
    };
    assert_eq!(start(&[repeated("m1", 1)]), []);
    let as_new = start(&[journaled("m1", 1)]);
    assert!(
        matches!(
            as_new[..],
            [Violation::Forgotten {
                first: 1,
                then: 1,
                ..
            }]
        ),
        "{as_new:?}"
    );
    let elsewhere = start(&[repeated("m1", 2)]);
    assert!(
        elsewhere.iter().any(|it| matches!(
            it,
            Violation::Forgotten {
                first: 1,
                then: 2,
                ..
            }
        )),
        "{elsewhere:?}"
    );
}

#[test]
fn who_is_there_fits_what_was_seen() {
    let begin = [connected(1), welcomed(1, &["harry"], true)];
    let found = |more: Vec<Step>| safety(begin.iter().cloned().chain(more).collect());
    assert_eq!(
        found(vec![
            joined(2, "charly"),
            left(3, "charly"),
            joined(4, "charly")
        ]),
        []
    );
    let wrong = [
        vec![joined(2, "harry")],
        vec![left(2, "charly")],
        vec![saw(2, "charly", "m1")],
        vec![left(2, "harry"), sent("m1"), saw(3, "harry", "m1")],
        vec![
            joined(2, "charly"),
            connected(2),
            welcomed(2, &["harry"], true),
        ],
        vec![connected(1), welcomed(1, &["harry", "charly"], true)],
    ];
    for steps in wrong {
        let found = found(steps.clone());
        assert!(
            matches!(found[..], [Violation::Membership { .. }]),
            "{steps:?}: {found:?}"
        );
    }
}

#[test]
fn what_was_answered_and_seen_by_nobody_is_found_in_the_end() {
    let found =
        history(&[("harry", vec![connected(0), sent("m1"), journaled("m1", 1)])]).liveness();
    assert!(
        matches!(
            found[..],
            [Violation::Behind {
                saw: 0,
                head: 1,
                ..
            }]
        ),
        "{found:?}"
    );
}

fn event(seq: u64, kind: &str, from: &str) -> Step {
    Step::Saw(Event {
        seq,
        kind: kind.into(),
        from: from.into(),
        ..Event::default()
    })
}

fn emptied(seq: u64, from: &str, id: &str) -> Step {
    Step::Saw(Event {
        seq,
        kind: "text".into(),
        from: from.into(),
        id: Some(id.into()),
        erased: true,
        ..Event::default()
    })
}

fn came(seq: u64, recovered: bool) -> Step {
    welcomed(seq, &[], recovered)
}

/// What is wrong when harry says three things, an operator does `removal` at the fourth place, and
/// charly comes with these steps. `ordered`: whether the operator was asked to.
fn after(removal: Removal, is_ordered: bool, charly: Vec<Step>) -> Vec<Violation> {
    let of_operator = match &removal {
        Removal::Purge => event(4, "purged", "*"),
        Removal::Erase(user) => event(4, "erased", user),
        Removal::Keep(_) => saw(4, "harry", "m4"),
    };
    let ids = ["m1", "m2", "m3", "m4"];
    let said = ids.into_iter().map(sent);
    let seen = (1..).zip(&ids[..3]).map(|(seq, id)| saw(seq, "harry", id));
    let mut harry: Vec<Step> = [connected(0)].into_iter().chain(said).collect();
    harry.extend(seen);
    harry.push(of_operator);
    let mut history = history(&[("harry", harry), ("charly", charly)]);
    if is_ordered {
        history.removed.ordered(&removal);
        history.removed.confirmed(removal, 4);
    }
    history.safety()
}

#[test]
fn what_an_operator_removes_explains_that_it_is_gone() {
    let reset = |seq| vec![connected(0), came(4, false), Step::Reset { seq }];
    let purged = event(4, "purged", "*");
    let charly = [reset(4), vec![purged]].concat();
    assert_eq!(after(Removal::Purge, true, charly), []);
    let charly = [reset(3), vec![saw(3, "harry", "m3"), saw(4, "harry", "m4")]].concat();
    assert_eq!(after(Removal::Keep(2), true, charly), []);
    let charly = vec![
        connected(1),
        came(4, true),
        emptied(2, "harry", "m2"),
        emptied(3, "harry", "m3"),
        event(4, "erased", "harry"),
    ];
    assert_eq!(after(Removal::Erase("harry".into()), true, charly), []);
    // What was on its way before is shown as it was.
    let charly = vec![
        connected(1),
        came(3, true),
        saw(2, "harry", "m2"),
        saw(3, "harry", "m3"),
        event(4, "erased", "harry"),
    ];
    assert_eq!(after(Removal::Erase("harry".into()), true, charly), []);
}

#[test]
fn nothing_else_may_be_gone_and_nothing_of_it_is_shown() {
    let reset = |after, seq| vec![connected(after), came(4, false), Step::Reset { seq }];
    // Whoever has all that a purge left, or that is kept, has nothing to forget.
    for removal in [Removal::Purge, Removal::Keep(1)] {
        let found = after(removal, true, reset(3, 4));
        assert!(matches!(found[..], [Violation::Reset { .. }]), "{found:?}");
    }
    let found = after(Removal::Erase("harry".into()), true, reset(1, 4));
    assert!(matches!(found[..], [Violation::Reset { .. }]), "{found:?}");
    // A purge tells nothing of before, and no other words.
    let whole = |first: u64| {
        let all = (first..4).map(|seq| saw(seq, "harry", &format!("m{seq}")));
        let all: Vec<Step> = all.collect();
        [vec![connected(first - 1), came(4, true)], all].concat()
    };
    let found = after(Removal::Purge, true, whole(3));
    assert!(
        matches!(found[..], [Violation::Shown { seq: 3, by: 4, .. }]),
        "{found:?}"
    );
    let found = after(Removal::Erase("harry".into()), true, whole(3));
    assert!(
        matches!(found[..], [Violation::Shown { seq: 3, by: 4, .. }]),
        "{found:?}"
    );
    let found = after(Removal::Erase("charly".into()), true, whole(3));
    assert_eq!(found, []);
}

#[test]
fn whatever_goes_was_to_go() {
    for removal in [Removal::Purge, Removal::Erase("harry".into())] {
        let found = after(removal, false, Vec::new());
        assert!(
            matches!(found[..], [Violation::NotOrdered { .. }]),
            "{found:?}"
        );
    }
    let charly = vec![connected(0), emptied(1, "harry", "m1")];
    let mut other = history(&[("charly", charly)]);
    let found = other.liveness();
    assert!(
        matches!(found[..], [Violation::Emptied { .. }]),
        "{found:?}"
    );
    let harry = Removal::Erase("harry".into());
    other.removed.ordered(&harry);
    other.removed.confirmed(harry, 2);
    assert_eq!(other.liveness(), []);
    // He was told that it is done where something else is.
    let mut lied = history(&[(
        "harry",
        vec![connected(0), sent("m1"), saw(1, "harry", "m1")],
    )]);
    lied.removed.ordered(&Removal::Purge);
    lied.removed.confirmed(Removal::Purge, 1);
    let found = lied.safety();
    assert!(
        matches!(found[..], [Violation::NotDone { .. }]),
        "{found:?}"
    );
}

#[test]
fn a_purge_that_nobody_saw_explains_a_reset_as_long_as_one_was_ordered() {
    // Three events, and what happened while everybody was away.
    let charly = vec![connected(2), came(5, false), Step::Reset { seq: 6 }];
    let mut away = history(&[("charly", charly)]);
    assert_eq!(away.safety().len(), 1);
    away.removed.ordered(&Removal::Purge);
    assert_eq!(away.safety(), []);
    assert_eq!(away.last_purge(), Some(5));
}
