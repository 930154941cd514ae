//! `safe-chat serve`: a node, from its configuration to its last goodbye.

use super::{Settings, refuse_unknown, runtime};
use crate::{
    app::App,
    config::{Config, Loaded},
    shutdown::{self, Asked},
    telemetry,
};
use anyhow::{Context, anyhow, ensure};
use std::time::Instant;
use tracing::{info, warn};

pub(super) fn run(settings: &Settings) -> anyhow::Result<()> {
    let runtime = runtime()?;
    // Before all else, so that no signal finds a node that does not know what it means.
    let signals = runtime.block_on(async { shutdown::on_signals() });
    let asked = signals.context("signals cannot be received")?;
    let (format, name) = settings.voice();
    telemetry::speak(format, &name);
    let Loaded {
        config,
        unknown,
        notes,
        ..
    } = settings.usable()?;
    refuse_unknown(&unknown)?;
    telemetry::trace::start(&config.trace, &config.node.name).map_err(|why| anyhow!(why))?;
    telemetry::start(&config.log, &config.node.name).map_err(|why| anyhow!(why))?;
    if settings.nats.as_deref().is_some_and(|it| it.contains('@')) {
        warn!(
            "--nats has a login in it, which everybody on this machine can see in the list of \
             processes: set NATS_FILE to a file with the addresses instead"
        );
    }
    for note in notes {
        info!("{note}");
    }
    let served = runtime.block_on(serve(config, asked));
    // What did not end within the drain's time must not hold up the exit.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config, asked: Asked) -> anyhow::Result<()> {
    let drain_timeout = config.node.drain_timeout();
    let Some(running) = asked.end.run_until_cancelled(App::start(config)).await else {
        info!("ended before the start was over");
        return Ok(());
    };
    let mut running = running?;
    let unwanted = running.unwanted();
    // Asked to stop at the very moment in which a part fails: stopping in order is still the better
    // end.
    loop {
        tokio::select! {
            biased;
            () = asked.end.cancelled() => break,
            () = unwanted.cancelled() => break,
            error = running.failed() => return Err(error),
            () = asked.reload.notified() => running.reload(),
        }
    }
    let down = running.is_down();
    let deadline = Instant::now() + drain_timeout;
    running.drain().await;
    // The last spans go within the time that the whole stop has.
    let left = deadline.saturating_duration_since(Instant::now());
    let finish = move || telemetry::trace::finish(left);
    tokio::task::spawn_blocking(finish).await?;
    // Whoever supervises it starts it again, as a new member.
    ensure!(
        !down,
        "an operator declared this node down while it lived: others have its shards; start it again"
    );
    Ok(())
}
