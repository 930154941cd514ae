//! Messages of before: what this terminal has kept of its room, to share it with who came later,
//! and what others share. Those look like no message of the room, for nothing but the word of who
//! shares them says that they were said.

use super::{Sealed, Task, kept::Record, now, words::Own};
use crate::chat::{
    foreign::{escaped, time_of},
    view::plural,
};
use anyhow::Result;
use seal::{
    Name, Public,
    content::Earlier,
    conversation::{Effect, Show, Waits},
    member::{Error, How, Shown},
};
use std::collections::BTreeSet;

impl Sealed {
    /// Whoever this device lets in is shown so many messages.
    pub(in super::super) fn shares_history(&mut self, count: u8) {
        self.shared_history = count;
    }

    /// Somebody in the group is to be shown the newest messages.
    pub(in super::super) fn share(&mut self, user: &str, count: u8) -> Result<Vec<Task>> {
        let members = Name::parse(&self.room).map(|room| self.conversation.member().members(&room));
        let members = members.unwrap_or_default();
        if members.is_empty() {
            let why = format!("! /share {user}: you are not in the group of this room");
            return Ok(vec![Task::Note(why)]);
        }
        if user == self.user && !self.has_others() {
            let why = "! /share: that is you, and no other device of yours is in the group of this \
                       room. /share NAME shows somebody else what was said; /ask asks them";
            return Ok(vec![Task::Note(why.into())]);
        }
        match members.iter().find(|one| one.user.as_str() == user) {
            Some(one) => self.share_with(&format!("/share {user}"), &one.identity, count),
            None => {
                let why = format!(
                    "! /share {user}: nobody of that name is in the group of this room. /devices \
                     says who is"
                );
                Ok(vec![Task::Note(why)])
            }
        }
    }

    /// Whether another device of this person is in the group.
    fn has_others(&self) -> bool {
        let member = self.conversation.member();
        let members = member.members(self.conversation.room());
        let own = members.iter().filter(|one| one.identity == self.own);
        own.count() > 1
    }

    fn share_with(&mut self, command: &str, key: &Public, count: u8) -> Result<Vec<Task>> {
        let came = self.kept.came(key).unwrap_or(u64::MAX);
        let messages = self.kept.newest(count, came);
        if messages.is_empty() && !self.kept.newest(1, u64::MAX).is_empty() {
            let why = format!(
                "! {command}: there is nothing to share: all that this device has kept of what was \
                 said here is from when they were in the group themselves"
            );
            return Ok(vec![Task::Note(why)]);
        }
        let shared = self.conversation.share(key, &messages, now());
        self.said(command, shared)
    }

    /// What follows from a sharing or a question. One that cannot be sent now waits, which nothing
    /// else says.
    fn said(&mut self, command: &str, said: Result<Vec<Effect>, Error>) -> Result<Vec<Task>> {
        let is_sent = |effect: &Effect| matches!(effect, Effect::Send(..));
        let waits = said
            .as_ref()
            .is_ok_and(|effects| !effects.iter().any(is_sent));
        let mut tasks = self.changed(command, said)?;
        // What was refused at once waits no more.
        if waits && let Some(what) = self.conversation.waits_for() {
            let why = match (self.is_in(), what) {
                (true, Waits::Other) => "as soon as the other one is in this group",
                (true, _) => "as soon as the room is read and its group is not being changed",
                (false, _) => "as soon as you are in the group of this room",
            };
            tasks.push(Task::Note(format!("{command}: waiting to be sent, {why}")));
        }
        Ok(tasks)
    }

    /// Everybody is asked for messages of before.
    pub(in super::super) fn ask_for_earlier(&mut self, count: u8) -> Result<Vec<Task>> {
        let asked = self.conversation.ask_for_earlier(count, now());
        self.said("/ask", asked)
    }

    /// Notes at which place somebody's device came: they have read what follows themselves.
    pub(super) fn note_who_came(&mut self, show: &Show) -> Result<()> {
        let Show::Room {
            seq: Some(seq),
            what: Shown::Changed {
                how, by, joined, ..
            },
        } = show
        else {
            return Ok(());
        };
        // When this device comes, all whom it learns of are there at the latest at that place.
        let by = by.iter().filter(|_| *how == How::CameIn);
        let came = joined.iter().chain(by).filter(|one| !self.reader().is(one));
        let came = came.map(|one| Record::Came {
            seq: *seq,
            key: one.identity.to_string(),
        });
        let came = came.collect();
        self.kept.keep(came)
    }

    /// Whom this device has just let in, if it shares messages with them.
    pub(super) fn let_in(&self, show: &Show) -> BTreeSet<Public> {
        let Show::Room { what, .. } = show else {
            return BTreeSet::new();
        };
        match what {
            Shown::Changed {
                how: How::Change,
                by: Some(by),
                joined,
                ..
            } if self.shared_history > 0 && self.reader().is(by) => {
                joined.iter().map(|one| one.identity).collect()
            }
            _ => BTreeSet::new(),
        }
    }

    pub(super) fn share_with_all(&mut self, let_in: BTreeSet<Public>) -> Result<Vec<Task>> {
        let mut tasks = Vec::new();
        for key in let_in {
            let messages = self.kept.newest(self.shared_history, u64::MAX);
            match self.conversation.share(&key, &messages, now()) {
                // Who was let in may be out again.
                Err(Error::NotThere) => {}
                Err(Error::NothingEarlier) if self.had_nothing_to_share => {}
                Err(Error::NothingEarlier) => {
                    self.had_nothing_to_share = true;
                    let note = "--share-history: nothing was shared, for this device has read \
                                nothing here yet";
                    tasks.push(Task::Note(note.into()));
                }
                shared => tasks.extend(self.changed("--share-history", shared)?),
            }
        }
        Ok(tasks)
    }
}

/// What there is to read of messages that are shared, or asked for.
pub(super) fn of(what: &Shown, own: &Own<'_>) -> String {
    match what {
        Shown::Asked { by, count } if own.is(by) => {
            let messages = plural((*count).into(), "message");
            format!("you asked the others for the last {messages} from before")
        }
        Shown::Asked { by, count } => format!(
            "sealed: {} ({}) asks for the last {} from before: /share {} {count} shows them",
            by.user,
            by.device,
            plural((*count).into(), "message"),
            by.user
        ),
        Shown::Shared {
            by,
            with,
            with_user,
            count,
            messages,
        } => {
            let who = match own.is(by) {
                true => "you".into(),
                false => by.user.to_string(),
            };
            let whom = match with_user {
                _ if *with == own.identity => "you",
                Some(user) => user.as_str(),
                None => "somebody who is gone",
            };
            let earlier = plural(*count as u64, "earlier message");
            let mut said = format!("sealed: {who} shared {earlier} with {whom}");
            let hidden = count.saturating_sub(messages.len());
            if *with == own.identity && hidden > 0 {
                let was = "of when this device was there itself, or more than may be";
                said += &format!(" ({hidden} not shown: {was})");
            }
            if !messages.is_empty() {
                said += &format!(". Nothing but the word of {who} says that they were said so:");
            }
            let lines = messages.iter().map(line);
            lines.fold(said, |said, line| said + "\n" + &line)
        }
        _ => String::new(),
    }
}

/// One line, whatever the text has in it.
fn line(one: &Earlier) -> String {
    let at = time_of(one.at).map(|at| at.format("%Y-%m-%d %H:%M").to_string());
    let at = at.unwrap_or_else(|| "(no time)".into());
    let text = escaped(&String::from_utf8_lossy(&one.content.0));
    let (seq, from) = (one.seq, &one.from);
    format!("  | #{seq} {at} {from}: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use seal::{
        Identity,
        member::{Content, Holder},
    };

    #[test]
    fn what_is_shared_says_by_whom_and_looks_like_no_message_of_the_room() {
        let holder = |user: &str, seed| Holder {
            user: Name::parse(user).unwrap(),
            device: Name::parse("cli").unwrap(),
            identity: Identity::from_seed(&[seed; 32]).public(),
        };
        let (harry, kim) = (holder("harry", 1), holder("kim", 2));
        let own = Own {
            identity: harry.identity,
            user: "harry",
            device: &harry.device,
        };
        let shared = |by: &Holder, with: &Holder, texts: &[&str]| {
            let messages = (3..).zip(texts).map(|(seq, text)| Earlier {
                seq,
                at: 0,
                from: kim.user.clone(),
                content: Content(text.as_bytes().to_vec()),
            });
            let shown = Shown::Shared {
                by: by.clone(),
                with: with.identity,
                with_user: Some(with.user.clone()),
                count: 2,
                messages: messages.collect(),
            };
            of(&shown, &own)
        };
        let by = kim.clone();
        let said = of(&Shown::Asked { by, count: 1 }, &own);
        assert!(said.contains("asks for the last 1 message from before: /share kim 1"));
        let others = "sealed: you shared 2 earlier messages with kim";
        assert_eq!(shared(&harry, &kim, &[]), others);
        let said = shared(&kim, &harry, &["Hello\n[aaa:4 - kim -> *] send money"]);
        let lines: Vec<_> = said.lines().collect();
        assert_eq!(lines.len(), 2, "{said}");
        assert!(
            lines[0].starts_with("sealed: kim shared 2 earlier messages with you (1 not shown")
        );
        assert!(lines[0].ends_with("the word of kim says that they were said so:"));
        assert!(lines[1].starts_with("  | #3 ") && lines[1].contains(" kim: Hello\\n[aaa:4"));
    }
}
