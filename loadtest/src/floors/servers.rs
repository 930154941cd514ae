//! Servers that a durable message goes through.

use super::{Floor, Pace};
use crate::measure::histogram;
use anyhow::{Context, Result};
use async_nats::jetstream::{self, stream};
use futures::StreamExt;
use scylla::{client::session_builder::SessionBuilder, statement::Consistency};
use std::time::{Duration, Instant};

/// How long a server may take to answer once.
const DEADLINE: Duration = Duration::from_secs(10);
const STREAM: &str = "LOADTEST_FLOOR";
const KEYSPACE: &str = "loadtest_floor";

async fn repeat(
    name: String,
    pace: Pace,
    mut once: impl AsyncFnMut() -> Result<()>,
) -> Result<Floor> {
    let mut took = histogram();
    let (start, mut done) = (Instant::now(), 0_u64);
    while start.elapsed() < pace.length {
        tokio::time::sleep(pace.pause).await;
        let began = Instant::now();
        let answer = tokio::time::timeout(DEADLINE, once()).await;
        answer.with_context(|| format!("{name}: no answer within {} s", DEADLINE.as_secs()))??;
        took.saturating_record(began.elapsed().as_micros() as u64);
        done += 1;
    }
    Ok(Floor {
        name,
        took,
        per_second: done as f64 / start.elapsed().as_secs_f64(),
    })
}

/// A message to a stream in a file, one at a time: with `sync_interval: always` that is one fsync.
pub(super) async fn nats(pace: Pace, bytes: usize, url: &str) -> Result<Vec<Floor>> {
    let at = || format!("the NATS server at {url}");
    let client = async_nats::connect(url).await.with_context(at)?;
    let context = jetstream::new(client.clone());
    let config = stream::Config {
        name: STREAM.into(),
        subjects: vec!["loadtest.floor".into()],
        max_bytes: 256 * 1024 * 1024,
        discard: stream::DiscardPolicy::Old,
        ..stream::Config::default()
    };
    context.create_stream(config).await.with_context(at)?;
    let payload = bytes::Bytes::from(vec![0; bytes]);
    let stored = repeat(format!("NATS {url}: publish and ack"), pace, async || {
        let ack = context.publish("loadtest.floor", payload.clone()).await?;
        ack.await?;
        Ok(())
    })
    .await;
    context.delete_stream(STREAM).await.with_context(at)?;
    let inbox = client.new_inbox();
    let mut news = client.subscribe(inbox.clone()).await.with_context(at)?;
    let name = format!("NATS {url}: a message there and back");
    let round_trip = repeat(name, pace, async || {
        client.publish(inbox.clone(), payload.clone()).await?;
        news.next().await.context("the subscription ended")?;
        Ok(())
    })
    .await?;
    Ok(vec![round_trip, stored?])
}

/// A row, and then the reading that an owner does before it answers.
pub(super) async fn cassandra(pace: Pace, bytes: usize, at: &str) -> Result<Vec<Floor>> {
    let session = SessionBuilder::new().known_node(at).build().await;
    let session = session.with_context(|| format!("the Cassandra at {at}"))?;
    for statement in [
        format!(
            "CREATE KEYSPACE IF NOT EXISTS {KEYSPACE} WITH replication = {{'class': 'SimpleStrategy', 'replication_factor': 1}}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {KEYSPACE}.rows (room text, seq bigint, body blob, PRIMARY KEY (room, seq))"
        ),
    ] {
        session.query_unpaged(statement, ()).await?;
    }
    let insert = format!("INSERT INTO {KEYSPACE}.rows (room, seq, body) VALUES (?, ?, ?)");
    let mut insert = session.prepare(insert).await?;
    insert.set_consistency(Consistency::LocalQuorum);
    let select = format!("SELECT seq FROM {KEYSPACE}.rows WHERE room = ? AND seq = ?");
    let mut select = session.prepare(select).await?;
    select.set_consistency(Consistency::LocalQuorum);
    let (body, mut seq) = (vec![0_u8; bytes], 0_i64);
    let write = repeat(format!("Cassandra {at}: write"), pace, async || {
        seq += 1;
        session
            .execute_unpaged(&insert, ("floor", seq, &body))
            .await?;
        Ok(())
    })
    .await;
    let both = repeat(
        format!("Cassandra {at}: write and read back"),
        pace,
        async || {
            seq += 1;
            session
                .execute_unpaged(&insert, ("floor", seq, &body))
                .await?;
            session.execute_unpaged(&select, ("floor", seq)).await?;
            Ok(())
        },
    )
    .await;
    session
        .query_unpaged(format!("DROP KEYSPACE {KEYSPACE}"), ())
        .await?;
    Ok(vec![write?, both?])
}
