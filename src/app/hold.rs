//! Having nodes remove nothing for a while, so that streams that are backed up one after another
//! fit together: what goes is in what is stored instead of it, and that may be in an earlier one.

use super::{
    look::{looking, there},
    shards,
};
use crate::{bus::nats::Nats, config::Config, room::Millis};
use anyhow::Context;
use std::time::{Duration, SystemTime};

/// The most that may be held, in minutes: what was erased is to go.
pub(crate) const MOST: u64 = 24 * 60;

/// Has the nodes of the configured cluster remove nothing of what its rooms let go for so many
/// minutes; zero: no longer. Until when that is.
pub(crate) async fn hold(config: &Config, minutes: u64) -> anyhow::Result<Option<Millis>> {
    there(config, |_| true, None).await?.context(
        "the bus of the cluster is not there: there is nothing that a node would remove",
    )?;
    let bus = Nats::connect(&looking(config, shards(config)?)).await?;
    let until = (minutes > 0).then(|| {
        let held = Duration::from_secs(60 * minutes.min(MOST));
        Millis::of(SystemTime::now() + held)
    });
    bus.hold(until.unwrap_or_default()).await?;
    Ok(until)
}
