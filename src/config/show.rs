//! What `safe-chat config check` prints: every key, its value and where that came from.

use super::{Loaded, layers};
use crate::secret::HIDDEN;
use serde_json::Value;
use std::fmt::Write;

impl Loaded {
    /// The effective configuration as TOML, with the source of each value as a comment. Passwords
    /// are not shown.
    pub fn show(&self) -> String {
        let mut text = String::new();
        let mut section = "";
        let keys = layers::keys(&self.config);
        for (key, value) in &keys {
            let (in_section, name) = key.split_once('.').unwrap_or(("", key));
            if in_section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                let _ = writeln!(text, "{gap}[{in_section}]");
                section = in_section;
            }
            let source = self.sources.get(key).cloned().unwrap_or_default();
            let line = match value {
                Value::Null => format!("# {name} is not set"),
                value => format!("{name} = {}", shown(value)),
            };
            let _ = writeln!(text, "{line:<48} # {source}");
        }
        text
    }
}

pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => Value::String(without_credentials(text)).to_string(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(shown).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(table) => {
            let entries: Vec<_> = table
                .iter()
                .map(|(name, value)| format!("{} = {}", Value::from(name.as_str()), shown(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether a colon, if there is one, begins a port or stands in an IPv6 address.
fn ends_in_port(host: &str) -> bool {
    let host = host.trim_end_matches('/');
    let port = host.rsplit_once(':').map(|(_, port)| port);
    host.ends_with(']') || port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// A server's address without the user and password that may stand in it, or the query of a page:
/// `nats://user:password@host` -> `nats://(hidden)@host`, `https://host/keys?key=secret` ->
/// `https://host/keys?(hidden)`. Where a password may have been cut off from its host (a comma in
/// it), all is hidden.
pub(crate) fn without_credentials(address: &str) -> String {
    match address.split_once('?') {
        Some((page, _)) if page.starts_with("http://") || page.starts_with("https://") => {
            format!("{}?{HIDDEN}", without_login(page))
        }
        _ => without_login(address),
    }
}

fn without_login(address: &str) -> String {
    let (scheme, rest) = address
        .split_once("://")
        .map_or(("", address), |(_, rest)| {
            (&address[..address.len() - rest.len()], rest)
        });
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}{HIDDEN}@{host}"),
        None if !scheme.is_empty() && !ends_in_port(rest) => format!("{scheme}{HIDDEN}"),
        None => address.to_owned(),
    }
}
