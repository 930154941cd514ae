//! Checks a stored room: dense, in order, the epochs never decrease, and the snapshot fits the
//! replay.

use super::{Inspect, Raw, removed};
use crate::{
    journal::{Error, Hole},
    room::{Change, Epoch, Event, Kind, Pin, RoomId, Sent, Seq, State},
};
use std::fmt;

/// The most problems that are told one by one.
const TOLD: usize = 20;

/// What was found in a room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Its last place.
    pub head: Seq,
    /// Each epoch, and the first place that counts under it.
    pub epochs: Vec<(Epoch, Seq)>,
    /// Rows that do not count: of former owners, or written again by a later one.
    pub hidden: u64,
    /// Owners' claims (on the bus).
    pub claims: u64,
    /// Events that are there as copies: what was journaled went when something was erased.
    pub copies: u64,
    /// The head of the newest snapshot.
    pub snapshot: Option<Seq>,
    /// The first place that is there, where what was before it went by the room's retention, or was
    /// purged.
    pub first: Option<Seq>,
    /// What is gone, though later places were given.
    pub holes: Vec<Hole>,
    /// What of it the bus has still, and of what comes behind the end: whoever asks it notes that.
    pub on_bus: Vec<Hole>,
    /// A place at which the bus has another event than this store.
    pub differs: Option<Seq>,
    /// On which journal that is, by what happens to it.
    lost_how: &'static str,
    /// It was removed: nothing is left but how far it went, so that no place is given again.
    pub is_removed: bool,
    /// What is wrong, and how often something more was.
    pub problems: Vec<String>,
    /// Problems that are not among `problems`.
    pub more_problems: u64,
}

impl Report {
    /// Whether nothing at all is stored of it: nobody has ever written it, or its name is misspelt.
    pub fn is_empty(&self) -> bool {
        self.head == Seq::ZERO
            && self.hidden == 0
            && self.claims == 0
            && self.snapshot.is_none()
            && self.is_sound()
    }

    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.verdict().is_none()
    }

    /// What is wrong, in a word for people and scripts, and what that means; `None`: nothing is.
    pub fn verdict(&self) -> Option<(&'static str, String)> {
        let (missing, on_bus) = (Hole::total(&self.holes), Hole::total(&self.on_bus));
        match (self.problems.is_empty(), missing) {
            (false, _) => {
                let what = "is damaged: do not write to it before you know why";
                Some(("DAMAGED", what.to_owned()))
            }
            (true, _) if let Some(place) = self.differs => {
                let what = format!("has another event than the bus at {place}");
                Some(("DIFFERS FROM THE BUS", what))
            }
            (true, _) if on_bus > 0 => {
                let what = format!("lacks {on_bus} events that the bus still has");
                Some(("BEHIND THE BUS", what))
            }
            (true, 0) => None,
            (true, _) => {
                let what = format!("is not complete: {missing} events are gone, and it goes on");
                Some(("HAS HOLES", what))
            }
        }
    }

    fn problem(&mut self, what: String) {
        if self.problems.len() < TOLD {
            self.problems.push(what);
        } else {
            self.more_problems += 1;
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return writeln!(f, "nothing is stored");
        }
        if self.is_removed {
            return writeln!(f, "{}", removed(self.head));
        }
        let verdict = self.verdict().map_or("sound", |(word, _)| word);
        let (hidden, claims) = (self.hidden, self.claims);
        let gone = self.first.map_or(0, |first| first.0.saturating_sub(1));
        let there = self.head.0.saturating_sub(gone + Hole::total(&self.holes));
        writeln!(
            f,
            "{verdict}: {there} events, {hidden} rows that do not count, {claims} claims"
        )?;
        for (epoch, first) in &self.epochs {
            writeln!(f, "epoch {epoch} from event {first} on")?;
        }
        match self.snapshot {
            Some(head) => writeln!(f, "snapshot at event {head}")?,
            None => writeln!(f, "no snapshot")?,
        }
        if let Some(first) = self.first {
            writeln!(
                f,
                "events before {first} went by the room's retention, or were purged: {gone}"
            )?;
        }
        if self.copies > 0 {
            writeln!(
                f,
                "{} events are copies: something that was said before was erased",
                self.copies
            )?;
        }
        for hole in self.holes.iter().take(TOLD) {
            writeln!(f, "hole: events {hole} are gone")?;
        }
        if !self.holes.is_empty() {
            if self.holes.len() > TOLD {
                writeln!(f, "and {} more holes", self.holes.len() - TOLD)?;
            }
            writeln!(
                f,
                "holes: {}. The room goes on without them: readers get `reset` there, pages of \
                 history say `missing`, no place is given again. Only a backup has what neither \
                 this store nor the bus has, and it can be put back while no node runs. \
                 `safe-chat doctor` says what makes the store lose events",
                match self.lost_how {
                    "" => "nothing of these places is stored",
                    how => how,
                }
            )?;
        }
        if !self.on_bus.is_empty() {
            writeln!(
                f,
                "the bus still has events {}: stop all nodes and run `safe-chat journal recover` \
                 before its bounds drop them. What is behind the end, a node that opens the room \
                 writes back as well",
                Hole::list(&self.on_bus)
            )?;
        }
        if let Some(place) = self.differs {
            writeln!(f, "{}", Differs(place))?;
        }
        for problem in &self.problems {
            writeln!(f, "problem: {problem}")?;
        }
        match self.more_problems {
            0 => Ok(()),
            more => writeln!(f, "and {more} more problems"),
        }
    }
}

/// The store and the bus have different events at a place, for people.
pub struct Differs(pub Seq);

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "event {} here is another one than on the bus: they are of two histories of the room. \
             One of them was put back from another time, or from elsewhere. Nodes go on behind \
             both, and write nothing of the bus in here; `safe-chat journal recover` leaves the \
             room as it is. If what the bus has is the right one, put back the backup that it \
             continues",
            self.0
        )
    }
}

/// Reads all of a room and checks it.
pub async fn verify(journal: &dyn Inspect, room: &RoomId) -> Result<Report, Error> {
    let snapshot = journal.snapshot(room).await?;
    let let_go = snapshot.as_ref().map(|snapshot| snapshot.kept.first());
    let mut check = Check {
        report: Report::default(),
        replayed: Some(State::default()),
        snapshot,
        let_go: let_go.unwrap_or(Seq(1)),
        purged: Seq::ZERO,
        reached: Seq::ZERO,
    };
    check.report.snapshot = check.snapshot.as_ref().map(|snapshot| snapshot.head);
    check.compare();
    let mut mark = Some(0);
    while let Some(from) = mark {
        let (raw, next) = journal.raw(room, from).await?;
        raw.into_iter().for_each(|raw| check.see(raw));
        mark = next;
    }
    Ok(check.end())
}

struct Check {
    report: Report,
    /// The state at the report's head; `None`: an event could not be read.
    replayed: Option<State>,
    snapshot: Option<State>,
    /// The first place that is to be there, by the snapshot and by what came behind it: what is
    /// below was let go by the room's retention, or purged.
    let_go: Seq,
    /// The last purge that was read.
    purged: Seq,
    /// How far the room has gone at least.
    reached: Seq,
}

impl Check {
    /// Looks at what is stored next. Of a place the highest epoch comes first.
    fn see(&mut self, raw: Raw) {
        let epoch = self
            .report
            .epochs
            .last()
            .map(|last| last.0)
            .unwrap_or_default();
        let on_bus = raw.position.is_some();
        // A copy is of whoever has erased something, and comes before rows of earlier owners.
        let epoch = if raw.is_copy { raw.epoch } else { epoch };
        self.report.copies += u64::from(raw.is_copy);
        self.report.lost_how = match on_bus {
            true => "messages were deleted or purged, or a limit of the stream dropped them",
            false => {
                "rows were deleted, or Cassandra lost what its commit log had not synced \
                 (commitlog_sync) when it was killed"
            }
        };
        self.reached = self.reached.max(raw.reached);
        if on_bus && raw.epoch < epoch {
            self.report.problem(format!(
                "a message of epoch {} follows one of epoch {epoch}",
                raw.epoch
            ));
        }
        let Some((seq, first, event)) = raw.event else {
            self.report.claims += 1;
            return;
        };
        let head = self.report.head;
        if seq <= head || raw.epoch < epoch {
            self.report.hidden += 1;
            if on_bus {
                self.report.problem(format!(
                    "event {seq} of epoch {} follows event {head} of epoch {epoch}",
                    raw.epoch
                ));
            }
            return;
        }
        if let Some(hole) = Hole::between(head, seq) {
            // Whether it was let go, later events may say.
            self.report.holes.push(hole);
            // What the lost events changed is not known.
            self.replayed = None;
        }
        if first > seq {
            self.report.problem(format!(
                "event {seq} says that its commit begins at {first}"
            ));
        }
        let is_new = raw.epoch > epoch || self.report.epochs.is_empty();
        if is_new && !raw.is_copy {
            self.report.epochs.push((raw.epoch, seq));
        }
        self.report.head = seq;
        match (event, &mut self.replayed) {
            (Ok(event), replayed) => {
                self.let_go = self.let_go.max(starts(&event));
                if event.kind == Kind::Purged {
                    self.purged = event.seq;
                }
                if let Some(state) = replayed {
                    state.evolve(&event);
                }
            }
            (Err(error), _) => {
                self.report.problem(error.to_string());
                self.replayed = None;
            }
        }
        self.compare();
    }

    /// All was seen.
    fn end(mut self) -> Report {
        let reached = self.report.snapshot.unwrap_or_default().max(self.reached);
        // What retention lets go is in a snapshot before that: what is in none is missing, with the
        // keys and ids that it had. A purge ends those.
        let saved = self.snapshot.as_ref().map(|saved| saved.head.next());
        let let_go = saved.map_or(self.let_go, |saved| self.let_go.min(saved));
        let let_go = let_go.max(self.purged);
        let head = self.report.head;
        let is_gone = self.snapshot.as_ref().is_some_and(State::is_gone);
        let is_left = head == Seq::ZERO && reached > head;
        self.report.is_removed = is_gone && is_left && self.report.is_sound();
        let last = Hole::between(head, reached.next()).filter(|_| !self.report.is_removed);
        self.report.head = head.max(reached);
        let missing = std::mem::take(&mut self.report.holes)
            .into_iter()
            .chain(last);
        let (gone, holes): (Vec<_>, Vec<_>) = missing.partition(|hole| hole.first < let_go);
        // What is left of one that began below.
        let left = gone.last().and_then(|hole| hole.behind(Seq(let_go.0 - 1)));
        self.report.first = gone.last().map(|hole| hole.last.next().min(let_go));
        self.report.holes = left.into_iter().chain(holes).collect();
        self.report
    }

    /// Compares the snapshot once its head is reached: its changes without a place are in no event
    /// yet.
    fn compare(&mut self) {
        let (Some(snapshot), Some(replayed)) = (&self.snapshot, &self.replayed) else {
            return;
        };
        if snapshot.head != replayed.head {
            return;
        }
        let differs = contradictions(replayed, snapshot);
        if !differs.is_empty() {
            self.report.problem(format!(
                "the snapshot at event {} differs from the replay in {}",
                snapshot.head,
                differs.join(", ")
            ));
        }
    }
}

/// The first place that stays behind an event; [`Seq::ZERO`]: it says nothing of that.
pub(in crate::journal) fn starts(event: &Event) -> Seq {
    let purged = (event.kind == Kind::Purged).then_some(event.seq);
    let trimmed = event.changes.iter().filter_map(|change| match change {
        Change::Trimmed { start, .. } => Some(*start),
        _ => None,
    });
    trimmed.chain(purged).max().unwrap_or_default()
}

/// In what a saved state differs from the one that the events up to its head give.
pub(in crate::journal) fn contradictions(replayed: &State, saved: &State) -> Vec<&'static str> {
    let mut expected = replayed.clone();
    saved
        .unjournaled
        .iter()
        .for_each(|change| expected.change(change.clone()));
    differences(&expected, saved)
}

/// In what a snapshot differs from the state that the events give. Of sessions and batches it may
/// know more: what opened or closed, or was decided, without an event and was saved in an earlier
/// snapshot, no event carries any more, and that snapshot is not there to be read.
fn differences(replayed: &State, snapshot: &State) -> Vec<&'static str> {
    let parts = [
        ("members", replayed.members == snapshot.members),
        (
            "keys",
            replayed.pins.iter().all(|(user, pin)| {
                let is_same = |known: &Pin| known.refuses(&pin.key, known.identity).is_none();
                let known = snapshot.pins.get(user);
                known.map_or(snapshot.may_be_away(user), is_same)
            }),
        ),
        ("messages", same_messages(replayed, snapshot)),
        ("producers", snapshot.producers.extend(&replayed.producers)),
    ];
    parts
        .into_iter()
        .filter(|(_, same)| !same)
        .map(|(part, _)| part)
        .collect()
}

/// A snapshot of an older version does not say by which attempts its messages came, nor by which
/// keys.
fn same_messages(replayed: &State, snapshot: &State) -> bool {
    let same = |one: &Sent, stored: &Sent| {
        one.seq == stored.seq && (stored.by.is_none() || stored.by == one.by)
    };
    replayed.sent.len() == snapshot.sent.len()
        && replayed
            .sent
            .iter()
            .zip(snapshot.sent.iter())
            .all(|((message, one), (other, stored))| message == other && same(one, stored))
}
