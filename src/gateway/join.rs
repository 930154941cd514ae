//! How a client gets into a room: the owner lets it in, the replica has come as far as that, and
//! everything that it wants from before is at hand; only then it is added, and nothing comes
//! between what was before and what follows.

use super::{
    Form, Outbox,
    core::{Core, SessionEntry, draining, unavailable},
    creation::Creation,
    device::Entering,
    expiry::Admitted,
    history_cache::Page,
    limits::{Client, Entered},
    metrics,
    newcomers::Newcomers,
    owner::{self, owner},
    replica::{
        Attach, CatchUp, Extent, Lost, Opening, ReplicaRef, SessionRef, Start, SubscriberId,
    },
    resume::{self, StartAt},
    session::Session,
    websocket::Loops,
};
use crate::{
    access,
    bus::{Admission, Answered, Ask},
    listener::{Arrival, Presence},
    room::{DeviceId, Identity, Key, Policy, Reason, Rejection, RoomId, Seq, SessionId, UserId},
    telemetry::trace::{Origin, hop},
    wire::Protocol,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep, timeout},
};
use tracing::Instrument;

/// How long a join may take: a takeover takes less.
const DEADLINE: Duration = Duration::from_secs(10);
/// How long an event stream may take to begin: a browser would take a refusal as final, so this is
/// longer than a takeover from a frozen node takes.
pub(super) const WATCH_DEADLINE: Duration = Duration::from_secs(25);
/// How long a client that catches up keeps the page that it reads while it takes nothing: one of
/// large messages is 8 MiB.
const PAGE_KEPT: Duration = Duration::from_secs(1);

/// What a client wants of a room.
#[derive(Debug, Clone)]
pub struct Join {
    /// The room.
    pub room: RoomId,
    /// Who comes.
    pub user: UserId,
    /// The user's key.
    pub key: Key,
    /// What was shown of it.
    pub identity: Identity,
    /// Replaces an earlier session of the same device.
    pub device: Option<DeviceId>,
    /// What to begin with.
    pub from: StartAt,
    /// How frames look.
    pub protocol: Protocol,
    /// The policy that the room is to have if this makes it, or must have; `None`: any.
    pub policy: Option<Policy>,
    /// A key that signs, before the room lets it in, that `key` takes its place.
    pub former: Option<Key>,
}

impl Join {
    /// Refuses what an owner might not understand.
    fn check(&self, core: &Core) -> Result<(), Rejection> {
        match self.policy {
            None | Some(Policy::Open) => Ok(()),
            Some(Policy::Proven | Policy::Sealed) => core.check_policies(),
        }
    }
}

/// The connection that a client joins over.
pub(super) struct Connection {
    /// When it came.
    pub(super) arrival: Arrival,
    /// Whether its client is still there; `None`: it is.
    pub(super) presence: Option<Presence>,
    /// What its client says of a trace.
    pub(super) origin: Origin,
    /// The loops that can own its socket, if they can.
    pub(super) loops: Option<Loops>,
    /// What its client may do, and until when.
    pub(super) admission: access::Admission,
    /// What its client holds already.
    pub(super) knock: Option<Knock>,
}

/// What a client holds that is not in yet: its address's place in a room, and a place at this node
/// unless it has shown nothing yet.
pub(super) struct Knock {
    place: Option<OwnedSemaphorePermit>,
    entered: Option<Entered>,
}

impl Knock {
    /// It costs what a join costs. The room is not asked.
    pub(super) fn new(
        core: &Core,
        client: Option<&Client>,
        room: &RoomId,
    ) -> Result<Self, Rejection> {
        Ok(Self {
            place: Some(core.place()?),
            entered: client.map(|client| client.join(room)).transpose()?,
        })
    }

    /// The same for a client that has shown nothing yet. It is refused when there is no place now,
    /// and holds none: whoever says nothing must not fill a node.
    pub(super) fn stranger(core: &Core, client: &Client, room: &RoomId) -> Result<Self, Rejection> {
        drop(core.place()?);
        Ok(Self {
            place: None,
            entered: Some(client.join(room)?),
        })
    }
}

impl Connection {
    /// One that comes now and stays.
    pub(super) fn new() -> Self {
        Self {
            arrival: Arrival::next(),
            presence: None,
            origin: Origin::default(),
            loops: None,
            admission: access::Admission::OPEN,
            knock: None,
        }
    }

    async fn is_gone(&self) -> bool {
        match &self.presence {
            Some(presence) => presence.is_gone().await,
            None => false,
        }
    }
}

/// A client without a session: it only reads.
pub struct Watch {
    outbox: Outbox,
    _admitted: Admitted,
    _entered: Entered,
    _subscription: Subscription,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    /// What it gets.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}

/// A subscriber of a replica; leaves it when dropped.
pub(super) struct Subscription {
    claim: ReplicaRef,
    id: SubscriberId,
    outbox: Outbox,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.outbox.abandon();
        self.claim.detach(self.id);
    }
}

/// Opens a session. A client that goes away before (the future is dropped) leaves nothing open.
pub(super) async fn join(
    core: &Arc<Core>,
    join: Join,
    client: Option<&Client>,
    connection: Connection,
) -> Result<Session, Rejection> {
    let (begun, resumes) = (Instant::now(), join.from.since.is_some());
    let span = hop::join(&connection.origin);
    let admitting = admit(core, join, client, connection).instrument(span.clone());
    let admitted = timeout(DEADLINE, admitting).await;
    let result = admitted.unwrap_or_else(|_| {
        Err(unavailable(
            "the room could not be opened in time: try again",
        ))
    });
    let refused = result.as_ref().err();
    metrics::join(refused.map(|why| why.reason), begun.elapsed());
    if let Some(why) = refused.filter(|_| resumes) {
        metrics::resume_failed(why);
    }
    hop::answered(
        &span,
        refused.map_or("joined", |why| why.reason.as_str()),
        None,
    );
    result
}

/// Lets a client read along.
pub(super) async fn watch(
    core: &Arc<Core>,
    client: &Client,
    room: &RoomId,
    from: StartAt,
    admission: access::Admission,
) -> Result<Watch, Rejection> {
    let watching = async {
        let place = core.place()?;
        let entered = client.join(room)?;
        let claim = core.claim(room);
        let outbox = Outbox::new(room.clone(), Form::EventStream, core.backlog());
        // As a session does: the replica may be behind, or not know yet that the room has gone
        // back.
        let extent = loop {
            let view = owner(core, &Ask::head(room.clone())).await?;
            let opening = Opening {
                session: None,
                seq: view.head,
                epoch: view.epoch,
            };
            // Without an answer the replica starts again.
            if let Ok(extent) = claim.opened(opening).await {
                break extent;
            }
        };
        let subscriber = attach(core, &claim, &outbox, from, extent, None).await?;
        Ok(Watch {
            _admitted: core.expiries.stay(&outbox, admission),
            outbox,
            _entered: entered,
            _subscription: subscriber,
            _place: place,
        })
    };
    let watching = timeout(WATCH_DEADLINE, watching).await;
    let result = watching.unwrap_or_else(|_| {
        Err(unavailable(
            "the room could not be opened in time: try again",
        ))
    });
    if let Some(why) = result.as_ref().err().filter(|_| from.since.is_some()) {
        metrics::resume_failed(why);
    }
    result
}

/// Whether a client would be let in now. Costs what a join costs; opens and keeps nothing.
pub(super) async fn may_join(core: &Core, client: &Client, join: &Join) -> Result<(), Rejection> {
    knock(core, client, join).await.map(drop)
}

/// The same for a client that then proves its key: it keeps its place meanwhile. What is refused
/// counts as a refused join.
pub(super) async fn knock_to_prove(
    core: &Core,
    client: &Client,
    join: &Join,
) -> Result<Knock, Rejection> {
    let begun = Instant::now();
    let knocked = knock(core, client, join).await;
    if let Err(why) = &knocked {
        metrics::join(Some(why.reason), begun.elapsed());
        if join.from.since.is_some() {
            metrics::resume_failed(why);
        }
    }
    knocked
}

async fn knock(core: &Core, client: &Client, join: &Join) -> Result<Knock, Rejection> {
    join.check(core)?;
    let knock = Knock::new(core, Some(client), &join.room)?;
    core.check_sessions()?;
    let who = Admission {
        user: join.user.clone(),
        key: join.key.clone(),
        identity: join.identity,
        device: join.device.clone(),
        policy: join.policy,
        former: join.former.clone(),
    };
    let ask = Ask::admission(join.room.clone(), who);
    let asked = timeout(DEADLINE, owner(core, &ask)).await;
    let view = asked.unwrap_or_else(|_| Err(owner::late()))?;
    let whose = (&join.user, &join.key);
    Creation::check(core, view.head, whose, Some(client))?;
    Newcomers::check(core, &join.room, &join.user, &view, client)?;
    Ok(knock)
}

/// A session that was submitted and is not yet one; dropped, it is closed.
struct Entry {
    core: Arc<Core>,
    claim: Option<ReplicaRef>,
    session: SessionId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        let (core, session) = (self.core.clone(), self.session);
        core.leave(session);
        self.core
            .spawn(async move { core.close(&claim, session).await });
    }
}

async fn admit(
    core: &Arc<Core>,
    join: Join,
    client: Option<&Client>,
    mut connection: Connection,
) -> Result<Session, Rejection> {
    join.check(core)?;
    let knock = match connection.knock.take() {
        Some(knock) => knock,
        None => Knock::new(core, client, &join.room)?,
    };
    let Knock { place, entered } = knock;
    let place = place.map_or_else(|| core.place(), Ok)?;
    let Join {
        room,
        user,
        key,
        identity,
        device,
        from,
        protocol,
        policy,
        former,
    } = join;
    let meter = core.limits.meter(&user, &key, client);
    core.check_sessions()?;
    let claim = core.claim(&room);
    let limits = core.backlog();
    let outbox = match &connection.loops {
        Some(loops) => Outbox::of_loop(loops.way(&room, claim.crowd(), protocol, limits)),
        None => Outbox::new(room.clone(), Form::Frames(protocol), limits),
    };
    let session = core.new_session();
    // The replica lives before the session opens: whatever ends the session, it will have noticed.
    let Extent {
        generation, head, ..
    } = claim.extent().await?;
    Creation::pay(core, &room, head, (&user, &key), client)?;
    let who = Admission {
        user: user.clone(),
        key: key.clone(),
        identity,
        device: device.clone(),
        policy,
        former: former.clone(),
    };
    Newcomers::pay(core, &room, who, client).await?;
    claim.mark(core).await;

    // Until it is decided no other connection of the device is: their order here is that of the
    // room. Nothing is opened for a client that has given up.
    let this = device.as_ref();
    let this = this.map(|device| core.devices.get(&room, &user, device));
    let entering = match &this {
        Some(device) => Some(device.enter(connection.arrival).await?),
        None => None,
    };
    if connection.is_gone().await {
        return Err(unavailable("the client is gone"));
    }
    let entry = SessionEntry {
        outbox: outbox.clone(),
        room: room.clone(),
        user: user.clone(),
        key: key.clone(),
        identity,
        device: device.clone(),
        policy,
    };
    let open = entry.open(session, core.me, former);
    core.enter(session, entry);
    let mut entry = Entry {
        core: core.clone(),
        claim: Some(claim.clone()),
        session,
    };
    let opened = match core.request(&room, open).await {
        Ok(Answered::Journaled { seq, epoch, .. }) => Opening {
            session: Some(session),
            seq,
            epoch,
        },
        // It was opened and has ended since: others took this node for dead before the answer came.
        Ok(Answered::Rejected(Rejection {
            reason: Reason::NotMember,
            ..
        })) => {
            return Err(unavailable("the session has ended already: try again"));
        }
        Ok(Answered::Rejected(rejection)) => return Err(rejection),
        Err(rejection) => {
            return Err(Rejection {
                reason: Reason::Unavailable,
                ..rejection
            });
        }
    };

    entering.into_iter().for_each(Entering::entered);
    let subscribed = SessionRef {
        id: session,
        user: user.clone(),
        identity,
        device,
    };
    let extent = claim.opened(opened).await.map_err(starting_again)?;
    let subscriber = attach(
        core,
        &claim,
        &outbox,
        from,
        extent,
        Some((subscribed, generation)),
    )
    .await?;
    if core.is_draining() {
        return Err(draining());
    }
    entry.claim = None;
    let admitted = core.expiries.stay(&outbox, connection.admission);
    Ok(Session::begin(
        core.clone(),
        claim,
        session,
        (user, key),
        protocol,
        outbox,
        connection.origin,
        subscriber,
        (place, this),
        (meter, entered, admitted),
    ))
}

/// Adds a subscriber to a replica that has the room so far, with all that it wants from before, or
/// with a reset where that is not there. A session comes with the generation of the replica in
/// which it was opened.
async fn attach(
    core: &Arc<Core>,
    claim: &ReplicaRef,
    outbox: &Outbox,
    from: StartAt,
    extent: Extent,
    session: Option<(SessionRef, u64)>,
) -> Result<Subscription, Rejection> {
    let mut start = match from.since {
        Some(since) if resume::goes_on(core, claim, from, extent).await => Start::After(since),
        _ => Start::Last(from.history),
    };
    let (mut floor, mut page) = (extent.purged.max(Seq(1)), None);
    loop {
        let first = start.first(extent.head, floor);
        if first >= extent.oldest || first > extent.head {
            break;
        }
        let read = read(core, claim, first, extent.head).await;
        if read.from(first).is_some() {
            page = Some(read);
            break;
        }
        // What it would begin with is gone.
        match start {
            Start::After(_) => start = Start::Last(from.history),
            Start::Last(_) => floor = read.first().unwrap_or(extent.head.next()),
        }
    }
    // A stream may stay while its room goes: by the newest event it is told from a new one.
    let has_newest = page.is_some() || extent.oldest <= extent.head;
    if session.is_none() && !has_newest && extent.head > Seq::ZERO {
        page = Some(read(core, claim, extent.head, extent.head).await);
    }
    let recovered = from.since.is_none() || matches!(start, Start::After(_));
    let (session, generation) = session.unzip();
    let attach = Attach {
        outbox: outbox.clone(),
        start,
        floor,
        page,
        recovered,
        session,
        generation: generation.unwrap_or(extent.generation),
    };
    let (id, need) = claim.attach(attach).await.map_err(starting_again)?;
    if let Some(since) = from.since {
        metrics::resume(recovered.then(|| extent.head.0 - since.0));
    }
    let subscriber = Subscription {
        claim: claim.clone(),
        id,
        outbox: outbox.clone(),
    };
    if let Some(need) = need {
        core.spawn(catch_up(
            core.clone(),
            claim.clone(),
            id,
            outbox.clone(),
            need,
        ));
    }
    Ok(subscriber)
}

fn starting_again(_: Lost) -> Rejection {
    unavailable("the room is starting again: try again")
}

/// The page of old events that holds `seq`; tries until it is there. The caller's deadline ends it.
async fn read(core: &Core, claim: &ReplicaRef, seq: Seq, head: Seq) -> Arc<Page> {
    let mut pauses = core.pauses();
    loop {
        match core.history_cache.page(claim.room(), seq, head).await {
            Ok(page) => return page,
            Err(error) => {
                tracing::debug!(room = %claim.room(), %seq, %error, "old events cannot be read yet")
            }
        }
        sleep(pauses.next().unwrap_or(DEADLINE)).await;
    }
}

/// Gives a subscriber what is between it and the live events, at the pace at which it takes it.
async fn catch_up(
    core: Arc<Core>,
    claim: ReplicaRef,
    subscriber: SubscriberId,
    outbox: Outbox,
    mut need: CatchUp,
) {
    let mut page: Option<Arc<Page>> = None;
    let mut left = None;
    loop {
        let has_space = match timeout(PAGE_KEPT, outbox.space()).await {
            Ok(has_space) => has_space,
            Err(_) => {
                page = None;
                outbox.space().await
            }
        };
        if !has_space {
            return;
        }
        if !need.recent
            && page
                .as_ref()
                .is_none_or(|page| page.from(need.next).is_none())
        {
            let read = read(&core, &claim, need.next, need.head).await;
            if read.from(need.next).is_none() {
                // What it needs is gone: it goes on with what follows.
                left = Some(read.first().unwrap_or(need.head.next()));
            }
            page = Some(read);
        }
        match claim.feed(subscriber, page.clone(), left.take()).await {
            Ok(Some(more)) => need = more,
            Ok(None) | Err(_) => return,
        }
    }
}
