//! An Ed25519 key pair, and what is signed with it to prove that the name that goes with it is
//! one's own (docs/protocol.md).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use std::{fmt, sync::Arc};

/// What a session signs begins with it.
const SESSION: &[u8] = b"safe-chat session proof v1";
/// What a former key signs of the one that takes its place begins with it.
const CHANGE: &[u8] = b"safe-chat key change v1";

/// An Ed25519 key pair. Cheap to clone; never printed.
#[derive(Clone)]
pub struct KeyPair(Arc<Ed25519KeyPair>);

impl KeyPair {
    /// A new one, and the 32 secret bytes to keep it by.
    pub fn generate() -> (Self, [u8; 32]) {
        let seed = rand::random();
        (Self::from_seed(&seed), seed)
    }

    /// The one of these secret bytes (RFC 8032: the private key).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed);
        Self(Arc::new(pair.expect("every 32 bytes are a seed")))
    }

    /// The public key as `pub` names it: base64url of its 32 bytes.
    pub fn public(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.public_key())
    }

    /// The signature that answers the challenge of a session, for a client that has its own frames.
    /// `host`: the server as it is called; `nonce`: of the challenge.
    pub fn answer(&self, (host, room, user): (&str, &str, &str), nonce: &[u8]) -> [u8; 64] {
        let about = Proving {
            pair: self.clone(),
            host: host.into(),
            room: room.into(),
            user: user.into(),
            device: None,
            former: None,
        };
        about.answer(nonce)
    }

    /// Signs what a proof for a session is about.
    pub(crate) fn prove(&self, about: &Proving, nonce: &[u8]) -> [u8; 64] {
        let key = self.0.public_key().as_ref();
        let parts = [
            SESSION,
            about.host.as_bytes(),
            about.room.as_bytes(),
            about.user.as_bytes(),
            about.device.as_deref().unwrap_or_default().as_bytes(),
            key,
            nonce,
        ];
        self.sign_parts(&parts)
    }

    /// Signs these parts, each behind its length in two bytes.
    pub(crate) fn sign_parts(&self, parts: &[&[u8]]) -> [u8; 64] {
        let mut bytes = Vec::new();
        for part in parts {
            // The names are checked, and the nonce is of a frame.
            bytes.extend((part.len() as u16).to_be_bytes());
            bytes.extend(*part);
        }
        let signature = self.0.sign(&bytes);
        signature
            .as_ref()
            .try_into()
            .expect("a signature has 64 bytes")
    }

    /// The bytes of the public key.
    pub(crate) fn public_bytes(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("KeyPair(..)")
    }
}

/// What a session's proof is about, beside the key and the nonce.
#[derive(Debug, Clone)]
pub(crate) struct Proving {
    pub(crate) pair: KeyPair,
    pub(crate) host: String,
    pub(crate) room: String,
    pub(crate) user: String,
    pub(crate) device: Option<String>,
    /// The key that the name has, if it is not this one.
    pub(crate) former: Option<KeyPair>,
}

impl Proving {
    /// The signature that answers a challenge.
    pub(crate) fn answer(&self, nonce: &[u8]) -> [u8; 64] {
        self.pair.prove(self, nonce)
    }

    /// The same of the former key: that the name goes on with this one.
    pub(crate) fn change(&self, nonce: &[u8]) -> Option<[u8; 64]> {
        let former = self.former.as_ref()?;
        Some(former.sign_parts(&[
            CHANGE,
            self.host.as_bytes(),
            self.room.as_bytes(),
            self.user.as_bytes(),
            former.public_bytes(),
            self.pair.public_bytes(),
            nonce,
        ]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of docs/protocol.md.
    #[test]
    fn a_proof_is_what_the_protocol_says() {
        let seed: [u8; 32] = std::array::from_fn(|n| n as u8);
        let nonce: [u8; 32] = std::array::from_fn(|n| 0x40 + n as u8);
        let pair = KeyPair::from_seed(&seed);
        let document = include_str!("../../docs/protocol.md");
        let about = Proving {
            pair: pair.clone(),
            host: "chat.example".into(),
            room: "aaa".into(),
            user: "harry".into(),
            device: Some("phone".into()),
            former: Some(KeyPair::from_seed(&std::array::from_fn(|n| 0x20 + n as u8))),
        };
        let signature = URL_SAFE_NO_PAD.encode(about.answer(&nonce));
        let change = URL_SAFE_NO_PAD.encode(about.change(&nonce).unwrap());
        let nonce = URL_SAFE_NO_PAD.encode(nonce);
        for shown in [pair.public(), nonce, signature, change] {
            assert!(document.contains(&shown), "{shown}");
        }
        assert_eq!(format!("{pair:?}"), "KeyPair(..)");
    }
}
