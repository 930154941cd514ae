//! The cluster's records and the blobs of the memory adapter.

use super::{
    Delivered, Memory, Op, pause,
    state::{OfNode, Records, State},
    stream,
};
use crate::{
    bus::{
        Blobs, Error, Held, NodeRecord, NodeSeen, Plan, Registry, Settings, ShardRecord, ShardSeen,
        blob::{check_blob, check_public},
    },
    room::{Incarnation, RoomId, ShardId},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{BoxStream, select},
};
use std::collections::VecDeque;
use tokio::sync::watch;

/// A record as a watcher sees it.
enum Seen<K, V> {
    Is(K, V, u64),
    Gone(K),
    Current,
}

/// A watcher of records. It sees the newest state of each key, not every state: as many may be
/// skipped as were replaced meanwhile.
struct Watcher<K, V> {
    memory: Memory,
    records: fn(&State) -> &Records<K, V>,
    seen: u64,
    ready: VecDeque<Seen<K, V>>,
    changed: watch::Receiver<()>,
}

#[async_trait]
impl Registry for Memory {
    async fn settings(&self, wanted: &Settings) -> Result<Settings, Error> {
        self.call(Op::Settings, |state| {
            let stored = state.settings.get_or_insert(*wanted);
            if stored.contradiction(wanted).is_none() {
                *stored = stored.filled(wanted);
            }
            Ok(*stored)
        })
        .await
    }

    async fn stores_newer_forms(&self) -> Result<bool, Error> {
        self.call(Op::Settings, |state| {
            Ok(state.settings.is_some_and(|stored| stored.is_newer()))
        })
        .await
    }

    async fn held(&self) -> Result<Option<Held>, Error> {
        self.call(Op::Settings, |state| Ok(state.held)).await
    }

    async fn beat(&self, node: &NodeRecord) -> Result<(), Error> {
        self.call(Op::Beat, |state| {
            let key = (node.incarnation, OfNode::Beat);
            state.nodes.put(key, Some(Some(node.clone())));
            Ok(())
        })
        .await
    }

    async fn forget(&self, node: Incarnation) -> Result<(), Error> {
        self.call(Op::Forget, |state| {
            state.nodes.put((node, OfNode::Beat), None);
            Ok(())
        })
        .await
    }

    async fn down(&self, node: Incarnation) -> Result<(), Error> {
        self.call(Op::Down, |state| {
            state.nodes.put((node, OfNode::Down), Some(None));
            state.nodes.put((node, OfNode::Beat), None);
            Ok(())
        })
        .await
    }

    async fn clear_down(&self, node: Incarnation) -> Result<(), Error> {
        self.call(Op::Down, |state| {
            state.nodes.put((node, OfNode::Down), None);
            Ok(())
        })
        .await
    }

    async fn nodes(&self) -> Result<BoxStream<'static, NodeSeen>, Error> {
        let watcher = self.watch(Op::Nodes, |state| &state.nodes).await?;
        let node = |seen| match seen {
            Seen::Is(_, Some(node), revision) => Some(NodeSeen::Beat { node, revision }),
            Seen::Is((node, _), None, _) => Some(NodeSeen::Downed(node)),
            Seen::Gone((node, OfNode::Beat)) => Some(NodeSeen::Forgotten(node)),
            Seen::Gone((_, OfNode::Down)) => None,
            Seen::Current => Some(NodeSeen::Current),
        };
        Ok(watcher
            .filter_map(move |seen| std::future::ready(node(seen)))
            .boxed())
    }

    async fn shard(&self, shard: ShardId) -> Result<Option<(ShardRecord, u64)>, Error> {
        self.call(Op::Shard, |state| Ok(state.shards.get(&shard)))
            .await
    }

    async fn set_shard(
        &self,
        shard: ShardId,
        record: &ShardRecord,
        expected: u64,
    ) -> Result<u64, Error> {
        self.call(Op::SetShard, |state| {
            let revision = state.shards.get(&shard).map_or(0, |(_, revision)| revision);
            if revision != expected {
                return Err(Error::Conflict(format!(
                    "shard {shard} is at revision {revision}, not {expected}"
                )));
            }
            Ok(state.shards.put(shard, Some(record.clone())))
        })
        .await
    }

    async fn plan(&self) -> Result<Option<(Plan, u64)>, Error> {
        self.call(Op::Plan, |state| Ok(state.plan.get(&()))).await
    }

    async fn set_plan(&self, plan: &Plan, expected: u64) -> Result<u64, Error> {
        self.call(Op::SetPlan, |state| {
            let revision = state.plan.get(&()).map_or(0, |(_, revision)| revision);
            if revision != expected {
                return Err(Error::Conflict(format!(
                    "the plan is at revision {revision}, not {expected}"
                )));
            }
            Ok(state.plan.put((), Some(plan.clone())))
        })
        .await
    }

    async fn shards(&self) -> Result<BoxStream<'static, ShardSeen>, Error> {
        let shards = self.watch(Op::Shards, |state| &state.shards).await?;
        let plans = self.watch(Op::Plan, |state| &state.plan).await?;
        let shards = shards.filter_map(|seen| async move {
            match seen {
                Seen::Is(shard, record, revision) => Some(ShardSeen::Stored {
                    shard,
                    record,
                    revision,
                }),
                Seen::Gone(_) => None,
                Seen::Current => Some(ShardSeen::Current),
            }
        });
        let plans = plans.filter_map(|seen| async move {
            match seen {
                Seen::Is((), plan, _) => Some(ShardSeen::Plan(plan)),
                Seen::Gone(()) | Seen::Current => None,
            }
        });
        Ok(select(shards, plans).boxed())
    }

    async fn mark(&self, node: Incarnation, room: &RoomId) -> Result<(), Error> {
        self.call(Op::Mark, |state| {
            let shard = self.server.config.shards.of(room);
            state.marks.insert((shard, node, room.clone()));
            Ok(())
        })
        .await
    }

    async fn unmark(&self, node: Incarnation, room: &RoomId) -> Result<(), Error> {
        self.call(Op::Unmark, |state| {
            let shard = self.server.config.shards.of(room);
            state.marks.remove(&(shard, node, room.clone()));
            Ok(())
        })
        .await
    }

    async fn marks(&self, shard: ShardId) -> Result<Vec<(Incarnation, RoomId)>, Error> {
        self.call(Op::Marks, |state| {
            let of_shard = state.marks.iter().filter(|(of, ..)| *of == shard);
            Ok(of_shard
                .map(|(_, node, room)| (*node, room.clone()))
                .collect())
        })
        .await
    }

    async fn marked_by(&self, node: Incarnation) -> Result<Vec<RoomId>, Error> {
        self.call(Op::Marks, |state| {
            let of_node = state.marks.iter().filter(|(_, by, _)| *by == node);
            Ok(of_node.map(|(.., room)| room.clone()).collect())
        })
        .await
    }
}

#[async_trait]
impl Blobs for Memory {
    async fn put(&self, name: &str, value: Bytes, expected: u64) -> Result<u64, Error> {
        check_blob(name, value.len())?;
        self.call(Op::Put, |state| {
            state.check_size(|| value.len())?;
            let revision = state
                .blobs
                .get(&name.to_owned())
                .map_or(0, |(_, revision)| revision);
            if revision != expected {
                return Err(Error::Conflict(format!(
                    "{name} has revision {revision}, not {expected}"
                )));
            }
            Ok(state.blobs.put(name.to_owned(), Some(value)))
        })
        .await
    }

    async fn get(&self, name: &str) -> Result<Option<(Bytes, u64)>, Error> {
        self.call(Op::Get, |state| Ok(state.blobs.get(&name.to_owned())))
            .await
    }

    async fn peek(&self, name: &str) -> Result<Option<Bytes>, Error> {
        check_public(name)?;
        Ok(self.get(name).await?.map(|(value, _)| value))
    }

    async fn names_under(&self, under: &str) -> Result<Vec<String>, Error> {
        let front = format!("{under}.");
        self.call(Op::Get, |state| {
            let entries = state.blobs.entries.iter();
            let there =
                entries.filter(|(name, (_, value))| name.starts_with(&front) && value.is_some());
            Ok(there.map(|(name, _)| name.clone()).collect())
        })
        .await
    }

    async fn drop_under(&self, under: &str) -> Result<(), Error> {
        let front = format!("{under}.");
        self.call(Op::Put, |state| {
            let is_other = |name: &String| !name.starts_with(&front);
            state.blobs.entries.retain(|name, _| is_other(name));
            Ok(())
        })
        .await
    }

    async fn drop_under_up_to(&self, under: &str, revision: u64) -> Result<(), Error> {
        let front = format!("{under}.");
        self.call(Op::Put, |state| {
            let stays = |name: &String, of: u64| !name.starts_with(&front) || of > revision;
            state.blobs.entries.retain(|name, (of, _)| stays(name, *of));
            Ok(())
        })
        .await
    }
}

impl Memory {
    async fn watch<K, V>(
        &self,
        op: Op,
        records: fn(&State) -> &Records<K, V>,
    ) -> Result<BoxStream<'static, Seen<K, V>>, Error>
    where
        K: Ord + Copy + Send + 'static,
        V: Clone + Send + 'static,
    {
        let watcher = self
            .call(op, |state| {
                let records_now = records(state);
                let changed = records_now.changed.subscribe();
                let stored = records_now
                    .entries
                    .iter()
                    .filter_map(|(key, (revision, value))| {
                        Some(Seen::Is(*key, value.clone()?, *revision))
                    });
                let ready = stored.chain([Seen::Current]).collect();
                Ok(Watcher {
                    memory: self.clone(),
                    records,
                    seen: records_now.revision,
                    ready,
                    changed,
                })
            })
            .await?;
        Ok(stream(watcher, |mut watcher| async move {
            Some((watcher.next().await, watcher))
        }))
    }
}

impl<K: Ord + Copy, V: Clone> Watcher<K, V> {
    async fn next(&mut self) -> Seen<K, V> {
        loop {
            if let Some(seen) = self.ready.pop_front() {
                let passage = self
                    .memory
                    .server
                    .faults
                    .delivery(self.memory.connection, Delivered::Record);
                pause(passage.delay).await;
                return seen;
            }
            // The hub outlives its connections, so this never fails.
            let _ = self.changed.changed().await;
            self.memory.connected().await;
            self.collect();
        }
    }

    /// Queues what changed since the last time, in the order in which it changed.
    fn collect(&mut self) {
        let state = self.memory.server.state();
        let records = (self.records)(&state);
        let mut news: Vec<_> = records
            .entries
            .iter()
            .filter(|(_, (revision, _))| *revision > self.seen)
            .collect();
        news.sort_by_key(|(_, (revision, _))| *revision);
        self.ready.extend(
            news.into_iter()
                .map(|(key, (revision, value))| match value {
                    Some(value) => Seen::Is(*key, value.clone(), *revision),
                    None => Seen::Gone(*key),
                }),
        );
        self.seen = records.revision;
    }
}
