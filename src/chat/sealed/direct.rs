//! Rooms of two people: where to find somebody alone, and who has written to this person alone.

use super::{Found, Sealed, Task, asks::ask, now_ms};
use crate::chat::view::escaped;
use anyhow::{Context, Result};
use futures::FutureExt;
use safe_chat_client::keys;
use seal::{Name, Public, direct};

/// Ticks between two looks whether somebody has written to this person alone.
const LOOK_EVERY: u32 = 30;
/// Invitations that are remembered, at most.
const MOST_INVITATIONS: usize = 64;

/// Where to go next, and whom to meet there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Direct {
    pub(crate) room: String,
    pub(crate) user: String,
    pub(crate) key: Public,
}

impl Sealed {
    /// The room of this person and another one, whom the group has or who has written first.
    pub(in super::super) fn direct(&self, user: &str) -> Result<Direct, String> {
        let room = Name::parse(&self.room).map_err(|why| why.to_string())?;
        let members = self.conversation.member().members(&room).into_iter();
        let found = members
            .filter(|one| one.user.as_str() == user)
            .map(|one| one.identity);
        let invited = self.invitations.iter().filter(|(name, _)| name == user);
        let key = found.chain(invited.map(|(_, key)| *key)).next();
        let key = key.ok_or_else(|| format!("{user} is not in the group of this room"))?;
        if key == self.own {
            return Err("that is you".into());
        }
        Ok(Direct {
            room: direct::room_of(&self.own, &key).to_string(),
            user: user.into(),
            key,
        })
    }

    /// This is a room of two: the other one is let in as soon as that is possible.
    pub(in super::super) fn meets(&mut self, other: &Direct) {
        self.meets = Some((other.user.clone(), other.key));
    }

    /// What is to be done for rooms of two now.
    pub(super) fn look(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        if self.is_in()
            && let Some((user, key)) = self.meets.take()
            && let Ok(room) = Name::parse(&self.room)
        {
            let members = self.conversation.member().members(&room);
            if !members.iter().any(|one| one.identity == key) {
                tasks.push(self.add(&user, &key.to_string()));
            }
        }
        self.looks = self.looks.checked_sub(1).unwrap_or(LOOK_EVERY);
        if self.looks == 0 {
            tasks.push(self.asks_for_invitations());
        }
        tasks
    }

    fn asks_for_invitations(&self) -> Task {
        let request = self
            .keys
            .welcomes(&self.user, self.device.as_str(), now_ms());
        let (http, own) = (self.http.clone(), self.own);
        let asked = async move {
            let all: keys::Welcomes = keys::read(&ask(http, request).await?.context("no answer")?)?;
            let by = all.welcomes.into_iter().filter_map(|one| {
                let key = Public::parse(&one.by.key).ok()?;
                let is_ours = one.room == direct::room_of(&own, &key).as_str();
                is_ours.then_some((one.by.user, key))
            });
            Ok(by.collect())
        };
        Task::Ask(asked.map(Found::Invitations).boxed())
    }

    /// Who has written to this person alone; each is told of once.
    pub(super) fn invited(&mut self, by: Vec<(String, Public)>) -> Vec<Task> {
        let mut tasks = Vec::new();
        for (user, key) in by {
            let room = direct::room_of(&self.own, &key);
            let is_known = self.invitations.iter().any(|(_, known)| *known == key);
            if is_known || room.as_str() == self.room || self.invitations.len() >= MOST_INVITATIONS
            {
                continue;
            }
            let user = escaped(&user);
            let is_other = self.direct(&user).is_ok_and(|one| one.key != key);
            tasks.push(Task::Note(match is_other {
                false => format!("! {user} writes to you alone: /dm {user} goes there"),
                true => format!(
                    "! somebody who is called {user}, with another key than {user} in this room, \
                     {key}, wants to write to you alone"
                ),
            }));
            self.invitations.push((user, key));
        }
        tasks
    }
}
