//! What a request names: its target in the first line, `Last-Event-ID` in the second. Compared with
//! a second reading of the query.

use super::shown::is_one_line;
use percent_encoding::percent_decode_str;
use safe_chat::{
    gateway::{StartAt, request},
    room::{Millis, Reason, Rejection, Seq},
    wire::http,
};
use serde_json::{Value, json};

pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (target, last) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(header) = last.parse() {
        let read = refused(request::last_event_id(&header), &[Reason::BadQuery]);
        let trimmed = last.trim_ascii();
        let expected = match trimmed.is_empty() {
            true => Some(None),
            false => number(trimmed).map(Some),
        };
        assert_eq!(read.map(|seq| seq.map(|seq| seq.0)), expected);
    }
    let Ok(uri) = target.parse() else { return };
    let room = refused(request::room(&uri), &[Reason::BadRoom]);
    let user = refused(request::user_of_path(&uri), &[Reason::BadUser]);
    assert!(
        room.is_none_or(|room| target.contains(room.as_str()))
            && user.is_none_or(|user| target.contains(user.as_str()))
    );

    let Some(parameters) = refused(request::Parameters::of(&uri), &[Reason::BadQuery]) else {
        return;
    };
    let given = |name: &str| given(target, name);
    let key = refused(parameters.key(), &[Reason::BadPub]);
    let user = refused(parameters.user(), &[Reason::BadUser]);
    let device = refused(parameters.device(), &[Reason::BadQuery]);
    let from = refused(parameters.from(), &[Reason::BadQuery]);
    let page = refused(parameters.page(), &[Reason::BadQuery]);
    assert!(key.is_none_or(|key| given("pub").as_deref() == Some(key.as_str())));
    assert!(user.is_none_or(|user| given("user").as_deref() == Some(user.as_str())));
    assert!(device.is_none_or(|device| device.map(|device| device.to_string()) == given("device")));

    let (since, history) = (counted(given("since")), counted(given("history")));
    let since_at = counted(given("since_at"));
    let history = history
        .map(|history| history.unwrap_or(50))
        .filter(|history| *history <= 500);
    let expected = since.zip(since_at).zip(history);
    let expected = expected.map(|((since, since_at), history)| StartAt {
        since: since.map(Seq),
        since_at: since_at.map(Millis),
        history: history as u16,
    });
    assert_eq!(from, expected, "{target}");
    let (before, limit) = (counted(given("before")), counted(given("limit")));
    let limit = limit
        .map(|limit| limit.unwrap_or(50))
        .filter(|limit| (1..=500).contains(limit));
    assert_eq!(
        page,
        before
            .zip(limit)
            .map(|(before, limit)| (before.map(Seq), limit as u16)),
        "{target}"
    );
}

/// What was accepted; a refusal has an allowed reason, and is an answer that can be read.
fn refused<T>(read: Result<T, Rejection>, allowed: &[Reason]) -> Option<T> {
    let Rejection {
        reason, message, ..
    } = match read {
        Ok(it) => return Some(it),
        Err(ref rejection) => rejection,
    };
    assert!(allowed.contains(reason), "{reason} is no reason here");
    is_one_line(message);
    assert_eq!(http::status(*reason), 400);
    let body: Value =
        serde_json::from_str(http::refusal(&Rejection::new(*reason, message)).as_str())
            .expect("JSON");
    assert_eq!(
        body,
        json!({"error": {"reason": reason.as_str(), "message": message}})
    );
    None
}

/// The last value of a name. Form encoding: WHATWG URL, section 5.1.
fn given(target: &str, name: &str) -> Option<String> {
    let query = target.split('#').next()?.split_once('?')?.1;
    let decoded = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let mut pairs = query
        .split('&')
        .rev()
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs
        .find(|(known, _)| decoded(known) == name)
        .map(|(_, value)| decoded(value))
}

/// `None`: given, but no number.
fn counted(given: Option<String>) -> Option<Option<u64>> {
    given.map_or(Some(None), |text| number(&text).map(Some))
}

/// Digits only, below 2^64.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let value = text.chars().try_fold(0_u128, |value, c| {
        Some((value * 10 + u128::from(c.to_digit(10)?)).min(1 << 64))
    });
    value
        .filter(|_| digits)
        .and_then(|value| u64::try_from(value).ok())
}
