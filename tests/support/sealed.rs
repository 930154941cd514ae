//! A device of somebody in sealed rooms: a real member of an MLS group, with the key that it proves.

#![allow(dead_code)] // Each test binary uses its part.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use ed25519_dalek::{Signer as _, SigningKey};
use safe_chat::{
    room::{Body, Key, RoomId, UserId},
    wire::proof::{Nonce, PublicKey, RequestContext, SessionContext},
};
use seal::{
    Certificate, DeviceKey, Handshake, Name, Shelf,
    delivery::Admission,
    device::List,
    member::{self, Frame, Member, Person, Shown, Step},
    rules::JoinPolicy,
};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// The room of the groups.
pub(crate) fn aaa() -> Name {
    name("aaa")
}

/// MLS asks the system's clock whether a key package counts, so tests live now.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A device, and what it has stored.
pub(crate) struct Device {
    /// Tells one from another.
    pub(crate) seed: u8,
    pub(crate) identity: seal::Identity,
    certificate: Certificate,
    key: DeviceKey,
    pub(crate) member: Member,
    shelf: Shelf,
    outbox: VecDeque<Frame>,
    /// Up to where it has read.
    pub(crate) cursor: u64,
    pub(crate) shown: Vec<Shown>,
    pub(crate) package: Vec<u8>,
}

impl Device {
    pub(crate) fn new(user: &str, seed: u8) -> Self {
        let identity = seal::Identity::from_seed(&[seed; 32]);
        let key = DeviceKey::from_seed(&[seed + 100; 32]);
        let certificate = identity.certify(name(user), name("phone"), &key);
        let mut device = Self {
            seed,
            member: Member::new(key.clone(), certificate.clone()),
            identity,
            certificate,
            key,
            shelf: Shelf::default(),
            outbox: VecDeque::new(),
            cursor: 0,
            shown: Vec::new(),
            package: Vec::new(),
        };
        let step = device.member.publish(0, now()).unwrap();
        let Some(Frame::Publish { last_resort, .. }) = step.frames.first() else {
            panic!("no key package")
        };
        device.package = last_resort.clone();
        device.shelf.store(step.changes).unwrap();
        device
    }

    pub(crate) fn user(&self) -> UserId {
        UserId::parse(self.certificate.user().as_str()).unwrap()
    }

    pub(crate) fn key(&self) -> Key {
        Key::parse(&self.identity.public().to_string()).unwrap()
    }

    fn person(&self) -> Person {
        Person {
            user: self.certificate.user().clone(),
            identity: self.identity.public(),
        }
    }

    /// The list of this person's devices, which has this one alone.
    pub(crate) fn list(&self) -> List {
        let first = List::first(&self.identity, aaa());
        let listed = first.with(&self.identity, name("phone"), self.key.public());
        listed.unwrap()
    }

    /// Its state is gone, but not its keys.
    pub(crate) fn forget(&mut self) {
        self.member = Member::new(self.key.clone(), self.certificate.clone());
        self.shelf = Shelf::default();
        self.outbox.clear();
    }

    /// Stores, then keeps what is to be sent.
    pub(crate) fn host(&mut self, step: Result<Step, member::Error>) {
        let step = step.unwrap();
        self.shelf.store(step.changes).unwrap();
        self.outbox.extend(step.frames);
        self.shown.extend(step.shown);
    }

    /// The next content to be sent.
    pub(crate) fn next(&mut self) -> Body {
        let frame = self.outbox.pop_front().expect("something to be sent");
        match &frame {
            Frame::Message { bytes, .. } => Body::Sealed(Bytes::copy_from_slice(bytes)),
            frame => {
                let (_, handshake) = Handshake::of(frame).expect("a handshake");
                Body::Handshake(handshake.encode().into())
            }
        }
    }

    pub(crate) fn found(&mut self, policy: JoinPolicy) -> Body {
        let step = self.member.found(&aaa(), policy, &[7; 16], now());
        self.host(step);
        self.next()
    }

    pub(crate) fn add(&mut self, others: &[&Device]) -> Body {
        let packages: Vec<_> = others.iter().map(|other| other.package.clone()).collect();
        let people: Vec<_> = others.iter().map(|other| other.person()).collect();
        let step = self.member.add(&aaa(), &people, &packages, now());
        self.host(step);
        self.next()
    }

    pub(crate) fn renew(&mut self) -> Body {
        let step = self.member.renew(&aaa(), now());
        self.host(step);
        self.next()
    }

    pub(crate) fn encrypt(&mut self, content: &str) -> Body {
        let (_, step) = self.member.send(&aaa(), content.as_bytes()).unwrap();
        self.host(Ok(step));
        self.next()
    }

    /// Comes into the group with what was kept for it.
    pub(crate) fn join(&mut self, admission: &Admission, seq: u64) {
        let Admission { welcome, tree } = admission;
        let step = self.member.join(&aaa(), welcome, tree, now());
        self.host(step);
        self.cursor = seq;
    }

    /// Takes what an event of the room says.
    pub(crate) fn take(&mut self, body: &Body) {
        let handshake = match body {
            Body::Handshake(bytes) => Some(Handshake::decode(bytes).unwrap()),
            _ => None,
        };
        let event = match (&handshake, body) {
            (Some(handshake), _) => handshake.event(),
            (None, Body::Sealed(bytes)) => Some(member::Event::Message(bytes)),
            (None, _) => None,
        };
        if let Some(event) = event {
            let step = self.member.receive(&aaa(), event);
            self.host(step);
        }
    }

    /// It has read everything; what was shown.
    pub(crate) fn caught_up(&mut self) -> Vec<Shown> {
        self.member.caught_up(&aaa());
        std::mem::take(&mut self.shown)
    }

    /// Comes in by itself, with what the owner tells of the group.
    pub(crate) fn rejoin(&mut self, group_info: &[u8], tree: &[u8]) -> Body {
        let step = self.member.rejoin(
            &aaa(),
            (group_info, tree),
            seal::member::Agreed::Nothing,
            now(),
        );
        self.host(step);
        self.next()
    }

    fn sign(&self, bytes: &[u8]) -> String {
        let pair = SigningKey::from_bytes(&[self.seed; 32]);
        BASE64_URL_SAFE_NO_PAD.encode(pair.sign(bytes).to_bytes())
    }

    /// The answer to a challenge.
    pub(crate) fn proof(&self, host: &str, challenge: &Value) -> Value {
        let nonce = challenge["nonce"].as_str().unwrap();
        let nonce = BASE64_URL_SAFE_NO_PAD.decode(nonce).unwrap();
        let context = SessionContext {
            room: RoomId::parse("aaa").unwrap(),
            user: self.user(),
            device: None,
            key: PublicKey::parse(&self.key()).unwrap(),
            nonce: Nonce(nonce.try_into().unwrap()),
        };
        let signature = self.sign(&context.bytes(host));
        json!({"type": "proof", "host": host, "signature": signature})
    }

    /// The header `Safe-Chat-Proof` of a request.
    pub(crate) fn signed(&self, host: &str, method: &str, body: &[u8]) -> String {
        let at = now() * 1_000;
        let (room, user) = (RoomId::parse("aaa").unwrap(), self.user());
        let context = RequestContext {
            method,
            room: &room,
            user: &user,
            key: PublicKey::parse(&self.key()).unwrap(),
            at,
            body,
        };
        let signature = self.sign(&context.bytes(host));
        format!("host={host}, time={at}, signature={signature}")
    }

    /// What names it in an address.
    pub(crate) fn named(&self) -> String {
        format!("user={}&pub={}", self.user(), self.key().as_str())
    }
}

/// The frame of a message.
pub(crate) fn send(id: &str, body: &Body) -> String {
    let encoded = |bytes: &Bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let (kind, content) = match body {
        Body::Text(text) => ("text", text.to_string()),
        Body::Sealed(bytes) => ("sealed", encoded(bytes)),
        Body::Handshake(bytes) => ("handshake", encoded(bytes)),
        Body::Erased => ("text", String::new()),
    };
    json!({"type": "send", "id": id, (kind): content}).to_string()
}

/// The content of an event; nothing if it has none.
pub(crate) fn body_of(event: &Value) -> Option<Body> {
    let bytes = |name: &str| {
        let text = event[name].as_str()?;
        Some(Bytes::from(BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()))
    };
    let sealed = bytes("sealed").map(Body::Sealed);
    sealed.or(bytes("handshake").map(Body::Handshake))
}

/// What others said, of what was shown.
pub(crate) fn said(shown: &[Shown]) -> Vec<String> {
    let said = shown.iter().filter_map(|one| match one {
        Shown::Message { from, content } => Some(format!(
            "{}: {}",
            from.user,
            String::from_utf8_lossy(&content.0)
        )),
        _ => None,
    });
    said.collect()
}
