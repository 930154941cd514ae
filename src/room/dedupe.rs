//! What is known of the messages of the dedupe window, and of whom: an id belongs to the key that
//! used it, as it was shown. Whoever gets a name that was free has all ids for itself, and learns
//! nothing of those that were used before. Whoever comes back with the key of then, and shows as
//! much of it, finds its messages. Anybody can name a key that it has seen: so who only names it
//! finds nothing of who has proven it, and uses up nothing that this one will send. Pure.
//!
//! A message of who has the name now has no mark, so a room in which nobody's name was ever freed
//! or proven late remembers no more than before. When a name gets another holder, its messages get
//! the digest of the key.
//! Where only posts came with a name it has no owner yet, and posts of several keys stand under it:
//! these stay the name's, so that none of them is placed twice. Messages of tokens are the owner's,
//! as if it had come with its key; a token finds all of the name, since it says whose that is.

use super::{
    Attempt, CommandId,
    Identity::{self, Claimed},
    Key, Pin, Seq, State, UserId,
};
use sha2::{Digest, Sha256};

/// Messages of one name under one id, each of another key, that are known beside the newest.
const FORMER: usize = 8;

/// A message of the dedupe window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Its place.
    pub seq: Seq,
    /// The attempt that placed it; `None`: an older version stored it and did not say.
    pub by: Option<Attempt>,
    /// Whose it is; `None`: of who has the name now.
    pub holder: Option<Holder>,
    /// What others said under the same name and id when they had it, oldest first; at most
    /// [`FORMER`].
    pub former: Vec<Sent>,
}

impl Sent {
    /// A message of who has the name.
    pub fn new(seq: Seq, by: Option<Attempt>) -> Self {
        Self {
            seq,
            by,
            holder: None,
            former: Vec::new(),
        }
    }

    /// It is of who has the name now, and nobody else's from now on.
    fn mark(&mut self, user: &UserId, id: &CommandId, owner: Option<&Pin>) {
        let of_now = || {
            owner.map_or(Holder::ANYBODY, |pin| {
                Holder::of(user, id, (&pin.key, pin.identity))
            })
        };
        self.holder.get_or_insert_with(of_now);
    }

    /// It and what is known of others, newest first.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.former.iter().rev())
    }
}

/// Who had a name, as a digest of the key, and of whether it was proven, with name and id: two
/// messages of one key look different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(pub u64);

impl Holder {
    /// Whoever has the name: it had no owner.
    const ANYBODY: Self = Self(0);

    fn of(user: &UserId, id: &CommandId, (key, identity): (&Key, Identity)) -> Self {
        let mut hash = Sha256::new();
        add(&mut hash, user, id);
        hash.update([if identity.is_proven() { 2 } else { 3 }]);
        hash.update(key.as_str());
        let digest = hash.finalize();
        let first = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| (n << 8) | u64::from(*byte));
        Self(first(&digest[..8]))
    }
}

/// By what a message of the dedupe window is known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MessageKey {
    /// By who sent it, under which id.
    Named(UserId, CommandId),
    /// By a digest of that: it is of before a purge.
    Digest([u8; 16]),
}

impl MessageKey {
    /// That of a message whose sender is not to be known.
    fn digest(user: &UserId, id: &CommandId) -> Self {
        let mut hash = Sha256::new();
        add(&mut hash, user, id);
        let mut short = [0; 16];
        short.copy_from_slice(&hash.finalize()[..16]);
        Self::Digest(short)
    }

    /// The same without who sent it.
    fn without_names(&self) -> Self {
        match self {
            Self::Named(user, id) => Self::digest(user, id),
            Self::Digest(_) => self.clone(),
        }
    }

    pub(super) fn is_digest(&self) -> bool {
        matches!(self, Self::Digest(_))
    }
}

fn add(hash: &mut Sha256, user: &UserId, id: &CommandId) {
    hash.update((user.as_str().len() as u64).to_be_bytes());
    hash.update(user.as_str());
    match id {
        CommandId::Client(id) => {
            hash.update([0]);
            hash.update(id.as_bytes());
        }
        CommandId::Gateway(session, n) => {
            hash.update([1]);
            hash.update(session.to_bytes());
            hash.update(n.to_be_bytes());
        }
    }
}

impl State {
    /// What is known of a message, for who comes with a key: that this very attempt placed it, or
    /// else that the key did. `None`: it comes through a session of who has the name. `is_now`: it
    /// comes by a post or an open session; one of a session that is over has no part in what came
    /// under a name without an owner since.
    pub(super) fn sent(
        &self,
        (user, id): (&UserId, &CommandId),
        attempt: Option<Attempt>,
        (shown, is_now): (Option<(&Key, Identity)>, bool),
    ) -> Option<&Sent> {
        let named = self.sent.get(&MessageKey::Named(user.clone(), id.clone()));
        let has_digests = self.sent.oldest().is_some_and(MessageKey::is_digest);
        if named.is_none() && !has_digests {
            return None;
        }
        let of_before = has_digests.then(|| MessageKey::digest(user, id));
        let of_before = of_before.and_then(|key| self.sent.get(&key));
        let all = || [named, of_before].into_iter().flatten().flat_map(Sent::all);
        let of_attempt = all().find(|sent| sent.by.is_some() && sent.by == attempt);
        of_attempt.or_else(|| {
            let near = |sent| Some((self.nearness(sent, (user, id), (shown, is_now))?, sent));
            let nearest = all().filter_map(near).min_by_key(|(nearness, _)| *nearness);
            nearest.map(|(_, sent)| sent)
        })
    }

    /// How surely a message is of who comes: 0 is as sure as can be; `None`: it is not.
    fn nearness(
        &self,
        sent: &Sent,
        (user, id): (&UserId, &CommandId),
        (shown, is_now): (Option<(&Key, Identity)>, bool),
    ) -> Option<u8> {
        let owner = owner_of(self.pins.get(user));
        let of_session = owner.map(|pin| (&pin.key, pin.identity));
        // A token says whose the name is, whoever had it with a key.
        let Some((key, identity)) = shown.or(of_session).filter(|(key, _)| !key.is_vouched())
        else {
            return Some(0);
        };
        let is = |identity| sent.holder == Some(Holder::of(user, id, (key, identity)));
        match (sent.holder, owner) {
            (None, Some(owner)) => (owner.key == *key && owner.identity <= identity).then_some(0),
            (None, None) => is_now.then_some(2),
            (Some(Holder::ANYBODY), _) => Some(2),
            (Some(_), _) if is(identity) => Some(0),
            // Posts with a proof come under a name that is only claimed, too; one of them may be
            // read again when that was proven.
            (Some(_), _) => (shown.is_some() && identity.is_proven() && is(Claimed)).then_some(1),
        }
    }

    /// A message has taken its place.
    pub(super) fn placed(&mut self, user: &UserId, id: &CommandId, sent: Sent) {
        let key = MessageKey::Named(user.clone(), id.clone());
        self.sent.insert_with(key, sent, behind);
    }

    /// The name gets another holder, or none: what was said under it stays with the key of now, as
    /// that was shown.
    pub(super) fn release(&mut self, user: &UserId) {
        let owner = owner_of(self.pins.get(user));
        self.sent.for_each_mut(|message, sent| match message {
            MessageKey::Named(name, id) if name == user => sent.mark(user, id, owner),
            _ => {}
        });
    }

    /// As [`Self::release`], of every name; and from now on no name is known.
    pub(super) fn release_all(&mut self) {
        let (mut window, pins) = (self.sent.emptied(), &self.pins);
        for (message, sent) in self.sent.iter() {
            let mut sent = sent.clone();
            if let MessageKey::Named(user, id) = message {
                sent.mark(user, id, owner_of(pins.get(user)));
            }
            window.insert_with(message.without_names(), sent, behind);
        }
        self.sent = window;
    }
}

/// The pin of a name, if a session has come with its key: then no other was let in beside it.
fn owner_of(pin: Option<&Pin>) -> Option<&Pin> {
    pin.filter(|pin| pin.identity > Identity::Posted)
}

/// A message under a name and an id that are known: of another holder, if that one's is marked.
/// Otherwise the first stays.
fn behind(known: &Sent, mut new: Sent) -> Option<Sent> {
    known.holder?;
    let mut former = known.former.clone();
    former.push(Sent {
        former: Vec::new(),
        ..known.clone()
    });
    former.append(&mut new.former);
    former.drain(..former.len().saturating_sub(FORMER));
    Some(Sent { former, ..new })
}
