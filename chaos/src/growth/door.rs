//! Somebody comes in, or is refused: how long that takes, and what the first frame is.

use super::post::key_of;
use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::{SinkExt, StreamExt};
use safe_chat_client::{
    Lost,
    connection::{Dial, Socket},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);
/// People who come one after another, for a median.
pub(super) const PEOPLE: u64 = 20;

/// Somebody who is in.
pub(super) struct Guest {
    socket: Socket,
    /// From the request to the welcome.
    pub(super) after: Duration,
    /// Bytes of the welcome.
    pub(super) bytes: usize,
    pub(super) welcome: Value,
}

/// All members as they are told.
pub(super) struct Told {
    pub(super) names: BTreeSet<String>,
    pub(super) parts: u64,
    /// Bytes of the largest part behind the welcome.
    pub(super) largest: usize,
}

fn dial(gateway: SocketAddr, room: &str, user: &str, key: &str) -> Result<Dial> {
    let gateway = gateway.to_string().parse().map_err(anyhow::Error::msg)?;
    Ok(Dial {
        history: Some(0),
        deadline: ANSWER,
        ..Dial::new(gateway, room, user, key)
    })
}

impl Guest {
    pub(super) async fn comes(gateway: SocketAddr, room: &str, user: &str) -> Result<Self> {
        let dial = dial(gateway, room, user, &key_of(user))?;
        let since = Instant::now();
        let socket = dial.open().await.map_err(|why| anyhow!("{user}: {why}"))?;
        let mut guest = Self {
            socket,
            after: Duration::ZERO,
            bytes: 0,
            welcome: Value::Null,
        };
        (guest.welcome, guest.bytes) = guest.frame().await?;
        guest.after = since.elapsed();
        ensure!(
            guest.welcome["type"] == "welcome",
            "{user}: no welcome, but {}",
            guest.welcome["type"]
        );
        Ok(guest)
    }

    /// The next frame, and its bytes.
    pub(super) async fn frame(&mut self) -> Result<(Value, usize)> {
        loop {
            let message = timeout(ANSWER, self.socket.next()).await;
            let message = message.context("no frame in time")?;
            match message.context("the gateway went away")?? {
                Message::Text(text) => return Ok((serde_json::from_str(&text)?, text.len())),
                Message::Close(why) => bail!("the gateway closed: {why:?}"),
                _ => {}
            }
        }
    }

    /// The next frame of a type.
    pub(super) async fn next(&mut self, kind: &str) -> Result<(Value, usize)> {
        loop {
            let (frame, bytes) = self.frame().await?;
            if frame["type"] == kind {
                return Ok((frame, bytes));
            }
        }
    }

    /// All members, part by part.
    pub(super) async fn members(&mut self) -> Result<Told> {
        let mut told = Told {
            names: names(&self.welcome)?,
            parts: 1,
            largest: 0,
        };
        let mut more = self.welcome["more_members"] == true;
        while more {
            let last = told.names.last().context("a part has a name")?;
            let question = json!({ "type": "members", "id": "q", "after": last }).to_string();
            self.socket.send(Message::text(question)).await?;
            let (part, bytes) = self.next("members").await?;
            let before = told.names.len();
            let names = names(&part)?;
            let wanted = before + names.len();
            told.names.extend(names);
            ensure!(told.names.len() == wanted, "a member was told twice");
            told.parts += 1;
            told.largest = told.largest.max(bytes);
            more = part["more"] == true;
        }
        Ok(told)
    }
}

fn names(frame: &Value) -> Result<BTreeSet<String>> {
    let names = frame["members"].as_array().context("members are told")?;
    let name = |name: &Value| Some(name.as_str()?.to_owned());
    names
        .iter()
        .map(name)
        .collect::<Option<_>>()
        .context("a name is a text")
}

/// Some people come and go, one after another; how long each waited for the welcome.
pub(super) async fn come_and_go(
    gateway: SocketAddr,
    room: &str,
    who: impl Iterator<Item = String>,
) -> Result<Vec<Duration>> {
    let mut waited = Vec::new();
    for user in who {
        waited.push(Guest::comes(gateway, room, &user).await?.after);
    }
    Ok(waited)
}

/// Some come under names of others and are refused; how long each waited for that.
pub(super) async fn are_refused(
    gateway: SocketAddr,
    room: &str,
    who: impl Iterator<Item = String>,
) -> Result<Vec<Duration>> {
    let mut waited = Vec::new();
    for user in who {
        let dial = dial(gateway, room, &user, &key_of("a-stranger"))?;
        let since = Instant::now();
        match dial.open().await {
            Err(Lost::Refused(_)) => waited.push(since.elapsed()),
            Err(why) => bail!("{user}: not refused, but {why}"),
            Ok(_) => bail!("{user}: somebody with another key was let in"),
        }
    }
    Ok(waited)
}
