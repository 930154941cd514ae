//! This node as a micro service of NATS: `nats micro ls|info|stats|ping safe-chat` shows the nodes
//! to whoever may ask there. What it answers changes nothing: a node is managed at its internal
//! port.

use super::Nats;
use crate::{
    bus::{Error, Role},
    room::Incarnation,
};
use async_nats::service::{Service, ServiceExt, endpoint::Endpoint};
use futures::{StreamExt, stream::select_all};
use serde_json::Value;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// The name of the service: that of the program.
const NAME: &str = env!("CARGO_PKG_NAME");
/// Between two attempts to offer it.
const AGAIN: Duration = Duration::from_secs(5);
/// How long an answer may take to be handed to the connection.
const DEADLINE: Duration = Duration::from_secs(2);

/// What a node says of itself.
#[derive(Clone)]
pub struct About {
    /// This run of the node.
    pub incarnation: Incarnation,
    /// Its name.
    pub node: String,
    /// What it does.
    pub roles: Vec<Role>,
    /// How it is: an object. Must return at once.
    pub health: Arc<dyn Fn() -> Value + Send + Sync>,
}

/// The service of a node.
pub struct Micro {
    nats: Nats,
    about: About,
}

impl Micro {
    /// Offered once it runs.
    pub fn new(nats: Nats, about: About) -> Self {
        Self { nats, about }
    }

    /// Answers until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let answering = async {
            loop {
                match self.offer().await {
                    Ok((service, endpoints)) => {
                        self.answer(endpoints).await;
                        // It does so at once.
                        drop(service.stop().await);
                    }
                    Err(error) => debug!(%error, "the micro service is not offered yet"),
                }
                sleep(AGAIN).await;
            }
        };
        stop.run_until_cancelled(answering).await;
    }

    /// The service, with an endpoint that all nodes have and one of this node alone. The library
    /// knows no endpoint without a queue group: a group of its own has one member, too.
    async fn offer(&self) -> Result<(Service, Vec<Endpoint>), Error> {
        let failed = |error: async_nats::Error| {
            Error::Unavailable(format!("offering the micro service: {error}"))
        };
        let (About { incarnation, .. }, subjects) = (&self.about, &self.nats.subjects);
        let health = self.about.health.clone();
        let service = self
            .nats
            .registry
            .client
            .service_builder()
            .description("A node of safe-chat: group chat with one order, no loss, no duplicate")
            .metadata(self.metadata())
            .queue_group(incarnation)
            .stats_handler(move |_, _| health())
            .start(NAME, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(failed)?;
        let mut endpoints = Vec::new();
        for (name, subject) in [
            ("health", subjects.health()),
            ("health-of-node", subjects.health_of(*incarnation)),
        ] {
            let endpoint = service.endpoint_builder().name(name);
            endpoints.push(endpoint.add(subject).await.map_err(failed)?);
        }
        Ok((service, endpoints))
    }

    fn metadata(&self) -> HashMap<String, String> {
        let About {
            incarnation,
            node,
            roles,
            ..
        } = &self.about;
        let roles: Vec<_> = roles.iter().map(Role::as_str).collect();
        HashMap::from([
            ("node".into(), node.clone()),
            ("incarnation".into(), incarnation.to_string()),
            ("roles".into(), roles.join(",")),
            ("prefix".into(), self.nats.subjects.prefix().into()),
        ])
    }

    async fn answer(&self, endpoints: Vec<Endpoint>) {
        let mut requests = select_all(endpoints);
        while let Some(request) = requests.next().await {
            let health = (self.about.health)().to_string();
            // Who asked and is gone is no concern of others.
            drop(timeout(DEADLINE, request.respond(Ok(health.into()))).await);
        }
    }
}
