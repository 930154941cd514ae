//! Runs the gateway: hears what is sent to this node and where rooms end, and accepts clients.

use super::{Close, Config, Handle, Port, core::Core, http, metrics, session_revalidation};
use crate::{
    access::Access,
    bus::{Answer, Bus, Error, Head, Inbound, Outcomes},
    journal::Journal,
    listener,
    room::{Incarnation, RoomId, Seq, SessionId, UserId},
};
use futures::{StreamExt, future::BoxFuture, stream::BoxStream};
use rand::{SeedableRng, rngs::StdRng};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::sleep};
use tokio_util::sync::CancellationToken;

/// How often it is counted what waits for clients, and forgotten who has left; not more often than
/// metrics are usually asked for.
const COUNT: Duration = Duration::from_secs(5);

/// Connections that should be able to wait to be accepted: the clients of a node that died come
/// back at once. The default of Linux.
const QUEUE: usize = 4096;

/// Opens the port for clients. They wait to be accepted from now on. The error says what to do.
pub async fn bind(host: &str, port: u16) -> std::io::Result<TcpListener> {
    let listener = listener::bind(host, port).await.map_err(|why| {
        let advice = listener::advice(&why, "--http-port");
        std::io::Error::new(why.kind(), format!("{why}: {advice}"))
    })?;
    if let Some(somaxconn) = listener::longest_queue().filter(|longest| *longest < QUEUE) {
        tracing::warn!(
            somaxconn,
            "few connections can wait to be accepted: clients that come back at once lose \
             seconds; raise net.core.somaxconn"
        );
    }
    Ok(listener)
}

/// The gateway of a node.
pub struct Service(Arc<Core>);

impl Service {
    /// The gateway of the node `me`, which is called `node`. The configuration is valid.
    pub fn new(
        config: Config,
        access: Access,
        me: Incarnation,
        node: impl Into<String>,
        bus: Arc<dyn Bus>,
        journal: Arc<dyn Journal>,
    ) -> Self {
        Self::with_random(
            config,
            access,
            me,
            node.into(),
            bus,
            journal,
            rand::make_rng(),
        )
    }

    /// As [`Self::new`], with the seed of all its randomness: session names, jitter. All rooms are
    /// open.
    pub fn seeded(
        config: Config,
        me: Incarnation,
        node: impl Into<String>,
        bus: Arc<dyn Bus>,
        journal: Arc<dyn Journal>,
        seed: u64,
    ) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self::with_random(
            config,
            Access::default(),
            me,
            node.into(),
            bus,
            journal,
            random,
        )
    }

    fn with_random(
        config: Config,
        access: Access,
        me: Incarnation,
        node: String,
        bus: Arc<dyn Bus>,
        journal: Arc<dyn Journal>,
        random: StdRng,
    ) -> Self {
        Self(Arc::new(Core::new(
            config, access, me, node, bus, journal, random,
        )))
    }

    /// A handle on it.
    pub fn handle(&self) -> Handle {
        Handle(self.0.clone())
    }

    /// Serves clients at `port` until `shutdown`; then drains and returns.
    pub async fn run(self, port: impl Into<Port>, shutdown: CancellationToken) {
        let ended = CancellationToken::new();
        let core = self.attach(ended.clone());
        tokio::pin!(core);
        tokio::select! {
            biased; // Only one of the first two ends.
            () = &mut core => {}
            () = http::serve(self.handle(), port.into(), shutdown) => {}
            () = upkeep(self.handle()) => {}
        }
        ended.cancel();
        core.await;
    }

    /// Hears what is sent to this node, until `shutdown`: for clients that are attached without
    /// sockets. Nothing is drained.
    pub async fn attach(&self, shutdown: CancellationToken) {
        let core = &self.0;
        let hear = async {
            tokio::join!(
                self.answers(),
                self.heads(),
                core.expiries.run(),
                core.creation.count(),
                session_revalidation::after_rollbacks(core.clone())
            );
        };
        let halt = core.halt.clone();
        tokio::select! {
            biased; // The end first.
            () = shutdown.cancelled() => {}
            () = halt.cancelled() => {}
            () = hear => {}
        }
        // Whoever still waits for an answer will not get one.
        core.halt.cancel();
    }

    async fn answers(&self) {
        loop {
            let mut inbox = persist(&self.0, "listening for answers", || {
                self.0.bus.inbox(self.0.me)
            })
            .await;
            self.0.listening.send_replace(true);
            while let Some(message) = inbox.next().await {
                match message {
                    Inbound::Answer(Answer { tag, answered }) => {
                        self.0.pending.answer(tag, answered)
                    }
                    Inbound::Outcomes(outcomes) => self.outcomes(outcomes),
                    // Only of messages that name one that must come first, which are of before.
                    Inbound::Early { tag } => tracing::debug!(tag, "a message came too early"),
                    Inbound::Replaced { room, session } => self.replaced(&room, session),
                    Inbound::Expel { room, user } => self.expel(&room, &user),
                }
            }
            self.0.listening.send_replace(false);
        }
    }

    fn outcomes(&self, outcomes: Outcomes) {
        if let Some(replica) = self.0.replica(&outcomes.room) {
            let head = replica.head().unwrap_or(Seq::ZERO);
            replica.lane().outcomes(outcomes, head);
        }
    }

    fn replaced(&self, room: &RoomId, session: SessionId) {
        tracing::debug!(%room, %session, "replaced by a session of the same device");
        // Only the owner of its room may say so of a session.
        let sessions = self.0.sessions();
        if let Some(entry) = sessions.get(&session).filter(|entry| entry.room == *room) {
            entry.outbox.close(Close::Replaced);
        }
    }

    fn expel(&self, room: &RoomId, user: &UserId) {
        for entry in self
            .0
            .sessions()
            .values()
            .filter(|entry| entry.room == *room && entry.user == *user)
        {
            entry.outbox.close(Close::Operator);
        }
    }

    async fn heads(&self) {
        loop {
            let mut heads = persist(&self.0, "listening for heads", || self.0.bus.heads()).await;
            while let Some(Head { room, seq, epoch }) = heads.next().await {
                if let Some(replica) = self.0.replica(&room) {
                    replica.told(seq, epoch);
                }
            }
        }
    }
}

async fn upkeep(gateway: Handle) {
    loop {
        metrics::waiting(gateway.waiting_bytes());
        gateway.0.limits.tidy();
        gateway.0.devices.tidy();
        sleep(COUNT).await;
    }
}

/// Subscribes, however long it takes.
async fn persist<'a, T>(
    core: &Core,
    what: &str,
    subscribe: impl Fn() -> BoxFuture<'a, Result<BoxStream<'static, T>, Error>>,
) -> BoxStream<'static, T> {
    let mut pauses = core.pauses();
    loop {
        match subscribe().await {
            Ok(stream) => return stream,
            Err(error) => tracing::warn!(%error, "{what} is not possible yet; trying again"),
        }
        sleep(pauses.next().unwrap_or_default()).await;
    }
}
