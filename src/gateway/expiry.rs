//! Ends those who were let in until a time, when that has come, and tells them before. One task for
//! all of a gateway, for connections have none of their own.

use super::{Close, Outbox};
use crate::{
    access::{Admission, Right},
    room::{Reason, Rejection},
    wire::ServerFrame,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How long before its end somebody is told of it; of a shorter stay in its middle.
const ANNOUNCED: Duration = Duration::from_secs(60);

/// Everybody here who was let in until a time.
#[derive(Default)]
pub(super) struct Expiries {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Default)]
struct Inner {
    last: u64,
    /// When somebody is due next.
    due: HashMap<u64, Instant>,
    order: BTreeMap<(Instant, u64), Stay>,
}

/// Until when somebody stays.
struct Stay {
    outbox: Outbox,
    until: Instant,
}

impl Expiries {
    /// Lets somebody stay as their admission says.
    pub(super) fn stay(self: &Arc<Self>, outbox: &Outbox, admission: Admission) -> Admitted {
        let number = admission.until.map(|until| {
            let mut inner = self.lock();
            inner.last += 1;
            let number = inner.last;
            inner.enter(number, outbox.clone(), until);
            drop(inner);
            self.changed.notify_one();
            number
        });
        Admitted {
            admission: Mutex::new(admission),
            number,
            outbox: outbox.clone(),
            expiries: self.clone(),
        }
    }

    /// Tells and ends whoever is due, without end.
    pub(super) async fn run(&self) {
        loop {
            let next = self.lock().order.first_key_value().map(|(key, _)| key.0);
            let due = async {
                match next {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased; // A change may make another one the next.
                () = self.changed.notified() => {}
                () = due => self.tell(Instant::now()),
            }
        }
    }

    fn tell(&self, now: Instant) {
        let mut inner = self.lock();
        while let Some(entry) = inner.order.first_entry()
            && entry.key().0 <= now
        {
            let ((_, number), stay) = entry.remove_entry();
            if stay.until <= now {
                inner.due.remove(&number);
                stay.outbox.close(Close::Expired);
                continue;
            }
            let expires_in_ms = (stay.until - now).as_millis() as u64;
            stay.outbox.push(&ServerFrame::Expiring { expires_in_ms });
            inner.due.insert(number, stay.until);
            inner.order.insert((stay.until, number), stay);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn enter(&mut self, number: u64, outbox: Outbox, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let first = until - ANNOUNCED.min(left / 2);
        self.due.insert(number, first);
        self.order.insert((first, number), Stay { outbox, until });
    }

    fn leave(&mut self, number: u64) -> bool {
        let due = self.due.remove(&number);
        due.is_some_and(|at| self.order.remove(&(at, number)).is_some())
    }
}

/// Somebody who is here, what they may do, and until when. Dropped, they have left.
pub(super) struct Admitted {
    admission: Mutex<Admission>,
    /// Of those whose stay ends.
    number: Option<u64>,
    outbox: Outbox,
    expiries: Arc<Expiries>,
}

impl Admitted {
    /// Refuses what they may not do, or not any more. The clock says so, for what they say may come
    /// before the task that ends them.
    pub(super) fn check(&self, right: Right) -> Result<(), Rejection> {
        let admission = *self.admission();
        if admission.until.is_some_and(|until| until <= Instant::now()) {
            let why = "the token has expired: come with a new one";
            return Err(Rejection::new(Reason::TokenExpired, why));
        }
        if !admission.rights.has(right) {
            return Err(Rejection::new(Reason::Forbidden, right.missing()));
        }
        Ok(())
    }

    /// They were let in again. Whose stay has ended meanwhile is over.
    pub(super) fn again(&self, admission: Admission) {
        let (Some(number), Some(until)) = (self.number, admission.until) else {
            return;
        };
        let mut inner = self.expiries.lock();
        if inner.leave(number) {
            inner.enter(number, self.outbox.clone(), until);
            *self.admission() = admission;
        }
        drop(inner);
        self.expiries.changed.notify_one();
    }

    fn admission(&self) -> MutexGuard<'_, Admission> {
        let admission = self.admission.lock();
        admission.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.expiries.lock().leave(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gateway::{Form, outbox::Limits},
        pressure::Pressure,
        room::RoomId,
        wire::Protocol,
    };
    use tokio::time::advance;

    fn outbox() -> Outbox {
        let room = RoomId::parse("aaa").unwrap();
        let limits = Limits {
            bytes: 1000,
            frames: 10,
            pressure: Pressure::default(),
        };
        Outbox::new(room, Form::Frames(Protocol::Json), limits)
    }

    fn staying(seconds: u64) -> Admission {
        Admission {
            until: Some(Instant::now() + Duration::from_secs(seconds)),
            ..Admission::OPEN
        }
    }

    fn refused(admitted: &Admitted) -> Option<Reason> {
        admitted.check(Right::Write).err().map(|why| why.reason)
    }

    #[tokio::test(start_paused = true)]
    async fn whose_time_is_over_says_nothing_more_whatever_waits_for_them() {
        let (expiries, outbox) = (Arc::new(Expiries::default()), outbox());
        let admitted = expiries.stay(&outbox, staying(120));
        advance(Duration::from_secs(119)).await;
        expiries.tell(Instant::now());
        assert_eq!(refused(&admitted), None);
        assert!(outbox.waiting_bytes() > 0, "it was told of the end");
        advance(Duration::from_secs(1)).await;
        let before = refused(&admitted);
        assert_eq!(before, Some(Reason::TokenExpired), "nobody has looked yet");
        expiries.tell(Instant::now());
        assert_eq!(outbox.closed(), Some(Close::Expired));
        assert_eq!(outbox.waiting_bytes(), 0, "no backlog keeps it here");
        admitted.again(staying(120));
        assert_eq!(refused(&admitted), Some(Reason::TokenExpired), "too late");
    }
}
