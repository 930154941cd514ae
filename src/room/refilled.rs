//! Events that are put back below the head of a room whose state was saved without them.

use super::{
    Attempt, Event, Kind, Limits, State,
    dedupe::{MessageKey, Sent},
    purge::Purge,
    window::Window,
};

impl State {
    /// Takes from events below the head which messages are placed, and what they had purged and
    /// erased, which is done again. Whatever else they changed, later events rest on what is known.
    /// Whether any of that was new.
    pub fn refilled(&mut self, events: &[Event]) -> bool {
        let (mut placed, mut is_new) = (Vec::new(), false);
        let head = self.head;
        for event in events.iter().filter(|event| event.seq <= head) {
            match &event.kind {
                Kind::Message {
                    from,
                    id: Some(id),
                    turn,
                    request,
                    ..
                } => {
                    let sent = Sent::new(event.seq, Attempt::of(*turn, *request));
                    placed.push((MessageKey::Named(from.clone(), id.clone()), sent));
                }
                Kind::Purged if self.kept.purge.is_none_or(|known| known.seq < event.seq) => {
                    is_new = true;
                    self.kept.purge(Purge {
                        seq: event.seq,
                        at: event.at,
                    });
                }
                Kind::Erased { user, through } => {
                    is_new = true;
                    self.erase(user, *through, event.at);
                }
                _ => {}
            }
        }
        placed.retain(|(message, _)| self.sent.get(message).is_none());
        if placed.is_empty() {
            return is_new;
        }
        let known = self.sent.iter();
        placed.extend(known.map(|(message, sent)| (message.clone(), sent.clone())));
        placed.sort_by_key(|(_, sent)| sent.seq);
        self.sent = Window::new(Limits::WINDOW);
        for (message, sent) in placed {
            self.sent.insert(message, sent);
        }
        true
    }
}
