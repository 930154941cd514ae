//! When each client of a loop has something due. A client's deadline changes with whatever it does;
//! the wheel keeps all that was ever put in, and of that only what the client knows here counts.

use super::wheel::Wheel;
use std::time::Duration;

/// What counts of a client's deadlines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Next(Duration);

impl Next {
    /// Nothing is in the wheel for it.
    pub(super) const NONE: Self = Self(Duration::MAX);
}

/// The deadlines of all clients, which have names `T`.
pub(super) struct Deadlines<T>(Wheel<(T, Duration)>);

impl<T: Copy> Deadlines<T> {
    /// None.
    pub(super) fn new() -> Self {
        Self(Wheel::new())
    }

    /// A client has something due at `deadline`. A later one than that which counts is put in when
    /// that one is told.
    pub(super) fn set(&mut self, next: &mut Next, client: T, deadline: Duration) {
        if deadline < next.0 {
            next.0 = deadline;
            self.0.insert(deadline, (client, deadline));
        }
    }

    /// The clients that have to be looked at: with each, what [`Self::is_told`] asks for.
    pub(super) fn advance(&mut self, now: Duration) -> Vec<(T, Duration)> {
        self.0.advance(now)
    }

    /// Whether a client has to be looked at and its deadline set again, be it due or not: the wheel
    /// may tell early. Otherwise an earlier deadline has taken the place of this one.
    pub(super) fn is_told(next: &mut Next, told: Duration) -> bool {
        let counts = next.0 == told;
        if counts {
            *next = Next::NONE;
        }
        counts
    }

    /// When to look again; `None`: nobody has anything due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.0.next()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::wheel::TICK, *};
    use proptest::prelude::*;

    /// Lets the time go on until nobody has anything due, and says when each client was found due.
    fn run(
        deadlines: &mut Deadlines<usize>,
        clients: &mut [(Next, Duration)],
        found: &mut [Option<Duration>],
        mut now: Duration,
    ) {
        loop {
            for (client, told) in deadlines.advance(now) {
                let (next, deadline) = &mut clients[client];
                if Deadlines::<usize>::is_told(next, told) {
                    match now < *deadline {
                        true => deadlines.set(next, client, *deadline),
                        false => found[client] = Some(now),
                    }
                }
            }
            match deadlines.next() {
                Some(next) => now = now.max(next),
                None => return,
            }
        }
    }

    #[test]
    fn who_comes_after_a_long_time_of_nobody_is_told_in_time() {
        let mut deadlines = Deadlines::new();
        let hour = Duration::from_secs(3600);
        let mut clients = [(Next::NONE, hour + Duration::from_secs(25))];
        let (next, deadline) = &mut clients[0];
        deadlines.set(next, 0, *deadline);
        let mut found = [None];
        run(&mut deadlines, &mut clients, &mut found, hour);
        assert_eq!(found, [Some(hour + Duration::from_secs(25))]);
    }

    proptest! {
        /// Clients come after pauses of any length, and their deadlines move.
        #[test]
        fn everybody_is_told_in_time_and_nothing_is_left(
            comes in prop::collection::vec((0..200_000u64, 1..45_000u64, 1..45_000u64), 1..30),
        ) {
            let mut deadlines = Deadlines::new();
            let mut now = Duration::ZERO;
            let mut clients = Vec::new();
            let mut found = vec![None; comes.len()];
            for (pause, first, second) in comes {
                // As a loop that waits for a time or for somebody, whatever is first.
                let until = now + Duration::from_millis(pause);
                while let Some(next) = deadlines.next().filter(|next| *next <= until) {
                    now = now.max(next);
                    for (client, told) in deadlines.advance(now) {
                        let (next, deadline): &mut (Next, Duration) = &mut clients[client];
                        if Deadlines::<usize>::is_told(next, told) {
                            match now < *deadline {
                                true => deadlines.set(next, client, *deadline),
                                false => found[client] = Some(now),
                            }
                        }
                    }
                }
                now = until;
                let client = clients.len();
                clients.push((Next::NONE, Duration::ZERO));
                for due in [first, second] {
                    clients[client].1 = now + Duration::from_millis(due);
                    let (next, deadline) = &mut clients[client];
                    deadlines.set(next, client, *deadline);
                }
            }
            run(&mut deadlines, &mut clients, &mut found, now);
            for ((_, deadline), found) in clients.iter().zip(found) {
                let found = found.expect("everybody is told");
                prop_assert!(*deadline <= found && found <= *deadline + TICK);
            }
        }
    }
}
