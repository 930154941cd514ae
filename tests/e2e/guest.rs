//! A device of mls-rs in a sealed room of a real node, with what carries it there: its client, and
//! its questions about groups, key packages and welcomes.

use crate::{
    cluster::PATIENCE,
    devices,
    peer::{self, Heard, Peer, Told},
};
use futures::FutureExt;
use loadtest::sealed::{Note, Noted};
use mls_rs::{Group, client_builder::MlsConfig};
use safe_chat_client::{
    Body, Client, KeyPair, Message, Notice, Policy, SendError,
    keys::{self, Keys, Request},
};
use seal::{Handshake, Name, rules::JoinPolicy};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use tokio::time::timeout;

/// A device of mls-rs, connected.
pub(crate) struct Guest<C: MlsConfig> {
    pub(crate) peer: Peer<C>,
    pub(crate) pair: KeyPair,
    pub(crate) url: String,
    pub(crate) room: Name,
    pub(crate) policy: JoinPolicy,
    pub(crate) client: Client,
    /// The last event that was read.
    pub(crate) seq: u64,
    /// Where the room ended when the connection began.
    pub(crate) head: u64,
    pub(crate) ids: u64,
    /// Who asked to be removed, as it knows.
    pub(crate) leaving: BTreeSet<String>,
    pub(crate) notes: Vec<Noted>,
}

fn client(url: &str, room: &Name, user: &str, pair: &KeyPair, since: Option<u64>) -> Client {
    let builder = Client::builder()
        .gateway(url)
        .room(room.as_str())
        .user(user)
        .key_pair(pair.clone())
        .policy(Policy::Sealed)
        .retries(u32::MAX)
        .answer_within(Some(PATIENCE))
        .insist();
    let builder = match since {
        Some(seq) => builder.since(seq),
        None => builder,
    };
    builder.start().unwrap()
}

impl<C: MlsConfig> Guest<C> {
    pub(crate) async fn sits_down(
        peer: Peer<C>,
        url: &str,
        room: &Name,
        policy: JoinPolicy,
    ) -> Self {
        let pair = KeyPair::from_seed(&peer.identity.seed());
        let client = client(url, room, peer.user.as_str(), &pair, None);
        let mut guest = Self {
            peer,
            pair,
            url: url.into(),
            room: room.clone(),
            policy,
            client,
            seq: 0,
            head: 0,
            ids: 0,
            leaving: BTreeSet::new(),
            notes: Vec::new(),
        };
        while guest.head == 0 {
            guest.hears_one().await;
        }
        guest.seq = guest.head;
        guest
    }

    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.peer.user, self.peer.device)
    }

    pub(crate) fn note(&mut self, note: Note) {
        let seq = self.seq;
        self.notes.push(Noted { seq, note });
    }

    pub(crate) async fn hears_one(&mut self) {
        let notice = timeout(PATIENCE, self.client.next()).await;
        self.hears(notice.expect("a notice in time").expect("a client"));
    }

    /// All that has come.
    pub(crate) fn reads(&mut self) {
        while let Some(Some(notice)) = self.client.next().now_or_never() {
            self.hears(notice);
        }
    }

    pub(crate) async fn reads_up_to(&mut self, seq: u64) {
        while self.seq < seq {
            self.hears_one().await;
        }
    }

    pub(crate) fn hears(&mut self, notice: Notice) {
        let event = match notice {
            Notice::Connected { welcome, .. } => {
                self.head = welcome.seq.unwrap();
                return;
            }
            Notice::Event(event) => event,
            Notice::Reset { .. } | Notice::Ended(_) => panic!("{}: {notice:?}", self.name()),
            _ => return,
        };
        self.seq = event.seq;
        let is_own = event.from == self.peer.user.as_str();
        let told = match event.body {
            Body::Sealed(_) if is_own => Told::Nothing,
            Body::Sealed(bytes) => self.peer.take(Heard::Message(&bytes)),
            Body::Handshake(bytes) => match Handshake::decode(&bytes).unwrap() {
                Handshake::Bundle(bundle) => {
                    let told = self.peer.take(Heard::Commit(&bundle.commit));
                    // Who went, or came back by itself, has not asked to leave since.
                    let (members, by) = (self.peer.members(), format!("{}/", event.from));
                    self.leaving
                        .retain(|name| members.contains(name) && !name.starts_with(&by));
                    told
                }
                Handshake::Leave(asked) if !is_own => self.peer.take(Heard::Leave(&asked)),
                _ => Told::Nothing,
            },
            _ => Told::Nothing,
        };
        match told {
            Told::Said { from, text } => self.note(Note::Read {
                seq: event.seq,
                from,
                text,
            }),
            Told::Leaves(who) => drop(self.leaving.insert(who)),
            Told::Removed => self.note(Note::Went),
            Told::Nothing => {}
        }
    }

    /// Its place, or why it has none. A connection that breaks when it is stored, and before it is
    /// answered, is followed by another one, over which the same is sent again.
    pub(crate) async fn places(
        &mut self,
        message: Message,
        loses_answer: bool,
    ) -> Result<u64, String> {
        self.ids += 1;
        let id = format!("{}-{}", self.peer.user, self.ids);
        let message = message.with_id(&id);
        let mut sending = self.client.submit(message.clone()).await.unwrap();
        if loses_answer {
            let _ = timeout(PATIENCE, sending.accepted()).await;
            let user = self.peer.user.as_str();
            let anew = client(&self.url, &self.room, user, &self.pair, Some(self.seq));
            std::mem::replace(&mut self.client, anew).abort();
            sending = self.client.submit(message).await.unwrap();
        }
        match sending.await {
            Ok(receipt) => Ok(receipt.seq),
            Err(SendError::Rejected { reason, .. }) => Err(reason),
            Err(error) => panic!("{}: {error}", self.name()),
        }
    }

    pub(crate) async fn changes(
        &mut self,
        bundle: seal::Bundle,
        loses_answer: bool,
    ) -> Result<u64, String> {
        let bytes = Handshake::Bundle(bundle).encode();
        self.places(Message::handshake(bytes), loses_answer).await
    }

    pub(crate) async fn says(&mut self, text: &str, loses_answer: bool) {
        if !self.peer.is_in() {
            return;
        }
        let bytes = self.peer.encrypt(text);
        let text = text.to_owned();
        self.note(Note::Said { text: text.clone() });
        self.note(Note::Sent {
            text: text.clone(),
            bytes: bytes.clone(),
        });
        match self.places(Message::sealed(bytes), loses_answer).await {
            Ok(seq) => self.note(Note::Placed { seq, text }),
            // Others were faster by too much, or have removed it.
            Err(reason) if reason == "stale_epoch" || reason == "not_a_member" => {
                self.note(Note::Refused { text, reason });
            }
            Err(reason) => panic!("{}: {reason}", self.name()),
        }
    }

    /// A commit that removes who is meant, if anybody, and renews its own keys.
    pub(crate) async fn commits(&mut self, gone: Option<&str>, loses_answer: bool) {
        if !self.peer.is_free() {
            return;
        }
        let bundle = self
            .peer
            .change(None, |one| Some(peer::name_of(one).as_str()) == gone);
        match self.changes(bundle, loses_answer).await {
            Ok(seq) => self.reads_up_to(seq).await,
            Err(reason) if reason == "stale_epoch" || reason == "not_a_member" => {
                self.peer.refused();
            }
            Err(reason) => panic!("{}: {reason}", self.name()),
        }
    }

    /// Removes who asked for it.
    pub(crate) async fn tidies(&mut self) {
        if let Some(gone) = self.leaving.first().cloned() {
            self.commits(Some(&gone), false).await;
        }
    }

    pub(crate) async fn leaves(&mut self) {
        if !self.peer.is_free() {
            return;
        }
        let asked = Handshake::Leave(self.peer.leave()).encode();
        match self.places(Message::handshake(asked), false).await {
            Ok(seq) => {
                self.reads_up_to(seq).await;
                if self.peer.is_in() {
                    self.peer.forget();
                    self.note(Note::Went);
                }
            }
            // Asked in an epoch that is over: it stays.
            Err(reason) => assert!(
                matches!(
                    reason.as_str(),
                    "stale_epoch" | "not_a_member" | "bad_handshake"
                ),
                "{}: {reason}",
                self.name()
            ),
        }
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::new(self.pair.clone(), &self.url.parse().unwrap())
    }

    /// Publishes a key package, so that somebody can add it.
    pub(crate) async fn publishes(&self) {
        let (user, device) = (self.peer.user.as_str(), self.peer.device.as_str());
        let package = self.peer.key_package();
        let request = self
            .keys()
            .publish(user, device, &[package], None, devices::now());
        // Answered otherwise, it is published again.
        let answer = devices::send(&request).await;
        assert!(matches!(answer.status, 200 | 429 | 503), "{answer:?}");
    }

    /// Tries to come in: by itself, or by a welcome that waits. Whether it is in.
    ///
    /// `is_there`: nobody has removed it. Then it comes back in its own place: whoever heard that
    /// it left may have gone, too.
    pub(crate) async fn comes(&mut self, is_there: bool) -> bool {
        self.reads();
        let is_welcome = !self.peer.is_in() && self.policy == JoinPolicy::Invited;
        if is_welcome {
            self.comes_by_a_welcome().await;
        }
        if !self.peer.is_in() && (is_there || self.policy == JoinPolicy::Open) {
            self.comes_by_itself().await;
        }
        self.peer.is_in()
    }

    pub(crate) async fn comes_by_itself(&mut self) {
        let user = self.peer.user.as_str();
        let asked = self.keys().group(self.room.as_str(), user, devices::now());
        let Some(group) = asks::<keys::Group>(&asked).await else {
            return;
        };
        let (entered, bundle): (Group<C>, _) = self.peer.entry((&group.group_info, &group.tree));
        match self.changes(bundle, false).await {
            Ok(seq) => {
                self.reads_up_to(seq).await;
                self.enters(|peer| {
                    peer.adopt(entered);
                    true
                });
            }
            // Somebody was faster, or has removed it.
            Err(reason) => assert!(
                matches!(reason.as_str(), "stale_epoch" | "not_a_member"),
                "{}: {reason}",
                self.name()
            ),
        }
    }

    pub(crate) async fn comes_by_a_welcome(&mut self) {
        let (user, device) = (self.peer.user.to_string(), self.peer.device.to_string());
        let asked = self.keys().welcomes(&user, &device, devices::now());
        let all = asks::<keys::Welcomes>(&asked).await;
        let all = all.into_iter().flat_map(|all| all.welcomes);
        // What was given before it went brings it back into no epoch that is over.
        let mut notes = self.notes.iter().rev();
        let went = notes.find(|noted| noted.note == Note::Went);
        let went = went.map_or(0, |noted| noted.seq);
        let newest = all.filter(|one| one.seq > went).max_by_key(|one| one.seq);
        if let Some(waiting) = newest {
            let asked = self
                .keys()
                .welcome(&user, &device, &waiting.id, devices::now());
            let Some(welcome) = asks::<keys::Welcome>(&asked).await else {
                return;
            };
            let confirm = self
                .keys()
                .confirm(&user, &device, &waiting.id, devices::now());
            let is_in = self.enters(|peer| peer.join(&welcome.welcome, &welcome.tree));
            if !is_in {
                let what = format!("a welcome of epoch {} cannot be opened", welcome.epoch);
                self.note(Note::Odd(what));
            }
            if is_in {
                // It reads on from there.
                let anew = client(&self.url, &self.room, &user, &self.pair, Some(welcome.seq));
                std::mem::replace(&mut self.client, anew).abort();
                self.seq = welcome.seq;
            }
            devices::send(&confirm).await;
        }
    }

    pub(crate) fn enters(&mut self, enter: impl FnOnce(&mut Peer<C>) -> bool) -> bool {
        let is_in = enter(&mut self.peer);
        if is_in {
            self.leaving.clear();
            let epoch = self.peer.since;
            self.note(Note::Came { epoch });
        }
        is_in
    }
}

impl<C: MlsConfig> Guest<C> {
    pub(crate) async fn comes_if_open(&mut self) {
        if self.policy == JoinPolicy::Open {
            self.comes(false).await;
        }
    }
}

/// The answer; `None`: it is to be asked again.
async fn asks<T: DeserializeOwned>(request: &Request) -> Option<T> {
    let answer = devices::send(request).await;
    match answer.status {
        429 | 503 => None,
        _ => Some(answer.is()),
    }
}
