//! Streams and buckets as nats/*.json define them, for any prefix: made if they are missing, checked if they are there.

use super::{Config, api::StreamInfo, link::Link, subjects::Subjects};
use crate::bus::Error;
use serde_json::{Value, json};
use std::time::Duration;

/// Every definition, written for prefix `chat` and one replica.
const DEFINITIONS: [&str; 6] = [
    include_str!("../../../nats/cmd.json"),
    include_str!("../../../nats/evt.json"),
    include_str!("../../../nats/nodes.json"),
    include_str!("../../../nats/shards.json"),
    include_str!("../../../nats/sessions.json"),
    include_str!("../../../nats/snapshots.json"),
];

/// What must be as defined. Anything else (replicas, compression, placement, description ...) is the operator's.
const MATTERS: [&str; 9] = [
    "subjects",
    "retention",
    "discard",
    "storage",
    "max_msgs_per_subject",
    "allow_direct",
    "republish",
    "deny_purge",
    "sealed",
];

/// Where it only matters whether there is a bound.
const BOUNDS: [&str; 3] = ["max_bytes", "max_msgs", "max_age"];

/// How long making a stream may take: in a cluster, its replicas agree on a leader first.
const CREATE: Duration = Duration::from_secs(10);

/// Makes or checks everything.
pub(super) async fn ensure_all(
    link: &Link,
    config: &Config,
    subjects: &Subjects,
) -> Result<(), Error> {
    for definition in DEFINITIONS {
        ensure(link, &adapt(definition, config, subjects)).await?;
    }
    Ok(())
}

/// A definition for the configured prefix, replicas and sizes.
fn adapt(definition: &str, config: &Config, subjects: &Subjects) -> Value {
    let mut wanted: Value =
        serde_json::from_str(&subjects.rename(definition)).expect("a definition in nats/ is JSON");
    wanted["num_replicas"] = config.replicas.into();
    if wanted["name"] == subjects.stream("CMD").as_str() {
        wanted["max_bytes"] = config.command_bytes.into();
    }
    if let (Some(bytes), true) = (
        config.event_bytes,
        wanted["name"] == subjects.stream("EVT").as_str(),
    ) {
        wanted["max_bytes"] = bytes.into();
    }
    wanted
}

async fn ensure(link: &Link, wanted: &Value) -> Result<(), Error> {
    let name = wanted["name"].as_str().expect("a definition has a name");
    let what = format!("looking at stream {name}");
    let missing = || {
        Error::Unusable(format!(
            "{what}: JetStream does not answer; start nats-server with --jetstream"
        ))
    };
    let found = link
        .api::<StreamInfo>(&format!("STREAM.INFO.{name}"), &json!({}))
        .await;
    let found = found.map_err(|failure| match failure {
        super::link::Failure::NoResponders => missing(),
        other => other.of_read(&what),
    })?;
    match found {
        Ok(info) => check(name, wanted, &info.config),
        Err(refusal) if refusal.is_not_found() => create(link, name, wanted).await,
        Err(refusal) => Err(refusal.of_read(&what)),
    }
}

/// Creating what another node has just created in the same way succeeds.
async fn create(link: &Link, name: &str, wanted: &Value) -> Result<(), Error> {
    let what = format!("creating stream {name}");
    let answer = link
        .api_within::<StreamInfo>(CREATE, &format!("STREAM.CREATE.{name}"), wanted)
        .await
        .map_err(|failure| failure.of_write(&what))?;
    answer.map(drop).map_err(|refusal| refusal.of_read(&what))
}

fn check(name: &str, wanted: &Value, found: &Value) -> Result<(), Error> {
    let unbounded = |value: &Value| value.as_i64().unwrap_or(0) <= 0;
    let empty = |value: &Value| value.is_null() || *value == json!(false);
    let same =
        |key: &&str| wanted[key] == found[key] || (empty(&wanted[key]) && empty(&found[key]));
    let bounded_alike = |key: &&str| unbounded(&wanted[key]) == unbounded(&found[key]);
    let differs = MATTERS
        .iter()
        .find(|key| !same(key))
        .or_else(|| BOUNDS.iter().find(|key| !bounded_alike(key)));
    let Some(key) = differs else { return Ok(()) };
    Err(Error::Unusable(format!(
        "stream {name} cannot be used: its `{key}` is {} where {} is needed; change it (nats stream edit {name}) or choose another bus.prefix",
        found[key], wanted[key]
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::Shards;

    fn wanted() -> Value {
        let subjects = Subjects::new("t1x", Shards::new(4).unwrap()).unwrap();
        adapt(DEFINITIONS[1], &Config::default(), &subjects)
    }

    #[test]
    fn a_definition_takes_the_prefix_on() {
        assert_eq!(wanted()["name"], "T1X_EVT");
        assert_eq!(
            wanted()["republish"],
            json!({ "src": "t1x.evt.>", "dest": "t1x.live.>" })
        );
    }

    #[test]
    fn a_difference_that_matters_is_named_and_others_are_the_operators() {
        let mut found = wanted();
        found["num_replicas"] = 3.into();
        found["compression"] = "s2".into();
        assert!(check("T1X_EVT", &wanted(), &found).is_ok());
        found["max_age"] = 1_000_000.into();
        let error = check("T1X_EVT", &wanted(), &found).unwrap_err().to_string();
        assert!(
            error.contains("`max_age`") && error.contains("T1X_EVT"),
            "{error}"
        );
    }
}
