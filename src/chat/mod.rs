//! The terminal client: one person, or one script, in one room.
//!
//! ```text
//! console (lines typed or piped) -> session -> link -> server
//! console <- view <- session <- link <- server
//! ```
//!
//! `session` is pure and decides everything that matters: where to resume, what is sent again and
//! with which id, when all is settled. `policy` says what a close code or a refusal means. `link`
//! keeps one WebSocket after another; `console` is a line edited in a `terminal`, or a pipe.

mod address;
mod command;
mod console;
mod editor;
mod frame;
mod heard;
mod key;
mod link;
mod policy;
mod screen;
mod session;
mod terminal;
mod view;

#[cfg(test)]
mod link_tests;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
mod session_world;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use rustls::ClientConfig;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

#[doc(hidden)]
pub use heard::heard;

use crate::tls::{self, Trust};
use address::Address;
use command::Command;
use console::{Console, Input};
use frame::ServerFrame;
use link::{Identity, Link, Signal};
use session::{Effect, Line, Session};
use view::{Style, View};

/// How often the prompt is refreshed, and messages without an answer are looked at.
const TICK: Duration = Duration::from_secs(1);

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
    pub url: Vec<Address>,
    /// Room to join: 1-64 of A-Z a-z 0-9 _ -
    #[arg(long, value_parser = address::name, allow_hyphen_values = true)]
    pub room: String,
    /// Your name in the room: 1-64 of A-Z a-z 0-9 _ -
    #[arg(long, value_parser = address::name, allow_hyphen_values = true)]
    pub user: String,
    /// Key that keeps your name in a room [default: generated once, in ~/.config/safe-chat/key]
    #[arg(long, allow_hyphen_values = true)]
    pub key: Option<String>,
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
    let key = match &options.key {
        // Checked here, because the command line's own refusals quote what was typed.
        Some(key) => address::key(key).map_err(|why| anyhow!("the key of --key {why}"))?,
        None => key::load_or_create()?,
    };
    let editing =
        !options.json && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let color = editing && !options.no_color && std::env::var_os("NO_COLOR").is_none();
    let style = match (options.json, editing) {
        (true, _) => Style::Json,
        (false, true) => Style::Screen { color },
        (false, false) => Style::Lines,
    };
    let link = Link::new(
        options.url.clone(),
        secured(&options)?,
        Identity::new(&options.room, &options.user, &key, options.history),
    );
    let view = View::new(style, &options.room, &options.user);
    let console = if editing {
        Console::terminal(view.prompt("connecting", 0))?
    } else {
        Console::pipe()
    };
    Chat {
        session: Session::new(&options.user, u64::from(options.history)),
        link,
        view,
        console,
        tick: every(TICK),
        retry_at: None,
        leaving: None,
        quit: false,
        refused: 0,
        troubles: Vec::new(),
        attempts_left: Some(ATTEMPTS * options.url.len()),
    }
    .run()
    .await
}

/// How servers are known that are reached with TLS; `None`: none of them is.
fn secured(options: &Options) -> Result<Option<Arc<ClientConfig>>> {
    if !options.url.iter().any(Address::is_secure) {
        return match options.ca {
            Some(_) => Err(anyhow!("--ca is for servers at https:// or wss://")),
            None => Ok(None),
        };
    }
    let trust = Trust {
        ca: options.ca.clone(),
        ..Trust::default()
    };
    Ok(Some(Arc::new(tls::client(&trust)?)))
}

fn every(period: Duration) -> Interval {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// What happened next.
enum Next {
    Input(Input),
    Signal(Signal),
    Retry,
    Tick,
}

/// The parts of a running client; one task owns them all.
struct Chat {
    session: Session,
    link: Link,
    view: View,
    console: Console,
    tick: Interval,
    /// When rejected messages that may be tried again are sent again.
    retry_at: Option<Instant>,
    /// Since when we only wait for what is undecided.
    leaving: Option<Instant>,
    quit: bool,
    refused: u64,
    /// Why there is no connection, as it was said since there was one: about one cause per address.
    troubles: Vec<String>,
    /// Failed attempts until a script gives up; `None`: it has been in.
    attempts_left: Option<usize>,
}

impl Chat {
    async fn run(mut self) -> Result<()> {
        let outcome = self.converse().await;
        self.link.close().await;
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
                Next::Signal(signal) => self.take_signal(signal).await?,
                Next::Retry => {
                    self.retry_at = None;
                    let effects = self.session.retry();
                    self.perform(effects).await?;
                }
                Next::Tick => {
                    let effects = self.session.tick();
                    self.perform(effects).await?;
                }
            }
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
        let ready = self.session.has_room() && self.leaving.is_none();
        let retry_at = self.retry_at;
        tokio::select! {
            biased;
            input = self.console.read(ready) => Ok(Next::Input(input?)),
            () = async { sleep_until(retry_at.unwrap_or_else(Instant::now)).await }, if retry_at.is_some() => Ok(Next::Retry),
            signal = self.link.next() => Ok(Next::Signal(signal)),
            _ = self.tick.tick() => Ok(Next::Tick),
        }
    }

    /// A person who left waits at most [`FAREWELL`] for what is undecided; a pipe waits until all
    /// is decided.
    fn is_over(&self) -> bool {
        let patience = self
            .leaving
            .is_some_and(|since| since.elapsed() > FAREWELL && self.console.is_terminal());
        self.quit || self.leaving.is_some() && (patience || self.session.is_settled())
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
            Command::Who => {
                let effects = self.session.ask_members();
                return self.perform(effects).await;
            }
            Command::History(limit) => {
                let effects = self.session.ask_earlier(limit);
                return self.perform(effects).await;
            }
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
        let effects = self.session.say(frame::new_id(), text, to);
        self.perform(effects).await
    }

    fn leave(&mut self) -> Result<()> {
        self.leaving = Some(Instant::now());
        if self.console.is_terminal() && !self.session.is_settled() {
            self.note("waiting for what is not in the journal yet; Ctrl-C leaves at once")?;
        }
        Ok(())
    }

    async fn take_signal(&mut self, signal: Signal) -> Result<()> {
        match signal {
            Signal::Frame(text) => self.take_frame(&text).await,
            Signal::Down { why, wait } => {
                self.session.disconnected();
                self.give_up_in_time(&why)?;
                self.say_trouble(why, wait)
            }
            Signal::Connect => {
                self.link.connect(self.session.resume_after());
                Ok(())
            }
            Signal::Over(why) => bail!(why),
        }
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
            bail!(
                "{why}: gave up after {} attempts",
                ATTEMPTS * self.link.addresses()
            );
        }
        Ok(())
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

    async fn take_frame(&mut self, text: &str) -> Result<()> {
        let Ok(frame) = serde_json::from_str::<ServerFrame>(text) else {
            return Ok(());
        };
        if let ServerFrame::Bye {
            reconnect_after_ms, ..
        } = frame
        {
            self.link
                .said_bye(Duration::from_millis(reconnect_after_ms));
        }
        if matches!(frame, ServerFrame::Welcome { .. }) {
            self.troubles.clear();
            self.attempts_left = None;
        }
        if self.session.is_repeat(&frame) {
            return Ok(());
        }
        if self.view.is_json() {
            self.console.print(&format!("{text}\n"))?;
        }
        let effects = self.session.take(frame);
        self.perform(effects).await
    }

    async fn perform(&mut self, effects: Vec<Effect>) -> Result<()> {
        let mut output = String::new();
        for effect in effects {
            match effect {
                Effect::Send(frame) => self.link.send(&frame).await,
                Effect::Rejoin => self.link.give_up("an event was missing"),
                Effect::RetryIn(delay) => self.retry_at = Some(Instant::now() + delay),
                Effect::Show(line) => {
                    self.refused += u64::from(matches!(line, Line::Rejected { .. }));
                    if self.view.is_note(&line) {
                        self.console.print(&std::mem::take(&mut output))?;
                        self.note(&self.view.note_of(&line))?;
                    } else {
                        self.view.render(&line, &mut output);
                    }
                }
            }
        }
        self.console.print(&output)
    }

    /// Something about the connection or the client: between the messages on a screen, on stderr
    /// beside a pipe.
    fn note(&mut self, text: &str) -> Result<()> {
        let text = self.view.note(text);
        self.console.note(&text)
    }

    fn refresh_prompt(&mut self) {
        let state = self.link.state();
        self.console
            .prompt(self.view.prompt(&state, self.session.undecided()));
    }
}
