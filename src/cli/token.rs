//! `safe-chat token`: signs a token, for tries and tests. In production an issuer does, which knows
//! its users.

use super::stdout::print;
use crate::{
    access::{Claims, Pattern, sign},
    room::UserId,
    secret,
};
use anyhow::{Context, anyhow};
use clap::Args;
use std::{
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

/// What `safe-chat token` can be told.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// File of the private key (PEM: RSA, P-256 or Ed25519), or of the secret (32 bytes or more)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Whom the token lets in (sub)
    #[arg(long, value_name = "NAME", allow_hyphen_values = true, value_parser = user)]
    user: String,
    /// Where: a room, or a pattern in which * stands for any characters; may be given several times
    #[arg(long, value_name = "ROOM", required = true, allow_hyphen_values = true, value_parser = room)]
    room: Vec<String>,
    /// What for: read, write, or both
    #[arg(
        long,
        value_name = "RIGHTS",
        value_delimiter = ',',
        default_value = "read,write"
    )]
    rights: Vec<String>,
    /// How long it counts, as 90s, 15m, 8h or 30d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = seconds)]
    expires: u64,
    /// Name of the key (kid), as the set of published keys has it
    #[arg(long, value_name = "NAME")]
    kid: Option<String>,
    /// For which service (aud)
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// By whom (iss)
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
}

fn user(text: &str) -> Result<String, String> {
    let user = UserId::parse(text).map_err(|why| why.to_string())?;
    Ok(user.to_string())
}

fn room(text: &str) -> Result<String, &'static str> {
    Pattern::parse(text).map(|_| text.to_owned())
}

fn seconds(text: &str) -> Result<u64, &'static str> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86400)];
    let found = units.into_iter().find_map(|(unit, seconds)| {
        let count: u32 = text.strip_suffix(unit)?.parse().ok()?;
        Some(u64::from(count) * seconds)
    });
    found.ok_or("write a number and s, m, h or d, as 15m")
}

pub(super) fn run(options: Options) -> anyhow::Result<()> {
    let path = options.key.display();
    let key = secret::read(&options.key).with_context(|| format!("{path} cannot be read"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let claims = Claims {
        sub: options.user,
        rooms: options.room,
        rights: options.rights,
        exp: now.context("the clock stands before 1970")?.as_secs() + options.expires,
        aud: options.audience,
        iss: options.issuer,
    };
    let token = sign(&claims, options.kid, &key);
    let token = token.map_err(|why| anyhow!("{path} cannot be used: {why}"))?;
    print(&format!("{token}\n")).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("90s", Ok(90)),
            ("15m", Ok(900)),
            ("8h", Ok(28_800)),
            ("30d", Ok(2_592_000)),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        for bad in ["", "s", "1", "-1s", "1.5h", "1w", "99999999999d"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
