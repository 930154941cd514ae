//! The journal in Cassandra, for a program that was built with it.

#[cfg(not(feature = "cassandra"))]
pub(super) use without::{journal, stored};

#[cfg(feature = "cassandra")]
pub(super) use with::{journal, stored};

#[cfg(feature = "cassandra")]
mod with {
    use crate::{
        app::wait::{Outlook, Wait},
        config::Config,
        journal::{
            Error, Journal,
            cassandra::{self, Cassandra},
            inspect::Inspect,
        },
        ops::Readiness,
        room::Shards,
    };
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

    /// For a node: waits until it answers. And what to say of it.
    pub(in crate::app) async fn journal(
        config: &Config,
        shards: Shards,
        readiness: &Readiness,
    ) -> anyhow::Result<(Arc<dyn Journal>, String)> {
        let settings = &config.cassandra;
        let wait = Wait {
            what: "Cassandra",
            address: settings.shown(),
            flag: "--cassandra",
            patience: config.node.start_timeout(),
            readiness,
        };
        let connected = wait.until(
            || cassandra::connect(settings, shards),
            |error| match error {
                Error::Unusable(_) => Outlook::Hopeless,
                Error::Denied(_) => Outlook::Denied,
                _ => Outlook::Absent,
            },
        );
        let journal = connected.await?;
        let fact = fact(config, &journal).await?;
        Ok((Arc::new(journal), fact))
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
        _: Shards,
        _: &Readiness,
    ) -> anyhow::Result<(Arc<dyn Journal>, String)> {
        Err(Absent.into())
    }
}
