//! What all clients together saw of the room.

use super::{Event, History, Step, Violation, WINDOW, removed::Gone};
use std::collections::{BTreeMap, HashMap};

/// The room: at each place one event.
pub(super) fn seen<'a>(
    history: &'a History,
    violations: &mut Vec<Violation>,
) -> BTreeMap<u64, &'a Event> {
    let mut room: BTreeMap<u64, &Event> = BTreeMap::new();
    for step in history.clients.values().flatten() {
        let Step::Saw(event) = step else { continue };
        let first = room.entry(event.seq).or_insert(event);
        if !first.agrees(event) {
            violations.push(Violation::Diverged {
                seq: event.seq,
                one: (*first).clone(),
                other: event.clone(),
            });
        }
    }
    room
}

/// Every message is at one place, at the place that was answered, and was sent by somebody. One
/// that was sent again after so many others that it was not known any more may be at another one,
/// too.
pub(super) fn places(
    history: &History,
    room: &BTreeMap<u64, &Event>,
    gone: &Gone<'_>,
    violations: &mut Vec<Violation>,
) {
    let sent: HashMap<&str, HashMap<&str, usize>> = history
        .clients
        .iter()
        .map(|(client, steps)| (client.as_str(), times(steps)))
        .collect();
    let mut places: HashMap<(&str, &str), Vec<u64>> = HashMap::new();
    for event in room.values() {
        let Some(id) = &event.id else { continue };
        let sent = sent
            .get(event.from.as_str())
            .map(|sent| sent.get(id.as_str()).copied().unwrap_or(0));
        if sent == Some(0) {
            violations.push(Violation::Invented {
                event: (*event).clone(),
            });
        }
        let places = places.entry((&event.from, id)).or_default();
        if let Some(other) = places.last().filter(|other| {
            event.seq - **other <= WINDOW || places.len() >= sent.unwrap_or(usize::MAX)
        }) {
            violations.push(Violation::Duplicated {
                user: event.from.clone(),
                id: id.clone(),
                places: (*other, event.seq),
            });
        }
        places.push(event.seq);
    }
    let head = room.keys().next_back().copied().unwrap_or(0);
    for (client, steps) in &history.clients {
        for step in steps {
            let (Step::Journaled { id, seq } | Step::Repeated { id, seq }) = step else {
                continue;
            };
            let there = places.get(&(client.as_str(), id.as_str()));
            // Beyond what anyone saw nothing is known of the place; that it is never seen is a
            // matter of liveness. What was removed meanwhile may never be.
            let is_missed = *seq <= head && !gone.may_be_unseen(*seq);
            if there.is_some_and(|there| !there.contains(seq)) || (there.is_none() && is_missed) {
                violations.push(Violation::Lost {
                    user: client.clone(),
                    id: id.clone(),
                    seq: *seq,
                });
            }
        }
    }
}

/// How often each message was sent.
fn times(steps: &[Step]) -> HashMap<&str, usize> {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for step in steps {
        if let Step::Sent { id } = step {
            *times.entry(id).or_default() += 1;
        }
    }
    times
}

/// Messages that were sent once, through the same connection, keep their order.
pub(super) fn ordered(
    client: &str,
    steps: &[Step],
    room: &BTreeMap<u64, &Event>,
    violations: &mut Vec<Violation>,
) {
    let times = times(steps);
    let places: HashMap<&str, u64> = room
        .values()
        .filter(|event| event.from == client)
        .filter_map(|event| Some((event.id.as_deref()?, event.seq)))
        .collect();
    let mut before: Option<(&str, u64)> = None;
    for step in steps {
        match step {
            Step::Connected { .. } => before = None,
            Step::Sent { id } if times[id.as_str()] == 1 => {
                let Some(place) = places.get(id.as_str()) else {
                    continue;
                };
                if let Some((first, earlier)) = before
                    && *place < earlier
                {
                    violations.push(Violation::Reordered {
                        user: client.to_owned(),
                        first: first.to_owned(),
                        second: id.clone(),
                    });
                }
                before = Some((id, *place));
            }
            _ => {}
        }
    }
}
