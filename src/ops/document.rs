//! The description of the internal port, in OpenAPI: made from the handlers, so that no route is
//! without one; what all routes share is added here.

use super::{
    accounts::Role,
    answer::{Reason, Refusal},
    manage::needs,
};
use axum::{
    Extension,
    http::{HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use utoipa::{
    OpenApi,
    openapi::{
        self, HttpMethod, Ref, RefOr,
        header::HeaderBuilder,
        path::{Operation, PathItem},
        response::ResponseBuilder,
        schema::{ObjectBuilder, Type},
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

/// The name of the way to log in.
const LOGIN: &str = "operator";

#[derive(OpenApi)]
#[openapi(
    info(
        title = "safe-chat, internal port",
        description = "What those who operate a node ask it and tell it. Whichever node is asked, \
                       it asks the others where that takes them.",
    ),
    components(schemas(Refusal, Reason)),
    tags(
        (name = "health", description = "Whether the node lives and should get traffic"),
        (name = "cluster", description = "The routes of Akka Management"),
        (name = "nodes", description = "Nodes and shards"),
        (name = "rooms", description = "Rooms and their sessions"),
    )
)]
struct Base;

/// The document as it is served.
#[derive(Clone)]
pub(super) struct Document(Bytes);

/// What is said before any route.
pub(super) fn base() -> openapi::OpenApi {
    let mut base = Base::openapi();
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Basic)
        .description(Some(
            "An operator of ops.operators_file, or ops.user with ops.password; as a role: read \
             or operate",
        ))
        .build();
    base.components
        .get_or_insert_default()
        .add_security_scheme(LOGIN, SecurityScheme::Http(scheme));
    base
}

/// Says of all routes what the guard before them asks for and answers.
pub(super) fn guarded(document: &mut openapi::OpenApi) {
    each(document, |path, method, operation| {
        let needs = match method {
            HttpMethod::Get => needs(&Method::GET, path),
            _ => Role::Operate,
        };
        let login = SecurityRequirement::new(LOGIN, [needs.as_str()]);
        operation.security = Some(vec![login]);
        refused(operation, "401", "Not logged in.", Some("WWW-Authenticate"));
        if needs == Role::Operate {
            let why = "It needs an operator with the role operate, and no web page may ask it.";
            refused(operation, "403", why, None);
        }
        refused(operation, "404", "The node is not managed over HTTP.", None);
        refused(operation, "429", "Too many requests.", Some("Retry-After"));
        let away = "The node is starting, or something that it needs is away.";
        refused(operation, "503", away, Some("Retry-After"));
    });
}

/// The whole document.
pub(super) fn finish(mut document: openapi::OpenApi) -> Document {
    each(&mut document, |_, _, operation| {
        refused(operation, "400", "The request makes no sense.", None);
        // What a route answers when all is well is what it is for.
        let summary = operation.summary.clone().unwrap_or_default();
        for response in operation.responses.responses.values_mut() {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                response.description.clone_from(&summary);
            }
        }
    });
    // axum's mark of a parameter that may have slashes is none of OpenAPI's.
    let paths = std::mem::take(&mut document.paths.paths);
    let plain = paths
        .into_iter()
        .map(|(path, item)| (path.replace("{*", "{"), item));
    document.paths.paths = plain.collect();
    let text = document
        .to_pretty_json()
        .expect("a description becomes JSON");
    Document(text.into())
}

/// This document
#[utoipa::path(
    get, path = "/openapi.json", tag = "health",
    responses((status = 200, body = Object, description = "OpenAPI 3.1"))
)]
pub(super) async fn openapi(Extension(Document(text)): Extension<Document>) -> Response {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Adds an answer, unless the route says itself what it means.
fn refused(operation: &mut Operation, status: &str, why: &str, header: Option<&str>) {
    let content = openapi::ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("Refusal")))
        .build();
    let mut response = ResponseBuilder::new()
        .description(why)
        .content("application/json", content);
    if let Some(name) = header {
        let text = ObjectBuilder::new().schema_type(Type::String).build();
        response = response.header(name, HeaderBuilder::new().schema(Some(text)).build());
    }
    let responses = &mut operation.responses.responses;
    responses
        .entry(status.to_owned())
        .or_insert_with(|| RefOr::T(response.build()));
}

fn each(document: &mut openapi::OpenApi, mut change: impl FnMut(&str, HttpMethod, &mut Operation)) {
    for (path, item) in &mut document.paths.paths {
        let PathItem {
            get,
            put,
            post,
            delete,
            ..
        } = item;
        for (method, operation) in [
            (HttpMethod::Get, get),
            (HttpMethod::Put, put),
            (HttpMethod::Post, post),
            (HttpMethod::Delete, delete),
        ] {
            if let Some(operation) = operation {
                change(path, method, operation);
            }
        }
    }
}
