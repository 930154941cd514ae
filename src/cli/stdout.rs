//! What short commands print. A reader that has seen enough (`| head`) is no error; a disk that is
//! full is one.

use anyhow::Context;
use std::{
    io::{self, ErrorKind, Write},
    ops::ControlFlow,
};

/// Prints to stdout, at once. `Break`: nobody reads it any more.
pub(super) fn print(text: &str) -> anyhow::Result<ControlFlow<()>> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => Err(error).context("stdout cannot be written"),
    }
}
