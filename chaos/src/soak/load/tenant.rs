//! Rooms whose life is short: made and filled, limited by an operator, filled again, purged; and
//! then the next one, until their names come again.

use super::{Ledger, Phase, passing::Visitor};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Names of rooms of a tenant.
pub(super) const ROOMS: usize = 12;
/// Events that a room keeps when an operator has limited it.
const KEEPS: u64 = 8;
/// An operator's request may take this long, on a busy machine.
const ANSWER: Duration = Duration::from_secs(60);
/// `admin:safe-chat`, whom every node knows that listens on loopback alone.
const OPERATOR: (&str, &str) = ("authorization", "Basic YWRtaW46c2FmZS1jaGF0");
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// Attempts, before the operator gives up.
const ATTEMPTS: usize = 5;

pub(super) struct Tenant {
    pub(super) n: usize,
    pub(super) visitor: Visitor,
    pub(super) operators: Vec<SocketAddr>,
    pub(super) ledger: Ledger,
}

pub(super) async fn run(tenant: Tenant, mut phase: watch::Receiver<Phase>) {
    for number in 0.. {
        let room = format!("tenant-{}-{}", tenant.n, number % ROOMS);
        tenant.live(&room, number).await;
        tenant.ledger.forget(&room);
        if timeout(PAUSE, phase.wait_for(|phase| *phase != Phase::Talk))
            .await
            .is_ok()
        {
            return;
        }
    }
}

impl Tenant {
    async fn live(&self, room: &str, number: usize) {
        self.visitor.visit(room, 2 * number).await;
        let limited = format!("/rooms/{room}/retention?events={KEEPS}");
        self.asks("PUT", limited, number).await;
        self.visitor.visit(room, 2 * number + 1).await;
        self.asks("DELETE", format!("/rooms/{room}"), number).await;
        self.ledger.count(|counts| counts.purges += 1);
    }

    /// Has a node do it; whoever refuses it again and again breaks a promise.
    async fn asks(&self, method: &'static str, path: String, number: usize) {
        let mut why = String::new();
        for attempt in 0..ATTEMPTS {
            let at = self.operators[(number + attempt) % self.operators.len()];
            let url = format!("http://{at}{path}");
            match tokio::task::spawn_blocking(move || ask(method, &url)).await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => why = error.to_string(),
                Err(error) => why = error.to_string(),
            }
            sleep(PAUSE).await;
        }
        self.ledger.broken(format!("{method} {path}: {why}"));
    }
}

fn ask(method: &str, url: &str) -> Result<(), ureq::Error> {
    let agent = ureq::Agent::from(
        ureq::Agent::config_builder()
            .timeout_global(Some(ANSWER))
            .proxy(None)
            .build(),
    );
    match method {
        "PUT" => agent
            .put(url)
            .header(OPERATOR.0, OPERATOR.1)
            .send_empty()
            .map(drop),
        _ => agent
            .delete(url)
            .header(OPERATOR.0, OPERATOR.1)
            .call()
            .map(drop),
    }
}
