//! A part of the room is read again, for a sealed room's device lacks something of it, or could not
//! read it before. It is asked for as history, so that nobody sees anybody go and come; if that does
//! not give all of it, a new session reads it.

use super::{Answer, Chat, sealed::said::unmask};
use anyhow::Result;
use safe_chat_client::{Event, Link, Page, QueryError};
use std::{collections::VecDeque, time::Duration};
use tokio::time::timeout;

/// Events that one question asks for.
const PAGE: u16 = 500;
/// Events that are read so, at most.
const MOST: usize = 10_000;
/// How long an answer may take. Until then nothing else of the room is taken.
const DEADLINE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Again {
    /// Behind this place.
    behind: u64,
    /// Those that are here, in their order, up to the last one that is to be read.
    events: VecDeque<Event>,
    /// What is before this place is asked for.
    before: u64,
}

impl Chat {
    /// Reads what is behind a place, up to where the room was heard.
    pub(super) async fn read_again(&mut self, behind: u64) -> Result<()> {
        let up_to = self
            .sealed
            .as_ref()
            .map_or(0, |sealed| sealed.heard_up_to());
        if self.client.status().link != Link::Open || up_to <= behind {
            return self.begin_again(behind).await;
        }
        self.ask_again(Again {
            behind,
            events: VecDeque::new(),
            before: up_to + 1,
        });
        Ok(())
    }

    fn ask_again(&mut self, again: Again) {
        let (handle, before) = (self.client.handle(), again.before);
        let asked = async move {
            let page = timeout(DEADLINE, handle.history(Some(before), PAGE)).await;
            Answer::Again(before, page.unwrap_or(Err(QueryError::Unanswered)))
        };
        self.answers.push(Box::pin(asked));
        self.again = Some(again);
    }

    pub(super) async fn take_again(
        &mut self,
        before: u64,
        page: Result<Page, QueryError>,
    ) -> Result<()> {
        let Some(mut again) = self.again.take_if(|again| again.before == before) else {
            return Ok(());
        };
        let Page { events, more, .. } = page.unwrap_or_default();
        // The last one, up to which it is read, ends the reading: without it that would not end.
        let is_end = |last: u64| !again.events.is_empty() || last + 1 == before;
        let is_in_order = events.windows(2).all(|two| two[0].seq < two[1].seq)
            && events
                .last()
                .is_some_and(|last| last.seq < before && is_end(last.seq));
        let Some(first) = events.first().filter(|_| is_in_order).map(|one| one.seq) else {
            return self.begin_again(again.behind).await;
        };
        for event in events.into_iter().rev() {
            again.events.push_front(event);
        }
        if first <= again.behind + 1 {
            return self.hear_again(again).await;
        }
        match more && again.events.len() < MOST {
            true => {
                again.before = first;
                self.ask_again(again);
                Ok(())
            }
            false => self.begin_again(again.behind).await,
        }
    }

    /// What is shown of these events was shown when they came first, but for what can be read now.
    async fn hear_again(&mut self, again: Again) -> Result<()> {
        for mut event in again.events {
            if event.seq <= again.behind {
                continue;
            }
            unmask(&mut event);
            let heard = self.sealed.as_mut().map(|sealed| sealed.event(&event));
            let tasks = heard.transpose()?.unwrap_or_default();
            self.carry_out(tasks).await?;
        }
        Ok(())
    }

    async fn begin_again(&mut self, behind: u64) -> Result<()> {
        let anew = (self.begin)(Some(behind), true)?;
        self.reads_again = true;
        std::mem::replace(&mut self.client, anew).close().await;
        Ok(())
    }
}
