//! Rooms whose life is short: made and filled, limited by an operator, filled again, purged; and
//! then the next one, until their names come again.

use super::{Ledger, Phase, passing::Visitor};
use crate::operator::{Method, Operator, Question};
use std::time::Duration;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

/// Names of rooms of a tenant.
pub(super) const ROOMS: usize = 12;
/// Events that a room keeps when an operator has limited it.
const KEEPS: u64 = 8;
/// How long an operator asks until he gives up.
const PATIENCE: Duration = Duration::from_secs(300);
/// Between two rooms.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Tenant {
    pub(super) n: usize,
    pub(super) visitor: Visitor,
    pub(super) operator: Operator,
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
        self.asks(Method::Put, limited, number).await;
        self.visitor.visit(room, 2 * number + 1).await;
        let purged = format!("/rooms/{room}");
        self.asks(Method::Delete, purged, number).await;
        self.ledger.count(|counts| counts.purges += 1);
    }

    /// Has a node do it; whoever refuses it again and again breaks a promise.
    async fn asks(&self, method: Method, path: String, number: usize) {
        let (question, until) = (Question { method, path }, Instant::now() + PATIENCE);
        let asked = self.operator.asks(number, &question, until, || {}).await;
        if let Err(refusal) = asked {
            self.ledger.broken(format!("{question:?}: {refusal:?}"));
        }
    }
}
