//! Who somebody is: an Ed25519 key pair whose public half is the `pub` of the protocol. The same
//! key proves a name in a session (`auth=1`); here it certifies devices. Nothing else is signed
//! with it, and every signature begins with a label that says what for.

use crate::codec::short_parts;
use crate::device::{self, Certificate, DeviceKey, Name};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use std::fmt;
use thiserror::Error;
use zeroize::Zeroizing;

/// What a certificate's signature begins with.
const CERTIFICATE: &[u8] = b"safe-chat device certificate v1";
/// What the signature of a list of devices begins with.
const DEVICES: &[u8] = b"safe-chat devices v2";

/// The key pair of a person. Never printed; its secret is wiped when it is dropped.
#[derive(Clone)]
pub struct Identity(SigningKey);

impl Identity {
    /// The one of these secret bytes (RFC 8032: the private key), which the caller draws at random.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The secret bytes, to keep it by.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// What others know it by.
    pub fn public(&self) -> Public {
        Public(self.0.verifying_key().to_bytes())
    }

    /// Vouches for a device of this person, under the name that the person has in rooms.
    pub fn certify(&self, user: Name, device: Name, key: &DeviceKey) -> Certificate {
        let public = self.public();
        let about = certificate_bytes(&user, &device, &public, &key.public());
        Certificate {
            user,
            device,
            identity: public,
            key: key.public(),
            signature: self.0.sign(&about).to_bytes(),
        }
    }

    /// Signs bytes that say in front what for, where nothing else can: in a browser without
    /// WebCrypto, what [`Certificate::to_sign`] and the proofs of docs/protocol.md are made of.
    pub fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }

    /// Signs which devices count from now on.
    pub(crate) fn sign_devices(&self, room: &Name, listed: &[u8]) -> [u8; 64] {
        self.0.sign(&devices_to_sign(room, listed)).to_bytes()
    }
}

/// What an identity signs of a list of devices: it is of this room, and says nothing elsewhere.
pub(crate) fn devices_to_sign(room: &Name, listed: &[u8]) -> Vec<u8> {
    short_parts(&[DEVICES, room.as_str().as_bytes(), listed])
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Identity(..)")
    }
}

/// The public half of an identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Public(pub(crate) [u8; 32]);

/// A text or bytes that are no public key of an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("is no Ed25519 public key, which has 43 characters of base64url, and not any 43")]
pub struct BadPublic;

impl Public {
    /// From base64url of its 32 bytes, as `pub` names it.
    ///
    /// # Errors
    /// Not that form, no point of the curve, or one of those with which anybody can forge.
    pub fn parse(text: &str) -> Result<Self, BadPublic> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadPublic)?;
        Self::from_bytes(bytes.try_into().map_err(|_| BadPublic)?)
    }

    /// # Errors
    /// No point of the curve, or one of those with which anybody can forge.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, BadPublic> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| BadPublic)?;
        if key.is_weak() {
            return Err(BadPublic);
        }
        Ok(Self(bytes))
    }

    /// Its 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn has_certified(&self, certificate: &Certificate) -> bool {
        let Certificate { user, device, .. } = certificate;
        let about = certificate_bytes(user, device, self, &certificate.key);
        self.has_signed(&about, &certificate.signature)
    }

    pub(crate) fn has_listed(&self, room: &Name, listed: &[u8], signature: &[u8; 64]) -> bool {
        self.has_signed(&devices_to_sign(room, listed), signature)
    }

    fn has_signed(&self, bytes: &[u8], signature: &[u8; 64]) -> bool {
        let signature = Signature::from_bytes(signature);
        VerifyingKey::from_bytes(&self.0)
            .is_ok_and(|key| key.verify_strict(bytes, &signature).is_ok())
    }
}

impl fmt::Display for Public {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Public {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Public({self})")
    }
}

impl Certificate {
    /// What an identity signs to vouch for a device, where its key signs without showing itself: in
    /// a browser. [`Certificate::signed`] takes the signature.
    pub fn to_sign(user: &Name, device: &Name, identity: &Public, key: &DeviceKey) -> Vec<u8> {
        certificate_bytes(user, device, identity, &key.public())
    }

    /// The certificate with this signature.
    ///
    /// # Errors
    /// The identity did not make it.
    pub fn signed(
        (user, device): (Name, Name),
        identity: Public,
        key: &DeviceKey,
        signature: [u8; 64],
    ) -> Result<Self, device::Error> {
        let certificate = Self {
            user,
            device,
            identity,
            key: key.public(),
            signature,
        };
        match identity.has_certified(&certificate) {
            true => Ok(certificate),
            false => Err(device::Error::NotSigned),
        }
    }
}

fn certificate_bytes(user: &Name, device: &Name, identity: &Public, key: &device::Key) -> Vec<u8> {
    let (user, device) = (user.as_str().as_bytes(), device.as_str().as_bytes());
    short_parts(&[CERTIFICATE, user, device, &identity.0, key])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_read_as_it_is_written() {
        let public = Identity::from_seed(&[7; 32]).public();
        assert_eq!(Public::parse(&public.to_string()), Ok(public));
        assert_eq!(public.to_string().len(), 43);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let padded = format!("{}=", Identity::from_seed(&[7; 32]).public());
        for text in [
            "",
            "AAAA",
            "KEY-1",
            &padded,
            &"A".repeat(43),
            &"_".repeat(43),
        ] {
            assert_eq!(Public::parse(text), Err(BadPublic), "{text}");
        }
    }

    #[test]
    fn who_signs_elsewhere_certifies_the_same() {
        let identity = Identity::from_seed(&[7; 32]);
        let (key, public) = (DeviceKey::from_seed(&[8; 32]), identity.public());
        let name = |text| Name::parse(text).unwrap();
        let names = || (name("harry"), name("phone"));
        let bytes = Certificate::to_sign(&names().0, &names().1, &public, &key);
        let signature = identity.sign(&bytes);
        let signed = Certificate::signed(names(), public, &key, signature).unwrap();
        assert_eq!(signed, identity.certify(names().0, names().1, &key));
        let other = Identity::from_seed(&[9; 32]).public();
        assert!(Certificate::signed(names(), other, &key, signature).is_err());
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert_eq!(
            format!("{:?}", Identity::from_seed(&[7; 32])),
            "Identity(..)"
        );
    }
}
