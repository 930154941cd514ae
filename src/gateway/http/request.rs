//! What a request names: room and user in the path, the rest in the query. Of a parameter that is
//! there twice the last one counts; unknown ones are ignored.

use crate::{
    gateway::StartAt,
    room::{DeviceId, Key, Millis, Policy, Reason, Rejection, RoomId, Seq, UserId},
    telemetry::trace::{HEADER, Origin},
};
use axum::{
    extract::Query,
    http::{HeaderMap, HeaderValue, Uri},
};
use std::str::FromStr;

/// The most events of a history in a join (contract with clients).
const HISTORY: u16 = 500;

/// The room of `/rooms/{room}/...` and `/chat/{room}/...`.
pub fn room(uri: &Uri) -> Result<RoomId, Rejection> {
    RoomId::parse(segment(uri, 1)).map_err(|why| Rejection::new(Reason::BadRoom, why.to_string()))
}

/// The user of `/chat/{room}/user/{user}`.
pub fn user_of_path(uri: &Uri) -> Result<UserId, Rejection> {
    user(segment(uri, 3))
}

/// A part of a path, from 0 on.
pub(super) fn segment(uri: &Uri, at: usize) -> &str {
    uri.path()
        .trim_start_matches('/')
        .split('/')
        .nth(at)
        .unwrap_or_default()
}

fn user(text: &str) -> Result<UserId, Rejection> {
    UserId::parse(text).map_err(|why| Rejection::new(Reason::BadUser, why.to_string()))
}

/// In which trace its client says that a request belongs.
pub fn origin(headers: &HeaderMap) -> Origin {
    Origin::read(headers.get(HEADER).and_then(|value| value.to_str().ok()))
}

/// The query of a request.
pub struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Splits and decodes it.
    pub fn of(uri: &Uri) -> Result<Self, Rejection> {
        let query = Query::try_from_uri(uri)
            .map_err(|_| bad("the query cannot be read: it is name=value&name=value"))?;
        Ok(Self(query.0))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn number<T: FromStr>(&self, name: &str, range: &str) -> Result<Option<T>, Rejection> {
        let wrong = || {
            bad(format!(
                "{name} must be a whole number from {range}, in digits"
            ))
        };
        self.get(name)
            .map(|text| digits(text).ok_or_else(wrong))
            .transpose()
    }

    /// `pub`, which must be there.
    pub fn key(&self) -> Result<Key, Rejection> {
        let missing = || {
            Rejection::new(
                Reason::BadPub,
                "the key is missing: bring one as pub=KEY or in the header Chat-Key, 1 to 128 \
                 characters of A-Z a-z 0-9 _ -",
            )
        };
        Key::parse(self.get("pub").ok_or_else(missing)?)
            .map_err(|why| Rejection::new(Reason::BadPub, why.to_string()))
    }

    /// `first=token`: whether the token comes in the first frame.
    pub fn promises_token(&self) -> Result<bool, Rejection> {
        match self.get("first") {
            None => Ok(false),
            Some("token") => Ok(true),
            Some(_) => Err(bad("first must be token: the first frame brings one")),
        }
    }

    /// `token`, as it is.
    pub fn token(&self) -> Option<&str> {
        self.get("token")
    }

    /// `user`, which must be there.
    pub fn user(&self) -> Result<UserId, Rejection> {
        user(self.get("user").unwrap_or_default())
    }

    /// `device`.
    pub fn device(&self) -> Result<Option<DeviceId>, Rejection> {
        self.get("device")
            .map(|text| DeviceId::parse(text).map_err(|why| bad(why.to_string())))
            .transpose()
    }

    /// Whether the client wants to prove its key: `auth=1`. 0 is as without it.
    pub fn wants_proof(&self) -> Result<bool, Rejection> {
        match self.get("auth") {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(bad("auth must be 1 (the client proves its key) or 0")),
        }
    }

    /// `former`: the key of the name until now, which signs that `pub` takes its place.
    pub fn former(&self) -> Result<Option<Key>, Rejection> {
        self.get("former")
            .map(|text| Key::parse(text).map_err(|why| bad(format!("former: {why}"))))
            .transpose()
    }

    /// `policy`: what the room is to ask if this makes it, or must ask.
    pub fn policy(&self) -> Result<Option<Policy>, Rejection> {
        let wrong = || bad("policy must be open, proven or sealed");
        self.get("policy")
            .map(|word| Policy::parse(word).ok_or_else(wrong))
            .transpose()
    }

    /// `since`, `since_at` and `history`.
    pub fn from(&self) -> Result<StartAt, Rejection> {
        let since = self.number("since", "0 to 2^64-1")?.map(Seq);
        let since_at = self.number("since_at", "0 to 2^64-1")?.map(Millis);
        let history = self
            .number("history", "0 to 500")?
            .unwrap_or(StartAt::default().history);
        if history > HISTORY {
            return Err(bad(
                "history must be a whole number from 0 to 500, in digits",
            ));
        }
        Ok(StartAt {
            since,
            since_at,
            history,
        })
    }

    /// `before` and `limit`.
    pub fn page(&self) -> Result<(Option<Seq>, u16), Rejection> {
        let before = self.number("before", "0 to 2^64-1")?.map(Seq);
        let limit = self
            .number("limit", "1 to 500")?
            .unwrap_or(StartAt::default().history);
        if !(1..=HISTORY).contains(&limit) {
            return Err(bad("limit must be a whole number from 1 to 500, in digits"));
        }
        Ok((before, limit))
    }
}

/// The header `Last-Event-ID`. An empty one is none, as a browser means it.
pub fn last_event_id(value: &HeaderValue) -> Result<Option<Seq>, Rejection> {
    let text = value.as_bytes().trim_ascii();
    if text.is_empty() {
        return Ok(None);
    }
    let seq = std::str::from_utf8(text).ok().and_then(digits);
    seq.map(|seq| Some(Seq(seq)))
        .ok_or_else(|| bad("Last-Event-ID must be a whole number from 0 to 2^64-1, in digits"))
}

/// A number as the protocol writes it: digits only. The standard library takes a plus sign too.
fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// A value of the query that cannot be.
pub fn bad(message: impl Into<String>) -> Rejection {
    Rejection::new(Reason::BadQuery, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parameters(query: &str) -> Result<Parameters, Rejection> {
        Parameters::of(&format!("/x?{query}").parse().unwrap())
    }

    #[test]
    fn bounds_are_bounds() {
        let from = |query: &str| parameters(query).and_then(|parameters| parameters.from());
        assert_eq!(
            from("").unwrap(),
            StartAt {
                since: None,
                since_at: None,
                history: 50
            }
        );
        assert_eq!(
            from("since=18446744073709551615&since_at=7&history=500").unwrap(),
            StartAt {
                since: Some(Seq(u64::MAX)),
                since_at: Some(Millis(7)),
                history: 500
            }
        );
        for bad in [
            "since=-1",
            "since=18446744073709551616",
            "since=",
            "since_at=yesterday",
            "history=501",
            "history=-1",
            "history=x",
            "history=70000",
            "since=%2B1",
            "since=+1",
            "history=%2b5",
            "history=50.0",
            "history=5e1",
            "history=50%20",
            "history=",
        ] {
            let refused = from(bad).unwrap_err();
            assert_eq!(refused.reason, Reason::BadQuery, "{bad}");
            assert!(
                refused.message.contains("whole number from 0 to "),
                "{refused}"
            );
        }
        assert_eq!(
            parameters("limit=0").unwrap().page().unwrap_err().reason,
            Reason::BadQuery
        );
    }

    #[test]
    fn an_empty_last_event_id_is_none() {
        let last = |text: &'static str| last_event_id(&HeaderValue::from_static(text));
        for (text, expected) in [
            ("", None),
            (" \t ", None),
            ("0", Some(0)),
            (" 7 ", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
        ] {
            assert_eq!(last(text).unwrap(), expected.map(Seq), "{text:?}");
        }
        for bad in ["+1", "-1", "1.0", "x", "1 2", "18446744073709551616"] {
            assert_eq!(last(bad).unwrap_err().reason, Reason::BadQuery, "{bad}");
        }
    }

    #[test]
    fn the_last_of_two_counts_and_unknown_ones_are_ignored() {
        let from = parameters("since=x&colour=blue&since=7")
            .unwrap()
            .from()
            .unwrap();
        assert_eq!(from.since, Some(Seq(7)));
    }

    proptest! {
        #[test]
        fn no_request_makes_it_panic(path in "/[!-~]{0,40}", query in "[!-~]{0,60}") {
            let Ok(uri) = format!("{path}?{query}").parse::<Uri>() else { return Ok(()) };
            let _ = (room(&uri), user_of_path(&uri));
            if let Ok(parameters) = Parameters::of(&uri) {
                let _ = (parameters.from(), parameters.page(), parameters.key(), parameters.device(), parameters.user(), parameters.former());
            }
        }
    }
}
