//! Where a person at a terminal is, one room after the other: from a sealed room to one of two
//! people, and back.

use super::command::Command;
use super::console::Console;
use super::repeats::Repeats;
use super::sealed::{Claim, Door, Sealed, direct::Direct};
use super::{Chat, Options, WINDOW, key, stay, view};
use anyhow::{Result, anyhow, bail};
use safe_chat_client::Link;
use std::collections::{BTreeMap, VecDeque};
use thiserror::Error;
use tokio::time::Instant;

/// Rooms to go back to, at most.
const MOST: usize = 16;

/// Why nobody comes into a room, which may be somebody else's: whoever knows two keys can make the
/// room of these two first.
#[derive(Debug, Error)]
#[error("{0}")]
struct Taken(String);

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
    /// Who is to be let in and waits, by the room where they do, with how that is shown.
    waiting: BTreeMap<String, (String, Vec<Claim>)>,
}

impl Carried {
    /// Who is to be let into a room, where the user is again.
    pub(super) fn claims_of(&mut self, room: &str) -> Vec<Claim> {
        let waiting = self.waiting.remove(room);
        waiting.map_or_else(Vec::new, |(_, claims)| claims)
    }
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

    /// Stays until the user goes, or it ends; where they go.
    pub(super) async fn run(mut self, carried: &mut Carried) -> Result<Option<Next>> {
        let outcome = self.converse().await;
        let ended = self.end(outcome, carried);
        carried.typed = self.typed;
        carried.console = Some(self.console);
        self.client.close().await;
        ended
    }

    /// Tells what was not told, and what is lost by the end; writes what is to be kept.
    fn end(&mut self, outcome: Result<()>, carried: &mut Carried) -> Result<Option<Next>> {
        let of_group = self.sealed.as_mut().map(Sealed::untold);
        let of_group: Vec<_> = of_group.into_iter().flatten().collect();
        let rest = self.counted().map(Repeats::rest);
        for rest in of_group.into_iter().chain(rest).flatten() {
            self.note(&rest)?;
        }
        let mut lost = self.lost(outcome.is_ok());
        lost.extend(self.unadded(outcome.is_ok(), carried));
        lost.iter().try_for_each(|line| self.note(line))?;
        let written = self.sealed.as_mut().map_or(Ok(()), Sealed::write);
        outcome.and(written)?;
        if self.refused > 0 && !self.console.is_terminal() {
            bail!("{} not accepted", view::plural(self.refused, "message"));
        }
        Ok(self.next_stay.take())
    }

    /// What waits and will not be sent by this stay. `is_over`: it was not ended by an error.
    fn lost(&mut self, is_over: bool) -> Vec<String> {
        let unsent = self.sealed.as_ref().map(Sealed::unsent).unwrap_or_default();
        let mut lost: Vec<_> = unsent.iter().map(|text| view::not_sent(text)).collect();
        let undecided = std::mem::take(&mut self.undecided);
        lost.extend(undecided.iter().map(|text| view::not_known(text)));
        let abandoned = self.sealed.as_mut().map(Sealed::abandoned);
        lost.extend(abandoned.into_iter().flatten());
        if !is_over || self.next_stay.is_none() {
            let typed = std::mem::take(&mut self.typed);
            lost.extend(typed.iter().map(|line| view::not_sent(line)));
        }
        lost
    }

    /// What becomes of those who are to be let in and wait: who goes elsewhere may be back.
    fn unadded(&mut self, is_over: bool, carried: &mut Carried) -> Vec<String> {
        let (room, shown) = (self.sealed.as_ref().map(Sealed::room), self.view.room());
        let (room, shown) = (room.unwrap_or_default().to_owned(), shown.to_owned());
        let claims = self.sealed.as_mut().map(Sealed::take_claims);
        let claims = claims.filter(|claims| !claims.is_empty());
        let is_elsewhere = is_over && self.next_stay.is_some();
        let mut told = Vec::new();
        if let (true, Some(claims)) = (is_elsewhere, &claims) {
            told.extend(claims.iter().map(|claim| waits_for_return(claim, &shown)));
        }
        carried
            .waiting
            .extend(claims.map(|claims| (room, (shown, claims))));
        // From a room that nobody can stay in the way leads back, if there is one.
        let is_end = self.next_stay.is_none() && (is_over || self.back_to.is_none());
        while is_end || carried.waiting.len() > MOST {
            let Some((_, (shown, claims))) = carried.waiting.pop_first() else {
                break;
            };
            told.extend(claims.iter().map(|claim| is_not_added(claim, &shown)));
        }
        told
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
        // Those that lead away from here, and not where they only say why they do not.
        let typed = match (command, &self.sealed) {
            (Command::Quit, _) => "/quit".to_owned(),
            (Command::Leave, Some(sealed)) if sealed.may_leave() => "/leave".to_owned(),
            (Command::Direct(user), Some(sealed)) if sealed.direct(user).is_ok() => {
                format!("/dm {user}")
            }
            (Command::Back, _) if self.back_to.is_some() => "/back".to_owned(),
            _ => return Ok(false),
        };
        let waiting = self.undecided();
        if is_sure || waiting == 0 || !self.is_stuck() {
            return Ok(false);
        }
        self.unsure = Some(command.clone());
        self.is_misled |= matches!(command, Command::Direct(_) | Command::Back);
        self.note(&view::lost_by_leaving(waiting, &typed))?;
        Ok(true)
    }

    /// Why it is over, by something that a room which is somebody else's has about it.
    pub(super) fn taken(&self, why: String) -> anyhow::Error {
        let sealed = self.sealed.as_ref();
        let was_there = !self.is_new || sealed.is_some_and(|sealed| sealed.was_read().is_some());
        match was_there {
            true => anyhow!(why),
            false => Taken(why).into(),
        }
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

fn waits_for_return(claim: &Claim, room: &str) -> String {
    format!(
        "{}: waits while you are elsewhere, and goes on when you are back in #{room}",
        claim.command()
    )
}

fn is_not_added(claim: &Claim, room: &str) -> String {
    format!(
        "! not done in #{room}, and not kept: type it again when you are there: {}",
        claim.typed()
    )
}

/// Why it is back in the room from which it went to write to somebody alone.
fn refused(user: &str, why: &anyhow::Error) -> String {
    match why.is::<Taken>() {
        true => format!(
            "! you cannot write to {user} alone there ({why}): somebody else may have made that \
             room first. Use another sealed room, with the two of you in it"
        ),
        false => format!(
            "! you cannot write to {user} alone now ({why}). /dm {user} tries it again, once that \
             is mended"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_room_is_somebody_elses_is_said_only_where_it_can_be() {
        let said = |why: anyhow::Error| refused("charly", &why);
        let taken = said(Taken("key_mismatch".into()).into());
        assert!(taken.contains("(key_mismatch): somebody else may have made"));
        let away = said(anyhow!("HTTP 302: no safe-chat answered there"));
        assert!(!away.contains("somebody else"), "{away}");
        assert!(away.contains("there). /dm charly tries it again"), "{away}");
    }
}
