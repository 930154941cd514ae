//! Why an operator does not get what was asked, as an answer.

use crate::ops::answer::{Reason, Refusal};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// Why an operator does not get what was asked.
#[derive(Debug)]
pub struct ApiError {
    /// The status of the answer.
    pub status: StatusCode,
    /// The same in a word. Empty: the answer has nothing but the message, as Akka Management's.
    pub reason: &'static str,
    /// What happened and what to do.
    pub message: String,
    /// After how many seconds trying again may help.
    pub retry_after: Option<u64>,
}

impl ApiError {
    /// An error that trying again does not help.
    pub fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
            retry_after: None,
        }
    }

    /// An answer that scripts for Akka Management know to the letter.
    pub fn akka(status: StatusCode, message: impl Into<String>) -> Self {
        Self::new(status, "", message)
    }

    /// Something is away at the moment.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }

    /// The request makes no sense; `reason` says which part of it.
    pub fn bad(reason: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason, message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = (!self.reason.is_empty()).then(|| Reason {
            reason: self.reason,
            message: self.message.clone(),
        });
        let body = Refusal {
            message: self.message,
            error,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"safe-chat\", charset=\"UTF-8\""),
            );
        }
        response
    }
}
