//! Copies of events on the bus, in the bucket of the snapshots: what stays when the messages that
//! had them go. `copies.<room>.<block>.<page>.0` has those of 64 places, 64 such pages are a block;
//! what does not fit in there lies in parts of its own, under names that the first one says, so
//! that a page is replaced in one step. `copies.<room>.extent` says which places count.

use super::{
    ATTEMPTS, BusError, Error, damaged, page as journaled, reading, revision,
    snapshot::{SMALLEST, part_bytes},
};
use crate::{
    bus::Bus,
    journal::{
        codec::{decode_event, encode_event},
        page::{Page as Whole, begins, joined},
    },
    proto::journal::v1::{Copies, CopiesExtent, CopiesPart, StoredEvent},
    room::{Epoch, Event, RoomId, Seq},
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};

/// Places of a page, and pages of a block. Stored: they never change.
const PLACES: u64 = 64;
const PAGES: u64 = 64;

/// Pages that are read or written at a time: a little more than an answer has.
const AT_ONCE: usize = 9;

/// How often a page is read again that was just replaced.
const READINGS: usize = 3;

/// Who writes a page: greater is newer.
pub(super) type Age = (Epoch, u64);

/// Under what all copies of a room lie.
pub(super) fn all_of(room: &RoomId) -> String {
    format!("copies.{room}")
}

fn block_of(room: &RoomId, block: u64) -> String {
    format!("copies.{room}.{block}")
}

fn page_of(room: &RoomId, page: u64) -> String {
    format!("copies.{room}.{}.{page}", page / PAGES)
}

fn extent_of(room: &RoomId) -> String {
    format!("copies.{room}.extent")
}

/// Under what the other parts of a page lie.
fn parts_of(room: &RoomId, page: u64, (epoch, number): Age) -> String {
    format!("{}.{epoch}-{number}", page_of(room, page))
}

/// The number of the page that has a place (from 1 on): 0, 1, 2 ...
fn page_with(place: Seq) -> u64 {
    place.0.saturating_sub(1) / PLACES
}

fn first_of(page: u64) -> Seq {
    Seq(page * PLACES + 1)
}

/// A page as it is stored.
struct Page {
    age: Age,
    parts: u32,
    events: Vec<StoredEvent>,
}

fn age(part: &CopiesPart) -> Age {
    (Epoch(part.epoch), part.number)
}

fn part(name: &str, value: Bytes) -> Result<CopiesPart, Error> {
    CopiesPart::decode(value).map_err(|error| Error::Damaged(format!("{name}: {error}")))
}

/// Writes copies. Of a page that has others those stay. [`Error::Fenced`]: an owner of a higher
/// epoch has written them.
pub(super) async fn write(
    bus: &dyn Bus,
    room: &RoomId,
    age: Age,
    events: &[Event],
) -> Result<(), Error> {
    let mut pages: BTreeMap<u64, Vec<StoredEvent>> = BTreeMap::new();
    for event in events {
        let page = pages.entry(page_with(event.seq)).or_default();
        page.push(encode_event(event));
    }
    let write = async |(page, events)| write_page(bus, room, age, (page, events)).await;
    stream::iter(pages.into_iter().map(write))
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn write_page(
    bus: &dyn Bus,
    room: &RoomId,
    age: Age,
    (page, events): (u64, Vec<StoredEvent>),
) -> Result<(), Error> {
    let name = format!("{}.0", page_of(room, page));
    let mut size = part_bytes(bus);
    loop {
        let (before, revision) = match read_page(bus, room, page, Through::Leader).await {
            Ok(Some((before, revision))) => (Some(before), revision),
            Ok(None) => (None, 0),
            // It has nothing that could be kept.
            Err(Error::Damaged(_)) => (None, revision(bus, &name).await?),
            Err(error) => return Err(error),
        };
        if let Some(before) = before.as_ref().filter(|before| before.age >= age) {
            return match before.age {
                there if there == age => Ok(()),
                (seen, _) if seen > age.0 => Err(Error::Fenced { seen }),
                _ => Err(Error::Unavailable(format!("{name} was written meanwhile"))),
            };
        }
        let old = before.as_ref().map(|before| (before.age, before.parts));
        let mut all: BTreeMap<u64, StoredEvent> = BTreeMap::new();
        let kept = before.map(|before| before.events).unwrap_or_default();
        all.extend(
            kept.into_iter()
                .chain(events.clone())
                .map(|event| (event.seq, event)),
        );
        let copies = Copies {
            events: all.into_values().collect(),
        };
        let whole: Bytes = copies.encode_to_vec().into();
        let parts = whole.len().div_ceil(size).max(1);
        match put_in_parts(bus, room, (page, &name), (age, revision), &whole, size).await {
            // The servers take less than is known, or the bucket has a limit of its own.
            Err(Error::TooLarge(_)) if size > SMALLEST => {
                size = (size / 2).max(SMALLEST);
                drop_under(bus, &parts_of(room, page, age)).await?;
                continue;
            }
            Err(error) => {
                if parts > 1 && !error.is_transient() {
                    drop_under(bus, &parts_of(room, page, age)).await?;
                }
                return Err(error);
            }
            Ok(()) => {}
        }
        // What is erased may be in them.
        if let Some((old, _)) = old.filter(|(_, parts)| *parts > 1) {
            drop_under(bus, &parts_of(room, page, old)).await?;
        }
        return Ok(());
    }
}

/// The first part last: it replaces the page.
async fn put_in_parts(
    bus: &dyn Bus,
    room: &RoomId,
    (page, name): (u64, &str),
    (age, revision): (Age, u64),
    whole: &Bytes,
    size: usize,
) -> Result<(), Error> {
    let parts = whole.len().div_ceil(size).max(1);
    let others = parts_of(room, page, age);
    for index in (0..parts).rev() {
        let from = index * size;
        let part = CopiesPart {
            epoch: age.0.0,
            number: age.1,
            parts: parts as u32,
            payload: whole.slice(from..whole.len().min(from + size)),
        };
        match index {
            0 => put(bus, name, &part, revision).await?,
            index => put(bus, &format!("{others}.{index}"), &part, 0).await?,
        }
    }
    Ok(())
}

/// Stores a part, unless another one has come instead. Nobody but the owner writes here, so whoever
/// finds another one asks again whether it is that.
async fn put(bus: &dyn Bus, name: &str, wanted: &CopiesPart, expected: u64) -> Result<(), Error> {
    let why = match bus.put(name, wanted.encode_to_vec().into(), expected).await {
        Ok(_) => return Ok(()),
        Err(BusError::Conflict(why) | BusError::Unknown(why)) => why,
        Err(error) => return Err(reading(error)),
    };
    match bus.get(name).await.map_err(reading)? {
        Some((value, _)) if part(name, value.clone())? == *wanted => Ok(()),
        _ => Err(Error::Unavailable(format!("{name} was not stored: {why}"))),
    }
}

async fn drop_under(bus: &dyn Bus, under: &str) -> Result<(), Error> {
    bus.drop_under(under).await.map_err(reading)
}

/// By which way something is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Through {
    /// As owners do.
    Leader,
    /// As whoever reads rooms.
    Near,
}

async fn get(
    bus: &dyn Bus,
    name: &str,
    through: Through,
) -> Result<Option<(CopiesPart, u64)>, Error> {
    let found = match through {
        Through::Leader => bus.get(name).await.map_err(reading)?,
        Through::Near => bus
            .peek(name)
            .await
            .map_err(reading)?
            .map(|value| (value, 0)),
    };
    match found {
        // An operator deleted it.
        Some((value, revision)) if value.is_empty() => Ok(Some((CopiesPart::default(), revision))),
        Some((value, revision)) => Ok(Some((part(name, value)?, revision))),
        None => Ok(None),
    }
}

/// A page with the revision of its first part; `None`: there is none.
async fn read_page(
    bus: &dyn Bus,
    room: &RoomId,
    page: u64,
    through: Through,
) -> Result<Option<(Page, u64)>, Error> {
    let name = format!("{}.0", page_of(room, page));
    for _ in 0..READINGS {
        let Some((first, revision)) = get(bus, &name, through).await? else {
            return Ok(None);
        };
        let mut content = BytesMut::from(&*first.payload);
        let (age, parts) = (age(&first), first.parts);
        let others = parts_of(room, page, age);
        let mut is_whole = true;
        for index in 1..parts {
            match get(bus, &format!("{others}.{index}"), through).await? {
                Some((part, _)) => content.extend_from_slice(&part.payload),
                None => {
                    is_whole = false;
                    break;
                }
            }
        }
        if is_whole {
            let copies = Copies::decode(content.freeze())
                .map_err(|error| Error::Damaged(format!("{name}: {error}")))?;
            let events = copies.events;
            return Ok(Some((Page { age, parts, events }, revision)));
        }
    }
    Err(Error::Unavailable(format!(
        "{name} was replaced while it was read: try again"
    )))
}

/// The events of a page. One that cannot be read has none, whatever else there is: it is a hole, so
/// that the rest of the room can be read.
async fn near(bus: &dyn Bus, room: &RoomId, page: u64) -> Result<Vec<Event>, Error> {
    Ok(sound(bus, room, page).await?.unwrap_or_default())
}

/// The same; `None`: it cannot be read.
async fn sound(bus: &dyn Bus, room: &RoomId, page: u64) -> Result<Option<Vec<Event>>, Error> {
    let found = match read_page(bus, room, page, Through::Near).await {
        Err(Error::Damaged(why)) => {
            damaged::tell(room, page, &why);
            return Ok(None);
        }
        found => found?,
    };
    let stored = found.map(|(page, _)| page.events).unwrap_or_default();
    let mut events = Vec::with_capacity(stored.len());
    for event in stored {
        let seq = event.seq;
        match decode_event(event) {
            Err(Error::Damaged(why)) => tracing::warn!(
                %room, seq, why,
                "the copy of an event cannot be read and is skipped: put it back from a backup"
            ),
            read => events.push(read?),
        }
    }
    Ok(Some(events))
}

/// Which places have copies that count; `None`: none has.
pub(super) async fn extent(bus: &dyn Bus, room: &RoomId) -> Result<Option<(Seq, Seq)>, Error> {
    let name = extent_of(room);
    let value = bus.peek(&name).await.map_err(reading)?;
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let CopiesExtent { first, below } = extent_in(&name, value)?;
    Ok((first < below).then_some((Seq(first.max(1)), Seq(below))))
}

fn extent_in(name: &str, value: Bytes) -> Result<CopiesExtent, Error> {
    CopiesExtent::decode(value).map_err(|error| Error::Damaged(format!("{name}: {error}")))
}

/// Notes from where on copies count, and below which place; neither ever goes back.
async fn note(bus: &dyn Bus, room: &RoomId, first: Seq, below: Seq) -> Result<(), Error> {
    let (name, mut why) = (extent_of(room), String::new());
    for _ in 0..ATTEMPTS {
        let found = bus.get(&name).await.map_err(reading)?;
        let (known, revision) = match found {
            Some((value, revision)) => (extent_in(&name, value)?, revision),
            None => (CopiesExtent::default(), 0),
        };
        let wanted = CopiesExtent {
            first: known.first.max(first.0),
            below: known.below.max(below.0),
        };
        if wanted == known {
            return Ok(());
        }
        match bus
            .put(&name, wanted.encode_to_vec().into(), revision)
            .await
        {
            Ok(_) => return Ok(()),
            Err(BusError::Conflict(reason) | BusError::Unknown(reason)) => why = reason,
            Err(error) => return Err(reading(error)),
        }
    }
    Err(Error::Unavailable(format!(
        "{name} could not be stored in {ATTEMPTS} attempts: {why}"
    )))
}

/// What was read of the journal from `first` to `last`, and the copies that lie before it: a dense
/// page.
pub(super) async fn ahead_of(
    bus: &dyn Bus,
    room: &RoomId,
    (first, last): (Seq, Seq),
    journaled: Vec<Event>,
) -> Result<Vec<Event>, Error> {
    let Some((start, end)) = extent(bus, room).await? else {
        return Ok(journaled);
    };
    let below = begins(&journaled, last).min(end);
    let copies = page(bus, room, first.max(start), below).await?;
    Ok(joined(copies, journaled))
}

/// Copies from the first place at or after `from` that has one, to below `below`, dense.
pub(super) async fn page(
    bus: &dyn Bus,
    room: &RoomId,
    from: Seq,
    below: Seq,
) -> Result<Vec<Event>, Error> {
    let (mut whole, mut next) = (Whole::default(), page_with(from));
    while first_of(next) < below {
        let last = page_with(Seq(below.0 - 1)).min(next + AT_ONCE as u64 - 1);
        let mut pages = stream::iter(next..=last)
            .map(async |page| (page, sound(bus, room, page).await))
            .buffered(AT_ONCE);
        let mut damaged = None;
        while let Some((nth, page)) = pages.next().await {
            let page = page?.unwrap_or_else(|| {
                damaged = Some(nth);
                Vec::new()
            });
            if page.is_empty() && !whole.is_empty() {
                return Ok(whole.into_events());
            }
            for event in page {
                let is_wanted = event.seq >= from && event.seq < below;
                if is_wanted && !whole.add(event) {
                    return Ok(whole.into_events());
                }
            }
        }
        next = match (whole.is_empty(), damaged) {
            (false, _) => last + 1,
            (true, Some(nth)) => nth + 1,
            (true, None) => {
                match listed_from(bus, room, next, page_with(Seq(below.0 - 1))).await? {
                    Some(page) if page > last => page,
                    // A replica that lags behind lacks it, or it has no place in between.
                    Some(page) if near(bus, room, page).await?.is_empty() => {
                        return Err(Error::Unavailable(format!(
                            "page {page} of the copies of room {room} is not there yet: try again"
                        )));
                    }
                    Some(_) => last + 1,
                    None => return Ok(Vec::new()),
                }
            }
        };
    }
    Ok(whole.into_events())
}

/// All copies before the place `below`, for an opening that finds no snapshot.
pub(super) async fn all_before(
    bus: &dyn Bus,
    room: &RoomId,
    below: Seq,
) -> Result<Vec<Event>, Error> {
    let Some((mut from, end)) = extent(bus, room).await? else {
        return Ok(Vec::new());
    };
    let mut all = Vec::new();
    loop {
        let page = page(bus, room, from, below.min(end)).await?;
        let Some(last) = page.last() else {
            return Ok(all);
        };
        from = last.seq.next();
        all.extend(page);
    }
}

/// Of a block, the pages that are there, ascending, and the names of all parts but the first ones.
async fn list(bus: &dyn Bus, room: &RoomId, block: u64) -> Result<(Vec<u64>, Vec<String>), Error> {
    let under = block_of(room, block);
    let (mut pages, mut others) = (Vec::new(), Vec::new());
    for name in bus.names_under(&under).await.map_err(reading)? {
        let of_block = name.strip_prefix(&under).unwrap_or_default();
        match of_block.trim_start_matches('.').split_once('.') {
            Some((page, "0")) => pages.extend(page.parse::<u64>()),
            Some(_) => others.push(name),
            None => {}
        }
    }
    pages.sort_unstable();
    Ok((pages, others))
}

/// The first page from `from` to `last` that is there.
async fn listed_from(
    bus: &dyn Bus,
    room: &RoomId,
    from: u64,
    last: u64,
) -> Result<Option<u64>, Error> {
    for block in from / PAGES..=last / PAGES {
        let (pages, _) = list(bus, room, block).await?;
        let mut pages = pages.into_iter();
        if let Some(page) = pages.find(|page| (from..=last).contains(page)) {
            return Ok(Some(page));
        }
    }
    Ok(None)
}

/// The last place below `below` that has a copy.
pub(super) async fn last_below(
    bus: &dyn Bus,
    room: &RoomId,
    below: Seq,
) -> Result<Option<Seq>, Error> {
    let Some((start, end)) = extent(bus, room).await? else {
        return Ok(None);
    };
    let below = below.min(end);
    if below <= start {
        return Ok(None);
    }
    let (first, last) = (page_with(start), page_with(Seq(below.0 - 1)));
    let last_of = async |page| {
        let events = near(bus, room, page).await?;
        let places = events.iter().map(|event| event.seq);
        Ok::<_, Error>(places.filter(|seq| (start..below).contains(seq)).last())
    };
    if let Some(found) = last_of(last).await? {
        return Ok(Some(found));
    }
    for block in (first / PAGES..=last / PAGES).rev() {
        let (pages, _) = list(bus, room, block).await?;
        for page in pages
            .into_iter()
            .rev()
            .filter(|page| (first..=last).contains(page))
        {
            if let Some(found) = last_of(page).await? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// Whether what is readable from `first` to below `below`, of which `ends` are the first and the
/// last events, has copies of an epoch: they must be in the first and the last page, and all pages
/// between must be there that are no hole. Parts that no page has are removed: an owner left them
/// that died. Then copies count there. [`Error::Unavailable`]: some are missing.
pub(super) async fn complete(
    bus: &dyn Bus,
    room: &RoomId,
    epoch: Epoch,
    below: Seq,
    ends: [&Event; 2],
) -> Result<(), Error> {
    let missing = |what: String| {
        Error::Unavailable(format!(
            "room {room}: {what} has no copy of epoch {epoch}, so what is before {below} stays: \
             copies have to be written again"
        ))
    };
    for end in ends {
        let page = read_page(bus, room, page_with(end.seq), Through::Leader).await?;
        let page = page.filter(|(page, _)| page.age.0 >= epoch);
        let has = |page: &Page| page.events.iter().any(|event| event.seq == end.seq.0);
        if !page.is_some_and(|(page, _)| has(&page)) {
            return Err(missing(format!("event {}", end.seq)));
        }
    }
    let (first, last) = (page_with(ends[0].seq), page_with(ends[1].seq));
    for block in first / PAGES..=last / PAGES {
        let (pages, others) = list(bus, room, block).await?;
        let of_block = (block * PAGES).max(first)..=(block * PAGES + PAGES - 1).min(last);
        for page in of_block.filter(|page| pages.binary_search(page).is_err()) {
            let (from, to) = (first_of(page), Seq(first_of(page).0 + PLACES - 1));
            if !journaled::read(bus, room, from, to).await?.is_empty() {
                return Err(missing(format!("what is from {from} to {to}")));
            }
        }
        remove_strays(bus, room, others).await?;
    }
    note(bus, room, Seq::ZERO, below).await
}

/// Removes those of these parts that are not of the page as it is.
async fn remove_strays(bus: &dyn Bus, room: &RoomId, parts: Vec<String>) -> Result<(), Error> {
    let mut known: BTreeMap<u64, String> = BTreeMap::new();
    let mut removed: BTreeSet<String> = BTreeSet::new();
    for name in parts {
        let mut tokens = name.rsplit('.').skip(2);
        let Some(page) = tokens.next().and_then(|page| page.parse::<u64>().ok()) else {
            continue;
        };
        let under = name.rsplit_once('.').map_or("", |(under, _)| under);
        let counts = match known.get(&page) {
            Some(counts) => counts.clone(),
            None => {
                let there = read_page(bus, room, page, Through::Leader).await?;
                let counts = there.map(|(there, _)| parts_of(room, page, there.age));
                let counts = counts.unwrap_or_default();
                known.insert(page, counts.clone());
                counts
            }
        };
        if counts != under && removed.insert(under.to_owned()) {
            drop_under(bus, under).await?;
        }
    }
    Ok(())
}

/// Removes the copies below a place, in whole pages; those that never came to count are of a pass
/// that is over.
pub(super) async fn drop_below(bus: &dyn Bus, room: &RoomId, below: Seq) -> Result<(), Error> {
    let Some((start, end)) = extent(bus, room).await? else {
        // A login of before may not purge there, and rooms without copies need it not.
        let names = bus.names_under(&all_of(room)).await.map_err(reading)?;
        return match names.is_empty() {
            true => Ok(()),
            false => drop_under(bus, &all_of(room)).await,
        };
    };
    if below <= start {
        return Ok(());
    }
    if below >= end {
        return drop_under(bus, &all_of(room)).await;
    }
    // Nothing is read there any more.
    note(bus, room, below, Seq::ZERO).await?;
    let (first, last) = (page_with(start), page_with(below));
    let blocks = (first / PAGES..last / PAGES).map(|block| block_of(room, block));
    let pages = (last / PAGES * PAGES).max(first)..last;
    let pages = pages.map(|page| page_of(room, page));
    stream::iter(blocks.chain(pages))
        .map(async |under| drop_under(bus, &under).await)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}
