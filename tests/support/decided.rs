//! A room as its decisions make it.

use safe_chat::room::{Action, Command, Event, Millis, Outcome, State, decide};

/// A room whose commands come one after the other.
#[derive(Default)]
pub(crate) struct Room {
    pub(crate) state: State,
    pub(crate) commands: Vec<Command>,
    pub(crate) events: Vec<Event>,
}

impl Room {
    pub(crate) fn take(&mut self, action: Action) -> Outcome {
        let at = Millis(self.commands.len() as u64 + 1);
        self.take_at(at, action)
    }

    pub(crate) fn take_at(&mut self, at: Millis, action: Action) -> Outcome {
        let command = Command { at, action };
        self.commands.push(command.clone());
        let decision = decide(&self.state, &command);
        let events = self.state.apply_decision(&decision, &command);
        self.events.extend(events);
        decision.outcome
    }
}
