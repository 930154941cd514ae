//! What the person was shown of the room: the stretch without gaps that is held, and what there is
//! to see of each notice of the client. Pure.

use safe_chat_client::{Body, Event, Notice, Page};
use std::collections::BTreeMap;

use super::view::Line;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// Lowest and highest seq that were shown.
    first: Option<u64>,
    last: Option<u64>,
    /// What a session has to show before the room is caught up with.
    head: Option<u64>,
    was_caught_up: bool,
    /// Highest seq of our own messages: they are settled when they were shown.
    awaited: u64,
    /// Events from before that are asked for at the first join.
    history: u16,
}

impl Room {
    pub(super) fn new(history: u16) -> Room {
        Room {
            history,
            ..Room::default()
        }
    }

    /// One that was shown up to this place before.
    pub(super) fn read(up_to: Option<u64>) -> Room {
        Room {
            last: up_to,
            ..Room::default()
        }
    }

    /// What there is to see of it.
    pub(super) fn take(&mut self, notice: Notice) -> Option<Line> {
        let line = match notice {
            Notice::Connected { welcome, resumed } => {
                if self.first.is_none() && self.history == 0 {
                    self.first = welcome.seq.map(|head| head + 1);
                    self.last = self.last.or(welcome.seq);
                    self.was_caught_up = true;
                }
                self.head = welcome.seq;
                Some(Line::Joined {
                    members: welcome.members,
                    node: welcome.node,
                    resumed,
                })
            }
            // It is read again.
            Notice::Event(event) if self.last >= Some(event.seq) => None,
            Notice::Event(event) => {
                if event.body == Body::Purged {
                    self.first = Some(event.seq);
                }
                self.first.get_or_insert(event.seq);
                self.last = Some(event.seq);
                Some(Line::Event(event))
            }
            Notice::Reset { seq, reason } => {
                let read = self.last;
                (self.first, self.last) = (Some(seq), Some(seq.saturating_sub(1)));
                self.awaited = 0;
                Some(Line::Reset { reason, seq, read })
            }
            Notice::Rejected {
                reason, message, ..
            } => Some(Line::Rejected {
                text: String::new(),
                why: format!("{reason}: {message}"),
            }),
            Notice::Bye { reason } => Some(Line::Bye { reason }),
            _ => None,
        };
        self.was_caught_up |= self.head.is_some_and(|head| self.last >= Some(head));
        line
    }

    /// A message of ours is at this place.
    pub(super) fn journaled(&mut self, seq: u64) {
        self.awaited = self.awaited.max(seq);
    }

    /// Whether the room was caught up with at least once, and shows all that was said.
    pub(super) fn is_settled(&self) -> bool {
        self.was_caught_up && self.last.is_some_and(|last| last >= self.awaited)
    }

    /// The place before which earlier events are; `Err`: why there are none.
    pub(super) fn earlier(&self) -> Result<Option<u64>, &'static str> {
        match self.first {
            Some(1) => Err("nothing is earlier: the service says that the room begins with #1"),
            first => Ok(first),
        }
    }

    /// Earlier events came, with what there is to read in the place of some.
    pub(super) fn page(&mut self, page: Page, notes: BTreeMap<u64, String>) -> Line {
        let Page {
            mut events, more, ..
        } = page;
        let is_in_order = events.windows(2).all(|two| two[0].seq < two[1].seq);
        if !is_in_order || events.first().is_some_and(|event| event.seq == 0) {
            return Line::NoHistory;
        }
        events.retain(|event| self.first.is_none_or(|first| event.seq < first));
        let seq = |event: Option<&Event>| event.map(|event| event.seq);
        let joint = self.first.zip(seq(events.last()));
        let holes = events.windows(2).map(|two| two[1].seq - two[0].seq - 1);
        let lost = joint.map_or(0, |(first, last)| first - 1 - last) + holes.sum::<u64>();
        self.first = seq(events.first()).or(self.first);
        Line::Earlier {
            events,
            notes,
            lost,
            more,
        }
    }
}

#[cfg(test)]
mod tests {
    use safe_chat_client::Welcome;

    use super::*;

    fn event(seq: u64) -> Event {
        Event {
            seq,
            at: 0,
            from: "harry".into(),
            to: None,
            id: None,
            body: Body::Text("x".into()),
        }
    }

    fn connected(head: u64) -> Notice {
        let welcome = Welcome {
            seq: Some(head),
            ..Welcome::default()
        };
        Notice::Connected {
            welcome,
            resumed: false,
        }
    }

    #[test]
    fn it_is_settled_when_own_messages_are_journaled_and_shown() {
        let mut room = Room::new(50);
        assert!(!room.is_settled());
        room.take(connected(1));
        assert!(!room.is_settled());
        room.take(Notice::Event(event(1)));
        assert!(room.is_settled());
        room.journaled(2);
        assert!(!room.is_settled());
        room.take(Notice::Event(event(2)));
        assert!(room.is_settled());
    }

    #[test]
    fn without_history_the_room_is_caught_up_with_at_once() {
        let mut room = Room::new(0);
        room.take(connected(9));
        assert!(room.is_settled());
        assert_eq!(room.earlier(), Ok(Some(10)));
    }

    #[test]
    fn what_is_read_again_is_shown_once() {
        let mut room = Room::read(Some(2));
        let mut shows = |seq| room.take(Notice::Event(event(seq))).is_some();
        assert_eq!([1, 2, 3, 4].map(&mut shows), [false, false, true, true]);
        assert_eq!([2, 3, 4, 5].map(&mut shows), [false, false, false, true]);
        room.take(Notice::Reset {
            seq: 3,
            reason: String::new(),
        });
        assert!(room.take(Notice::Event(event(3))).is_some());
    }

    #[test]
    fn nothing_earlier_is_held_behind_a_purge() {
        let mut room = Room::new(50);
        room.take(connected(9));
        room.take(Notice::Event(event(9)));
        let purged = Event {
            body: Body::Purged,
            ..event(10)
        };
        room.take(Notice::Event(purged));
        assert_eq!(room.earlier(), Ok(Some(10)));
    }

    #[test]
    fn earlier_pages_join_up_with_what_is_held() {
        let mut room = Room::new(50);
        room.take(connected(9));
        room.take(Notice::Event(event(9)));
        assert_eq!(room.earlier(), Ok(Some(9)));
        let page = |seqs: &[u64]| Page {
            events: seqs.iter().map(|seq| event(*seq)).collect(),
            more: true,
            ..Page::default()
        };
        let line = room.page(page(&[7, 8, 9]), BTreeMap::new());
        assert!(matches!(&line, Line::Earlier { events, lost: 0, .. } if events.len() == 2));
        assert_eq!(room.earlier(), Ok(Some(7)));
        let line = room.page(page(&[1, 2]), BTreeMap::new());
        assert!(matches!(line, Line::Earlier { lost: 4, .. }));
        assert!(room.earlier().is_err());
    }

    #[test]
    fn an_answer_that_is_no_history_is_refused_and_holes_in_one_are_counted() {
        let mut room = Room::new(0);
        room.take(connected(9));
        let page = |seqs: &[u64]| Page {
            events: seqs.iter().map(|seq| event(*seq)).collect(),
            ..Page::default()
        };
        for seqs in [&[2, 1][..], &[3, 3], &[0, 1]] {
            let line = room.page(page(seqs), BTreeMap::new());
            assert_eq!(line, Line::NoHistory);
            assert_eq!(room.earlier(), Ok(Some(10)));
        }
        let line = room.page(page(&[3, 7, 8]), BTreeMap::new());
        assert!(matches!(line, Line::Earlier { lost: 4, .. }));
    }
}
