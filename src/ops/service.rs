//! The internal port: its own HTTP server, so that a full client port never hides a node's health.
//! Probes are answered there too, or at a port of their own (`ops.probes_port`), so that whoever
//! watches a node need not reach what manages it.

use super::{
    Accounts, ApiError, Config, OperatorSlot, Readiness, accounts, document,
    guard::Guard,
    manage,
    places::{Place, Places},
    probes,
    vitals::Vitals,
};
use crate::{
    listener::{self, Counted, Listener, Verdict},
    metric,
};
use axum::{
    Extension, Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};
use metrics_exporter_prometheus::BuildError;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use utoipa_axum::{router::OpenApiRouter, routes};

/// How often histograms are tidied when nobody asks for metrics; the exporter's own choice.
const UPKEEP: Duration = Duration::from_secs(5);

/// Why the internal port cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be listened on.
    #[error(
        "the internal port {address} cannot be opened ({why}): {}",
        listener::advice(why, setting)
    )]
    Listen {
        /// The address.
        address: String,
        /// What sets its port.
        setting: &'static str,
        /// Why not.
        why: io::Error,
    },
    /// Metrics cannot be collected.
    #[error("metrics cannot be collected: {0}")]
    Metrics(#[from] BuildError),
    /// It is not known who may manage the node.
    #[error("ops.operators_file: {0}")]
    Operators(#[from] accounts::Error),
}

/// The internal port.
pub struct Service {
    management: Port,
    /// Where probes are answered, if that is another port.
    probes: Option<Port>,
    vitals: Vitals,
    keep_alive: Duration,
    guard: Guard,
    accounts: Accounts,
    slot: OperatorSlot,
}

/// A port that is listened on.
struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    async fn open(host: &str, port: u16, setting: &'static str) -> Result<Self, Error> {
        let refused = |why| Error::Listen {
            address: format!("{host}:{port}"),
            setting,
            why,
        };
        let listener = listener::bind(host, port).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Answers until `stop`.
    async fn serve(self, routes: Router, keep_alive: Duration, stop: CancellationToken) {
        let places = Arc::new(Places::new(stop.clone()));
        let judge = move |peer| judge(&places, peer);
        let server = Listener::new(routes, judge, keep_alive, None, stop.clone());
        server.serve(self.listener, stop.cancelled()).await;
    }
}

impl Service {
    /// Opens the ports of a node, by its name; from now on connections wait to be answered.
    pub async fn bind(
        config: &Config,
        node: &str,
        readiness: Arc<Readiness>,
    ) -> Result<Self, Error> {
        let accounts = Accounts::load(config)?;
        let management = Port::open(&config.host, config.port, "--internal-port").await?;
        let probes = match config.probes() {
            Some((host, port)) => Some(Port::open(host, port, "ops.probes_port").await?),
            None => None,
        };
        let vitals = Vitals::new(node, readiness, metric::recorder()?);
        Ok(Self {
            management,
            probes,
            vitals,
            keep_alive: Duration::from_millis(config.keep_alive_ms),
            guard: Guard::new(config, accounts.clone()),
            accounts,
            slot: OperatorSlot::default(),
        })
    }

    /// Where it is managed.
    pub fn address(&self) -> SocketAddr {
        self.management.address
    }

    /// Where probes are answered.
    pub fn probes_address(&self) -> SocketAddr {
        self.probes.as_ref().unwrap_or(&self.management).address
    }

    /// Where the node puts its operator once it runs; until then management is not available.
    pub fn slot(&self) -> OperatorSlot {
        self.slot.clone()
    }

    /// What this node measures.
    pub fn vitals(&self) -> Vitals {
        self.vitals.clone()
    }

    /// Who may manage it.
    pub fn accounts(&self) -> Accounts {
        self.accounts.clone()
    }

    /// Answers until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            management,
            probes,
            vitals,
            keep_alive,
            guard,
            accounts,
            slot,
        } = self;
        let managed = manage::routes(guard, slot);
        let probed = probes::routes(vitals.clone());
        let serving = async {
            match probes {
                None => {
                    let routes = finished(described().merge(probed).merge(managed));
                    management.serve(routes, keep_alive, stop.clone()).await;
                }
                Some(port) => {
                    let elsewhere = Elsewhere(port.address.port());
                    let managed = finished(described().merge(managed)).layer(Extension(elsewhere));
                    let probed = finished(probed);
                    tokio::join!(
                        management.serve(managed, keep_alive, stop.clone()),
                        port.serve(probed, keep_alive, stop.clone()),
                    );
                }
            }
        };
        let upkeep = async {
            loop {
                tokio::time::sleep(UPKEEP).await;
                vitals.upkeep();
            }
        };
        // Only the server ends.
        tokio::select! {
            biased;
            () = serving => {}
            () = upkeep => {}
            () = accounts.follow() => {}
        }
    }
}

/// Routes that describe themselves and those that join them.
fn described() -> OpenApiRouter {
    OpenApiRouter::with_openapi(document::base()).routes(routes!(document::openapi))
}

/// What a port answers, with its description.
fn finished(routes: OpenApiRouter) -> Router {
    let (routes, described) = routes.split_for_parts();
    routes
        .layer(Extension(document::finish(described)))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(note_request))
}

/// Which connections ask something, and which only hold a place.
async fn note_request(request: Request, next: Next) -> Response {
    let counted = request.extensions().get::<Counted>();
    if let Some(place) = counted.and_then(Counted::get::<Place>) {
        place.note_request();
    }
    next.run(request).await
}

/// The port at which probes are answered, which is not this one.
#[derive(Debug, Clone, Copy)]
struct Elsewhere(u16);

async fn not_found(request: Request) -> ApiError {
    let message = match request.extensions().get::<Elsewhere>() {
        Some(Elsewhere(port)) => format!(
            "there is nothing at this path: try /cluster/members, or port {port} for /live, /ready \
             and /metrics"
        ),
        None => {
            "there is nothing at this path: try /live, /ready, /metrics or /cluster/members".into()
        }
    };
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

fn judge(places: &Arc<Places>, peer: SocketAddr) -> Verdict {
    match places.take(peer.ip()) {
        Ok(place) => {
            let evicted = place.evicted();
            Verdict::Welcome(Counted::evictable(place, evicted))
        }
        Err(full) => Verdict::Refused(Box::new(move |_| {
            ApiError::unavailable(full.to_string()).into_response()
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Check;
    use serde_json::Value;

    async fn running() -> (SocketAddr, Arc<Readiness>, CancellationToken) {
        let (readiness, stop) = (Arc::new(Readiness::default()), CancellationToken::new());
        let config = Config {
            port: 0,
            ..Config::default()
        };
        let service = Service::bind(&config, r#"a"\b"#, readiness.clone())
            .await
            .unwrap();
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
        assert!(text.contains(r#",node="a\"\\b"} 1"#), "{text}");
    }

    #[tokio::test]
    async fn idle_connections_keep_no_probe_out() {
        let (address, ..) = running().await;
        let mut idle = Vec::new();
        for n in 0..320 {
            // Loopback has as many addresses as anybody could have.
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            let from = [127, 0, 1, (n / 64 + 1) as u8];
            socket.bind((from, 0).into()).unwrap();
            idle.push(socket.connect(address).await.unwrap());
            if n % 64 == 63 {
                let live = ask(address, "/live").await;
                assert_eq!(live, (200, r#"{"live":true}"#.into()), "after {n}");
            }
        }
    }

    #[tokio::test]
    async fn metrics_are_taken_only_so_often_however_often_they_are_asked_for() {
        let (address, ..) = running().await;
        let of = |text: &str| {
            let mut lines = text.lines();
            let line = lines.find(|line| line.starts_with("safechat_holes_skipped_total "));
            line.unwrap().to_owned()
        };
        let (_, first) = ask(address, "/metrics").await;
        let mut others = std::collections::BTreeSet::from([of(&first)]);
        for _ in 0..300 {
            metric::HOLES.increment(1);
            others.insert(of(&ask(address, "/metrics").await.1));
        }
        assert!((2..300).contains(&others.len()), "{}", others.len());
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
    async fn probes_may_have_a_port_of_their_own_at_which_nothing_is_managed() {
        let config = Config {
            port: 0,
            probes_port: Some(0),
            ..Config::default()
        };
        let service = Service::bind(&config, "n", Arc::default()).await.unwrap();
        let (managed, probed) = (service.address(), service.probes_address());
        assert_ne!(managed, probed);
        let stop = CancellationToken::new();
        let _stops = stop.clone().drop_guard();
        tokio::spawn(service.run(stop));
        for (path, at_probes, at_management) in [
            ("/live", 200, 404),
            ("/health/alive", 200, 404),
            ("/ready", 503, 404),
            ("/health/ready", 503, 404),
            ("/metrics", 200, 404),
            ("/openapi.json", 404, 200),
            ("/nodes", 404, 401),
            ("/cluster/members", 404, 401),
            ("/dashboard", 404, 401),
        ] {
            assert_eq!(ask(probed, path).await.0, at_probes, "{path}");
            let (status, text) = ask(managed, path).await;
            assert_eq!(status, at_management, "{path}");
            if at_probes != 404 {
                assert!(text.contains(&format!("port {}", probed.port())), "{text}");
            }
        }
    }

    #[tokio::test]
    async fn a_port_that_is_in_use_is_named() {
        let (address, ..) = running().await;
        let config = Config {
            port: address.port(),
            ..Config::default()
        };
        let Err(error) = Service::bind(&config, "n", Arc::default()).await else {
            panic!("two services on one port")
        };
        assert!(
            error.to_string().contains(&address.to_string())
                && error.to_string().contains("--internal-port"),
            "{error}"
        );
    }
}
