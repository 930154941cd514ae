//! What a PUT to a member asks for: `operation=Down|Leave`, as a form, in parts, or as JSON.

use axum::http::{HeaderMap, header::CONTENT_TYPE};
use bytes::Bytes;
use futures::stream;
use multer::Multipart;
use serde::Deserialize;
use std::convert::Infallible;
use utoipa::ToSchema;

/// What can be done to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// It is gone: forget it at once.
    Down,
    /// It shall stop in order.
    Leave,
}

/// What to do to a member.
#[derive(Deserialize, ToSchema)]
pub(super) struct Operate {
    /// In any case.
    #[schema(
        pattern = "^([Dd][Oo][Ww][Nn]|[Ll][Ee][Aa][Vv][Ee])$",
        example = "Leave"
    )]
    operation: String,
}

/// The operation that a body names, in any case; `None`: none that there is.
pub(super) async fn read(headers: &HeaderMap, body: Bytes) -> Option<Operation> {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    let named = match () {
        () if kind.starts_with("multipart/form-data") => in_parts(headers, body).await,
        () if kind.contains("json") => in_json(&body),
        () => in_form(&body),
    };
    match named?.trim().to_ascii_lowercase().as_str() {
        "down" => Some(Operation::Down),
        "leave" => Some(Operation::Leave),
        _ => None,
    }
}

fn in_json(body: &[u8]) -> Option<String> {
    let Operate { operation } = serde_json::from_slice(body).ok()?;
    Some(operation)
}

fn in_form(body: &[u8]) -> Option<String> {
    let fields: Vec<(String, String)> = serde_urlencoded::from_bytes(body).ok()?;
    let operation = |(name, value): (String, String)| (name == "operation").then_some(value);
    fields.into_iter().rev().find_map(operation)
}

/// A header that names no boundary (set by hand) is made up for: the first line of the body has it.
async fn in_parts(headers: &HeaderMap, body: Bytes) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let first = || {
        let line = body.split(|byte| *byte == b'\r').next()?;
        let line = std::str::from_utf8(line).ok()?;
        Some(line.strip_prefix("--")?.to_owned())
    };
    let boundary = multer::parse_boundary(kind).ok().or_else(first)?;
    let whole = stream::iter([Ok::<_, Infallible>(body.clone())]);
    let mut parts = Multipart::new(whole, boundary);
    while let Some(part) = parts.next_field().await.ok()? {
        if part.name() == Some("operation") {
            return part.text().await.ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn operation(kind: &str, body: &str) -> Option<Operation> {
        let mut headers = HeaderMap::new();
        if !kind.is_empty() {
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        }
        read(&headers, Bytes::copy_from_slice(body.as_bytes())).await
    }

    #[tokio::test]
    async fn an_operation_is_understood_in_any_case_and_any_form() {
        use Operation::{Down, Leave};
        let parts = "--xyz\r\nContent-Disposition: form-data; name=\"operation\"\r\n\r\nleave\r\n--xyz--\r\n";
        let form = "application/x-www-form-urlencoded";
        for (kind, body, expected) in [
            (form, "operation=Down", Some(Down)),
            (form, "operation=LEAVE", Some(Leave)),
            (form, "a=b&operation=l%65ave&c", Some(Leave)),
            ("", "operation=leave", Some(Leave)),
            ("application/json", r#"{"operation":"dOWN"}"#, Some(Down)),
            (
                "application/json; charset=utf-8",
                r#"{"operation":"Leave"}"#,
                Some(Leave),
            ),
            ("multipart/form-data; boundary=xyz", parts, Some(Leave)),
            ("Multipart/Form-Data", parts, Some(Leave)),
            (form, "operation=Join", None),
            (form, "operation=", None),
            (form, "Down", None),
            (form, "", None),
            ("application/json", r#"{"operation":1}"#, None),
            ("application/json", "operation=Down", None),
            ("multipart/form-data; boundary=abc", parts, None),
            ("multipart/form-data", "", None),
        ] {
            assert_eq!(operation(kind, body).await, expected, "{kind}: {body}");
        }
    }
}
