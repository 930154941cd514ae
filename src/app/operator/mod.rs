//! What operators may ask and do, answered from the parts of a running node and, where it takes
//! them, by the others.

mod events;
mod members;
mod moves;
mod orders;
mod rooms;
mod trace;

use crate::{
    bus::{Bus, Role, ShardRecord, ShardSeen},
    cluster::{self, Member, Status},
    gateway,
    journal::Journal,
    ops::{ApiError, DomainEvent, Operator, Whom},
    room::{Incarnation, ShardId, Shards},
    writer,
};
use async_trait::async_trait;
use axum::http::StatusCode;
use futures::{StreamExt, future::join_all, stream::BoxStream};
use members::{Members, address};
use orders::Order;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
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
            Order::Leave => Ok(self.drain()),
            Order::Region => Ok(self.region()),
            Order::Sessions { room } => self.sessions_here(&room),
            Order::Disconnect { per_second } => self.disconnect_here(per_second),
            Order::Trace { id, room, user } => {
                self.take_trace(id, room.as_deref(), user.as_deref())
            }
        }
    }

    /// Asks one node, which may be this one.
    async fn ask(&self, node: Incarnation, order: &Order) -> Result<Value, ApiError> {
        match node == self.cluster.me() {
            true => self.obey(order.clone()),
            false => orders::ask(&*self.bus, node, order).await,
        }
    }

    /// Asks all nodes that have a role, at the same time: each one's address and answer.
    async fn ask_all(&self, role: Role, order: &Order) -> Vec<(String, Result<Value, ApiError>)> {
        self.ask_those(order, |member| member.node.roles.contains(&role))
            .await
    }

    async fn ask_everybody(&self, order: &Order) -> Vec<(String, Result<Value, ApiError>)> {
        self.ask_those(order, |_| true).await
    }

    async fn ask_those(
        &self,
        order: &Order,
        whom: impl Fn(&Member) -> bool,
    ) -> Vec<(String, Result<Value, ApiError>)> {
        let seen = self.seen();
        let lives = |member: &&Member| member.status != Status::Down && whom(member);
        let asked = seen.iter().filter(lives).map(async |member| {
            let answer = self.ask(member.node.incarnation, order).await;
            (address(member), answer)
        });
        join_all(asked).await
    }

    fn seen(&self) -> Members {
        Members::of(self.cluster.view(), self.cluster.me())
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

    fn name(&self, node: Option<Incarnation>) -> Value {
        let nodes = self.cluster.view().nodes;
        let name = |owner| {
            nodes
                .into_iter()
                .find(|node| node.incarnation == owner)
                .map(|node| node.name)
        };
        json!({"incarnation": node.map(|node| node.to_string()), "node": node.and_then(name)})
    }

    fn disconnect_here(&self, per_second: u32) -> Result<Value, ApiError> {
        let Some(gateway) = &self.gateway else {
            let message = "this node has no clients: its roles have no gateway";
            return Err(ApiError::bad("bad_node", message));
        };
        let count = gateway.disconnect(per_second).ok_or_else(|| {
            let message = "this node is sending its sessions elsewhere already";
            ApiError::new(StatusCode::CONFLICT, "busy", message)
        })?;
        Ok(json!({"sessions": count, "per_second": per_second}))
    }
}

#[async_trait]
impl Operator for NodeOperator {
    fn members(&self) -> Value {
        self.seen().to_json()
    }

    fn member(&self, member: &str) -> Result<Value, ApiError> {
        self.seen().find(member).map(members::to_json)
    }

    async fn leave(&self, member: &str) -> Result<Value, ApiError> {
        let seen = self.seen();
        let found = seen.find(member)?;
        self.ask(found.node.incarnation, &Order::Leave).await?;
        tracing::info!(node = found.node.name, "an operator told a node to stop");
        Ok(json!({"message": format!("Leaving {}", address(found))}))
    }

    async fn down(&self, member: &str) -> Result<Value, ApiError> {
        let seen = self.seen();
        let found = seen.find(member)?;
        let node = found.node.incarnation;
        self.bus.down(node).await.map_err(|error| {
            ApiError::unavailable(format!("it is not known whether that was stored: {error}"))
        })?;
        tracing::warn!(
            node = found.node.name, incarnation = %node,
            "an operator declared a node down"
        );
        Ok(json!({"message": format!("Downing {}", address(found))}))
    }

    fn region(&self) -> Value {
        let loaded = self.writer.as_ref().map(writer::Handle::loaded);
        region(loaded.unwrap_or_default(), &self.cluster.view().owned)
    }

    async fn stats(&self) -> Result<Value, ApiError> {
        let (answers, records) =
            tokio::join!(self.ask_all(Role::Writer, &Order::Region), self.records());
        let (seen, records) = (self.seen(), records?);
        let (mut regions, mut failed, mut nodes) = (Vec::new(), Vec::new(), Vec::new());
        for (name, answer) in answers {
            match answer {
                Ok(mut answer) => {
                    regions.extend(items_of(&name, &mut answer["regions"]));
                    failed.extend(answer["failed"].as_array().cloned().unwrap_or_default());
                    nodes.push(json!({"node": name, "answered": true}));
                }
                Err(error) => {
                    let of = |owner| seen.name(owner) == name;
                    let owned = records
                        .iter()
                        .filter(|(_, record)| record.owner.is_some_and(of));
                    failed.extend(owned.map(|(shard, _)| json!(shard.to_string())));
                    nodes.push(json!({"node": name, "answered": false, "why": error.message}));
                }
            }
        }
        Ok(json!({"regions": regions, "failed": failed, "nodes": nodes}))
    }

    fn domain_events(&self, types: &[String]) -> Result<BoxStream<'static, DomainEvent>, ApiError> {
        events::stream(&self.cluster, types)
    }

    fn seed_nodes(&self) -> Value {
        self.seen().seeds()
    }

    fn nodes(&self) -> Value {
        let (seen, view) = (self.seen(), self.cluster.view());
        let node = |member: &Member| {
            let mut shown = members::to_json(member);
            shown["this"] = (member.node.incarnation == self.cluster.me()).into();
            shown["draining"] = member.node.draining.into();
            shown["roles"] = json!(member.node.roles);
            shown["reachable"] = member.observers.is_empty().into();
            shown
        };
        let owned: Vec<_> = view.owned.iter().map(|shard| shard.0).collect();
        let nodes: Vec<_> = seen.iter().map(node).collect();
        json!({"nodes": nodes, "fresh": view.fresh, "owned": owned})
    }

    async fn shards(&self) -> Result<Value, ApiError> {
        let shards = self.records().await?;
        let line = |(ShardId(number), record): (_, ShardRecord)| {
            json!({
                "shard": number,
                "owner": self.name(record.owner),
                "epoch": record.epoch.0,
                "floor": record.floor.0,
            })
        };
        Ok(
            json!({"shards": shards.into_iter().map(line).collect::<Vec<_>>(), "of": self.shards.count()}),
        )
    }

    async fn rooms(&self, after: Option<&str>, limit: usize) -> Result<Value, ApiError> {
        self.page_of_rooms(after, limit).await
    }

    async fn room(&self, room: &str) -> Result<Value, ApiError> {
        self.look_at_room(room).await
    }

    fn sessions(&self, room: &str) -> Result<Value, ApiError> {
        self.sessions_here(room)
    }

    async fn expel(&self, room: &str, user: &str) -> Result<Value, ApiError> {
        self.end_sessions_of(room, user).await
    }

    async fn disconnect(&self, whom: Whom, per_second: u32) -> Result<Value, ApiError> {
        if !(1..=DISCONNECTS).contains(&per_second) {
            let message = format!("rate must be 1 to {DISCONNECTS} sessions per second");
            return Err(ApiError::bad("bad_rate", message));
        }
        let answers = match whom {
            Whom::Node(name) => {
                let seen = self.seen();
                let found = seen.find(&name)?;
                let order = Order::Disconnect { per_second };
                let answer = self.ask(found.node.incarnation, &order).await?;
                vec![(address(found), Ok(answer))]
            }
            Whom::All => {
                let view = self.cluster.view();
                let gateways = view.nodes.iter();
                let gateways = gateways.filter(|node| node.roles.contains(&Role::Gateway));
                let each = per_second.div_ceil(gateways.count().max(1) as u32);
                let order = Order::Disconnect { per_second: each };
                self.ask_all(Role::Gateway, &order).await
            }
        };
        let line = |(node, answer): (String, Result<Value, ApiError>)| match answer {
            Ok(mut answer) => {
                answer["node"] = node.into();
                answer
            }
            Err(error) => json!({"node": node, "error": error.message}),
        };
        Ok(json!({"nodes": answers.into_iter().map(line).collect::<Vec<_>>()}))
    }

    async fn rebalance(&self, per_second: u32, dry: bool) -> Result<Value, ApiError> {
        self.begin_rebalance(per_second, dry).await
    }

    fn trace(
        &self,
        room: Option<&str>,
        user: Option<&str>,
        seconds: u64,
    ) -> Result<BoxStream<'static, Value>, ApiError> {
        Arc::new(self.clone()).begin_trace(room, user, seconds)
    }

    fn drain(&self) -> Value {
        tracing::info!("an operator asked this node to stop");
        self.unwanted.cancel();
        json!({"draining": true})
    }
}

/// Shards with how many rooms of each are in memory. `failed`: shards that this node has and does
/// not write yet.
fn region(loaded: Vec<(ShardId, usize)>, owned: &[ShardId]) -> Value {
    let is_loaded = |shard: &ShardId| loaded.iter().any(|(other, _)| other == shard);
    let failed = owned.iter().filter(|shard| !is_loaded(shard));
    let failed: Vec<_> = failed.map(ShardId::to_string).collect();
    let line = |(shard, rooms): &(ShardId, usize)| json!({"shardId": shard.to_string(), "numEntities": rooms});
    json!({"regions": loaded.iter().map(line).collect::<Vec<_>>(), "failed": failed})
}

/// The items of a list in a node's answer, each with the node.
fn items_of(node: &str, list: &mut Value) -> Vec<Value> {
    let mut items = list.as_array_mut().map(std::mem::take).unwrap_or_default();
    for item in &mut items {
        item["node"] = node.into();
    }
    items
}

fn unavailable(error: impl Display) -> ApiError {
    ApiError::unavailable(error.to_string())
}
