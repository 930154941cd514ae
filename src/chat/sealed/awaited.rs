//! What waits here beside texts, and what becomes of it when its user goes: who is to be let in is
//! asked for again when they are back, and all else is named.

use super::Sealed;
use seal::{
    Public,
    conversation::{Effect, Outgoing},
    member::Shown,
};

/// Whose key packages are asked for, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Claim {
    pub(super) user: String,
    pub(super) key: Public,
    /// The own device that is to count; `None`: all devices are to be let in.
    pub(super) allow: Option<String>,
    /// It was asked before, and too early.
    pub(super) is_again: bool,
    /// How often there was nothing yet.
    pub(super) in_vain: u32,
}

impl Claim {
    /// What the user has typed, or would to have it done; without the key.
    pub(in super::super) fn command(&self) -> String {
        match &self.allow {
            Some(device) => format!("/allow {device}"),
            None => format!("/add {}", self.user),
        }
    }

    /// The whole line.
    pub(in super::super) fn typed(&self) -> String {
        match &self.allow {
            Some(_) => self.command(),
            None => format!("{} {}", self.command(), self.key),
        }
    }
}

impl Sealed {
    /// Who is to be let in, and waits. They are not asked for any more.
    pub(in super::super) fn take_claims(&mut self) -> Vec<Claim> {
        let unadded = std::mem::take(&mut self.unadded).into_iter();
        let waiting = unadded.map(|(claim, _)| claim);
        let mut claims: Vec<_> = std::mem::take(&mut self.claims);
        claims.extend(waiting.chain(std::mem::take(&mut self.resumed)));
        claims.iter_mut().for_each(|claim| claim.is_again = false);
        claims
    }

    /// These waited when the user went elsewhere.
    pub(in super::super) fn resumes(&mut self, claims: Vec<Claim>) {
        self.resumed = claims;
    }

    /// There is an answer.
    pub(super) fn is_claimed(&mut self, claim: &Claim) {
        let at = self.claims.iter().position(|one| one == claim);
        at.map(|at| self.claims.swap_remove(at));
    }

    /// Whether what was asked for is still wanted.
    pub(super) fn is_wanted(&self, claim: &Claim) -> bool {
        self.claims.contains(claim)
    }

    /// Who has this name is not to be let in any more; whether they waited for that.
    pub(super) fn withdraw(&mut self, user: &str) -> bool {
        let stays = |claim: &Claim| claim.allow.is_some() || claim.user != user;
        let waiting = |of: &Self| of.claims.len() + of.resumed.len() + of.unadded.len();
        let before = waiting(self);
        self.claims.retain(stays);
        self.resumed.retain(stays);
        self.unadded.retain(|(claim, _)| stays(claim));
        waiting(self) < before
    }

    /// Whether who has this key is to be let in already.
    pub(super) fn is_awaited(&self, key: &Public) -> bool {
        let unadded = self.unadded.iter().map(|(claim, _)| claim);
        let mut all = self.claims.iter().chain(&self.resumed).chain(unadded);
        all.any(|one| one.key == *key && one.allow.is_none())
    }

    /// Whether a change of the group is made, which may be on its way for long.
    pub(super) fn note_changing(&mut self, command: &str, effects: &[Effect]) -> bool {
        let is_change = |one: &Effect| matches!(one, Effect::Send(_, Outgoing::Handshake(_)));
        let is_noted = effects.iter().any(is_change);
        if is_noted {
            self.changing = Some(command.into());
        }
        is_noted
    }

    /// Nothing is on its way any more.
    pub(super) fn forget_changing(&mut self) {
        let member = self.conversation.member();
        if member.outstanding_in(self.conversation.room()).is_none() {
            self.changing = None;
        }
    }

    /// What is lost by an end, or goes on later, beside texts and who is to be let in: a line each.
    pub(in super::super) fn abandoned(&mut self) -> Vec<String> {
        self.forget_changing();
        let others = self.conversation.undecided_others();
        let lost = others.iter().filter_map(abandoned);
        let kept = match self.unwritten {
            None => "and kept: it goes there when this device is here next",
            Some(_) => "and not kept, for it could not be written: type it again then",
        };
        let changing = self.changing.take();
        let changing =
            changing.map(|command| format!("! {command}: not known to be in the room, {kept}"));
        lost.chain(changing).collect()
    }
}

/// Something that was shared or asked for, and is not known to be in the room; nothing sends it any
/// more.
fn abandoned(what: &Shown) -> Option<String> {
    let (command, what) = match what {
        Shown::Asked { count, .. } => (format!("/ask {count}"), "the question"),
        Shown::Shared {
            with_user: Some(user),
            count,
            ..
        } => (format!("/share {user} {count}"), "what was to be shared"),
        Shown::Shared { .. } => ("/share".into(), "what was to be shared"),
        _ => return None,
    };
    Some(format!(
        "! {command}: {what} is not known to be in the room, and is not kept: type the same when \
         you are here again"
    ))
}
