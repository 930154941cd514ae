//! The internal port: its own HTTP server, so that a full client port never hides a node's health.

use super::{ApiError, Config, OperatorSlot, Readiness, auth::Guard, manage, places, process};
use crate::{
    listener::{self, Counted, Listener, SlotCounter, Verdict},
    metric,
};
use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use metrics_exporter_prometheus::{BuildError, PrometheusHandle};
use serde_json::{Value, json};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How often histograms are tidied when nobody asks for metrics; the exporter's own choice.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why the internal port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error(
        "the internal port {address} cannot be opened ({why}): end what uses it, or choose another with --internal-port"
    )]
    Listen {
        /// The address.
        address: String,
        /// Why not.
        why: io::Error,
    },
    /// Metrics cannot be collected.
    #[error("metrics cannot be collected: {0}")]
    Metrics(#[from] BuildError),
}

/// The internal port.
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
    shared: Shared,
    keep_alive: Duration,
    guard: Guard,
    slot: OperatorSlot,
}

#[derive(Clone)]
struct Shared {
    readiness: Arc<Readiness>,
    metrics: PrometheusHandle,
}

impl Service {
    /// Opens the port; from now on connections wait to be answered.
    pub async fn bind(config: &Config, readiness: Arc<Readiness>) -> Result<Self, Error> {
        let refused = |why| Error::Listen {
            address: format!("{}:{}", config.host, config.port),
            why,
        };
        let listener = listener::bind(&config.host, config.port)
            .await
            .map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let shared = Shared {
            readiness,
            metrics: metric::recorder()?,
        };
        Ok(Self {
            listener,
            address,
            shared,
            keep_alive: Duration::from_millis(config.keep_alive_ms),
            guard: Guard::new(config),
            slot: OperatorSlot::default(),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the node puts its operator once it runs; until then management is not available.
    pub fn slot(&self) -> OperatorSlot {
        self.slot.clone()
    }

    /// Answers until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let metrics = self.shared.metrics.clone();
        let routes = Router::new()
            .route("/live", get(live))
            .route("/health/alive", get(live))
            .route("/ready", get(ready))
            .route("/health/ready", get(ready))
            .route("/metrics", get(figures))
            .with_state(self.shared)
            .merge(manage::routes(self.guard, self.slot))
            .fallback(not_found)
            .method_not_allowed_fallback(wrong_method);
        let slots = Arc::new(SlotCounter::default());
        let judge = move |peer| judge(&slots, peer);
        let server = Listener::new(routes, judge, self.keep_alive, None, stop.clone());
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP).await;
                metrics.run_upkeep();
            }
        };
        // Only the server ends.
        tokio::select! {
            biased;
            () = server.serve(self.listener, stop.cancelled()) => {}
            () = upkeep => {}
        }
    }
}

async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

async fn not_found() -> ApiError {
    let message = "there is nothing at this path: try /live, /ready, /metrics or /cluster/members";
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}

async fn wrong_method() -> ApiError {
    let message = "this path has no such method: see the header Allow";
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
}

fn judge(slots: &Arc<SlotCounter<IpAddr>>, peer: SocketAddr) -> Verdict {
    match places::take(slots, peer.ip()) {
        Ok(slot) => Verdict::Welcome(Counted::new(slot)),
        Err(full) => Verdict::Refused(Box::new(move |_| {
            ApiError::unavailable(full.to_string()).into_response()
        })),
    }
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, Json<Value>) {
    let (why, warnings) = (shared.readiness.why_not(), shared.readiness.warnings());
    let mut answer = json!({"ready": why.is_empty()});
    if !warnings.is_empty() {
        answer["warnings"] = warnings.into();
    }
    if why.is_empty() {
        return (StatusCode::OK, Json(answer));
    }
    answer["why"] = why.into();
    (StatusCode::SERVICE_UNAVAILABLE, Json(answer))
}

async fn figures(State(shared): State<Shared>) -> String {
    process::record();
    shared.readiness.record();
    let mut text = shared.metrics.render();
    metric::write(&mut text);
    process::write(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Check;

    async fn running() -> (SocketAddr, Arc<Readiness>, CancellationToken) {
        let (readiness, stop) = (Arc::new(Readiness::default()), CancellationToken::new());
        let config = Config {
            port: 0,
            ..Config::default()
        };
        let service = Service::bind(&config, readiness.clone()).await.unwrap();
        let address = service.address();
        tokio::spawn(service.run(stop.clone()));
        (address, readiness, stop)
    }

    async fn ask(address: SocketAddr, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{address}{path}"))
            .await
            .unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    #[tokio::test]
    async fn a_node_is_live_at_once_and_ready_when_every_check_passes() {
        let (address, readiness, _stop) = running().await;
        assert_eq!(
            ask(address, "/live").await,
            (200, r#"{"live":true}"#.into())
        );
        readiness.starting("waiting for NATS");
        assert_eq!(
            ask(address, "/ready").await,
            (503, r#"{"ready":false,"why":["waiting for NATS"]}"#.into())
        );
        let nothing = || Box::new(Vec::new);
        let checks: Vec<Check> = vec![
            ("cluster", Box::new(|| Ok(()))),
            ("journal", Box::new(|| Err("no journal".into()))),
            ("bus", Box::new(|| Err("no bus".into()))),
        ];
        readiness.running(checks, nothing());
        assert_eq!(
            ask(address, "/ready").await,
            (
                503,
                r#"{"ready":false,"why":["no journal","no bus"]}"#.into()
            )
        );
        readiness.running(vec![("bus", Box::new(|| Ok(())))], nothing());
        assert_eq!(
            ask(address, "/ready").await,
            (200, r#"{"ready":true}"#.into())
        );
        readiness.running(Vec::new(), Box::new(|| vec!["too small".into()]));
        assert_eq!(
            ask(address, "/ready").await,
            (200, r#"{"ready":true,"warnings":["too small"]}"#.into())
        );
        readiness.draining();
        assert_eq!(
            ask(address, "/ready").await,
            (503, r#"{"ready":false,"why":["draining"]}"#.into())
        );
    }

    #[tokio::test]
    async fn metrics_of_the_process_and_of_the_parts_are_shown() {
        let (address, ..) = running().await;
        metric::FRAME_TO_JOURNALED.record(0.003);
        let (status, text) = ask(address, "/metrics").await;
        assert_eq!(status, 200);
        for line in [
            "process_resident_memory_bytes ",
            "process_open_fds ",
            "process_cpu_seconds_total ",
            "safechat_tasks ",
            "safechat_build_info{version=",
            r#"safechat_resumes_total{outcome="reset"} "#,
            r#"safechat_frame_to_journaled_seconds_bucket{le="0.005"} "#,
        ] {
            assert!(
                text.lines().any(|it| it.starts_with(line)),
                "{line} is missing in\n{text}"
            );
        }
    }

    #[tokio::test]
    async fn a_path_says_which_methods_it_has() {
        let (address, ..) = running().await;
        let client = reqwest::Client::new();
        for (method, path, status, reason) in [
            ("OPTIONS", "/ready", 204, None),
            ("POST", "/ready", 405, Some("method_not_allowed")),
            ("GET", "/nothing", 404, Some("not_found")),
            ("GET", "/nodes", 401, Some("unauthorized")),
        ] {
            let url = format!("http://{address}{path}");
            let request = client.request(method.parse().unwrap(), url);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status, "{method} {path}");
            let allow = answer.headers().get("allow").cloned();
            if path == "/ready" {
                assert_eq!(allow.unwrap(), "GET,HEAD,OPTIONS", "{method} {path}");
            }
            let body: Value =
                serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default();
            assert_eq!(body["error"]["reason"].as_str(), reason, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_in_use_is_named() {
        let (address, ..) = running().await;
        let config = Config {
            port: address.port(),
            ..Config::default()
        };
        let Err(error) = Service::bind(&config, Arc::default()).await else {
            panic!("two services on one port")
        };
        assert!(
            error.to_string().contains(&address.to_string())
                && error.to_string().contains("--internal-port"),
            "{error}"
        );
    }
}
