//! Rooms, as operators look at them.

use super::{
    NodeOperator, members::address, orders::Order, retention::shown, stays::Looked, unavailable,
};
use crate::{
    bus::{Admission, Ask, Inbound, NodeRecord, Role, RoomView, Submission},
    cluster::Status,
    ops::{ApiError, answer},
    room::{
        Action, Identity, Incarnation, Key, Millis, Reason, Rejection, RoomId, Seq, SessionId,
        UserId,
    },
};
use axum::http::StatusCode;
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The most rooms in one answer.
const PAGE: usize = 1000;
/// The most sessions in one message between nodes: some 150 bytes each, far below any max_payload.
const SESSIONS: usize = 1000;
/// How long a user's sessions may take to end: closing them, storing that, and deciding it.
pub(super) const EXPEL: Duration = Duration::from_secs(10);
/// Between two looks whether they have.
pub(super) const LOOK: Duration = Duration::from_millis(100);
/// Events whose sizes are added up; a room that has more does not say how large it is.
const COUNTED: u64 = 10_000;

impl NodeOperator {
    /// A page of the rooms that were ever written, in the journal's order.
    pub(super) async fn page_of_rooms(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<answer::Rooms, ApiError> {
        let after = after.filter(|after| !after.is_empty());
        let after = after.map(parse_room).transpose()?;
        if !(1..=PAGE).contains(&limit) {
            let message = format!("limit must be 1 to {PAGE}, not {limit}");
            return Err(ApiError::bad("bad_limit", message));
        }
        let rooms = self.journal.rooms(after.as_ref(), limit).await;
        let (rooms, records) = (rooms.map_err(unavailable)?, self.records().await?);
        let next = rooms.last().filter(|_| rooms.len() == limit);
        let line = |room: &RoomId| {
            let shard = self.shards.of(room);
            let owner = records.get(&shard).and_then(|record| record.owner);
            answer::RoomLine {
                room: room.to_string(),
                shard: shard.0,
                owner: self.owner(owner),
            }
        };
        Ok(answer::Rooms {
            rooms: rooms.iter().map(line).collect(),
            next: next.map(RoomId::to_string),
        })
    }

    /// Where a room is, how far it goes, who is there, and what is stored of it.
    pub(super) async fn look_at_room(&self, room: &str) -> Result<answer::Room, ApiError> {
        let room = parse_room(room)?;
        let shard = self.shards.of(&room);
        let (record, view) = tokio::join!(self.bus.shard(shard), self.view(&room));
        let (record, view) = (
            record.map_err(unavailable)?.map(|(record, _)| record),
            view?,
        );
        let (sessions, stored) = tokio::join!(self.sessions_everywhere(&room), async {
            self.stored(&room, (view.first.max(Seq(1)), view.head))
                .await
        });
        let (last_commit, bytes) = stored?;
        let owner = record.and_then(|record| record.owner);
        let looked = Looked {
            room: &room,
            view: &view,
            owner,
            last: last_commit.as_ref().map(|last| Millis(last.at)),
        };
        let stays = self.stays(&looked).await;
        Ok(answer::Room {
            room: room.to_string(),
            shard: shard.0,
            owner: self.owner(owner),
            epoch: view.epoch.0,
            head: view.head.0,
            policy: view.policy.as_str().to_owned(),
            first: view.first.0.max(1),
            retention: view.retention.map(shown),
            erasing: view
                .erasing
                .iter()
                .map(|(user, _)| user.to_string())
                .collect(),
            members: view.members.iter().map(UserId::to_string).collect(),
            sessions,
            snapshot: (view.snapshot > Seq::ZERO).then_some(view.snapshot.0),
            last_commit,
            bytes,
            stays,
        })
    }

    /// The last commit, and how many bytes of content are kept, from the first event to the head,
    /// if that is soon counted.
    async fn stored(
        &self,
        room: &RoomId,
        (first, head): (Seq, Seq),
    ) -> Result<(Option<answer::Commit>, Option<usize>), ApiError> {
        if head == Seq::ZERO {
            return Ok((None, Some(0)));
        }
        let last = self.journal.read(room, head, head).await;
        let last = last.map_err(unavailable)?;
        let epoch = self.bus.last(room).await.ok().flatten();
        let epoch = epoch
            .filter(|last| last.seq == head)
            .map(|last| last.epoch.0);
        let last = last.first().map(|event| answer::Commit {
            seq: event.seq.0,
            at: event.at.0,
            epoch,
        });
        Ok((last, self.bytes(room, (first, head)).await?))
    }

    async fn bytes(
        &self,
        room: &RoomId,
        (first, head): (Seq, Seq),
    ) -> Result<Option<usize>, ApiError> {
        if head.0.saturating_sub(first.0) > COUNTED {
            return Ok(None);
        }
        let (mut bytes, mut next) = (0, first);
        while next <= head {
            let events = self.journal.read(room, next, head).await;
            let events = events.map_err(unavailable)?;
            let Some(last) = events.last() else { break };
            bytes += events.iter().map(|event| event.size()).sum::<usize>();
            next = last.seq.next();
        }
        Ok(Some(bytes))
    }

    /// The sessions in a room at all nodes; those of a node that does not answer are missing, and
    /// it is named.
    async fn sessions_everywhere(&self, room: &RoomId) -> answer::SessionsEverywhere {
        let seen = self.seen();
        let gateways = seen.iter().filter(|member| {
            member.status != Status::Down && member.node.roles.contains(&Role::Gateway)
        });
        let answers = gateways.map(async |member| {
            let sessions = self.sessions_at(member.node.incarnation, room).await;
            (address(member), sessions)
        });
        let (mut known, mut unknown_at) = (Vec::new(), Vec::new());
        for (node, answer) in join_all(answers).await {
            match answer {
                Ok(sessions) => {
                    known.extend(sessions.into_iter().map(|session| answer::NodeSession {
                        node: node.clone(),
                        session,
                    }));
                }
                Err(_) => unknown_at.push(node),
            }
        }
        match unknown_at.is_empty() {
            true => answer::SessionsEverywhere::All(known),
            false => answer::SessionsEverywhere::Known { known, unknown_at },
        }
    }

    /// The sessions that one node has in a room, page by page: one message may not hold all.
    async fn sessions_at(
        &self,
        node: Incarnation,
        room: &RoomId,
    ) -> Result<Vec<answer::Session>, ApiError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let room = room.to_string();
            let page: SessionsPage = self.ask(node, &Order::Sessions { room, after }).await?;
            all.extend(page.sessions);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// A page of the sessions that this node has in a room.
    pub(super) fn page_of_sessions(
        &self,
        room: &str,
        after: Option<&str>,
    ) -> Result<SessionsPage, ApiError> {
        Ok(page_of(self.sessions_here(room)?.sessions, after))
    }

    /// The sessions that this node has in a room.
    pub(super) fn sessions_here(&self, room: &str) -> Result<answer::Sessions, ApiError> {
        let room = parse_room(room)?;
        let gateway = self.gateway.as_ref();
        let sessions = gateway.map_or_else(Vec::new, |gateway| gateway.sessions_in(&room));
        let line = |(session, user): &(SessionId, UserId)| answer::Session {
            session: session.to_string(),
            user: user.to_string(),
        };
        Ok(answer::Sessions {
            room: room.to_string(),
            sessions: sessions.iter().map(line).collect(),
        })
    }

    /// A word to a node may be lost, so it is repeated until the room itself says that the user is
    /// gone.
    pub(super) async fn end_sessions_of(
        &self,
        room: &str,
        user: &str,
    ) -> Result<answer::Kicked, ApiError> {
        let room = parse_room(room)?;
        let user = parse_user(user)?;
        let until = Instant::now() + EXPEL;
        let mut was_member = false;
        loop {
            if !self.view(&room).await?.members.contains(&user) {
                return Ok(answer::Kicked {
                    room: room.to_string(),
                    user: user.to_string(),
                    was_member,
                });
            }
            if Instant::now() >= until {
                let message = format!(
                    "{user} is still in room {room}, or came back: try again; with the key a \
                     client may always come back"
                );
                return Err(ApiError::unavailable(message));
            }
            was_member = true;
            let expel = Inbound::Expel {
                room: room.clone(),
                user: user.clone(),
            };
            let nodes = self.cluster.view().nodes;
            for node in nodes
                .iter()
                .filter(|node| node.roles.contains(&Role::Gateway))
            {
                if let Err(error) = self.bus.tell(node.incarnation, &expel).await {
                    tracing::debug!(
                        node = %node.incarnation, %error,
                        "a node was not told to end sessions; it is told again"
                    );
                }
            }
            sleep(LOOK).await;
        }
    }

    /// Stores a command of an operator to a room, once. What became of it, the room says.
    pub(super) async fn command(&self, room: &RoomId, action: Action) -> Result<(), ApiError> {
        let submission = Submission {
            room: room.clone(),
            action,
            reply: None,
        };
        let stored = self.bus.submit(&submission).await;
        let failed = |error| {
            let message = format!("the command could not be stored: {error}; try again");
            ApiError::unavailable(message)
        };
        stored.map(drop).map_err(failed)
    }

    /// Ends the sessions first: their clients do not come back by themselves then, and the name is
    /// free for its owner. The command is submitted once; read again it does nothing more.
    pub(super) async fn take_key_of(
        &self,
        room: &str,
        user: &str,
    ) -> Result<answer::Unpinned, ApiError> {
        self.check_all_read(NodeRecord::reads_unpins, "that a key was taken away")?;
        let (room_id, user_id) = (parse_room(room)?, parse_user(user)?);
        let unpinned = |was_pinned| answer::Unpinned {
            room: room.to_owned(),
            user: user.to_owned(),
            was_pinned,
        };
        if !self.is_pinned(&room_id, &user_id).await? {
            self.check_written(&room_id).await?;
            return Ok(unpinned(false));
        }
        self.end_sessions_of(room, user).await?;
        let unpin = Action::Unpin {
            user: user_id.clone(),
        };
        self.command(&room_id, unpin).await?;
        let until = Instant::now() + EXPEL;
        while self.is_pinned(&room_id, &user_id).await? {
            if Instant::now() >= until {
                let message = format!(
                    "{user} still has a key in room {room}, or somebody came at once and pinned \
                     another: look who is there, and try again"
                );
                return Err(ApiError::unavailable(message));
            }
            sleep(LOOK).await;
        }
        Ok(unpinned(true))
    }

    /// Refuses what not every node could read.
    pub(super) fn check_all_read(
        &self,
        reads: impl Fn(&NodeRecord) -> bool,
        what: &str,
    ) -> Result<(), ApiError> {
        let all: Vec<_> = self.cluster.view().nodes;
        let Some(old) = all.iter().find(|node| !reads(node)) else {
            return Ok(());
        };
        let name = &old.name;
        let message =
            format!("node {name} is of a version that cannot read {what}: upgrade it first");
        Err(ApiError::new(StatusCode::CONFLICT, "old_node", message))
    }

    /// Whether a name has a key: then the owner would turn away who brings another one.
    async fn is_pinned(&self, room: &RoomId, user: &UserId) -> Result<bool, ApiError> {
        let nobodys = format!("{:032x}", rand::random::<u128>());
        let who = Admission {
            user: user.clone(),
            key: Key::parse(&nobodys).expect("32 digits are a key"),
            identity: Identity::Claimed,
            device: None,
            policy: None,
            former: None,
        };
        let ask = Ask::admission(room.clone(), who);
        let view = self.bus.ask(&ask).await;
        let view = view.map_err(|error| {
            ApiError::unavailable(format!("the owner of room {room} does not answer: {error}"))
        })?;
        match view.refused {
            None => Ok(false),
            Some(Rejection {
                reason: Reason::KeyMismatch,
                ..
            }) => Ok(true),
            // The room asks it of everybody, but of a name that has a key it asks that first.
            Some(Rejection {
                reason: Reason::ProofRequired,
                ..
            }) => Ok(false),
            // Of nobody, so it has none.
            Some(rejection) => Err(ApiError::unavailable(rejection.to_string())),
        }
    }

    /// The owner's answer about a room, with all members.
    async fn view(&self, room: &RoomId) -> Result<RoomView, ApiError> {
        let mut whole = self.asked(Ask::room(room.clone())).await?;
        while whole.more_members {
            let last = whole.members.last().cloned();
            let part = self.asked(Ask::members(room.clone(), last)).await?;
            // What it would not get on with.
            if part.members.is_empty() && part.more_members {
                let message = format!("the owner of room {room} does not tell all its members");
                return Err(ApiError::unavailable(message));
            }
            whole.members.extend(part.members);
            whole.more_members = part.more_members;
        }
        Ok(whole)
    }

    pub(super) async fn asked(&self, ask: Ask) -> Result<RoomView, ApiError> {
        let room = &ask.room;
        let view = self.bus.ask(&ask).await;
        let view = view.map_err(|error| {
            self.without_writer().unwrap_or_else(|| {
                let message = format!("the owner of room {room} does not answer: {error}");
                ApiError::unavailable(message)
            })
        })?;
        match view.refused {
            Some(rejection) => Err(ApiError::unavailable(rejection.to_string())),
            None => Ok(view),
        }
    }
}

/// A page of the sessions that a node has in a room, as nodes tell each other.
#[derive(Serialize, Deserialize)]
pub(super) struct SessionsPage {
    sessions: Vec<answer::Session>,
    /// The session after which the next page begins; nothing: this is the last one.
    #[serde(default)]
    next: Option<String>,
}

/// The page of these that begins after one of them.
fn page_of(mut sessions: Vec<answer::Session>, after: Option<&str>) -> SessionsPage {
    sessions.sort_unstable_by(|a, b| a.session.cmp(&b.session));
    let begin = sessions.partition_point(|it| after.is_some_and(|after| *it.session <= *after));
    sessions.drain(..begin);
    let is_last = sessions.len() <= SESSIONS;
    sessions.truncate(SESSIONS);
    let next = sessions.last().filter(|_| !is_last);
    SessionsPage {
        next: next.map(|last| last.session.clone()),
        sessions,
    }
}

pub(super) fn parse_room(room: &str) -> Result<RoomId, ApiError> {
    RoomId::parse(room).map_err(|why| ApiError::bad("bad_room", why.to_string()))
}

pub(super) fn parse_user(user: &str) -> Result<UserId, ApiError> {
    UserId::parse(user).map_err(|why| ApiError::bad("bad_user", why.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_every_session_once() {
        let session = |n: usize| answer::Session {
            session: format!("{n:032x}"),
            user: "harry".into(),
        };
        let all = || (0..SESSIONS * 2 + 1).rev().map(session).collect();
        let (mut seen, mut after) = (Vec::new(), None);
        for size in [SESSIONS, SESSIONS, 1] {
            let page = page_of(all(), after.as_deref());
            assert_eq!(page.sessions.len(), size);
            seen.extend(page.sessions.into_iter().map(|it| it.session));
            after = page.next;
        }
        assert!(after.is_none() && seen.is_sorted() && seen.len() == SESSIONS * 2 + 1);
    }
}
