//! Starts a node's part in the cluster and ends it: agree on the settings, listen, beat; at the end
//! hand over and say goodbye.

use super::{
    Config, Error, Handle, Owner, View,
    driver::{Driver, Inputs},
    jobs::PAUSE,
};
use crate::{
    bus::{Bus, Error as BusError, NodeRecord, Role, Settings},
    room::Shards,
};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A node's part in the cluster.
pub struct Service {
    config: Config,
    shards: Shards,
    me: NodeRecord,
    bus: Arc<dyn Bus>,
    owner: Option<Arc<dyn Owner>>,
    view: watch::Sender<View>,
    drain: CancellationToken,
}

impl Service {
    /// The part of the node `me`. `owner` writes the shards that the node takes; a node without one
    /// takes none. [`Error::Config`] when the configuration makes no sense, or the node's roles do
    /// not fit `owner`.
    pub fn new(
        config: Config,
        me: NodeRecord,
        bus: Arc<dyn Bus>,
        owner: Option<Arc<dyn Owner>>,
    ) -> Result<Self, Error> {
        let shards = config.validate()?;
        if owner.is_some() != me.roles.contains(&Role::Writer) {
            return Err(Error::Config(
                "a node must have the role `writer` exactly when it can write shards".into(),
            ));
        }
        Ok(Self {
            config,
            shards,
            me,
            bus,
            owner,
            view: watch::Sender::new(View::default()),
            drain: CancellationToken::new(),
        })
    }

    /// A handle on it.
    pub fn handle(&self) -> Handle {
        Handle {
            me: self.me.incarnation,
            view: self.view.subscribe(),
            drain: self.drain.clone(),
        }
    }

    /// Takes part until `shutdown`; then hands the shards over, for at most `drain_ms`, and removes
    /// the node's record. While the bus is not available it waits.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Some(()) = shutdown
            .run_until_cancelled(agree(&*self.bus, self.shards))
            .await
            .transpose()?
        else {
            return Ok(());
        };
        let me = self.me.incarnation;
        let listen = async {
            // Probes are answered before the first heartbeat: a record without an answer at its
            // address is a dead node's.
            let probes = persist("answering probes", || self.bus.answer_probes(me)).await?;
            let nodes = persist("watching nodes", || self.bus.nodes()).await?;
            let shards = persist("watching shards", || self.bus.shards()).await?;
            Ok::<_, Error>((probes, nodes, shards))
        };
        let Some((probes, nodes, shards)) =
            shutdown.run_until_cancelled(listen).await.transpose()?
        else {
            return Ok(());
        };
        let (ends_in, ends) = mpsc::unbounded_channel();
        let inputs = Inputs {
            nodes,
            shards,
            ends,
            drain: self.drain,
            shutdown,
        };
        let downed = Driver::new(
            self.config,
            self.shards,
            self.me,
            Arc::clone(&self.bus),
            self.owner,
            ends_in,
            self.view,
        )
        .run(inputs)
        .await;
        drop(probes);
        if let Err(error) = self.bus.forget(me).await {
            tracing::warn!(%error, "this node's record could not be removed; others find out that it is gone");
        }
        if downed && let Err(error) = self.bus.clear_down(me).await {
            tracing::debug!(%error, "the note that this node was declared down stays for a while");
        }
        Ok(())
    }
}

/// Makes sure that the cluster has as many shards as this node thinks.
async fn agree(bus: &dyn Bus, shards: Shards) -> Result<(), Error> {
    let wanted = Settings::of_shards(shards.count());
    let stored = persist("reading the cluster's settings", || bus.settings(&wanted)).await?;
    match stored.contradiction(&wanted) {
        None => Ok(()),
        Some(why) => Err(why.into()),
    }
}

/// Tries a call until it succeeds, or until it is known that it never will.
async fn persist<T, F>(what: &str, mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, BusError>>,
{
    let mut told = false;
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(BusError::Unusable(why)) => return Err(Error::Unusable(why)),
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::warn!(what, %error, "the cluster part waits for the bus; trying again")
            }
            Err(error) => tracing::debug!(what, %error, "the cluster part waits for the bus"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}
