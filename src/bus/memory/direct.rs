//! Words between nodes, of the memory adapter.

use super::{
    Delivered, Memory, Op,
    line::{Arrival, Line, Subscription, line},
    pause, stream,
};
use crate::{
    bus::{Ask, Consultation, Direct, Error, Inbound, Question, RoomView},
    room::{Incarnation, ShardId},
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

#[async_trait]
impl Direct for Memory {
    async fn tell(&self, node: Incarnation, message: &Inbound) -> Result<(), Error> {
        self.call(Op::Tell, |state| {
            let Some(lines) = state.inboxes.get_mut(&node) else {
                return Ok(());
            };
            lines.retain(Line::is_open);
            for line in state.inboxes[&node]
                .iter()
                .filter(|line| state.is_up(line.connection))
            {
                let (due, copies) = self.passage(line.connection, Delivered::Inbound);
                (0..copies).for_each(|_| line.send(due, message.clone()));
            }
            Ok(())
        })
        .await
    }

    async fn inbox(&self, me: Incarnation) -> Result<BoxStream<'static, Inbound>, Error> {
        let subscription = self
            .call(Op::Inbox, |state| {
                let (line, subscription) = line(self.connection);
                state.inboxes.entry(me).or_default().push(line);
                Ok(subscription)
            })
            .await?;
        Ok(self.items(subscription))
    }

    async fn ask(&self, ask: &Ask) -> Result<RoomView, Error> {
        let shard = self.server.config.shards.of(&ask.room);
        let deadline = Instant::now() + self.server.config.deadline;
        let (answer, answers) = mpsc::channel(1);
        self.call(Op::Ask, |state| {
            let lines = state.questions.entry(shard).or_default();
            lines.retain(Line::is_open);
            let mut asked = false;
            for line in state.questions[&shard]
                .iter()
                .filter(|line| state.is_up(line.connection))
            {
                asked = true;
                let (due, copies) = self.passage(line.connection, Delivered::Question);
                for _ in 0..copies {
                    let answer = answer.clone();
                    // A second answer finds the first one in the channel or nobody there; either
                    // way it is not needed.
                    let respond = Box::new(move |view| drop(answer.try_send(view)));
                    line.send(
                        due,
                        Question {
                            ask: ask.clone(),
                            respond,
                        },
                    );
                }
            }
            asked
                .then_some(())
                .ok_or_else(|| Error::NoResponders(format!("the owner of shard {shard}")))
        })
        .await?;
        let view = self.first(answer, answers, deadline).await;
        view.ok_or_else(|| {
            Error::Unavailable(format!("the owner of shard {shard} did not answer in time"))
        })
    }

    async fn questions(&self, shard: ShardId) -> Result<BoxStream<'static, Question>, Error> {
        let subscription = self
            .call(Op::Questions, |state| {
                let (line, subscription) = line(self.connection);
                state.questions.entry(shard).or_default().push(line);
                Ok(subscription)
            })
            .await?;
        Ok(self.items(subscription))
    }

    async fn consult(&self, node: Incarnation, request: Bytes) -> Result<Bytes, Error> {
        let deadline = Instant::now() + self.server.config.deadline;
        let (answer, answers) = mpsc::channel(1);
        self.call(Op::Consult, |state| {
            let nobody = || Error::NoResponders(format!("node {node}"));
            let lines = state.consultations.get_mut(&node).ok_or_else(nobody)?;
            lines.retain(Line::is_open);
            let lines = state.consultations[&node].iter();
            let line = lines.rev().find(|line| state.is_up(line.connection));
            let line = line.ok_or_else(nobody)?;
            let (due, copies) = self.passage(line.connection, Delivered::Question);
            for _ in 0..copies {
                let answer = answer.clone();
                let respond = Box::new(move |bytes| drop(answer.try_send(bytes)));
                let request = request.clone();
                let asked = Consultation {
                    request,
                    longest: usize::MAX,
                    respond,
                };
                line.send(due, asked);
            }
            Ok(())
        })
        .await?;
        let bytes = self.first(answer, answers, deadline).await;
        bytes.ok_or_else(|| Error::Unknown(format!("node {node} did not answer in time")))
    }

    async fn consultations(
        &self,
        me: Incarnation,
    ) -> Result<BoxStream<'static, Consultation>, Error> {
        let subscription = self
            .call(Op::Consultations, |state| {
                let (line, subscription) = line(self.connection);
                state.consultations.entry(me).or_default().push(line);
                Ok(subscription)
            })
            .await?;
        Ok(self.items(subscription))
    }

    async fn probe(&self, node: Incarnation) -> Result<bool, Error> {
        let there = self
            .call(Op::Probe, |state| {
                let mut of_node = state.probes.range((node, 0)..=(node, u64::MAX));
                Ok(of_node
                    .find(|(_, connection)| state.is_up(**connection))
                    .map(|(_, connection)| *connection))
            })
            .await?;
        let Some(connection) = there else {
            return Ok(false);
        };
        let passage = self.server.faults.delivery(connection, Delivered::Probe);
        let deadline = self.server.config.deadline;
        pause(passage.delay.min(deadline)).await;
        if passage.copies == 0 {
            pause(deadline.saturating_sub(passage.delay)).await;
        }
        if passage.copies == 0 || passage.delay >= deadline {
            return Err(Error::Unknown(format!(
                "node {node} did not answer a probe in time"
            )));
        }
        Ok(true)
    }

    async fn answer_probes(&self, me: Incarnation) -> Result<Box<dyn Send + Sync>, Error> {
        let key = self
            .call(Op::AnswerProbes, |state| {
                state.guards += 1;
                state.probes.insert((me, state.guards), self.connection);
                Ok((me, state.guards))
            })
            .await?;
        Ok(Box::new(Guard {
            memory: self.clone(),
            key,
        }))
    }
}

impl Memory {
    /// The first answer to a question, unless the deadline is earlier, it is lost on its way, or
    /// the connection is.
    async fn first<T>(
        &self,
        answer: mpsc::Sender<T>,
        mut answers: mpsc::Receiver<T>,
        deadline: Instant,
    ) -> Option<T> {
        let first = timeout_at(deadline, answers.recv()).await.ok().flatten();
        // It lived on: who drops the question is silent until the deadline, as over a network.
        drop(answer);
        let passage = self
            .server
            .faults
            .delivery(self.connection, Delivered::Answer);
        pause(passage.delay).await;
        first.filter(|_| passage.copies > 0 && self.is_up())
    }

    /// The items of a subscription; interruptions are not told.
    pub(super) fn items<T: Send + 'static>(
        &self,
        subscription: Subscription<T>,
    ) -> BoxStream<'static, T> {
        stream(
            (self.clone(), subscription),
            |(hub, mut subscription)| async move {
                loop {
                    if let Arrival::Item(item) = subscription.next().await? {
                        return Some((item, (hub, subscription)));
                    }
                }
            },
        )
    }
}

struct Guard {
    memory: Memory,
    key: (Incarnation, u64),
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.memory.server.state().probes.remove(&self.key);
    }
}
