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

mod command;
mod console;
mod editor;
mod heard;
pub(crate) mod key;
mod room;
mod screen;
mod terminal;
mod view;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use safe_chat_client::{
    Client, End, Gateway, Link, Lost, Message, Notice, Page, QueryError, Receipt, SendError, Tls,
    check_name,
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

#[doc(hidden)]
pub use heard::heard;

use crate::tls::{self, Trust};
use command::Command;
use console::{Console, Input};
use key::Own;
use room::Room;
use view::{Line, Style, View};

/// Undecided messages at which no further line is read.
const WINDOW: usize = 64;

/// How often the prompt is refreshed, and messages without an answer are looked at.
const TICK: Duration = Duration::from_secs(1);

/// After so long without an answer a pipe is told what it waits for, at the next tick.
const SILENCE: Duration = Duration::from_millis(1_500);

/// How long one may still wait for undecided messages after `/quit`.
const FAREWELL: Duration = Duration::from_secs(10);

/// Attempts per address after which a script that never got in ends: some seconds. A person sees
/// what is wrong and can wait.
const ATTEMPTS: usize = 5;

/// Where to go, as whom.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Address of a server; several, separated by commas, take turns when a connection is lost
    #[arg(
        default_value = "http://127.0.0.1:8080",
        value_delimiter = ',',
        value_name = "URL"
    )]
    pub url: Vec<Gateway>,
    /// Room to join: 1-64 of A-Z a-z 0-9 _ -
    #[arg(long, value_parser = name, allow_hyphen_values = true)]
    pub room: String,
    /// Your name in the room: 1-64 of A-Z a-z 0-9 _ -
    #[arg(long, value_parser = name, allow_hyphen_values = true)]
    pub user: String,
    /// File of the key pair that proves that your name in a room is yours; made if there is none
    /// [default: ~/.config/safe-chat/key]
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub key_file: Option<PathBuf>,
    /// A key that is only named, which keeps your name from those who do not know it
    #[arg(long, allow_hyphen_values = true)]
    pub key: Option<String>,
    /// File of the token, for rooms that ask for one; read again for each connection, and before
    /// the token expires
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Events to show from before (0-500)
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(0..=500), value_name = "N")]
    pub history: u16,
    /// File of the authorities (PEM) that vouch for servers at https and wss, instead of the
    /// system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Plain text (NO_COLOR does the same)
    #[arg(long)]
    pub no_color: bool,
    /// Print the frames of the server as they are, one JSON object per line; messages come from
    /// stdin
    #[arg(long)]
    pub json: bool,
}

/// Joins the room and stays until the person leaves, or until all that was piped in is in the
/// journal.
///
/// # Errors
/// A refusal or an end of the session that trying again cannot change (`reason: message`), a message that was not accepted from a
/// pipe, no key where one is needed, or a terminal that cannot be used.
pub async fn run(options: Options) -> Result<()> {
    let of_key = key::place(options.key.is_some(), options.key_file.as_deref());
    let own = match &options.key {
        // Checked here, because the command line's own refusals quote what was typed.
        Some(key) => safe_chat_client::check_key(key)
            .map(|()| Own::Claimed(key.clone()))
            .map_err(|why| anyhow!("the key of --key {why}"))?,
        None => key::load_or_create(options.key_file.as_deref())?,
    };
    let claims = matches!(own, Own::Claimed(_)) && options.key.is_none();
    let editing =
        !options.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let color = editing && !options.no_color && std::env::var_os("NO_COLOR").is_none();
    let style = match (options.json, editing) {
        (true, _) => Style::Json,
        (false, true) => Style::Screen { color },
        (false, false) => Style::Lines,
    };
    let builder = match own {
        Own::Pair(pair) => Client::builder().key_pair(pair),
        Own::Claimed(key) => Client::builder().key(key),
    };
    let builder = match options.token_file.clone() {
        Some(path) => builder.token_from(move || token_of(path.clone())),
        None => builder,
    };
    let client = builder
        .gateways(&options.url)
        .room(&options.room)
        .user(&options.user)
        .device(Some(format!("cli-{:08x}", rand::random::<u32>())))
        .history(options.history)
        .tls(trusted(&options)?)
        .window(WINDOW)
        .answer_within(None)
        .trace(options.json)
        .start()?;
    let view = View::new(style, &options.room, &options.user);
    let console = if editing {
        Console::terminal(view.prompt("connecting", 0))?
    } else {
        Console::pipe()
    };
    let mut chat = Chat {
        client,
        room: Room::new(options.history),
        view,
        console,
        tick: every(TICK),
        answers: FuturesUnordered::new(),
        undecided: 0,
        leaving: None,
        quit: false,
        refused: 0,
        troubles: Vec::new(),
        connecting: None,
        attempts: ATTEMPTS * options.url.len(),
        attempts_left: Some(ATTEMPTS * options.url.len()),
        servers: options.url,
        of_key,
    };
    if claims {
        chat.note(&format!(
            "your key, {}, is of an older version and can only be named, not proven: move the file \
             away to get one that can",
            chat.of_key
        ))?;
    }
    chat.run().await
}

fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

/// The token in a file. Whoever keeps it there puts a new one in before it expires.
async fn token_of(path: PathBuf) -> std::result::Result<String, String> {
    let text = tokio::fs::read_to_string(&path).await;
    let text = text.map_err(|why| format!("{} cannot be read: {why}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} is empty", path.display())),
        token => Ok(token.to_owned()),
    }
}

/// How servers are known that are reached with TLS.
fn trusted(options: &Options) -> Result<Tls> {
    if !options.url.iter().any(Gateway::is_secure) {
        return match options.ca {
            Some(_) => Err(anyhow!("--ca is for servers at https:// or wss://")),
            None => Ok(Tls::System),
        };
    }
    let trust = Trust {
        ca: options.ca.clone(),
        ..Trust::default()
    };
    Ok(Tls::Config(tls::client(&trust)?.into()))
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
    Earlier(Result<Page, QueryError>),
    Members(Result<Vec<String>, QueryError>),
}

/// The parts of a running client; one task owns them all.
struct Chat {
    client: Client,
    room: Room,
    view: View,
    console: Console,
    tick: Interval,
    /// What was said or asked and is not answered.
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
    /// Messages of them.
    undecided: usize,
    /// Since when we only wait for what is undecided.
    leaving: Option<Instant>,
    quit: bool,
    refused: u64,
    /// Why there is no connection, as it was said since there was one: about one cause per address.
    troubles: Vec<String>,
    /// Since when a server has been asked and has not answered, and whether that was said.
    connecting: Option<(Instant, bool)>,
    servers: Vec<Gateway>,
    /// Where the key is from.
    of_key: String,
    attempts: usize,
    /// Failed attempts until a script gives up; `None`: it has been in.
    attempts_left: Option<usize>,
}

impl Chat {
    async fn run(mut self) -> Result<()> {
        let outcome = self.converse().await;
        self.client.close().await;
        outcome?;
        if self.refused > 0 && !self.console.is_terminal() {
            bail!("{} not accepted", view::plural(self.refused, "message"));
        }
        Ok(())
    }

    async fn converse(&mut self) -> Result<()> {
        while !self.is_over() {
            match self.next().await? {
                Next::Input(input) => self.take_input(input).await?,
                Next::Notice(notice) => self.take_notice(notice)?,
                Next::Answer(answer) => self.take_answer(answer)?,
                Next::Tick => self.say_silence()?,
            }
            self.connecting = match self.client.status().link {
                Link::Connecting => self.connecting.or(Some((Instant::now(), false))),
                Link::Waiting(_) | Link::Open => None,
            };
            self.refresh_prompt();
            if self.console.is_unread() && self.leaving.is_none() {
                self.leave()?;
            }
        }
        Ok(())
    }

    /// Biased, so that lines already typed are handled before what arrives. All four wait without
    /// losing anything when another one is first.
    async fn next(&mut self) -> Result<Next> {
        let ready = self.undecided < WINDOW && self.leaving.is_none();
        tokio::select! {
            biased;
            input = self.console.read(ready) => Ok(Next::Input(input?)),
            notice = self.client.next() => Ok(Next::Notice(notice)),
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
        self.undecided == 0 && self.room.is_settled()
    }

    async fn take_input(&mut self, input: Input) -> Result<()> {
        match input {
            Input::Line(line) if self.console.is_terminal() => {
                self.command(command::parse(&line)).await
            }
            Input::Line(line) => self.say(line, None).await,
            Input::End => self.leave(),
            Input::Interrupt => {
                self.quit = true;
                Ok(())
            }
        }
    }

    async fn command(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Say { text, to } => return self.say(text, to).await,
            Command::Who | Command::History(_) if self.client.status().link != Link::Open => {
                self.note("not connected")?;
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
            Command::Quit => return self.leave(),
            Command::Help => self.note(command::HELP)?,
            Command::Unclear(why) => self.note(&why)?,
            Command::Nothing => {}
        }
        Ok(())
    }

    async fn say(&mut self, text: String, to: Option<String>) -> Result<()> {
        if text.is_empty() {
            return Ok(());
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
        let outcome = async move {
            let outcome = match sending {
                Ok(sending) => sending.await,
                Err(error) => Err(error),
            };
            Answer::Said { text, outcome }
        };
        self.undecided += 1;
        self.answers.push(Box::pin(outcome));
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        self.leaving = Some(Instant::now());
        if self.console.is_terminal() && !self.is_settled() {
            self.note("waiting for what is not in the journal yet; Ctrl-C leaves at once")?;
        }
        Ok(())
    }

    fn take_notice(&mut self, notice: Option<Notice>) -> Result<()> {
        match notice {
            None => bail!(End::Closed),
            Some(Notice::Ended(end)) => {
                let hint = self.hint(&end);
                bail!("{}{hint}", view::escaped(&end.to_string()));
            }
            Some(Notice::Received { raw, .. }) => return self.console.print(&format!("{raw}\n")),
            Some(Notice::Disconnected { why, wait }) => {
                let why = said(&why);
                self.give_up_in_time(&why)?;
                return self.say_trouble(why, wait);
            }
            Some(notice) => {
                if matches!(notice, Notice::Connected { .. }) {
                    self.troubles.clear();
                    self.attempts_left = None;
                }
                if let Some(line) = self.room.take(notice) {
                    self.show(&line)?;
                }
            }
        }
        Ok(())
    }

    fn take_answer(&mut self, answer: Answer) -> Result<()> {
        match answer {
            Answer::Said { text, outcome } => {
                self.undecided -= 1;
                match outcome {
                    Ok(receipt) => self.room.journaled(receipt.seq),
                    // Why it ended is told by the last notice.
                    Err(SendError::Ended) => {}
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
            Answer::Earlier(Ok(page)) => {
                let line = self.room.page(page);
                self.show(&line)?;
            }
            Answer::Members(Ok(members)) => self.show(&Line::Members(members))?,
            Answer::Earlier(Err(error)) | Answer::Members(Err(error)) => {
                self.note(&error.to_string())?;
            }
        }
        Ok(())
    }

    /// What was said can wait for a server that comes back, but not for one that was never there.
    fn give_up_in_time(&mut self, why: &str) -> Result<()> {
        let Some(left) = self
            .attempts_left
            .as_mut()
            .filter(|_| !self.console.is_terminal())
        else {
            return Ok(());
        };
        *left = left.saturating_sub(1);
        if *left == 0 {
            bail!("{why}: gave up after {} attempts", self.attempts);
        }
        Ok(())
    }

    /// A server may take its time (it waits for its own servers). A terminal shows it in its
    /// prompt.
    fn say_silence(&mut self) -> Result<()> {
        let Some((since, false)) = self.connecting else {
            return Ok(());
        };
        if self.console.is_terminal() || since.elapsed() < SILENCE {
            return Ok(());
        }
        self.connecting = Some((since, true));
        let servers: Vec<_> = self.servers.iter().map(Gateway::to_string).collect();
        self.note(&format!(
            "no answer yet from {}: waiting",
            servers.join(" or ")
        ))
    }

    /// What a person can do about it here.
    fn hint(&self, end: &End) -> String {
        match end {
            End::Final(Lost::Refused(refusal))
                if matches!(&*refusal.reason, "key_mismatch" | "proof_required") =>
            {
                format!(
                    " (the key tried is {}; --key-file FILE brings another one, --user NAME takes \
                     another name)",
                    self.of_key
                )
            }
            _ => String::new(),
        }
    }

    /// Once per cause: the prompt counts the seconds of further attempts.
    fn say_trouble(&mut self, why: String, wait: Duration) -> Result<()> {
        if self.troubles.contains(&why) {
            return Ok(());
        }
        let again = if self.troubles.is_empty() {
            format!("reconnecting in {:.1} s", wait.as_secs_f64())
        } else {
            "trying on".into()
        };
        self.note(&format!("{why}; {again}"))?;
        self.troubles.push(why);
        Ok(())
    }

    fn show(&mut self, line: &Line) -> Result<()> {
        self.refused += u64::from(matches!(line, Line::Rejected { .. }));
        if self.view.is_note(line) {
            return self.note(&self.view.note_of(line));
        }
        let mut output = String::new();
        self.view.render(line, &mut output);
        self.console.print(&output)
    }

    /// Something about the connection or the client: between the messages on a screen, on stderr
    /// beside a pipe.
    fn note(&mut self, text: &str) -> Result<()> {
        let text = self.view.note(text);
        self.console.note(&text)
    }

    fn refresh_prompt(&mut self) {
        let state = match self.client.status().link {
            Link::Open => String::new(),
            Link::Connecting => "connecting".into(),
            Link::Waiting(until) => {
                let left = until.saturating_duration_since(Instant::now());
                format!("reconnecting in {} s", left.as_secs_f64().ceil())
            }
        };
        let prompt = self.view.prompt(&state, self.undecided);
        self.console.prompt(prompt);
    }
}

/// Why there is no connection, for a person at a terminal.
fn said(why: &Lost) -> String {
    let why = view::escaped(&why.to_string());
    if why.ends_with("name the authority that vouches for it") {
        return why + " with --ca";
    }
    why
}
