//! What is said of a room to who asks. Pure.

use super::Room;
use crate::{
    bus::{Admission, Ask, RoomView, Wanted, members_after},
    room::{
        Action, Command, Epoch, Hold, Incarnation, Known, Millis, Outcome, Rejection, SessionId,
        decide_knowing,
    },
};
use tokio::time::Instant;

impl Room {
    /// What the owner says of the room, in about `most` bytes unless all members are wanted.
    pub(in crate::writer) fn view(
        &mut self,
        ask: &Ask,
        known: Known<'_>,
        epoch: Epoch,
        now: Instant,
        most: usize,
    ) -> RoomView {
        self.used = now;
        let (members, more_members) = match &ask.members {
            Wanted::Nobody => (Vec::new(), false),
            Wanted::All => (self.members.iter().cloned().collect(), false),
            Wanted::After(after) => members_after(&self.members, after.as_ref(), most),
        };
        let refused = ask.admission.as_ref();
        let refused = refused.and_then(|who| self.refusal(who, known));
        let who = ask.admission.as_ref();
        let is_new_name = who.is_some_and(|who| self.state.is_new_name(&who.user, &who.key, known));
        let (group, without_group) = match ask.group.then(|| self.group()).transpose() {
            Ok(group) => (group.flatten(), None),
            Err(rejection) => (None, Some(rejection)),
        };
        RoomView {
            epoch,
            head: self.head,
            members,
            more_members,
            refused: refused.or(without_group),
            snapshot: self.saved,
            policy: self.state.policy,
            group,
            first: self.state.kept.first(),
            retention: self.state.kept.own,
            purged: self.purged,
            erasing: self.erasing.clone(),
            stays: None,
            is_new_name,
        }
    }

    /// What would be missed of it.
    pub(in crate::writer) fn holds(&self) -> Vec<Hold> {
        self.state.holds().collect()
    }

    /// Why somebody would not be let in now, if so.
    fn refusal(&self, admission: &Admission, known: Known<'_>) -> Option<Rejection> {
        let Admission {
            user,
            key,
            identity,
            device,
            policy,
            former,
        } = admission.clone();
        // Nobody's: it is decided about and forgotten.
        let nobody = uuid::Uuid::nil();
        let action = Action::Open {
            session: SessionId::new(nobody),
            user,
            key,
            identity,
            device,
            gateway: Incarnation::new(nobody),
            policy,
            former,
        };
        let at = Millis(0);
        let command = Command { at, action };
        match decide_knowing(&self.state, &command, known, |_, _| Ok(())).outcome {
            Outcome::Refused(rejection) => Some(rejection),
            _ => None,
        }
    }
}
