//! A trace over all nodes: begun and gone on with by taking the steps of every node, so that it
//! ends by itself with whoever looks on.

use super::{
    NodeOperator,
    orders::Order,
    rooms::{parse_room, parse_user},
};
use crate::{
    ops::{
        ApiError,
        answer::{TraceLine, Traced},
    },
    trace::{About, Taken, Tracer},
};
use axum::http::StatusCode;
use futures::stream::{BoxStream, unfold};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep_until};

/// Between two times that steps are taken.
const PERIOD: Duration = Duration::from_millis(500);
/// The most seconds that a trace lasts.
const LONGEST: u64 = 600;

/// A trace that somebody looks at.
struct Look {
    operator: Arc<NodeOperator>,
    order: Order,
    until: Instant,
    next: Instant,
    ready: VecDeque<TraceLine>,
}

impl NodeOperator {
    /// The steps of messages of a room, of a user, or of a user in a room, for so many seconds.
    pub(super) fn begin_trace(
        self: Arc<Self>,
        room: Option<&str>,
        user: Option<&str>,
        seconds: u64,
    ) -> Result<BoxStream<'static, TraceLine>, ApiError> {
        about(room, user)?;
        if !(1..=LONGEST).contains(&seconds) {
            let message = format!("seconds must be 1 to {LONGEST}, not {seconds}");
            return Err(ApiError::bad("bad_seconds", message));
        }
        let id = rand::random();
        let order = Order::Trace {
            id,
            room: room.map(str::to_owned),
            user: user.map(str::to_owned),
        };
        let now = Instant::now();
        tracing::info!(room, user, seconds, "an operator traces messages");
        let look = Look {
            operator: self,
            order,
            until: now + Duration::from_secs(seconds),
            next: now,
            ready: VecDeque::new(),
        };
        let steps = unfold(look, |mut look| async { Some((look.next().await?, look)) });
        Ok(Box::pin(steps))
    }

    /// What this node has noted since the last time.
    pub(super) fn take_trace(
        &self,
        id: u64,
        room: Option<&str>,
        user: Option<&str>,
    ) -> Result<Taken, ApiError> {
        let about = about(room, user)?;
        let take = |tracer: Tracer| {
            let taken = tracer.take(id, &about);
            taken.map_err(|why| {
                ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many", why.to_string())
            })
        };
        let gateway = self.gateway.as_ref().map(|gateway| gateway.tracer());
        let writer = self.writer.as_ref().map(|writer| writer.tracer());
        let mut all = Taken::default();
        for tracer in gateway.into_iter().chain(writer) {
            let Taken { steps, missed } = take(tracer)?;
            all.steps.extend(steps);
            all.missed += missed;
        }
        Ok(all)
    }
}

impl Look {
    async fn next(&mut self) -> Option<TraceLine> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            if self.next > self.until {
                return None;
            }
            sleep_until(self.next).await;
            self.next += PERIOD;
            self.take().await;
        }
    }

    async fn take(&mut self) {
        let answers = self.operator.ask_everybody::<Taken>(&self.order).await;
        let mut lines = Vec::new();
        for (node, answer) in answers {
            let line = |what| TraceLine {
                node: node.clone(),
                what,
            };
            match answer {
                Ok(Taken { steps, missed }) => {
                    lines.extend(steps.into_iter().map(Traced::Step).map(line));
                    if missed > 0 {
                        lines.push(line(Traced::Missed { missed }));
                    }
                }
                Err(error) => lines.push(line(Traced::Silent {
                    error: error.message,
                })),
            }
        }
        // Clocks of nodes differ: hops of one message stand in their order where the times are the
        // same.
        lines.sort_by_key(|line| match &line.what {
            Traced::Step(step) => (Some(step.at), step.seq),
            Traced::Missed { .. } | Traced::Silent { .. } => (None, None),
        });
        self.ready.extend(lines);
    }
}

fn about(room: Option<&str>, user: Option<&str>) -> Result<About, ApiError> {
    if room.is_none() && user.is_none() {
        let message = "name a room, a user, or both";
        return Err(ApiError::bad("bad_trace", message));
    }
    Ok(About {
        room: room.map(parse_room).transpose()?,
        user: user.map(parse_user).transpose()?,
    })
}
