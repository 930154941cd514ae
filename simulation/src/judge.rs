//! The verdict on a run: what clients saw against the promises of the protocol, and against what is
//! kept.

use crate::{
    board::{Board, Room},
    cluster::Cluster,
    plan::UNDER_NODES,
    sealed::who,
    talk::content,
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use loadtest::{
    history::{Step, Violation},
    sealed::{Counts, Journaled, Seen, check},
};
use safe_chat::room::{Body, Event, Kind, RoomId, Seq};
use seal::conversation::Outgoing;
use std::collections::{BTreeMap, BTreeSet};

/// What no client may have seen, whatever happens later.
pub(crate) fn safety(board: &Board) -> Vec<String> {
    // Whoever reads what is missing before its owner has written it back is told so.
    let goes_back = board.counted().of(UNDER_NODES) > 0;
    let found = board.rooms(|(name, room)| {
        let is_meant = |found: &Violation| !(goes_back && matches!(found, Violation::Reset { .. }));
        let history = room.history.safety().into_iter().filter(is_meant);
        let history = history.map(|violation| format!("{name}: {violation}"));
        let complaints = room
            .complaints
            .iter()
            .map(|complaint| format!("{name}: {complaint}"));
        history.chain(complaints).collect::<Vec<_>>()
    });
    found.into_iter().flatten().collect()
}

/// What must be so when everything has had its time.
pub(crate) fn liveness(board: &Board) -> Vec<String> {
    let found = board.rooms(|(name, room)| {
        let away = room
            .standing
            .iter()
            .filter(|(_, standing)| !standing.connected)
            .map(|(client, _)| format!("{name}: {client} has no session"));
        let history = room
            .history
            .liveness()
            .into_iter()
            .map(|violation| format!("{name}: {violation}"));
        away.chain(history).collect::<Vec<_>>()
    });
    found.into_iter().flatten().collect()
}

/// What must be so of sealed rooms when everything has had its time: all devices are in, in the
/// same epoch with the same code, have said a last word and read everything; and what they noted
/// all the time fits what is kept.
pub(crate) async fn sealed(board: &Board, cluster: &Cluster, counts: &mut Counts) -> Vec<String> {
    let rooms = board.sealed(|rooms| rooms.keys().cloned().collect::<Vec<_>>());
    let (mut violations, mut counted) = (Vec::new(), Counts::default());
    for name in rooms {
        let room = RoomId::parse(&name).expect("a room of the run");
        let Some((head, _)) = cluster.head(&room).await else {
            violations.push(format!("{name}: its owner does not answer"));
            continue;
        };
        let journal = cluster.events(&room, head).await;
        let journal: Vec<Journaled> = journal.iter().filter_map(read_by_members).collect();
        let found = board.sealed(|rooms| {
            let holders = rooms.entry(name.clone()).or_default();
            let standings: Vec<_> = holders.values().map(|page| &page.standing).collect();
            let first = standings.first().copied().cloned().unwrap_or_default();
            let is_settled = holders.values().all(|page| {
                let one = &page.standing;
                let agrees = (one.epoch, &one.code) == (first.epoch, &first.code);
                let is_there = page.is_connected && page.said && one.is_in && agrees;
                is_there && one.waits_for.is_none() && one.seq == head.0
            });
            let mut found = match is_settled {
                true => Vec::new(),
                false => vec![format!("it does not settle: {standings:?}")],
            };
            let people = holders.keys().filter_map(|name| {
                let user = name.split('/').next()?;
                let number = user.rsplit('-').next()?.parse().ok()?;
                Some((
                    user.to_owned(),
                    who(&room.to_string(), number).identity().public(),
                ))
            });
            let (people, devices) = (people.collect(), holders.iter());
            let devices = devices.map(|(name, page)| (name.clone(), page.notes.clone()));
            let (broken, more) = check(Seen {
                room: &seal::Name::parse(room.as_str()).expect("a valid name"),
                people: &people,
                journal: &journal,
                devices: &devices.collect(),
                is_over: is_settled,
            });
            counted += more;
            // Until all have read everything, what they have not read is not missed.
            if is_settled {
                found.extend(broken);
            }
            found
        });
        let told = found.into_iter().map(|what| format!("{name}: {what}"));
        violations.extend(told);
    }
    *counts = counted;
    violations
}

fn read_by_members(event: &Event) -> Option<Journaled> {
    let Kind::Message { from, body, .. } = &event.kind else {
        return None;
    };
    let content = match body {
        Body::Sealed(bytes) => Outgoing::Sealed(bytes.to_vec()),
        Body::Handshake(bytes) => Outgoing::Handshake(bytes.to_vec()),
        Body::Text(_) | Body::Erased => return None,
    };
    Some(Journaled {
        seq: event.seq.0,
        at: event.at.0,
        from: from.to_string(),
        content,
    })
}

/// What is kept of the rooms against what clients saw and were told, and whether anything is left
/// undone.
pub(crate) async fn kept(board: &Board, cluster: &Cluster) -> Vec<String> {
    let mut violations = Vec::new();
    for name in board.rooms(|(name, _)| name.clone()) {
        let room = RoomId::parse(&name).expect("a room of the run");
        let Some((head, purged)) = cluster.head(&room).await else {
            violations.push(format!("{name}: its owner does not answer"));
            continue;
        };
        let events = cluster.events(&room, head).await;
        let counted = board.counted();
        let lingers = counted.of("LoseTail") + counted.of("PutBack") > 0;
        let found = board.room(&name, |room| {
            against(&events, head, (cluster.keeps(), purged), lingers, room)
        });
        if purged > Seq::ZERO && cluster.remembers(&room, purged).await {
            violations.push(format!(
                "{name}: what was purged at {purged} is still stored"
            ));
        }
        violations.extend(
            found
                .into_iter()
                .map(|violation| format!("{name}: {violation}")),
        );
    }
    violations.extend(
        cluster
            .undecided()
            .await
            .into_iter()
            .map(|(shard, what)| format!("shard {shard} {what}")),
    );
    violations
}

/// `keeps`: how many of the last events stay, if not all; `purged`: nothing before this place does.
/// `lingers`: a visitor may be in the room for good, see [`members`].
fn against(
    events: &[Event],
    head: Seq,
    (keeps, purged): (Option<u64>, Seq),
    lingers: bool,
    room: &Room,
) -> Vec<String> {
    let mut violations = Vec::new();
    let kept: BTreeMap<u64, loadtest::history::Event> = events
        .iter()
        .map(|event| (event.seq.0, shown(event)))
        .collect();
    let least = purged.0.max(1);
    let first = keeps.and(kept.keys().next().copied()).unwrap_or(least);
    let latest = keeps.map_or(1, |keeps| (head.0 + 1).saturating_sub(keeps).max(1));
    let latest = latest.max(least);
    if kept.len() != events.len()
        || !(least..=latest).contains(&first)
        || !kept.keys().copied().eq(first..=head.0)
    {
        violations.push(format!(
            "the journal does not hold {latest} to {head}, each once, and none before {least}: {:?}",
            kept.keys().collect::<Vec<_>>()
        ));
    }
    let saw = room.history.clients.values().flatten().filter_map(|step| {
        if let Step::Saw(event) = step {
            Some(event)
        } else {
            None
        }
    });
    let pages = room.pages.iter().flat_map(|page| &page.events);
    let stays = |event: &&loadtest::history::Event| event.seq >= first;
    for event in saw.chain(pages).filter(stays) {
        if !kept.get(&event.seq).is_some_and(|kept| kept.agrees(event)) {
            violations.push(format!(
                "seq {} was shown as {event:?} and is kept as {:?}",
                event.seq,
                kept.get(&event.seq)
            ));
        }
    }
    let mut places: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for event in kept.values() {
        let Some(id) = &event.id else { continue };
        let said = content(id);
        if event.erased {
            // Whether that is right is looked at below.
        } else if [
            ("text", &event.text),
            ("sealed", &event.sealed),
            ("to", &event.to),
        ]
        .iter()
        .any(|(name, kept)| said[name].as_str() != kept.as_deref())
        {
            violations.push(format!("{id} is not kept as it was sent"));
        }
        if let Some(first) = places.insert((&event.from, id), event.seq) {
            violations.push(format!("{id} is kept at {first} and at {}", event.seq));
        }
    }
    for (client, steps) in &room.history.clients {
        for step in steps {
            if let Step::Journaled { id, seq } | Step::Repeated { id, seq } = step
                && *seq >= first
                && places.get(&(client.as_str(), id.as_str())) != Some(seq)
            {
                violations.push(format!(
                    "{id} was journaled at {seq} and is kept at {:?}",
                    places.get(&(client.as_str(), id.as_str()))
                ));
            }
        }
    }
    violations.extend(erased(&kept, lingers));
    let all_stays = first == 1;
    violations.extend(members(all_stays.then_some(&kept), lingers, room));
    violations
}

/// What an operator had erased is without content, and nothing else is. Where a bus has lost its
/// tail, it may have lost that it was said.
fn erased(kept: &BTreeMap<u64, loadtest::history::Event>, has_lost: bool) -> Vec<String> {
    let mut until: BTreeMap<&str, u64> = BTreeMap::new();
    for event in kept.values().filter(|event| event.kind == "erased") {
        until.insert(&event.from, event.seq);
    }
    let is_message = |kind: &str| ["text", "sealed"].contains(&kind);
    let messages = kept.values().filter(|event| is_message(&event.kind));
    let wrong = messages.filter(|event| {
        let goes = until.get(event.from.as_str());
        let goes = goes.is_some_and(|until| event.seq < *until);
        event.erased != goes && !(has_lost && event.erased)
    });
    let shown = wrong.map(|event| {
        let loadtest::history::Event {
            seq, from, erased, ..
        } = event;
        format!("seq {seq} of {from} is kept with `erased` {erased}")
    });
    shown.collect()
}

/// Everybody has a session in the end, so everybody is a member, by the events, if all are there,
/// and by what members were told. Visitors have left; where a bus has lost its tail, it may have
/// lost that, too, and who does not come back stays (docs/reliability.md, Not covered).
fn members(
    kept: Option<&BTreeMap<u64, loadtest::history::Event>>,
    lingers: bool,
    room: &Room,
) -> Vec<String> {
    let mut violations = Vec::new();
    let mut here: BTreeSet<&str> = BTreeSet::new();
    for event in kept.into_iter().flat_map(BTreeMap::values) {
        let changed = match event.kind.as_str() {
            "joined" => here.insert(&event.from),
            "left" => here.remove(event.from.as_str()),
            _ => true,
        };
        if !changed {
            violations.push(format!(
                "seq {}: {} {} twice",
                event.seq, event.from, event.kind
            ));
        }
    }
    let all: BTreeSet<&str> = room.standing.keys().map(String::as_str).collect();
    let counts = |name: &str| !lingers || !name.starts_with("visitor-");
    here.retain(|name| counts(name));
    if kept.is_some() && here != all {
        violations.push(format!("{all:?} are here, the events say {here:?}"));
    }
    for (client, standing) in &room.standing {
        if !standing
            .members
            .iter()
            .map(String::as_str)
            .filter(|name| counts(name))
            .eq(all.iter().copied())
        {
            violations.push(format!(
                "{client} was told that {:?} are here, not {all:?}",
                standing.members
            ));
        }
    }
    violations
}

/// An event as clients see it, by what is written down of the protocol, not by the code that makes
/// frames.
fn shown(event: &Event) -> loadtest::history::Event {
    let seen = loadtest::history::Event {
        seq: event.seq.0,
        at: event.at.0,
        ..Default::default()
    };
    let (kind, from) = match &event.kind {
        Kind::Joined { user } => ("joined", user.as_str()),
        Kind::Left { user } => ("left", user.as_str()),
        Kind::Unpinned { user, .. } => ("unpinned", user.as_str()),
        Kind::Purged => ("purged", "*"),
        Kind::Erased { user, .. } => ("erased", user.as_str()),
        Kind::Message {
            from,
            body: Body::Erased,
            ..
        } => ("text", from.as_str()),
        Kind::Message {
            from,
            body: Body::Text(_),
            ..
        } => ("text", from.as_str()),
        Kind::Message {
            from,
            body: Body::Sealed(_),
            ..
        } => ("sealed", from.as_str()),
        Kind::Message {
            from,
            body: Body::Handshake(_),
            ..
        } => ("handshake", from.as_str()),
    };
    let seen = loadtest::history::Event {
        kind: kind.into(),
        from: from.to_string(),
        ..seen
    };
    let Kind::Message { to, body, id, .. } = &event.kind else {
        return seen;
    };
    let (text, sealed) = match body {
        Body::Text(text) => (Some(text.to_string()), None),
        Body::Sealed(bytes) => (None, Some(BASE64_URL_SAFE_NO_PAD.encode(bytes))),
        Body::Handshake(_) => (None, None),
        Body::Erased => (Some(String::new()), None),
    };
    let erased = *body == Body::Erased;
    let id = id.as_ref().and_then(|id| id.shown()).map(str::to_owned);
    loadtest::history::Event {
        id,
        to: to.as_ref().map(ToString::to_string),
        text,
        sealed,
        erased,
        ..seen
    }
}
