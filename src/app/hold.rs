//! Having nodes remove nothing for a while, so that streams that are backed up one after another
//! fit together: what goes is in what is stored instead of it, and that may be in an earlier one.

use super::{
    look::{looking, there},
    shards,
};
use crate::{
    bus::nats::{Nats, Survey, survey},
    config::Config,
    room::Millis,
};
use anyhow::Context;
use std::time::{Duration, SystemTime};

/// The most that may be held, in minutes: what was erased is to go.
pub(crate) const MOST: u64 = 24 * 60;

/// Has the nodes of the configured cluster remove nothing of what its rooms let go for so many
/// minutes at least; until when that is. `None` for zero minutes: they remove it, whoever held it.
pub(crate) async fn hold(config: &Config, minutes: u64) -> anyhow::Result<Option<Millis>> {
    there(config, |_| true, None).await?.context(
        "the bus of the cluster is not there: there is nothing that a node would remove",
    )?;
    let bus = Nats::connect(&looking(config, shards(config)?)).await?;
    if minutes == 0 {
        bus.release().await?;
        return Ok(None);
    }
    let held = Duration::from_secs(60 * minutes.min(MOST));
    let until = Millis::of(SystemTime::now() + held);
    Ok(Some(bus.hold(until).await?))
}

/// Until when the nodes of the configured cluster remove nothing, if somebody asked for that and
/// that can be seen.
pub(crate) async fn held(config: &Config) -> Option<Millis> {
    let found = survey(&looking(config, config.cluster.validate().ok()?)).await;
    let Ok(Survey::Cluster(Some(stored))) = found else {
        return None;
    };
    Some(stored.held_until).filter(|until| Millis::of(SystemTime::now()) < *until)
}
