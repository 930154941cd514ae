//! What a run measures: latencies, counts, what went wrong, and what it cost the servers and this
//! process. Once a second it is written down and shown.

mod environment;
mod processes;
mod second;

pub use environment::Environment;
pub use processes::{Processes, listening};
pub use second::{Quantiles, Second};

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    collections::BTreeMap,
    sync::mpsc::Receiver,
    time::{Duration, Instant, SystemTime},
};

/// Of microseconds.
pub type Histogram = hdrhistogram::Histogram<u64>;

/// A latency from two points on: from when a message was due, and from when it was sent. The second
/// one hides what waited in the generator; what users feel is the first.
pub struct Latency {
    /// From when it was due, in microseconds.
    pub due: Histogram,
    /// From when it was sent, in microseconds.
    pub sent: Histogram,
    /// From when it was due, in this second.
    second: Histogram,
    /// The seconds so far.
    pub log: Vec<(SystemTime, Histogram)>,
}

/// See the module.
pub struct Recorder {
    /// To its answer.
    pub answer: Latency,
    /// To each member.
    pub delivery: Latency,
    /// To the last member of the room.
    pub last: Latency,
    /// How late messages were sent.
    pub late: Histogram,
    /// From the request for a session to its welcome.
    pub connect: Histogram,
    /// From a ping to its pong.
    pub ping: Histogram,
    /// From the request of a session that resumes until it has all that it missed.
    pub resume: Histogram,
    /// Counts since the beginning of the run.
    pub total: Counts,
    /// What went wrong: its kind, what it was, how often.
    pub errors: BTreeMap<(String, String), u64>,
    /// Broken promises.
    pub broken: u64,
    /// Some of them, word by word.
    pub quoted: Vec<String>,
    /// One entry for each second of load.
    pub seconds: Vec<Second>,
    /// What somebody noted, and after how many seconds.
    pub marks: Vec<(f64, String)>,
    servers: Processes,
    own: Processes,
    /// Of this second: time that its thread only asked whether something had arrived.
    spun: Duration,
    before: Counts,
    began: Instant,
    next: Instant,
    running: bool,
    label: String,
    bar: ProgressBar,
    noted: Option<Receiver<String>>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Messages sent.
    pub sent: u64,
    /// Messages answered `journaled`.
    pub answered: u64,
    /// Events that members got.
    pub delivered: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Messages that the last member of their room has.
    pub seen_by_all: u64,
    /// Sessions that were let in.
    pub connected: u64,
    /// Whatever went wrong.
    pub errors: u64,
}

impl Latency {
    fn new() -> Self {
        Self {
            due: histogram(),
            sent: histogram(),
            second: histogram(),
            log: Vec::new(),
        }
    }

    fn record(&mut self, (due, sent): (u64, u64)) {
        self.due.saturating_record(due);
        self.sent.saturating_record(sent);
        self.second.saturating_record(due);
    }

    fn end_second(&mut self, began: SystemTime) -> Option<Quantiles> {
        if self.second.is_empty() {
            return None;
        }
        let quantiles = Quantiles::of(&self.second);
        self.log.push((began, self.second.clone()));
        self.second.reset();
        Some(quantiles)
    }
}

impl Recorder {
    /// `servers`: whose CPU and memory is counted. `noted`: what somebody wants to have marked.
    pub fn new(servers: Vec<u32>, quiet: bool, noted: Option<Receiver<String>>) -> Self {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::new_spinner()
        };
        bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("a sound template"));
        Self {
            answer: Latency::new(),
            delivery: Latency::new(),
            last: Latency::new(),
            late: histogram(),
            connect: histogram(),
            ping: histogram(),
            resume: histogram(),
            total: Counts::default(),
            errors: BTreeMap::new(),
            broken: 0,
            quoted: Vec::new(),
            seconds: Vec::new(),
            marks: Vec::new(),
            servers: Processes::new(servers),
            own: Processes::this_thread(),
            spun: Duration::ZERO,
            before: Counts::default(),
            began: Instant::now(),
            next: Instant::now() + Duration::from_secs(1),
            running: false,
            label: String::new(),
            bar,
            noted,
        }
    }

    /// The load begins: seconds count from here.
    pub fn begin(&mut self) {
        self.began = Instant::now();
        self.next = self.began + Duration::from_secs(1);
        self.running = true;
        // What joins made of events is not part of the load.
        (self.total.delivered, self.total.bytes) = (0, 0);
        self.before = self.total;
        self.servers.lap();
        self.own.lap();
        self.spun = Duration::ZERO;
    }

    /// The generator only asked whether something had arrived: CPU that it could have used.
    pub fn spun(&mut self, time: Duration) {
        self.spun += time;
    }

    /// The load has ended.
    pub fn end(&mut self) {
        self.running = false;
    }

    /// Says what is going on.
    pub fn label(&mut self, label: impl Into<String>) {
        self.label = label.into();
        self.bar.set_message(self.label.clone());
    }

    /// Forgets the latencies so far: another step begins.
    pub fn new_step(&mut self) {
        self.answer = Latency::new();
        self.delivery = Latency::new();
        self.last = Latency::new();
        self.late = histogram();
    }

    /// CPU time and memory of the servers.
    pub fn servers(&mut self) -> &mut Processes {
        &mut self.servers
    }

    /// A message was sent.
    pub fn sent(&mut self, due: Instant, now: Instant) {
        self.total.sent += 1;
        self.late
            .saturating_record(micros(now.saturating_duration_since(due)));
    }

    /// A message was answered.
    pub fn answered(&mut self, micros: (u64, u64)) {
        self.total.answered += 1;
        self.answer.record(micros);
    }

    /// A member got an event; after how long, if it is one of ours.
    pub fn delivered(&mut self, bytes: usize, micros: Option<(u64, u64)>, is_last: bool) {
        self.total.delivered += 1;
        self.total.bytes += bytes as u64;
        if let Some(micros) = micros {
            self.delivery.record(micros);
            if is_last {
                self.total.seen_by_all += 1;
                self.last.record(micros);
            }
        }
    }

    /// A session was let in.
    pub fn connected(&mut self, took: Duration) {
        self.total.connected += 1;
        self.connect.saturating_record(micros(took));
    }

    /// A session has what it missed.
    pub fn caught_up(&mut self, took: Duration) {
        self.resume.saturating_record(micros(took));
    }

    /// A gateway answered.
    pub fn ponged(&mut self, took: Duration) {
        self.ping.saturating_record(micros(took));
    }

    /// Something went wrong.
    pub fn count(&mut self, kind: &str, what: &str) {
        let of = (kind.to_owned(), what.to_owned());
        *self.errors.entry(of).or_default() += 1;
        self.total.errors += 1;
    }

    /// Writes a second down when it is over.
    pub fn tick(&mut self) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let length = now - (self.next - Duration::from_secs(1));
        self.next = now + Duration::from_secs(1);
        while let Some(mark) = self.noted.as_ref().and_then(|noted| noted.try_recv().ok()) {
            self.marks.push((self.began.elapsed().as_secs_f64(), mark));
        }
        let (server, own) = (self.servers.lap(), self.own.lap());
        let own = own.cpu.saturating_sub(std::mem::take(&mut self.spun));
        let began = SystemTime::now() - length;
        let second = Second {
            at: (now - self.began).as_secs_f64(),
            length: length.as_secs_f64(),
            sent: self.total.sent - self.before.sent,
            answered: self.total.answered - self.before.answered,
            delivered: self.total.delivered - self.before.delivered,
            connected: self.total.connected - self.before.connected,
            errors: self.total.errors - self.before.errors,
            answer: self.answer.end_second(began),
            delivery: self.delivery.end_second(began),
            last: self.last.end_second(began),
            server_cores: server.cpu.as_secs_f64() / length.as_secs_f64(),
            server_kib: server.kib,
            own_cores: own.as_secs_f64() / length.as_secs_f64(),
        };
        self.before = self.total;
        self.bar.set_message(self.shown(&second));
        self.bar.tick();
        if self.running {
            self.seconds.push(second);
        }
    }

    /// What one sees while it runs.
    fn shown(&self, second: &Second) -> String {
        let rate = |count: u64| count as f64 / second.length;
        let ms = |quantiles: &Option<Quantiles>| {
            quantiles.as_ref().map_or_else(
                || "-".into(),
                |it| format!("{:.1}/{:.1} ms", it.p50, it.p99),
            )
        };
        let errors: Vec<_> = self
            .errors
            .iter()
            .map(|((kind, what), count)| format!("{kind} {what}: {count}"))
            .collect();
        let quantile =
            |histogram: &Histogram, at: f64| histogram.value_at_quantile(at) as f64 / 1e3;
        format!(
            "{:5.0} s {}: sent {:.0}/s, answered {:.0}/s in {}, delivered {:.0}/s in {}, connect p99 {:.1} ms, \
             ping p50 {:.2} ms, late p99 {:.2} ms, servers {:.2} cores, this {:.2}{}{}",
            second.at,
            self.label,
            rate(second.sent),
            rate(second.answered),
            ms(&second.answer),
            rate(second.delivered),
            ms(&second.delivery),
            quantile(&self.connect, 0.99),
            quantile(&self.ping, 0.5),
            quantile(&self.late, 0.99),
            second.server_cores,
            second.own_cores,
            if errors.is_empty() { "" } else { ", " },
            errors.join(", "),
        )
    }

    /// Takes the live line away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// 1 microsecond to 10 minutes, to three digits.
pub fn histogram() -> Histogram {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are valid")
}

fn micros(duration: Duration) -> u64 {
    duration.as_micros() as u64
}
