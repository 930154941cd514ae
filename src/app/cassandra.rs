//! The journal in Cassandra, for a program that was built with it.

#[cfg(not(feature = "cassandra"))]
pub(super) use without::{journal, stored};

#[cfg(feature = "cassandra")]
pub(super) use with::{journal, stored};

#[cfg(feature = "cassandra")]
mod with {
    use crate::{
        app::wait::{Outlook, Wait},
        bus::{Settings, nats::Nats},
        config::Config,
        journal::{
            Error, Journal,
            cassandra::{self, Belongs, Cassandra},
            inspect::Inspect,
        },
        ops::Readiness,
        room::Shards,
    };
    use anyhow::bail;
    use std::sync::Arc;

    /// For looking at what is stored, which must not change tables.
    pub(in crate::app) async fn stored(
        config: &Config,
        shards: Shards,
    ) -> anyhow::Result<Box<dyn Inspect>> {
        let settings = cassandra::Config {
            auto_migrate: false,
            ..config.cassandra.clone()
        };
        Ok(Box::new(cassandra::connect(&settings, shards).await?))
    }

    /// For a node: waits until it answers, and makes sure that the keyspace is this cluster's. And
    /// what to say of it.
    pub(in crate::app) async fn journal(
        config: &Config,
        readiness: &Readiness,
        bus: &Nats,
        stored: Settings,
    ) -> anyhow::Result<(Arc<dyn Journal>, String)> {
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
            let journal = cassandra::connect(settings, shards).await?;
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
        Ok((Arc::new(journal), fact))
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
        let theirs = belongs
            .cluster
            .filter(|theirs| Some(*theirs) != stored.cluster);
        let Some((theirs, mine)) = theirs.zip(stored.cluster) else {
            return crate::app::agree(config, bus, ours).await.map(drop);
        };
        let (keyspace, prefix) = (&config.cassandra.keyspace, &config.bus.prefix);
        let remedy = bus.settings_command(&Settings {
            cluster: Some(theirs),
            ..ours
        });
        bail!(
            "keyspace {keyspace} at {} holds the rooms of cluster {theirs}, and the bus (prefix {prefix}) \
             is that of cluster {mine}: two clusters would write the same rooms. Set \
             cassandra.keyspace to another one; or if it is the same cluster, whose bus was made \
             anew, tell it so: {remedy}",
            config.cassandra.shown(),
        )
    }

    async fn fact(config: &Config, journal: &Cassandra) -> anyhow::Result<String> {
        let release = journal.store().release().await?;
        let (address, keyspace, events) = (
            config.cassandra.shown(),
            &config.cassandra.keyspace,
            config.cassandra.partition_size,
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
        bus::{Settings, nats::Nats},
        config::Config,
        journal::{Journal, cassandra::Absent, inspect::Inspect},
        ops::Readiness,
        room::Shards,
    };
    use std::sync::Arc;

    pub(in crate::app) async fn stored(_: &Config, _: Shards) -> anyhow::Result<Box<dyn Inspect>> {
        Err(Absent.into())
    }

    pub(in crate::app) async fn journal(
        _: &Config,
        _: &Readiness,
        _: &Nats,
        _: Settings,
    ) -> anyhow::Result<(Arc<dyn Journal>, String)> {
        Err(Absent.into())
    }
}
