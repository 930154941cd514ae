//! What the servers refuse a connection, in words: which login may not publish or subscribe where,
//! or may not come in. Each is told once: a node that repeats what is refused must not fill
//! the log.

use crate::metric;
use async_nats::{ClientError, Event, ServerError};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::broadcast, time::Instant};

/// The most that are told apart; beyond them they are counted only.
const TOLD: usize = 256;
/// Refusals that a waiting request may be behind.
const QUEUE: usize = 64;
/// Characters of a server's words that the log shows.
const SHOWN: usize = 256;

/// A server's words, and when they came.
type Said = (Instant, Arc<str>);

/// What a connection was refused. Clones share it.
#[derive(Clone)]
pub(super) struct Refusals {
    connection: &'static str,
    told: Arc<Mutex<HashSet<String>>>,
    /// What a server said last of a right that the login has not, and when.
    last_right: Arc<Mutex<Option<Said>>>,
    /// Subjects to which something was published and refused.
    unpublished: broadcast::Sender<Arc<str>>,
}

/// What a server's word is about.
#[derive(Debug, PartialEq, Eq)]
enum Refused<'a> {
    Publish(&'a str),
    Subscribe(&'a str),
    Login,
    Other,
}

impl Refused<'_> {
    fn of(words: &str) -> Refused<'_> {
        let subject = || words.split('"').nth(1);
        let lower = words.to_lowercase();
        if lower.starts_with("permissions violation for publish") {
            return subject().map_or(Refused::Other, Refused::Publish);
        }
        if lower.starts_with("permissions violation for subscription") {
            return subject().map_or(Refused::Other, Refused::Subscribe);
        }
        let of_login = [
            "authoriz",
            "authentic",
            "credential",
            "connections exceeded",
        ];
        match of_login.iter().any(|word| lower.contains(word)) {
            true => Refused::Login,
            false => Refused::Other,
        }
    }

    /// What is told once: subjects are told apart by their first tokens, because the last ones may
    /// be different each time.
    fn class(&self, words: &str) -> String {
        let subject = match self {
            Self::Publish(subject) | Self::Subscribe(subject) => *subject,
            Self::Login | Self::Other => return words.chars().take(SHOWN).collect(),
        };
        let tokens = match subject.split('.').next() {
            // $JS.API.CONSUMER.CREATE.STREAM
            Some("$JS") => 5,
            Some("$KV") => 3,
            _ => 2,
        };
        let first: Vec<&str> = subject.splitn(tokens + 1, '.').take(tokens).collect();
        format!("{} {}", self.kind(), first.join("."))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Publish(_) => "publish",
            Self::Subscribe(_) => "subscribe",
            Self::Login => "login",
            Self::Other => "other",
        }
    }
}

impl Refusals {
    pub(super) fn new(connection: &'static str) -> Self {
        Self {
            connection,
            told: Arc::default(),
            last_right: Arc::default(),
            unpublished: broadcast::Sender::new(QUEUE),
        }
    }

    /// The subjects to which what is published from now on is refused.
    pub(super) fn unpublished(&self) -> broadcast::Receiver<Arc<str>> {
        self.unpublished.subscribe()
    }

    /// What a server said last of a right that the login has not, if that was within this time:
    /// what is refused so has no answer.
    pub(super) fn last_right(&self, within: Duration) -> Option<Arc<str>> {
        let last = lock(&self.last_right);
        let recent = last.as_ref().filter(|(at, _)| at.elapsed() <= within);
        recent.map(|(_, said)| said.clone())
    }

    /// Takes in what the client library tells.
    pub(super) fn note(&self, event: &Event) {
        match event {
            Event::ServerError(ServerError::AuthorizationViolation) => {
                self.tell("authorization violation")
            }
            Event::ServerError(ServerError::Other(words)) => self.tell(words),
            // Others are losses of the connection, which are told elsewhere.
            Event::ClientError(ClientError::Other(words))
                if Refused::of(words) == Refused::Login =>
            {
                self.tell(words)
            }
            _ => {}
        }
    }

    fn tell(&self, words: &str) {
        let (refused, connection) = (Refused::of(words), self.connection);
        metric::BUS_REFUSED.of(refused.kind()).increment(1);
        // Before a request that waits hears of it and asks why.
        if matches!(refused, Refused::Publish(_) | Refused::Subscribe(_)) {
            *lock(&self.last_right) = Some((Instant::now(), words.into()));
        }
        if let Refused::Publish(subject) = refused {
            // Nobody may be waiting.
            let _ = self.unpublished.send(subject.into());
        }
        if !self.is_news(&refused.class(words)) {
            return;
        }
        let said: String = words.escape_debug().take(SHOWN).collect();
        let shown = |subject: &str| -> String { subject.escape_debug().take(SHOWN).collect() };
        match refused {
            Refused::Publish(subject) => tracing::warn!(
                connection,
                subject = shown(subject),
                "NATS does not let this login publish there: give it the permissions of its role \
                 (`safe-chat permissions`)"
            ),
            Refused::Subscribe(subject) => tracing::warn!(
                connection,
                subject = shown(subject),
                "NATS does not let this login subscribe there: give it the permissions of its role \
                 (`safe-chat permissions`)"
            ),
            Refused::Login => tracing::warn!(
                connection,
                said,
                "NATS does not let this node in: are its user, password, token, seed or \
                 credentials still valid there?"
            ),
            Refused::Other => tracing::warn!(connection, said, "NATS refuses this connection"),
        }
    }

    /// Whether none of its class was told yet.
    fn is_news(&self, class: &str) -> bool {
        let mut told = lock(&self.told);
        told.len() < TOLD && told.insert(class.to_owned())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_understood() {
        for (words, refused) in [
            (
                r#"Permissions Violation for Publish to "chat.evt.1.aaa""#,
                Refused::Publish("chat.evt.1.aaa"),
            ),
            (
                r#"Permissions Violation for Subscription to "chat.node.x.>""#,
                Refused::Subscribe("chat.node.x.>"),
            ),
            ("User Authentication Expired", Refused::Login),
            ("nats: authorization violation", Refused::Login),
            ("Invalid Subject", Refused::Other),
            ("Permissions Violation for Publish", Refused::Other),
        ] {
            assert_eq!(Refused::of(words), refused);
        }
    }

    #[test]
    fn subjects_that_are_another_each_time_are_one() {
        let class = |subject: &str| Refused::Publish(subject).class("");
        let made = |n: u8| {
            let subject = format!("$JS.API.CONSUMER.CREATE.KV_CHAT_NODES.watch-nodes-{n}.x");
            class(&subject)
        };
        assert_eq!(made(1), made(2));
        assert_eq!(class("chat.cmd.1.aaa"), class("chat.cmd.2.bbb"));
        assert_ne!(class("chat.cmd.1.aaa"), class("chat.evt.1.aaa"));
        assert_ne!(
            class("chat.cmd.1"),
            Refused::Subscribe("chat.cmd.1").class("")
        );
        assert_ne!(class("$KV.CHAT_SHARDS.1"), class("$KV.CHAT_SHARDS.2"));
    }

    #[test]
    fn each_subject_is_told_once_and_there_is_an_end() {
        let refusals = Refusals::new("commands");
        assert!(refusals.is_news("a") && refusals.is_news("b") && !refusals.is_news("a"));
        let news = (0..2 * TOLD).filter(|n| refusals.is_news(&n.to_string()));
        assert_eq!(news.count(), TOLD - 2);
    }
}
