//! Proof of possession: what a client signs to show that it has the private key of its `pub`, to the
//! byte as docs/protocol.md fixes it, and whether a signature fits. Ed25519 (RFC 8032), by
//! `verify_strict`: a key or signature that would fit several messages is none.

use super::{Incoming, Protocol, proto};
use crate::room::{DeviceId, Key, RoomId, UserId};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::fmt;

/// What a session signs begins with it, so that it is never taken for another thing that was signed.
const SESSION: &[u8] = b"safe-chat session proof v1";
/// The same of what a former key signs of the one that takes its place.
const CHANGE: &[u8] = b"safe-chat key change v1";
/// The same of a request.
const REQUEST: &[u8] = b"safe-chat request proof v1";
/// The longest name of a host, and a port.
const HOST: usize = 253 + 6;

/// 32 random bytes that a server asks a client to sign, once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Nonce(pub [u8; 32]);

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// A key that can be proven: `pub` is base64url of the 32 bytes of an Ed25519 public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// `None`: it is no such key, or a weak one, for which everybody can sign.
    pub fn parse(key: &Key) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(key.as_str()).ok()?;
        let key = VerifyingKey::from_bytes(&bytes.try_into().ok()?).ok()?;
        (!key.is_weak()).then_some(Self(key))
    }

    /// Whether the owner of the key signed these bytes. About 50 us.
    pub fn has_signed(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        self.0.verify_strict(bytes, &signature).is_ok()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// What a client shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// The server as the client calls it.
    pub host: String,
    /// Over everything that the proof is about.
    pub signature: [u8; 64],
    /// Of a session whose client names a former key: that key's, over [`SessionContext::change`].
    pub former: Option<[u8; 64]>,
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// What a session's proof is about, beside the host.
#[derive(Debug, Clone)]
pub struct SessionContext {
    /// The room of the session.
    pub room: RoomId,
    /// Its user.
    pub user: UserId,
    /// Its device, if it names one.
    pub device: Option<DeviceId>,
    /// The key that is proven.
    pub key: PublicKey,
    /// The server's.
    pub nonce: Nonce,
}

impl SessionContext {
    /// The bytes that are signed.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let device = self.device.as_ref().map_or("", DeviceId::as_str);
        joined(&[
            SESSION,
            host.as_bytes(),
            self.room.as_str().as_bytes(),
            self.user.as_str().as_bytes(),
            device.as_bytes(),
            self.key.as_bytes(),
            &self.nonce.0,
        ])
    }

    /// What the former key signs: that in this room this name goes on with the key of this session.
    pub fn change(&self, host: &str, former: &PublicKey) -> Vec<u8> {
        joined(&[
            CHANGE,
            host.as_bytes(),
            self.room.as_str().as_bytes(),
            self.user.as_str().as_bytes(),
            former.as_bytes(),
            self.key.as_bytes(),
            &self.nonce.0,
        ])
    }
}

/// What a request's proof is about, beside the host.
#[derive(Debug, Clone)]
pub struct RequestContext<'a> {
    /// The method, such as POST.
    pub method: &'a str,
    /// The room.
    pub room: &'a RoomId,
    /// In whose name.
    pub user: &'a UserId,
    /// The key that is proven.
    pub key: PublicKey,
    /// When it was signed: milliseconds since 1970 UTC.
    pub at: u64,
    /// The body of the request.
    pub body: &'a [u8],
}

impl RequestContext<'_> {
    /// The bytes that are signed.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        joined(&[
            REQUEST,
            self.method.as_bytes(),
            host.as_bytes(),
            self.room.as_str().as_bytes(),
            self.user.as_str().as_bytes(),
            self.key.as_bytes(),
            &self.at.to_be_bytes(),
            &Sha256::digest(self.body),
        ])
    }
}

/// Each part behind its length in two bytes, so that no two lists of parts give the same bytes.
pub(super) fn joined(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    for part in parts {
        let length = u16::try_from(part.len()).expect("names, keys and hashes are short");
        bytes.extend(length.to_be_bytes());
        bytes.extend(*part);
    }
    bytes
}

/// A host as it is signed: small letters, without the port that http or https would take anyway.
/// `None`: it is no host.
pub fn host(text: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    let is_host = (1..=HOST).contains(&text.len()) && text.chars().all(allowed);
    let small = is_host.then(|| text.to_ascii_lowercase())?;
    let usual = [":80", ":443"].iter().find_map(|port| {
        let name = small.strip_suffix(port)?;
        // Of an address of IPv6 it is a port only behind the bracket.
        (!name.contains(':') || name.ends_with(']')).then_some(name)
    });
    Some(usual.map_or(small.clone(), str::to_owned))
}

/// Reads the first frame of a client that was asked for proof; `None`: it is none.
pub(super) fn decode(protocol: Protocol, message: Incoming<'_>) -> Option<Proof> {
    match (protocol, message) {
        (Protocol::Text, Incoming::Text(line)) => {
            let (host, signatures) = line.strip_prefix("!proof ")?.split_once(' ')?;
            let (signature, former) = match signatures.split_once(' ') {
                Some((signature, former)) => (signature, Some(former)),
                None => (signatures, None),
            };
            with_former(proof(host, signature)?, former)
        }
        (Protocol::Json, Incoming::Text(text)) => {
            let frame: Map<String, Value> = serde_json::from_str(text).ok()?;
            let text = |name: &str| frame.get(name)?.as_str();
            (text("type")? == "proof").then_some(())?;
            let former = match frame.get("former") {
                None | Some(Value::Null) => None,
                Some(former) => Some(former.as_str()?),
            };
            with_former(proof(text("host")?, text("signature")?)?, former)
        }
        (Protocol::Proto, Incoming::Binary(bytes)) => proto::proof(bytes),
        _ => None,
    }
}

/// A proof in text, as JSON frames, lines and headers have it.
pub fn proof(host: &str, signature: &str) -> Option<Proof> {
    Some(Proof {
        host: host.to_owned(),
        signature: bytes_of(signature)?,
        former: None,
    })
}

fn with_former(proof: Proof, former: Option<&str>) -> Option<Proof> {
    let former = match former {
        Some(signature) => Some(bytes_of(signature)?),
        None => None,
    };
    Some(Proof { former, ..proof })
}

fn bytes_of(signature: &str) -> Option<[u8; 64]> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(signature).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
