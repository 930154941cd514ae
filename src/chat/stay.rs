//! Where a person at a terminal is, one room after the other: from a sealed room to one of two
//! people, and back.

use super::command::Command;
use super::sealed::{Door, direct::Direct};
use super::{Chat, Options, key, stay, view};
use anyhow::Result;
use safe_chat_client::Link;
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

/// All stays, from the room of the command line on.
pub(super) async fn all(options: Options) -> Result<()> {
    let (mut here, mut before): (Option<Direct>, Vec<Option<Direct>>) = (None, Vec::new());
    // Once: a person types its passphrase once.
    let mut brought = key::of(&options)?;
    let mut note = brought.note.take();
    loop {
        let mut options = options.clone();
        if let Some(direct) = &here {
            options.room.clone_from(&direct.room);
            options.seal = Some(Door::Invited);
        }
        let stayed = match (
            stay(options, &brought, here.as_ref(), note.take()).await,
            &here,
        ) {
            (Err(why), Some(direct)) => {
                note = Some(refused(&direct.user, &why));
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

impl Chat {
    /// Whether a person who goes loses what waits and cannot be sent from here now; asked at most
    /// once for a command, which whoever means it types again.
    pub(super) fn is_held_back(&mut self, command: &Command) -> Result<bool> {
        let is_sure = self.unsure.take().is_some_and(|before| before == *command);
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
        self.note(&view::lost_by_leaving(waiting, typed))?;
        Ok(true)
    }

    /// Ends when all is sent that can be.
    pub(super) fn leave(&mut self) -> Result<()> {
        if self.console.is_terminal() && !self.is_settled() {
            self.quit = self.is_stuck();
            if !self.quit {
                self.note("waiting for what is not in the journal yet; Ctrl-C leaves at once")?;
            }
        }
        self.leaving = Some(Instant::now());
        Ok(())
    }

    /// What waits cannot go, whatever is waited for some seconds.
    fn is_stuck(&self) -> bool {
        let is_out = self.sealed.as_ref().is_some_and(|sealed| !sealed.is_in());
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
