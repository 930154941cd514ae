//! What a user wants of the group: who is in it, and with which devices.

use super::{Found, Sealed, Task, now, now_ms};
use anyhow::{Context, Result};
use futures::FutureExt;
use safe_chat_client::keys;
use seal::{
    Name,
    conversation::Effect,
    member::{self, device_of},
    rules::JoinPolicy,
};

/// What `/remove` does not do in an open group.
const COMES_BACK: &str = "! this group is open: who is removed comes in again by itself, at once. \
    To keep somebody out, make a room with --seal=invited";

impl Sealed {
    /// Somebody is to be let in: all devices of who has this key, under this name.
    pub(in super::super) fn add(&self, user: &str, key: &str) -> Task {
        let claimed = self.claim(user, key);
        Task::Ask(claimed.map(Found::Packages).boxed())
    }

    /// An own device is to count in this room.
    pub(in super::super) fn allow(&self, device: String) -> Task {
        let claimed = self.claim(&self.user, &self.own.to_string());
        let package = async move {
            let mut packages = claimed.await?.into_iter();
            let is_it = |one: &Vec<u8>| device_of(one).is_ok_and(|name| name.as_str() == device);
            let none = || format!("none of your devices that can be added is {device}");
            packages.find(is_it).with_context(none)
        };
        Task::Ask(package.map(Found::Own).boxed())
    }

    /// A key package of each device of somebody.
    fn claim(
        &self,
        user: &str,
        key: &str,
    ) -> impl Future<Output = Result<Vec<Vec<u8>>>> + Send + 'static {
        let asked = self.ask(self.keys.claim(key, user, now_ms()));
        let person = format!("{user} {key}");
        async move {
            let body = asked.await?;
            let body = body.with_context(|| format!("{person} has no device that can be added"))?;
            let claimed: keys::Claimed = keys::read(&body)?;
            let packages = claimed.packages.into_iter();
            Ok(packages.map(|one| one.package).collect())
        }
    }

    pub(in super::super) fn remove(&mut self, user: &str) -> Result<Vec<Task>> {
        let user = match name(user) {
            Ok(user) => user,
            Err(why) => return Ok(vec![Task::Note(why)]),
        };
        let is_open = self.conversation.join_policy() == Some(JoinPolicy::Open);
        let removed = self.conversation.remove(&user, None, now());
        let comes_back = is_open && removed.is_ok();
        let mut tasks = self.changed("removed", removed)?;
        if comes_back {
            tasks.push(Task::Note(COMES_BACK.into()));
        }
        Ok(tasks)
    }

    /// This device goes out of the group.
    pub(in super::super) fn leave(&mut self) -> Result<Vec<Task>> {
        let left = self.conversation.leave(now());
        self.changed("left", left)
    }

    /// Whether the user has left the group, and the room knows.
    pub(in super::super) fn has_left(&self) -> bool {
        self.conversation.has_left()
    }

    /// An own device does not count any more. Nobody is given its key packages from now on.
    pub(in super::super) fn revoke(&mut self, device: &str) -> Result<Vec<Task>> {
        let device = match name(device) {
            Ok(device) => device,
            Err(why) => return Ok(vec![Task::Note(why)]),
        };
        let revoked = self.conversation.revoke(&self.identity, &device, now());
        let is_revoked = revoked.is_ok();
        let mut tasks = self.changed("revoked", revoked)?;
        if is_revoked {
            let request = self.keys.remove(&self.user, device.as_str(), now_ms());
            let asked = self.ask(request).map(|done| Found::Done(done.map(drop)));
            tasks.push(Task::Ask(asked.boxed()));
        }
        Ok(tasks)
    }

    /// What follows from a change of the group, or why it was not made.
    pub(super) fn changed(
        &mut self,
        what: &str,
        change: Result<Vec<Effect>, member::Error>,
    ) -> Result<Vec<Task>> {
        match change {
            Ok(effects) => self.perform(effects, None),
            Err(error) => Ok(vec![Task::Note(format!("! not {what}: {error}"))]),
        }
    }
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|why| format!("! {text}: {why}"))
}
