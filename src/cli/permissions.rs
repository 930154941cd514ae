//! `safe-chat permissions`: what a login must be let do at the nats-servers, and no more.

use super::stdout::print;
use crate::bus::nats::{Party, check_prefix, rights};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Who logs in: a gateway, a writer, a node that is both, or an operator who looks
    #[arg(long)]
    role: Party,
    /// The node that alone has this login; `*`: several nodes share it
    #[arg(
        long,
        value_name = "NAME",
        default_value = "*",
        allow_hyphen_values = true
    )]
    node: String,
    /// First part of the names of streams, buckets and subjects
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "chat",
        allow_hyphen_values = true
    )]
    prefix: String,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let Options { role, node, prefix } = options;
    check_prefix(prefix)?;
    print(&rights(prefix, *role, node)).map(drop)
}
