//! Commands on NATS: `<P>_CMD`, one reader per shard.

use super::{
    Nats,
    reader::{Entry, Reader, Start, Step},
    subjects::last_token,
};
use crate::{
    bus::{
        Commands, Delivery, Error, Position, Submission,
        codec::{Bad, decode_command, encode_command},
    },
    room::{Millis, RoomId, ShardId},
};
use async_nats::HeaderMap;
use async_trait::async_trait;
use futures::stream::{BoxStream, unfold};
use tracing::warn;

#[async_trait]
impl Commands for Nats {
    async fn submit(&self, submission: &Submission) -> Result<Position, Error> {
        let subject = self.subjects.command(&submission.room);
        self.commands
            .store(subject, HeaderMap::new(), encode_command(submission), None)
            .await
    }

    async fn commands(
        &self,
        shard: ShardId,
        from: Position,
    ) -> Result<BoxStream<'static, Delivery>, Error> {
        let (stream, filter) = (
            self.subjects.stream("CMD"),
            self.subjects.commands_of(shard),
        );
        let reader = Reader::open(&self.commands, stream, filter, Start::At(from.0)).await?;
        Ok(Box::pin(unfold(reader, |mut reader| async move {
            Some((next(&mut reader).await, reader))
        })))
    }

    async fn discard(
        &self,
        shard: ShardId,
        below: Position,
        newest: Option<(Position, Millis)>,
    ) -> Result<bool, Error> {
        let (stream, filter) = (
            self.subjects.stream("CMD"),
            self.subjects.commands_of(shard),
        );
        let kept = newest.map_or(below.0.saturating_sub(1), |(position, _)| position.0);
        if kept == 0 {
            return Ok(true);
        }
        let is_there = match newest {
            Some((_, at)) => self
                .commands
                .at(&stream, kept)
                .await?
                .is_some_and(|message| millis(message.time.unix_timestamp_nanos()) == at),
            None => self.commands.info(&stream).await?.state.last_seq >= kept,
        };
        if is_there {
            self.commands.purge(&stream, &filter, Some(kept)).await?;
        }
        Ok(is_there)
    }
}

/// The next command that can be read. One that cannot be is skipped: it can never be decided.
async fn next(reader: &mut Reader) -> Delivery {
    loop {
        let Step::Entry(entry) = reader.next().await else {
            continue;
        };
        let position = entry.position;
        match read(entry) {
            Ok(delivery) => return delivery,
            Err(bad) => {
                warn!(position, %bad, "a command is skipped");
                metrics::counter!("safechat_bus_undecodable_total", "what" => "command")
                    .increment(1);
            }
        }
    }
}

pub(super) fn read(entry: Entry) -> Result<Delivery, Bad> {
    let room = RoomId::parse(last_token(&entry.subject))?;
    Ok(Delivery {
        position: Position(entry.position),
        at: millis(entry.at),
        submission: decode_command(&room, entry.payload)?,
    })
}

fn millis(nanos: i128) -> Millis {
    Millis(u64::try_from(nanos / 1_000_000).unwrap_or_default())
}
