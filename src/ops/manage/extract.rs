//! Parts of a request. axum's own extractors refuse with a plain text; these refuse as everything
//! else here does.

use super::ApiError;
use axum::{
    extract::{self, FromRequestParts, rejection::BytesRejection},
    http::request::Parts,
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

/// What the path names.
pub(super) struct Path<T>(pub(super) T);

/// The query, or its defaults.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = extract::Path::from_request_parts(parts, state).await;
        path.map(|extract::Path(path)| Self(path))
            .map_err(|why| ApiError::bad("bad_path", why.body_text()))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = extract::Query::from_request_parts(parts, state).await;
        query
            .map(|extract::Query(query)| Self(query))
            .map_err(|why| ApiError::bad("bad_query", why.body_text()))
    }
}

/// A body that was received as a whole.
pub(super) fn body(received: Result<Bytes, BytesRejection>) -> Result<Bytes, ApiError> {
    received.map_err(|why| ApiError::new(why.status(), "bad_body", why.body_text()))
}
