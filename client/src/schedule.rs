//! Which gateway is next, and when. Pure: times come in, chance comes from a seed.

use crate::close::{Lost, When};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::{Duration, Instant};

/// A connection that lasted this long starts the backoff anew.
const STEADY: Duration = Duration::from_secs(5);
/// Devices that a client takes within this time before it gives up.
const REPLACED_MOST: usize = 3;
const REPLACED_WITHIN: Duration = Duration::from_secs(300);

/// Delays between attempts to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first one. Each further one is twice as long.
    pub first: Duration,
    /// The longest one.
    pub most: Duration,
}

impl Default for Backoff {
    /// 250 ms to 15 s, up to twice of that by jitter: the clients of a node that died do not come
    /// back as one.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            most: Duration::from_secs(15),
        }
    }
}

impl Backoff {
    fn build(self) -> ExponentialBackoff {
        ExponentialBuilder::default()
            .with_min_delay(self.first)
            .with_max_delay(self.most)
            .with_jitter()
            .without_max_times()
            .build()
    }
}

/// The longest time for which a server can keep a client away.
const MOST_WAIT: Duration = Duration::from_secs(600);

/// What to do after a connection was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Connect again after this time; `new_device`: as another device.
    Connect { wait: Duration, new_device: bool },
    /// Never again.
    End,
}

pub(crate) struct Schedule {
    gateways: usize,
    attempts: usize,
    /// The first round through several gateways is quick; only then all of them are known to fail.
    round: usize,
    delays: Backoff,
    backoff: ExponentialBackoff,
    /// Nothing is final.
    insists: bool,
    /// A server has let it in: what answers in its place, and is none, is waited out.
    was_in: bool,
    /// So many gateways in a row are none.
    foreign: usize,
    /// When sessions were replaced lately.
    replaced: Vec<Instant>,
}

impl Schedule {
    /// `first`: the gateway with which it begins.
    pub(crate) fn new(gateways: usize, first: usize, delays: Backoff, insists: bool) -> Self {
        Self {
            gateways,
            attempts: first,
            round: 0,
            delays,
            backoff: delays.build(),
            insists,
            was_in: false,
            foreign: 0,
            replaced: Vec::new(),
        }
    }

    /// A server has let it in.
    pub(crate) fn is_in(&mut self) {
        self.was_in = true;
    }

    /// The gateway for the next attempt.
    pub(crate) fn gateway(&mut self) -> usize {
        let gateway = self.attempts % self.gateways;
        self.attempts += 1;
        self.round += 1;
        gateway
    }

    /// `open`: since when the connection was there; `None`: it could not be made.
    pub(crate) fn lost(&mut self, lost: &Lost, open: Option<Instant>, now: Instant) -> Next {
        let when = lost.when();
        let steady = open.is_some_and(|since| now - since > STEADY);
        if steady || matches!(when, When::After(_)) {
            self.backoff = self.delays.build();
            self.round = 0;
        }
        let usual = if self.round < self.gateways && self.gateways > 1 {
            self.delays.first
        } else {
            self.backoff.next().unwrap_or(self.delays.most)
        };
        let is_foreign = lost.is_foreign();
        self.foreign = if is_foreign { self.foreign + 1 } else { 0 };
        // Another address may be the right one.
        let waits = is_foreign && (self.was_in || self.foreign < self.gateways);
        let (wait, new_device) = match when {
            When::Never if self.insists || waits => (usual, false),
            When::Never => return Next::End,
            When::AsAnotherDevice if !self.takes_new_device(now) && !self.insists => {
                return Next::End;
            }
            When::AsAnotherDevice => (usual, true),
            When::Soon if steady => (self.delays.first.mul_f64(rand::random()), false),
            When::Soon | When::Backoff => (usual, false),
            When::AtLeast(least) => (usual.max(least.min(MOST_WAIT)), false),
            When::After(exactly) => (exactly.min(MOST_WAIT), false),
        };
        Next::Connect { wait, new_device }
    }

    /// Goes on as another device, so that both sessions can live; false when that did not help.
    fn takes_new_device(&mut self, now: Instant) -> bool {
        self.replaced.retain(|at| now - *at < REPLACED_WITHIN);
        self.replaced.push(now);
        self.replaced.len() <= REPLACED_MOST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::close::{CloseCode, Refusal};

    fn closed(code: CloseCode) -> Lost {
        Lost::Closed {
            code,
            reason: String::new(),
            bye: None,
        }
    }

    fn wait(next: Next) -> Duration {
        match next {
            Next::Connect { wait, .. } => wait,
            Next::End => panic!("ended"),
        }
    }

    #[test]
    fn gateways_take_turns() {
        let mut schedule = Schedule::new(3, 1, Backoff::default(), false);
        let turns: Vec<_> = (0..4).map(|_| schedule.gateway()).collect();
        assert_eq!(turns, [1, 2, 0, 1]);
    }

    #[test]
    fn what_is_no_gateway_is_passed_over_while_another_one_may_be() {
        let foreign = Lost::Refused(Refusal {
            status: 200,
            ..Refusal::default()
        });
        let (mut schedule, now) = (
            Schedule::new(2, 0, Backoff::default(), false),
            Instant::now(),
        );
        for lost in [&foreign, &Lost::Broken("x".into()), &foreign] {
            schedule.gateway();
            wait(schedule.lost(lost, None, now));
        }
        assert_eq!(schedule.lost(&foreign, None, now), Next::End);
    }

    #[test]
    fn the_first_round_is_quick_and_then_each_delay_is_longer_up_to_the_most() {
        let (mut schedule, now) = (
            Schedule::new(2, 0, Backoff::default(), false),
            Instant::now(),
        );
        let waits: Vec<_> = (0..10)
            .map(|_| {
                schedule.gateway();
                wait(schedule.lost(&Lost::Broken("x".into()), None, now))
            })
            .collect();
        assert_eq!(waits[0], Duration::from_millis(250));
        assert!(waits[1] <= Duration::from_millis(500), "{waits:?}");
        let most = Duration::from_secs(15);
        assert!(waits[9] >= most && waits[9] <= most * 2, "{waits:?}");
    }

    #[test]
    fn a_connection_that_lasted_begins_the_backoff_anew() {
        let (mut schedule, start) = (
            Schedule::new(1, 0, Backoff::default(), false),
            Instant::now(),
        );
        for _ in 0..8 {
            schedule.gateway();
            schedule.lost(&Lost::Broken("x".into()), None, start);
        }
        let later = start + Duration::from_secs(60);
        let next = schedule.lost(&Lost::Broken("x".into()), Some(start), later);
        assert!(wait(next) <= Duration::from_millis(250));
    }

    #[test]
    fn a_bye_is_obeyed_to_the_millisecond() {
        let (mut schedule, now) = (
            Schedule::new(1, 0, Backoff::default(), false),
            Instant::now(),
        );
        let delay = Duration::from_millis(1300);
        let bye = Lost::Closed {
            code: CloseCode::Away,
            reason: String::new(),
            bye: Some(delay),
        };
        assert_eq!(wait(schedule.lost(&bye, Some(now), now)), delay);
    }

    #[test]
    fn no_server_keeps_a_client_away_for_ever() {
        let (mut schedule, now) = (
            Schedule::new(1, 0, Backoff::default(), false),
            Instant::now(),
        );
        let ages = Duration::from_secs(u64::MAX);
        let bye = Lost::Closed {
            code: CloseCode::Away,
            reason: String::new(),
            bye: Some(ages),
        };
        let refused = Lost::Refused(Refusal {
            status: 429,
            retry_after: Some(ages),
            ..Refusal::default()
        });
        for lost in [bye, refused] {
            assert_eq!(wait(schedule.lost(&lost, Some(now), now)), MOST_WAIT);
        }
    }

    #[test]
    fn a_replaced_session_goes_on_as_another_device_but_not_for_ever() {
        let (mut schedule, now) = (
            Schedule::new(1, 0, Backoff::default(), false),
            Instant::now(),
        );
        let replaced = closed(CloseCode::Replaced);
        for _ in 0..3 {
            let next = schedule.lost(&replaced, Some(now), now);
            assert!(matches!(
                next,
                Next::Connect {
                    new_device: true,
                    ..
                }
            ));
        }
        assert_eq!(schedule.lost(&replaced, Some(now), now), Next::End);
        let later = now + Duration::from_secs(301);
        let next = schedule.lost(&replaced, Some(later), later);
        assert!(matches!(
            next,
            Next::Connect {
                new_device: true,
                ..
            }
        ));
    }

    #[test]
    fn what_is_no_server_ends_only_who_was_never_let_in() {
        let (mut schedule, now) = (
            Schedule::new(1, 0, Backoff::default(), false),
            Instant::now(),
        );
        let of = |status: u16, reason: &str| {
            Lost::Refused(Refusal {
                status,
                reason: reason.into(),
                ..Refusal::default()
            })
        };
        let proxies = [200, 302, 403, 404].map(|status| of(status, ""));
        for lost in &proxies {
            assert_eq!(schedule.lost(lost, None, now), Next::End);
        }
        schedule.is_in();
        for lost in &proxies {
            wait(schedule.lost(lost, None, now));
        }
        let refused = of(403, "forbidden");
        assert_eq!(schedule.lost(&refused, None, now), Next::End);
    }

    #[test]
    fn what_cannot_change_ends() {
        let (mut schedule, now) = (
            Schedule::new(1, 0, Backoff::default(), false),
            Instant::now(),
        );
        assert_eq!(
            schedule.lost(&closed(CloseCode::Ended), Some(now), now),
            Next::End
        );
        let mut insistent = Schedule::new(1, 0, Backoff::default(), true);
        let next = insistent.lost(&closed(CloseCode::Ended), Some(now), now);
        assert!(matches!(next, Next::Connect { .. }));
    }
}
