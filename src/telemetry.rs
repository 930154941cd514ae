//! Logs: to stderr, for people or as JSON, filtered by level. No message body, key or password is ever logged, by any part.

use serde::{Deserialize, Serialize};
use std::io::IsTerminal;
use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, filter::filter_fn, fmt, layer::SubscriberExt, util::SubscriberInitExt,
};

/// How logs look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One readable line each.
    #[default]
    Pretty,
    /// One JSON object per line.
    Json,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// How logs look. Default: pretty.
    pub format: Format,
    /// What is logged: error, warn, info, debug, trace, or more finely such as `info,safe_chat::writer=debug`. Default: info.
    pub level: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::Pretty,
            level: "info".into(),
        }
    }
}

impl Config {
    /// Says what is wrong, if something is.
    pub fn validate(&self) -> Result<(), String> {
        self.filter().map(|_| ())
    }

    /// A level alone is meant for this program; of its libraries only warnings are shown then, except when debugging everything.
    fn filter(&self) -> Result<EnvFilter, String> {
        let level = self.level.trim();
        let directives = match level.to_lowercase().as_str() {
            quiet @ ("off" | "error" | "warn") => quiet.to_owned(),
            own @ ("info" | "debug" | "trace") => format!("warn,safe_chat={own}"),
            _ => level.to_owned(),
        };
        let invalid = |error| {
            format!(
                "log.level `{level}` is not a level or filter: {error}; use error, warn, info, debug or trace"
            )
        };
        EnvFilter::builder().parse(directives).map_err(invalid)
    }
}

/// Starts logging for the rest of the process. Called once, by `main`.
pub fn start(config: &Config) -> Result<(), String> {
    let builder = fmt()
        .with_env_filter(config.filter()?)
        .with_writer(std::io::stderr);
    let started = match config.format {
        Format::Pretty => builder
            .with_ansi(std::io::stderr().is_terminal())
            .compact()
            .with_target(false)
            .finish()
            .with(filter_fn(is_safe))
            .try_init(),
        Format::Json => builder
            .json()
            .flatten_event(true)
            .finish()
            .with(filter_fn(is_safe))
            .try_init(),
    };
    started.map_err(|error| format!("logging is running already: {error}"))
}

/// At level trace, libraries log what goes over their connections (the WebSocket library: every message). No setting may show that.
fn is_safe(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::DEBUG || metadata.target().starts_with("safe_chat")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Seek};

    #[test]
    fn libraries_never_log_at_level_trace() {
        let file = std::sync::Arc::new(tempfile::tempfile().unwrap());
        let everything = fmt()
            .with_env_filter("trace")
            .with_writer(file.clone())
            .finish()
            .with(filter_fn(is_safe));
        tracing::subscriber::with_default(everything, || {
            tracing::trace!(target: "tungstenite::protocol", "Received message");
            tracing::debug!(target: "tungstenite::protocol", "Received close");
            tracing::trace!(target: "safe_chat::gateway", "own words");
        });
        let mut logged = String::new();
        (&*file).rewind().unwrap();
        (&*file).read_to_string(&mut logged).unwrap();
        assert!(
            !logged.contains("message") && logged.contains("close") && logged.contains("own words"),
            "{logged}"
        );
    }

    #[test]
    fn levels_and_filters_are_accepted_and_nonsense_is_not() {
        let with = |level: &str| {
            Config {
                level: level.into(),
                ..Config::default()
            }
            .validate()
        };
        for good in [
            "info",
            "INFO",
            "debug",
            "off",
            "info,safe_chat::writer=debug",
            "async_nats=trace",
        ] {
            assert_eq!(with(good), Ok(()), "{good}");
        }
        assert!(
            with("loud=very=much")
                .unwrap_err()
                .contains("loud=very=much")
        );
    }
}
