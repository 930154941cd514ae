//! The person's side: a line edited in a terminal while messages appear above it, or plain lines through a pipe.

use std::io::{self, BufRead, Write};
use std::thread;

use anyhow::{Context, Result};
use rustyline_async::{Readline, ReadlineEvent, SharedWriter};
use tokio::sync::mpsc;

/// What the person did.
pub(super) enum Input {
    Line(String),
    /// Ctrl-D, or the end of the pipe.
    End,
    /// Ctrl-C.
    Interrupt,
}

/// Lines read ahead from a pipe. One is in the hands of the client already, so a few are enough.
const READ_AHEAD: usize = 16;

/// See the module.
pub(super) enum Console {
    Terminal {
        editor: Box<Readline>,
        screen: SharedWriter,
        prompt: String,
        ended: bool,
    },
    Pipe {
        lines: mpsc::Receiver<String>,
        ended: bool,
    },
}

impl Console {
    /// Takes the terminal over until it is dropped.
    pub(super) fn terminal(prompt: String) -> Result<Console> {
        let (mut editor, screen) =
            Readline::new(prompt.clone()).context("cannot use this terminal")?;
        editor.should_print_line_on(false, false);
        Ok(Console::Terminal {
            editor: Box::new(editor),
            screen,
            prompt,
            ended: false,
        })
    }

    /// Reads stdin on a thread of its own: a read that waits for ever must not keep the process alive.
    pub(super) fn pipe() -> Console {
        let (sender, lines) = mpsc::channel(READ_AHEAD);
        thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            let mut line = Vec::new();
            while stdin
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text = String::from_utf8_lossy(&line);
                let text = text.strip_suffix('\n').unwrap_or(&text);
                if sender
                    .blocking_send(text.strip_suffix('\r').unwrap_or(text).to_owned())
                    .is_err()
                {
                    return;
                }
                line.clear();
            }
        });
        Console::Pipe {
            lines,
            ended: false,
        }
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Console::Terminal { .. })
    }

    /// The next line. A terminal is served (keys, output) even while no line is wanted; a pipe is left alone then. Cancel safe.
    pub(super) async fn read(&mut self, wanted: bool) -> Result<Input> {
        match self {
            Console::Terminal { editor, ended, .. } => match editor.readline().await? {
                ReadlineEvent::Line(line) => {
                    if !line.trim().is_empty() {
                        editor.add_history_entry(line.clone());
                    }
                    Ok(Input::Line(line))
                }
                ReadlineEvent::Eof if !*ended => {
                    *ended = true;
                    Ok(Input::End)
                }
                ReadlineEvent::Eof | ReadlineEvent::Interrupted => Ok(Input::Interrupt),
            },
            Console::Pipe { lines, ended } if wanted && !*ended => match lines.recv().await {
                Some(line) => Ok(Input::Line(line)),
                None => {
                    *ended = true;
                    Ok(Input::End)
                }
            },
            Console::Pipe { .. } => std::future::pending().await,
        }
    }

    /// Lines of the room. One write per call: the editor's queue is bounded in writes and drained by [`Console::read`].
    pub(super) fn print(&mut self, lines: &str) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        match self {
            Console::Terminal { screen, .. } => screen.write_all(lines.as_bytes())?,
            Console::Pipe { .. } => io::stdout().lock().write_all(lines.as_bytes())?,
        }
        Ok(())
    }

    /// A line about the client itself.
    pub(super) fn note(&mut self, line: &str) -> Result<()> {
        match self {
            Console::Terminal { .. } => self.print(line),
            Console::Pipe { .. } => Ok(io::stderr().lock().write_all(line.as_bytes())?),
        }
    }

    pub(super) fn prompt(&mut self, new: &str) -> Result<()> {
        if let Console::Terminal { editor, prompt, .. } = self
            && prompt != new
        {
            new.clone_into(prompt);
            editor.update_prompt(new)?;
        }
        Ok(())
    }

    /// Everything printed is out, and the terminal is as it was.
    pub(super) fn finish(&mut self) -> Result<()> {
        match self {
            Console::Terminal { editor, .. } => Ok(editor.flush()?),
            Console::Pipe { .. } => Ok(io::stdout().lock().flush()?),
        }
    }
}
