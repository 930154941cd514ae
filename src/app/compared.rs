//! What a journal in Cassandra has, compared with what the bus still has of it.

#[cfg(feature = "cassandra")]
use super::look::{in_cassandra, looking, vacant};
#[cfg(feature = "cassandra")]
use crate::{
    bus::nats::{Survey, survey},
    config::Config,
    journal::{self, differs::differs, dump::Whole, inspect::Differs},
    room::Seq,
};
use crate::{
    bus::{Error as BusError, Feed as _, nats::Nats},
    journal::Hole,
    room::RoomId,
};

/// Messages of the bus that are read at a time.
const MESSAGES: usize = 500;

/// Places before the last one of a room that are looked at when Cassandra is compared with the bus.
#[cfg(feature = "cassandra")]
const COMPARED: u64 = 1000;

/// What Cassandra has of what was published lately.
#[cfg(feature = "cassandra")]
pub(crate) enum Newest {
    /// Nothing could be compared, and why.
    Nothing(String),
    /// All of so many rooms.
    All(usize),
    /// Less than the bus: of which room, and what to do.
    Less(String),
}

/// Compares the newest events of the rooms that were used lately, in Cassandra and on the bus.
#[cfg(feature = "cassandra")]
pub(crate) async fn newest(config: &Config) -> anyhow::Result<Newest> {
    let shards = config.cluster.validate()?;
    let bus = looking(config, shards);
    let stored = match survey(&bus).await? {
        Survey::Cluster(Some(stored)) => stored,
        Survey::Cluster(None) => return Ok(Newest::Nothing(vacant(config))),
        Survey::Nothing(why) => return Ok(Newest::Nothing(why)),
    };
    let bus = Nats::connect(&bus).await?;
    let journal = in_cassandra(config, Some(stored)).await?;
    let (rooms, behind) = ends_before(&*journal, &bus).await?;
    let another = |room: &RoomId, place| Newest::Less(format!("room {room}: {}", Differs(place)));
    if let Some(behind) = behind {
        if let Some(end) = Hole::between(behind.journaled, behind.published.next())
            && let Some(place) = differs(&*journal, &bus, &behind.room, end).await?
        {
            return Ok(another(&behind.room, place));
        }
        return Ok(Newest::Less(behind.to_string()));
    }
    for (room, published) in &rooms {
        match lacks(&*journal, &bus, room, *published).await? {
            Lacks::Another(place) => return Ok(another(room, place)),
            Lacks::These(lacks) if lacks.is_empty() => {}
            Lacks::These(lacks) => {
                let lacks = Hole::list(&lacks);
                return Ok(Newest::Less(format!(
                    "room {room} lacks events {lacks}, which the bus still has: stop all nodes, \
                     run `safe-chat journal recover` with their configuration, and start them again"
                )));
            }
        }
    }
    Ok(match rooms.len() {
        0 => Newest::Nothing("nothing was compared: the bus has no events".into()),
        rooms => Newest::All(rooms),
    })
}

/// What the bus has of the newest places of a room.
#[cfg(feature = "cassandra")]
enum Lacks {
    /// These, which the room lacks.
    These(Vec<Hole>),
    /// At this place, beside what the room lacks, another event.
    Another(Seq),
}

#[cfg(feature = "cassandra")]
async fn lacks(journal: &dyn Whole, bus: &Nats, room: &RoomId, last: Seq) -> anyhow::Result<Lacks> {
    let state = journal.snapshot(room).await?.unwrap_or_default();
    let mut before = Seq(last.0.saturating_sub(COMPARED)).max(Seq(state.kept.first().0 - 1));
    let mut lacks = Vec::new();
    while before < last {
        let page = journal.read(room, before.next(), last).await?;
        let next = page.first().map_or(last.next(), |event| event.seq);
        if let Some(hole) = Hole::between(before, next) {
            if let Some(place) = differs(journal, bus, room, hole).await? {
                return Ok(Lacks::Another(place));
            }
            lacks.extend(still_has(bus, room, hole).await?);
        }
        before = page.last().map_or(last, |event| event.seq);
    }
    Ok(Lacks::These(lacks))
}

/// The rooms that were used lately and how far they were published, and one of which a journal has
/// less, if there is one.
#[cfg(feature = "cassandra")]
pub(super) async fn ends_before(
    journal: &dyn journal::inspect::Inspect,
    bus: &Nats,
) -> anyhow::Result<(Vec<(RoomId, Seq)>, Option<journal::Behind>)> {
    let rooms = bus.newest().await?;
    for (room, published) in &rooms {
        let journaled = journal.end(room).await?.reached;
        if journaled < *published {
            let behind = journal::Behind {
                room: room.clone(),
                journaled,
                published: *published,
            };
            return Ok((rooms, Some(behind)));
        }
    }
    Ok((rooms, None))
}

/// What the bus has of places that a room lacks.
pub(super) async fn still_has(
    bus: &Nats,
    room: &RoomId,
    hole: Hole,
) -> Result<Vec<Hole>, BusError> {
    let mut there: Vec<Hole> = Vec::new();
    let mut next = bus.find(room, hole.first).await?;
    while let Some(from) = next {
        let page = bus.stored(room, from, MESSAGES).await?;
        let last = page.last().filter(|last| last.seq < hole.last);
        next = last.map(|last| last.position.next());
        let events = page.into_iter().flat_map(|message| message.events);
        for seq in events.map(|event| event.seq) {
            match there.last_mut() {
                _ if seq < hole.first || seq > hole.last => {}
                Some(last) if last.last.next() == seq => last.last = seq,
                _ => there.push(Hole {
                    first: seq,
                    last: seq,
                }),
            }
        }
    }
    Ok(there)
}
