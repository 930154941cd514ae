//! `GET /rooms/{room}/events`: a room as server-sent events. The id of an event is its seq, so a
//! client that reconnects goes on where it was.

use super::{
    answer::{event_stream, refuse},
    gate,
    request::{self, Parameters},
};
use crate::{
    gateway::{Client, Handle, Taken, Watch, join},
    listener::Counted,
    room::Rejection,
};
use axum::{
    body::{Body, Bytes},
    extract::{Extension, Request, State},
    http::request::Parts,
    response::Response,
};
use futures::{Stream, stream};
use std::{convert::Infallible, time::Duration};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// A comment after so much silence keeps proxies from closing the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// When to connect again; behind the first events or the id, which a stream begins with.
const RETRY: &[u8] = b"retry: 1000\n\n";

pub(super) async fn events(
    State(handle): State<Handle>,
    Extension(client): Extension<Client>,
    Extension(counted): Extension<Counted>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    match open(&handle, &client, &parts).await {
        Ok(watch) => {
            let end = handle.0.leaving.clone();
            event_stream(Body::from_stream(bytes((watch, counted), end)))
        }
        Err(rejection) => refuse(&rejection),
    }
}

async fn open(handle: &Handle, client: &Client, parts: &Parts) -> Result<Watch, Rejection> {
    let Parts { uri, headers, .. } = parts;
    let room = request::room(uri)?;
    let parameters = Parameters::of(uri)?;
    let mut from = parameters.from()?;
    // Newer than the query, which a client repeats when it reconnects.
    if let Some(last) = headers.get_all("last-event-id").iter().next_back()
        && let Some(last) = request::last_event_id(last)?
    {
        (from.since, from.since_at) = (Some(last), None);
    }
    let within = join::WATCH_DEADLINE;
    let admission = gate::reader(handle, client, parts, &room, &parameters, within).await?;
    handle.watch_until(client, &room, from, admission).await
}

/// All that waits at once, as one chunk; ends when the client is too slow, the room is lost, or the
/// node drains. The client then reconnects. The connection counts as long as the stream.
fn bytes(
    client: (Watch, Counted),
    end: CancellationToken,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let start = Some(RETRY);
    stream::unfold(
        (client, end, start),
        |((watch, counted), end, start)| async move {
            let taken = end
                .run_until_cancelled(timeout(KEEP_ALIVE, watch.outbox().take()))
                .await?;
            let mut chunk: Vec<u8> = match taken {
                Ok(Taken::Frames(frames)) => frames
                    .iter()
                    .flat_map(|frame| frame.bytes().iter().copied())
                    .collect(),
                Ok(Taken::Close(_)) => return None,
                Err(_) => b":\n\n".to_vec(),
            };
            chunk.extend(start.unwrap_or_default());
            Some((Ok(Bytes::from(chunk)), ((watch, counted), end, None)))
        },
    )
}
