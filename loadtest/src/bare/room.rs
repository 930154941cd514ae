//! A room of the bare server: its members, and its last events for those who resume.

use super::member::Member;
use crate::engine::frames;
use serde_json::json;
use std::{
    collections::VecDeque,
    time::{SystemTime, UNIX_EPOCH},
};

/// Events that are kept.
const KEPT: usize = 4096;

#[derive(Default)]
pub(super) struct Room {
    pub(super) members: Vec<usize>,
    head: u64,
    /// Frames of the last events.
    recent: VecDeque<Vec<u8>>,
    /// Frames that nobody has yet.
    news: Vec<u8>,
}

impl Room {
    pub(super) fn append(&mut self, from: &str, id: &str, text: &str) -> u64 {
        self.head += 1;
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let at = since.unwrap_or_default().as_millis();
        let event = format!(
            r#"{{"type":"event","seq":{},"at":{at},"kind":"text","from":"{from}","text":{},"id":"{id}"}}"#,
            self.head,
            json!(text)
        );
        let mut frame = Vec::new();
        frames::write_of_server(&mut frame, 1, event.as_bytes());
        self.news.extend(&frame);
        self.recent.push_back(frame);
        if self.recent.len() > KEPT {
            self.recent.pop_front();
        }
        self.head
    }

    /// What everybody is to get now.
    pub(super) fn news(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.news)
    }

    /// What is not written to the others yet comes with their next write, and is not in here.
    pub(super) fn welcome(&self, member: &mut Member, room: &str, since: Option<u64>) {
        let fresh = frames::count(&self.news) as u64;
        let head = self.head - fresh;
        let since = since.unwrap_or(head).min(head);
        let oldest = self.head - self.recent.len() as u64;
        let welcome = json!({
            "type": "welcome", "room": room, "user": member.user, "session": "bare", "seq": head,
            "recovered": since >= oldest, "members": [], "epoch": 1, "node": "bare",
        });
        member.queue(1, welcome.to_string().as_bytes());
        let missed = (head - since.max(oldest)) as usize;
        let end = self.recent.len() - fresh as usize;
        for frame in self.recent.range(end - missed..end) {
            member.queue_frames(frame);
        }
    }
}
