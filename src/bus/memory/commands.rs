//! Commands of the memory adapter.

use super::{Delivered, Memory, Op, pause, state::Command, stream};
use crate::{
    bus::{Commands, Delivery, Error, Position, Submission},
    room::{Millis, ShardId},
    telemetry::trace::Context,
};
use async_trait::async_trait;
use futures::stream::BoxStream;
use tokio::sync::watch;

/// Where a reader is.
struct Reader {
    memory: Memory,
    shard: ShardId,
    next: u64,
    /// How many cuts of the log it has seen.
    cuts: usize,
    grown: watch::Receiver<()>,
}

#[async_trait]
impl Commands for Memory {
    async fn submit(&self, submission: &Submission) -> Result<Position, Error> {
        let shard = self.server.config.shards.of(&submission.room);
        self.call(Op::Submit, |state| {
            let most = self.server.config.commands;
            if state.commands.messages.len() >= most {
                return Err(Error::Full(format!(
                    "the hub keeps {most} commands at most"
                )));
            }
            Ok(state.commands.push(Command {
                shard,
                at: self.server.now(),
                submission: submission.clone(),
                trace: Context::current(),
            }))
        })
        .await
    }

    async fn commands(
        &self,
        shard: ShardId,
        from: Position,
    ) -> Result<BoxStream<'static, Delivery>, Error> {
        let reader = self
            .call(Op::Commands, |state| {
                let lost = from.0 > state.commands.last + 1;
                let (next, cuts) = (if lost { 0 } else { from.0 }, state.commands.cuts.len());
                let mut grown = state.commands.grown.subscribe();
                grown.mark_changed();
                Ok(Reader {
                    memory: self.clone(),
                    shard,
                    next,
                    cuts,
                    grown,
                })
            })
            .await?;
        Ok(stream(reader, |mut reader| async move {
            Some((reader.next().await, reader))
        }))
    }

    async fn discard(
        &self,
        shard: ShardId,
        below: Position,
        newest: Option<(Position, Millis)>,
    ) -> Result<bool, Error> {
        self.call(Op::Discard, |state| {
            let log = &mut state.commands;
            let is_there = match newest {
                Some((position, at)) => log
                    .messages
                    .get(&position.0)
                    .is_some_and(|command| command.at == at),
                None => below.0 <= log.last + 1,
            };
            if is_there {
                let kept = newest.map_or(below, |(position, _)| position);
                log.messages
                    .retain(|position, command| command.shard != shard || *position >= kept.0);
            }
            Ok(is_there)
        })
        .await
    }
}

impl Reader {
    async fn next(&mut self) -> Delivery {
        let delivery = loop {
            self.memory.connected().await;
            if let Some(delivery) = self.take() {
                break delivery;
            }
            // The hub outlives its connections, so this never fails.
            let _ = self.grown.changed().await;
        };
        let passage = self
            .memory
            .server
            .faults
            .delivery(self.memory.connection, Delivered::Command);
        pause(passage.delay).await;
        delivery
    }

    fn take(&mut self) -> Option<Delivery> {
        let state = self.memory.server.state();
        let log = &state.commands;
        if log.cuts[self.cuts..]
            .iter()
            .any(|last| self.next > last + 1)
        {
            self.next = 0;
        }
        self.cuts = log.cuts.len();
        let (position, command) = log
            .messages
            .range(self.next..)
            .find(|(_, command)| command.shard == self.shard)?;
        self.next = position + 1;
        Some(Delivery {
            position: Position(*position),
            at: command.at,
            submission: command.submission.clone(),
            trace: command.trace.clone(),
        })
    }
}
