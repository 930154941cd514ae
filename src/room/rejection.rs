//! Why something was not accepted, in the words of the client protocol.

use super::Seq;
use std::fmt;

/// The reason that a client can act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The words of the protocol, explained there.
pub enum Reason {
    BadFrame,
    BadField,
    Unsupported,
    TooLarge,
    NotMember,
    RateLimited,
    Busy,
    Unavailable,
    KeyMismatch,
    ProofRequired,
    ProofFailed,
    TooManySessions,
    BadRoom,
    BadUser,
    BadPub,
    BadQuery,
    BadRequest,
    BadOrigin,
    TokenRequired,
    TokenInvalid,
    TokenExpired,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    UpgradeRequired,
    Draining,
    StaleEpoch,
    NotAMember,
    TooManyMembers,
    BadLifetime,
    BadCredential,
    BadBundle,
    OtherPolicy,
    SealedRoom,
    NotSealed,
    NotTheMaker,
    Superseded,
    Barred,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Reason; 38] = [
        Self::BadFrame,
        Self::BadField,
        Self::Unsupported,
        Self::TooLarge,
        Self::NotMember,
        Self::RateLimited,
        Self::Busy,
        Self::Unavailable,
        Self::KeyMismatch,
        Self::ProofRequired,
        Self::ProofFailed,
        Self::TooManySessions,
        Self::BadRoom,
        Self::BadUser,
        Self::BadPub,
        Self::BadQuery,
        Self::BadRequest,
        Self::BadOrigin,
        Self::TokenRequired,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::UpgradeRequired,
        Self::Draining,
        Self::StaleEpoch,
        Self::NotAMember,
        Self::TooManyMembers,
        Self::BadLifetime,
        Self::BadCredential,
        Self::BadBundle,
        Self::OtherPolicy,
        Self::SealedRoom,
        Self::NotSealed,
        Self::NotTheMaker,
        Self::Superseded,
        Self::Barred,
    ];

    /// The word that goes over the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadFrame => "bad_frame",
            Self::BadField => "bad_field",
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too_large",
            Self::NotMember => "not_member",
            Self::RateLimited => "rate_limited",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
            Self::KeyMismatch => "key_mismatch",
            Self::ProofRequired => "proof_required",
            Self::ProofFailed => "proof_failed",
            Self::TooManySessions => "too_many_sessions",
            Self::BadRoom => "bad_room",
            Self::BadUser => "bad_user",
            Self::BadPub => "bad_pub",
            Self::BadQuery => "bad_query",
            Self::BadRequest => "bad_request",
            Self::BadOrigin => "bad_origin",
            Self::TokenRequired => "token_required",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::UpgradeRequired => "upgrade_required",
            Self::Draining => "draining",
            Self::StaleEpoch => "stale_epoch",
            Self::NotAMember => "not_a_member",
            Self::TooManyMembers => "too_many_members",
            Self::BadLifetime => "bad_lifetime",
            Self::BadCredential => "bad_credential",
            Self::BadBundle => "bad_bundle",
            Self::OtherPolicy => "other_policy",
            Self::SealedRoom => "sealed_room",
            Self::NotSealed => "not_sealed",
            Self::NotTheMaker => "not_the_maker",
            Self::Superseded => "superseded",
            Self::Barred => "barred",
        }
    }

    /// The nearest reason whose word every version of the service can read that may run beside
    /// this one.
    pub fn known_before(self) -> Self {
        match self {
            Self::ProofRequired => Self::KeyMismatch,
            Self::OtherPolicy => Self::BadQuery,
            Self::StaleEpoch
            | Self::NotAMember
            | Self::TooManyMembers
            | Self::BadLifetime
            | Self::BadCredential
            | Self::BadBundle
            | Self::SealedRoom
            | Self::NotSealed
            | Self::NotTheMaker
            | Self::Superseded
            | Self::Barred => Self::BadField,
            reason => reason,
        }
    }

    /// Reads the word that goes over the wire.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: what a client can act on, and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct Rejection {
    /// What a client can act on.
    pub reason: Reason,
    /// What happened and what to do, for a person. Without content, keys or passwords.
    pub message: String,
    /// When a retry can help: after how many milliseconds.
    pub retry_after_ms: Option<u64>,
    /// Of [`Reason::StaleEpoch`]: the place of the event that was faster.
    pub seq: Option<Seq>,
}

impl Rejection {
    /// A refusal that a retry does not help.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            retry_after_ms: None,
            seq: None,
        }
    }

    /// A refusal that a retry may help, after `ms` milliseconds.
    pub fn retry(reason: Reason, message: impl Into<String>, ms: u64) -> Self {
        Self {
            reason,
            message: message.into(),
            retry_after_ms: Some(ms),
            seq: None,
        }
    }
}
