//! A TCP proxy whose network can be broken while connections go through it: cut, refused, delayed,
//! reset, throttled.
//!
//! It stands in front of a server (or of one, for one node) on loopback. [`start`] gives a
//! [`Handle`]; [`Handle::set`] puts new [`Rules`] in force for all connections, those that are
//! there and those to come. Each connection is one task (`link`) with a pipe for each direction
//! (`pipe`).

mod link;
mod pipe;
#[cfg(test)]
mod tests;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// Connections at a time; beyond them new ones wait in the listen queue. A node has some to each of
/// its servers, a gateway one per client.
const CONNECTIONS: usize = 4096;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rules {
    /// Whether anything passes.
    pub way: Way,
    /// What delays bytes on their way to the server.
    pub there: Delay,
    /// What delays bytes on their way to the client.
    pub back: Delay,
    /// The probability, for each connection and second, that it is reset.
    pub resets_per_second: f64,
    /// The probability, for each connection and KiB of either direction, that it is reset.
    pub resets_per_kib: f64,
    /// Bytes per second of each connection and direction; `None`: as fast as the ends are.
    pub bytes_per_second: Option<u32>,
}

/// Whether anything passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// All.
    #[default]
    Open,
    /// Nothing, and nobody is told: a partition. Connections stay, and go on when the way opens;
    /// new ones are not answered until then.
    Cut,
    /// Connections are reset at once, those that are there and each new one.
    Refused,
}

/// A delay of each chunk of bytes. The order stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delay {
    /// The least.
    pub least: Duration,
    /// What is added at most, by chance.
    pub jitter: Duration,
}

impl Rules {
    /// All passes, as if there were no proxy.
    pub const OPEN: Self = Self {
        way: Way::Open,
        there: Delay::NONE,
        back: Delay::NONE,
        resets_per_second: 0.0,
        resets_per_kib: 0.0,
        bytes_per_second: None,
    };
    /// A partition.
    pub const CUT: Self = Self {
        way: Way::Cut,
        ..Self::OPEN
    };
    /// Every connection is reset at once.
    pub const REFUSED: Self = Self {
        way: Way::Refused,
        ..Self::OPEN
    };

    /// The same delay in both directions.
    pub fn delayed(least: Duration, jitter: Duration) -> Self {
        let delay = Delay { least, jitter };
        Self {
            there: delay,
            back: delay,
            ..Self::OPEN
        }
    }

    /// Each connection is reset with this probability in each second.
    pub fn resetting(per_second: f64) -> Self {
        Self {
            resets_per_second: per_second,
            ..Self::OPEN
        }
    }

    /// As it can be obeyed: a probability is within 0 and 1, a rate above 0.
    fn sane(self) -> Self {
        let probability = |p: f64| if p.is_nan() { 0.0 } else { p.clamp(0.0, 1.0) };
        Self {
            resets_per_second: probability(self.resets_per_second),
            resets_per_kib: probability(self.resets_per_kib),
            bytes_per_second: self.bytes_per_second.map(|rate| rate.max(1)),
            ..self
        }
    }
}

impl Delay {
    /// No delay.
    pub const NONE: Self = Self {
        least: Duration::ZERO,
        jitter: Duration::ZERO,
    };
}

/// Breaks and mends the network of a proxy. Clones are the same proxy; it ends, with all its
/// connections, when the last one is dropped.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    rules: watch::Sender<Rules>,
    counts: Arc<Counts>,
    accepting: AbortHandle,
}

/// What happened so far.
#[derive(Debug, Default)]
struct Counts {
    open: AtomicUsize,
    resets: AtomicU64,
}

/// Listens on `at` and forwards to `server`, which need not be there yet. All that happens by
/// chance follows from `seed`.
pub async fn start(at: SocketAddr, server: SocketAddr, seed: u64) -> io::Result<Handle> {
    let listener = TcpListener::bind(at).await?;
    let address = listener.local_addr()?;
    let (rules, obeyed) = watch::channel(Rules::OPEN);
    let counts = Arc::<Counts>::default();
    let accepting =
        tokio::spawn(accept(listener, server, seed, obeyed, counts.clone())).abort_handle();
    Ok(Handle(Arc::new(Inner {
        address,
        rules,
        counts,
        accepting,
    })))
}

impl Handle {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Puts rules in force, from now on and for all connections. Bytes that were read before stay
    /// under way.
    pub fn set(&self, rules: Rules) {
        self.0.rules.send_replace(rules.sane());
    }

    /// The rules that are in force.
    pub fn rules(&self) -> Rules {
        *self.0.rules.borrow()
    }

    /// Connections that are there now.
    pub fn connections(&self) -> usize {
        self.0.counts.open.load(Ordering::Relaxed)
    }

    /// Connections that this proxy has reset so far, by rule.
    pub fn resets(&self) -> u64 {
        self.0.counts.resets.load(Ordering::Relaxed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Ends by being aborted; then all connections end with it.
async fn accept(
    listener: TcpListener,
    server: SocketAddr,
    seed: u64,
    rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
) {
    let mut links = JoinSet::new();
    for number in 0.. {
        while links.len() >= CONNECTIONS {
            links.join_next().await;
        }
        while links.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                links.spawn(link::run(
                    client,
                    server,
                    seed.wrapping_add(number),
                    rules.clone(),
                    counts.clone(),
                ));
            }
            // The client is gone already, or this process has too many files open: then one must
            // end first.
            Err(_) => {
                links.join_next().await;
            }
        }
    }
}
