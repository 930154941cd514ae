//! Which devices a person says in a room to have: the next signed list, made of the newest one that
//! this device knows, else of those that are in the group.

use super::room::Room;
use super::{Error, Holder, Member, Person, Step};
use crate::crypto::Crypto;
use crate::device::{Certificate, Name, Unsigned};
use crate::identity::{Identity, Public};
use crate::mls;
use crate::rules::{JoinPolicy, check_key_package};
use std::collections::BTreeSet;

/// A device of one's own in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnDevice {
    /// Its name.
    pub name: Name,
    /// It is the one that says so.
    pub is_this: bool,
    /// It is in the group.
    pub is_in: bool,
    /// Its person has not revoked it there.
    pub counts: bool,
}

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
        let list = self.without(room, identity.public(), device)?;
        self.announce(room, &list.sign(identity))
    }

    /// What this person's identity has to sign so that a device does not count any more; it is
    /// [`Member::announce`]d then.
    ///
    /// # Errors
    /// As [`Member::revoke`].
    pub fn revocation(&mut self, room: &Name, device: &Name) -> Result<Unsigned, Error> {
        self.without(room, self.certificate.identity, device)
    }

    fn without(&mut self, room: &Name, own: Public, device: &Name) -> Result<Unsigned, Error> {
        if *device == self.certificate.device {
            return Err(Error::OwnDevice);
        }
        let list = self.ready(room)?.next_list(own, room)?;
        Ok(list.without(device)?)
    }

    /// Says in the room that the device of this key package counts. Others of a person that never
    /// said which count do so anyway. Of one that counts already it says the same list once more,
    /// which a device may lack that was away when the room forgot what was said before.
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
        let list = self.with(room, identity.public(), package)?;
        self.announce(room, &list.sign(identity))
    }

    /// What this person's identity has to sign so that the device of this key package counts; it is
    /// [`Member::announce`]d then.
    ///
    /// # Errors
    /// As [`Member::allow`].
    pub fn allowance(&mut self, room: &Name, package: &[u8]) -> Result<Unsigned, Error> {
        self.with(room, self.certificate.identity, package)
    }

    fn with(&mut self, room: &Name, own: Public, package: &[u8]) -> Result<Unsigned, Error> {
        let certificate = certificate_of(package)?;
        if certificate.identity != own || certificate.user != self.certificate.user {
            return Err(Error::OtherPerson);
        }
        let list = self.ready(room)?.next_list(own, room)?;
        Ok(list.with(certificate.device, certificate.key)?)
    }

    /// Those of the key packages whose devices their persons have not revoked in this room, and the
    /// names of the other devices.
    pub fn allowed(&self, room: &Name, packages: &[Vec<u8>]) -> (Vec<Vec<u8>>, Vec<Name>) {
        let (mut allowed, mut unlisted) = (Vec::new(), Vec::new());
        for package in packages {
            match (self.rooms.get(room), certificate_of(package)) {
                (Some(room), Ok(one)) if !room.lists.allows(&one) => unlisted.push(one.device),
                // Why it does not count, adding it says.
                _ => allowed.push(package.clone()),
            }
        }
        (allowed, unlisted)
    }

    /// Devices of this person in a room, as far as this device knows: those of the group, those
    /// that the person has said to have, and those that were in when it knew the group last. By
    /// name.
    pub fn own_devices(&self, room: &Name) -> Vec<OwnDevice> {
        let Some(room) = self.rooms.get(room) else {
            return Vec::new();
        };
        let own = self.certificate.identity;
        let list = room.lists.of(&own);
        let is_in: BTreeSet<_> = room
            .members
            .values()
            .filter(|one| one.identity == own)
            .map(|one| one.device.clone())
            .collect();
        let listed: BTreeSet<_> = list
            .into_iter()
            .flat_map(|list| list.devices().map(|(name, _)| name.clone()))
            .collect();
        let known = room.known.devices.iter();
        let known = known.filter(|(_, _, identity)| *identity == own.to_string());
        let mut names: BTreeSet<_> = known
            .filter_map(|(_, device, _)| Name::parse(device).ok())
            .collect();
        let revoked = room.known.revoked.iter();
        names.extend(revoked.filter_map(|name| Name::parse(name).ok()));
        names.extend(is_in.iter().chain(&listed).cloned());
        names.insert(self.certificate.device.clone());
        let device = |name: Name| OwnDevice {
            is_this: name == self.certificate.device,
            is_in: is_in.contains(&name),
            counts: list.is_none() || listed.contains(&name),
            name,
        };
        names.into_iter().map(device).collect()
    }

    /// Who comes into the room's group by themselves; `None`: the device is in no group.
    pub fn join_policy(&self, room: &Name) -> Option<JoinPolicy> {
        let group = self.rooms.get(room)?.group.as_ref()?;
        mls::join_policy_of(group.group_id().as_slice(), room).ok()
    }

    /// Whether the group that this device is on its way into takes in whoever comes.
    pub(crate) fn enters_open(&self, room: &Name) -> bool {
        let entered = self.rooms.get(room).and_then(|one| one.rejoin.as_ref());
        let group = entered.and_then(|one| one.group.as_ref());
        let policy = group.map(|group| mls::join_policy_of(group.group_id().as_slice(), room));
        policy == Some(Ok(JoinPolicy::Open))
    }
}

impl Room {
    /// The list that follows the newest one of a person, as that is; of who has said none, the
    /// devices that are in the group.
    fn next_list(&self, own: Public, room: &Name) -> Result<Unsigned, Error> {
        if let Some(list) = self.lists.of(&own) {
            return Ok(Unsigned::after(list));
        }
        let mut list = Unsigned::first(own, room.clone());
        for one in self.members.values().filter(|one| one.identity == own) {
            list = list.with(one.device.clone(), one.key)?;
        }
        Ok(list)
    }
}

/// Key packages come from the service, which could give anybody's: they are of these people, by
/// name and key, or nobody is added.
pub(crate) fn check_whose(packages: &[Vec<u8>], people: &[Person]) -> Result<(), Error> {
    for package in packages {
        let one = certificate_of(package)?;
        let is_it = |of: &Person| of.user == one.user && of.identity == one.identity;
        if !people.iter().any(is_it) {
            return Err(Error::NotAsked);
        }
    }
    Ok(())
}

/// The device that made a key package.
pub(crate) fn certificate_of(package: &[u8]) -> Result<Certificate, Error> {
    let crypto = Crypto::default();
    let package = mls::read_key_package(package, &crypto)?;
    Ok(check_key_package(&package, None, &crypto)?)
}

/// Whose device made a key package.
///
/// # Errors
/// It is none that counts.
pub fn holder_of(package: &[u8]) -> Result<Holder, Error> {
    certificate_of(package).map(|certificate| Holder::from(&certificate))
}
