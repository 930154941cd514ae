//! A client that stays: it sends at its times and reads everything, through whatever its network
//! does.

use super::{Account, Phase};
use loadtest::client::{self, Outgoing};
use std::time::Duration;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

/// Messages that may wait for a connection; more are not made.
const WAITING: usize = 256;
/// Bytes of text.
const BYTES: usize = 100;

pub(super) struct Plan {
    pub(super) account: Account,
    pub(super) options: client::Options,
    pub(super) every: Duration,
    pub(super) offset: Duration,
    pub(super) connected: mpsc::Sender<()>,
    pub(super) phase: watch::Receiver<Phase>,
}

pub(super) async fn run(plan: Plan) {
    let Plan {
        account,
        options,
        every,
        offset,
        connected,
        mut phase,
    } = plan;
    let user = options.user.clone();
    let (outgoing, messages) = mpsc::channel(WAITING);
    let (steps, mut own) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let client = client::run(options, messages, steps, connected, stopped);
    let watch = async {
        while let Some((at, step)) = own.recv().await {
            account.step(at, &step);
        }
    };
    let talk = async {
        let first = Instant::now() + offset;
        for n in 0_u32.. {
            let due = first + every * n;
            tokio::select! {
                biased;
                _ = phase.wait_for(|phase| *phase != Phase::Talk) => break,
                () = sleep_until(due) => {}
            }
            let id = format!("{user}-{n}");
            account.sends(&id, due);
            if outgoing
                .try_send(Outgoing {
                    text: "x".repeat(BYTES),
                    id: id.clone(),
                })
                .is_err()
            {
                account.takes_back(&id);
            }
        }
        // Only an end of the whole load is an error, and that is a reason to leave.
        let _ = phase.wait_for(|phase| *phase == Phase::Leave).await;
        stop.send_replace(true);
        outgoing.closed().await;
    };
    // The client ends when it is told to; then its steps end, too.
    let _ = tokio::join!(client, watch, talk);
}
