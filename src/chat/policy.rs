//! What the end of a connection, or a refusal of one, means for the client. Pure.

use std::time::Duration;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Trying again cannot help.
    Stop(String),
    /// Another connection took the session over, with our device. Only this process knows it, so
    /// that was an attempt of ours that was given up here and came late there.
    Replaced,
    /// Connect again, resuming, when `when` says.
    Reconnect { why: String, when: When },
}

/// When to connect again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Almost at once; the usual backoff if that did not last.
    Soon,
    /// After the usual backoff.
    Backoff,
    /// After this time; `Backoff` may make it longer.
    AtLeast(Duration),
    /// After exactly this time: the server spreads its clients.
    After(Duration),
}

/// The connection ended: with a close code, or without one when it broke. `bye` is the delay that
/// the server announced. `reason` is shown only for a code that has no words here.
pub(super) fn after_close(code: Option<u16>, reason: &str, bye: Option<Duration>) -> Verdict {
    let stop = |why: &str| Verdict::Stop(why.to_owned());
    let (why, when) = match code {
        Some(4001) => return stop("ended: an operator ended this session"),
        Some(4002) => return stop("bad_frames: the server did not understand this client"),
        Some(4004) => return stop("key: the proof of the key failed"),
        Some(4005) => return Verdict::Replaced,
        Some(1001) => ("the server goes away".into(), When::Backoff),
        Some(4003) => ("this session was too slow".into(), When::Soon),
        Some(4006) => ("the server heard nothing from here".into(), When::Soon),
        Some(4010) => ("the room is not available now".into(), When::Backoff),
        Some(code) => (
            format!(
                "the server closed the connection ({code}{}{reason})",
                if reason.is_empty() { "" } else { ": " }
            ),
            When::Backoff,
        ),
        None => ("the connection was lost".into(), When::Soon),
    };
    Verdict::Reconnect {
        why,
        when: bye.map_or(when, When::After),
    }
}

/// The request was answered with an HTTP status instead of an upgrade.
pub(super) fn after_refusal(
    status: u16,
    reason: &str,
    message: &str,
    retry_after: Option<Duration>,
) -> Verdict {
    let why = match (reason, message) {
        ("", _) => format!("HTTP {status}: no safe-chat answered there"),
        (reason, "") => reason.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    };
    let retryable = matches!(reason, "draining" | "unavailable" | "rate_limited")
        || matches!(status, 429 | 500..=599);
    if retryable {
        Verdict::Reconnect {
            why,
            when: retry_after.map_or(When::Backoff, When::AtLeast),
        }
    } else {
        Verdict::Stop(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(code: u16) -> Option<When> {
        match after_close(Some(code), "", None) {
            Verdict::Stop(_) | Verdict::Replaced => None,
            Verdict::Reconnect { when, .. } => Some(when),
        }
    }

    #[test]
    fn codes_that_say_no_end_the_client() {
        for code in [4001, 4002, 4004] {
            assert_eq!(when(code), None, "{code}");
        }
    }

    #[test]
    fn a_replaced_session_is_told_from_an_ended_one() {
        assert_eq!(after_close(Some(4005), "", None), Verdict::Replaced);
    }

    #[test]
    fn all_other_codes_reconnect() {
        for code in [1000, 1001, 1006, 1007, 1009, 1011, 4000, 4010, 4999] {
            assert_eq!(when(code), Some(When::Backoff), "{code}");
        }
        assert_eq!(when(4003), Some(When::Soon));
        assert_eq!(when(4006), Some(When::Soon));
    }

    #[test]
    fn the_delay_of_bye_is_honoured() {
        let delay = Duration::from_millis(1300);
        let Verdict::Reconnect { when, .. } = after_close(Some(1001), "draining", Some(delay))
        else {
            panic!("stopped")
        };
        assert_eq!(when, When::After(delay));
    }

    #[test]
    fn a_bye_does_not_make_a_final_code_retryable() {
        assert!(matches!(
            after_close(Some(4001), "", Some(Duration::ZERO)),
            Verdict::Stop(_)
        ));
    }

    #[test]
    fn refusals_that_pass_are_waited_for_and_the_others_end_the_client() {
        for (status, reason) in [
            (503, "draining"),
            (503, "unavailable"),
            (429, "rate_limited"),
            (502, ""),
            (500, "internal"),
        ] {
            assert!(
                matches!(
                    after_refusal(status, reason, "m", None),
                    Verdict::Reconnect { .. }
                ),
                "{status} {reason}"
            );
        }
        for (status, reason) in [
            (400, "bad_room"),
            (403, "key_mismatch"),
            (404, "not_found"),
            (409, "too_many_sessions"),
            (200, ""),
        ] {
            assert!(
                matches!(after_refusal(status, reason, "m", None), Verdict::Stop(_)),
                "{status} {reason}"
            );
        }
    }

    #[test]
    fn retry_after_is_the_least_that_one_waits() {
        let Verdict::Reconnect { why, when } =
            after_refusal(503, "draining", "stops", Some(Duration::from_secs(2)))
        else {
            panic!("stopped")
        };
        assert_eq!(
            (why.as_str(), when),
            ("draining: stops", When::AtLeast(Duration::from_secs(2)))
        );
    }
}
