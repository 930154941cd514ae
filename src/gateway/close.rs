//! Why the server ends a connection, and what the client is told.

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Close {
    /// 1001: the server stops.
    GoingAway,
    /// 1002: the client broke the WebSocket protocol.
    Protocol,
    /// 1007: a text message that is not UTF-8.
    NotUtf8,
    /// 1009: a message over 131072 bytes.
    TooBig,
    /// 4001: an operator ended it.
    Operator,
    /// 4002: 20 bad frames in a row.
    BadFrames,
    /// 4004: it did not prove the key that it named.
    Proof(Fault),
    /// 4003: its backlog passed the limit.
    Slow,
    /// 4005: a session of the same device took its place.
    Replaced,
    /// 4006: nothing was heard of it.
    Silent,
    /// 4007: its token expired.
    Expired,
    /// 4008: what it brought in its first frame did not let it in.
    NotAdmitted,
    /// 4010: the room, or the session's place in it, was lost; resuming helps.
    Unavailable,
    /// 4010: what it was to show did not come in time, or could not be checked in time.
    Late,
}

/// What is wrong with a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The first frame was none.
    Malformed,
    /// It is for a server of another name.
    Host,
    /// The signature does not fit.
    Signature,
}

impl Fault {
    /// The word in metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Host => "host",
            Self::Signature => "signature",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "the first frame must be the proof that was asked for",
            Self::Host => {
                "the proof is for another host than this server's: see gateway.public_hosts"
            }
            Self::Signature => "the signature does not fit the challenge and the key",
        }
    }
}

impl Close {
    /// The code of the close frame.
    pub fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::Protocol => 1002,
            Self::NotUtf8 => 1007,
            Self::TooBig => 1009,
            Self::Operator => 4001,
            Self::BadFrames => 4002,
            Self::Proof(_) => 4004,
            Self::Slow => 4003,
            Self::Replaced => 4005,
            Self::Silent => 4006,
            Self::Expired => 4007,
            Self::NotAdmitted => 4008,
            Self::Unavailable | Self::Late => 4010,
        }
    }

    /// The words of the close frame, for a person; at most 123 bytes.
    pub fn reason(self) -> &'static str {
        match self {
            Self::GoingAway => "the server goes away: reconnect after the delay of bye",
            Self::Protocol => "not the WebSocket protocol",
            Self::NotUtf8 => "text must be UTF-8",
            Self::TooBig => "a message may have 131072 bytes at most",
            Self::Operator => "ended by an operator",
            Self::BadFrames => "20 frames in a row were not understood",
            Self::Proof(fault) => fault.reason(),
            Self::Slow => "too slow: reconnect with since",
            Self::Replaced => "replaced by a session of the same device",
            Self::Silent => "nothing heard for 35 s: reconnect with since",
            Self::Expired => "the token expired: come back with a new one, and since",
            Self::NotAdmitted => "not let in: the frame before says why",
            Self::Unavailable => "the room is not available now: reconnect with since",
            Self::Late => {
                "the proof or token did not come, or was not checked, within 10 s: reconnect"
            }
        }
    }

    /// Whether what still waits for the client is dropped: because it cannot be delivered in time,
    /// or because the client may not be here any more, and would stay until it had taken all of it.
    pub(super) fn drops_backlog(self) -> bool {
        matches!(self, Self::Slow | Self::Operator | Self::Expired)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_fits_into_a_close_frame() {
        let all = [
            Close::GoingAway,
            Close::Protocol,
            Close::NotUtf8,
            Close::TooBig,
            Close::Operator,
            Close::BadFrames,
            Close::Proof(Fault::Malformed),
            Close::Proof(Fault::Host),
            Close::Proof(Fault::Signature),
            Close::Slow,
            Close::Replaced,
            Close::Silent,
            Close::Expired,
            Close::NotAdmitted,
            Close::Unavailable,
            Close::Late,
        ];
        assert!(all.into_iter().all(|close| close.reason().len() <= 123));
    }
}
