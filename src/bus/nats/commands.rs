//! Commands on NATS: `<P>_CMD`, one reader per shard.

use super::{
    Nats,
    link::Link,
    reader::{Entry, Purpose, Reader, Start, Step},
    registry::check_no_answer,
    settings,
    skipped::{Skipped, Unfit},
    speaker::may_say,
    subjects::Subjects,
    together::Storing,
    traced,
};
use crate::{
    bus::{
        Commands, Delivery, Error, Position, Submission,
        codec::{decode_command, encode_command},
        while_newer,
    },
    room::{Millis, ShardId},
    telemetry::trace::hop,
};
use async_nats::HeaderMap;
use async_trait::async_trait;
use futures::stream::{BoxStream, unfold};
use std::sync::Arc;
use tracing::Instrument;

#[async_trait]
impl Commands for Nats {
    async fn submit(&self, submission: &Submission) -> Result<Position, Error> {
        let room = &submission.room;
        let is_named = self.names.all_read_names() && may_say(&self.node, submission).is_ok();
        let subject = match is_named {
            true => self.subjects.command_by(room, &self.node),
            false => self.subjects.command(room),
        };
        let payload = encode_command(submission);
        let span = hop::store(|| self.subjects.shard(&submission.room).0, payload.len());
        let mut headers = HeaderMap::new();
        traced::write(&mut headers, &span);
        let storing = Storing {
            subject,
            headers,
            payload,
        };
        self.together.store(storing).instrument(span).await
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
        let purpose = Purpose {
            name: format!("commands-{shard}"),
            description: format!("reads the commands of shard {shard}, to decide them"),
        };
        let reader = Reader::open(
            &self.commands,
            &self.skipped,
            stream,
            filter,
            purpose,
            Start::At(from.0),
        )
        .await?;
        let commands = Incoming {
            reader,
            registry: self.registry.clone(),
            subjects: self.subjects.clone(),
            skipped: self.skipped.clone(),
        };
        Ok(Box::pin(unfold(commands, |mut commands| async move {
            Some((commands.next().await, commands))
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

/// The commands of a shard as they come.
struct Incoming {
    reader: Reader,
    registry: Link,
    subjects: Arc<Subjects>,
    skipped: Skipped,
}

impl Incoming {
    /// The next command that can be read and is for a room of the shard. Any other is skipped: it
    /// can never be decided here, nor anywhere else, unless the cluster stores newer forms.
    async fn next(&mut self) -> Delivery {
        loop {
            let Step::Entry(entry) = self.reader.next().await else {
                continue;
            };
            let (subject, position) = (entry.subject.clone(), entry.position);
            let read = read(&self.subjects, entry);
            if matches!(read, Err(Unfit::Unreadable(_))) {
                // Nobody passes it: the next owner of the shard finds it.
                let newer = || settings::are_newer(&self.registry, &self.subjects);
                let tell = || {
                    tracing::warn!(%subject, position, "a command is left to a newer version");
                };
                while_newer(newer, tell).await;
            }
            if let Some(delivery) = self.skipped.fits("command", &subject, read) {
                return delivery;
            }
        }
    }
}

pub(super) fn read(subjects: &Subjects, entry: Entry) -> Result<Delivery, Unfit> {
    let (room, by) = subjects.commanded(&entry.subject)?;
    check_no_answer(entry.headers.as_ref())?;
    let submission = decode_command(&room, entry.payload)?;
    if let Some(name) = by {
        let forged = |why| Unfit::Forged(format!("node {name} may not say that: {why}"));
        may_say(&name, &submission).map_err(forged)?;
    }
    Ok(Delivery {
        position: Position(entry.position),
        at: millis(entry.at),
        submission,
        trace: traced::read(entry.headers.as_ref()),
    })
}

pub(super) fn millis(nanos: i128) -> Millis {
    Millis(u64::try_from(nanos / 1_000_000).unwrap_or_default())
}
