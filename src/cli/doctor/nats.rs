//! The nats-servers: version, streams, syncing, the largest message, clock.

use super::{Finding, State, clock};
use crate::{
    app::connect,
    bus::nats::{Examined, Stream, Sync},
    config::Config,
};

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    match connect::examine_bus(config).await {
        Ok(found) => vec![
            server(&found),
            streams(&found, config),
            reach(&found),
            sync(&found),
            payload(&found),
            clock("nats: clock", "nats-server", found.ahead_ms),
        ],
        Err(error) => vec![Finding::new(
            "nats: server",
            State::Fail,
            format!("{error:#}"),
        )],
    }
}

fn server(found: &Examined) -> Finding {
    let (check, version) = ("nats: server", &found.version);
    match &found.too_old {
        Some(oldest) => Finding::new(
            check,
            State::Fail,
            format!("nats-server {version} is too old: install {oldest} or newer"),
        ),
        None => Finding::new(check, State::Ok, format!("nats-server {version}")),
    }
}

fn streams(found: &Examined, config: &Config) -> Finding {
    let check = "nats: streams";
    let named = |state: fn(&Stream) -> Option<&String>| -> Vec<&str> {
        let streams = found.streams.iter();
        streams
            .filter_map(|(_, stream)| state(stream).map(String::as_str))
            .collect()
    };
    let unusable = named(|stream| match stream {
        Stream::Unusable(why) => Some(why),
        _ => None,
    });
    let weak = named(|stream| match stream {
        Stream::Weak(why) => Some(why),
        _ => None,
    });
    let missing: Vec<&str> = found
        .streams
        .iter()
        .filter(|(_, stream)| *stream == Stream::Missing)
        .map(|(name, _)| name.as_str())
        .collect();
    let copies = found.streams.iter().filter_map(|(_, stream)| match stream {
        Stream::Fits(copies) => Some(*copies),
        _ => None,
    });
    if !unusable.is_empty() {
        return Finding::new(check, State::Fail, unusable.join("; "));
    }
    if missing.len() == found.streams.len() {
        let message = "none yet: the first node makes them";
        return Finding::new(check, State::Ok, message);
    }
    if !missing.is_empty() {
        let message = format!(
            "{} missing: a node that runs or starts makes what can be made again, and says what \
             to do about the rest",
            missing.join(", ")
        );
        return Finding::new(check, State::Warn, message);
    }
    if !weak.is_empty() {
        return Finding::new(check, State::Warn, weak.join("; "));
    }
    let copies = copies.min().unwrap_or(config.bus.replicas as u64);
    let all = format!(
        "{} as they must be, {copies} copies each",
        found.streams.len()
    );
    match copies {
        3.. => Finding::new(check, State::Ok, all),
        _ => Finding::new(
            check,
            State::Warn,
            format!(
                "{all}: a lost disk loses what is in them; run three nats-servers and set \
                 bus.replicas to 3"
            ),
        ),
    }
}

/// Whether what a gateway publishes gets to the streams, from the account of its login.
fn reach(found: &Examined) -> Finding {
    let check = "nats: imports";
    match &found.unreached {
        Some(why) => Finding::new(check, State::Fail, why),
        None => Finding::new(
            check,
            State::Ok,
            "what a node publishes gets to the streams",
        ),
    }
}

fn sync(found: &Examined) -> Finding {
    let check = "nats: sync";
    let advice = "set `sync_interval: always` in the jetstream block of every nats-server";
    match found.sync {
        Some(Sync::Always) => Finding::new(check, State::Ok, "on a disk before it is acknowledged"),
        Some(Sync::Every(time)) => Finding::new(
            check,
            State::Warn,
            format!(
                "on a disk every {time:?}: servers that lose their power forget what was \
                 acknowledged since; {advice}"
            ),
        ),
        None => Finding::new(
            check,
            State::Warn,
            format!(
                "cannot be seen with this login: http://SERVER:8222/jsz?config=1 must say \
                 `sync_always: true`; else {advice}"
            ),
        ),
    }
}

fn payload(found: &Examined) -> Finding {
    let (check, most, needed) = ("nats: max_payload", found.max_payload, found.needed_payload);
    match most < needed {
        true => Finding::new(
            check,
            State::Fail,
            format!(
                "{most} bytes, fewer than {needed}: larger messages are refused; set it to 1MB or \
                 more"
            ),
        ),
        false => Finding::new(check, State::Ok, format!("{most} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(streams: &[Stream]) -> Examined {
        let named = |(n, stream): (usize, &Stream)| (format!("S{n}"), stream.clone());
        Examined {
            version: "2.10.9".into(),
            too_old: Some("2.11".into()),
            max_payload: 1000,
            needed_payload: 1001,
            sync: Some(Sync::Always),
            streams: streams.iter().enumerate().map(named).collect(),
            unreached: None,
            ahead_ms: Some(0),
        }
    }

    #[test]
    fn a_server_that_will_not_do_fails() {
        let found = found(&[]);
        assert_eq!(server(&found).state, State::Fail);
        assert_eq!(payload(&found).state, State::Fail);
        assert_eq!(sync(&found).state, State::Ok);
    }

    #[test]
    fn the_worst_stream_is_told() {
        let judged = |all: &[Stream]| streams(&found(all), &Config::default());
        let fits = Stream::Fits(3);
        assert_eq!(judged(&[fits.clone(), fits.clone()]).state, State::Ok);
        assert_eq!(judged(&[fits.clone(), Stream::Fits(1)]).state, State::Warn);
        assert_eq!(judged(&[Stream::Missing, Stream::Missing]).state, State::Ok);
        let missing = judged(&[fits.clone(), Stream::Missing]);
        assert_eq!(missing.state, State::Warn);
        assert!(missing.message.contains("S1"), "{}", missing.message);
        let weak = judged(&[fits.clone(), Stream::Weak("two copies".into())]);
        assert_eq!((weak.state, &*weak.message), (State::Warn, "two copies"));
        let unusable = judged(&[
            fits,
            Stream::Weak("w".into()),
            Stream::Unusable("sealed".into()),
        ]);
        assert_eq!(
            (unusable.state, &*unusable.message),
            (State::Fail, "sealed")
        );
    }
}
