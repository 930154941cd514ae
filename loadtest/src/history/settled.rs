//! What must be true once everything had time to settle.

use super::{History, Step, Violation};
use std::collections::HashSet;

/// Messages without an answer, and clients that did not see all of the room.
pub(super) fn missing(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    let head = history
        .clients
        .values()
        .flatten()
        .filter_map(known)
        .max()
        .unwrap_or(0);
    for (client, steps) in &history.clients {
        let saw = steps
            .iter()
            .filter_map(|step| match step {
                Step::Saw(event) => Some(event.seq),
                // What is before it is gone, and was said to be.
                Step::Reset { seq } => Some(seq.saturating_sub(1)),
                _ => None,
            })
            .max()
            .unwrap_or(0);
        // Who has no session sees nothing.
        if history.has_session(client) && saw < head {
            violations.push(Violation::Behind {
                client: client.clone(),
                saw,
                head,
            });
        }
        let mut open: HashSet<&String> = HashSet::new();
        for step in steps {
            match step {
                Step::Sent { id } => drop(open.insert(id)),
                Step::Journaled { id, .. }
                | Step::Repeated { id, .. }
                | Step::Rejected { id, .. } => drop(open.remove(id)),
                _ => {}
            }
        }
        let mut open: Vec<&String> = open.into_iter().collect();
        open.sort();
        violations.extend(open.into_iter().map(|id| Violation::Unanswered {
            user: client.clone(),
            id: id.clone(),
        }));
    }
    violations
}

/// A place that the room has, as far as this step tells. A welcome is no such step: who comes last
/// sees its own `joined` in it, and no event.
fn known(step: &Step) -> Option<u64> {
    match step {
        Step::Saw(event) => Some(event.seq),
        Step::Journaled { seq, .. } | Step::Repeated { seq, .. } => Some(*seq),
        _ => None,
    }
}
