//! What there is on the servers, for a command of an operator that looks at a cluster: it says what
//! it found, and makes nothing.

use super::{
    Config, definition,
    link::{Failure, Link},
    login::Access,
    settings,
    subjects::Subjects,
};
use crate::bus::{ClusterId, Error, Settings, Store};
use serde::Deserialize;
use serde_json::json;

/// The most names of streams that are looked through for clusters.
const NAMES: usize = 10_000;

/// The most prefixes that are told.
const TOLD: usize = 20;

/// The most clusters that are asked who they are.
const CLUSTERS: usize = 100;

/// What there is of a cluster.
pub enum Survey {
    /// It is there; `None`: its settings are missing, or cannot be read.
    Cluster(Option<Settings>),
    /// Nothing of it: which others are there, in words, and what to do.
    Nothing(String),
}

/// A page of the names of streams.
#[derive(Deserialize)]
struct Names {
    total: usize,
    #[serde(default)]
    streams: Option<Vec<String>>,
}

/// Looks for the cluster of a configuration. One attempt.
pub async fn survey(config: &Config) -> Result<Survey, Error> {
    let subjects = Subjects::new(&config.prefix, config.shards)?;
    let access = Access::open(config)?;
    let link = Link::open(config, &access, "survey", config.deadline, &subjects).await?;
    for definition in definition::definitions(config, &subjects) {
        let is_record = definition.store == Store::Shards;
        if is_record && definition.find(&link).await?.is_some() {
            return Ok(Survey::Cluster(settings::stored(&link, &subjects).await?));
        }
    }
    let mine = format!(
        "no cluster has the prefix {} (bus.prefix, --prefix)",
        config.prefix
    );
    let at = super::link::shown(&config.servers);
    Ok(Survey::Nothing(match prefixes(&link).await {
        Ok(others) if others.is_empty() => format!(
            "{mine} at {at}, and none has another: look at bus.servers (--nats), or whether the \
             server lost its streams"
        ),
        Ok(others) => {
            let more = if others.len() > TOLD { ", ..." } else { "" };
            let others = others[..others.len().min(TOLD)].join(", ");
            format!("{mine} at {at}, where the clusters are: {others}{more}")
        }
        Err(_) => format!("{mine} at {at}; this login may not list which others are there"),
    }))
}

/// The prefix of a cluster, if it is on these servers and this login may look.
pub async fn prefix_of_cluster(config: &Config, cluster: ClusterId) -> Option<String> {
    let access = Access::open(config).ok()?;
    let mine = Subjects::new(&config.prefix, config.shards).ok()?;
    let link = Link::open(config, &access, "survey", config.deadline, &mine);
    let link = link.await.ok()?;
    let others = prefixes(&link).await.ok()?;
    for prefix in others.into_iter().take(CLUSTERS) {
        let Ok(subjects) = Subjects::new(&prefix, config.shards) else {
            continue;
        };
        if let Ok(Some(stored)) = settings::stored(&link, &subjects).await
            && stored.cluster == Some(cluster)
            && stored.moved.is_none()
        {
            return Some(prefix);
        }
    }
    None
}

/// The prefixes of the clusters on these servers.
pub(super) async fn prefixes(link: &Link) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    let mut offset = 0;
    loop {
        let page = json!({ "offset": offset });
        let Ok(page) = link.api::<Names>("STREAM.NAMES", &page).await? else {
            return Ok(found);
        };
        let names = page.streams.unwrap_or_default();
        offset += names.len();
        let is_last = names.is_empty() || offset >= page.total.min(NAMES);
        found.extend(names.iter().filter_map(|name| prefix_of(name)));
        if is_last {
            return Ok(found);
        }
    }
}

/// The prefix of a cluster whose records are in a stream.
fn prefix_of(stream: &str) -> Option<String> {
    let prefix = stream.strip_prefix("KV_")?.strip_suffix("_SHARDS")?;
    Some(prefix.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_is_known_by_the_bucket_of_its_shards() {
        assert_eq!(prefix_of("KV_CHAT_SHARDS").as_deref(), Some("chat"));
        for other in ["CHAT_EVT", "KV_CHAT_NODES", "CHAT_SHARDS", "KV_SHARDS"] {
            assert_eq!(prefix_of(other), None, "{other}");
        }
    }
}
