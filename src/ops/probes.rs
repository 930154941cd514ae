//! What machines ask of a node, without a login: whether it lives, whether it should get traffic,
//! and what it measures.

use super::{
    Vitals,
    answer::{Live, Ready},
};
use axum::{Json, extract::State, http::StatusCode};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(super) fn routes(vitals: Vitals) -> OpenApiRouter {
    OpenApiRouter::default()
        .routes(routes!(live))
        .routes(routes!(alive))
        .routes(routes!(ready))
        .routes(routes!(health_ready))
        .routes(routes!(metrics))
        .with_state(vitals)
}

/// Whether the process runs
#[utoipa::path(get, path = "/live", tag = "health", responses((status = 200, body = Live)))]
async fn live() -> Json<Live> {
    Json(Live { live: true })
}

/// The same as /live
#[utoipa::path(get, path = "/health/alive", tag = "health", responses((status = 200, body = Live)))]
async fn alive() -> Json<Live> {
    live().await
}

/// Whether the node should get traffic
#[utoipa::path(
    get, path = "/ready", tag = "health",
    responses(
        (status = 200, body = Ready, description = "It should."),
        (status = 503, body = Ready, description = "It should not, and why."),
    )
)]
async fn ready(State(vitals): State<Vitals>) -> (StatusCode, Json<Ready>) {
    let why = vitals.readiness().why_not();
    let status = match why.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let answer = Ready {
        ready: why.is_empty(),
        warnings: vitals.readiness().warnings(),
        why,
    };
    (status, Json(answer))
}

/// The same as /ready
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    responses(
        (status = 200, body = Ready, description = "It should."),
        (status = 503, body = Ready, description = "It should not, and why."),
    )
)]
async fn health_ready(vitals: State<Vitals>) -> (StatusCode, Json<Ready>) {
    ready(vitals).await
}

/// What the node measures, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain"))
)]
async fn metrics(State(vitals): State<Vitals>) -> String {
    vitals.shown().await
}
