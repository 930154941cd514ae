//! Identities between browsers and terminals, and what two people compare.

use crate::random;
use seal::export::{self, Entropy};
use seal::{Identity, Public, direct, number};
use sha2::{Digest as _, Sha256};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

/// The text that a passphrase opens, of an identity's 32 secret bytes.
#[wasm_bindgen]
pub fn export_identity(seed: &[u8], passphrase: &str) -> Result<String, JsError> {
    let identity = identity_of(seed)?;
    let with = Entropy {
        salt: random()?,
        nonce: random()?,
    };
    Ok(export::export(&identity, passphrase, &with)?)
}

/// The 32 secret bytes in such a text.
#[wasm_bindgen]
pub fn import_identity(text: &str, passphrase: &str) -> Result<Vec<u8>, JsError> {
    Ok(export::import(text, passphrase)?.seed().to_vec())
}

/// The public half of 32 secret bytes, as `pub` names it.
#[wasm_bindgen]
pub fn public_of(seed: &[u8]) -> Result<String, JsError> {
    Ok(identity_of(seed)?.public().to_string())
}

/// The signature of 32 secret bytes, for a page that has no WebCrypto (plain http).
#[wasm_bindgen]
pub fn sign(seed: &[u8], bytes: &[u8]) -> Result<Vec<u8>, JsError> {
    Ok(identity_of(seed)?.sign(bytes).to_vec())
}

/// SHA-256, for such a page.
#[wasm_bindgen]
pub fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// The room of two people, the same for both.
#[wasm_bindgen]
pub fn room_of_two(one: &str, other: &str) -> Result<String, JsError> {
    let (one, other) = (Public::parse(one)?, Public::parse(other)?);
    Ok(direct::room_of(&one, &other).to_string())
}

/// 60 digits that are the same for both of a pair.
#[wasm_bindgen]
pub fn safety_number(one: &str, other: &str) -> Result<String, JsError> {
    let (one, other) = (Public::parse(one)?, Public::parse(other)?);
    Ok(number::safety_number(&one, &other))
}

fn identity_of(seed: &[u8]) -> Result<Identity, JsError> {
    let seed = seed.try_into();
    let seed = seed.map_err(|_| JsError::new("a secret key has 32 bytes"))?;
    Ok(Identity::from_seed(seed))
}
