//! The header `Safe-Chat-Proof`, by which a request without a session proves the key that it names:
//!
//! ```text
//! Safe-Chat-Proof: host=chat.example, time=1795465200123, signature=BASE64URL
//! ```
//!
//! It fits this request only, and only while its time is within a minute of the server's. A message
//! that is repeated meanwhile is the same message: see [`replays`].

use super::hosts::Hosts;
use crate::{
    gateway::{Client, Handle, limits::Cost, metrics, replays},
    room::{Epoch, Key, Reason, Rejection, RoomId, Seq, UserId},
    wire::{
        keys::KeysContext,
        proof::{Proof, PublicKey, RequestContext, proof},
    },
};
use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};

/// The header.
const HEADER: &str = "safe-chat-proof";
/// How far the clocks of client and server may differ, in milliseconds.
const SKEW: u64 = 60_000;

/// What a request says of its proof.
pub(super) struct Signed {
    proof: Proof,
    at: u64,
}

impl Signed {
    /// `None`: the request proves nothing. Looks at what costs nothing: the form, the host, the
    /// time.
    pub(super) fn read(headers: &HeaderMap, hosts: &Hosts) -> Result<Option<Self>, Rejection> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let signed = value.to_str().ok().filter(|_| values.next().is_none());
        let Some(signed) = signed.and_then(Self::parse) else {
            return Err(failed(
                "malformed",
                "the header Safe-Chat-Proof is host=HOST, time=MS, signature=BASE64URL, once",
            ));
        };
        if !hosts.include(&signed.proof.host) {
            return Err(failed(
                "host",
                "the proof is for another host than this server is known by \
                 (gateway.public_hosts, or the header Host)",
            ));
        }
        let off = signed.at.abs_diff(now());
        if off > SKEW {
            let message = format!(
                "the proof was signed {} s away from this server's time, and may be {} s: sign \
                 again, and set the clock",
                off / 1000,
                SKEW / 1000
            );
            return Err(failed("late", message));
        }
        Ok(Some(signed))
    }

    /// Of a name that is there twice the last one counts; unknown ones are ignored.
    fn parse(text: &str) -> Option<Self> {
        let (mut host, mut at, mut signature) = (None, None, None);
        for part in text.split(',') {
            match part.trim().split_once('=')? {
                ("host", value) => host = Some(value),
                ("time", value) => at = Some(value),
                ("signature", value) => signature = Some(value),
                _ => {}
            }
        }
        let at = at.filter(|at| at.bytes().all(|byte| byte.is_ascii_digit()));
        Some(Self {
            proof: proof(host?, signature?)?,
            at: at?.parse().ok()?,
        })
    }

    /// Whether it fits what is asked; if so, which request it is.
    pub(super) async fn check(
        &self,
        handle: &Handle,
        client: &Client,
        method: &str,
        (room, user, key): (&RoomId, &UserId, &Key),
        body: &[u8],
    ) -> Result<replays::Signed, Rejection> {
        let key = provable(key)?;
        client.request(Cost::PROOF)?;
        let context = RequestContext {
            method,
            room,
            user,
            key,
            at: self.at,
            body,
        };
        let bytes = context.bytes(&self.proof.host);
        let signature = &self.proof.signature;
        if !handle.0.proofs.fits(&key, &bytes, signature).await {
            let message = "the signature does not fit this request: its method, host, room, user, \
                           key, time and body";
            return Err(failed("signature", message));
        }
        metrics::proof("fits");
        Ok(replays::Signed {
            digest: Sha256::digest(&bytes).into(),
            at: self.at,
            until: self.at.saturating_add(SKEW),
        })
    }
}

impl Signed {
    /// Whether it fits what is asked outside of rooms; if so, which request it is.
    pub(super) async fn check_keys(
        &self,
        handle: &Handle,
        client: &Client,
        (method, path, key): (&str, &str, &Key),
        body: &[u8],
    ) -> Result<replays::Signed, Rejection> {
        let key = provable(key)?;
        client.request(Cost::PROOF)?;
        let context = KeysContext {
            method,
            path,
            key,
            at: self.at,
            body,
        };
        let bytes = context.bytes(&self.proof.host);
        let signature = &self.proof.signature;
        if !handle.0.proofs.fits(&key, &bytes, signature).await {
            let message = "the signature does not fit this request: its method, host, path, key, \
                           time and body";
            return Err(failed("signature", message));
        }
        metrics::proof("fits");
        Ok(replays::Signed {
            digest: Sha256::digest(&bytes).into(),
            at: self.at,
            until: self.at.saturating_add(SKEW),
        })
    }
}

/// Refuses a request that came before through this node, of a kind that is no use twice: whoever
/// has recorded one would empty a store with it.
pub(super) fn once(handle: &Handle, signed: replays::Signed) -> Result<(), Rejection> {
    let replays = &handle.0.replays;
    if replays.first(&signed, now())?.is_some() {
        return Err(repeated());
    }
    replays.keep(signed, (Seq::ZERO, Epoch(0)));
    Ok(())
}

/// A request that came before, through whichever node.
pub(super) fn repeated() -> Rejection {
    let message = "this request was made before: sign it again, with the time of now";
    failed("repeated", message)
}

fn provable(key: &Key) -> Result<PublicKey, Rejection> {
    PublicKey::parse(key).ok_or_else(|| {
        let message = "pub is no Ed25519 key that can be proven: base64url of its 32 bytes";
        failed("malformed", message)
    })
}

fn failed(outcome: &'static str, message: impl Into<String>) -> Rejection {
    metrics::proof(outcome);
    Rejection::new(Reason::ProofFailed, message)
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_millis() as u64)
}
