//! Having nodes remove nothing for a while, so that streams that are backed up one after another
//! fit together: what goes is in what is stored instead of it, and that may be in an earlier one.

use super::{
    look::{looking, there},
    shards,
};
use crate::{
    bus::{
        Held, Registry as _,
        nats::{Nats, Survey, survey},
    },
    config::Config,
    room::Millis,
};
use anyhow::Context;
use std::time::Duration;

/// The most that may be held, in minutes: what was erased is to go.
pub(crate) const MOST: u64 = 24 * 60;

/// What a command made of removals.
pub(crate) enum Removals {
    /// Nodes remove nothing until then.
    HeldUntil(Millis),
    /// They go on, and did not until now.
    Resumed,
    /// They went on before: what was backed up meanwhile may lack something.
    NotHeld,
}

/// Has the nodes of the configured cluster remove nothing of what its rooms let go for so many
/// minutes at least; zero: they remove it, whoever held it.
pub(crate) async fn hold(config: &Config, minutes: u64) -> anyhow::Result<Removals> {
    there(config, |_| true, None).await?.context(
        "the bus of the cluster is not there: there is nothing that a node would remove",
    )?;
    let bus = connect(config).await?;
    if minutes == 0 {
        let held = bus.held().await?;
        bus.release().await?;
        return Ok(held.map_or(Removals::NotHeld, |_| Removals::Resumed));
    }
    let time = Duration::from_secs(60 * minutes.min(MOST));
    Ok(Removals::HeldUntil(bus.hold(time).await?))
}

/// The hold of the configured cluster, if one is in force and that can be seen.
pub(crate) async fn held(config: &Config) -> Option<Held> {
    let found = survey(&looking(config, config.cluster.validate().ok()?)).await;
    let Ok(Survey::Cluster(Some(_))) = found else {
        return None;
    };
    connect(config).await.ok()?.held().await.ok()?
}

async fn connect(config: &Config) -> anyhow::Result<Nats> {
    Ok(Nats::connect(&looking(config, shards(config)?)).await?)
}
