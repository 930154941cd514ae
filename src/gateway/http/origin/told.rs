//! Which refused origins and names the log was told of: who makes them up fills no log.

use super::Fault;
use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How often the same refused origin is told to the log.
const TELL_EVERY: Duration = Duration::from_secs(600);
/// Refused origins that are told in that time.
const TOLD: usize = 32;
/// Characters of an origin or a host in the log.
const SHOWN: usize = 100;

/// Which refused origins the log was told of lately.
#[derive(Default)]
pub(in crate::gateway::http) struct Told(Mutex<Lately>);

#[derive(Default)]
struct Lately {
    since: Option<Instant>,
    /// Origin and host.
    known: HashSet<(String, String)>,
}

impl Told {
    /// Tells the log of one that was refused, unless it knows it.
    pub(super) fn tell(&self, fault: &Fault, host: &str) {
        match fault {
            Fault::Page(origin) if self.is_new(origin, host) => tracing::warn!(
                origin = shown(origin),
                host = shown(host),
                "a page was refused: it is of another origin than this server, as the request \
                 names it; let a proxy pass Host on, or name the origin in \
                 gateway.allowed_origins"
            ),
            Fault::Name if self.is_new("", host) => tracing::warn!(
                host = shown(host),
                "a request was refused: it calls this server by a name that is not its own, as a \
                 page would that has its name lead here; if clients know it by that name, say so \
                 in gateway.public_hosts"
            ),
            _ => {}
        }
    }

    /// Whether the log is to be told of this one now.
    fn is_new(&self, origin: &str, host: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.since.is_none_or(|since| since.elapsed() >= TELL_EVERY) {
            told.since = Some(Instant::now());
            told.known.clear();
        }
        told.known.len() < TOLD && told.known.insert((shown(origin), shown(host)))
    }
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(SHOWN).collect();
    short.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_origin_is_told_once_in_a_while() {
        let told = Told::default();
        assert!(told.is_new("a", "h") && !told.is_new("a", "h") && told.is_new("a", "i"));
        assert_eq!(
            (0..1000)
                .filter(|n| told.is_new(&n.to_string(), "h"))
                .count(),
            TOLD - 2
        );
        tokio::time::advance(TELL_EVERY).await;
        assert!(told.is_new("a", "h"));
    }
}
