//! Sealed rooms of a load: everybody proves a key, and who is first in a room makes it, founds its
//! group and says everything, encrypted. To the server that is any sealed room. Nobody decrypts:
//! what is compared are the bytes.
//!
//! What is said is short, so each message has the least length that padding allows:
//! [`SEALED_BYTES`] in a frame of JSON. A text of as many bytes is as long.

use super::{Ended, Engine, Id, dialect, message::Messages};
use crate::sealed::device::Who;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use safe_chat_client::{Client, KeyPair, Message, Policy};
use seal::{
    Founding,
    device::Name,
    member::{Event, Frame, Member},
    rules::JoinPolicy,
};
use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{runtime::Runtime, time::timeout};

/// How long it may take to make a room and to found its group.
const FOUND: Duration = Duration::from_secs(20);

/// Bytes of the content of each message, in base64 as frames have it.
#[cfg(test)]
const SEALED_BYTES: usize = 487;

/// See the module.
pub(crate) struct Sealing {
    url: String,
    runtime: Runtime,
    groups: HashMap<String, Group>,
}

struct Group {
    room: Name,
    member: Member,
}

impl Group {
    fn seal(&mut self, text: &str) -> Result<Bytes> {
        let (_, step) = self.member.send(&self.room, text.as_bytes())?;
        match step.frames.into_iter().next() {
            Some(Frame::Message { bytes, .. }) => Ok(bytes.into()),
            other => bail!("no message: {other:?}"),
        }
    }
}

impl Sealing {
    /// `url`: where rooms are made.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn new(url: &str) -> Result<Self> {
        Ok(Self {
            url: url.to_owned(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            groups: HashMap::new(),
        })
    }

    /// Makes a room.
    ///
    /// # Errors
    /// The server refuses, or does not answer.
    pub(super) fn found(&mut self, name: &str, user: &str) -> Result<()> {
        let group = self.runtime.block_on(async {
            let within = timeout(FOUND, found(&self.url, name, user)).await;
            within.with_context(|| format!("{name} has no group in time"))?
        })?;
        self.groups.insert(name.to_owned(), group);
        Ok(())
    }

    /// The frame of a message, whose content is noted.
    pub(super) fn frame(
        &mut self,
        room: &str,
        (id, number): (String, usize),
        messages: &mut Messages,
    ) -> Result<String> {
        let content = self.seal(room, &id)?;
        messages.seal(number, content.clone());
        Ok(dialect::send_sealed(id, content))
    }

    fn seal(&mut self, room: &str, text: &str) -> Result<Bytes> {
        let group = self.groups.get_mut(room).context("nobody made the room")?;
        group.seal(text)
    }
}

impl Engine {
    /// Its rooms are sealed, of a server that speaks the protocol of safe-chat.
    #[must_use]
    pub(crate) fn sealing(mut self, sealing: Sealing) -> Self {
        self.sealing = Some(sealing);
        self
    }

    /// Answers a challenge.
    pub(super) fn prove(&mut self, id: Id, nonce: &[u8]) {
        let session = self.sessions[id].as_ref().expect("it was just read");
        let (room, user) = (&self.rooms[session.room].name, &session.user);
        match session.stream.peer_addr() {
            Ok(server) => {
                let answer = dialect::proof((&server.to_string(), room, user), nonce);
                self.reply(id, &answer);
            }
            Err(error) => self.end(id, &Ended::Broken(error)),
        }
    }
}

async fn found(url: &str, name: &str, user: &str) -> Result<Group> {
    let (group, founding) = group(name, user)?;
    let client = Client::builder()
        .gateway(url)
        .room(name)
        .user(user)
        .key_pair(key_pair(user))
        .policy(Policy::Sealed)
        .connect()
        .await?;
    let handshake = seal::Handshake::Founding(founding).encode();
    client.send(Message::handshake(handshake)).await?;
    client.close().await;
    Ok(group)
}

/// A group as it is when its founding is in the room.
fn group(name: &str, user: &str) -> Result<(Group, Founding)> {
    let parse = |name: &str| Name::parse(name).map_err(|why| anyhow::anyhow!("{name}: {why}"));
    let who = Who {
        room: parse(name)?,
        policy: JoinPolicy::Invited,
        user: parse(user)?,
        device: parse("load")?,
        seed: seed(user),
    };
    let mut member = who.fresh();
    let (room, random) = (who.room, [0; 16]);
    let step = member.found(&room, who.policy, &random, now()?)?;
    let Some(Frame::Found { founding, .. }) = step.frames.into_iter().next() else {
        bail!("no founding");
    };
    let _ = member.receive(&room, Event::Founded(&founding.group_info))?;
    Ok((Group { room, member }, founding))
}

/// The key of a user of a load, which is no secret.
pub(super) fn key_pair(user: &str) -> KeyPair {
    KeyPair::from_seed(&seed(user))
}

fn seed(user: &str) -> [u8; 32] {
    let mut seed = [0; 32];
    for (at, byte) in seed.iter_mut().zip(user.bytes()) {
        *at = byte;
    }
    seed
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_has_the_same_length() {
        // As a run calls its rooms.
        let (mut group, _) = group("load-1764000000000-0", "u0").unwrap();
        for text in ["s-0", "s-123456789"] {
            let bytes = group.seal(text).unwrap();
            assert_eq!((bytes.len() * 4).div_ceil(3), SEALED_BYTES);
        }
    }
}
