//! `seal` for the page: a device in one sealed room, as calls from JavaScript. What is to be done
//! comes out as JSON, a list of objects (`effects`), bytes in it as base64url, as frames have them.
//! Changes of the shelf are not in the list: after each call the page asks for [`Sealed::shelf`],
//! stores it, and only then does what the list says.
//!
//! Times are seconds since 1970 UTC. Places are numbers of JavaScript, exact up to 2^53.

#![cfg(target_arch = "wasm32")]

mod effects;
mod identity;
mod qr;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use seal::content::Earlier;
use seal::conversation::{Conversation, Effect, Outgoing};
use seal::device::Unsigned;
use seal::member::{Content, Frame, Member, Person};
use seal::rules::JoinPolicy;
use seal::{Certificate, DeviceKey, Name, Public, Shelf};
use serde_json::{Value, json};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

type Answer = Result<String, JsError>;

/// A device that does not exist yet: its identity has to sign for it.
#[wasm_bindgen]
pub struct Draft {
    key: DeviceKey,
    names: (Name, Name),
    identity: Public,
}

#[wasm_bindgen]
impl Draft {
    /// A new device of who has this key, under this name.
    #[wasm_bindgen(constructor)]
    pub fn new(user: &str, device: &str, identity: &str) -> Result<Self, JsError> {
        Ok(Self {
            key: DeviceKey::from_seed(&random()?),
            names: (Name::parse(user)?, Name::parse(device)?),
            identity: Public::parse(identity)?,
        })
    }

    /// The bytes that the identity signs.
    pub fn to_sign(&self) -> Vec<u8> {
        Certificate::to_sign(&self.names.0, &self.names.1, &self.identity, &self.key)
    }

    /// The device in a room, with the signature.
    pub fn begin(self, signature: &[u8], room: &str, is_open: bool) -> Result<Sealed, JsError> {
        let signature = signature_of(signature)?;
        let certificate = Certificate::signed(self.names, self.identity, &self.key, signature)?;
        let member = Member::new(self.key, certificate);
        Sealed::of(member, Shelf::default(), room, is_open)
    }
}

/// A device in one sealed room.
#[wasm_bindgen]
pub struct Sealed {
    conversation: Conversation,
    room: Name,
    shelf: Shelf,
    is_changed: bool,
    /// What is to be shared.
    earlier: Vec<Earlier>,
    /// The list of devices that the identity is to sign.
    unsigned: Option<Unsigned>,
}

#[wasm_bindgen]
impl Sealed {
    /// From what was stored.
    pub fn restore(shelf: &[u8], room: &str, is_open: bool) -> Result<Self, JsError> {
        let shelf = Shelf::decode(shelf)?;
        let member = Member::restore(shelf.clone())?;
        Self::of(member, shelf, room, is_open)
    }

    fn of(member: Member, shelf: Shelf, room: &str, is_open: bool) -> Result<Self, JsError> {
        let policy = match is_open {
            true => JoinPolicy::Open,
            false => JoinPolicy::Invited,
        };
        let room = Name::parse(room)?;
        Ok(Self {
            conversation: Conversation::new(member, room.clone(), policy, random()?),
            room,
            shelf,
            is_changed: false,
            earlier: Vec::new(),
            unsigned: None,
        })
    }

    /// What is to be stored now, if anything changed since this was asked last. If it cannot be
    /// stored, the device ends here.
    pub fn shelf(&mut self) -> Option<Vec<u8>> {
        std::mem::take(&mut self.is_changed).then(|| self.shelf.encode())
    }

    /// Steps that the shelf has taken.
    pub fn revision(&self) -> f64 {
        self.shelf.revision() as f64
    }

    /// The name of the device.
    pub fn device(&self) -> String {
        self.conversation
            .member()
            .certificate()
            .device()
            .to_string()
    }

    /// Behind which place the room is to be read; none: from now on.
    pub fn since(&self) -> Option<f64> {
        self.conversation.since().map(|seq| seq as f64)
    }

    /// A session began; events up to `head` follow.
    pub fn connected(&mut self, head: f64, now: f64) -> Answer {
        let effects = self.conversation.connected(head as u64, now as u64);
        self.effects(effects)
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.conversation.disconnected();
    }

    /// Events are gone that were not read.
    pub fn missed(&mut self, now: f64) -> Answer {
        let effects = self.conversation.missed(now as u64);
        self.effects(effects)
    }

    /// The next event; `sealed` or `handshake`: its content, if it has one of these.
    pub fn event(
        &mut self,
        seq: f64,
        sealed: Option<String>,
        handshake: Option<String>,
        now: f64,
    ) -> Answer {
        // What is no base64url is nothing that a member can read.
        let content = match (sealed, handshake) {
            (Some(text), _) => Some(Outgoing::Sealed(decoded(&text).unwrap_or_default())),
            (None, Some(text)) => Some(Outgoing::Handshake(decoded(&text).unwrap_or_default())),
            (None, None) => None,
        };
        let effects = self
            .conversation
            .event(seq as u64, content.as_ref(), now as u64);
        self.effects(effects)
    }

    /// What was sent under a number is in the room.
    pub fn placed(&mut self, number: f64, seq: f64, now: f64) -> Answer {
        let effects = self
            .conversation
            .answered(number as u64, Ok(seq as u64), now as u64);
        self.effects(effects)
    }

    /// What was sent under a number was refused: the protocol's word.
    pub fn refused(&mut self, number: f64, reason: &str, now: f64) -> Answer {
        let effects = self
            .conversation
            .answered(number as u64, Err(reason), now as u64);
        self.effects(effects)
    }

    /// The answer to `ask_welcome`, if there is a welcome.
    pub fn welcome(&mut self, seq: f64, welcome: &str, tree: &str, now: f64) -> Answer {
        let (welcome, tree) = (decoded(welcome)?, decoded(tree)?);
        let found = Some((seq as u64, &welcome[..], &tree[..]));
        let effects = self.conversation.welcome(found, now as u64);
        self.effects(effects)
    }

    /// The answer to `ask_welcome`, if there is none.
    pub fn no_welcome(&mut self, now: f64) -> Answer {
        let effects = self.conversation.welcome(None, now as u64);
        self.effects(effects)
    }

    /// The answer to `ask_group`, if the room has a group.
    pub fn group(&mut self, group_info: &str, tree: &str, now: f64) -> Answer {
        let (group_info, tree) = (decoded(group_info)?, decoded(tree)?);
        let found = Some((&group_info[..], &tree[..]));
        let effects = self.conversation.group(found, now as u64);
        self.effects(effects)
    }

    /// The answer to `ask_group`, if the room has none.
    pub fn no_group(&mut self, now: f64) -> Answer {
        let effects = self.conversation.group(None, now as u64);
        self.effects(effects)
    }

    /// The user has agreed to what was asked last.
    pub fn agree(&mut self, now: f64) -> Answer {
        let effects = self.conversation.agree(now as u64);
        self.effects(effects)
    }

    /// Says something, as soon as that is possible.
    pub fn say(&mut self, text: &str, now: f64) -> Answer {
        let effects = self.conversation.say(text.as_bytes(), now as u64)?;
        self.effects(effects)
    }

    /// Adds the devices of somebody, of these key packages: JSON, a list of base64url.
    pub fn add(&mut self, user: &str, key: &str, packages: &str, now: f64) -> Answer {
        let person = Person {
            user: Name::parse(user)?,
            identity: Public::parse(key)?,
        };
        let packages: Vec<String> = serde_json::from_str(packages)?;
        let packages: Vec<_> = packages
            .iter()
            .map(|text| decoded(text))
            .collect::<Result<_, _>>()?;
        let effects = self.conversation.add(&person, &packages, now as u64)?;
        self.effects(effects)
    }

    /// Removes all devices of a user, or one.
    pub fn remove(&mut self, user: &str, device: Option<String>, now: f64) -> Answer {
        let device = device.map(|device| Name::parse(&device)).transpose()?;
        let user = Name::parse(user)?;
        let effects = self
            .conversation
            .remove(&user, device.as_ref(), now as u64)?;
        self.effects(effects)
    }

    /// One message of those that are shared next, in their order.
    pub fn earlier(&mut self, seq: f64, at: f64, from: &str, text: String) -> Result<(), JsError> {
        self.earlier.push(Earlier {
            seq: seq as u64,
            at: at as u64,
            from: Name::parse(from)?,
            content: Content(text.into_bytes()),
        });
        Ok(())
    }

    /// Shares them with a person.
    pub fn share(&mut self, with: &str, now: f64) -> Answer {
        let messages = std::mem::take(&mut self.earlier);
        let with = Public::parse(with)?;
        let effects = self.conversation.share(&with, &messages, now as u64)?;
        self.effects(effects)
    }

    /// Asks everybody for so many messages of before.
    pub fn ask_for_earlier(&mut self, count: u8, now: f64) -> Answer {
        let effects = self.conversation.ask_for_earlier(count, now as u64)?;
        self.effects(effects)
    }

    /// What the identity has to sign to revoke a device of its own.
    pub fn revocation(&mut self, device: &str) -> Result<Vec<u8>, JsError> {
        let unsigned = self.conversation.revocation(&Name::parse(device)?)?;
        Ok(self.unsigned.insert(unsigned).to_sign())
    }

    /// What the identity has to sign so that the device of a key package counts here (again);
    /// nothing if it does.
    pub fn allowance(&mut self, package: &str) -> Result<Vec<u8>, JsError> {
        let package = [decoded(package)?];
        if self.conversation.unlisted(&package).is_empty() {
            return Ok(Vec::new());
        }
        let unsigned = self.conversation.allowance(&package[0])?;
        Ok(self.unsigned.insert(unsigned).to_sign())
    }

    /// Says which devices this person has, with the signature.
    pub fn announce(&mut self, signature: &[u8], now: f64) -> Answer {
        let unsigned = self.unsigned.take();
        let unsigned = unsigned.ok_or_else(|| JsError::new("nothing was to be signed"))?;
        let list = unsigned.signed(signature_of(signature)?)?;
        let effects = self.conversation.announce(&list, now as u64)?;
        self.effects(effects)
    }

    /// Asks to be removed from the group.
    pub fn leave(&mut self, now: f64) -> Answer {
        let effects = self.conversation.leave(now as u64)?;
        self.effects(effects)
    }

    /// Time goes on: every few seconds.
    pub fn tick(&mut self, now: f64) -> Answer {
        let effects = self.conversation.tick(now as u64);
        self.effects(effects)
    }

    /// Key packages to publish: the body of the request.
    pub fn publish(&mut self, count: u32, now: f64) -> Answer {
        let step = self
            .conversation
            .member_mut()
            .publish(count as usize, now as u64)?;
        self.shelf.store(step.changes)?;
        self.is_changed = true;
        let published = step.frames.into_iter().find_map(|frame| match frame {
            Frame::Publish {
                one_time,
                last_resort,
            } => {
                let one_time: Vec<_> = one_time.iter().map(encoded).collect();
                Some(json!({ "packages": one_time, "last_resort": encoded(&last_resort) }))
            }
            _ => None,
        });
        Ok(published.unwrap_or_default().to_string())
    }

    /// Whether the device is in the group.
    pub fn is_in(&self) -> bool {
        self.conversation.member().is_in(&self.room)
    }

    /// Who is in the group: JSON, a list of `{user, device, pub}`.
    pub fn members(&self) -> String {
        let members = self.conversation.member().members(&self.room);
        let members = members.iter().map(effects::holder).collect();
        Value::Array(members).to_string()
    }

    /// 60 digits that all see who are in the same epoch of the same group.
    pub fn code(&self) -> Option<String> {
        self.conversation.member().room_code(&self.room)
    }

    /// Takes what is to be stored, and says the rest.
    fn effects(&mut self, effects: Vec<Effect>) -> Answer {
        let mut said = Vec::new();
        for effect in effects {
            match effect {
                Effect::Store(changes) => {
                    self.shelf.store(changes)?;
                    self.is_changed = true;
                }
                Effect::Send(number, outgoing) => {
                    let text = self.conversation.said_under(number);
                    said.push(effects::send(number, &outgoing, text));
                }
                Effect::AskGroup => said.push(json!({ "do": "ask_group" })),
                Effect::AskWelcome => said.push(json!({ "do": "ask_welcome" })),
                Effect::Resume(seq) => said.push(json!({ "do": "resume", "after": seq })),
                Effect::Show(show) => said.push(effects::show(&show)),
            }
        }
        Ok(Value::Array(said).to_string())
    }
}

fn signature_of(bytes: &[u8]) -> Result<[u8; 64], JsError> {
    let bytes = bytes.try_into();
    bytes.map_err(|_| JsError::new("a signature has 64 bytes"))
}

fn random<const N: usize>() -> Result<[u8; N], JsError> {
    let mut bytes = [0; N];
    let drawn = getrandom::fill(&mut bytes);
    drawn.map_err(|_| JsError::new("this browser has no randomness"))?;
    Ok(bytes)
}

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn decoded(text: &str) -> Result<Vec<u8>, JsError> {
    let text = text.trim_end_matches('=');
    let bytes = URL_SAFE_NO_PAD.decode(text);
    bytes.map_err(|_| JsError::new("the server sent what is no base64url"))
}
