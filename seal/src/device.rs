//! The devices of a person: each has a key of its own, which the identity certifies. The
//! certificate is the MLS credential of the device. Which devices count is a signed list with a
//! number: adding and revoking make the next one, and an older list never replaces a newer one.

use crate::codec::{Malformed, Reader, short_parts};
use crate::identity::{self, Identity, Public};
use ed25519_dalek::{Signer as _, SigningKey};
use std::fmt;
use thiserror::Error;

/// The form of certificates and lists.
const FORM: u8 = 1;
/// The stored form of a list: the one before named no room, and counts no more.
const LIST_FORM: u8 = 2;
#[cfg(feature = "mls")]
pub(crate) const OLD_LIST_FORM: u8 = 1;
/// Devices of one person, at most.
pub const MOST_DEVICES: usize = 32;

/// The public key of a device.
pub type Key = [u8; 32];

/// A user's or device's name: 1-64 of `A-Z a-z 0-9 _ -`, as in the protocol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// # Errors
    /// Not 1-64 of `A-Z a-z 0-9 _ -`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::BadName)
        }
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| Error::BadName)?)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Why a certificate or a list of devices does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Error {
    /// No name of a user or device.
    #[error("a name must be 1-64 of A-Z a-z 0-9 _ -")]
    BadName,
    /// Bytes of another form.
    #[error("the certificate or list of devices cannot be read")]
    Malformed,
    /// The identity did not sign it.
    #[error("the identity did not sign it")]
    NotSigned,
    /// It is for another device's key.
    #[error("the certificate is for another device's key")]
    OtherKey,
    /// More devices than one person may have.
    #[error("a person may have {MOST_DEVICES} devices: revoke one")]
    TooMany,
    /// A device of that name is listed, with another key.
    #[error(
        "a device of that name is listed with another key: revoke it first, or take another name"
    )]
    NameTaken,
    /// No such device is listed.
    #[error("no such device is listed")]
    NotListed,
}

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// The key pair of a device, with which it signs what it does in rooms. Never printed.
#[derive(Clone)]
pub struct DeviceKey(SigningKey);

impl DeviceKey {
    /// The one of these secret bytes, which the caller draws at random. They stay on the device.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// What others verify with.
    pub fn public(&self) -> Key {
        self.0.verifying_key().to_bytes()
    }

    #[cfg_attr(
        not(feature = "mls"),
        expect(dead_code, reason = "only groups sign with it")
    )]
    pub(crate) fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        self.0.sign(bytes).to_bytes().to_vec()
    }

    #[cfg_attr(
        not(feature = "mls"),
        expect(dead_code, reason = "only members are stored")
    )]
    pub(crate) fn seed(&self) -> zeroize::Zeroizing<[u8; 32]> {
        zeroize::Zeroizing::new(self.0.to_bytes())
    }
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("DeviceKey(..)")
    }
}

/// An identity vouches for a device. One that exists was verified, or just made.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    pub(crate) user: Name,
    pub(crate) device: Name,
    pub(crate) identity: Public,
    pub(crate) key: Key,
    pub(crate) signature: [u8; 64],
}

impl Certificate {
    /// The name that the person has in rooms.
    pub fn user(&self) -> &Name {
        &self.user
    }

    /// The name of the device.
    pub fn device(&self) -> &Name {
        &self.device
    }

    /// Who vouches.
    pub fn identity(&self) -> &Public {
        &self.identity
    }

    /// The device's key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The content of the MLS credential: user, device, identity and signature. The device's key is
    /// not in it; MLS has it beside the credential.
    pub fn encode(&self) -> Vec<u8> {
        let (user, device) = (self.user.0.as_bytes(), self.device.0.as_bytes());
        let mut bytes = vec![FORM];
        bytes.extend(short_parts(&[
            user,
            device,
            &self.identity.0,
            &self.signature,
        ]));
        bytes
    }

    /// Reads and verifies one for a device's key.
    ///
    /// # Errors
    /// It cannot be read, or the identity that it names did not sign it for this key.
    pub fn decode(bytes: &[u8], key: &[u8]) -> Result<Self, Error> {
        let key: Key = key.try_into().map_err(|_| Error::OtherKey)?;
        let (user, device, identity, signature) = Self::parts(bytes)?;
        let certificate = Self {
            user,
            device,
            identity,
            key,
            signature,
        };
        if certificate.identity.has_certified(&certificate) {
            Ok(certificate)
        } else {
            Err(Error::NotSigned)
        }
    }
}

impl Certificate {
    /// What one says, of bytes that were verified before.
    #[cfg(feature = "mls")]
    pub(crate) fn names(bytes: &[u8]) -> Result<(Name, Name, Public), Error> {
        let (user, device, identity, _) = Self::parts(bytes)?;
        Ok((user, device, identity))
    }

    fn parts(bytes: &[u8]) -> Result<(Name, Name, Public, [u8; 64]), Error> {
        let mut reader = Reader(bytes);
        if reader.array()? != [FORM] {
            return Err(Error::Malformed);
        }
        let (user, device) = (reader.short()?, reader.short()?);
        let (identity, signature) = (reader.short()?, reader.short()?);
        reader.end()?;
        let identity = identity.try_into().map_err(|_| Error::Malformed)?;
        Ok((
            Name::from_bytes(user)?,
            Name::from_bytes(device)?,
            Public::from_bytes(identity).map_err(|_| Error::Malformed)?,
            signature.try_into().map_err(|_| Error::Malformed)?,
        ))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Certificate({}/{} of {})",
            self.user, self.device, self.identity
        )
    }
}

/// Which devices of a person count in a room, signed by the identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// What is signed names it, so that nobody shows the list elsewhere. It is not in the bytes.
    room: Name,
    identity: Public,
    number: u64,
    devices: Vec<(Name, Key)>,
    signature: [u8; 64],
}

impl List {
    /// The first list of an identity, with no device.
    pub fn first(identity: &Identity, room: Name) -> Self {
        Unsigned::first(identity.public(), room).sign(identity)
    }

    /// The next list, with one device more. A device that is listed already changes nothing.
    ///
    /// # Errors
    /// The name is another device's, or there would be too many.
    pub fn with(&self, identity: &Identity, name: Name, key: Key) -> Result<Self, Error> {
        if self.devices.contains(&(name.clone(), key)) {
            return Ok(self.clone());
        }
        let next = Unsigned::after(self).with(name, key)?;
        Ok(next.sign(identity))
    }

    /// The next list, without a device that was lost or sold.
    ///
    /// # Errors
    /// No such device is listed.
    pub fn without(&self, identity: &Identity, name: &Name) -> Result<Self, Error> {
        let next = Unsigned::after(self).without(name)?;
        Ok(next.sign(identity))
    }

    /// Whose devices they are.
    pub fn identity(&self) -> &Public {
        &self.identity
    }

    /// The devices, by name.
    pub fn devices(&self) -> impl Iterator<Item = (&Name, &Key)> {
        self.devices.iter().map(|(name, key)| (name, key))
    }

    /// Whether a certificate is of a listed device.
    pub fn has(&self, certificate: &Certificate) -> bool {
        let mut devices = self.devices();
        self.identity == certificate.identity
            && devices.any(|(name, key)| *name == certificate.device && *key == certificate.key)
    }

    /// Whether it takes the place of an earlier list, which only a later one of the same identity
    /// does.
    pub fn supersedes(&self, earlier: &Self) -> bool {
        self.identity == earlier.identity && self.number > earlier.number
    }

    /// As it is stored and sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.listed();
        bytes.extend(self.signature);
        bytes
    }

    /// Reads and verifies one.
    ///
    /// # Errors
    /// It cannot be read, or the identity that it names did not sign it for this room.
    pub fn decode(bytes: &[u8], room: &Name) -> Result<Self, Error> {
        let split = bytes.len().checked_sub(64).ok_or(Error::Malformed)?;
        let (listed, signature) = bytes.split_at(split);
        let mut reader = Reader(listed);
        if reader.array()? != [LIST_FORM] {
            return Err(Error::Malformed);
        }
        let identity = Public::from_bytes(reader.array()?).map_err(|_| Error::Malformed)?;
        let number = u64::from_be_bytes(reader.array()?);
        let mut devices = Vec::new();
        while !reader.0.is_empty() {
            if devices.len() == MOST_DEVICES {
                return Err(Error::TooMany);
            }
            devices.push((Name::from_bytes(reader.short()?)?, reader.array()?));
        }
        // One form for one list, so that two readers never differ over what was signed.
        let is_sorted = devices.is_sorted_by(|(one, _), (other, _)| one < other);
        // A device has one name, and after each list there is a next one.
        let mut all = devices.iter().enumerate();
        let is_twice = all.any(|(at, (_, key))| devices[..at].iter().any(|(_, one)| one == key));
        if !is_sorted || is_twice || number == 0 || number == u64::MAX {
            return Err(Error::Malformed);
        }
        let list = Self {
            room: room.clone(),
            identity,
            number,
            devices,
            signature: signature.try_into().map_err(|_| Error::Malformed)?,
        };
        if identity.has_listed(room, listed, &list.signature) {
            Ok(list)
        } else {
            Err(Error::NotSigned)
        }
    }

    fn listed(&self) -> Vec<u8> {
        let mut bytes = vec![LIST_FORM];
        bytes.extend(self.identity.0);
        bytes.extend(self.number.to_be_bytes());
        for (name, key) in &self.devices {
            bytes.extend(short_parts(&[name.0.as_bytes()]));
            bytes.extend(key);
        }
        bytes
    }
}

/// A list that its identity has yet to sign, which may be where no program reads its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsigned(List);

impl Unsigned {
    /// The first list of an identity, with no device.
    pub(crate) fn first(identity: Public, room: Name) -> Self {
        Self(List {
            room,
            identity,
            number: 1,
            devices: Vec::new(),
            signature: [0; 64],
        })
    }

    /// The list that takes the place of this one, with the same devices.
    pub(crate) fn after(list: &List) -> Self {
        let number = list.number + 1;
        Self(List {
            number,
            ..list.clone()
        })
    }

    /// One device more; a listed one changes nothing.
    pub(crate) fn with(mut self, name: Name, key: Key) -> Result<Self, Error> {
        let devices = &mut self.0.devices;
        match devices.iter().find(|(listed, _)| *listed == name) {
            Some((_, listed)) if *listed == key => {}
            Some(_) => return Err(Error::NameTaken),
            None if devices.len() == MOST_DEVICES => return Err(Error::TooMany),
            None if devices.iter().any(|(_, listed)| *listed == key) => {
                return Err(Error::NameTaken);
            }
            None => devices.push((name, key)),
        }
        devices.sort();
        Ok(self)
    }

    pub(crate) fn without(mut self, name: &Name) -> Result<Self, Error> {
        let before = self.0.devices.len();
        self.0.devices.retain(|(listed, _)| listed != name);
        match self.0.devices.len() == before {
            true => Err(Error::NotListed),
            false => Ok(self),
        }
    }

    /// The bytes that the identity signs.
    pub fn to_sign(&self) -> Vec<u8> {
        identity::devices_to_sign(&self.0.room, &self.0.listed())
    }

    /// The list with the signature.
    ///
    /// # Errors
    /// It is not of this list, or another identity's.
    pub fn signed(mut self, signature: [u8; 64]) -> Result<List, Error> {
        self.0.signature = signature;
        let List { room, identity, .. } = &self.0;
        match identity.has_listed(room, &self.0.listed(), &signature) {
            true => Ok(self.0),
            false => Err(Error::NotSigned),
        }
    }

    pub(crate) fn sign(mut self, identity: &Identity) -> List {
        self.0.identity = identity.public();
        self.0.signature = identity.sign_devices(&self.0.room, &self.0.listed());
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn phone() -> (Identity, DeviceKey, Certificate) {
        let (identity, key) = (
            Identity::from_seed(&[1; 32]),
            DeviceKey::from_seed(&[2; 32]),
        );
        let certificate = identity.certify(name("harry"), name("phone"), &key);
        (identity, key, certificate)
    }

    #[test]
    fn a_certificate_counts_for_its_key_alone() {
        let (_, key, certificate) = phone();
        let bytes = certificate.encode();
        assert_eq!(Certificate::decode(&bytes, &key.public()), Ok(certificate));
        let other = DeviceKey::from_seed(&[3; 32]).public();
        assert_eq!(Certificate::decode(&bytes, &other), Err(Error::NotSigned));
        assert_eq!(Certificate::decode(&bytes, &[]), Err(Error::OtherKey));
    }

    #[test]
    fn a_name_cannot_lend_letters_to_its_neighbour() {
        let (identity, key, certificate) = phone();
        let moved = identity.certify(name("harryp"), name("hone"), &key);
        assert_ne!(certificate.signature, moved.signature);
    }

    #[test]
    fn a_revoked_device_does_not_come_back_with_an_older_list() {
        let (identity, key, certificate) = phone();
        let first = List::first(&identity, name("aaa"));
        let with = first.with(&identity, name("phone"), key.public()).unwrap();
        let without = with.without(&identity, &name("phone")).unwrap();
        assert!(with.has(&certificate) && !without.has(&certificate));
        assert!(without.supersedes(&with) && !with.supersedes(&without));
        assert_eq!(List::decode(&with.encode(), &name("aaa")), Ok(with));
        assert_eq!(
            without.without(&identity, &name("phone")),
            Err(Error::NotListed)
        );
    }

    #[test]
    fn a_list_is_of_one_room_and_says_what_can_be_true() {
        let identity = Identity::from_seed(&[1; 32]);
        let signed = |number, devices: Vec<(Name, Key)>| {
            let first = Unsigned::first(identity.public(), name("aaa"));
            let list = List {
                number,
                devices,
                ..first.0
            };
            Unsigned(list).sign(&identity).encode()
        };
        let two = |key| vec![(name("a"), [1; 32]), (name("b"), key)];
        let read = |bytes: &[u8], room| List::decode(bytes, &name(room)).map(drop);
        let fine = signed(7, two([2; 32]));
        assert_eq!(read(&fine, "aaa"), Ok(()));
        assert_eq!(read(&fine, "bbb"), Err(Error::NotSigned));
        for odd in [
            signed(7, two([1; 32])),
            signed(0, two([2; 32])),
            signed(u64::MAX, two([2; 32])),
        ] {
            assert_eq!(read(&odd, "aaa"), Err(Error::Malformed));
        }
        let first = List::first(&identity, name("aaa"));
        let one = first.with(&identity, name("a"), [1; 32]).unwrap();
        let again = one.with(&identity, name("b"), [1; 32]);
        assert_eq!(again, Err(Error::NameTaken));
    }

    #[test]
    fn a_list_is_bounded_and_a_name_is_one_device() {
        let identity = Identity::from_seed(&[1; 32]);
        let mut list = List::first(&identity, name("aaa"));
        for n in 0..MOST_DEVICES {
            list = list
                .with(&identity, name(&format!("d{n}")), [n as u8; 32])
                .unwrap();
        }
        assert_eq!(
            list.with(&identity, name("more"), [99; 32]),
            Err(Error::TooMany)
        );
        assert_eq!(
            list.with(&identity, name("d0"), [99; 32]),
            Err(Error::NameTaken)
        );
        assert_eq!(list.with(&identity, name("d0"), [0; 32]), Ok(list.clone()));
        assert_eq!(List::decode(&list.encode(), &name("aaa")), Ok(list));
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unnoticed(at in 0usize..10_000, flip in 1u8..) {
            let (identity, key, certificate) = phone();
            let mut bytes = certificate.encode();
            let at_byte = at % bytes.len();
            bytes[at_byte] ^= flip;
            prop_assert!(Certificate::decode(&bytes, &key.public()).is_err());
            let first = List::first(&identity, name("aaa"));
            let list = first.with(&identity, name("phone"), key.public());
            let mut bytes = list.unwrap().encode();
            let at_byte = at % bytes.len();
            bytes[at_byte] ^= flip;
            prop_assert!(List::decode(&bytes, &name("aaa")).is_err());
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes: Vec<u8>) {
            let _ = Certificate::decode(&bytes, &[1; 32]);
            let _ = List::decode(&bytes, &name("aaa"));
        }
    }
}
