//! Management over HTTP: what operators may ask, and the little that they may do. What stands
//! behind it is an [`Operator`], which is there once the node runs.

mod cluster;
mod error;
mod extract;
mod nodes;
mod operation;
mod query;
mod rooms;

pub use error::ApiError;

use super::{
    accounts::Role,
    answer::{
        Disconnecting, Draining, Erased, Kicked, Member, Members, Message, Nodes, Overview, Purged,
        Rebalance, Region, Retained, Retention, Room, Rooms, SeedNodes, Sessions, Shards, Stats,
        TraceLine, Unpinned,
    },
    audit::{self, Act, Named},
    dashboard, document,
    guard::Guard,
};
use crate::{
    listener::{Counted, Peer},
    metric,
    ops::places::Place,
};
use async_trait::async_trait;
use axum::{
    Extension, Json,
    extract::{Request, State},
    http::{Method, header::SET_COOKIE},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use futures::stream::BoxStream;
use query::Known;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use utoipa_axum::{router::OpenApiRouter, routes};

/// What a node can be asked and told by those who operate it. Every call returns within a bounded
/// time. Nodes go by their address (with or without `akka://` and `safe-chat@`), by their name, or
/// by their incarnation.
#[async_trait]
pub trait Operator: Send + Sync {
    /// The members of the cluster, as this one sees it.
    fn members(&self) -> Members;
    /// One of them.
    fn member(&self, member: &str) -> Result<Member, ApiError>;
    /// Tells a member to stop in order: its shards and clients go elsewhere first. `by`: the
    /// operator, whom the member names.
    async fn leave(&self, member: &str, by: &str) -> Result<Message, ApiError>;
    /// Declares a member gone, so that others take its shards at once.
    async fn down(&self, member: &str) -> Result<Message, ApiError>;
    /// The shards that this node writes, with how many rooms of each are in memory.
    fn region(&self) -> Region;
    /// The same of all nodes.
    async fn stats(&self) -> Stats;
    /// What changes in the cluster, beginning with how it is now; of these types, or of all.
    fn domain_events(&self, types: &[String]) -> Result<BoxStream<'static, DomainEvent>, ApiError>;
    /// The members that a new one could turn to.
    fn seed_nodes(&self) -> SeedNodes;
    /// The nodes of the cluster, as this one sees it.
    fn nodes(&self) -> Nodes;
    /// The nodes of the cluster with what each says of itself.
    async fn overview(&self) -> Overview;
    /// Who writes which shard.
    async fn shards(&self) -> Result<Shards, ApiError>;
    /// A page of the rooms that were ever written: those after one, at most `limit`.
    async fn rooms(&self, after: Option<&str>, limit: usize) -> Result<Rooms, ApiError>;
    /// Where a room is, how far it goes, who is there, and what is stored of it.
    async fn room(&self, room: &str) -> Result<Room, ApiError>;
    /// The sessions that this node has in a room.
    fn sessions(&self, room: &str) -> Result<Sessions, ApiError>;
    /// Ends all sessions of a user in a room, at whichever nodes they are. `Ok` when the user has
    /// left.
    async fn expel(&self, room: &str, user: &str) -> Result<Kicked, ApiError>;
    /// Takes the key away from a name in a room, whose sessions end. `Ok` when it has none.
    async fn unpin(&self, room: &str, user: &str) -> Result<Unpinned, ApiError>;
    /// Says how much of a room's past is kept; `None`: as much as of all rooms. `Ok` when its owner
    /// knows that.
    async fn retain(&self, room: &str, own: Option<Retention>) -> Result<Retained, ApiError>;
    /// Has everything of a room forgotten that was before. `Ok` when its owner tells nothing of it
    /// any more.
    async fn purge(&self, room: &str) -> Result<Purged, ApiError>;
    /// Has the content of what a user said in a room so far erased. `Ok` when its owner tells none
    /// of it any more.
    async fn erase(&self, room: &str, user: &str) -> Result<Erased, ApiError>;
    /// Begins to send sessions elsewhere, so many per second in all; they are told to come back.
    /// `by`: the operator, whom the nodes name.
    async fn disconnect(
        &self,
        whom: Whom,
        per_second: u32,
        by: &str,
    ) -> Result<Disconnecting, ApiError>;
    /// Begins to move shards to an even assignment, so many per second. `dry`: only says which.
    async fn rebalance(&self, per_second: u32, dry: bool) -> Result<Rebalance, ApiError>;
    /// What happens to the messages of a room or a user from now on, for so many seconds.
    fn trace(
        &self,
        room: Option<&str>,
        user: Option<&str>,
        seconds: u64,
    ) -> Result<BoxStream<'static, TraceLine>, ApiError>;
    /// Begins to stop this node in order.
    fn drain(&self) -> Draining;
}

/// Whose sessions are sent elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// Those of one node.
    Node(String),
    /// Those of all.
    All,
}

/// Something that happened to the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct DomainEvent {
    /// Its type.
    pub kind: &'static str,
    /// All about it, its type too.
    pub data: Value,
}

/// The name of the operator who asks: an extension of every request that is let in.
#[derive(Debug, Clone)]
pub(super) struct By(pub(super) Arc<str>);

/// Where the node's operator appears.
pub type OperatorSlot = Arc<OnceLock<Arc<dyn Operator>>>;

/// All of it, behind the guard.
pub(super) fn routes(guard: Guard, slot: OperatorSlot) -> OpenApiRouter {
    let mut routes = OpenApiRouter::default()
        .merge(cluster::routes())
        .merge(nodes::routes())
        .merge(rooms::routes())
        .routes(routes!(dashboard::dashboard));
    document::guarded(routes.get_openapi_mut());
    let known = Known::of(routes.get_openapi());
    routes
        .with_state(slot)
        .route_layer(from_fn_with_state(Arc::new((guard, known)), check))
}

/// What a route needs. A trace shows who talks with whom, and has every node note that.
pub(super) fn needs(method: &Method, route: &str) -> Role {
    match [Method::GET, Method::HEAD].contains(method) && route != "/trace" {
        true => Role::Read,
        false => Role::Operate,
    }
}

async fn check(
    State(passed): State<Arc<(Guard, Known)>>,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(counted): Extension<Counted>,
    mut request: Request,
    next: Next,
) -> Response {
    let (guard, known) = &*passed;
    let visitor = match guard.log_in(peer.ip(), request.headers()).await {
        Ok(visitor) => visitor,
        Err(error) => return refused(error),
    };
    if let Some(place) = counted.get::<Place>() {
        place.note_login();
    }
    let (account, method) = (visitor.account, request.method().clone());
    let needs = needs(&method, audit::route(&request));
    let act = match needs {
        Role::Read => None,
        Role::Operate => Some(Act::of(account.clone(), peer, &mut request).await),
    };
    let mut response = match guard.allow(&account, needs, &method, request.headers()) {
        Ok(()) => {
            request.extensions_mut().insert(By(account.name().into()));
            let response = match known.check(&request, audit::route(&request)) {
                Ok(()) => next.run(request).await,
                Err(error) => error.into_response(),
            };
            let failed = response.status().is_client_error() || response.status().is_server_error();
            let outcome = match needs {
                _ if failed => "failed",
                Role::Read => "looked",
                Role::Operate => "acted",
            };
            metric::MANAGEMENT_REQUESTS.of(outcome).increment(1);
            response
        }
        Err(error) => refused(error),
    };
    if let Some(act) = act {
        let named = response.extensions().get::<Named>().copied();
        act.done(response.status(), named);
    }
    if let Some(pass) = visitor.pass {
        response.headers_mut().append(SET_COOKIE, pass);
    }
    response
}

fn refused(error: ApiError) -> Response {
    metric::MANAGEMENT_REFUSED.of(error.reason).increment(1);
    error.into_response()
}

fn operator(slot: &OperatorSlot) -> Result<&dyn Operator, ApiError> {
    slot.get()
        .map(|operator| &**operator)
        .ok_or_else(|| ApiError::unavailable("the node is starting: see /ready"))
}

type Answer<T> = Result<Json<T>, ApiError>;
