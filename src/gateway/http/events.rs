//! `GET /rooms/{room}/events`: a room as server-sent events. The id of an event is its seq, so a client that reconnects goes on where it was.

use super::{
    answer::refuse,
    request::{self, Parameters},
};
use crate::{
    door::Counted,
    gateway::{Client, Handle, Taken, Watch},
    room::Rejection,
};
use axum::{
    body::{Body, Bytes},
    extract::{Extension, State},
    http::{
        HeaderMap, HeaderValue, Uri,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::Response,
};
use futures::{Stream, StreamExt, stream};
use std::{convert::Infallible, time::Duration};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A comment after so much silence keeps proxies from closing the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    Extension(counted): Extension<Counted>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    match open(&handle, &client, &uri, &headers).await {
        Ok(watch) => {
            let mut response = Response::new(Body::from_stream(bytes(
                (watch, counted),
                handle.0.leaving.clone(),
            )));
            let headers = response.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
            response
        }
        Err(rejection) => refuse(&rejection),
    }
}

async fn open(
    handle: &Handle,
    client: &Client,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Watch, Rejection> {
    let room = request::room(uri)?;
    let mut from = Parameters::of(uri)?.from()?;
    // Newer than the query, which a client repeats when it reconnects.
    if let Some(last) = headers.get("last-event-id") {
        from.since = Some(request::last_event_id(last)?);
    }
    handle.watch(client, &room, from).await
}

/// All that waits at once, as one chunk; ends when the client is too slow, the room is lost, or the node drains. The client then reconnects.
/// The connection counts as long as the stream.
fn bytes(
    client: (Watch, Counted),
    end: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let start = stream::once(async { Ok(Bytes::from_static(b"retry: 1000\n\n")) });
    let rest = stream::unfold((client, end), |((watch, counted), end)| async move {
        let taken = end
            .run_until_cancelled(timeout(KEEP_ALIVE, watch.outbox().take()))
            .await?;
        let chunk = match taken {
            Ok(Taken::Frames(frames)) => frames
                .iter()
                .flat_map(|frame| frame.bytes().iter().copied())
                .collect(),
            Ok(Taken::Close(_)) => return None,
            Err(_) => Bytes::from_static(b":\n\n"),
        };
        Some((Ok(chunk), ((watch, counted), end)))
    });
    start.chain(rest)
}
