//! What came of a run, as one value: written as JSON and as a page that needs nothing else, beside
//! the histograms themselves.

mod compare;
mod files;
mod limit;
mod text;

pub use compare::compare;
pub use files::{read, write};
pub use limit::Limit;

use crate::{
    measure::{Environment, Histogram, Quantiles, Recorder, Second},
    scenario::{Findings, Plan, Scenario, Step},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Late sends beyond this part of a latency make it the generator's own.
const LATE_PART: f64 = 0.2;
/// Less is nobody's concern, in milliseconds.
const LATE_MS: f64 = 2.0;
/// Of a core: more is all of it.
const WHOLE_CORE: f64 = 0.95;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Which scenario.
    pub scenario: String,
    /// As it was called.
    pub command: String,
    /// Where.
    pub environment: Environment,
    /// Every figure by its name: `delivery.p99` in milliseconds, others with their unit behind it.
    pub figures: BTreeMap<String, f64>,
    /// What a reader has to know of them.
    pub notes: Vec<String>,
    /// Latencies by quantile.
    pub spectra: Vec<Spectrum>,
    /// One entry for each second.
    pub seconds: Vec<Second>,
    /// What somebody noted, and after how many seconds.
    pub marks: Vec<(f64, String)>,
    /// Of knee.
    pub steps: Vec<Step>,
    /// What went wrong: its kind, what it was, how often.
    pub errors: Vec<(String, String, u64)>,
    /// Broken promises, word by word.
    pub broken: Vec<String>,
}

/// A latency by quantile: points of a quantile and milliseconds.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Spectrum {
    /// Of what.
    pub name: String,
    /// From when a message was due.
    pub due: Vec<(f64, f64)>,
    /// From when it was sent.
    pub sent: Vec<(f64, f64)>,
}

impl Report {
    /// Makes a report of what was measured.
    pub fn new(
        plan: &Plan,
        recorder: &Recorder,
        findings: Findings,
        environment: Environment,
    ) -> Self {
        let Findings {
            mut figures,
            steps,
            mut notes,
            moving,
        } = findings;
        // The latencies of a knee are those of its steps, and those of a storm, or of a deep room, are how long somebody
        // was away. Who is the last member is only known while nobody comes and goes.
        let stepwise = matches!(
            plan.scenario,
            Scenario::Knee | Scenario::Storm | Scenario::Deep
        );
        let mut spectra = Vec::new();
        for (name, latency, is_known) in [
            ("answer", &recorder.answer, !stepwise),
            ("delivery", &recorder.delivery, !stepwise),
            ("last", &recorder.last, !stepwise && !moving),
        ] {
            if is_known && !latency.due.is_empty() {
                quantiles(&mut figures, name, &latency.due);
                quantiles(&mut figures, &format!("{name}.uncorrected"), &latency.sent);
                spectra.push(Spectrum {
                    name: name.into(),
                    due: points(&latency.due),
                    sent: points(&latency.sent),
                });
            }
        }
        for (name, histogram) in [
            ("late", &recorder.late),
            ("connect", &recorder.connect),
            ("ping", &recorder.ping),
            ("resume", &recorder.resume),
        ] {
            if !histogram.is_empty() {
                quantiles(&mut figures, name, histogram);
            }
        }
        rates(&mut figures, recorder);
        costs(&mut figures, recorder);
        if plan.pace.saturate
            && figures
                .get("generator.cores")
                .is_some_and(|it| *it > WHOLE_CORE)
        {
            // Latencies of a saturated run are those of its queue, and here the queue was ours.
            figures.retain(|name, _| !name.contains(".p") && !name.starts_with("rate."));
            spectra.clear();
            notes.push(
                "the generator was at the limit of its core: rates and latencies are its own and left \
                 out; what a delivery costs the servers is not affected"
                    .into(),
            );
        }
        let errors = recorder
            .errors
            .iter()
            .map(|((kind, what), count)| (kind.clone(), what.clone(), *count));
        Self {
            scenario: format!("{:?}", plan.scenario).to_lowercase(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            environment,
            figures,
            notes,
            spectra,
            seconds: recorder.seconds.clone(),
            marks: recorder.marks.clone(),
            steps,
            errors: errors.collect(),
            broken: recorder.quoted.clone(),
        }
    }

    /// Whether the generator and not the service was measured, and how that shows.
    pub fn bottleneck(&self) -> Option<String> {
        if self.scenario == "knee" {
            return None;
        }
        let figure = |name: &str| self.figures.get(name).copied();
        if figure("generator.cores").is_some_and(|cores| cores > WHOLE_CORE)
            && figure("delivery.p99").is_some()
        {
            return Some(
                "the generator used its core up: fewer members, a lower rate, or a faster machine"
                    .into(),
            );
        }
        let late = figure("late.p99")?;
        let latency = figure("delivery.p99").or_else(|| figure("answer.p99"))?;
        (late > LATE_MS && late > latency * LATE_PART).then(|| {
            format!(
                "one message in a hundred was sent {late:.1} ms late or more, and p99 is {latency:.1} ms: \
                 give the generator a core of its own (taskset), or a lower rate"
            )
        })
    }
}

fn quantiles(figures: &mut BTreeMap<String, f64>, name: &str, histogram: &Histogram) {
    let Quantiles {
        p50,
        p90,
        p99,
        p999,
        max,
    } = Quantiles::of(histogram);
    for (quantile, value) in [
        ("p50", p50),
        ("p90", p90),
        ("p99", p99),
        ("p999", p999),
        ("pmax", max),
    ] {
        figures.insert(format!("{name}.{quantile}"), value);
    }
}

/// Up to the quantile that the slowest of them stands for.
fn points(histogram: &Histogram) -> Vec<(f64, f64)> {
    let ms = |micros: u64| micros as f64 / 1e3;
    let last = 1.0 - 1.0 / histogram.len() as f64;
    let mut points: Vec<_> = histogram
        .iter_quantiles(5)
        .map(|it| (it.quantile(), ms(it.value_iterated_to())))
        .filter(|(quantile, _)| *quantile < last)
        .collect();
    points.push((last, ms(histogram.max())));
    points
}

fn rates(figures: &mut BTreeMap<String, f64>, recorder: &Recorder) {
    let total = &recorder.total;
    let rejected: u64 = of_kind(recorder, "rejected");
    let mut note = |name: &str, value: f64| {
        figures.insert(name.into(), value);
    };
    note("sent", total.sent as f64);
    note("answered", total.answered as f64);
    note("delivered", total.delivered as f64);
    note("connected", total.connected as f64);
    note("rejected", rejected as f64);
    note(
        "unanswered",
        total.sent.saturating_sub(total.answered + rejected) as f64,
    );
    note("errors", total.errors as f64);
    note("broken", recorder.broken as f64);
    let seconds: f64 = recorder.seconds.iter().map(|second| second.length).sum();
    if seconds > 0.0 {
        let sum = |of: fn(&Second) -> u64| recorder.seconds.iter().map(of).sum::<u64>() as f64;
        note("rate.sent", sum(|second| second.sent) / seconds);
        note("rate.answered", sum(|second| second.answered) / seconds);
        note("rate.delivered", sum(|second| second.delivered) / seconds);
    }
}

fn costs(figures: &mut BTreeMap<String, f64>, recorder: &Recorder) {
    let seconds = &recorder.seconds;
    let length: f64 = seconds.iter().map(|second| second.length).sum();
    if length == 0.0 {
        return;
    }
    let cores = |of: fn(&Second) -> f64| {
        seconds
            .iter()
            .map(|second| of(second) * second.length)
            .sum::<f64>()
            / length
    };
    let mut note = |name: &str, value: f64| {
        figures.insert(name.into(), value);
    };
    note("generator.cores", cores(|second| second.own_cores));
    let used = cores(|second| second.server_cores);
    if used == 0.0 {
        return;
    }
    note("cpu.cores", used);
    note(
        "memory.kib",
        seconds.iter().map(|it| it.server_kib).max().unwrap_or(0) as f64,
    );
    let delivered: u64 = seconds.iter().map(|second| second.delivered).sum();
    let answered: u64 = seconds.iter().map(|second| second.answered).sum();
    if delivered > 0 {
        note(
            "cpu.per_delivery_us",
            used * length * 1e6 / delivered as f64,
        );
        note("cpu.deliveries_per_s", delivered as f64 / (used * length));
    }
    if answered > 0 {
        note("cpu.per_message_us", used * length * 1e6 / answered as f64);
    }
}

fn of_kind(recorder: &Recorder, kind: &str) -> u64 {
    let errors = recorder.errors.iter();
    errors
        .filter(|((of, _), _)| of == kind)
        .map(|(_, count)| count)
        .sum()
}
