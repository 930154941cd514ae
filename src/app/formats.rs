//! Which forms the cluster stores, noted in its settings: a program that does not read them all
//! does not start beside what it would misunderstand.

use crate::{
    bus::{Bus, FORMATS, LOOK, Settings},
    cluster::View,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// After a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// Notes the newest forms that all nodes read, since those are written from then on, and then tells
/// them to whoever writes them: a program that does not read them starts no more. Once for each time
/// that they become newer.
pub(super) async fn note(
    bus: Arc<dyn Bus>,
    shards: u16,
    mut views: watch::Receiver<View>,
    told: impl Fn(u32) + Send,
    stop: CancellationToken,
) {
    let note = async {
        let mut noted = 0;
        loop {
            let format = match views.wait_for(|view| common(view) > noted).await {
                Ok(view) => common(&view),
                Err(_) => return,
            };
            let settings = Settings {
                format,
                ..Settings::of_shards(shards)
            };
            match bus.settings(&settings).await {
                Ok(stored) => {
                    noted = format;
                    told(stored.format.min(FORMATS));
                }
                Err(error) => {
                    debug!(%error, format, "the forms that are stored could not be noted");
                    sleep(PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(note).await;
}

/// Waits until the cluster stores forms that this program does not read. Whoever starts then is
/// refused; who was away, as in a pause, comes back to it. What it does not understand it leaves
/// meanwhile: while nobody else does, there is nothing that it would be in the way of.
pub(super) async fn until_outdated(bus: Arc<dyn Bus>, mut views: watch::Receiver<View>) {
    loop {
        let newer = |view: &View| view.nodes.iter().any(|node| node.formats > FORMATS);
        if views.wait_for(newer).await.is_err() {
            return std::future::pending().await;
        }
        match bus.stores_newer_forms().await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => debug!(%error, "which forms are stored is not known"),
        }
        sleep(LOOK).await;
    }
}

/// The newest forms that every node reads; 0: not known now.
fn common(view: &View) -> u32 {
    let formats = view.nodes.iter().map(|node| node.formats);
    formats.min().filter(|_| view.fresh).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::{Registry, memory::Hub},
        cluster::{Status, example::member},
    };

    #[tokio::test(start_paused = true)]
    async fn forms_are_noted_once_every_node_reads_them() {
        let bus = Arc::new(Hub::default().connect());
        let mut old = member(1, 8001, Status::Up).node;
        old.formats = 1;
        let new = member(2, 8002, Status::Up).node;
        let view = |nodes: Vec<_>| View {
            nodes,
            fresh: true,
            ..View::default()
        };
        let (told, views) = watch::channel(view(vec![old, new.clone()]));
        let stop = CancellationToken::new();
        let (written, of_writers) = watch::channel(0);
        let tell = move |format| {
            written.send_replace(format);
        };
        let noting = tokio::spawn(note(bus.clone(), 4, views, tell, stop.clone()));
        let open = Settings::of_shards(4);
        let stored = async |format: u32| {
            while bus.settings(&open).await.unwrap().format != format {
                sleep(Duration::from_millis(10)).await;
            }
        };
        stored(1).await;
        assert!(*of_writers.borrow() <= 1);
        told.send_replace(view(vec![new]));
        stored(FORMATS).await;
        let mut of_writers = of_writers;
        of_writers
            .wait_for(|format| *format == FORMATS)
            .await
            .unwrap();
        stop.cancel();
        noting.await.unwrap();
    }
}
