//! `safe-chat operators`: the file of those who may manage nodes (`ops.operators_file`).

use super::stdout::print;
use crate::ops::accounts::{Role, check_name, hashed, line};
use anyhow::{Context, bail, ensure};
use clap::{Args, Subcommand};
use std::io::{self, BufRead, IsTerminal, Read};

/// Bytes of a password that are read from stdin, at most.
const MOST: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print the line of an operator for the file, made of a password that is typed in, or read
    /// from stdin
    Hash(Operator),
}

#[derive(Debug, Args)]
pub(super) struct Operator {
    /// Name of the operator
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// What it may do: read (look), or operate (everything)
    #[arg(value_name = "ROLE")]
    role: Role,
}

fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    let Command::Hash(Operator { name, role }) = command;
    let password = match io::stdin().is_terminal() {
        true => typed()?,
        false => piped()?,
    };
    let hash = hashed(&name, &password)?;
    print(&format!("{}\n", line(&name, role, &hash))).map(drop)
}

/// Asked for twice, and not shown.
fn typed() -> anyhow::Result<String> {
    let ask = |prompt| rpassword::prompt_password(prompt).context("the password cannot be read");
    let password = ask("Password: ")?;
    if password != ask("The same again: ")? {
        bail!("the two are not the same");
    }
    Ok(password)
}

/// The first line, which must be the only one.
fn piped() -> anyhow::Result<String> {
    let mut lines = io::stdin().lock().take(MOST).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()));
    // The text of an error could quote bytes of it.
    let Ok(first) = first else {
        bail!("the password on stdin cannot be read: is it UTF-8?");
    };
    ensure!(
        lines.next().is_none(),
        "stdin has more than one line: it must be the password alone"
    );
    Ok(first)
}
