//! What a user wants of the group.

use super::{Conversation, Effect};
use crate::device::{List, Name, Unsigned};
use crate::identity::Identity;
use crate::member::{Error, Member, Person, Step, check_whose};
use crate::rules::JoinPolicy;

impl Conversation {
    /// Adds the devices of these key packages, all of one person, but those that this one has
    /// revoked here, or not allowed yet.
    ///
    /// # Errors
    /// Those of [`Member::add`], or none is left, or all that are left are in already.
    pub fn add(
        &mut self,
        person: &Person,
        packages: &[Vec<u8>],
        now: u64,
    ) -> Result<Vec<Effect>, Error> {
        let people = std::slice::from_ref(person);
        check_whose(packages, people)?;
        let (allowed, unlisted) = self.member.allowed(&self.room, packages);
        match self.change(now, |member, room| member.add(room, people, &allowed, now)) {
            Err(Error::NoChange) if !unlisted.is_empty() => Err(Error::Unlisted(unlisted)),
            changed => changed,
        }
    }

    /// Devices of these key packages that their persons have not allowed here.
    pub fn unlisted(&self, packages: &[Vec<u8>]) -> Vec<Name> {
        self.member.allowed(&self.room, packages).1
    }

    /// Removes all devices of a user, or one.
    ///
    /// # Errors
    /// Those of [`Member::remove`].
    pub fn remove(
        &mut self,
        user: &Name,
        device: Option<&Name>,
        now: u64,
    ) -> Result<Vec<Effect>, Error> {
        self.change(now, |member, room| member.remove(room, user, device, now))
    }

    /// Asks to be removed from the group, and stays out until the user agrees to come back.
    ///
    /// # Errors
    /// Those of [`Member::leave`].
    pub fn leave(&mut self, now: u64) -> Result<Vec<Effect>, Error> {
        let effects = self.change(now, |member, room| member.leave(room))?;
        self.leaves = true;
        Ok(effects)
    }

    /// Whether its user has left, or asked to. Only [`Conversation::agree`] brings the device back.
    pub fn is_leaving(&self) -> bool {
        self.leaves
    }

    /// Whether its user has left, and the room knows.
    pub fn has_left(&self) -> bool {
        self.leaves && self.member.is_out(&self.room)
    }

    /// Revokes a device of this person: the others in the room remove it.
    ///
    /// # Errors
    /// Those of [`Member::revoke`].
    pub fn revoke(
        &mut self,
        identity: &Identity,
        device: &Name,
        now: u64,
    ) -> Result<Vec<Effect>, Error> {
        self.change(now, |member, room| member.revoke(room, identity, device))
    }

    /// What this person's identity has to sign to revoke a device: [`Conversation::announce`].
    ///
    /// # Errors
    /// Those of [`Member::revocation`].
    pub fn revocation(&mut self, device: &Name) -> Result<Unsigned, Error> {
        self.member.revocation(&self.room, device)
    }

    /// What this person's identity has to sign so that the device of this key package counts
    /// (again): [`Conversation::announce`].
    ///
    /// # Errors
    /// Those of [`Member::allowance`].
    pub fn allowance(&mut self, package: &[u8]) -> Result<Unsigned, Error> {
        self.member.allowance(&self.room, package)
    }

    /// Says which devices this person has.
    ///
    /// # Errors
    /// Those of [`Member::announce`].
    pub fn announce(&mut self, list: &List, now: u64) -> Result<Vec<Effect>, Error> {
        self.change(now, |member, room| member.announce(room, list))
    }

    /// Lets a device of this person count (again), of which this is a key package.
    ///
    /// # Errors
    /// Those of [`Member::allow`].
    pub fn allow(
        &mut self,
        identity: &Identity,
        package: &[u8],
        now: u64,
    ) -> Result<Vec<Effect>, Error> {
        self.change(now, |member, room| member.allow(room, identity, package))
    }

    /// Who comes into the group by themselves; `None`: this device is not in it.
    pub fn join_policy(&self) -> Option<JoinPolicy> {
        self.member.join_policy(&self.room)
    }

    fn change(
        &mut self,
        now: u64,
        change: impl FnOnce(&mut Member, &Name) -> Result<Step, Error>,
    ) -> Result<Vec<Effect>, Error> {
        self.goes_on_to(now);
        let step = change(&mut self.member, &self.room)?;
        let mut effects = Vec::new();
        self.take(step, None, &mut effects);
        Ok(self.go_on(effects))
    }
}
