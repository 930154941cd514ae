//! Who is in the group, as its user sees it: with what to compare, and whose name has another key
//! than their devices, as the service says. MLS knows nothing of that, so it is kept here, and goes
//! when the key comes in anew.

use super::{Sealed, kept::Record, words};
use crate::chat::command::Command;
use anyhow::Result;
use safe_chat_client::{Body, Event};
use seal::{
    Public,
    conversation::Show,
    member::{Holder, How, Shown},
};

/// What follows where the group may be another one.
const HIDDEN: &str = "\n! the service has a change of the group that it does not show to this \
    device: somebody may be out, or in, who is not, or is, in this list";

/// What follows where what the group was is not read to its end.
const UNREAD: &str = "\n! the room is not read up to its end yet: this is of before, and the group \
    may be another one. The same again when you are connected and all is read";

/// Whose name an event is about.
pub(in super::super) enum Whose {
    /// A member's, and nothing was known of it.
    News,
    /// A member's.
    Members,
    /// Nobody's who is in the group.
    Others,
}

impl Sealed {
    /// The service says that a name is not, or may not be, whose it was: the devices that are in
    /// the group under it are of the former key. On the disk before it is told.
    pub(super) fn note_former(&mut self, event: &Event) -> Result<()> {
        let is_new = self.was_read.max(Some(self.conversation.heard_up_to())) < Some(event.seq);
        if !matches!(event.body, Body::Unpinned | Body::KeyChanged) || !is_new {
            return Ok(());
        }
        let of_name = self.members_called(&event.from);
        let news = of_name.filter(|one| self.kept.former(&one.identity).is_none());
        let records: Vec<_> = news
            .map(|one| Record::Former {
                seq: event.seq,
                key: one.identity.to_string(),
            })
            .collect();
        if records.is_empty() {
            return Ok(());
        }
        self.news = event.seq;
        self.kept.keep(records)?;
        self.write()
    }

    /// Whom the user lets in has the key that the user says, who was asked if it is a former one.
    /// What others say of it is their word.
    pub(super) fn note_current(&mut self, show: &Show) -> Result<()> {
        let Show::Room { what, .. } = show else {
            return Ok(());
        };
        let joined = match what {
            Shown::Changed {
                how: How::Change,
                by: Some(by),
                joined,
                ..
            } if self.reader().is(by) => joined,
            _ => return Ok(()),
        };
        let is_former = |one: &&Holder| self.kept.former(&one.identity).is_some();
        let again = joined.iter().filter(is_former).map(|one| Record::Current {
            key: one.identity.to_string(),
        });
        let again = again.collect();
        self.kept.keep(again)
    }

    pub(in super::super) fn whose_name(&self, event: &Event) -> Whose {
        match self.members_called(&event.from).next() {
            Some(_) if self.news == event.seq => Whose::News,
            Some(_) => Whose::Members,
            None => Whose::Others,
        }
    }

    /// What its user has to know before they do this: that it is for a former key.
    pub(in super::super) fn is_for_former(&self, command: &Command) -> Option<String> {
        let (typed, user, does) = match command {
            Command::Add { user, key } => {
                let seq = self.kept.former(&Public::parse(key).ok()?)?;
                return Some(format!(
                    "! /add {user}: the service says that this name has another key since #{seq}, \
                     and that is the former one. Ask {user} by another way which one counts. The \
                     same once more adds who has the former key"
                ));
            }
            Command::Direct(user) => ("/dm", user, "write to"),
            Command::Share { user, .. } => ("/share", user, "show it to"),
            _ => return None,
        };
        let seq = self
            .members_called(user)
            .find_map(|one| self.kept.former(&one.identity))?;
        Some(format!(
            "! {typed} {user}: the service says that the name {user} has another key since #{seq}, \
             and the devices in this group have the former one. Ask {user} by another way. If they \
             changed it: /remove {user}, then /add {user} KEY with the new one, then the same again. \
             {typed} once more would {does} the former key"
        ))
    }

    fn members_called(&self, user: &str) -> impl Iterator<Item = Holder> {
        let members = self.conversation.member().members(self.conversation.room());
        members
            .into_iter()
            .filter(move |one| one.user.as_str() == user && one.identity != self.own)
    }

    /// Who is in the group, with what to compare. `is_open`: there is a connection.
    pub(in super::super) fn devices(&self, is_open: bool) -> String {
        let members = self.conversation.member().members(self.conversation.room());
        if members.is_empty() {
            return "you are not in the group of this room".into();
        }
        let former = |key: &Public| self.kept.former(key);
        words::members(&members, &self.reader(), &former) + self.caveat(is_open)
    }

    /// 60 digits that all see who are in the same group.
    pub(in super::super) fn code(&self, is_open: bool) -> String {
        let room = self.conversation.room();
        match self.conversation.member().room_code(room) {
            Some(code) => code + self.caveat(is_open),
            None => "you are not in the group of this room".into(),
        }
    }

    /// What there is to know beside what is known of the group.
    fn caveat(&self, is_open: bool) -> &'static str {
        let member = self.conversation.member();
        match member.is_lacking(self.conversation.room()) {
            true => HIDDEN,
            false if !(is_open && self.is_connected) || self.unread.is_some() => UNREAD,
            false => "",
        }
    }
}
