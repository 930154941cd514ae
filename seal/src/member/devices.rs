//! Which devices a person says in a room to have: the next signed list, made of the newest one that
//! this device knows, else of those that are in the group.

use super::room::Room;
use super::{Error, Member, Step};
use crate::device::{Certificate, List, Name};
use crate::identity::Identity;
use crate::mls;
use crate::rules::{JoinPolicy, check_key_package};
use openmls_rust_crypto::RustCrypto;

impl Member {
    /// Says in the room that a device of this person does not count any more. It is removed by
    /// whoever tidies, and comes back only when it is allowed again.
    ///
    /// # Errors
    /// The device is not in the room; the identity is another person's; or the named device is not
    /// one that counts.
    pub fn revoke(
        &mut self,
        room: &Name,
        identity: &Identity,
        device: &Name,
    ) -> Result<Step, Error> {
        if *device == self.certificate.device {
            return Err(Error::OwnDevice);
        }
        let list = self.ready(room)?.list_of(identity)?;
        let list = list.without(identity, device)?;
        self.announce(room, &list)
    }

    /// Says in the room that the device of this key package counts. Others of a person that never
    /// said which count do so anyway.
    ///
    /// # Errors
    /// The device is not in the room; the key package is none of this person's; or the person has
    /// too many, or another one of that name.
    pub fn allow(
        &mut self,
        room: &Name,
        identity: &Identity,
        package: &[u8],
    ) -> Result<Step, Error> {
        let certificate = certificate_of(package)?;
        if certificate.identity != identity.public() {
            return Err(Error::OtherPerson);
        }
        let list = self.ready(room)?.list_of(identity)?;
        let list = list.with(identity, certificate.device, certificate.key)?;
        self.announce(room, &list)
    }

    /// Those of the key packages whose devices their persons have not revoked in this room.
    pub fn allowed(&self, room: &Name, packages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let is_allowed = |package: &Vec<u8>| match (self.rooms.get(room), certificate_of(package)) {
            (Some(room), Ok(certificate)) => room.lists.allows(&certificate),
            // Why it does not count, adding it says.
            _ => true,
        };
        let allowed = packages.iter().filter(|package| is_allowed(package));
        allowed.cloned().collect()
    }

    /// Who comes into the room's group by themselves; `None`: the device is in no group.
    pub fn join_policy(&self, room: &Name) -> Option<JoinPolicy> {
        let group = self.rooms.get(room)?.group.as_ref()?;
        mls::join_policy_of(group.group_id().as_slice(), room).ok()
    }
}

impl Room {
    fn list_of(&self, identity: &Identity) -> Result<List, Error> {
        let own = identity.public();
        if let Some(list) = self.lists.of(&own) {
            return Ok(list.clone());
        }
        let mut list = List::first(identity);
        for one in self.members.values().filter(|one| one.identity == own) {
            list = list.with(identity, one.device.clone(), one.key)?;
        }
        Ok(list)
    }
}

/// The device that made a key package.
pub(crate) fn certificate_of(package: &[u8]) -> Result<Certificate, Error> {
    let crypto = RustCrypto::default();
    let package = mls::read_key_package(package, &crypto)?;
    Ok(check_key_package(&package, None, &crypto)?)
}

/// The name of the device that made a key package.
///
/// # Errors
/// It is none that counts.
pub fn device_of(package: &[u8]) -> Result<Name, Error> {
    certificate_of(package).map(|certificate| certificate.device)
}
