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

    /// Whether its client has to be looked at and its deadline set again, be it due or not: the
    /// wheel may tell early. Otherwise an earlier deadline has taken the place of the one told.
    pub(super) fn is_told(&mut self, told: Duration) -> bool {
        let counts = self.0 == told;
        if counts {
            *self = Self::NONE;
        }
        counts
    }
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

    /// The clients that have to be looked at: with each, what [`Next::is_told`] asks for.
    pub(super) fn advance(&mut self, now: Duration) -> Vec<(T, Duration)> {
        self.0.advance(now)
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

    /// A client's deadline, and when it was found due.
    struct Client {
        next: Next,
        deadline: Duration,
        found: Option<Duration>,
    }

    /// Lets the time go on as a loop does that waits for what is due, until `end`, or until nobody
    /// has anything due.
    fn run(
        deadlines: &mut Deadlines<usize>,
        clients: &mut [Client],
        mut now: Duration,
        end: Duration,
    ) {
        while let Some(next) = deadlines.next().filter(|next| *next <= end) {
            now = now.max(next);
            look(deadlines, clients, now);
        }
    }

    fn look(deadlines: &mut Deadlines<usize>, clients: &mut [Client], now: Duration) {
        for (name, told) in deadlines.advance(now) {
            let client = &mut clients[name];
            if client.next.is_told(told) {
                match now < client.deadline {
                    true => deadlines.set(&mut client.next, name, client.deadline),
                    false => client.found = Some(now),
                }
            }
        }
    }

    /// A client comes, whose deadline moves.
    fn come(
        deadlines: &mut Deadlines<usize>,
        clients: &mut Vec<Client>,
        dues: impl IntoIterator<Item = Duration>,
    ) {
        let name = clients.len();
        let mut client = Client {
            next: Next::NONE,
            deadline: Duration::ZERO,
            found: None,
        };
        for due in dues {
            client.deadline = due;
            deadlines.set(&mut client.next, name, due);
        }
        clients.push(client);
    }

    #[test]
    fn who_comes_after_a_long_time_of_nobody_is_told_in_time() {
        let (mut deadlines, mut clients) = (Deadlines::new(), Vec::new());
        let hour = Duration::from_secs(3600);
        let due = hour + Duration::from_secs(25);
        come(&mut deadlines, &mut clients, [due]);
        look(&mut deadlines, &mut clients, hour);
        run(&mut deadlines, &mut clients, hour, Duration::MAX);
        assert_eq!(clients[0].found, Some(due));
    }

    proptest! {
        /// Clients come after pauses of any length, and their deadlines move.
        #[test]
        fn everybody_is_told_in_time_and_nothing_is_left(
            comes in prop::collection::vec((0..200_000u64, 1..45_000u64, 1..45_000u64), 1..30),
        ) {
            let (mut deadlines, mut clients) = (Deadlines::new(), Vec::new());
            let mut now = Duration::ZERO;
            for (pause, first, second) in comes {
                let until = now + Duration::from_millis(pause);
                run(&mut deadlines, &mut clients, now, until);
                now = until;
                let dues = [first, second].map(|due| now + Duration::from_millis(due));
                come(&mut deadlines, &mut clients, dues);
            }
            look(&mut deadlines, &mut clients, now);
            run(&mut deadlines, &mut clients, now, Duration::MAX);
            for Client { deadline, found, .. } in clients {
                let found = found.expect("everybody is told");
                prop_assert!(deadline <= found && found <= deadline + TICK);
            }
        }
    }
}
