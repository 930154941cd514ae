//! A connection between a client and a gateway, in place of a WebSocket: frames in order each way,
//! delays, little room on the way to the client, and an end that either side may not notice at
//! once.

use crate::random::Random;
use safe_chat::{
    gateway::{Handle, Join, Taken},
    room::Reason,
    wire::Incoming,
};
use serde_json::Value;
use std::time::Duration;
use tokio::{sync::mpsc, time::sleep};

/// Batches of frames on their way to a client that does not read: what a socket's buffers hold.
pub(crate) const ON_THE_WAY: usize = 2;

/// How long a client may take to read the last thing that it is told.
const LAST: Duration = Duration::from_secs(1);

/// Why a client may be refused that has done nothing wrong: it comes again.
pub(crate) const MAY_BE: [Reason; 5] = [
    Reason::Unavailable,
    Reason::Draining,
    Reason::Busy,
    Reason::RateLimited,
    Reason::TooManySessions,
];

/// What a client hears.
pub(crate) enum Heard {
    Frames(Vec<Value>),
    Refused(Reason),
    Closed(u16),
}

/// The client's end. Dropped: the connection is gone.
pub(crate) struct Wire {
    pub(crate) up: mpsc::UnboundedSender<String>,
    pub(crate) down: mpsc::Receiver<Heard>,
}

/// The gateway's end.
pub(crate) struct Far {
    up: mpsc::UnboundedReceiver<String>,
    down: mpsc::Sender<Heard>,
    random: Random,
}

pub(crate) fn wire(random: Random) -> (Wire, Far) {
    let (up, up_far) = mpsc::unbounded_channel();
    let (down_far, down) = mpsc::channel(ON_THE_WAY);
    (
        Wire { up, down },
        Far {
            up: up_far,
            down: down_far,
            random,
        },
    )
}

impl Far {
    /// Carries frames between the client and a session that it opens.
    pub(crate) async fn carry(mut self, gateway: Handle, join: Join) {
        let mut session = match gateway.join(join).await {
            Ok(session) => session,
            // Whoever is gone does not hear it.
            Err(rejection) => return drop(self.down.send(Heard::Refused(rejection.reason)).await),
        };
        loop {
            tokio::select! {
                biased; // What the client says first, as far as it is there; both are bounded by the client.
                said = self.up.recv() => match said {
                    // Bounded by the client: it need not be held back.
                    Some(text) => {
                        session.receive(Incoming::Text(&text));
                    }
                    None => return,
                },
                taken = session.outbox().take() => {
                    let (heard, last) = match taken {
                        Taken::Frames(frames) => (Heard::Frames(frames.iter().map(|frame| value(frame.bytes())).collect()), false),
                        Taken::Close(close) => (Heard::Closed(close.code()), true),
                    };
                    sleep(self.random.time(Duration::from_millis(20))).await;
                    if last {
                        return drop(self.down.send_timeout(heard, LAST).await);
                    }
                    if self.down.send(heard).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

fn value(frame: &[u8]) -> Value {
    serde_json::from_slice(frame).expect("a frame of the JSON protocol is JSON")
}
