//! Commands of no shard. A gateway may store commands under any number of a shard, as a permission
//! cannot know how many there are; nobody reads, decides and forgets those of a shard that there is
//! not. So whoever owns shards removes them, before they fill the stream.

use super::{
    link::Link,
    skipped::{Skipped, Unfit},
    subjects::Subjects,
};
use crate::bus::Error;
use futures::{StreamExt, TryStreamExt, stream};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Between two looks at the subjects of all commands, which cost the server something.
const EVERY: Duration = Duration::from_secs(10);
/// The part of the stream's bytes from which it is looked: below it such commands are in nobody's
/// way.
const PART: f64 = 0.25;

/// Shards that there are not, of which commands are removed in one look, and at a time.
const MOST: usize = 1024;
const AT_ONCE: usize = 16;

/// Removes commands of no shard, now and then.
pub(super) struct Sweep {
    subjects: Arc<Subjects>,
    skipped: Skipped,
    /// When it looked last.
    at: Option<Instant>,
}

impl Sweep {
    pub(super) fn new(subjects: Arc<Subjects>, skipped: Skipped) -> Self {
        Self {
            subjects,
            skipped,
            at: None,
        }
    }

    /// Looks if the stream of commands holds so many bytes of as many that it takes.
    pub(super) async fn look(&mut self, link: &Link, bytes: u64, most: u64) {
        let is_due = self.at.is_none_or(|at| at.elapsed() >= EVERY);
        if most == 0 || (bytes as f64) < PART * most as f64 || !is_due {
            return;
        }
        self.at = Some(Instant::now());
        if let Err(error) = self.sweep(link).await {
            tracing::debug!(%error, "commands of no shard could not be looked for");
        }
    }

    async fn sweep(&self, link: &Link) -> Result<(), Error> {
        let stream = self.subjects.stream("CMD");
        let all = format!("{}.cmd.>", self.subjects.prefix());
        let found = link.subjects(&stream, &all).await?;
        let strange = found.iter().filter_map(|it| self.subjects.of_no_shard(it));
        let strange: BTreeSet<String> = strange.collect();
        let purges = strange.into_iter().take(MOST).map(|filter| {
            let stream = &stream;
            async move {
                link.purge(stream, &filter, None).await?;
                let why = Unfit::Forged("there is no such shard: its commands are removed".into());
                let _ = self.skipped.fits::<()>("command", &filter, Err(why));
                Ok(())
            }
        });
        stream::iter(purges)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }
}
