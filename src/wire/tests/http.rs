//! Refusals over HTTP.

use super::*;
use crate::wire::http;

#[test]
fn every_reason_has_the_status_of_the_contract() {
    let status = |word: &str| http::status(Reason::parse(word).unwrap());
    for word in [
        "bad_room",
        "bad_user",
        "bad_pub",
        "bad_query",
        "bad_request",
        "bad_frame",
        "bad_field",
        "unsupported",
    ] {
        assert_eq!(status(word), 400, "{word}");
    }
    for word in ["token_required", "token_invalid", "token_expired"] {
        assert_eq!(status(word), 401, "{word}");
        let reason = Reason::parse(word).unwrap();
        assert!(http::challenge(reason).is_some_and(|it| it.starts_with("Bearer ")));
    }
    for word in ["key_mismatch", "bad_origin", "forbidden"] {
        assert_eq!(status(word), 403, "{word}");
    }
    assert_eq!(status("not_found"), 404);
    assert_eq!(status("method_not_allowed"), 405);
    assert_eq!(status("too_many_sessions"), 409);
    assert_eq!(status("too_large"), 413);
    assert_eq!(status("upgrade_required"), 426);
    assert_eq!(status("rate_limited"), 429);
    for word in ["draining", "unavailable", "busy"] {
        assert_eq!(status(word), 503, "{word}");
    }
}

#[test]
fn a_503_always_says_when_to_come_back() {
    let without = Rejection::new(Reason::Draining, "");
    assert_eq!(http::retry_after(&without), Some(2));
    assert_eq!(
        http::retry_after(&Rejection::retry(Reason::Busy, "", 1)),
        Some(1)
    );
    assert_eq!(
        http::retry_after(&Rejection::retry(Reason::RateLimited, "", 2500)),
        Some(3)
    );
    assert_eq!(
        http::retry_after(&Rejection::new(Reason::BadRoom, "")),
        None
    );
}

#[test]
fn a_refusal_is_one_object_with_reason_and_message() {
    let rejection = Rejection::new(Reason::BadRoom, "a \"room\" is named");
    assert_eq!(
        http::refusal(&rejection).as_str(),
        r#"{"error":{"reason":"bad_room","message":"a \"room\" is named"}}"#
    );
}
