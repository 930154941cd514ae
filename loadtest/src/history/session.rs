//! What one client was told, in its own order.

use super::{Step, Violation, WINDOW};
use std::collections::HashMap;

/// Every event is at the next place.
pub(super) fn dense(client: &str, steps: &[Step], violations: &mut Vec<Violation>) {
    let mut expected = None;
    for step in steps {
        match step {
            Step::Connected { after } => expected = Some(after + 1),
            Step::Reset { seq } => expected = Some(*seq),
            Step::Saw(event) => {
                let next = expected.unwrap_or(event.seq);
                if event.seq != next {
                    violations.push(Violation::NotDense {
                        client: client.to_owned(),
                        expected: next,
                        saw: event.seq,
                    });
                }
                expected = Some(event.seq + 1);
            }
            _ => {}
        }
    }
}

/// `accepted` comes at most once per send, and not after the answer.
pub(super) fn accepted(client: &str, steps: &[Step], violations: &mut Vec<Violation>) {
    // Of this connection, by id: sends without an answer, and how many of them were accepted.
    let mut open: HashMap<&str, (usize, usize)> = HashMap::new();
    for step in steps {
        match step {
            Step::Connected { .. } => open.clear(),
            Step::Sent { id } => open.entry(id).or_default().0 += 1,
            Step::Accepted { id } => match open.get_mut(id.as_str()) {
                Some((sent, accepted)) if *accepted < *sent => *accepted += 1,
                _ => violations.push(Violation::Accepted {
                    client: client.to_owned(),
                    id: id.clone(),
                }),
            },
            Step::Journaled { id, .. }
            | Step::Repeated { id, .. }
            | Step::Rejected { id, .. }
            | Step::Refused { id, .. } => {
                let (sent, accepted) = open.entry(id).or_default();
                (*sent, *accepted) = (sent.saturating_sub(1), accepted.saturating_sub(1));
            }
            _ => {}
        }
    }
}

/// A message keeps its place; sent again after its answer, it is known as what it is.
pub(super) fn remembered(client: &str, steps: &[Step], violations: &mut Vec<Violation>) {
    let mut answers: HashMap<&str, u64> = HashMap::new();
    for step in steps {
        let (id, seq, is_new) = match step {
            Step::Journaled { id, seq } => (id, *seq, true),
            Step::Repeated { id, seq } => (id, *seq, false),
            _ => continue,
        };
        match answers.get(id.as_str()) {
            Some(first) if first.abs_diff(seq) > WINDOW => drop(answers.insert(id, seq)),
            Some(first) if *first != seq || is_new => {
                violations.push(Violation::Forgotten {
                    user: client.to_owned(),
                    id: id.clone(),
                    first: *first,
                    then: seq,
                });
            }
            _ => drop(answers.insert(id, seq)),
        }
    }
}

/// What a client sent once, it is not told to have sent before: a repetition of the service's own
/// is not its.
pub(super) fn repeated(client: &str, steps: &[Step], violations: &mut Vec<Violation>) {
    let mut sent: HashMap<&str, usize> = HashMap::new();
    for step in steps {
        match step {
            Step::Sent { id } => *sent.entry(id).or_default() += 1,
            Step::Repeated { id, .. } if sent.get(id.as_str()) == Some(&1) => {
                violations.push(Violation::FalseDuplicate {
                    user: client.to_owned(),
                    id: id.clone(),
                });
            }
            _ => {}
        }
    }
}
