//! A client that sends far too much at once. Each of its messages is answered, journaled or
//! refused.

use super::{
    Ledger, Phase,
    socket::{Got, Socket},
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Messages of a flood: more than the default burst of a session.
pub(super) const MESSAGES: usize = 1500;
/// Between two floods.
pub(super) const PAUSE: Duration = Duration::from_secs(30);
/// How long the answers may take: the messages of a session are stored one after another, each when
/// the disk has it.
const PATIENCE: Duration = Duration::from_secs(180);
const ROOM: &str = "soak-flood";

pub(super) async fn run(
    n: usize,
    gateway: SocketAddr,
    ledger: Ledger,
    mut phase: watch::Receiver<Phase>,
) {
    let user = format!("flood-{n}");
    for number in 0.. {
        if let Ok(mut socket) = Socket::join(gateway, ROOM, &user, None).await {
            ledger.count(|counts| counts.connects += 1);
            let flood = timeout(PATIENCE, flood(&mut socket, number, &ledger));
            let flooded = tokio::select! {
                biased;
                // It is asked to leave before it has all answers.
                _ = phase.wait_for(|phase| *phase == Phase::Leave) => return,
                flooded = flood => flooded,
            };
            match flooded {
                Ok(MESSAGES) => {}
                Ok(answered) => {
                    ledger.broken(format!("{user}: {answered} of {MESSAGES} messages were answered before the connection ended"))
                }
                Err(_) => ledger.broken(format!("{user}: not all {MESSAGES} messages were answered within {} s", PATIENCE.as_secs())),
            }
            socket.close().await;
        }
        tokio::select! {
            biased;
            _ = phase.wait_for(|phase| *phase != Phase::Talk) => return,
            () = sleep(PAUSE) => {}
        }
    }
}

/// How many messages were answered.
async fn flood(socket: &mut Socket, number: usize, ledger: &Ledger) -> usize {
    for n in 0..MESSAGES {
        if socket
            .queue(&format!("flood-{number}-{n}"), "x")
            .await
            .is_err()
        {
            return 0;
        }
    }
    if socket.flush().await.is_err() {
        return 0;
    }
    let mut answered = 0;
    while answered < MESSAGES {
        match socket.next().await {
            Got::Closed => break,
            Got::Frame(frame) if frame["type"] == "rejected" => {
                ledger.count(|counts| counts.rejected += 1);
                answered += 1;
            }
            Got::Frame(frame) => answered += usize::from(frame["type"] == "journaled"),
        }
    }
    answered
}
