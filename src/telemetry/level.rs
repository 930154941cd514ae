//! What `log.level` may be: a level, or a list of directives as the filter library takes them,
//! checked more strictly. The library takes a misspelt level for the name of a target, and then
//! nothing is logged.

use tracing_subscriber::EnvFilter;

/// Names of levels, most quiet first; 0 to 5 mean the same.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
/// What other programs call a level, where that is not the nearest by spelling.
const ELSEWHERE: [(&str, &str); 10] = [
    ("all", "trace"),
    ("critical", "error"),
    ("fatal", "error"),
    ("fine", "debug"),
    ("none", "off"),
    ("notice", "info"),
    ("quiet", "off"),
    ("severe", "error"),
    ("silent", "off"),
    ("verbose", "debug"),
];

/// Libraries whose warnings concern an operator, and are about no client: of the bus, and of the
/// collector of traces. All others are silent unless a directive names them. Those that read what
/// clients send would fill the log with it (OpenMLS tells an extension of a leaf that it refuses as
/// an error, byte by byte); what of the driver of Cassandra concerns an operator the node says
/// itself (`journal/cassandra/driver/watch.rs`).
const LIBRARIES: [&str; 2] = ["async_nats", "opentelemetry"];

/// What operators did is logged whatever the level is, unless nothing is: it is no matter of how
/// much somebody wants to read.
const AUDIT: &str = "safe_chat::audit";

/// The filter that a text asks for.
pub(super) fn filter(text: &str) -> Result<EnvFilter, String> {
    let directives: Vec<_> = text
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
        .collect();
    for directive in &directives {
        check(directive)?;
    }
    if directives.is_empty() {
        return Err(format!("log.level is empty: use {}", names()));
    }
    // A level alone is meant for this program; the last one counts.
    let own = directives.iter().rev().find_map(|one| level(one));
    let named = directives.iter().filter(|one| level(one).is_none());
    let mut filter = of_all(own.unwrap_or("info"));
    for directive in named {
        filter = format!("{filter},{directive}");
    }
    let is_silent = directives.iter().any(|one| level(one) == Some("off"));
    let filter = match is_silent || text.contains(AUDIT) {
        true => filter,
        false => format!("{filter},{AUDIT}=info"),
    };
    let invalid = |error| {
        format!(
            "log.level `{text}` is neither a level nor a filter ({error}): use {}",
            names()
        )
    };
    EnvFilter::builder().parse(filter).map_err(invalid)
}

/// What a level of this program means for all.
fn of_all(own: &str) -> String {
    if own == "off" {
        return own.into();
    }
    let loudest = if own == "error" { "error" } else { "warn" };
    let libraries = LIBRARIES.map(|name| format!("{name}={loudest}"));
    format!("off,{},safe_chat={own}", libraries.join(","))
}

/// Refuses a directive with an unknown level. A target may be any.
fn check(directive: &str) -> Result<(), String> {
    // `target`, `target[span{field=value}]`, each with `=level` or without.
    let after_span = directive.rfind(']').map_or(0, |end| end + 1);
    let (target, wanted) = match directive[after_span..].split_once('=') {
        Some((target, wanted)) => (target, Some(wanted)),
        None => (directive, None),
    };
    match wanted {
        Some(wanted) if level(wanted).is_none() => Err(unknown(wanted)),
        Some(_) => Ok(()),
        None if level(target).is_some() || target.contains(['_', ':', '[']) => Ok(()),
        // A word alone should be a level; the library would take it for the name of a target.
        None => Err(unknown(target)),
    }
}

/// The level that a word names, if it names one.
fn level(word: &str) -> Option<&'static str> {
    let by_number = word.parse().ok().and_then(|n: usize| LEVELS.get(n));
    let by_name = || LEVELS.iter().find(|name| name.eq_ignore_ascii_case(word));
    by_number.or_else(by_name).copied()
}

fn unknown(word: &str) -> String {
    let lower = word.to_lowercase();
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == lower);
    let likeness = |name: &&str| strsim::jaro_winkler(&lower, name);
    let nearest = || {
        let by_likeness = |a: &&str, b: &&str| likeness(a).total_cmp(&likeness(b));
        LEVELS.into_iter().max_by(by_likeness)
    };
    let hint = elsewhere
        .map(|(_, name)| *name)
        .or_else(|| nearest().filter(|name| likeness(name) > 0.6))
        .map_or_else(String::new, |name| format!(" (did you mean {name}?)"));
    format!(
        "log.level: `{word}` is not a level{hint}: use {}, or TARGET=LEVEL for a part of the program",
        names()
    )
}

fn names() -> String {
    LEVELS.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_directive_with_a_level_is_accepted() {
        for good in [
            "info",
            "INFO",
            " Warn ",
            "off",
            "3",
            "info,safe_chat::writer=debug",
            "info, safe_chat=debug ,",
            "async_nats=trace",
            "no_such_target=5",
            "safe_chat::writer",
            "async_nats",
            "warn,[span]=debug",
            "safe_chat[span{shard=3}]=TRACE",
            "safe_chat[span]",
        ] {
            assert!(filter(good).is_ok(), "{good}: {:?}", filter(good).err());
        }
    }

    #[test]
    fn an_unknown_level_is_refused_with_the_names_and_the_nearest() {
        for (bad, word, nearest) in [
            ("warning", "`warning`", "warn"),
            ("WARNING", "`WARNING`", "warn"),
            ("inf", "`inf`", "info"),
            ("info,warning", "`warning`", "warn"),
            ("info,safe_chat=loud", "`loud`", ""),
            ("safe_chat::writer=verbose", "`verbose`", "debug"),
            ("safe_chat[span]=debg", "`debg`", "debug"),
            ("critical", "`critical`", "error"),
            ("true", "`true`", ""),
            ("6", "`6`", ""),
            ("-1", "`-1`", ""),
            ("safe_chat=", "``", ""),
            ("=info,loud", "`loud`", ""),
        ] {
            let why = filter(bad).unwrap_err();
            let named = nearest.is_empty() || why.contains(&format!("did you mean {nearest}?"));
            assert!(why.contains(word) && named, "{bad}: {why}");
            assert!(
                why.contains("off, error, warn, info, debug, trace"),
                "{why}"
            );
        }
        for bad in [
            "",
            " , ",
            "loud=very=much",
            "info,[span",
            "safe_chat[span{]=info",
        ] {
            assert!(filter(bad).unwrap_err().contains("log.level"), "{bad}");
        }
    }

    #[test]
    fn what_operators_did_is_logged_unless_nothing_is() {
        let shown = |text| filter(text).unwrap().to_string();
        for text in ["error", "warn", "info", "warn,safe_chat::writer=debug"] {
            assert!(shown(text).contains("safe_chat::audit=info"), "{text}");
        }
        assert!(!shown("off").contains("audit"));
        assert!(shown("info,safe_chat::audit=off").contains("safe_chat::audit=off"));
    }

    #[test]
    fn a_filter_without_a_level_of_its_own_silences_nothing() {
        let shown = |text| filter(text).unwrap().to_string();
        assert!(shown("async_nats=trace").contains("safe_chat=info"));
        assert!(!shown("off,async_nats=trace").contains("safe_chat"));
        assert!(shown("debug").contains("safe_chat=debug"));
    }

    /// As much as a level says of this program, a library is heard only if it is named, or if it
    /// speaks of no client.
    #[test]
    fn libraries_that_read_what_clients_send_are_silent_unless_they_are_named() {
        let logged = |text: &str| {
            let file = std::sync::Arc::new(tempfile::tempfile().unwrap());
            let log = tracing_subscriber::fmt()
                .with_env_filter(filter(text).unwrap())
                .with_writer(file.clone())
                .with_ansi(false)
                .finish();
            tracing::subscriber::with_default(log, || {
                macro_rules! errors {
                    ($($target:literal)*) => {$(tracing::error!(target: $target, $target);)*};
                }
                errors! {
                    "openmls::treesync::node::leaf_node" "openmls_rust_crypto" "hpke_rs" "tls_codec"
                    "tungstenite::protocol" "tokio_tungstenite" "hyper::proto" "hyper_util" "axum"
                    "multer" "rustls::msgs" "scylla::client" "async_nats::connector"
                    "opentelemetry" "safe_chat::gateway"
                }
            });
            let mut text = String::new();
            std::io::Seek::rewind(&mut &*file).unwrap();
            std::io::Read::read_to_string(&mut &*file, &mut text).unwrap();
            let last = |line: &str| line.split(": ").last().unwrap_or_default().to_owned();
            text.lines().map(last).collect::<Vec<_>>()
        };
        let heard = [
            "async_nats::connector",
            "opentelemetry",
            "safe_chat::gateway",
        ];
        for level in [
            "error",
            "warn",
            "info",
            "debug",
            "trace",
            "info,safe_chat::writer=debug",
            "safe_chat::writer=debug",
        ] {
            assert_eq!(logged(level), heard, "{level}");
        }
        assert_eq!(
            logged("warn,openmls=error,hpke_rs=debug").len(),
            heard.len() + 3
        );
        assert_eq!(logged("off,scylla=warn"), ["scylla::client"]);
    }
}
