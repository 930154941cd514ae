//! What a sealed room's group has a terminal do.

use super::{
    Answer, Chat,
    command::Command,
    repeats::Repeats,
    sealed::{Found, Sealed, Task},
    stay::Next,
    view::Line,
};
use anyhow::Result;
use futures::FutureExt;
use safe_chat_client::{Link, Message, Notice, Policy, Receipt, SendError};
use seal::conversation::Outgoing;

/// To whoever comes to a sealed room without what reads it.
pub(super) const SEALED: &str = "! this room is sealed: without --seal nothing that is said can be \
    read here, nothing said, and nothing done in its group. Begin again with --seal";

impl Chat {
    pub(super) async fn of_group(&mut self, command: Command) -> Result<()> {
        let is_to_go = matches!(command, Command::Direct(_));
        // Known before the notice that tells of it.
        let is_open = self.client.status().link == Link::Open;
        let Some(sealed) = &mut self.sealed else {
            self.is_misled |= is_to_go;
            return self.note(match self.is_shut_out {
                true => SEALED,
                false => "! this is no sealed room: begin with --seal for one",
            });
        };
        let tasks = match command {
            Command::Direct(user) if sealed.is_alone_with(&user) => {
                vec![Task::Note(format!(
                    "! /dm {user}: you are alone with {user} here"
                ))]
            }
            Command::Direct(user) => match sealed.direct(&user) {
                Ok(direct) => return self.go(Next::To(direct)),
                Err(why) => {
                    self.is_misled = true;
                    vec![Task::Note(format!("! /dm {user}: {why}"))]
                }
            },
            Command::Add { user, key } => sealed.add(&user, &key),
            Command::Remove(user) => sealed.remove(&user)?,
            Command::Leave => sealed.leave()?,
            Command::Revoke(device) => sealed.revoke(&device)?,
            Command::Allow(device) => vec![sealed.allow(device)],
            Command::Share { user, count } => sealed.share(&user, count)?,
            Command::Ask(count) => sealed.ask_for_earlier(count)?,
            Command::Forget => vec![sealed.clear()?],
            Command::Agree => sealed.agree()?,
            Command::Code => vec![Task::Note(sealed.code(is_open))],
            _ => vec![Task::Note(sealed.devices(is_open))],
        };
        self.carry_out(tasks).await
    }

    /// What a sealed room wants done.
    pub(super) async fn carry_out(&mut self, tasks: Vec<Task>) -> Result<()> {
        for task in tasks {
            match task {
                Task::Send(number, outgoing) => {
                    let message = match outgoing {
                        Outgoing::Sealed(bytes) => Message::sealed(bytes),
                        Outgoing::Handshake(bytes) => Message::handshake(bytes),
                    };
                    self.submit(number, message).await;
                }
                Task::Ask(asked) => self.answers.push(Box::pin(asked.map(Answer::Found))),
                Task::Resume(seq) => self.read_again(seq).await?,
                Task::Event(event) => self.show(&Line::Event(event))?,
                Task::Note(text) => self.note(&text)?,
                Task::NotSent(text) => {
                    self.refused += 1;
                    self.note(&text)?;
                }
                Task::Waits(text, is_long) if is_long || self.console.is_terminal() => {
                    self.note(&text)?;
                }
                Task::Waits(..) => {}
            }
        }
        Ok(())
    }

    /// Sends something of a sealed room; what becomes of it comes back under the number.
    async fn submit(&mut self, number: u64, message: Message) {
        let sending = self.client.submit(message.clone()).await;
        let sent = async move {
            let outcome = match sending {
                Ok(sending) => sending.await,
                Err(error) => Err(error),
            };
            Answer::Sent(number, message, outcome)
        };
        self.answers.push(Box::pin(sent));
    }

    /// Ends when the user has left the group.
    pub(super) fn end_if_left(&mut self) -> Result<()> {
        match self.leaving.is_none() && self.sealed.as_ref().is_some_and(Sealed::has_left) {
            true => self.leave(),
            false => Ok(()),
        }
    }

    /// What follows from a notice of the client.
    pub(super) fn of_notice(&mut self, notice: &Notice) -> Result<Vec<Task>> {
        if let (Some(sealed), Notice::Connected { welcome, .. }) = (&self.sealed, notice)
            && welcome.policy != Policy::Sealed.as_str()
        {
            // What is said would stay encrypted, but somebody wants it otherwise.
            return Err(self.taken(format!(
                "the service says that {} is not sealed: nothing was said there. Whoever runs it \
                 may want to read what you say, or it is too old for sealed rooms: ask them",
                sealed.room()
            )));
        }
        let Some(sealed) = &mut self.sealed else {
            return Ok(match notice {
                Notice::Connected { welcome, .. } if welcome.policy == Policy::Sealed.as_str() => {
                    self.is_shut_out = true;
                    vec![Task::Note(SEALED.into())]
                }
                _ => Vec::new(),
            });
        };
        match notice {
            Notice::Connected { welcome, .. } => {
                sealed.asks_at(&self.client.status().gateway);
                sealed.connected(welcome.seq.unwrap_or_default())
            }
            Notice::Event(event) => sealed.event(event),
            // Nothing is missing.
            Notice::Reset { seq, .. } if sealed.since() == Some(seq.saturating_sub(1)) => {
                Ok(Vec::new())
            }
            Notice::Reset { .. } => sealed.missed(),
            _ => Ok(Vec::new()),
        }
    }

    /// What became of what was sent under a number.
    pub(super) async fn sent(
        &mut self,
        number: u64,
        message: Message,
        outcome: Result<Receipt, SendError>,
    ) -> Result<()> {
        let answer = match outcome {
            Ok(receipt) => Ok(receipt.seq),
            Err(SendError::Rejected { reason, message }) => Err((reason, message)),
            // The room is read again, by another client: it goes once more, under its id. If it is
            // all over, the last notice says so.
            Err(SendError::Ended) if self.client.status().end.is_none() => {
                self.submit(number, message).await;
                return Ok(());
            }
            Err(_) => return Ok(()),
        };
        let answered = |sealed: &mut Sealed| sealed.answered(number, answer);
        let tasks = self.sealed.as_mut().map_or(Ok(Vec::new()), answered)?;
        self.carry_out(tasks).await
    }

    /// The answer to a question of the group.
    pub(super) async fn found(&mut self, found: Found) -> Result<()> {
        // The user is on the way, and may be to just there, where it is looked again.
        if self.next_stay.is_some() && matches!(found, Found::Invitations(_) | Found::News(_)) {
            return Ok(());
        }
        let taken = |sealed: &mut Sealed| sealed.found(found);
        let tasks = self.sealed.as_mut().map_or(Ok(Vec::new()), taken)?;
        self.carry_out(tasks).await
    }

    /// Time goes on.
    pub(super) async fn tick(&mut self) -> Result<()> {
        for told in self.counted().map(Repeats::tick).into_iter().flatten() {
            self.note(&told)?;
        }
        let tasks = self.sealed.as_mut().map_or(Ok(Vec::new()), Sealed::tick)?;
        self.carry_out(tasks).await
    }
}
