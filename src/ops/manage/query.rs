//! Parameters that a route does not have are refused, rather than ignored: an operator who asks to
//! forget what a user said, with the user as a parameter, would have a whole room forgotten. What a
//! route has its description says, so none is without.

use super::ApiError;
use axum::{
    extract::Request,
    http::{Method, Uri},
};
use std::collections::HashMap;
use utoipa::openapi::{
    OpenApi, RefOr,
    path::{Operation, ParameterIn},
};

/// The tag of routes whose questions are those of Akka Management. It ignores what it does not
/// know, and scripts for it may bring that.
const AKKA: &str = "cluster";

/// The names of parameters that routes have in their queries.
pub(super) struct Known(HashMap<(String, Method), Vec<String>>);

impl Known {
    /// Those of all routes that a document describes.
    pub(super) fn of(document: &OpenApi) -> Self {
        let mut known = HashMap::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in [
                (Method::GET, &item.get),
                (Method::PUT, &item.put),
                (Method::POST, &item.post),
                (Method::DELETE, &item.delete),
            ] {
                let Some(operation) = operation else {
                    continue;
                };
                let tags = operation.tags.as_deref().unwrap_or_default();
                if method != Method::GET || !tags.iter().any(|tag| tag == AKKA) {
                    known.insert((path.clone(), method), names(operation));
                }
            }
        }
        Self(known)
    }

    /// Refuses a request with a parameter that its route does not have.
    pub(super) fn check(&self, request: &Request, route: &str) -> Result<(), ApiError> {
        let bad = |message: String| ApiError::bad("bad_query", message);
        let method = match request.method() {
            method if *method == Method::HEAD => &Method::GET,
            method => method,
        };
        // The same with a slash behind.
        let path = match route.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        let known = self.0.get(&(path.to_owned(), method.clone()));
        let known = match known {
            Some(known) => &**known,
            None if method == Method::GET => return Ok(()),
            None => &[],
        };
        let given = given(request.uri()).map_err(bad)?;
        let mut unknown: Vec<_> = given.iter().filter(|name| !known.contains(name)).collect();
        unknown.sort();
        unknown.dedup();
        match unknown[..] {
            [] => Ok(()),
            _ => Err(bad(format!(
                "nothing was done: {method} {path} has no parameter {}; it has {}",
                listed(unknown.iter().map(|name| name.as_str())),
                match known {
                    [] => "none".into(),
                    known => listed(known.iter().map(String::as_str)),
                },
            ))),
        }
    }
}

fn names(operation: &Operation) -> Vec<String> {
    let all = operation.parameters.iter().flatten();
    let query = all.filter_map(|one| match one {
        RefOr::T(one) if one.parameter_in == ParameterIn::Query => Some(one.name.clone()),
        RefOr::T(_) | RefOr::Ref(_) => None,
    });
    query.collect()
}

fn given(uri: &Uri) -> Result<Vec<String>, String> {
    let query = uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query)
        .map_err(|why| format!("nothing was done: the query cannot be read: {why}"))?;
    Ok(pairs.into_iter().map(|(name, _)| name).collect())
}

/// Names as a sentence has them; as much as helps.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let short = |name: &str| {
        let name: String = name.chars().take(40).collect();
        format!("`{}`", name.escape_debug())
    };
    names.take(8).map(short).collect::<Vec<_>>().join(", ")
}
