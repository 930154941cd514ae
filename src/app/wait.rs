//! Waiting for a server at start: try again until it answers, say so meanwhile, give up in the end.

use crate::ops::Readiness;
use anyhow::anyhow;
use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tracing::warn;

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two lines of the countdown.
const LINE: Duration = Duration::from_secs(5);

/// What a failed attempt says of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Nobody is there yet.
    Absent,
    /// The server is there and refuses this node; the error says what to do.
    Denied,
    /// It cannot get better.
    Hopeless,
}

/// A server that is waited for.
pub(super) struct Wait<'a> {
    /// What it is, such as `NATS`.
    pub(super) what: &'static str,
    /// Where it should be, without credentials.
    pub(super) address: String,
    /// The flag that sets the address.
    pub(super) flag: &'static str,
    /// How long it is waited for.
    pub(super) patience: Duration,
    /// Says meanwhile why the node is not ready.
    pub(super) readiness: &'a Readiness,
}

impl Wait<'_> {
    /// Tries until it works, for as long as trying again can help.
    pub(super) async fn until<T, E: Display, F: Future<Output = Result<T, E>>>(
        &self,
        mut attempt: impl FnMut() -> F,
        outlook: impl Fn(&E) -> Outlook,
    ) -> anyhow::Result<T> {
        let since = Instant::now();
        // What it said last, and whether somebody has to mend that.
        let why = Mutex::new(("no answer yet".to_owned(), false));
        let reason = || why.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let attempts = async {
            loop {
                let error = match attempt().await {
                    Ok(value) => return Ok(value),
                    Err(error) => error,
                };
                let (outlook, text) = (outlook(&error), error.to_string());
                if outlook == Outlook::Hopeless {
                    return Err(anyhow!("{} at {}: {text}", self.what, self.address));
                }
                let left = self.patience.saturating_sub(since.elapsed());
                if left.is_zero() {
                    return Err(self.given_up(outlook, &text));
                }
                *why.lock().unwrap_or_else(PoisonError::into_inner) =
                    (text, outlook == Outlook::Denied);
                sleep(PAUSE.min(left)).await;
            }
        };
        let countdown = async {
            sleep(PAUSE).await;
            loop {
                let left = self
                    .patience
                    .saturating_sub(since.elapsed())
                    .as_secs_f64()
                    .round();
                let waiting = format!("waiting for {} at {}", self.what, self.address);
                let (reason, is_denied) = reason();
                warn!("{waiting} ({reason}): giving up in {left} s");
                self.readiness.starting(match is_denied {
                    true => format!("{waiting}: {reason}"),
                    false => waiting,
                });
                sleep(LINE).await;
            }
        };
        // Every attempt has deadlines of its own; the last one may take longer than the countdown
        // (tables are made).
        tokio::select! {
            biased;
            done = attempts => done,
            () = countdown => unreachable!("the countdown has no end of its own"),
        }
    }

    fn given_up(&self, outlook: Outlook, why: &str) -> anyhow::Error {
        let (what, address, waited, flag) = (
            self.what,
            &self.address,
            self.patience.as_secs_f64(),
            self.flag,
        );
        match outlook {
            Outlook::Denied => anyhow!("{why}; gave up after {waited} s"),
            _ => anyhow!(
                "{what} at {address} was not there within {waited} s ({why}): start it, or give \
                 its address with {flag}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(readiness: &Readiness) -> Wait<'_> {
        Wait {
            what: "NATS",
            address: "nats://host:1".into(),
            flag: "--nats",
            patience: Duration::from_secs(60),
            readiness,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_comes_late_is_used() {
        let (mut attempts, readiness, since) = (0, Readiness::default(), Instant::now());
        let attempt = || {
            attempts += 1;
            let result = if attempts < 10 {
                Err("refused")
            } else {
                Ok(attempts)
            };
            async move { result }
        };
        assert_eq!(
            wait(&readiness)
                .until(attempt, |_| Outlook::Absent)
                .await
                .unwrap(),
            10
        );
        assert_eq!(since.elapsed(), Duration::from_secs(9));
        assert_eq!(readiness.why_not(), ["waiting for NATS at nats://host:1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_comes_is_named_in_the_end() {
        let (readiness, since) = (Readiness::default(), Instant::now());
        let error = wait(&readiness)
            .until(|| async { Err::<(), _>("refused") }, |_| Outlook::Absent)
            .await
            .unwrap_err();
        let expected = "NATS at nats://host:1 was not there within 60 s (refused): start it, or give its address with --nats";
        assert_eq!(
            (error.to_string().as_str(), since.elapsed()),
            (expected, Duration::from_secs(60))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_there_is_not_said_to_be_started() {
        let readiness = Readiness::default();
        let refused = || async { Err::<(), _>("it refuses the login: mend it") };
        let waiting = wait(&readiness);
        let error = waiting.until(refused, |_| Outlook::Denied).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "it refuses the login: mend it; gave up after 60 s"
        );
        let said = ["waiting for NATS at nats://host:1: it refuses the login: mend it"];
        assert_eq!(readiness.why_not(), said);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_goes_on_is_not_cut_off() {
        let readiness = Readiness::default();
        let slow = || async {
            sleep(Duration::from_secs(90)).await;
            Ok::<_, &str>("tables made")
        };
        assert_eq!(
            wait(&readiness)
                .until(slow, |_| Outlook::Absent)
                .await
                .unwrap(),
            "tables made"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_get_better_ends_at_once() {
        let (readiness, since) = (Readiness::default(), Instant::now());
        let error = wait(&readiness)
            .until(
                || async { Err::<(), _>("wrong version") },
                |_| Outlook::Hopeless,
            )
            .await
            .unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), since.elapsed()),
            ("NATS at nats://host:1: wrong version", Duration::ZERO)
        );
    }
}
