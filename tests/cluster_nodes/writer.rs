//! An owner that only holds leases, and the ledger in which all owners write down what they were
//! given.

#![allow(dead_code)] // Each test binary uses its part.

use async_trait::async_trait;
use safe_chat::{
    bus::Position,
    cluster::{Lease, Owner},
    room::{Epoch, Incarnation, ShardId},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) taken: BTreeMap<(ShardId, Epoch), Incarnation>,
    pub(crate) lost: usize,
    pub(crate) violations: Vec<String>,
}

impl Ledger {
    fn note(&mut self, lease: &Lease) {
        let (shard, epoch, owner) = (lease.shard(), lease.epoch(), lease.owner());
        if let Some(before) = self.taken.insert((shard, epoch), owner) {
            self.violations.push(format!(
                "shard {shard} epoch {epoch} was given to {before} and to {owner}"
            ));
        }
    }
}

pub(crate) struct Writer {
    ledger: Arc<Mutex<Ledger>>,
    leases: Mutex<BTreeMap<ShardId, Lease>>,
}

impl Writer {
    pub(crate) fn new(ledger: Arc<Mutex<Ledger>>) -> Self {
        Self {
            ledger,
            leases: Mutex::default(),
        }
    }

    pub(crate) fn held(&self) -> BTreeMap<ShardId, Epoch> {
        self.leases
            .lock()
            .unwrap()
            .iter()
            .map(|(shard, lease)| (*shard, lease.epoch()))
            .collect()
    }

    pub(crate) fn fence(&self, shard: ShardId, seen: Epoch) -> Epoch {
        let lease = self.end(shard).unwrap();
        let epoch = lease.epoch();
        lease.fenced(seen);
        epoch
    }

    fn end(&self, shard: ShardId) -> Option<Lease> {
        self.leases.lock().unwrap().remove(&shard)
    }
}

#[async_trait]
impl Owner for Writer {
    async fn acquire(&self, lease: Lease) {
        self.ledger.lock().unwrap().note(&lease);
        let shard = lease.shard();
        if let Some(other) = self.leases.lock().unwrap().insert(shard, lease) {
            self.ledger.lock().unwrap().violations.push(format!(
                "shard {shard} had a lease already, of epoch {}",
                other.epoch()
            ));
        }
    }

    async fn release(&self, shard: ShardId) {
        let Some(mut lease) = self.end(shard) else {
            return;
        };
        let floor = Position(lease.floor().0 + 1);
        let checkpoint = lease.checkpoint(floor).await;
        if checkpoint.is_ok() {
            // What becomes of it shows in the record.
            let _ = lease.release(floor).await;
        }
    }

    async fn lose(&self, shard: ShardId) {
        if self.end(shard).is_some() {
            self.ledger.lock().unwrap().lost += 1;
        }
    }
}
