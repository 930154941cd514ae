//! What is said over HTTP: the status of a refusal, its body, and when to come back.

use super::Utf8;
use crate::room::{Reason, Reentry, Rejection};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;

/// When to come back if a refusal says nothing of it, in seconds: about as long as a takeover
/// takes.
const RETRY_AFTER: u64 = 2;

/// The status code of an answer that refuses.
pub fn status(reason: Reason) -> u16 {
    match reason {
        Reason::BadFrame
        | Reason::BadField
        | Reason::Unsupported
        | Reason::BadRoom
        | Reason::BadUser
        | Reason::BadPub
        | Reason::BadQuery
        | Reason::BadRequest
        | Reason::BadLifetime
        | Reason::BadBundle
        | Reason::TooManyMembers
        | Reason::SealedRoom
        | Reason::NotSealed => 400,
        Reason::TokenRequired | Reason::TokenInvalid | Reason::TokenExpired => 401,
        Reason::KeyMismatch
        | Reason::ProofRequired
        | Reason::ProofFailed
        | Reason::NotMember
        | Reason::NotAMember
        | Reason::NotTheMaker
        | Reason::Barred
        | Reason::BadCredential
        | Reason::BadOrigin
        | Reason::Forbidden => 403,
        Reason::NotFound => 404,
        Reason::MethodNotAllowed => 405,
        Reason::TooManySessions | Reason::OtherPolicy | Reason::StaleEpoch | Reason::Superseded => {
            409
        }
        Reason::TooLarge => 413,
        Reason::UpgradeRequired => 426,
        Reason::RateLimited => 429,
        Reason::Busy | Reason::Unavailable | Reason::Draining => 503,
    }
}

/// The value of `Retry-After`, in whole seconds, at least 1: always with a 503, else where a retry
/// can help.
pub fn retry_after(rejection: &Rejection) -> Option<u64> {
    let seconds = rejection.retry_after_ms.map(|ms| ms.div_ceil(1000).max(1));
    if status(rejection.reason) == 503 {
        Some(seconds.unwrap_or(RETRY_AFTER))
    } else {
        seconds
    }
}

/// The value of `WWW-Authenticate`, which every 401 has (RFC 6750, 3).
pub fn challenge(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::TokenRequired => Some(r#"Bearer realm="safe-chat""#),
        Reason::TokenInvalid | Reason::TokenExpired => {
            Some(r#"Bearer realm="safe-chat", error="invalid_token""#)
        }
        _ => None,
    }
}

/// The body of an answer with the public state of a group: base64url without padding.
pub fn group(group: &Reentry) -> Utf8 {
    #[derive(Serialize)]
    struct Body {
        epoch: u64,
        seq: u64,
        group_info: String,
        tree: String,
    }
    let body = Body {
        epoch: group.epoch,
        seq: group.made_at.0,
        group_info: BASE64_URL_SAFE_NO_PAD.encode(&group.group_info),
        tree: BASE64_URL_SAFE_NO_PAD.encode(&group.tree),
    };
    serde_json::to_string(&body)
        .expect("strings and numbers can be written")
        .into()
}

/// The body of a refusal: `{"error":{"reason":"bad_room","message":"..."}}`.
pub fn refusal(rejection: &Rejection) -> Utf8 {
    #[derive(Serialize)]
    struct Body<'a> {
        error: Error<'a>,
    }
    #[derive(Serialize)]
    struct Error<'a> {
        reason: &'a str,
        message: &'a str,
    }
    let body = Body {
        error: Error {
            reason: rejection.reason.as_str(),
            message: &rejection.message,
        },
    };
    serde_json::to_string(&body)
        .expect("strings can be written")
        .into()
}
