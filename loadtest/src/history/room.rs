//! What all clients together saw of the room.

use super::{Event, History, Step, Violation};
use std::collections::{BTreeMap, HashMap, HashSet};

/// The room: at each place one event.
pub(super) fn seen<'a>(history: &'a History, violations: &mut Vec<Violation>) -> BTreeMap<u64, &'a Event> {
    let mut room: BTreeMap<u64, &Event> = BTreeMap::new();
    for step in history.clients.values().flatten() {
        let Step::Saw(event) = step else { continue };
        let first = room.entry(event.seq).or_insert(event);
        if *first != event {
            violations.push(Violation::Diverged { seq: event.seq, one: (*first).clone(), other: event.clone() });
        }
    }
    room
}

/// Every message is at one place, at the place that was answered, and was sent by somebody.
pub(super) fn places(history: &History, room: &BTreeMap<u64, &Event>, violations: &mut Vec<Violation>) {
    let sent = |steps: &'_ [Step]| -> HashSet<String> {
        steps.iter().filter_map(|step| if let Step::Sent { id } = step { Some(id.clone()) } else { None }).collect()
    };
    let sent: HashMap<&str, HashSet<String>> = history.clients.iter().map(|(client, steps)| (client.as_str(), sent(steps))).collect();
    let mut places: HashMap<(&str, &str), u64> = HashMap::new();
    for event in room.values() {
        let Some(id) = &event.id else { continue };
        if let Some(other) = places.insert((&event.from, id), event.seq) {
            violations.push(Violation::Duplicated { user: event.from.clone(), id: id.clone(), places: (other, event.seq) });
        }
        if sent.get(event.from.as_str()).is_some_and(|sent| !sent.contains(id)) {
            violations.push(Violation::Invented { event: (*event).clone() });
        }
    }
    let head = room.keys().next_back().copied().unwrap_or(0);
    for (client, steps) in &history.clients {
        for step in steps {
            let (Step::Journaled { id, seq } | Step::Repeated { id, seq }) = step else { continue };
            let there = places.get(&(client.as_str(), id.as_str()));
            // Beyond what anyone saw nothing is known of the place; that it is never seen is a matter of liveness.
            if there.is_some_and(|there| there != seq) || (there.is_none() && *seq <= head) {
                violations.push(Violation::Lost { user: client.clone(), id: id.clone(), seq: *seq });
            }
        }
    }
}

/// Messages that were sent once, through the same connection, keep their order.
pub(super) fn ordered(client: &str, steps: &[Step], room: &BTreeMap<u64, &Event>, violations: &mut Vec<Violation>) {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for step in steps {
        if let Step::Sent { id } = step {
            *times.entry(id).or_default() += 1;
        }
    }
    let places: HashMap<&str, u64> =
        room.values().filter(|event| event.from == client).filter_map(|event| Some((event.id.as_deref()?, event.seq))).collect();
    let mut before: Option<(&str, u64)> = None;
    for step in steps {
        match step {
            Step::Connected { .. } => before = None,
            Step::Sent { id } if times[id.as_str()] == 1 => {
                let Some(place) = places.get(id.as_str()) else { continue };
                if let Some((first, earlier)) = before
                    && *place < earlier
                {
                    violations.push(Violation::Reordered { user: client.to_owned(), first: first.to_owned(), second: id.clone() });
                }
                before = Some((id, *place));
            }
            _ => {}
        }
    }
}
