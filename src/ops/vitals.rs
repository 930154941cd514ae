//! What this node measures: all of it as the text of `/metrics`, and the part of it that the
//! dashboard shows.

use super::{
    Readiness,
    answer::{BusConnection, CassandraNodes, Figures, Histogram, ShardFigures},
    process,
};
use crate::metric::{self, shards};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use metrics_exporter_prometheus::PrometheusHandle;
use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::spawn_blocking, time::Instant};

/// However many look on, the figures are taken no more often.
const AGE: Duration = Duration::from_millis(900);

/// Times per second that all is measured for Prometheus: more than scrapers need, and little of a
/// processor. Anybody who reaches the port may ask.
const RATE: NonZeroU32 = NonZeroU32::new(5).expect("above 0");
const BURST: NonZeroU32 = NonZeroU32::new(50).expect("above 0");

/// Where this node's figures are read. Clones are the same.
#[derive(Clone)]
pub struct Vitals {
    /// The node's name.
    node: Arc<str>,
    readiness: Arc<Readiness>,
    recorder: PrometheusHandle,
    last: Arc<Mutex<Option<(Instant, Figures)>>>,
    shown: Arc<Shown>,
}

/// What was shown last, which is shown again to whoever asks too often.
struct Shown {
    /// Held while all is measured: once at a time.
    text: tokio::sync::Mutex<String>,
    may_measure: DefaultDirectRateLimiter,
}

impl Vitals {
    pub(super) fn new(node: &str, readiness: Arc<Readiness>, recorder: PrometheusHandle) -> Self {
        Self {
            node: node.into(),
            readiness,
            recorder,
            last: Arc::default(),
            shown: Arc::new(Shown {
                text: tokio::sync::Mutex::default(),
                may_measure: RateLimiter::direct(Quota::per_second(RATE).allow_burst(BURST)),
            }),
        }
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.readiness
    }

    /// Tidies histograms, which grow while nobody asks.
    pub(super) fn upkeep(&self) {
        self.recorder.run_upkeep();
    }

    /// All that is measured, for Prometheus; to whoever asks too often, as it was a moment ago.
    pub(super) async fn shown(&self) -> String {
        let mut text = self.shown.text.lock().await;
        if text.is_empty() || self.shown.may_measure.check().is_ok() {
            let this = self.clone();
            match spawn_blocking(move || this.text()).await {
                Ok(measured) => *text = measured,
                Err(error) => tracing::warn!(%error, "what is measured cannot be shown"),
            }
        }
        text.clone()
    }

    /// All that is measured. Reads files of the system.
    fn text(&self) -> String {
        process::record();
        self.readiness.record();
        let mut text = self.recorder.render();
        metric::write(&mut text, &self.node);
        process::write(&mut text);
        text
    }

    /// What the dashboard shows, at most a second old.
    pub fn figures(&self) -> Figures {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((at, figures)) if at.elapsed() < AGE => figures.clone(),
            _ => {
                let figures = self.read();
                *last = Some((Instant::now(), figures.clone()));
                figures
            }
        }
    }

    fn read(&self) -> Figures {
        let text = self.text();
        let scrape = Scrape::of(&text);
        let why = self.readiness.why_not();
        let started = scrape.sum("process_start_time_seconds", any);
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let outcome = |name, wanted: &'static [&'static str]| {
            let is_wanted = |label: &str| wanted.contains(&value(label));
            scrape.sum(name, is_wanted) as u64
        };
        let (messages, joins) = (metric::MESSAGES.name(), metric::JOINS.name());
        let (journaled, joined) = (
            outcome(messages, &["journaled"]),
            outcome(joins, &["joined"]),
        );
        let answered = scrape.sum(messages, any) as u64 - outcome(messages, &["duplicate"]);
        Figures {
            ready: why.is_empty(),
            why,
            warnings: self.readiness.warnings(),
            uptime_seconds: (now.as_secs_f64() - started).max(0.0),
            memory_bytes: scrape.sum("process_resident_memory_bytes", any) as u64,
            sessions: scrape.sum(metric::SESSIONS.name(), any) as u64,
            rooms: scrape.sum(metric::ROOMS.name(), any) as u64,
            journaled,
            messages_refused: answered - journaled,
            delivered: scrape.sum(metric::EVENTS_FANNED_OUT.name(), any) as u64,
            joined,
            joins_refused: scrape.sum(joins, any) as u64 - joined,
            frame_to_journaled: scrape.histogram(metric::FRAME_TO_JOURNALED.name()),
            journaled_to_delivered: scrape.histogram(metric::JOURNALED_TO_DELIVERED.name()),
            bus: bus(&scrape),
            cassandra: cassandra(&scrape),
            shards: shards::figures().into_iter().map(shard).collect(),
        }
    }
}

fn shard(shown: shards::Shown) -> ShardFigures {
    ShardFigures {
        shard: shown.shard,
        epoch: shown.epoch,
        rooms: shown.rooms,
        unsettled: shown.unsettled,
        lag_ms: shown.lag_ms,
    }
}

fn bus(scrape: &Scrape) -> Vec<BusConnection> {
    let lame = metric::BUS_LAME_DUCK.name();
    let connections = scrape.samples(metric::BUS_CONNECTED.name()).iter();
    let connections = connections.filter(|(label, _)| value(label) != "other");
    connections
        .map(|(label, connected)| BusConnection {
            connection: value(label).to_owned(),
            connected: *connected > 0.0,
            lame_duck: scrape.sum(lame, |other| other == *label) > 0.0,
        })
        .collect()
}

fn cassandra(scrape: &Scrape) -> Option<CassandraNodes> {
    let name = metric::CASSANDRA_NODES.name();
    let of = |state| scrape.sum(name, |label| value(label) == state) as u64;
    let nodes = CassandraNodes {
        connected: of("connected"),
        lost: of("lost"),
    };
    (nodes.connected + nodes.lost > 0).then_some(nodes)
}

/// The samples of a text of ours by name, with their label as it is written.
struct Scrape<'a>(HashMap<&'a str, Vec<(&'a str, f64)>>);

fn any(_: &str) -> bool {
    true
}

/// The value of the only label: `outcome="joined"`.
fn value(label: &str) -> &str {
    label.split('"').nth(1).unwrap_or_default()
}

impl<'a> Scrape<'a> {
    fn of(text: &'a str) -> Self {
        let mut samples: HashMap<_, Vec<_>> = HashMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((sample, figure)) = line.rsplit_once(' ') else {
                continue;
            };
            let (name, label) = sample.split_once('{').unwrap_or((sample, ""));
            if let Ok(figure) = figure.parse() {
                samples
                    .entry(name)
                    .or_default()
                    .push((label.trim_end_matches('}'), figure));
            }
        }
        Self(samples)
    }

    fn samples(&self, name: &str) -> &[(&'a str, f64)] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    fn sum(&self, name: &str, is_wanted: impl Fn(&str) -> bool) -> f64 {
        let wanted = self.samples(name).iter().filter(|(it, _)| is_wanted(it));
        wanted.map(|(_, figure)| figure).sum()
    }

    fn histogram(&self, name: &str) -> Histogram {
        let buckets = self.samples(&format!("{name}_bucket"));
        let bounds = buckets.iter().map(|(label, _)| value(label).parse::<f64>());
        Histogram {
            bounds: bounds.flatten().filter(|it| it.is_finite()).collect(),
            counts: buckets.iter().map(|(_, count)| *count as u64).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_in_the_text_of_the_metrics() {
        let text = "# HELP a_total A\n# TYPE a_total counter\na_total{outcome=\"x\"} 2\n\
                    a_total{outcome=\"y\"} 3\n\nb 1.5\nc_bucket{le=\"0.5\"} 1\n\
                    c_bucket{le=\"+Inf\"} 4\nc_sum 9\nc_count 4\n";
        let scrape = Scrape::of(text);
        assert_eq!(scrape.sum("a_total", any), 5.0);
        assert_eq!(scrape.sum("a_total", |label| value(label) == "y"), 3.0);
        assert_eq!(scrape.sum("b", any), 1.5);
        assert_eq!(scrape.sum("nothing", any), 0.0);
        let Histogram { bounds, counts } = scrape.histogram("c");
        assert_eq!((bounds, counts), (vec![0.5], vec![1, 4]));
    }
}
