//! Why a connection ended or was refused, and what that means for the client. Pure.

use std::{fmt, time::Duration};

/// With what the server closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CloseCode {
    /// 1001: the server goes away.
    Away,
    /// 4001: an operator ended the session.
    Ended,
    /// 4002: the server did not understand this client, too often.
    BadFrames,
    /// 4003: the client did not take its frames.
    Slow,
    /// 4004: the proof of the key failed.
    KeyProof,
    /// 4005: a session of the same device took over.
    Replaced,
    /// 4006: the server heard nothing from the client.
    Silent,
    /// 4007: the token expired.
    TokenExpired,
    /// 4008: the token of the first frame did not let it in.
    NotAdmitted,
    /// 4010: the room is not available now.
    RoomUnavailable,
    /// Every other code.
    Other(u16),
}

impl From<u16> for CloseCode {
    fn from(code: u16) -> Self {
        match code {
            1001 => Self::Away,
            4001 => Self::Ended,
            4002 => Self::BadFrames,
            4003 => Self::Slow,
            4004 => Self::KeyProof,
            4005 => Self::Replaced,
            4006 => Self::Silent,
            4007 => Self::TokenExpired,
            4008 => Self::NotAdmitted,
            4010 => Self::RoomUnavailable,
            other => Self::Other(other),
        }
    }
}

impl From<CloseCode> for u16 {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Away => 1001,
            CloseCode::Ended => 4001,
            CloseCode::BadFrames => 4002,
            CloseCode::Slow => 4003,
            CloseCode::KeyProof => 4004,
            CloseCode::Replaced => 4005,
            CloseCode::Silent => 4006,
            CloseCode::TokenExpired => 4007,
            CloseCode::NotAdmitted => 4008,
            CloseCode::RoomUnavailable => 4010,
            CloseCode::Other(other) => other,
        }
    }
}

impl CloseCode {
    /// Whether the protocol lets a client come back.
    pub fn may_reconnect(self) -> bool {
        !matches!(
            self,
            Self::Ended | Self::BadFrames | Self::KeyProof | Self::Replaced | Self::NotAdmitted
        )
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = match self {
            Self::Away => "the server goes away",
            Self::Ended => "ended: an operator ended this session",
            Self::BadFrames => "bad_frames: the server did not understand this client",
            Self::Slow => "this session was too slow",
            Self::KeyProof => "key: the proof of the key failed",
            Self::Replaced => "replaced: a session of the same device took over",
            Self::Silent => "the server heard nothing from here",
            Self::TokenExpired => "the token expired",
            Self::NotAdmitted => "not let in: no good token",
            Self::RoomUnavailable => "the room is not available now",
            Self::Other(code) => return write!(out, "the server closed the connection ({code})"),
        };
        out.write_str(words)
    }
}

/// Why there is no connection (any more).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The server closed it.
    Closed {
        /// The code.
        code: CloseCode,
        /// What else it said.
        reason: String,
        /// The delay that a `bye` announced before.
        bye: Option<Duration>,
    },
    /// It broke, or could not be made: the text says what happened, to which gateway.
    Broken(String),
    /// The gateway refused the request before the upgrade.
    Refused(Refusal),
    /// This client left it to resume over another one.
    Left(&'static str),
}

/// A refusal before the upgrade.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// Of HTTP.
    pub status: u16,
    /// As the protocol spells it; empty when no safe-chat answered.
    pub reason: String,
    /// For a person.
    pub message: String,
    /// When to try again at the earliest.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// Whether it passes.
    pub fn may_pass(&self) -> bool {
        matches!(
            self.reason.as_str(),
            "draining" | "unavailable" | "rate_limited"
        ) || matches!(self.status, 429 | 500..=599)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            status,
            reason,
            message,
            ..
        } = self;
        match (reason.as_str(), message.as_str()) {
            ("", message) => write!(out, "HTTP {status}: {message}"),
            (reason, "") => out.write_str(reason),
            (reason, message) => write!(out, "{reason}: {message}"),
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed {
                code: code @ CloseCode::Other(_),
                reason,
                ..
            } if !reason.is_empty() => {
                write!(out, "{}: {reason})", code.to_string().trim_end_matches(')'))
            }
            Self::Closed { code, .. } => code.fmt(out),
            Self::Broken(why) => out.write_str(why),
            Self::Refused(refusal) => refusal.fmt(out),
            Self::Left(why) => out.write_str(why),
        }
    }
}

/// When to connect again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Almost at once; the usual backoff if the connection did not last.
    Soon,
    /// After the usual backoff.
    Backoff,
    /// After this time; the backoff may make it longer.
    AtLeast(Duration),
    /// After exactly this time: the server spreads its clients.
    After(Duration),
    /// As another device: a session of the same device took over.
    AsAnotherDevice,
    /// Trying again cannot help.
    Never,
}

impl Lost {
    /// Another program answered: one in front of the server, or in its place.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.reason.is_empty())
    }

    pub(crate) fn when(&self) -> When {
        match self {
            Self::Closed {
                code: CloseCode::Replaced,
                ..
            } => When::AsAnotherDevice,
            Self::Closed { code, .. } if !code.may_reconnect() => When::Never,
            Self::Closed { bye: Some(bye), .. } => When::After(*bye),
            Self::Closed {
                code: CloseCode::Slow | CloseCode::Silent | CloseCode::TokenExpired,
                ..
            } => When::Soon,
            Self::Closed { .. } => When::Backoff,
            Self::Broken(_) => When::Soon,
            Self::Refused(refusal) if refusal.may_pass() => {
                refusal.retry_after.map_or(When::Backoff, When::AtLeast)
            }
            Self::Refused(_) => When::Never,
            Self::Left(_) => When::Backoff,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16, bye: Option<u64>) -> Lost {
        Lost::Closed {
            code: code.into(),
            reason: String::new(),
            bye: bye.map(Duration::from_millis),
        }
    }

    #[test]
    fn codes_that_say_no_end_the_client_and_all_others_reconnect() {
        for code in [4001, 4002, 4004, 4008] {
            assert_eq!(closed(code, None).when(), When::Never, "{code}");
        }
        for code in [1000, 1001, 1006, 1007, 1009, 1011, 4000, 4010, 4999] {
            assert_eq!(closed(code, None).when(), When::Backoff, "{code}");
        }
        assert_eq!(closed(4003, None).when(), When::Soon);
        assert_eq!(closed(4006, None).when(), When::Soon);
        assert_eq!(closed(4007, None).when(), When::Soon);
        assert_eq!(closed(4005, None).when(), When::AsAnotherDevice);
    }

    #[test]
    fn a_code_is_the_same_as_its_number() {
        for code in [
            1000, 1001, 1009, 4001, 4002, 4003, 4004, 4005, 4006, 4007, 4010, 4999,
        ] {
            assert_eq!(u16::from(CloseCode::from(code)), code);
        }
    }

    #[test]
    fn the_delay_of_bye_is_obeyed_but_makes_no_final_code_retryable() {
        let delay = When::After(Duration::from_millis(1300));
        assert_eq!(closed(1001, Some(1300)).when(), delay);
        assert_eq!(closed(4001, Some(0)).when(), When::Never);
    }

    #[test]
    fn refusals_that_pass_are_waited_for_and_the_others_end_the_client() {
        let when = |status, reason: &str, after: Option<u64>| {
            Lost::Refused(Refusal {
                status,
                reason: reason.into(),
                message: "m".into(),
                retry_after: after.map(Duration::from_secs),
            })
            .when()
        };
        for (status, reason) in [
            (503, "draining"),
            (503, "unavailable"),
            (429, "rate_limited"),
            (502, ""),
            (500, "internal"),
        ] {
            assert_eq!(
                when(status, reason, None),
                When::Backoff,
                "{status} {reason}"
            );
        }
        for (status, reason) in [
            (400, "bad_room"),
            (401, "token_expired"),
            (403, "forbidden"),
            (403, "key_mismatch"),
            (404, "not_found"),
            (409, "too_many_sessions"),
            (200, ""),
        ] {
            assert_eq!(when(status, reason, None), When::Never, "{status} {reason}");
        }
        let least = When::AtLeast(Duration::from_secs(2));
        assert_eq!(when(503, "draining", Some(2)), least);
    }

    #[test]
    fn what_happened_reads_as_a_sentence() {
        let other = Lost::Closed {
            code: 1011.into(),
            reason: "internal".into(),
            bye: None,
        };
        assert_eq!(
            other.to_string(),
            "the server closed the connection (1011: internal)"
        );
        assert_eq!(
            closed(4010, None).to_string(),
            "the room is not available now"
        );
    }
}
