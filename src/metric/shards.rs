//! How far the shards are that this process writes: shown while it writes them, and gone with them.

use super::text;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Shards with a label of their own, as many as a cluster usually has. The others of a larger one
/// share the label [`OTHERS`].
pub(crate) const LABELS: u16 = 64;
const OTHERS: &str = "others";

/// Those that are written now. Two nodes of one process (tests) may hold one shard in turn.
static OPEN: Mutex<Vec<(u16, Arc<Figures>)>> = Mutex::new(Vec::new());

/// The figures of one shard.
#[derive(Default)]
struct Figures {
    epoch: AtomicU64,
    rooms: AtomicU64,
    unsettled: AtomicU64,
    lag_ms: AtomicU64,
}

/// The figures of one shard, as they were at one moment.
pub(crate) struct Shown {
    pub(crate) shard: u16,
    pub(crate) epoch: u64,
    pub(crate) rooms: u64,
    pub(crate) unsettled: u64,
    pub(crate) lag_ms: u64,
}

/// A shard's place among those that are shown, until it is dropped.
pub(crate) struct ShardMeter(Arc<Figures>);

impl ShardMeter {
    /// The shard is written under this epoch from now on.
    pub(crate) fn new(shard: u16, epoch: u64) -> Self {
        let figures = Arc::new(Figures::default());
        figures.epoch.store(epoch, Relaxed);
        open().push((shard, figures.clone()));
        Self(figures)
    }

    /// It has so many rooms open, and commands that are not settled, the oldest for so long.
    pub(crate) fn set(&self, rooms: usize, unsettled: usize, lag_ms: u64) {
        self.0.rooms.store(rooms as u64, Relaxed);
        self.0.unsettled.store(unsettled as u64, Relaxed);
        self.0.lag_ms.store(lag_ms, Relaxed);
    }
}

impl Drop for ShardMeter {
    fn drop(&mut self) {
        open().retain(|(_, figures)| !Arc::ptr_eq(figures, &self.0));
    }
}

fn open() -> MutexGuard<'static, Vec<(u16, Arc<Figures>)>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The figures of all shards that are written now, by number.
pub(crate) fn figures() -> Vec<Shown> {
    let mut shards: Vec<_> = open()
        .iter()
        .map(|(shard, figures)| Shown {
            shard: *shard,
            epoch: figures.epoch.load(Relaxed),
            rooms: figures.rooms.load(Relaxed),
            unsettled: figures.unsettled.load(Relaxed),
            lag_ms: figures.lag_ms.load(Relaxed),
        })
        .collect();
    shards.sort_unstable_by_key(|figures| figures.shard);
    shards
}

/// Writes the figures of all shards that are written now.
pub(crate) fn write(out: &mut String) {
    let shards = open().clone();
    let mut show = |name, value: fn(&Figures) -> f64, join: fn(f64, f64) -> f64| {
        let mut samples: BTreeMap<(u16, String), f64> = BTreeMap::new();
        for (shard, figures) in &shards {
            let label = match *shard < LABELS {
                true => (*shard, shard.to_string()),
                false => (LABELS, OTHERS.to_owned()),
            };
            let value = value(figures);
            samples
                .entry(label)
                .and_modify(|sample| *sample = join(*sample, value))
                .or_insert(value);
        }
        let samples: Vec<_> = samples
            .into_iter()
            .map(|((_, label), sample)| (format!("shard=\"{label}\""), sample))
            .collect();
        text::write(out, name, &samples);
    };
    show(
        "safechat_shard_epoch",
        |it| it.epoch.load(Relaxed) as f64,
        f64::max,
    );
    show(
        "safechat_shard_rooms",
        |it| it.rooms.load(Relaxed) as f64,
        |one, other| one + other,
    );
    show(
        "safechat_shard_unsettled_commands",
        |it| it.unsettled.load(Relaxed) as f64,
        |one, other| one + other,
    );
    show(
        "safechat_shard_lag_seconds",
        |it| it.lag_ms.load(Relaxed) as f64 / 1000.0,
        f64::max,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_shown_while_it_is_written_and_many_share_a_label() {
        let text = || {
            let mut out = String::new();
            write(&mut out);
            out
        };
        let one = ShardMeter::new(17, 4);
        one.set(3, 2, 1500);
        let (high, higher) = (ShardMeter::new(900, 1), ShardMeter::new(901, 9));
        high.set(1, 0, 0);
        higher.set(2, 0, 250);
        let shown = text();
        for line in [
            "# TYPE safechat_shard_epoch gauge",
            r#"safechat_shard_epoch{shard="17"} 4"#,
            r#"safechat_shard_rooms{shard="17"} 3"#,
            r#"safechat_shard_unsettled_commands{shard="17"} 2"#,
            r#"safechat_shard_lag_seconds{shard="17"} 1.5"#,
            r#"safechat_shard_rooms{shard="others"} 3"#,
            r#"safechat_shard_epoch{shard="others"} 9"#,
            r#"safechat_shard_lag_seconds{shard="others"} 0.25"#,
        ] {
            assert!(shown.lines().any(|it| it == line), "{line} in\n{shown}");
        }
        assert!(!shown.contains("900"), "{shown}");
        drop((one, high, higher));
        assert!(!text().contains(r#"shard="17""#));
    }
}
