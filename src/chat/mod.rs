//! The terminal client: one person, or one script, in one room.
//!
//! ```text
//! console (lines typed or piped) -> client -> server
//! console <- view <- room <- client <- server
//! ```
//!
//! The client is that of the crate `client`, like everybody's: it decides where to resume and what
//! is sent again. `room` knows what was shown; `console` is a line edited in a `terminal`, or a
//! pipe.

mod again;
mod command;
mod console;
mod editor;
mod foreign;
mod group;
mod heard;
pub(crate) mod key;
mod options;
mod repeats;
mod room;
mod screen;
mod sealed;
mod stay;
mod terminal;
mod told;
mod trouble;
mod view;

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use safe_chat_client::{
    Client, ConnectError, End, Gateway, KeyPair, Link, Message, Notice, Page, Policy, QueryError,
    Receipt, SendError, Silence, Tls,
};
use seal::Identity;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

#[doc(hidden)]
pub use heard::heard;

use again::Again;
use command::Command;
use console::{Console, Input};
use key::{Brought, Own};
use options::{name, token_of, trusted};
use repeats::{COMINGS, NOT_ENCRYPTED, OF_MEMBERS, OF_NAMES, REFUSALS, REMOVALS, Repeats};
use room::Room;
pub(crate) use sealed::store::devices_of;
use sealed::{Found, Sealed, said::unmask};
use stay::{Arrival, Carried};
use trouble::said;
use view::{Line, Style, View};
pub use {options::Options, sealed::Door};

/// Undecided messages at which no further line is read.
const WINDOW: usize = 64;

/// When a silent connection is asked whether it lives, and when it is given up: a person looks at
/// it and would take it for alive, so sooner than programs do.
const SILENCE: Silence = Silence {
    ask_after: Duration::from_secs(10),
    dead_after: Duration::from_secs(20),
};

/// How often the prompt is refreshed, and messages without an answer are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How long one may still wait for undecided messages after `/quit`.
const FAREWELL: Duration = Duration::from_secs(10);

/// Attempts per address after which a script that never got in ends: some seconds. A person sees
/// what is wrong and can wait.
const ATTEMPTS: usize = 5;

/// Joins the room and stays until the person leaves, or until all that was piped in is in the
/// journal.
///
/// # Errors
/// A refusal or an end of the session that trying again cannot change (`reason: message`), a
/// message that was not accepted from a pipe, no key where one is needed, or a terminal that cannot
/// be used.
pub async fn run(options: Options) -> Result<()> {
    stay::all(options).await
}

/// One stay in one room.
async fn stay(
    options: Options,
    brought: &Brought,
    arrival: Arrival<'_>,
    carried: &mut Carried,
) -> Result<Option<stay::Next>> {
    let with = arrival.with;
    let own = &brought.own;
    let pair_of = |identity: &Identity| KeyPair::from_seed(&identity.seed());
    let before = brought.before.clone();
    let of_key = key::place(options.key.is_some(), options.key_file.as_deref());
    let claims = matches!(own, Own::Claimed(_)) && options.key.is_none();
    let editing =
        !options.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let color = editing && !options.no_color && std::env::var_os("NO_COLOR").is_none();
    let style = match (options.json, editing) {
        (true, _) => Style::Json,
        (false, true) => Style::Screen { color },
        (false, false) => Style::Lines,
    };
    if options.json && options.seal.is_some() {
        bail!(
            "--json prints the frames of the server as they are, and those of a sealed room say \
             nothing to who reads them: --seal without --json shows what members read, also in a \
             pipe"
        );
    }
    let trust = trusted(&options)?;
    let sealed = match options.seal {
        None => {
            sealed::refuse_plain(&options, own)?;
            None
        }
        Some(door) => {
            let file = key::path(options.key_file.as_deref())?;
            let (room, tls) = ((&*options.room, &*options.user), trust.clone());
            let mut sealed = Sealed::open((&file, own), room, door, &options.url[0], tls)?;
            with.into_iter().for_each(|other| sealed.meets(other));
            sealed.resumes(carried.claims_of(&options.room));
            if options.url.len() > 1 {
                sealed.asks_later();
            }
            sealed.shares_history(options.share_history);
            Some(sealed)
        }
    };
    let builder = match own {
        Own::Pair(identity) => Client::builder()
            .key_pair(pair_of(identity))
            .former_key_pairs_from(move || before.open().into_iter().map(pair_of).collect()),
        Own::Claimed(key) => Client::builder().key(key.clone()),
    };
    let builder = match options.token_file.clone() {
        Some(path) => builder.token_from(move || token_of(path.clone())),
        None => builder,
    };
    let builder = builder
        .gateways(&options.url)
        .room(&options.room)
        .user(&options.user)
        .device(Some(format!("cli-{:08x}", rand::random::<u32>())))
        .tls(trust.map_or(Tls::System, Tls::Config))
        .window(WINDOW)
        .answer_within(None)
        .silence(SILENCE)
        .trace(options.json);
    let builder = match &sealed {
        None => builder.history(options.history),
        Some(_) => builder.policy(Policy::Sealed),
    };
    let begin = move |since: Option<u64>, was_there: bool| {
        let builder = builder.clone().was_there(was_there);
        match since {
            Some(seq) => builder.since(seq).start(),
            None => builder.start(),
        }
    };
    let client = begin(sealed.as_ref().and_then(Sealed::since), false)?;
    let shown = stay::shown(with, &options.room);
    let view = View::new(style, &shown, &options.user);
    let console = match carried.console.take() {
        Some(mut console) => {
            console.prompt(view.prompt("connecting", 0));
            console
        }
        None if editing => Console::terminal(view.prompt("connecting", 0))?,
        None => Console::pipe(),
    };
    let mut chat = Chat {
        client,
        room: match &sealed {
            Some(sealed) => Room::read(sealed.was_read()),
            None => Room::new(options.history),
        },
        sealed,
        begin: Box::new(begin),
        view,
        console,
        tick: every(TICK),
        answers: FuturesUnordered::new(),
        unencrypted: NOT_ENCRYPTED,
        unasked: REFUSALS,
        comings_of_members: COMINGS,
        comings: COMINGS,
        of_members: OF_MEMBERS,
        of_names: OF_NAMES,
        removals: REMOVALS,
        undecided: Vec::new(),
        leaving: None,
        quit: false,
        back_to: arrival.back_to,
        next_stay: None,
        typed: std::mem::take(&mut carried.typed),
        is_misled: arrival.is_misled,
        is_shut_out: false,
        again: None,
        reads_again: false,
        unsure: None,
        refused: 0,
        troubles: Vec::new(),
        connecting: None,
        is_new: true,
        attempts: ATTEMPTS * options.url.len(),
        attempts_left: Some(ATTEMPTS * options.url.len()),
        servers: options.url,
        user: options.user,
        of_key,
        keys_before: brought.before.clone(),
    };
    if claims {
        chat.note(&format!(
            "your key, {}, is of an older version and can only be named, not proven: move the file \
             away to get one that can",
            chat.of_key
        ))?;
    }
    if let Some(note) = arrival.note {
        chat.note(&note)?;
    }
    chat.run(carried).await
}

fn every(period: Duration) -> Interval {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// What happened next.
enum Next {
    Input(Input),
    Notice(Option<Notice>),
    Answer(Answer),
    Tick,
}

/// What came of something that was said or asked.
enum Answer {
    Said {
        text: String,
        outcome: Result<Receipt, SendError>,
    },
    /// Of a sealed room: what was sent under a number.
    Sent(u64, Message, Result<Receipt, SendError>),
    Found(Found),
    Earlier(Result<Page, QueryError>),
    /// What is before this place, which is read again.
    Again(u64, Result<Page, QueryError>),
    Members(Result<Vec<String>, QueryError>),
}

/// The parts of a running client; one task owns them all.
struct Chat {
    client: Client,
    /// Begins behind a place, or, if it has been there, anew.
    begin: Box<dyn Fn(Option<u64>, bool) -> Result<Client, ConnectError> + Send>,
    /// A sealed room's.
    sealed: Option<Sealed>,
    room: Room,
    view: View,
    console: Console,
    tick: Interval,
    /// What was said or asked and is not answered.
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// What the service shows in a sealed room and no member has said.
    unencrypted: Repeats,
    /// Refusals of nothing that was said here.
    unasked: Repeats,
    /// Who comes and goes, on a screen: members of a sealed room's group, and others.
    comings_of_members: Repeats,
    comings: Repeats,
    /// What was done to names, those of members and others, and to what was said; on a screen.
    of_members: Repeats,
    of_names: Repeats,
    removals: Repeats,
    /// The texts of messages of them, but of a sealed room's.
    undecided: Vec<String>,
    /// Since when we only wait for what is undecided.
    leaving: Option<Instant>,
    quit: bool,
    /// The room that the user came from, as it is shown.
    back_to: Option<String>,
    /// Where the user goes from here; `None`: it ends.
    next_stay: Option<stay::Next>,
    /// What was typed on the way here, or is typed on the way to the next room.
    typed: VecDeque<String>,
    /// The user wanted to go elsewhere and is here: what is typed next may be meant for there.
    is_misled: bool,
    /// The room is sealed, and this came without what reads it.
    is_shut_out: bool,
    /// A part of the room is read again; until then nothing of what follows is taken.
    again: Option<Again>,
    /// The room is read again by another client, which nobody has to know.
    reads_again: bool,
    /// What the user typed last, and was told that something is lost by it.
    unsure: Option<Command>,
    refused: u64,
    /// Why there is no connection, as it was said since there was one: about one cause per address.
    troubles: Vec<String>,
    /// Since when a server has been asked and has not answered, and whether that was said.
    connecting: Option<(Instant, bool)>,
    servers: Vec<Gateway>,
    user: String,
    /// Where the key is from.
    of_key: String,
    keys_before: Arc<key::Before>,
    /// It was never connected here.
    is_new: bool,
    attempts: usize,
    /// Failed attempts until a script gives up; `None`: it has been in.
    attempts_left: Option<usize>,
}

impl Chat {
    async fn converse(&mut self) -> Result<()> {
        while !self.is_over() {
            match self.next().await? {
                Next::Input(input) => self.take_input(input).await?,
                Next::Notice(notice) => self.take_notice(notice).await?,
                Next::Answer(answer) => self.take_answer(answer).await?,
                Next::Tick => {
                    self.say_silence()?;
                    self.tick().await?;
                }
            }
            self.connecting = match self.client.status().link {
                Link::Connecting => self.connecting.or(Some((Instant::now(), false))),
                Link::Waiting(_) | Link::Open => None,
            };
            self.refresh_prompt();
            self.end_if_left()?;
            if self.console.is_unread() && self.leaving.is_none() {
                self.leave()?;
            }
        }
        Ok(())
    }

    /// Biased, so that lines already typed are handled before what arrives. All four wait without
    /// losing anything when another one is first.
    async fn next(&mut self) -> Result<Next> {
        let ready = self.undecided() < WINDOW && self.leaving.is_none();
        if let Some(line) = self.typed.pop_front_if(|_| ready) {
            return Ok(Next::Input(Input::Line(line)));
        }
        tokio::select! {
            biased;
            input = self.console.read(ready) => Ok(Next::Input(input?)),
            notice = self.client.next(), if self.again.is_none() => Ok(Next::Notice(notice)),
            Some(answer) = self.answers.next() => Ok(Next::Answer(answer)),
            _ = self.tick.tick() => Ok(Next::Tick),
        }
    }

    /// A person who left waits at most [`FAREWELL`] for what is undecided; a pipe waits until all
    /// is decided.
    fn is_over(&self) -> bool {
        let patience = self
            .leaving
            .is_some_and(|since| since.elapsed() > FAREWELL && self.console.is_terminal());
        self.quit || self.leaving.is_some() && (patience || self.is_settled())
    }

    fn is_settled(&self) -> bool {
        self.undecided() == 0
            && self.room.is_settled()
            && self.sealed.as_ref().is_none_or(Sealed::is_settled)
    }

    /// Messages that are not known to be in the room, or refused.
    fn undecided(&self) -> usize {
        self.undecided.len() + self.sealed.as_ref().map_or(0, Sealed::undecided)
    }

    async fn take_input(&mut self, input: Input) -> Result<()> {
        match input {
            Input::Line(line) if self.next_stay.is_some() => self.hold(line),
            Input::Line(line) if self.console.is_terminal() => {
                self.command(command::parse(&line)).await
            }
            // What follows is meant for one person, and would go to all.
            Input::Line(line) if self.leads_elsewhere(&line) => {
                self.refused += 1;
                self.note(
                    "! /dm and /back count at a terminal only: nothing from this line on is sent",
                )?;
                self.leave()
            }
            Input::Line(line) => self.say(line, None).await,
            Input::End if self.next_stay.take().is_some() => Ok(()),
            Input::End if self.console.is_terminal() => self.command(Command::Quit).await,
            Input::End => self.leave(),
            Input::Interrupt => {
                (self.quit, self.next_stay) = (true, None);
                Ok(())
            }
        }
    }

    fn leads_elsewhere(&self, line: &str) -> bool {
        let command = command::parse(line);
        self.sealed.is_some() && matches!(command, Command::Direct(_) | Command::Back)
    }

    async fn command(&mut self, command: Command) -> Result<()> {
        if self.is_held_back(&command)? {
            return Ok(());
        }
        match command {
            Command::Say { text, to } => return self.say(text, to).await,
            Command::Who | Command::History(_) if self.client.status().link != Link::Open => {
                self.note("! not connected, so this cannot be asked: again when you are")?;
            }
            Command::Who => {
                let handle = self.client.handle();
                let ask = async move { Answer::Members(handle.members().await) };
                self.answers.push(Box::pin(ask));
            }
            Command::History(limit) => match self.room.earlier() {
                Ok(before) => {
                    let handle = self.client.handle();
                    let ask = async move { Answer::Earlier(handle.history(before, limit).await) };
                    self.answers.push(Box::pin(ask));
                }
                Err(why) => self.note(why)?,
            },
            Command::Add { .. }
            | Command::Remove(_)
            | Command::Leave
            | Command::Revoke(_)
            | Command::Allow(_)
            | Command::Direct(_)
            | Command::Share { .. }
            | Command::Ask(_)
            | Command::Forget
            | Command::Devices
            | Command::Code
            | Command::Agree => {
                return self.of_group(command).await;
            }
            Command::Back if self.back_to.is_some() => return self.go(stay::Next::Back),
            Command::Back => {
                self.is_misled = true;
                self.note("! /back: you came here from no other room. /quit ends")?;
            }
            Command::Quit => return self.leave(),
            Command::Help => self.note(&command::help(self.sealed.is_some()))?,
            Command::Unclear(why) => {
                self.is_misled |= why.starts_with("/dm");
                self.note(&format!("! {why}"))?;
            }
            Command::Nothing => {}
        }
        Ok(())
    }

    async fn say(&mut self, text: String, to: Option<String>) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        if let Some(sealed) = &mut self.sealed {
            if to.is_some() {
                return self
                    .note("! a sealed room takes no label: it would be readable for the server");
            }
            let tasks = sealed.say(&text)?;
            return self.carry_out(tasks).await;
        }
        if self.is_shut_out {
            self.refused += 1;
            return self.note(group::SEALED);
        }
        if !self.client.status().is_live {
            self.show(&Line::Queued { text: text.clone() })?;
        }
        let mut message = Message::text(&text);
        if let Some(to) = to {
            message = message.to(to);
        }
        // There is a place in the window: no line is read without one.
        let sending = self.client.submit(message).await;
        let said = text.clone();
        let outcome = async move {
            let outcome = match sending {
                Ok(sending) => sending.await,
                Err(error) => Err(error),
            };
            Answer::Said { text, outcome }
        };
        self.undecided.push(said);
        self.answers.push(Box::pin(outcome));
        Ok(())
    }

    async fn take_notice(&mut self, notice: Option<Notice>) -> Result<()> {
        match notice {
            None => bail!(End::Closed),
            Some(Notice::Ended(end)) => return Err(self.ended(&end)),
            Some(Notice::Received { raw, .. }) => return self.console.print(&format!("{raw}\n")),
            Some(Notice::Disconnected { why, wait }) => {
                if let Some(sealed) = &mut self.sealed {
                    sealed.disconnected();
                }
                let why = said(&why);
                self.give_up_in_time(&why)?;
                return self.say_trouble(why, wait);
            }
            Some(mut notice) => {
                if let (Notice::Event(event), Some(_)) = (&mut notice, &self.sealed) {
                    unmask(event);
                }
                let mut is_again = false;
                if matches!(notice, Notice::Connected { .. }) {
                    self.troubles.clear();
                    self.attempts_left = None;
                    is_again = std::mem::take(&mut self.reads_again);
                }
                let tasks = self.of_notice(&notice)?;
                self.is_new &= !matches!(notice, Notice::Connected { .. });
                if let Some(line) = self.room.take(notice)
                    && !is_again
                    && !(self.sealed.is_some() && line.is_encrypted())
                {
                    self.show(&line)?;
                }
                self.carry_out(tasks).await?;
            }
        }
        Ok(())
    }

    async fn take_answer(&mut self, answer: Answer) -> Result<()> {
        match answer {
            Answer::Said { text, outcome } => {
                let at = self.undecided.iter().position(|one| *one == text);
                at.map(|at| self.undecided.remove(at));
                match outcome {
                    Ok(receipt) => self.room.journaled(receipt.seq),
                    // Why it ended is told by the last notice.
                    Err(SendError::Ended) => self.undecided.push(text),
                    Err(error) => self.show(&Line::Rejected {
                        text,
                        why: match error {
                            SendError::Rejected { reason, message } => {
                                format!("{reason}: {message}").trim_end_matches(": ").into()
                            }
                            other => other.to_string(),
                        },
                    })?,
                }
            }
            Answer::Sent(number, message, outcome) => self.sent(number, message, outcome).await?,
            Answer::Found(found) => self.found(found).await?,
            Answer::Earlier(Ok(mut page)) => {
                let recalled = |sealed: &Sealed| sealed.recall(&mut page.events);
                let recalled = self.sealed.as_ref().map(recalled).unwrap_or_default();
                let line = self.room.page(page, recalled);
                self.show(&line)?;
            }
            Answer::Again(before, page) => self.take_again(before, page).await?,
            Answer::Members(Ok(members)) => self.show(&Line::Members(members))?,
            Answer::Earlier(Err(error)) | Answer::Members(Err(error)) => {
                self.note(&error.to_string())?;
            }
        }
        Ok(())
    }
}
