//! Where a person at a terminal is, one room after the other: from a sealed room to one of two
//! people, and back.

use super::command::Command;
use super::console::Console;
use super::sealed::{Door, Sealed, direct::Direct};
use super::{Chat, Options, WINDOW, key, stay, view};
use anyhow::Result;
use safe_chat_client::Link;
use std::collections::VecDeque;
use tokio::time::Instant;

/// Rooms to go back to, at most.
const MOST: usize = 16;

/// Where somebody goes from a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// To a room of two.
    To(Direct),
    /// To where it was before; if there is no such room, it ends.
    Back,
}

/// How somebody comes into a room.
#[derive(Default)]
pub(super) struct Arrival<'a> {
    /// Whom they meet there, alone.
    pub(super) with: Option<&'a Direct>,
    /// The room that they came from, as it is shown.
    pub(super) back_to: Option<String>,
    /// What they are told first.
    pub(super) note: Option<String>,
    /// They wanted to be elsewhere.
    pub(super) is_misled: bool,
}

/// What goes along from room to room.
#[derive(Default)]
pub(super) struct Carried {
    /// With the line that is being written.
    pub(super) console: Option<Console>,
    /// Lines that were typed on the way, for where it leads to.
    pub(super) typed: VecDeque<String>,
}

/// All stays, from the room of the command line on.
pub(super) async fn all(options: Options) -> Result<()> {
    let (mut here, mut before): (Option<Direct>, Vec<Option<Direct>>) = (None, Vec::new());
    // Once: a person types its passphrase once.
    let mut brought = key::of(&options)?;
    let mut note = brought.note.take();
    let (mut carried, mut is_misled) = (Carried::default(), false);
    loop {
        let arrival = Arrival {
            with: here.as_ref(),
            back_to: before
                .last()
                .map(|room| shown(room.as_ref(), &options.room)),
            note: note.take(),
            is_misled: std::mem::take(&mut is_misled),
        };
        let mut options = options.clone();
        if let Some(direct) = &here {
            options.room.clone_from(&direct.room);
            options.seal = Some(Door::Invited);
        }
        let stayed = match (stay(options, &brought, arrival, &mut carried).await, &here) {
            (Err(why), Some(direct)) => {
                // Before anything there was ready to take them.
                let typed = std::mem::take(&mut carried.typed);
                let lost = typed
                    .iter()
                    .map(|line| format!("\n{}", view::not_sent(line)));
                note = Some(refused(&direct.user, &why) + &lost.collect::<String>());
                is_misled = true;
                Some(Next::Back)
            }
            (stayed, _) => stayed?,
        };
        match stayed {
            None => return Ok(()),
            Some(Next::To(direct)) => {
                before.push(here.replace(direct));
                if before.len() > MOST {
                    before.remove(0);
                }
            }
            Some(Next::Back) => match before.pop() {
                Some(room) => here = room,
                None => return Ok(()),
            },
        }
    }
}

/// A room as it is shown, without the `#`.
pub(super) fn shown(with: Option<&Direct>, room: &str) -> String {
    with.map_or_else(|| room.to_owned(), |other| format!("{} alone", other.user))
}

impl Chat {
    /// Ends here, to go on elsewhere.
    pub(super) fn go(&mut self, to: Next) -> Result<()> {
        self.next_stay = Some(to);
        self.leave()
    }

    /// Where the user is on the way to, as it is shown.
    pub(super) fn goes_to(&self) -> Option<String> {
        match self.next_stay.as_ref()? {
            Next::To(direct) => Some(shown(Some(direct), &direct.room)),
            Next::Back => self.back_to.clone(),
        }
    }

    /// What is typed on the way is for where it leads to.
    pub(super) fn hold(&mut self, line: String) -> Result<()> {
        if self.typed.len() < WINDOW {
            self.typed.push_back(line);
            return Ok(());
        }
        self.note(&view::not_sent(&line))
    }

    /// Names what waits and will not be sent by this stay. `is_over`: it was not ended by an error.
    pub(super) fn tell_lost(&mut self, is_over: bool) -> Result<()> {
        let unsent = self.sealed.as_ref().map(Sealed::unsent).unwrap_or_default();
        let mut lost: Vec<_> = unsent.iter().map(|text| view::not_sent(text)).collect();
        if !is_over || self.next_stay.is_none() {
            let typed = std::mem::take(&mut self.typed);
            lost.extend(typed.iter().map(|line| view::not_sent(line)));
        }
        lost.iter().try_for_each(|line| self.note(line))
    }

    /// Whether a person who goes loses what waits and cannot be sent from here now; asked at most
    /// once for a command, which whoever means it types again.
    pub(super) fn is_held_back(&mut self, command: &Command) -> Result<bool> {
        let is_sure = self.unsure.take().is_some_and(|before| before == *command);
        if let (Command::Say { text, .. }, true) = (command, self.is_misled) {
            self.is_misled = !is_sure;
            if !is_sure {
                self.unsure = Some(command.clone());
                self.note(&self.view.misled(text))?;
            }
            return Ok(!is_sure);
        }
        let sealed = self.sealed.as_ref();
        let for_former = sealed.and_then(|sealed| sealed.is_for_former(command));
        if let Some(note) = for_former.filter(|_| !is_sure) {
            self.unsure = Some(command.clone());
            self.is_misled |= matches!(command, Command::Direct(_));
            self.note(&note)?;
            return Ok(true);
        }
        let typed = match command {
            Command::Quit => "/quit",
            Command::Leave => "/leave",
            Command::Direct(_) => "/dm",
            Command::Back => "/back",
            _ => return Ok(false),
        };
        let waiting = self.undecided();
        if is_sure || waiting == 0 || !self.is_stuck() {
            return Ok(false);
        }
        self.unsure = Some(command.clone());
        self.is_misled |= matches!(command, Command::Direct(_) | Command::Back);
        self.note(&view::lost_by_leaving(waiting, typed))?;
        Ok(true)
    }

    /// Ends when all is sent that can be.
    pub(super) fn leave(&mut self) -> Result<()> {
        if self.console.is_terminal() && !self.is_settled() {
            self.quit = self.is_stuck();
            if !self.quit {
                let then = self.goes_to().map_or_else(String::new, |room| {
                    format!(", then you are in #{room}, where what you type now goes")
                });
                self.note(&format!(
                    "waiting for what is not in the journal yet{then}; Ctrl-C ends at once"
                ))?;
            }
        }
        self.leaving = Some(Instant::now());
        Ok(())
    }

    /// What waits cannot go, whatever is waited for some seconds.
    fn is_stuck(&self) -> bool {
        let is_out = self.sealed.as_ref().is_some_and(Sealed::is_stuck);
        is_out || self.client.status().link != Link::Open
    }
}

/// Why it is back in the room from which it went to write to somebody alone. Whoever knows two keys
/// can make the room of these two first.
fn refused(user: &str, why: &anyhow::Error) -> String {
    format!(
        "! you cannot write to {user} alone there ({why}): somebody else may have made that room \
         first. Use another sealed room, with the two of you in it"
    )
}
