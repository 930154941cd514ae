//! Who owns a room and who leads the bus, asked of the bus itself.

use anyhow::{Context, Result, bail};
use async_nats::{
    Client, ConnectOptions,
    jetstream::{self, stream},
};
use bytes::Bytes;
use futures::TryStreamExt;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long the bus may take to answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the bus may need until it takes a deletion when its disk is full.
const CLEAR: Duration = Duration::from_secs(60);
/// How many shards safe-chat has unless it is told otherwise.
const SHARDS: u32 = 64;
/// The stream that fills the disk, and the size of its messages.
const FILLER: &str = "CHAOS_FILLER";
const FILL: usize = 512 * 1024;

/// The streams that a message goes through, and those by which its owner is found.
const STREAMS: [&str; 4] = ["CHAT_CMD", "CHAT_EVT", "KV_CHAT_NODES", "KV_CHAT_SHARDS"];
/// How often it is asked whether they have leaders, and how long a server may take to say so.
const LOOK: Duration = Duration::from_millis(100);
const PROMPT: Duration = Duration::from_millis(500);

/// The bus of a site.
pub struct Bus {
    urls: String,
}

#[derive(Deserialize)]
struct Shard {
    owner: Option<String>,
}

#[derive(Deserialize)]
struct Node {
    name: String,
}

impl Bus {
    pub(crate) fn new(urls: String) -> Self {
        Self { urls }
    }

    async fn connect(&self) -> Result<Client> {
        self.connect_within(ANSWER).await
    }

    /// Each server has so long to answer.
    async fn connect_within(&self, time: Duration) -> Result<Client> {
        let urls: Vec<&str> = self.urls.split(',').collect();
        let options = ConnectOptions::new()
            .name("chaos")
            .connection_timeout(time)
            .ignore_discovered_servers();
        Ok(timeout(ANSWER, options.connect(urls))
            .await
            .context("NATS does not answer")??)
    }

    /// Returns when every stream that messages need has a leader that answers; or after a minute,
    /// what is wrong is found when the site is healed.
    pub async fn led(&self) {
        let asked = async {
            while self.ask_leaders().await.is_err() {
                sleep(LOOK).await;
            }
        };
        let _ = timeout(CLEAR, asked).await;
    }

    /// Only a leader answers.
    async fn ask_leaders(&self) -> Result<()> {
        let client = self.connect_within(PROMPT).await?;
        for stream in STREAMS {
            timeout(
                PROMPT,
                client.request(format!("$JS.API.STREAM.INFO.{stream}"), Bytes::new()),
            )
            .await??;
        }
        Ok(())
    }

    /// The node that owns the shard of a room.
    pub async fn owner(&self, room: &str) -> Result<String> {
        let context = jetstream::new(self.connect().await?);
        let asked = async {
            let shards = context.get_key_value("CHAT_SHARDS").await?;
            let record = shards
                .get(shard_of(room).to_string())
                .await?
                .context("its shard has no record")?;
            let owner = serde_json::from_slice::<Shard>(&record)?
                .owner
                .context("its shard has no owner")?;
            let nodes = context.get_key_value("CHAT_NODES").await?;
            // Below its role and its name: writer.NAME.RUN.
            let keys: Vec<String> = nodes.keys().await?.try_collect().await?;
            let key = keys.iter().find(|key| key.ends_with(&owner));
            let record = match key {
                Some(key) => nodes.get(key).await?,
                None => None,
            };
            let record = record.with_context(|| format!("its owner {owner} is not there"))?;
            anyhow::Ok(serde_json::from_slice::<Node>(&record)?.name)
        };
        timeout(ANSWER, asked)
            .await
            .context("NATS does not answer")?
            .with_context(|| format!("who owns {room} is not known"))
    }

    /// The nats-server that leads the stream of events.
    pub async fn leader(&self) -> Result<String> {
        let context = jetstream::new(self.connect().await?);
        let stream = timeout(ANSWER, context.get_stream("CHAT_EVT"))
            .await
            .context("NATS does not answer")??;
        let leader = stream
            .cached_info()
            .cluster
            .as_ref()
            .and_then(|cluster| cluster.leader.clone());
        Ok(leader.unwrap_or_else(|| "nats-1".to_owned()))
    }

    /// Fills the disk until nothing more is taken; how many bytes that took.
    pub async fn fill(&self, replicas: usize) -> Result<u64> {
        let context = jetstream::new(self.connect().await?);
        let config = stream::Config {
            name: FILLER.into(),
            subjects: vec!["chaos.filler".into()],
            num_replicas: replicas,
            ..Default::default()
        };
        context
            .create_stream(config)
            .await
            .context("no stream to fill the disk with")?;
        // Random bytes would not be smaller: the server does not compress.
        let chunk = Bytes::from(vec![b'x'; FILL]);
        let mut filled = 0;
        while filled < (64 << 30) {
            let stored = async { context.publish("chaos.filler", chunk.clone()).await?.await };
            match timeout(ANSWER, stored).await {
                Ok(Ok(_)) => filled += FILL as u64,
                Ok(Err(_)) => return Ok(filled),
                Err(_) => bail!("NATS does not answer while its disk is filled"),
            }
        }
        bail!("the disk has no limit")
    }

    /// Gives the space back. A bus without space may need some attempts until one of its servers
    /// leads again.
    pub async fn clear(&self) -> Result<()> {
        let context = jetstream::new(self.connect().await?);
        let since = Instant::now();
        loop {
            match timeout(ANSWER, context.delete_stream(FILLER)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if since.elapsed() > CLEAR => {
                    return Err(error).context("the disk stays full");
                }
                Err(_) if since.elapsed() > CLEAR => {
                    bail!("the disk stays full: NATS does not answer")
                }
                _ => sleep(ANSWER / 10).await,
            }
        }
    }
}

/// The shard of a room: FNV-1a of its name.
pub fn shard_of(room: &str) -> u32 {
    room.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    }) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_those_of_safe_chat() {
        // FNV-1a-32 of "a" is e40c292c, of "foobar" bf9cf968 (the reference vectors of its
        // authors).
        assert_eq!(shard_of("a"), 0xe40c_292c % 64);
        assert_eq!(shard_of("foobar"), 0xbf9c_f968 % 64);
    }
}
