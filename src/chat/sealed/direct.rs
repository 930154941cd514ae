//! Rooms of two people: where to find somebody alone, and who has written to this person alone.

use super::{
    Found, Sealed, Task,
    asks::{self, ask},
    now_ms,
};
use crate::chat::foreign::named;
use anyhow::{Context, Result};
use futures::FutureExt;
use safe_chat_client::{Body, Event, keys};
use seal::{Name, Public, direct, member::Holder};

/// Ticks between two looks whether somebody has written to this person alone.
const LOOK_EVERY: u32 = 30;
/// Invitations that are remembered, at most.
const MOST_INVITATIONS: usize = 64;

/// Rooms of two that are looked at, at most.
const MOST_ROOMS: usize = 16;
/// The last events of them that are looked at.
const NEWS: u16 = 10;
/// The protocol's word for a message that the service cannot read.
const SEALED: &str = "sealed";

/// Where to go next, and whom to meet there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Direct {
    pub(crate) room: String,
    pub(crate) user: String,
    pub(crate) key: Public,
}

/// Something was written in another room of two.
pub(in super::super) struct News {
    room: Name,
    user: String,
    seq: u64,
}

/// The other one in a room of two.
pub(super) struct With {
    user: String,
    key: Public,
    /// They were let in, or were there, or could not be let in.
    is_asked: bool,
    /// They are in the group, as far as the user was told.
    is_met: bool,
}

impl Sealed {
    /// The room of this person and another one, whom the group has or who has written first.
    pub(in super::super) fn direct(&self, user: &str) -> Result<Direct, String> {
        let room = self.conversation.room();
        let key = self.key_of(user).ok_or_else(|| match self.is_in() {
            true => format!("{user} is not in the group of this room. /devices says who is"),
            false => format!(
                "you are not in the group of this room, so which key {user} has is not known here"
            ),
        })?;
        if key == self.own {
            return Err("that is you: name somebody else".into());
        }
        if direct::room_of(&self.own, &key) == *room {
            return Err(format!("you are alone with {user} here"));
        }
        Ok(Direct {
            room: direct::room_of(&self.own, &key).to_string(),
            user: user.into(),
            key,
        })
    }

    /// The key of somebody, as this room of two, the group, who has written or other rooms have it.
    fn key_of(&self, user: &str) -> Option<Public> {
        let with = self.with.iter().filter(|with| with.user == user);
        let with = with.map(|with| with.key);
        let member = self.conversation.member();
        let members = member.members(self.conversation.room()).into_iter();
        let found = members
            .filter(|one| one.user.as_str() == user)
            .map(|one| one.identity);
        let invited = self.invitations.iter().filter(|(name, _)| name == user);
        let invited = invited.map(|(_, key)| *key);
        let known = self.others().filter(|(_, one)| one.user.as_str() == user);
        let known = known.map(|(_, one)| one.identity);
        with.chain(found).chain(invited).chain(known).next()
    }

    /// Whether this is the room of this person and that one.
    pub(in super::super) fn is_alone_with(&self, user: &str) -> bool {
        self.with.as_ref().is_some_and(|with| with.user == user)
    }

    /// This is a room of two: the other one is let in as soon as that is possible.
    pub(in super::super) fn meets(&mut self, other: &Direct) {
        self.with = Some(With {
            user: other.user.clone(),
            key: other.key,
            is_asked: false,
            is_met: false,
        });
    }

    /// Whether this device shares the group with a device of the other one.
    fn is_shared(&self, with: &With) -> bool {
        let room = Name::parse(&self.room);
        let members = room.map(|room| self.conversation.member().members(&room));
        members.is_ok_and(|members| members.iter().any(|one| one.identity == with.key))
    }

    /// To who is in a room of two and not in its group.
    pub(super) fn not_let_in_yet(&self) -> Task {
        let who = self
            .with
            .as_ref()
            .map_or("the other one", |with| &with.user);
        Task::Note(format!(
            "you are not in the group of this room of two: {who} lets you in when they come here \
             next, or with\n/add {} {}\nif they are. If they are not in either, somebody else has \
             taken this room, who reads nothing of yours: use another sealed room, with the two of \
             you in it",
            self.user, self.own
        ))
    }

    /// The other one has left a room of two, so nobody reads what is said now; told once.
    pub(super) fn left_alone(&mut self) -> Option<Task> {
        let (is_in, is_shared) = (self.is_in(), self.is_shared(self.with.as_ref()?));
        let with = self.with.as_mut()?;
        let was_met = std::mem::replace(&mut with.is_met, is_shared);
        (was_met && is_in && !is_shared).then(|| {
            Task::Note(format!(
                "! {} has no device in this group any more: what you say here waits until they are \
                 in again",
                with.user
            ))
        })
    }

    /// Somebody else has a session in a room of two.
    pub(super) fn looked_on(&mut self, event: &Event) -> Option<Task> {
        let with = self.with.as_ref()?;
        let is_other = event.from != self.user && event.from != with.user;
        let is_back = event.from == with.user && event.body == Body::Joined;
        if is_back && !self.is_shared(with) {
            self.with.as_mut()?.is_asked = false; // They left, and are to be let in again.
            return None;
        }
        (is_other && event.body == Body::Joined).then(|| {
            Task::Note(format!(
                "! {} looks on here: they see that you write, and when, and cannot read it",
                named(&event.from)
            ))
        })
    }

    /// What is to be done for rooms of two now.
    pub(super) fn look(&mut self) -> Vec<Task> {
        let mut tasks = Vec::new();
        if self.is_in()
            && let Some(mut with) = self.with.take_if(|with| !with.is_asked)
        {
            if !self.is_shared(&with) && !self.is_awaited(&with.key) {
                tasks.push(self.add_person(&with.user, with.key));
            }
            with.is_asked = true;
            self.with = Some(with);
        }
        tasks.extend(self.left_alone());
        self.looks = self.looks.checked_sub(1).unwrap_or(LOOK_EVERY);
        if self.looks == 0 {
            tasks.push(self.asks_for_invitations());
            tasks.extend(self.asks_for_news());
        }
        tasks
    }

    /// The other rooms of two that this device is in, and who is there.
    fn others(&self) -> impl Iterator<Item = (&Name, Holder)> {
        let member = self.conversation.member();
        let rooms = member.rooms().filter(|room| {
            direct::is_direct(room) && room.as_str() != self.room && member.is_in(room)
        });
        rooms.filter_map(|room| {
            let mut members = member.members(room).into_iter();
            Some((room, members.find(|one| one.identity != self.own)?))
        })
    }

    /// Whether the others have written in these rooms what was neither read nor told.
    fn asks_for_news(&self) -> Vec<Task> {
        let ask_one = |(room, other): (&Name, Holder)| {
            let read = self.conversation.member().read_up_to(room);
            let told = self.told.get(room).copied();
            let after = read.max(told).unwrap_or_default();
            let request = self.keys.last(room.as_str(), &self.user, NEWS, now_ms());
            let (http, room) = (self.http.clone(), room.clone());
            let asked = async move {
                let last: keys::Last =
                    asks::read(&ask(http, request).await?.context("no answer")?)?;
                let is_news = |event: &&keys::Trace| {
                    event.seq > after && event.kind == SEALED && event.from == other.user.as_str()
                };
                let news = last.events.iter().rfind(is_news);
                Ok(news.map(|event| News {
                    room,
                    user: event.from.clone(),
                    seq: event.seq,
                }))
            };
            Task::Ask(asked.map(Found::News).boxed())
        };
        self.others().take(MOST_ROOMS).map(ask_one).collect()
    }

    /// Somebody has written in a room of two.
    pub(super) fn heard(&mut self, news: News) -> Task {
        self.told.insert(news.room, news.seq);
        Task::Note(writes(named(&news.user)))
    }

    fn asks_for_invitations(&self) -> Task {
        let request = self
            .keys
            .welcomes(&self.user, self.device.as_str(), now_ms());
        let (http, own) = (self.http.clone(), self.own);
        let asked = async move {
            let all: keys::Welcomes = asks::read(&ask(http, request).await?.context("no answer")?)?;
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
            let user = named(&user).to_owned();
            let is_other = self.key_of(&user).is_some_and(|known| known != key);
            tasks.push(Task::Note(match is_other {
                false => writes(&user),
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

fn writes(user: &str) -> String {
    format!("! {user} writes to you alone: /dm {user} goes there")
}

#[cfg(test)]
mod tests {
    use super::super::{Door, Own};
    use super::*;
    use seal::Identity;

    #[test]
    fn in_a_room_of_two_only_somebody_else_of_that_name_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let [charly, harry, other] = [1, 2, 3].map(|seed| Identity::from_seed(&[seed; 32]));
        let room = direct::room_of(&charly.public(), &harry.public()).to_string();
        let direct = Direct {
            room: room.clone(),
            user: "harry".into(),
            key: harry.public(),
        };
        let own = Own::Pair(charly.into());
        let key = folder.path().join("key");
        let gateway = "http://127.0.0.1:1".parse().unwrap();
        let here = (&*room, "charly");
        let mut sealed = Sealed::open((&key, &own), here, Door::Invited, &gateway, None).unwrap();
        sealed.meets(&direct);
        let by = [&harry, &other].map(|one| ("harry".to_owned(), one.public()));
        let told = sealed.invited(by.to_vec());
        let [Task::Note(note)] = &told[..] else {
            panic!("{} notes", told.len());
        };
        assert!(note.contains("with another key than harry"), "{note}");
    }
}
