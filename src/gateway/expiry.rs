//! Ends those who were let in until a time, when that has come, and tells them before. One task for
//! all of a gateway, for connections have none of their own.
//!
//! The time is that of the world, as tokens have it. It may be set, and goes on while a machine is
//! suspended, so it is looked at from time to time whether an end has come nearer by it.

use super::{Close, Outbox};
use crate::{
    access::{Admission, End, Right},
    room::{Reason, Rejection},
    wire::ServerFrame,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How long before its end somebody is told of it; of a shorter stay in its middle.
const ANNOUNCED: Duration = Duration::from_secs(60);
/// How often it is looked at the clock of the world.
const LOOK: Duration = Duration::from_secs(30);
/// How much nearer an end must have come: clocks are never quite the same.
const SLACK: Duration = Duration::from_secs(1);

/// Everybody here who was let in until a time.
pub(super) struct Expiries {
    inner: Mutex<Inner>,
    changed: Notify,
    /// The clock of the world.
    wall: fn() -> SystemTime,
}

impl Default for Expiries {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            changed: Notify::new(),
            wall: SystemTime::now,
        }
    }
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
    end: End,
    /// When that is, as the clocks stood.
    until: Instant,
}

impl Expiries {
    /// Lets somebody stay as their admission says.
    pub(super) fn stay(self: &Arc<Self>, outbox: &Outbox, admission: Admission) -> Admitted {
        let number = admission.until.map(|end| {
            let mut inner = self.lock();
            inner.last += 1;
            let number = inner.last;
            inner.enter(number, outbox.clone(), end, (self.wall)());
            drop(inner);
            self.changed.notify_one();
            number
        });
        Admitted {
            admission: Mutex::new((0, admission)),
            number,
            outbox: outbox.clone(),
            expiries: self.clone(),
        }
    }

    /// Tells and ends whoever is due, without end.
    pub(super) async fn run(&self) {
        let mut looked = Instant::now();
        loop {
            let next = self.lock().order.first_key_value().map(|(key, _)| key.0);
            let due = async {
                match next {
                    Some(at) => sleep_until(at.min(looked + LOOK)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased; // A change may make another one the next.
                () = self.changed.notified() => {}
                () = due => {
                    let now = Instant::now();
                    if looked + LOOK <= now {
                        looked = now;
                        self.lock().heed(now, (self.wall)());
                    }
                    self.tell(now);
                }
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
    fn enter(&mut self, number: u64, outbox: Outbox, end: End, wall: SystemTime) {
        let now = Instant::now();
        let until = end.at(now, wall);
        let left = until.saturating_duration_since(now);
        let first = until - ANNOUNCED.min(left / 2);
        self.due.insert(number, first);
        let stay = Stay { outbox, end, until };
        self.order.insert((first, number), stay);
    }

    /// Puts everybody in again whose end has come nearer than it was.
    fn heed(&mut self, now: Instant, wall: SystemTime) {
        let is_nearer = |stay: &Stay| stay.end.at(now, wall) + SLACK < stay.until;
        let stays = self.order.iter().filter(|(_, stay)| is_nearer(stay));
        let nearer: Vec<_> = stays.map(|(key, _)| *key).collect();
        for key in nearer {
            if let Some(Stay { outbox, end, .. }) = self.order.remove(&key) {
                self.enter(key.1, outbox, end, wall);
            }
        }
    }

    fn leave(&mut self, number: u64) -> bool {
        let due = self.due.remove(&number);
        due.is_some_and(|at| self.order.remove(&(at, number)).is_some())
    }
}

/// Somebody who is here, what they may do, and until when. Dropped, they have left.
pub(super) struct Admitted {
    /// And by which of their tokens, from 1 on; 0: as they came.
    admission: Mutex<(u64, Admission)>,
    /// Of those whose stay ends.
    number: Option<u64>,
    outbox: Outbox,
    expiries: Arc<Expiries>,
}

impl Admitted {
    /// Refuses what they may not do, or not any more. The clock says so, for what they say may come
    /// before the task that ends them.
    pub(super) fn check(&self, right: Right) -> Result<(), Rejection> {
        let (_, admission) = *self.admission();
        let is_over = admission.until.is_some_and(|end| {
            let now = Instant::now();
            end.at(now, (self.expiries.wall)()) <= now
        });
        if is_over {
            let why = "the token has expired: come with a new one";
            return Err(Rejection::new(Reason::TokenExpired, why));
        }
        if !admission.rights.has(right) {
            return Err(Rejection::new(Reason::Forbidden, right.missing()));
        }
        Ok(())
    }

    /// They were let in again, by the nth token that they brought. Whose stay has ended meanwhile is
    /// over. Checks of tokens end in any order: whether no later one was taken before.
    pub(super) fn again(&self, nth: u64, admission: Admission) -> bool {
        let (Some(number), Some(end)) = (self.number, admission.until) else {
            return true;
        };
        let mut inner = self.expiries.lock();
        let mut taken = self.admission();
        if nth < taken.0 {
            return false;
        }
        if inner.leave(number) {
            inner.enter(number, self.outbox.clone(), end, (self.expiries.wall)());
            *taken = (nth, admission);
        }
        drop((inner, taken));
        self.expiries.changed.notify_one();
        true
    }

    fn admission(&self) -> MutexGuard<'_, (u64, Admission)> {
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
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use tokio::time::{advance, sleep};

    fn outbox() -> Outbox {
        let room = RoomId::parse("aaa").unwrap();
        let limits = Limits {
            bytes: 1000,
            frames: 10,
            pressure: Pressure::default(),
        };
        Outbox::new(room, Form::Frames(Protocol::Json), limits)
    }

    /// Nothing changes the clock of the world.
    fn still() -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn expiries(wall: fn() -> SystemTime) -> Arc<Expiries> {
        Arc::new(Expiries {
            wall,
            ..Expiries::default()
        })
    }

    fn staying(seconds: u64) -> Admission {
        let at = still() + Duration::from_secs(seconds);
        Admission {
            until: Some(End::new(at, still())),
            ..Admission::OPEN
        }
    }

    fn refused(admitted: &Admitted) -> Option<Reason> {
        admitted.check(Right::Write).err().map(|why| why.reason)
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_stays_longer_because_the_clock_was_behind_or_the_machine_slept() {
        static AHEAD: AtomicU64 = AtomicU64::new(0);
        let expiries = expiries(|| still() + Duration::from_secs(AHEAD.load(Relaxed)));
        let (soon, later) = (outbox(), outbox());
        let hour = expiries.stay(&soon, staying(3600));
        let _day = expiries.stay(&later, staying(86_400));
        let running = tokio::spawn({
            let expiries = expiries.clone();
            async move { expiries.run().await }
        });
        sleep(Duration::from_secs(10)).await;
        assert_eq!((soon.closed(), refused(&hour)), (None, None));
        AHEAD.store(3600, Relaxed);
        assert_eq!(refused(&hour), Some(Reason::TokenExpired), "at once");
        sleep(LOOK).await;
        assert_eq!(
            (soon.closed(), later.closed()),
            (Some(Close::Expired), None)
        );
        AHEAD.store(86_400 - 30, Relaxed);
        sleep(LOOK + Duration::from_secs(16)).await;
        assert!(later.waiting_bytes() > 0, "it is told before");
        running.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_token_counts_whichever_was_checked_first() {
        let (expiries, outbox) = (expiries(still), outbox());
        let admitted = expiries.stay(&outbox, staying(60));
        assert!(admitted.again(2, staying(600)));
        assert!(!admitted.again(1, staying(120)), "a later one was taken");
        advance(Duration::from_secs(599)).await;
        assert_eq!(refused(&admitted), None);
        assert!(admitted.again(3, staying(1200)));
        advance(Duration::from_secs(2)).await;
        assert_eq!(refused(&admitted), None);
    }

    #[tokio::test(start_paused = true)]
    async fn whose_time_is_over_says_nothing_more_whatever_waits_for_them() {
        let (expiries, outbox) = (expiries(still), outbox());
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
        assert!(admitted.again(1, staying(120)));
        assert_eq!(refused(&admitted), Some(Reason::TokenExpired), "too late");
    }
}
