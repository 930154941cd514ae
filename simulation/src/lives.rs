//! The verdict on rooms that go: of each life of a room clients see what they are promised of a
//! room, of an old life nothing in a new one, and in the end nothing is stored. Which life an event
//! is of, its time tells: events of a room are decided in the order of their places.

use crate::{
    board::{Board, Room},
    cluster::{Cluster, Kept},
};
use loadtest::history::{Event, Step};
use safe_chat::room::RoomId;
use std::collections::{BTreeMap, BTreeSet};

/// The events of a room that anybody saw, life by life.
struct Lives {
    /// By time and place: the event, and the life that it is of.
    events: BTreeMap<(u64, u64), (Event, usize)>,
    count: usize,
}

impl Lives {
    /// `may_begin`: how many milliseconds of silence end a life, if anything does.
    fn of(room: &Room, may_begin: Option<u64>, violations: &mut Vec<String>) -> Self {
        let steps = room.history.clients.values().flatten();
        let saw = steps.filter_map(|step| match step {
            Step::Saw(event) => Some(event),
            _ => None,
        });
        let mut events: BTreeMap<(u64, u64), (Event, usize)> = BTreeMap::new();
        for event in saw.chain(room.pages.iter().flat_map(|page| &page.events)) {
            let known = events.entry((event.at, event.seq));
            let (known, _) = known.or_insert_with(|| (event.clone(), 0));
            if !known.agrees(event) {
                violations.push(format!("one place has {known:?} and {event:?}"));
            }
        }
        let (mut life, mut last) = (0, None::<(u64, u64)>);
        for ((at, seq), (event, of)) in &mut events {
            if let Some((before, place)) = last.filter(|(_, place)| seq <= place) {
                life += 1;
                if may_begin.is_none_or(|silence| at.saturating_sub(before) < silence) {
                    violations.push(format!(
                        "{event:?} comes behind place {place}, which was taken at {before}"
                    ));
                }
            }
            last = Some((*at, *seq));
            *of = life;
        }
        let count = last.map_or(0, |_| life + 1);
        Self { events, count }
    }

    fn life(&self, event: &Event) -> usize {
        self.events[&(event.at, event.seq)].1
    }

    /// Who is there after each place of a life, as far as its events were seen from the beginning.
    fn members(&self, life: usize) -> BTreeMap<u64, BTreeSet<&str>> {
        let mut here = BTreeSet::new();
        let mut all = BTreeMap::new();
        let events = self.events.values().filter(|(_, of)| *of == life);
        for ((event, _), place) in events.zip(1..) {
            if event.seq != place {
                break;
            }
            match event.kind.as_str() {
                "joined" => drop(here.insert(event.from.as_str())),
                "left" => drop(here.remove(event.from.as_str())),
                _ => {}
            }
            all.insert(place, here.clone());
        }
        all
    }
}

/// How many milliseconds after its last event a room may go.
fn silence(cluster: &Cluster) -> u64 {
    let passing = cluster.passing();
    passing.map_or(u64::MAX, |passing| passing.after().as_millis() as u64)
}

/// The same where a room may begin anew. In the database places go on.
fn may_begin(cluster: &Cluster) -> Option<u64> {
    (cluster.kept() == Kept::OnBus).then(|| silence(cluster))
}

/// How many lives rooms had, if any goes.
pub(crate) fn counted(board: &Board, cluster: &Cluster) -> u64 {
    if cluster.passing().is_none() {
        return 0;
    }
    let of = |room: &Room| Lives::of(room, may_begin(cluster), &mut Vec::new()).count as u64;
    board.rooms(|(_, room)| of(room)).into_iter().sum()
}

/// What no client may have seen, whatever happens later.
pub(crate) fn safety(board: &Board, cluster: &Cluster) -> Vec<String> {
    let found = board.rooms(|(name, room)| {
        let mut violations = room.complaints.clone();
        let lives = Lives::of(room, may_begin(cluster), &mut violations);
        for (client, steps) in &room.history.clients {
            follow(client, steps, &lives, &mut violations);
            welcomes(client, steps, &lives, &mut violations);
        }
        pages(room, &lives, &mut violations);
        placed_once(&lives, silence(cluster), &mut violations);
        let told = violations.into_iter().map(|what| format!("{name}: {what}"));
        told.collect::<Vec<_>>()
    });
    found.into_iter().flatten().collect()
}

/// A client is shown a life without gap, and is told to forget it before it is shown the next one,
/// unless it connects again: what is behind its last place of a new life it may take for the rest
/// of the old one (docs/adr/0005-growth.md).
fn follow(client: &str, steps: &[Step], lives: &Lives, violations: &mut Vec<String>) {
    let (mut next, mut life, mut may_change, mut must_reset) = (None, 0, true, false);
    for step in steps {
        match step {
            Step::Connected { after } => {
                (next, may_change, must_reset) = (Some(after + 1), true, false);
            }
            Step::Welcomed { recovered, .. } => must_reset = !recovered,
            Step::Reset { seq } => (next, may_change, must_reset) = (Some(*seq), true, false),
            Step::Saw(event) => {
                let of = lives.life(event);
                let is_next = next.is_none_or(|next| next == event.seq);
                if !is_next || must_reset || of < life || (of > life && !may_change) {
                    violations.push(format!(
                        "{client} expects {next:?} of life {life} (to be told otherwise first: \
                         {must_reset}) and sees life {of}: {event:?}"
                    ));
                }
                (next, life, may_change) = (Some(event.seq + 1), of, false);
            }
            _ => {}
        }
    }
}

/// Who is welcomed is told who is there in this life.
fn welcomes(client: &str, steps: &[Step], lives: &Lives, violations: &mut Vec<String>) {
    let all: Vec<_> = (0..lives.count).map(|life| lives.members(life)).collect();
    for (at, step) in steps.iter().enumerate() {
        let Step::Welcomed { seq, members, .. } = step else {
            continue;
        };
        let behind = steps[at + 1..].iter();
        let mut same = behind.take_while(|step| !matches!(step, Step::Connected { .. }));
        let saw = same.find_map(|step| match step {
            Step::Saw(event) => Some(lives.life(event)),
            _ => None,
        });
        let Some(here) = saw.and_then(|life| all[life].get(seq)) else {
            continue;
        };
        if !members.iter().map(String::as_str).eq(here.iter().copied()) {
            violations.push(format!(
                "{client} was welcomed at {seq} with {members:?}, and {here:?} are there"
            ));
        }
    }
}

/// A page is of the life that its client is shown.
fn pages(room: &Room, lives: &Lives, violations: &mut Vec<String>) {
    for page in &room.pages {
        let steps = room.history.clients.get(&page.client);
        let before = steps.into_iter().flat_map(|steps| &steps[..page.steps]);
        let same = before
            .rev()
            .take_while(|step| !matches!(step, Step::Connected { .. } | Step::Reset { .. }));
        let mut saw = same.filter_map(|step| match step {
            Step::Saw(event) => Some(lives.life(event)),
            _ => None,
        });
        let Some(life) = saw.next() else { continue };
        let other = page.events.iter().find(|event| lives.life(event) != life);
        violations.extend(other.map(|event| {
            let of = lives.life(event);
            format!(
                "{} is in life {life} and has a page of life {of}: {event:?}",
                page.client
            )
        }));
    }
}

/// A message has one place, until its room may have gone: in the database as well, where places go
/// on. So many milliseconds of silence say so.
fn placed_once(lives: &Lives, silence: u64, violations: &mut Vec<String>) {
    let mut places: BTreeMap<_, u64> = BTreeMap::new();
    let mut last = 0;
    for (event, _) in lives.events.values() {
        if event.at.saturating_sub(last) >= silence {
            places.clear();
        }
        last = event.at;
        let Some(id) = &event.id else { continue };
        if let Some(first) = places.insert((&event.from, id), event.seq) {
            violations.push(format!("{id} is at {first} and at {}", event.seq));
        }
    }
}

/// What must be so when everything has had its time: nothing is stored.
pub(crate) async fn kept(board: &Board, cluster: &Cluster) -> Vec<String> {
    let mut violations = Vec::new();
    for name in board.rooms(|(name, _)| name.clone()) {
        let room = RoomId::parse(&name).expect("a room of the run");
        if let Some(what) = cluster.what_is_stored(&room).await {
            let standing = board.room(&name, |room| format!("{:?}", room.standing));
            violations.push(format!("{what}; its clients: {standing}"));
        }
    }
    let undecided = cluster.undecided().await.into_iter();
    violations.extend(undecided.map(|(shard, what)| format!("shard {shard} {what}")));
    violations
}
