//! A terminal in raw mode: keys go to the `editor`, the `screen` keeps its line below what is
//! printed. Whatever ends the client, the terminal is given back as it was.

use std::io::{self, Write as _};
use std::task::Poll;

use anyhow::{Context as _, Result};
use crossterm::QueueableCommand;
use crossterm::cursor::MoveTo;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste, Event, EventStream};
use crossterm::terminal::{self, Clear, ClearType};
use futures::{StreamExt as _, poll};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::console::Input;
use super::editor::{Editor, Outcome};
use super::screen::{Prompt, Screen};

/// See the module.
pub(super) struct Terminal {
    events: EventStream,
    /// The system, or the end of the terminal itself, asks the client to go.
    told_to_go: [Signal; 4],
    editor: Editor,
    screen: Screen,
    prompt: Prompt,
    /// The drawing is not what the editor holds.
    stale: bool,
    ended: bool,
}

impl Terminal {
    /// Takes the terminal over until it is dropped.
    pub(super) fn open(prompt: Prompt) -> Result<Terminal> {
        terminal::enable_raw_mode().context("cannot use this terminal")?;
        let mut terminal = Terminal {
            events: EventStream::new(),
            told_to_go: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::quit())?,
                signal(SignalKind::interrupt())?,
            ],
            editor: Editor::default(),
            screen: Screen::new(terminal::size().unwrap_or_default()),
            prompt,
            stale: true,
            ended: false,
        };
        terminal.write(|_, out| out.queue(EnableBracketedPaste).map(|_| ()))?;
        terminal.show()?;
        Ok(terminal)
    }

    /// What the person does next. Draws only when no further key waits, so that text typed by a
    /// program costs one drawing. Cancel safe.
    pub(super) async fn read(&mut self) -> Result<Input> {
        loop {
            // Polled as this task: the stream wakes whoever polled it first.
            let event = match poll!(self.events.next()) {
                Poll::Ready(event) => event,
                Poll::Pending => {
                    self.show()?;
                    let [terminate, hangup, quit, interrupt] = &mut self.told_to_go;
                    tokio::select! {
                        biased;
                        _ = terminate.recv() => return Ok(Input::Interrupt),
                        _ = hangup.recv() => return Ok(Input::Interrupt),
                        _ = quit.recv() => return Ok(Input::Interrupt),
                        _ = interrupt.recv() => return Ok(Input::Interrupt),
                        event = self.events.next() => event,
                    }
                }
            };
            let Some(event) = event else {
                return Ok(Input::Interrupt);
            };
            if let Some(input) = self.take(event.context("cannot read from this terminal")?)? {
                return Ok(input);
            }
        }
    }

    fn take(&mut self, event: Event) -> Result<Option<Input>> {
        self.stale = true;
        let outcome = match event {
            Event::Key(key) => self.editor.key(key),
            Event::Paste(block) => self.editor.paste(&block),
            Event::Resize(columns, lines) => {
                self.screen.resize(columns, lines);
                Outcome::Edited
            }
            _ => Outcome::Edited,
        };
        match outcome {
            Outcome::Edited => {}
            Outcome::Redraw => self.clear()?,
            Outcome::Refused(why) => self.print(&format!("{why}\n"))?,
            Outcome::Line(line) => return Ok(Some(Input::Line(line))),
            Outcome::End if !self.ended => {
                self.ended = true;
                return Ok(Some(Input::End));
            }
            Outcome::End | Outcome::Interrupt => return Ok(Some(Input::Interrupt)),
        }
        Ok(None)
    }

    pub(super) fn print(&mut self, lines: &str) -> Result<()> {
        self.stale = false;
        self.write(|terminal, out| {
            terminal.screen.erase(out)?;
            terminal.screen.print(lines, out);
            terminal.draw(out)
        })
    }

    pub(super) fn prompt(&mut self, new: Prompt) {
        self.stale |= self.prompt != new;
        self.prompt = new;
    }

    fn show(&mut self) -> Result<()> {
        if !std::mem::take(&mut self.stale) {
            return Ok(());
        }
        self.write(|terminal, out| {
            terminal.screen.erase(out)?;
            terminal.draw(out)
        })
    }

    fn clear(&mut self) -> Result<()> {
        self.write(|terminal, out| {
            terminal.screen.erase(out)?;
            out.queue(Clear(ClearType::All))?.queue(MoveTo(0, 0))?;
            terminal.draw(out)
        })
    }

    fn draw(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let (text, cursor) = (self.editor.text(), self.editor.cursor());
        self.screen.draw(&self.prompt, text, cursor, out)
    }

    /// One write for all, so that the terminal never shows half a drawing.
    fn write(
        &mut self,
        fill: impl FnOnce(&mut Self, &mut Vec<u8>) -> io::Result<()>,
    ) -> Result<()> {
        let mut out = Vec::new();
        fill(self, &mut out)?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out)?;
        Ok(stdout.flush()?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing back.
        let _ = self.write(|terminal, out| {
            terminal.screen.erase(out)?;
            out.queue(DisableBracketedPaste).map(|_| ())
        });
        let _ = terminal::disable_raw_mode();
    }
}
