//! What operator parts of nodes ask of each other: an operator may turn to any node.

use crate::{
    bus::{Bus, Error},
    ops::ApiError,
    room::Incarnation,
};
use axum::http::StatusCode;
use bytes::Bytes;
use futures::StreamExt;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Between two attempts to listen.
const AGAIN: Duration = Duration::from_millis(500);

/// What one node asks of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(super) enum Order {
    /// Stop in order.
    Leave {
        /// The node that an operator turned to.
        #[serde(default)]
        by: Option<String>,
        /// Who that operator is.
        #[serde(default)]
        operator: Option<String>,
    },
    /// The shards that it writes.
    Region,
    /// What it says of itself.
    Figures,
    /// A page of the sessions that it has in a room.
    Sessions {
        room: String,
        /// The session after which it begins.
        #[serde(default)]
        after: Option<String>,
    },
    /// Send all sessions elsewhere, so many per second.
    Disconnect {
        /// Rounded up.
        per_second: u32,
        /// The same as a part of what all nodes together do. Nodes of before know no parts.
        #[serde(default)]
        exactly: Option<f64>,
        /// The node that an operator turned to.
        #[serde(default)]
        by: Option<String>,
        /// Who that operator is.
        #[serde(default)]
        operator: Option<String>,
    },
    /// Begin a trace, or go on with it, and give what was noted.
    Trace {
        id: u64,
        room: Option<String>,
        user: Option<String>,
    },
}

/// What it answers.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Done(Value),
    Failed { status: u16, message: String },
}

/// Asks a node, within the deadline of the bus.
pub(super) async fn ask<T: DeserializeOwned>(
    bus: &dyn Bus,
    node: Incarnation,
    order: &Order,
) -> Result<T, ApiError> {
    let request = serde_json::to_vec(order).expect("an order becomes JSON");
    let answer = bus.consult(node, request.into()).await;
    let answer = answer.map_err(|error| {
        ApiError::unavailable(match error {
            Error::NoResponders(_) => {
                "the node is not running: it is starting, or it is forgotten within seconds"
                    .to_owned()
            }
            Error::Unknown(why) => {
                format!("{why}: if it is frozen or cut off, declare it down (PUT operation=Down)")
            }
            other => other.to_string(),
        })
    })?;
    match serde_json::from_slice(&answer) {
        Ok(Reply::Done(value)) => read(value),
        Ok(Reply::Failed { status, message }) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            Err(ApiError::new(status, "refused", message))
        }
        Err(_) => Err(unknown()),
    }
}

/// What a node answered, as its type.
pub(super) fn read<T: DeserializeOwned>(answer: Value) -> Result<T, ApiError> {
    serde_json::from_value(answer).map_err(|_| unknown())
}

fn unknown() -> ApiError {
    ApiError::unavailable("the node answers what this version does not understand")
}

/// An answer as it is sent: one that is too long would be lost, and this node be taken for frozen.
fn written(answer: &Reply, longest: usize) -> Bytes {
    let bytes = serde_json::to_vec(answer).unwrap_or_default();
    if bytes.len() <= longest {
        return bytes.into();
    }
    let refused = Reply::Failed {
        status: 413,
        message: format!(
            "the answer has {} bytes, and the nats-servers take {longest} (max_payload): ask that \
             node itself",
            bytes.len()
        ),
    };
    serde_json::to_vec(&refused).unwrap_or_default().into()
}

/// Answers what other nodes ask, until `stop`. `obey` must return at once.
pub(super) async fn listen(
    bus: Arc<dyn Bus>,
    me: Incarnation,
    stop: CancellationToken,
    obey: impl Fn(Order) -> Result<Value, ApiError>,
) {
    let answer = |request: &[u8]| match serde_json::from_slice(request) {
        Ok(order) => match obey(order) {
            Ok(value) => Reply::Done(value),
            Err(error) => Reply::Failed {
                status: error.status.as_u16(),
                message: error.message,
            },
        },
        Err(_) => Reply::Failed {
            status: 501,
            message: "this node's version does not know that: ask it itself".into(),
        },
    };
    let listening = async {
        loop {
            match bus.consultations(me).await {
                Ok(mut asked) => {
                    while let Some(asked) = asked.next().await {
                        let bytes = written(&answer(&asked.request), asked.longest);
                        (asked.respond)(bytes);
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "other nodes cannot ask this one yet; trying again");
                }
            }
            sleep(AGAIN).await;
        }
    };
    stop.run_until_cancelled(listening).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_answer_that_would_be_lost_is_refused_instead() {
        let answer = || Reply::Done(json!("x".repeat(1000)));
        let whole = written(&answer(), 1_024);
        assert!(matches!(serde_json::from_slice(&whole), Ok(Reply::Done(_))));
        let refused = serde_json::from_slice(&written(&answer(), 1_000));
        let Ok(Reply::Failed { status, message }) = refused else {
            panic!("not refused");
        };
        assert!(
            status == 413 && message.contains("max_payload"),
            "{message}"
        );
    }

    #[test]
    fn orders_of_before_are_understood() {
        let read = |text: &str| serde_json::from_str::<Order>(text).unwrap();
        let (by, operator) = (None, None);
        let leave = Order::Leave { by, operator };
        assert_eq!(read(r#"{"order":"leave"}"#), leave);
        let sessions = read(r#"{"order":"sessions","room":"aaa"}"#);
        let room = "aaa".to_owned();
        assert_eq!(sessions, Order::Sessions { room, after: None });
        let disconnect = read(r#"{"order":"disconnect","per_second":3}"#);
        let (per_second, exactly) = (3, None);
        assert_eq!(
            disconnect,
            Order::Disconnect {
                per_second,
                exactly,
                by: None,
                operator: None,
            }
        );
    }
}
