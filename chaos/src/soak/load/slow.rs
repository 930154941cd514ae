//! A room of large messages, and clients of it that read slower than it talks: they are closed with
//! 4003 and come back.

use super::{
    Ledger, Phase,
    socket::{Got, Socket},
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    sync::watch,
    time::{interval, sleep},
};

const ROOM: &str = "soak-large";
/// Bytes of a message of the room.
const BYTES: usize = 16 * 1024;
/// Between two messages of the room.
const EVERY: Duration = Duration::from_millis(125);
/// Between two frames that are read: a tenth of what is said.
const READ: Duration = Duration::from_millis(1250);
/// What the system may keep for a slow reader.
const BUFFER: u32 = 16 * 1024;
/// Between two attempts to connect.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads slowly, until it is closed; again and again.
pub(super) async fn read(
    n: usize,
    gateway: SocketAddr,
    ledger: Ledger,
    mut phase: watch::Receiver<Phase>,
) {
    let user = format!("slow-{n}");
    let read = async {
        loop {
            if let Ok(mut socket) = Socket::join(gateway, ROOM, &user, Some(BUFFER)).await {
                ledger.count(|counts| counts.connects += 1);
                // It shows that it is alive, or it would be closed as silent. It does not get as
                // far as the close frame: the connection ends before.
                while !matches!(socket.next().await, Got::Closed) && socket.ping().await.is_ok() {
                    sleep(READ).await;
                }
            }
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase != Phase::Talk) => {}
        () = read => {}
    }
}

/// Says large things, and reads what it gets.
pub(super) async fn talk(gateway: SocketAddr, ledger: Ledger, mut phase: watch::Receiver<Phase>) {
    let text = "x".repeat(BYTES);
    let talk = async {
        for life in 0.. {
            if let Ok(mut socket) = Socket::join(gateway, ROOM, "large", None).await {
                ledger.count(|counts| counts.connects += 1);
                let mut every = interval(EVERY);
                for n in 0.. {
                    tokio::select! {
                        biased;
                        got = socket.next() => if let Got::Closed = got { break },
                        _ = every.tick() => {
                            let sent = async {
                                socket.queue(&format!("large-{life}-{n}"), &text).await?;
                                socket.flush().await
                            };
                            if sent.await.is_err() {
                                break;
                            }
                        }
                    }
                }
            }
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        biased;
        _ = phase.wait_for(|phase| *phase != Phase::Talk) => {}
        () = talk => {}
    }
}
