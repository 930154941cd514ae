//! `safe-chat permissions`: what a login must be let do at the nats-servers, and what must cross
//! between the accounts there, and no more.

use super::stdout::print;
use crate::bus::nats::{Party, check_prefix, exports, imports, rights};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Who logs in: a gateway, a writer, a node that is both, or an operator who looks
    #[arg(long)]
    role: Party,
    /// Of the login, or of the account that it is in
    #[arg(long, value_name = "WHAT", default_value = "permissions")]
    print: Printed,
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

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Printed {
    /// What the login may publish and subscribe to
    Permissions,
    /// What the account of the login lets others have
    Exports,
    /// What the account of the login has of others
    Imports,
}

pub(super) fn run(options: &Options) -> anyhow::Result<()> {
    let Options {
        role, node, prefix, ..
    } = options;
    check_prefix(prefix)?;
    let printed = match options.print {
        Printed::Permissions => rights(prefix, *role, node),
        Printed::Exports => exports(prefix, *role),
        Printed::Imports => imports(prefix, *role),
    };
    print(&printed).map(drop)
}
