//! `safe-chat operators`: the file of those who may manage nodes (`ops.operators_file`).

use super::stdout::print;
use crate::{
    ops::accounts::{Role, check_name, hashed, line},
    passphrase,
};
use clap::{Args, Subcommand};

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
    let password = passphrase::new("password", |_| Ok(()))?;
    let hash = hashed(&name, &password)?;
    print(&format!("{}\n", line(&name, role, &hash))).map(drop)
}
