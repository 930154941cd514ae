//! The person's side: a line edited in a terminal while messages appear above it, or plain lines
//! through a pipe.

use std::io::{self, BufRead, ErrorKind, Write};
use std::thread;

use anyhow::{Context, Result};
use tokio::sync::mpsc;

use super::screen::Prompt;
use super::terminal::Terminal;

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
    Terminal(Box<Terminal>),
    Pipe {
        lines: mpsc::Receiver<String>,
        ended: bool,
        /// Nobody reads stdout any more.
        unread: bool,
    },
}

impl Console {
    /// Takes the terminal over until it is dropped.
    pub(super) fn terminal(prompt: Prompt) -> Result<Console> {
        Ok(Console::Terminal(Box::new(Terminal::open(prompt)?)))
    }

    /// Reads stdin on a thread of its own: a read that waits for ever must not keep the process
    /// alive.
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
            unread: false,
        }
    }

    /// Whether what is printed cannot be read by anybody any more (`| head`).
    pub(super) fn is_unread(&self) -> bool {
        matches!(self, Console::Pipe { unread: true, .. })
    }

    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Console::Terminal(_))
    }

    /// The next line. A terminal is served even while no line is wanted; a pipe is left alone
    /// then. Cancel safe.
    pub(super) async fn read(&mut self, wanted: bool) -> Result<Input> {
        match self {
            Console::Terminal(terminal) => terminal.read().await,
            Console::Pipe { lines, ended, .. } if wanted && !*ended => match lines.recv().await {
                Some(line) => Ok(Input::Line(line)),
                None => {
                    *ended = true;
                    Ok(Input::End)
                }
            },
            Console::Pipe { .. } => std::future::pending().await,
        }
    }

    /// Lines of the room.
    pub(super) fn print(&mut self, lines: &str) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        match self {
            Console::Terminal(terminal) => terminal.print(lines)?,
            Console::Pipe { unread: true, .. } => {}
            Console::Pipe { unread, .. } => {
                let mut stdout = io::stdout().lock();
                match stdout
                    .write_all(lines.as_bytes())
                    .and_then(|()| stdout.flush())
                {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => *unread = true,
                    written => written.context("stdout cannot be written")?,
                }
            }
        }
        Ok(())
    }

    /// A line about the client itself. Beside a pipe it is nothing that anybody must read.
    pub(super) fn note(&mut self, line: &str) -> Result<()> {
        match self {
            Console::Terminal(_) => self.print(line),
            Console::Pipe { .. } => {
                drop(io::stderr().lock().write_all(line.as_bytes()));
                Ok(())
            }
        }
    }

    pub(super) fn prompt(&mut self, new: Prompt) {
        if let Console::Terminal(terminal) = self {
            terminal.prompt(new);
        }
    }
}
