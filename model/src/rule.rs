//! What is written, and what an opening makes of what it reads: the reader's rule, and the last
//! commit to write again.

use crate::Mutation;
use smallvec::SmallVec;

/// Something that happened: which command led to it, and who decided that. Two owners that decide
/// the same command make two different events, which shows whenever one of them takes the place of
/// the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Event {
    /// The command, from 1 on.
    pub command: u8,
    /// The epoch of the owner that decided it.
    pub epoch: u8,
}

/// Events of dense places.
pub type Log = SmallVec<[Event; 6]>;

/// One batch of rows of one partition: row `first + n` of this epoch holds `events[n]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commit {
    /// The owner's epoch, part of the key.
    pub epoch: u8,
    /// The place of the first row.
    pub first: u8,
    /// What the rows hold.
    pub events: Log,
    /// What each row says of the first place of its commit.
    pub commit_first: u8,
}

impl Commit {
    /// Its row at a place.
    pub fn row(&self, seq: usize) -> Option<Row> {
        let event = self.events.get(seq.checked_sub(usize::from(self.first))?)?;
        Some(Row {
            epoch: self.epoch,
            event: *event,
            commit_first: self.commit_first,
        })
    }

    /// The places of its rows.
    pub fn places(&self) -> std::ops::Range<usize> {
        let first = usize::from(self.first);
        first..first + self.events.len()
    }

    /// Whether both give the same key two contents.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self
                .places()
                .any(|seq| other.row(seq).is_some_and(|row| Some(row) != self.row(seq)))
    }
}

/// A row of the journal; ordered by epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The epoch of its key.
    pub epoch: u8,
    /// What it holds.
    pub event: Event,
    /// The first place of its commit.
    pub commit_first: u8,
}

/// A state as of a place: everything from the first event on.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Snapshot {
    /// The epoch of the owner that took it.
    pub epoch: u8,
    /// What it holds.
    pub events: Log,
}

/// Why a room cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// There are rows of a newer owner.
    Fenced,
    /// The events end before the snapshot does.
    Damaged,
}

/// What an owner finds: all events, and the last commit as it writes it again.
pub type Found = (Log, Option<Commit>);

/// Opens a room under `epoch`: `snapshot` is what was read of it, `first` the first place of the
/// commit that holds its last event (1 without one), `seen` the commits that the reading of the
/// tail saw.
pub fn open<'a>(
    mutation: Option<Mutation>,
    epoch: u8,
    snapshot: &[Event],
    first: u8,
    seen: impl Iterator<Item = &'a Commit> + Clone,
) -> Result<Found, Problem> {
    if seen.clone().any(|commit| commit.epoch > epoch) {
        return Err(Problem::Fenced);
    }
    let rows = walk(mutation, usize::from(first), seen);
    let before = usize::from(first) - 1;
    let head = before + rows.len();
    if head < snapshot.len() {
        return Err(Problem::Damaged);
    }
    let after = rows
        .iter()
        .skip(snapshot.len() - before)
        .map(|row| row.event);
    let events: Log = snapshot.iter().copied().chain(after).collect();
    let Some(last) = rows.last() else {
        return Ok((events, None));
    };
    let from = match mutation {
        Some(Mutation::LastCommitNotRewritten) => return Ok((events, None)),
        Some(Mutation::OnlyLastRowRewritten) => head,
        _ => usize::from(last.commit_first.max(first)),
    };
    let again = rows
        .iter()
        .skip(from - usize::from(first))
        .map(|row| row.event)
        .collect();
    Ok((
        events,
        Some(Commit {
            epoch,
            first: from as u8,
            events: again,
            commit_first: last.commit_first,
        }),
    ))
}

/// At each place the highest epoch counts; the walk stops where a place is missing or the epoch
/// decreases.
fn walk<'a>(
    mutation: Option<Mutation>,
    first: usize,
    seen: impl Iterator<Item = &'a Commit> + Clone,
) -> SmallVec<[Row; 6]> {
    let mut walked: SmallVec<[Row; 6]> = SmallVec::new();
    for seq in first.. {
        let rows = seen.clone().filter_map(|commit| commit.row(seq));
        let best = if mutation == Some(Mutation::LowestEpochWins) {
            rows.min()
        } else {
            rows.max()
        };
        let Some(best) = best else { break };
        let decreases = walked
            .last()
            .is_some_and(|last: &Row| best.epoch < last.epoch);
        if decreases && mutation != Some(Mutation::NoStopAtDecrease) {
            break;
        }
        walked.push(best);
    }
    walked
}

/// The next `size` commands that these events do not hold yet, as events of `epoch`; `None` when
/// there are fewer. Two owners that follow each other read the commands in opposite orders: the bus
/// may have lost them in between, and clients sent them again.
pub fn decide(events: &[Event], commands: u8, size: usize, epoch: u8) -> Option<Log> {
    let order = |command| {
        if epoch % 2 == 1 {
            command
        } else {
            commands + 1 - command
        }
    };
    let waiting = (1..=commands)
        .map(order)
        .filter(|command| events.iter().all(|event| event.command != *command));
    let decided: Log = waiting
        .take(size)
        .map(|command| Event { command, epoch })
        .collect();
    (decided.len() == size).then_some(decided)
}
