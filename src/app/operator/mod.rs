//! What operators may ask and do, answered from the parts of a running node and, where it takes
//! them, by the others.

mod erase;
mod events;
mod keeping;
mod members;
mod moves;
mod namesakes;
mod orders;
mod overview;
mod purge;
mod retention;
mod rooms;
mod stays;
mod trace;
pub(super) mod warnings;
mod writers;

use crate::{
    bus::{Bus, Role, ShardRecord, ShardSeen},
    cluster::{self, Member, Status},
    gateway,
    journal::Journal,
    ops::{ApiError, DomainEvent, Operator, Vitals, Whom, answer},
    room::{Incarnation, ShardId, Shards},
    writer,
};
use async_trait::async_trait;
use axum::http::StatusCode;
use futures::{StreamExt, future::join_all, stream::BoxStream};
use members::{Members, address};
use orders::Order;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How long the records of all shards may take.
const RECORDS: Duration = Duration::from_secs(5);
/// Sessions sent elsewhere per second, at most.
const DISCONNECTS: u32 = 10_000;

/// A running node, and through it the cluster. Clones are the same.
#[derive(Clone)]
pub(super) struct NodeOperator {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) cluster: cluster::Handle,
    pub(super) gateway: Option<gateway::Handle>,
    pub(super) writer: Option<writer::Handle>,
    pub(super) shards: Shards,
    pub(super) vitals: Vitals,
    /// Cancelled: this node shall stop.
    pub(super) unwanted: CancellationToken,
    /// Whether this node is moving shards for an operator.
    pub(super) moving: Arc<AtomicBool>,
}

impl NodeOperator {
    /// Answers what other nodes ask of this one, until `stop`.
    pub(super) async fn answer_others(self: Arc<Self>, stop: CancellationToken) {
        let (bus, me) = (self.bus.clone(), self.cluster.me());
        orders::listen(bus, me, stop, |order| self.obey(order)).await;
    }

    fn obey(&self, order: Order) -> Result<Value, ApiError> {
        match order {
            Order::Leave { by, operator } => {
                told("leave", by, operator);
                Ok(json!(self.drain()))
            }
            Order::Region => Ok(json!(self.region())),
            Order::Figures => Ok(json!(self.figures())),
            Order::Sessions { room, after } => {
                Ok(json!(self.page_of_sessions(&room, after.as_deref())?))
            }
            Order::Disconnect {
                per_second,
                exactly,
                by,
                operator,
            } => {
                told("disconnect", by, operator);
                let rate = exactly.unwrap_or_else(|| per_second.into());
                Ok(json!(self.disconnect_here(rate)?))
            }
            Order::Trace { id, room, user } => {
                let taken = self.take_trace(id, room.as_deref(), user.as_deref())?;
                Ok(json!(taken))
            }
        }
    }

    /// Asks one node, which may be this one.
    async fn ask<T: DeserializeOwned>(
        &self,
        node: Incarnation,
        order: &Order,
    ) -> Result<T, ApiError> {
        match node == self.cluster.me() {
            true => orders::read(self.obey(order.clone())?),
            false => orders::ask(&*self.bus, node, order).await,
        }
    }

    /// Asks all nodes that have a role, at the same time: each one's address and answer.
    async fn ask_all<T: DeserializeOwned>(
        &self,
        role: Role,
        order: &Order,
    ) -> Vec<(String, Result<T, ApiError>)> {
        self.ask_those(order, |member| member.node.roles.contains(&role))
            .await
    }

    async fn ask_everybody<T: DeserializeOwned>(
        &self,
        order: &Order,
    ) -> Vec<(String, Result<T, ApiError>)> {
        self.ask_those(order, |_| true).await
    }

    async fn ask_those<T: DeserializeOwned>(
        &self,
        order: &Order,
        whom: impl Fn(&Member) -> bool,
    ) -> Vec<(String, Result<T, ApiError>)> {
        let seen = self.seen();
        let lives = |member: &&Member| member.status != Status::Down && whom(member);
        let asked = seen.iter().filter(lives).map(async |member| {
            let answer = self.ask(member.node.incarnation, order).await;
            (address(member), answer)
        });
        join_all(asked).await
    }

    fn seen(&self) -> Members {
        let (view, me) = (self.cluster.view(), self.cluster.me());
        let view = match self.bus.ready() {
            Ok(()) => view,
            Err(_) => view.alone(me),
        };
        Members::of(view, me)
    }

    /// Why nothing that only a writer does can be done now, if none lives.
    fn without_writer(&self) -> Option<ApiError> {
        writers::warning(&self.cluster.view()).map(ApiError::unavailable)
    }

    /// The record of every shard that has one.
    async fn records(&self) -> Result<BTreeMap<ShardId, ShardRecord>, ApiError> {
        let read = async {
            let mut records = self.bus.shards().await.map_err(unavailable)?;
            let mut shards = BTreeMap::new();
            while let Some(seen) = records.next().await {
                match seen {
                    ShardSeen::Stored { shard, record, .. } => _ = shards.insert(shard, record),
                    ShardSeen::Plan(_) => {}
                    ShardSeen::Current => break,
                }
            }
            Ok(shards)
        };
        let late = || Err(ApiError::unavailable("the bus did not answer in time"));
        timeout(RECORDS, read).await.unwrap_or_else(|_| late())
    }

    fn owner(&self, node: Option<Incarnation>) -> answer::Owner {
        let nodes = self.cluster.view().nodes;
        let name = |owner| {
            nodes
                .into_iter()
                .find(|node| node.incarnation == owner)
                .map(|node| node.name)
        };
        answer::Owner {
            incarnation: node.map(|node| node.to_string()),
            node: node.and_then(name),
        }
    }

    fn disconnect_here(&self, per_second: f64) -> Result<answer::Disconnect, ApiError> {
        let Some(gateway) = &self.gateway else {
            let message = "this node has no clients: its roles have no gateway";
            return Err(ApiError::bad("bad_node", message));
        };
        // Not every order comes through this version's own check.
        if !(per_second > 0.0 && per_second <= f64::from(DISCONNECTS)) {
            return Err(bad_rate());
        }
        let sessions = gateway.disconnect(per_second).ok_or_else(|| {
            let message = "this node is sending its sessions elsewhere already";
            ApiError::new(StatusCode::CONFLICT, "busy", message)
        })?;
        Ok(answer::Disconnect {
            sessions,
            per_second,
        })
    }
}

#[async_trait]
impl Operator for NodeOperator {
    fn members(&self) -> answer::Members {
        self.seen().shown()
    }

    fn member(&self, member: &str) -> Result<answer::Member, ApiError> {
        self.seen().find(member).map(members::shown)
    }

    async fn leave(&self, member: &str, by: &str) -> Result<answer::Message, ApiError> {
        let seen = self.seen();
        let found = seen.find_one(member)?;
        let node = found.node.incarnation;
        let order = Order::Leave {
            by: Some(seen.name(self.cluster.me())),
            operator: Some(by.to_owned()),
        };
        self.ask::<Value>(node, &order).await?;
        tracing::info!(node = found.node.name, "an operator told a node to stop");
        let message = format!("Leaving {}", address(found));
        Ok(answer::Message { message })
    }

    async fn down(&self, member: &str) -> Result<answer::Message, ApiError> {
        let seen = self.seen();
        let found = seen.find_one(member)?;
        let node = found.node.incarnation;
        self.bus.down(node).await.map_err(|error| {
            ApiError::unavailable(format!("it is not known whether that was stored: {error}"))
        })?;
        tracing::warn!(
            node = found.node.name, incarnation = %node,
            "an operator declared a node down"
        );
        let message = format!("Downing {}", address(found));
        Ok(answer::Message { message })
    }

    fn region(&self) -> answer::Region {
        let loaded = self.writer.as_ref().map(writer::Handle::loaded);
        region(loaded.unwrap_or_default(), &self.cluster.view().owned)
    }

    async fn stats(&self) -> answer::Stats {
        let answers = self.ask_all::<answer::Region>(Role::Writer, &Order::Region);
        let mut stats = answer::Stats::default();
        for (node, answer) in answers.await {
            let why = match answer {
                Ok(region) => {
                    let shards = region.regions.into_iter().map(|shard| answer::NodeShard {
                        node: node.clone(),
                        shard,
                    });
                    stats.regions.extend(shards);
                    None
                }
                Err(error) => Some(error.message),
            };
            stats.nodes.push(answer::NodeAnswered {
                node,
                answered: why.is_none(),
                why,
            });
        }
        let written = stats.regions.iter().map(|it| &*it.shard.shard_id);
        let written: BTreeSet<_> = written.collect();
        let all = self.shards.all().map(|shard| shard.to_string());
        stats.failed = all.filter(|shard| !written.contains(&**shard)).collect();
        stats
    }

    fn domain_events(&self, types: &[String]) -> Result<BoxStream<'static, DomainEvent>, ApiError> {
        events::stream(&self.cluster, types)
    }

    fn seed_nodes(&self) -> answer::SeedNodes {
        self.seen().seeds()
    }

    fn nodes(&self) -> answer::Nodes {
        let view = self.cluster.view();
        let seen = self.seen();
        answer::Nodes {
            nodes: seen.iter().map(|member| self.node(member)).collect(),
            fresh: view.fresh,
            owned: view.owned.iter().map(|shard| shard.0).collect(),
        }
    }

    async fn overview(&self) -> answer::Overview {
        self.look_at_nodes().await
    }

    async fn shards(&self) -> Result<answer::Shards, ApiError> {
        let shards = self.records().await?;
        let shown = |(ShardId(shard), record): (_, ShardRecord)| answer::Shard {
            shard,
            owner: self.owner(record.owner),
            epoch: record.epoch.0,
            floor: record.floor.0,
        };
        Ok(answer::Shards {
            shards: shards.into_iter().map(shown).collect(),
            of: self.shards.count(),
        })
    }

    async fn rooms(&self, after: Option<&str>, limit: usize) -> Result<answer::Rooms, ApiError> {
        self.page_of_rooms(after, limit).await
    }

    async fn room(&self, room: &str) -> Result<answer::Room, ApiError> {
        self.look_at_room(room).await
    }

    fn sessions(&self, room: &str) -> Result<answer::Sessions, ApiError> {
        self.sessions_here(room)
    }

    async fn expel(&self, room: &str, user: &str) -> Result<answer::Kicked, ApiError> {
        self.end_sessions_of(room, user).await
    }

    async fn unpin(&self, room: &str, user: &str) -> Result<answer::Unpinned, ApiError> {
        self.take_key_of(room, user).await
    }

    async fn retain(
        &self,
        room: &str,
        own: Option<answer::Retention>,
    ) -> Result<answer::Retained, ApiError> {
        self.keep_past_of(room, own).await
    }

    async fn purge(&self, room: &str) -> Result<answer::Purged, ApiError> {
        self.forget_past_of(room).await
    }

    async fn erase(&self, room: &str, user: &str) -> Result<answer::Erased, ApiError> {
        self.erase_content_of(room, user).await
    }

    async fn disconnect(
        &self,
        whom: Whom,
        per_second: u32,
        by: &str,
    ) -> Result<answer::Disconnecting, ApiError> {
        if !(1..=DISCONNECTS).contains(&per_second) {
            return Err(bad_rate());
        }
        let seen = self.seen();
        let order = |per_second, exactly| Order::Disconnect {
            per_second,
            exactly,
            by: Some(seen.name(self.cluster.me())),
            operator: Some(by.to_owned()),
        };
        let answers = match whom {
            Whom::Node(name) => {
                let found = seen.find_one(&name)?;
                let order = order(per_second, None);
                let answer = self.ask(found.node.incarnation, &order).await?;
                vec![(address(found), Ok(answer))]
            }
            Whom::All => {
                let view = self.cluster.view();
                let gateways = view.nodes.iter();
                let gateways = gateways.filter(|node| node.roles.contains(&Role::Gateway));
                let each = f64::from(per_second) / gateways.count().max(1) as f64;
                let order = order(each.ceil() as u32, Some(each));
                self.ask_all(Role::Gateway, &order).await
            }
        };
        let nodes = answers.into_iter().map(|(node, answer)| {
            let outcome = match answer {
                Ok(begun) => answer::DisconnectOutcome::Begun(begun),
                Err(error) => answer::DisconnectOutcome::Failed {
                    error: error.message,
                },
            };
            answer::NodeDisconnect { node, outcome }
        });
        Ok(answer::Disconnecting {
            nodes: nodes.collect(),
            per_second,
        })
    }

    async fn rebalance(&self, per_second: u32, dry: bool) -> Result<answer::Rebalance, ApiError> {
        self.begin_rebalance(per_second, dry).await
    }

    fn trace(
        &self,
        room: Option<&str>,
        user: Option<&str>,
        seconds: u64,
    ) -> Result<BoxStream<'static, answer::TraceLine>, ApiError> {
        Arc::new(self.clone()).begin_trace(room, user, seconds)
    }

    fn drain(&self) -> answer::Draining {
        tracing::info!("this node stops because an operator wants it");
        self.unwanted.cancel();
        answer::Draining { draining: true }
    }
}

/// An act that another node (or this one) asks for. The bus says neither who it is nor for whom it
/// asks, so these are its own words; the act itself stands in that node's log.
fn told(order: &str, by: Option<String>, operator: Option<String>) {
    tracing::info!(
        target: "safe_chat::audit",
        order,
        by,
        operator,
        "audit: a node asked for what an operator wants"
    );
}

fn bad_rate() -> ApiError {
    let message = format!("rate must be 1 to {DISCONNECTS} sessions per second");
    ApiError::bad("bad_rate", message)
}

/// Shards with how many rooms of each are in memory. `failed`: shards that this node has and does
/// not write yet.
fn region(loaded: Vec<(ShardId, usize)>, owned: &[ShardId]) -> answer::Region {
    let is_loaded = |shard: &ShardId| loaded.iter().any(|(other, _)| other == shard);
    let failed = owned.iter().filter(|shard| !is_loaded(shard));
    let shown = |(shard, rooms): &(ShardId, usize)| answer::RegionShard {
        shard_id: shard.to_string(),
        num_entities: *rooms,
    };
    answer::Region {
        regions: loaded.iter().map(shown).collect(),
        failed: failed.map(ShardId::to_string).collect(),
    }
}

fn unavailable(error: impl Display) -> ApiError {
    ApiError::unavailable(error.to_string())
}
