//! What operators may ask and do, answered from the parts of a running node.

use crate::{
    bus::{Ask, Bus, Inbound, NodeRecord, Role, RoomView, ShardSeen},
    cluster, gateway,
    ops::{Operator, Problem},
    room::{Incarnation, RoomId, Shards, UserId},
};
use async_trait::async_trait;
use axum::http::StatusCode;
use futures::StreamExt;
use serde_json::{Value, json};
use std::{collections::BTreeMap, fmt::Display, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long the records of all shards may take.
const RECORDS: Duration = Duration::from_secs(5);
/// How long a user's sessions may take to end: closing them, storing that, and deciding it.
const EXPEL: Duration = Duration::from_secs(10);
/// Between two looks whether they have.
const LOOK: Duration = Duration::from_millis(100);

/// A running node.
pub(super) struct Here {
    pub(super) bus: Arc<dyn Bus>,
    pub(super) cluster: cluster::Handle,
    pub(super) gateway: Option<gateway::Handle>,
    pub(super) shards: Shards,
    /// Cancelled: this node shall stop.
    pub(super) unwanted: CancellationToken,
}

impl Here {
    /// The owner's answer about a room.
    async fn view(&self, room: &RoomId) -> Result<RoomView, Problem> {
        let view = self.bus.ask(&Ask::room(room.clone())).await;
        let view = view.map_err(|error| {
            Problem::unavailable(format!("the owner of room {room} does not answer: {error}"))
        })?;
        match view.refused {
            Some(rejection) => Err(Problem::unavailable(rejection.to_string())),
            None => Ok(view),
        }
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
}

#[async_trait]
impl Operator for Here {
    fn nodes(&self) -> Value {
        let (me, view) = (self.cluster.me(), self.cluster.view());
        let node = |node: &NodeRecord| {
            let NodeRecord {
                incarnation,
                name,
                roles,
                draining,
                version,
            } = node;
            json!({"node": name, "incarnation": incarnation.to_string(), "roles": roles, "draining": draining, "version": version, "this": *incarnation == me})
        };
        let owned: Vec<_> = view.owned.iter().map(|shard| shard.0).collect();
        json!({"nodes": view.nodes.iter().map(node).collect::<Vec<_>>(), "fresh": view.fresh, "owned": owned})
    }

    async fn shards(&self) -> Result<Value, Problem> {
        let read = async {
            let mut records = self.bus.shards().await.map_err(unavailable)?;
            let mut shards = BTreeMap::new();
            while let Some(ShardSeen::Stored { shard, record, .. }) = records.next().await {
                shards.insert(shard, record);
            }
            Ok(shards)
        };
        let shards = timeout(RECORDS, read)
            .await
            .unwrap_or_else(|_| Err(Problem::unavailable("the bus did not answer in time")))?;
        let line = |(shard, record): (_, crate::bus::ShardRecord)| {
            let crate::room::ShardId(number) = shard;
            json!({"shard": number, "owner": self.name(record.owner), "epoch": record.epoch.0, "floor": record.floor.0})
        };
        Ok(
            json!({"shards": shards.into_iter().map(line).collect::<Vec<_>>(), "of": self.shards.count()}),
        )
    }

    async fn room(&self, room: &str) -> Result<Value, Problem> {
        let room = parse_room(room)?;
        let shard = self.shards.of(&room);
        let record = self
            .bus
            .shard(shard)
            .await
            .map_err(unavailable)?
            .map(|(record, _)| record);
        let view = self.view(&room).await?;
        let members: Vec<_> = view.members.iter().map(UserId::to_string).collect();
        let owner = self.name(record.and_then(|record| record.owner));
        Ok(
            json!({"room": room.as_str(), "shard": shard.0, "owner": owner, "epoch": view.epoch.0, "head": view.head.0, "members": members}),
        )
    }

    fn sessions(&self, room: &str) -> Result<Value, Problem> {
        let room = parse_room(room)?;
        let sessions = self
            .gateway
            .as_ref()
            .map_or_else(Vec::new, |gateway| gateway.sessions_in(&room));
        let line =
            |(session, user): &(_, UserId)| json!({"session": id(session), "user": user.as_str()});
        Ok(
            json!({"room": room.as_str(), "sessions": sessions.iter().map(line).collect::<Vec<_>>()}),
        )
    }

    /// A word to a node may be lost, so it is repeated until the room itself says that the user is gone.
    async fn expel(&self, room: &str, user: &str) -> Result<Value, Problem> {
        let room = parse_room(room)?;
        let user = UserId::parse(user)
            .map_err(|why| Problem::new(StatusCode::BAD_REQUEST, "bad_user", why.to_string()))?;
        let until = Instant::now() + EXPEL;
        let mut was_member = false;
        loop {
            if !self.view(&room).await?.members.contains(&user) {
                return Ok(
                    json!({"room": room.as_str(), "user": user.as_str(), "was_member": was_member}),
                );
            }
            if Instant::now() >= until {
                let message = format!(
                    "{user} is still in room {room}, or came back: try again; with the key a client may always come back"
                );
                return Err(Problem::unavailable(message));
            }
            was_member = true;
            let expel = Inbound::Expel {
                room: room.clone(),
                user: user.clone(),
            };
            for node in self
                .cluster
                .view()
                .nodes
                .iter()
                .filter(|node| node.roles.contains(&Role::Gateway))
            {
                if let Err(error) = self.bus.tell(node.incarnation, &expel).await {
                    tracing::debug!(node = %node.incarnation, %error, "a node was not told to end sessions; it is told again");
                }
            }
            sleep(LOOK).await;
        }
    }

    fn drain(&self) -> Value {
        tracing::info!("an operator asked this node to stop");
        self.unwanted.cancel();
        json!({"draining": true})
    }
}

fn parse_room(room: &str) -> Result<RoomId, Problem> {
    RoomId::parse(room)
        .map_err(|why| Problem::new(StatusCode::BAD_REQUEST, "bad_room", why.to_string()))
}

fn unavailable(error: impl Display) -> Problem {
    Problem::unavailable(error.to_string())
}

fn id(session: &impl Display) -> String {
    session.to_string()
}
