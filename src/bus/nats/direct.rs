//! Words between nodes on NATS: core messages and requests, nothing stored.

use super::{
    Nats,
    link::{Failure, INBOX, Link, RELAYED},
    registry::is_answer,
    skipped::Unfit,
    subjects::Subjects,
};
use crate::{
    bus::{
        Ask, Consultation, Direct, Error, Inbound, Question, RoomView,
        codec::{decode_ask, decode_inbound, decode_view, encode_ask, encode_inbound, encode_view},
    },
    room::{Incarnation, Millis, Reason, Rejection, ShardId},
};
use async_nats::{HeaderMap, Message};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::Utc;
use futures::{
    StreamExt,
    stream::{BoxStream, select},
};
use std::future::ready;
use tokio::{join, task::AbortHandle};
use tracing::{debug, warn};

/// When a client may try again to join a room with too many members, in milliseconds.
const TOO_MANY_MS: u64 = 30_000;

#[async_trait]
impl Direct for Nats {
    async fn tell(&self, node: Incarnation, message: &Inbound) -> Result<(), Error> {
        let name = self.name_of(node).await?;
        self.commands
            .send(
                self.subjects.inbox(name.as_deref(), node),
                encode_inbound(message),
            )
            .await
    }

    async fn inbox(&self, me: Incarnation) -> Result<BoxStream<'static, Inbound>, Error> {
        let messages = self
            .hear(&self.commands, me, Subjects::inbox)
            .await?
            .filter(|message| ready(!is_answer(message.headers.as_ref())));
        let skipped = self.skipped.clone();
        Ok(messages
            .filter_map(move |message| {
                let read = decode_inbound(message.payload).map_err(Unfit::from);
                ready(skipped.fits("inbound", &message.subject, read))
            })
            .boxed())
    }

    async fn ask(&self, ask: &Ask) -> Result<RoomView, Error> {
        let shard = self.subjects.shard(&ask.room);
        let what = format!("asking the owner of shard {shard}");
        let answer = self
            .commands
            .request(self.subjects.ask(shard), HeaderMap::new(), encode_ask(ask))
            .await;
        let answer = answer.map_err(|failure| match failure {
            Failure::NoResponders => Error::NoResponders(format!("the owner of shard {shard}")),
            other => other.of_read(&what),
        })?;
        let read = decode_view(answer.payload)
            .map_err(Unfit::from)
            .and_then(possible);
        let view = self.skipped.fits("view", &self.subjects.ask(shard), read);
        view.ok_or_else(|| Error::Unavailable(format!("{what}: its answer is skipped")))
    }

    async fn questions(&self, shard: ShardId) -> Result<BoxStream<'static, Question>, Error> {
        let nats = self.clone();
        let messages = self.commands.subscribe(self.subjects.ask(shard)).await?;
        Ok(messages
            .filter_map(move |message| ready(nats.question(message)))
            .boxed())
    }

    async fn consult(&self, node: Incarnation, request: Bytes) -> Result<Bytes, Error> {
        let what = format!("asking node {node}");
        let name = self.name_of(node).await?;
        let subject = self.subjects.consult(name.as_deref(), node);
        let answer = self
            .commands
            .request(subject, HeaderMap::new(), request)
            .await;
        match answer {
            Ok(answer) => Ok(answer.payload),
            Err(Failure::NoResponders) => Err(Error::NoResponders(format!("node {node}"))),
            Err(failure) => Err(failure.of_write(&what)),
        }
    }

    async fn consultations(
        &self,
        me: Incarnation,
    ) -> Result<BoxStream<'static, Consultation>, Error> {
        let nats = self.clone();
        let messages = self.hear(&self.commands, me, Subjects::consult).await?;
        let consultation = move |message: Message| {
            let (reply, link) = (nats.asker(&message)?, nats.commands.clone());
            let longest = link.client.max_payload();
            let respond = move |answer: Bytes| {
                tokio::spawn(async move {
                    if let Err(error) = link.send(reply, answer).await {
                        debug!(%error, "an operator of another node is not answered");
                    }
                });
            };
            Some(Consultation {
                request: message.payload,
                longest,
                respond: Box::new(respond),
            })
        };
        Ok(messages
            .filter_map(move |message| ready(consultation(message)))
            .boxed())
    }

    async fn probe(&self, node: Incarnation) -> Result<bool, Error> {
        // Of one that is forgotten, nobody may know the name; if it is there it hears this, too.
        let name = self.name_of(node).await.unwrap_or_default();
        let of = name.as_deref();
        let at = self.subjects.probe(of, node);
        let apart = self.subjects.probe_apart(of, node);
        // One that answers is there. One is gone when either subject has no subscriber: nodes of
        // before know the first subject only, and of that, strangers are subscribers too.
        match join!(self.probe_at(at), self.probe_at(apart)) {
            (Ok(()), _) | (_, Ok(())) => Ok(true),
            (Err(Failure::NoResponders), _) | (_, Err(Failure::NoResponders)) => Ok(false),
            (Err(Failure::Unanswered(why)), _) | (_, Err(Failure::Unanswered(why))) => {
                Err(Error::Unknown(format!("probing node {node}: {why}")))
            }
            (Err(failure), _) => Err(failure.of_read(&format!("probing node {node}"))),
        }
    }

    async fn answer_probes(&self, me: Incarnation) -> Result<Box<dyn Send + Sync>, Error> {
        let at = self.hear(&self.registry, me, Subjects::probe).await?;
        let apart = self.hear(&self.registry, me, Subjects::probe_apart).await?;
        let mut probes = select(at, apart);
        let nats = self.clone();
        let answering = tokio::spawn(async move {
            while let Some(probe) = probes.next().await {
                let Some(reply) = nats.asker(&probe) else {
                    continue;
                };
                if let Err(error) = nats.registry.send(reply, Bytes::new()).await {
                    debug!(%error, "a probe is not answered");
                }
            }
        });
        Ok(Box::new(Guard(answering.abort_handle())))
    }
}

impl Nats {
    async fn probe_at(&self, subject: String) -> Result<(), Failure> {
        self.registry
            .request_within(self.probe_deadline, subject, HeaderMap::new(), Bytes::new())
            .await
            .map(drop)
    }

    /// What comes to a run of this node: under its name, and as older versions send it.
    async fn hear(
        &self,
        link: &Link,
        me: Incarnation,
        subject: fn(&Subjects, Option<&str>, Incarnation) -> String,
    ) -> Result<BoxStream<'static, Message>, Error> {
        let before = subject(&self.subjects, None, me);
        let Some(name) = self.own_name(me) else {
            return Ok(link.subscribe(before).await?.boxed());
        };
        let before = link.subscribe_soon(before).await?;
        let named = link
            .subscribe(subject(&self.subjects, Some(name), me))
            .await?;
        Ok(select(named, before).boxed())
    }

    /// Where an answer goes: to where nodes and tools wait for theirs, or to where the server
    /// passes it on to their account. Anywhere else this node would say to others, with its own
    /// rights, what the asker may not say.
    fn asker(&self, message: &Message) -> Option<String> {
        let reply = message.reply.as_ref()?;
        let is_waited_for = [INBOX, RELAYED].iter().any(|it| reply.starts_with(it));
        let read = match is_waited_for {
            true => Ok(reply.to_string()),
            false => Err(Unfit::Forged(format!(
                "its answer is wanted at {}",
                reply.escape_debug()
            ))),
        };
        self.skipped.fits("reply", &message.subject, read)
    }

    fn question(&self, message: Message) -> Option<Question> {
        let reply = self.asker(&message)?;
        let read = self.read_ask(&message.subject, message.payload);
        let ask = self.skipped.fits("ask", &message.subject, read)?;
        let link = self.commands.clone();
        let room = ask.room.clone();
        let respond = move |mut view: RoomView| {
            let mut answer = encode_view(&view);
            if answer.len() > link.client.max_payload() && view.group.take().is_some() {
                let refused = Rejection::retry(
                    Reason::Unavailable,
                    "the room's group is larger than the servers are set up for",
                    TOO_MANY_MS,
                );
                view.refused = Some(refused);
                answer = encode_view(&view);
            }
            if answer.len() > link.client.max_payload() {
                let members = view.members.len();
                warn!(%room, members, "nobody can join: its members do not fit into a message; give the nats-servers a larger max_payload");
                let refused = Rejection::retry(
                    Reason::Unavailable,
                    "the room has more members than the servers are set up for",
                    TOO_MANY_MS,
                );
                answer = encode_view(&RoomView {
                    members: Vec::new(),
                    refused: Some(refused),
                    ..view
                });
            }
            tokio::spawn(async move {
                if let Err(error) = link.send(reply, answer).await {
                    debug!(%error, "a question is not answered");
                }
            });
        };
        Some(Question {
            ask,
            respond: Box::new(respond),
        })
    }

    /// A question about a room of the shard that is asked: anybody else's room would be opened by a
    /// stranger.
    fn read_ask(&self, subject: &str, payload: Bytes) -> Result<Ask, Unfit> {
        let ask = decode_ask(payload)?;
        self.subjects.asked(subject, &ask.room)?;
        Ok(ask)
    }
}

/// What an owner can say of a room.
fn possible(view: RoomView) -> Result<RoomView, Unfit> {
    let now = Millis(u64::try_from(Utc::now().timestamp_millis()).unwrap_or_default());
    match view.epoch.is_possible(now) {
        true => Ok(view),
        false => Err(Unfit::Forged(format!(
            "its epoch {} is higher than any owner's can be",
            view.epoch
        ))),
    }
}

/// Ends a task when it is dropped.
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
