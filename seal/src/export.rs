//! An identity as a text that only its passphrase opens, to carry it to another browser or
//! terminal: Argon2id makes the key, XChaCha20-Poly1305 encrypts the seed. What it cost to make is
//! written in front, bounded before it is paid for.

use crate::codec::{Malformed, Reader};
use crate::identity::Identity;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use icu_normalizer::ComposingNormalizerBorrowed;
use thiserror::Error;
use zeroize::Zeroizing;

/// What the text begins with: what it is, and its form.
pub const PREFIX: &str = "safe-chat-identity-v1.";
/// Characters of a passphrase, at least. A file can be guessed at without asking anybody.
pub const SHORTEST: usize = 12;
/// Bytes of a passphrase, at most.
const LONGEST: usize = 1024;
/// KiB of memory and passes: OWASP's second choice for Argon2id, doubled; some 0.1 s.
const COST: Cost = Cost {
    memory: 64 * 1024,
    passes: 3,
};
/// What an import agrees to pay, whoever made the file: 256 MiB.
const DEAREST: Cost = Cost {
    memory: 256 * 1024,
    passes: 10,
};
/// Characters of an exported identity, at most.
const MOST: usize = 1024;
/// Bytes of its cost, salt and nonce, and of the encrypted seed with its tag.
const LENGTH: usize = 8 + 16 + 24 + 32 + 16;

/// Randomness for one export, which the caller draws.
pub struct Entropy {
    /// Makes the same passphrase another key each time.
    pub salt: [u8; 16],
    /// Must never be used twice with one key.
    pub nonce: [u8; 24],
}

/// Why an identity was not exported or imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// A passphrase that could be guessed, or no passphrase but a file.
    #[error("a passphrase must have {SHORTEST} characters or more, and at most {LONGEST} bytes")]
    Passphrase,
    /// Not the text of an exported identity, or of a later form.
    #[error("it is no exported identity (it begins with {PREFIX}), or one of a later version")]
    Malformed,
    /// It begins as one, and is shorter or longer than one is.
    #[error("it begins as an exported identity, but is cut off, or was changed: copy all of it")]
    Cut,
    /// It asks for more than any export would.
    #[error("opening it would take more memory or time than an export of safe-chat does")]
    TooDear,
    /// The passphrase does not open it.
    #[error("the passphrase does not open it, or it was changed")]
    Closed,
}

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

#[derive(Clone, Copy)]
struct Cost {
    memory: u32,
    passes: u32,
}

/// Whether a passphrase is good enough to export with.
///
/// # Errors
/// It is too short or too long.
pub fn check(passphrase: &str) -> Result<(), Error> {
    match composed(passphrase)?.chars().count() < SHORTEST {
        true => Err(Error::Passphrase),
        false => Ok(()),
    }
}

/// The text that the passphrase opens.
///
/// # Errors
/// The passphrase is too short or too long.
pub fn export(identity: &Identity, passphrase: &str, with: &Entropy) -> Result<String, Error> {
    check(passphrase)?;
    let passphrase = composed(passphrase)?;
    closed(identity, &passphrase, with)
}

/// The text that exactly these letters open.
fn closed(identity: &Identity, passphrase: &str, with: &Entropy) -> Result<String, Error> {
    let mut bytes = Vec::new();
    bytes.extend(COST.memory.to_be_bytes());
    bytes.extend(COST.passes.to_be_bytes());
    bytes.extend(with.salt);
    bytes.extend(with.nonce);
    let seed = identity.seed();
    let payload = Payload {
        msg: seed.as_slice(),
        aad: &authenticated(&bytes),
    };
    let cipher = cipher(passphrase, &with.salt, COST)?;
    let sealed = cipher.encrypt(XNonce::from_slice(&with.nonce), payload);
    bytes.extend(sealed.expect("32 bytes are not too many to encrypt"));
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The identity in an exported text.
///
/// # Errors
/// It is none, too dear to open, or the passphrase is not the one.
pub fn import(text: &str, passphrase: &str) -> Result<Identity, Error> {
    let text = text.trim();
    let encoded = text.strip_prefix(PREFIX).filter(|_| text.len() <= MOST);
    let bytes = URL_SAFE_NO_PAD.decode(encoded.ok_or(Error::Malformed)?);
    let bytes = bytes.map_err(|_| Error::Cut)?;
    if bytes.len() != LENGTH {
        return Err(Error::Cut);
    }
    let composed = composed(passphrase)?;
    let mut reader = Reader(&bytes);
    let cost = Cost {
        memory: u32::from_be_bytes(reader.array()?),
        passes: u32::from_be_bytes(reader.array()?),
    };
    let (salt, nonce): ([u8; 16], [u8; 24]) = (reader.array()?, reader.array()?);
    let sealed = reader.0;
    if cost.memory > DEAREST.memory || cost.passes > DEAREST.passes {
        return Err(Error::TooDear);
    }
    let aad = authenticated(&bytes[..bytes.len() - sealed.len()]);
    let open = |passphrase: &str| {
        let (msg, aad) = (sealed, &aad[..]);
        let opened = cipher(passphrase, &salt, cost)?
            .decrypt(XNonce::from_slice(&nonce), Payload { msg, aad });
        opened.map_err(|_| Error::Closed)
    };
    let opened = match open(&composed) {
        // Versions of before took the bytes that were typed.
        Err(Error::Closed) if *composed != passphrase => open(passphrase)?,
        opened => opened?,
    };
    let opened = Zeroizing::new(opened);
    let seed: Zeroizing<[u8; 32]> =
        Zeroizing::new(opened.as_slice().try_into().map_err(|_| Error::Malformed)?);
    Ok(Identity::from_seed(&seed))
}

/// A passphrase in one form (NFC), however its letters were put together: what types them in one
/// browser may do it otherwise than in another.
fn composed(passphrase: &str) -> Result<Zeroizing<String>, Error> {
    if passphrase.len() > LONGEST {
        return Err(Error::Passphrase);
    }
    let composed = ComposingNormalizerBorrowed::new_nfc().normalize(passphrase);
    Ok(Zeroizing::new(composed.into_owned()))
}

/// All that is not encrypted is authenticated: no cost or form can be changed.
fn authenticated(front: &[u8]) -> Vec<u8> {
    [PREFIX.as_bytes(), front].concat()
}

fn cipher(passphrase: &str, salt: &[u8], cost: Cost) -> Result<XChaCha20Poly1305, Error> {
    let params = Params::new(cost.memory, cost.passes, 1, Some(32));
    let params = params.map_err(|_| Error::Malformed)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    let made = argon2.hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice());
    made.map_err(|_| Error::Malformed)?;
    Ok(XChaCha20Poly1305::new(Key::from_slice(key.as_slice())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSPHRASE: &str = "correct horse battery";
    const WITH: Entropy = Entropy {
        salt: [1; 16],
        nonce: [2; 24],
    };

    fn exported() -> (Identity, String) {
        let identity = Identity::from_seed(&[9; 32]);
        let text = export(&identity, PASSPHRASE, &WITH).unwrap();
        (identity, text)
    }

    #[test]
    fn only_its_passphrase_opens_an_exported_identity() {
        let (identity, text) = exported();
        let opened = import(&format!("{text}\n"), PASSPHRASE).unwrap();
        assert_eq!(opened.public(), identity.public());
        let wrong = import(&text, "correct horse batterz").unwrap_err();
        assert_eq!(wrong, Error::Closed);
    }

    #[test]
    fn a_passphrase_opens_however_its_letters_were_put_together() {
        let identity = Identity::from_seed(&[9; 32]);
        let (one, other) = ("caf\u{e9} au lait, s'il", "cafe\u{301} au lait, s'il");
        for (exported, typed) in [(one, other), (other, one)] {
            let text = export(&identity, exported, &WITH).unwrap();
            let opened = import(&text, typed).unwrap();
            assert_eq!(opened.public(), identity.public());
        }
    }

    #[test]
    fn what_a_version_of_before_exported_opens_with_what_was_typed() {
        let identity = Identity::from_seed(&[9; 32]);
        let typed = "cafe\u{301} au lait, s'il";
        let text = closed(&identity, typed, &WITH).unwrap();
        assert_eq!(import(&text, typed).unwrap().public(), identity.public());
    }

    #[test]
    fn a_form_once_exported_can_always_be_imported() {
        let (_, text) = exported();
        assert_eq!(text, include_str!("../tests/identity.v1").trim());
    }

    #[test]
    fn a_changed_text_does_not_open() {
        let (_, text) = exported();
        let bytes = URL_SAFE_NO_PAD.decode(&text[PREFIX.len()..]).unwrap();
        for at in [8, 24, 48, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let changed = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(changed));
            assert_eq!(
                import(&changed, PASSPHRASE).unwrap_err(),
                Error::Closed,
                "{at}"
            );
        }
    }

    #[test]
    fn a_hostile_file_costs_no_more_than_an_export() {
        let (_, text) = exported();
        let bytes = URL_SAFE_NO_PAD.decode(&text[PREFIX.len()..]).unwrap();
        for at in [0, 4] {
            let mut dear = bytes.clone();
            dear[at] = 0xff;
            let dear = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(dear));
            assert_eq!(import(&dear, PASSPHRASE).unwrap_err(), Error::TooDear);
        }
        let (cut, more) = (&text[..60], format!("{text}AAAA"));
        for bad in [PREFIX, cut, &more, &format!("{PREFIX}AAAA")] {
            assert_eq!(import(bad, PASSPHRASE).unwrap_err(), Error::Cut, "{bad}");
        }
        for bad in ["", "ed25519:AAAA", &"a".repeat(2000)] {
            assert_eq!(
                import(bad, PASSPHRASE).unwrap_err(),
                Error::Malformed,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_passphrase_that_can_be_guessed_is_refused() {
        let identity = Identity::from_seed(&[9; 32]);
        for bad in ["", "short", "elevenchars"] {
            assert_eq!(
                export(&identity, bad, &WITH).unwrap_err(),
                Error::Passphrase
            );
        }
    }
}
