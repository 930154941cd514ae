//! What a user wants of the group: who is in it, and with which devices.

use super::{
    Claim, Found, Sealed, Task,
    asks::{self, Unanswered, ask},
    now, now_ms, words,
};
use crate::chat::foreign::escaped;
use anyhow::Result;
use futures::FutureExt;
use safe_chat_client::keys;
use seal::{
    Name, Public,
    conversation::{Effect, Show},
    member::{self, Person, holder_of},
    rules::JoinPolicy,
};
use std::time::Duration;
use tokio::time::sleep;

/// How long what may not be asked now is kept to be asked later.
const PATIENCE: Duration = Duration::from_secs(600);
/// How many questions are kept so.
const MOST_LATER: usize = 8;
/// Seconds that it waits, each time, for what was not there: 10 minutes in all.
const NOT_THERE: [u64; 13] = [2, 5, 15, 38, 60, 60, 60, 60, 60, 60, 60, 60, 60];

/// What `/remove` does not do in an open group.
const COMES_BACK: &str = "! this group is open: who is removed comes in again by itself, at once. \
    To keep somebody out, make a room with --seal=invited";

/// What `/leave` comes to.
const LEAVING: &str =
    "leaving: it ends when the room knows (at the next start, if it does not now)";

impl Sealed {
    /// Somebody is to be let in: all devices of who has this key, under this name.
    pub(in super::super) fn add(&mut self, user: &str, key: &str) -> Vec<Task> {
        let key = match Public::parse(key) {
            Ok(key) => key,
            Err(why) => {
                let why = format!("! /add {user}: {} {why}", escaped(key));
                return vec![Task::Note(why)];
            }
        };
        // Of two keys only one is theirs.
        let replaced = self.withdraw(user).then(|| {
            Task::Note(format!(
                "/add {user}: the /add of {user} that waited is withdrawn, and this one counts"
            ))
        });
        let asked = self.add_person(user, key);
        replaced.into_iter().chain([asked]).collect()
    }

    pub(super) fn add_person(&mut self, user: &str, key: Public) -> Task {
        self.claim(Claim {
            user: user.into(),
            key,
            allow: None,
            is_again: false,
            in_vain: 0,
        })
    }

    /// An own device is to count in this room.
    pub(in super::super) fn allow(&mut self, device: String) -> Task {
        self.claim(Claim {
            user: self.user.clone(),
            key: self.own,
            allow: Some(device),
            is_again: false,
            in_vain: 0,
        })
    }

    /// A key package of each device of somebody.
    pub(super) fn claim(&mut self, claim: Claim) -> Task {
        self.claims.push(claim.clone());
        self.ask_claim(claim)
    }

    fn claim_after(&mut self, wait: Duration, claim: Claim) -> Task {
        self.claims.push(claim.clone());
        let due = async move {
            sleep(wait).await;
            Found::Due(claim)
        };
        Task::Ask(due.boxed())
    }

    pub(super) fn ask_claim(&self, claim: Claim) -> Task {
        let (keys, http) = (self.keys.clone(), self.http.clone());
        let asked = async move {
            let Claim { user, key, .. } = &claim;
            // Signed when it is asked: it counts for a minute.
            let answer = ask(http, keys.claim(&key.to_string(), user, now_ms())).await;
            let claimed = answer.and_then(|body| {
                let user = user.clone();
                let body = body.ok_or(Unanswered::NotThere { user, key: *key })?;
                Ok(asks::read(&body)?)
            });
            Found::Packages(claim, claimed)
        };
        Task::Ask(asked.boxed())
    }

    /// What came of asking for key packages. Too often is asked again by itself, when it may be.
    pub(super) fn claimed(
        &mut self,
        claim: Claim,
        claimed: Result<keys::Claimed>,
    ) -> Result<Vec<Task>> {
        self.is_claimed(&claim);
        let claimed = match claimed {
            Ok(claimed) => claimed,
            Err(error) => return Ok(self.claim_later(claim, &error)),
        };
        let Some(device) = claim.allow.clone() else {
            return self.add_claimed(claim, claimed);
        };
        let command = claim.command();
        let is_it =
            |one: &&Vec<u8>| holder_of(one).is_ok_and(|holder| holder.device.as_str() == device);
        let packages: Vec<_> = claimed
            .packages
            .into_iter()
            .map(|one| one.package)
            .collect();
        let Some(package) = packages.iter().find(is_it) else {
            let why = format!(
                "! {command}: none of your devices that can be added is {device}. A device that \
                 was revoked has to be started again first"
            );
            return Ok(vec![Task::Note(why)]);
        };
        let allowed = self.conversation.allow(&self.identity, package, now());
        let is_allowed = allowed.is_ok();
        let mut tasks = self.changed(&command, allowed)?;
        if is_allowed {
            let (user, key) = (&self.user, self.own);
            tasks.push(Task::Note(format!(
                "{device} is on your list of devices once the room has that, as all devices there \
                 see: then /add {user} {key} lets it in, if it is not"
            )));
        }
        Ok(tasks)
    }

    fn add_claimed(&mut self, claim: Claim, claimed: keys::Claimed) -> Result<Vec<Task>> {
        if claimed.packages.is_empty() {
            let missing = words::missing(&claim.user, &claimed.missing);
            let nothing = || words::nothing_given(&claim.command(), &claim.user);
            return Ok(vec![Task::Note(missing.unwrap_or_else(nothing))]);
        }
        let packages = claimed.packages.iter().map(|one| one.package.clone());
        let packages: Vec<_> = packages.collect();
        let person = Person {
            user: name(&claim.user).map_err(anyhow::Error::msg)?,
            identity: claim.key,
        };
        let added = self.conversation.add(&person, &packages, now());
        let is_early = match added {
            Err(member::Error::Behind) => true,
            // Somebody else is just let in.
            Err(member::Error::Busy) => !self.conversation.is_leaving(),
            _ => false,
        };
        if is_early && self.unadded.len() < MOST_LATER {
            self.unadded.push((claim, claimed));
            return Ok(Vec::new());
        }
        let command = claim.command();
        let mut tasks = match added {
            // Which, is said below.
            Err(member::Error::Unlisted(_)) => Vec::new(),
            Err(member::Error::NotAsked) => {
                vec![Task::Note(words::not_asked(&claim.user, &person))]
            }
            // Somebody else has let them in meanwhile.
            Err(member::Error::NoChange) if claim.in_vain > 0 => Vec::new(),
            Err(member::Error::NoChange) => vec![Task::Note(self.are_in(&claim))],
            Err(member::Error::OtherKey) => vec![Task::Note(words::other_key(&claim.user))],
            added => self.changed(&command, added)?,
        };
        let is_own = claim.key == self.own;
        let unlisted = self.conversation.unlisted(&packages);
        tasks.extend(words::unlisted(&claim.user, is_own, &unlisted).map(Task::Note));
        tasks.extend(words::missing(&claim.user, &claimed.missing).map(Task::Note));
        Ok(tasks)
    }

    /// Nobody comes in by an `/add`.
    fn are_in(&self, claim: &Claim) -> String {
        let room = Name::parse(&self.room);
        let is_to_tidy = room.is_ok_and(|room| self.conversation.member().is_to_tidy(&room));
        let leaving = match is_to_tidy {
            true => {
                ". One that has asked to leave is removed within some minutes: then it can be \
                 added again"
            }
            false => "",
        };
        let (command, user) = (claim.command(), &claim.user);
        format!(
            "! {command}: all devices of {user} that can be added are in the group already{leaving}"
        )
    }

    fn claim_later(&mut self, claim: Claim, error: &anyhow::Error) -> Vec<Task> {
        let is_nowhere = match error.downcast_ref() {
            Some(Unanswered::NotThere { .. }) => true,
            // What waits already does not end with one answer that was lost.
            Some(Unanswered::Silent { .. }) => claim.in_vain > 0,
            _ => false,
        };
        let after = match error.downcast_ref() {
            Some(Unanswered::Later { after, .. }) if *after <= PATIENCE => {
                Some(*after + Duration::from_secs(1))
            }
            _ if is_nowhere => {
                let pause = NOT_THERE.get(claim.in_vain as usize);
                pause.map(|seconds| Duration::from_secs(*seconds))
            }
            _ => None,
        };
        let command = claim.command();
        let member = self.conversation.member();
        // Who comes in meanwhile goes on with what waited.
        if is_nowhere && claim.in_vain == 0 && member.is_out(self.conversation.room()) {
            let why = format!("! {command}: you are not in the group of this room");
            return vec![Task::Note(why)];
        }
        let later = self.claims.iter().filter(|one| one.is_again).count();
        let Some(after) = after.filter(|_| later < MOST_LATER) else {
            let then = match claim.in_vain {
                0 => "",
                _ => ". It is not asked again: type the same when they are there",
            };
            return vec![Task::Note(format!("! {command}: {error:#}{then}"))];
        };
        let note = match (is_nowhere, claim.in_vain) {
            (false, _) => Some(format!(
                "! {command}: {error:#}. It is asked again then, by itself"
            )),
            (true, 0) => Some(format!(
                "{command}: {error:#}. They are let in as soon as it is there, within 10 minutes"
            )),
            (true, _) => None,
        };
        let claim = Claim {
            is_again: true,
            in_vain: claim.in_vain + u32::from(is_nowhere),
            ..claim
        };
        let again = self.claim_after(after, claim);
        note.map(Task::Note).into_iter().chain([again]).collect()
    }

    pub(in super::super) fn remove(&mut self, user: &str) -> Result<Vec<Task>> {
        let user = match name(user) {
            Ok(user) => user,
            Err(why) => return Ok(vec![Task::Note(why)]),
        };
        let command = format!("/remove {user}");
        let withdrawn = self.withdraw(user.as_str()).then(|| {
            Task::Note(format!(
                "{command}: the /add of {user} that waited is withdrawn, and lets nobody in"
            ))
        });
        if user.as_str() == self.user {
            let note = "! /remove: that is you. /leave goes out with this device, /revoke DEVICE \
                        takes out another one";
            return Ok(vec![withdrawn.unwrap_or_else(|| Task::Note(note.into()))]);
        }
        let is_open = self.conversation.join_policy() == Some(JoinPolicy::Open);
        let removed = self.conversation.remove(&user, None, now());
        let comes_back = is_open && removed.is_ok();
        let mut tasks = match removed {
            Err(member::Error::NoChange | member::Error::NotIn) if withdrawn.is_some() => {
                Vec::new()
            }
            Err(member::Error::NoChange) => vec![Task::Note(format!(
                "! {command}: nobody of that name is in the group of this room. /devices says who \
                 is"
            ))],
            removed => self.changed(&command, removed)?,
        };
        if comes_back {
            tasks.push(Task::Note(COMES_BACK.into()));
        }
        tasks.extend(withdrawn);
        Ok(tasks)
    }

    /// The user says yes to what was asked.
    pub(in super::super) fn agree(&mut self) -> Result<Vec<Task>> {
        if self
            .conversation
            .member()
            .is_revoked(self.conversation.room())
        {
            let why = words::of(&Show::Revoked, &self.reader(), "");
            return Ok(vec![Task::Note(format!("! /agree: {why}"))]);
        }
        let effects = self.conversation.agree(now());
        if effects.is_empty() {
            let note = "! /agree: nothing waits for your word here";
            return Ok(vec![Task::Note(note.into())]);
        }
        self.perform(effects, None)
    }

    /// This device goes out of the group.
    pub(in super::super) fn leave(&mut self) -> Result<Vec<Task>> {
        if self.conversation.is_leaving() {
            return Ok(vec![Task::Note(LEAVING.into())]);
        }
        let left = self.conversation.leave(now());
        let is_leaving = left.is_ok();
        let mut tasks = self.changed("/leave", left)?;
        if is_leaving {
            tasks.push(Task::Note(LEAVING.into()));
        }
        Ok(tasks)
    }

    /// Whether the user can leave the group now.
    pub(in super::super) fn may_leave(&self) -> bool {
        let (member, room) = (self.conversation.member(), self.conversation.room());
        member.is_in(room) && !member.is_lacking(room) && !self.conversation.is_leaving()
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
        let mut tasks = self.changed(&format!("/revoke {device}"), revoked)?;
        if is_revoked {
            tasks.push(Task::Note(format!(
                "{device} does not count in this room once the room has that. In other rooms that \
                 it is in: /revoke {device} there, too"
            )));
            let request = self.keys.remove(&self.user, device.as_str(), now_ms());
            let what = format!("/revoke {device}: others can add it still");
            let asked = self.ask(request);
            let asked = asked.map(|done| Found::Done(what, done.map(drop)));
            tasks.push(Task::Ask(asked.boxed()));
        }
        Ok(tasks)
    }

    /// What follows from a command, or why it was not done.
    pub(super) fn changed(
        &mut self,
        command: &str,
        change: Result<Vec<Effect>, member::Error>,
    ) -> Result<Vec<Task>> {
        let why = match change {
            Ok(effects) => {
                let is_change = self.note_changing(command, &effects);
                let mut tasks = self.perform(effects, None)?;
                if is_change && !self.is_connected {
                    let note = format!("{command}: it goes as soon as there is a connection");
                    tasks.push(Task::Note(note));
                }
                return Ok(tasks);
            }
            Err(why) => why,
        };
        let why = match why {
            member::Error::Behind => {
                "the room is still being read. The same again in a moment".into()
            }
            member::Error::NotIn => "you are not in the group of this room".into(),
            member::Error::Busy if self.conversation.is_leaving() => {
                "you are leaving the group of this room".into()
            }
            why => why.to_string(),
        };
        Ok(vec![Task::Note(format!("! {command}: {why}"))])
    }
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).map_err(|why| format!("! {text}: {why}"))
}
