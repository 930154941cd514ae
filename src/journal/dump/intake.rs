//! Writing rooms into a journal, through its port: as an owner of their shards does.

use super::{Error, Incoming, Whole, refill::Refill, source::Pages, whole};
use crate::{
    bus::Commit,
    journal::{Claim, Draft, Error as JournalError, Hole, inspect::End},
    room::{Epoch, Event, Incarnation, RoomId, Seq, ShardId, Shards, State},
};
use async_trait::async_trait;
use backon::{ConstantBuilder, Retryable};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// Events between two snapshots: what an opening after an interruption has to read.
const SAVE_EVERY: u64 = 5_000;

/// How long a call to the journal is repeated, and the pause before each time.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Lets a shard be claimed.
#[async_trait]
pub trait Elect: Send {
    /// Makes this process the elected owner of a shard: who it is, and the least epoch to claim.
    async fn elect(&mut self, shard: ShardId) -> Result<(Incarnation, Epoch), Error>;
}

/// Writes rooms into a journal.
pub struct Intake<E> {
    journal: Arc<dyn Whole>,
    shards: Shards,
    elect: E,
    claims: HashMap<ShardId, Claim>,
}

/// What was written of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Where the room ended before; zero: it was not there.
    pub was: Seq,
    /// Where it ends now.
    pub head: Seq,
    /// How many events were added.
    pub added: u64,
    /// Whether anything was written.
    pub is_changed: bool,
    /// Nodes that hold sessions in it, by its state.
    pub gateways: BTreeSet<Incarnation>,
    /// Whether its owner has something to remove that was purged or erased.
    pub forgets: bool,
    /// What neither the journal had nor came, and is not to be gone anyway: of what was added, and
    /// beside the newest events that came.
    pub holes: Vec<Hole>,
    /// What came and is missing, but finds no place: something else is stored there, or removed.
    pub no_place: Vec<Hole>,
}

impl<E: Elect> Intake<E> {
    /// Writes into `journal`, of rooms in `shards` shards.
    pub fn new(journal: Arc<dyn Whole>, shards: Shards, elect: E) -> Self {
        Self {
            journal,
            shards,
            elect,
            claims: HashMap::new(),
        }
    }

    /// Writes a room: all of it, or what follows on what is there, if that is the beginning of it.
    /// [`Error::Refused`]: it is not, and nothing was written. After any other error the room can
    /// be there in part; the same again goes on from there.
    pub async fn take(&mut self, incoming: &mut dyn Incoming) -> Result<Taken, Error> {
        let (room, head) = (incoming.room().clone(), incoming.head());
        let there = self.journal.end(&room).await?;
        let was = there.reached;
        if incoming.is_partial() {
            return self.take_newest(incoming, there).await;
        }
        if was > head {
            return Err(Error::Refused(format!(
                "room {room} ends at {was} in the journal and at {head} in what comes: it is left \
                 as it is"
            )));
        }
        let mut present = Present {
            room: &room,
            pages: Pages::new(self.journal.clone(), &room, was),
            events: VecDeque::new(),
            start: there.state.kept.first(),
        };
        let mut rest = Vec::new();
        loop {
            let page = incoming.page().await?;
            if page.is_empty() {
                break;
            }
            for event in page {
                match event.seq <= was {
                    true => present.compare(&event).await?,
                    false => rest.push(event),
                }
            }
            if !rest.is_empty() {
                break;
            }
        }
        if rest.is_empty() && was == head {
            let state = incoming.state().await?;
            let known = whole(&*self.journal, &room, there.state).await?;
            if state == known {
                return Ok(Taken::of(was, head, 0, false, &state));
            }
            let mut target = self.open(&room, was).await?;
            let saved = target.finish(&state).await;
            target.close();
            return saved.map(|()| Taken::of(was, head, 0, true, &state));
        }
        self.take_rest(rest, incoming, was).await
    }

    /// Writes what a room lacks of its newest events: what follows on what is there, and what is
    /// missing below that, where nothing else has the places.
    async fn take_newest(
        &mut self,
        incoming: &mut dyn Incoming,
        there: End,
    ) -> Result<Taken, Error> {
        let (room, was) = (incoming.room().clone(), there.reached);
        let (mut saved, mut is_known) = (there.state.clone(), false);
        let mut state = there.state;
        while state.head < was {
            let page = self.journal.read(&room, state.head.next(), was).await?;
            if page.is_empty() {
                break;
            }
            for event in page {
                state.skip_to(Seq(event.seq.0 - 1));
                state.evolve(&event);
            }
        }
        let let_go = state.kept.first().max(incoming.let_go());
        let mut refill = Refill::new(self.journal.clone(), &room, was, let_go);
        let mut rest = Vec::new();
        while rest.is_empty() {
            let page = incoming.page().await?;
            if page.is_empty() {
                break;
            }
            for event in page {
                if event.seq > was {
                    rest.push(event);
                } else if let Some(piece) = refill.take(event).await? {
                    let claim = self.claim(&room).await?;
                    is_known |= refill.write(claim, &piece, &mut saved).await?;
                }
            }
        }
        if let Some(piece) = refill.end() {
            let claim = self.claim(&room).await?;
            is_known |= refill.write(claim, &piece, &mut saved).await?;
        }
        if is_known {
            self.save_again(&room, &saved).await?;
        }
        let filled = refill.filled;
        let mut taken = match was < incoming.head() {
            true => self.take_rest(rest, incoming, was).await?,
            false => Taken::of(was, was, 0, false, &state),
        };
        taken.holes.splice(..0, refill.holes);
        taken.added += filled;
        taken.is_changed |= filled > 0;
        taken.no_place = refill.taken;
        Ok(taken)
    }

    /// Saves a room in place of its newest snapshot, with what was put beside that.
    async fn save_again(&mut self, room: &RoomId, state: &State) -> Result<(), Error> {
        let claim = self.claim(room).await?;
        retry(|| self.journal.save_snapshot(room, claim, state)).await?;
        if let Some(carried) = &state.beside {
            retry(|| self.journal.save_carried(room, claim, carried)).await?;
        }
        Ok(())
    }

    /// Writes all that follows on what is there.
    async fn take_rest(
        &mut self,
        rest: Vec<Event>,
        incoming: &mut dyn Incoming,
        was: Seq,
    ) -> Result<Taken, Error> {
        let mut target = self.open(incoming.room(), was).await?;
        let first = target.state.kept.first();
        let done = target.fill(rest, incoming).await;
        target.close();
        let state = done?;
        let let_go = Seq(state.kept.first().0 - 1);
        let holes = target.holes.iter();
        let kept = holes.filter_map(|hole| hole.behind(let_go));
        let taken = Taken::of(was, incoming.head(), target.added, true, &state);
        Ok(Taken {
            holes: kept.collect(),
            forgets: taken.forgets || first < state.kept.first().min(was.next()),
            ..taken
        })
    }

    /// Gives back what it was elected with.
    pub fn into_elect(self) -> E {
        self.elect
    }

    /// The claim of the room's shard.
    async fn claim(&mut self, room: &RoomId) -> Result<Claim, Error> {
        let shard = self.shards.of(room);
        if let Some(claim) = self.claims.get(&shard) {
            return Ok(*claim);
        }
        let (me, least) = self.elect.elect(shard).await?;
        let claim = retry(|| self.journal.claim(shard, me, least)).await?;
        self.claims.insert(shard, claim);
        Ok(claim)
    }

    /// Claims the room's shard, and opens the room.
    async fn open(&mut self, room: &RoomId, was: Seq) -> Result<Target, Error> {
        let claim = self.claim(room).await?;
        let opened = retry(|| self.journal.open_reaching(room, claim, was)).await?;
        let state = opened.replay();
        if state.head != was {
            self.journal.close(room);
            return Err(Error::Refused(format!(
                "room {room} was written meanwhile, up to {}: is a node running?",
                state.head
            )));
        }
        Ok(Target {
            journal: self.journal.clone(),
            room: room.clone(),
            claim,
            was,
            saved: state.head,
            state,
            draft: Draft::default(),
            added: 0,
            holes: Vec::new(),
        })
    }
}

impl Taken {
    fn of(was: Seq, head: Seq, added: u64, is_changed: bool, state: &State) -> Self {
        let sessions = state.sessions.iter();
        Self {
            was,
            head,
            added,
            is_changed,
            gateways: sessions.map(|(_, session)| session.gateway).collect(),
            forgets: state.kept.purge.is_some() || !state.erasures.pending.is_empty(),
            holes: Vec::new(),
            no_place: Vec::new(),
        }
    }
}

/// The events that a room has already.
struct Present<'a> {
    room: &'a RoomId,
    pages: Pages,
    events: VecDeque<Event>,
    /// What is before it was let go here.
    start: Seq,
}

impl Present<'_> {
    /// Whether an event is the one that is there. What is there beyond those that come was trimmed
    /// where they come from.
    async fn compare(&mut self, event: &Event) -> Result<(), Error> {
        loop {
            while let Some(there) = self.events.pop_front() {
                if there.seq < event.seq {
                    continue;
                }
                if there == *event {
                    return Ok(());
                }
                if there.seq == event.seq && there.erased() == *event {
                    let how = "still has what was erased since: write into a journal in which the \
                               room is not";
                    return Err(self.differs(event, how));
                }
                if there.seq == event.seq {
                    return Err(self.differs(event, "is another one than the one that comes"));
                }
                self.events.push_front(there);
                return self.misses(event);
            }
            self.events = self.pages.next().await?.into();
            if self.events.is_empty() {
                return self.misses(event);
            }
        }
    }

    fn misses(&self, event: &Event) -> Result<(), Error> {
        match event.seq < self.start {
            true => Ok(()),
            false => Err(self.differs(event, "is missing there")),
        }
    }

    fn differs(&self, event: &Event, how: &str) -> Error {
        Error::Refused(format!(
            "room {} is in the journal already, and its event {} {how}: the room is left as it is",
            self.room, event.seq
        ))
    }
}

/// A room that is open for writing.
struct Target {
    journal: Arc<dyn Whole>,
    room: RoomId,
    claim: Claim,
    /// Where the room ended before.
    was: Seq,
    /// By replay, at the last event that was written.
    state: State,
    /// Up to where it is saved.
    saved: Seq,
    /// What is written next.
    draft: Draft,
    added: u64,
    /// What is missing of what is written.
    holes: Vec<Hole>,
}

impl Target {
    /// Writes events and all that follow them, and the state at the head.
    async fn fill(
        &mut self,
        mut page: Vec<Event>,
        incoming: &mut dyn Incoming,
    ) -> Result<State, Error> {
        loop {
            for event in std::mem::take(&mut page) {
                self.push(event).await?;
            }
            page = incoming.page().await?;
            if page.is_empty() {
                break;
            }
        }
        self.flush().await?;
        self.reach(incoming.head()).await?;
        if incoming.is_partial() {
            let state = self.state.clone();
            self.save(&state).await?;
            return Ok(state);
        }
        let state = incoming.state().await?;
        self.finish(&state).await?;
        Ok(state)
    }

    /// Saves all of the room. What is not kept any more where it comes from goes here as well, if
    /// it was here: nobody is to be told of it again.
    async fn finish(&mut self, state: &State) -> Result<(), Error> {
        self.save(state).await?;
        let start = state.kept.first();
        if self.was > Seq::ZERO && start > Seq(1) {
            retry(|| self.journal.trim(&self.room, self.claim, start)).await?;
        }
        Ok(())
    }

    async fn push(&mut self, event: Event) -> Result<(), Error> {
        let boundary = |first| self.journal.boundary(first);
        if !self.draft.has_room_for(&event, boundary, usize::MAX) {
            self.flush().await?;
        }
        if self.draft.is_empty() {
            self.reach(Seq(event.seq.0 - 1)).await?;
        }
        self.draft.push(event);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.draft.is_empty() {
            return Ok(());
        }
        let commit = Commit {
            epoch: self.claim.epoch(),
            events: self.draft.take(),
        };
        retry(|| self.journal.append(&self.room, self.claim, &commit)).await?;
        commit
            .events
            .iter()
            .for_each(|event| self.state.evolve(event));
        self.added += commit.events.len() as u64;
        if self.state.head.0 - self.saved.0 >= SAVE_EVERY {
            self.save(&self.state.clone()).await?;
        }
        Ok(())
    }

    /// What is missing up to a place is a hole: the room goes on behind it, and remembers that.
    async fn reach(&mut self, head: Seq) -> Result<(), Error> {
        let Some(hole) = Hole::between(self.state.head, head.next()) else {
            return Ok(());
        };
        self.close();
        let opening = || self.journal.open_reaching(&self.room, self.claim, head);
        let reached = retry(opening).await?.head();
        if reached != head {
            return Err(Error::Refused(format!(
                "room {} goes to {reached} where it should go to {head}: messages of its stream were \
                 deleted",
                self.room
            )));
        }
        self.state.skip_to(head);
        self.holes.push(hole);
        self.save(&self.state.clone()).await
    }

    /// Names of which there are records here are free where what comes says so; records of before a
    /// purge are to go that what comes does not know of.
    async fn save(&mut self, state: &State) -> Result<(), Error> {
        let mut state = state.clone();
        if self.state.away.is_used && !state.away.is_used {
            let generation = state.generation();
            let recorded = retry(|| self.journal.all_recorded(&self.room, generation)).await?;
            state.overrule(recorded.into_iter().map(|(user, _)| user));
        }
        state.forgets_records(&self.state.away.stale);
        let state = &state;
        retry(|| self.journal.save_snapshot(&self.room, self.claim, state)).await?;
        self.saved = state.head;
        Ok(())
    }

    fn close(&self) {
        self.journal.close(&self.room);
    }
}

/// Repeats a call, identical, while its outcome may become definite.
pub(super) async fn retry<T, F>(call: impl FnMut() -> F) -> Result<T, JournalError>
where
    F: Future<Output = Result<T, JournalError>>,
{
    let pauses = ConstantBuilder::default()
        .with_delay(PAUSE)
        .without_max_times();
    let until = Instant::now() + PATIENCE;
    let may_help = |error: &JournalError| error.is_transient() && Instant::now() < until;
    call.retry(pauses).when(may_help).await
}
