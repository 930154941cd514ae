//! What operators did: one line of the log for every act, when it is done. Its target is
//! `safe_chat::audit`, by which it is filtered; it is written whatever the level of the log, unless
//! that is `off`.

use super::accounts::Account;
use axum::{
    RequestExt,
    extract::{MatchedPath, RawPathParams, Request},
    http::{Method, StatusCode},
};
use std::{net::SocketAddr, sync::Arc};
use tokio::time::Instant;

/// Characters of a text that an operator sends which go into a line.
const LONGEST: usize = 200;

/// What somebody wants to do, and then did. Dropped before that, it was given up: its line says so.
pub(super) struct Act {
    operator: Arc<Account>,
    peer: SocketAddr,
    method: Method,
    route: String,
    subject: Subject,
    begun: Instant,
    is_told: bool,
}

/// To whom it is done.
#[derive(Default)]
struct Subject {
    room: Option<String>,
    user: Option<String>,
    member: Option<String>,
    query: Option<String>,
}

/// What an act is called that its route does not tell: an extension of the answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named(pub(super) &'static str);

impl Act {
    pub(super) async fn of(
        operator: Arc<Account>,
        peer: SocketAddr,
        request: &mut Request,
    ) -> Self {
        let mut subject = Subject {
            query: request.uri().query().map(short),
            ..Subject::default()
        };
        if let Ok(params) = request.extract_parts::<RawPathParams>().await {
            for (name, value) in &params {
                match name {
                    "room" => subject.room = Some(short(value)),
                    "user" => subject.user = Some(short(value)),
                    "member" => subject.member = Some(short(value)),
                    _ => {}
                }
            }
        }
        Self {
            operator,
            peer,
            method: request.method().clone(),
            // axum's mark of a parameter that may have slashes is none of the document's.
            route: route(request).replace("{*", "{"),
            subject,
            begun: Instant::now(),
            is_told: false,
        }
    }

    /// It is done, or refused: that is the answer. (Of a stream of answers, its beginning.)
    pub(super) fn done(mut self, status: StatusCode, named: Option<Named>) {
        self.tell(Some(status), named);
    }

    fn tell(&mut self, status: Option<StatusCode>, named: Option<Named>) {
        self.is_told = true;
        let Subject {
            room,
            user,
            member,
            query,
        } = &self.subject;
        tracing::info!(
            target: "safe_chat::audit",
            operator = self.operator.name(),
            role = self.operator.role().as_str(),
            peer = %self.peer,
            method = %self.method,
            route = self.route,
            operation = named.map(|Named(name)| name),
            room,
            user,
            member,
            query,
            status = status.map(|status| status.as_u16()),
            duration_ms = self.begun.elapsed().as_millis() as u64,
            "audit: {}",
            match status {
                Some(status) if status.is_success() => "an operator acted",
                Some(StatusCode::FORBIDDEN) => "an operator was refused an act",
                Some(_) => "an act of an operator failed",
                None => "an operator gave an act up, which may have been done",
            }
        );
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(None, None);
        }
    }
}

/// The pattern of a request's path.
pub(super) fn route(request: &Request) -> &str {
    let matched = request.extensions().get::<MatchedPath>();
    matched.map_or("", MatchedPath::as_str)
}

/// As much of a text as a line takes, on that line.
fn short(text: &str) -> String {
    let shown: String = text.chars().take(LONGEST).collect();
    shown.escape_debug().to_string()
}
