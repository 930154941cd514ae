//! The journal in Cassandra, for a program that was built with it.

#[cfg(not(feature = "cassandra"))]
pub(super) use without::{hand_over, journal, noted, reach, stored, target};

#[cfg(feature = "cassandra")]
pub(super) use with::{hand_over, journal, noted, reach, stored, target};

#[cfg(feature = "cassandra")]
mod with {
    use crate::{
        app::{
            compared::ends_before,
            look::{Another, another, elsewhere},
            wait::{Outlook, Wait},
        },
        bus::{ClusterId, Role, Settings, nats::Nats},
        config::Config,
        journal::{
            Behind, Error, Journal,
            cassandra::{self, Belongs, Cassandra},
            dump::Whole,
            readback::Store as _,
        },
        ops::Readiness,
        room::Shards,
    };
    use anyhow::{Context, bail};
    use std::sync::Arc;
    use uuid::Uuid;

    /// For looking at what is stored, which must not change tables.
    pub(in crate::app) async fn stored(
        config: &Config,
        shards: Shards,
    ) -> anyhow::Result<Arc<dyn Whole>> {
        let settings = cassandra::Config {
            auto_migrate: false,
            ..config.cassandra.clone()
        };
        Ok(Arc::new(cassandra::connect(&settings, shards).await?))
    }

    /// Which keyspace is configured, and whose it is, as far as that is noted there; `None`: that
    /// cannot be read now.
    pub(in crate::app) async fn noted(
        config: &Config,
    ) -> Option<(Option<Uuid>, Option<ClusterId>)> {
        match cassandra::noted(&config.cassandra).await {
            Ok(noted) => Some(noted),
            // There is no such keyspace, or no such table in it.
            Err(Error::Unusable(_)) => Some((None, None)),
            Err(_) => None,
        }
    }

    /// Fails where the servers are away, or refuse this program.
    pub(in crate::app) async fn reach(config: &Config) -> anyhow::Result<()> {
        match cassandra::noted(&config.cassandra).await {
            Err(error @ (Error::Unavailable(_) | Error::Denied(_))) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// For rooms that a command writes: the keyspace is the cluster's, or becomes it. One attempt.
    pub(in crate::app) async fn target(
        config: &Config,
        shards: Shards,
        bus: &Nats,
        stored: Settings,
    ) -> anyhow::Result<(Arc<dyn Whole>, Uuid)> {
        let journal = cassandra::connect(&config.cassandra, shards).await?;
        let id = stored
            .cluster
            .context("the cluster has no id yet: start a node of this version once")?;
        let claimed = journal
            .store()
            .claim_keyspace(&config.cassandra, id, stored.keyspace);
        let belongs = claimed.await?;
        check(config, bus, stored, belongs).await?;
        Ok((Arc::new(journal), belongs.keyspace))
    }

    /// Makes the keyspace of a cluster that of another one, whose rooms are kept elsewhere now: the
    /// nodes of the former are refused.
    pub(in crate::app) async fn hand_over(
        config: &Config,
        shards: Shards,
        from: ClusterId,
        to: ClusterId,
    ) -> anyhow::Result<()> {
        let settings = cassandra::Config {
            auto_migrate: false,
            ..config.cassandra.clone()
        };
        let journal = cassandra::connect(&settings, shards).await?;
        let tables = journal.store();
        Ok(tables.hand_over_keyspace(&settings, from, to).await?)
    }

    /// For a node: waits until it answers, and makes sure that the keyspace is this cluster's. What
    /// to say of it; and a room of which it has less than the bus.
    pub(in crate::app) async fn journal(
        config: &Config,
        readiness: &Readiness,
        bus: &Nats,
        stored: Settings,
    ) -> anyhow::Result<(Arc<dyn Journal>, String, Option<Behind>)> {
        let shards = config.cluster.validate()?;
        let settings = &config.cassandra;
        let wait = Wait {
            what: "Cassandra",
            address: settings.shown(),
            flag: "--cassandra",
            patience: config.node.start_timeout(),
            readiness,
        };
        let connect = async || {
            // Before anything is made in a keyspace that is not the cluster's.
            if settings.auto_migrate {
                check_known(config, stored).await?;
            }
            let journal = match cassandra::connect(settings, shards).await {
                Err(error @ Error::Unusable(_)) => {
                    check_known(config, stored).await?;
                    return Err(error);
                }
                connected => connected?,
            };
            let belongs = match stored.cluster {
                Some(id) => {
                    let tables = journal.store();
                    Some(tables.claim_keyspace(settings, id, stored.keyspace).await?)
                }
                // A gateway, before any writer of this version has given the cluster an id.
                None => None,
            };
            Ok((journal, belongs))
        };
        let connected = wait.until(connect, |error| match error {
            Error::Unusable(_) => Outlook::Hopeless,
            Error::Denied(_) => Outlook::Denied,
            _ => Outlook::Absent,
        });
        let (journal, belongs) = connected.await?;
        if let Some(belongs) = belongs {
            agree(config, bus, stored, belongs).await?;
        }
        let fact = fact(config, &journal).await?;
        let behind = match config.node.has(Role::Writer) {
            true => match ends_before(&journal, bus).await {
                Ok((_, behind)) => behind,
                Err(error) => {
                    tracing::debug!(%error, "how far the bus goes cannot be seen now");
                    None
                }
            },
            false => None,
        };
        Ok((Arc::new(journal), fact, behind))
    }

    /// Refuses a keyspace that nobody has used yet, where the cluster has its rooms in another.
    async fn check_known(config: &Config, stored: Settings) -> Result<(), Error> {
        match elsewhere(config, stored).await {
            Some(why) => Err(Error::Unusable(why)),
            None => Ok(()),
        }
    }

    /// Whether the keyspace is the one of this cluster, and knows it.
    async fn agree(
        config: &Config,
        bus: &Nats,
        stored: Settings,
        belongs: Belongs,
    ) -> anyhow::Result<()> {
        let ours = Settings {
            keyspace: Some(belongs.keyspace),
            ..stored
        };
        if belongs.cluster.is_some() {
            check(config, bus, stored, belongs).await?;
        }
        crate::app::agree(config, bus, ours).await.map(drop)
    }

    /// Whether the keyspace is the one of this cluster.
    async fn check(
        config: &Config,
        bus: &Nats,
        stored: Settings,
        belongs: Belongs,
    ) -> anyhow::Result<()> {
        let (keyspace, prefix) = (&config.cassandra.keyspace, &config.bus.prefix);
        let Some(theirs) = belongs.cluster else {
            bail!(
                "keyspace {keyspace} is not the one in which the cluster (prefix {prefix}) keeps \
                 its rooms: set cassandra.hosts and cassandra.keyspace to that one"
            );
        };
        let Some(mine) = stored.cluster.filter(|mine| *mine != theirs) else {
            return Ok(());
        };
        let why = another(config, Some(mine), theirs).await;
        let why = match why {
            // Two clusters would write the same rooms.
            Another::Here(why) => why,
            Another::Elsewhere(why) => {
                let remedy = bus.settings_command(&Settings {
                    cluster: Some(theirs),
                    keyspace: Some(belongs.keyspace),
                    ..stored
                });
                format!(
                    "{why}. Only if the bus of that cluster is lost, and none of its nodes runs \
                     anywhere, this one is its bus made anew; then tell it so: {remedy}"
                )
            }
        };
        bail!(why)
    }

    async fn fact(config: &Config, journal: &Cassandra) -> anyhow::Result<String> {
        let release = journal.store().release().await?;
        let (address, keyspace, events) = (
            config.cassandra.shown(),
            &config.cassandra.keyspace,
            journal.store().partitions().size(),
        );
        Ok(format!(
            "Cassandra {release} at {address}, keyspace {keyspace}, {events} events in a partition"
        ))
    }
}

/// Never reached: the configuration was refused before.
#[cfg(not(feature = "cassandra"))]
mod without {
    use crate::{
        bus::{ClusterId, Settings, nats::Nats},
        config::Config,
        journal::{Behind, Journal, cassandra::Absent, dump::Whole},
        ops::Readiness,
        room::Shards,
    };
    use std::sync::Arc;
    use uuid::Uuid;

    pub(in crate::app) async fn stored(_: &Config, _: Shards) -> anyhow::Result<Arc<dyn Whole>> {
        Err(Absent.into())
    }

    pub(in crate::app) async fn noted(_: &Config) -> Option<(Option<Uuid>, Option<ClusterId>)> {
        None
    }

    pub(in crate::app) async fn reach(_: &Config) -> anyhow::Result<()> {
        Err(Absent.into())
    }

    pub(in crate::app) async fn target(
        _: &Config,
        _: Shards,
        _: &Nats,
        _: Settings,
    ) -> anyhow::Result<(Arc<dyn Whole>, Uuid)> {
        Err(Absent.into())
    }

    pub(in crate::app) async fn hand_over(
        _: &Config,
        _: Shards,
        _: ClusterId,
        _: ClusterId,
    ) -> anyhow::Result<()> {
        Err(Absent.into())
    }

    pub(in crate::app) async fn journal(
        _: &Config,
        _: &Readiness,
        _: &Nats,
        _: Settings,
    ) -> anyhow::Result<(Arc<dyn Journal>, String, Option<Behind>)> {
        Err(Absent.into())
    }
}
