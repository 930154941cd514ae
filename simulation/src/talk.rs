//! What a client knows: what it said and was answered, and how far it saw the room. Pure but for
//! the time of a retry.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use loadtest::history::{Event, Step};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// Answered messages that may be said once more.
const REPEATABLE: usize = 100;

/// What a frame told the client.
pub(crate) enum Told {
    Nothing,
    Step(Step),
    /// An answer to something that was answered before.
    Repeated(Step),
    Page(Vec<Event>),
    Members(Vec<String>),
    /// Send again later.
    Retry(Step),
    /// Connect again.
    Leave(String),
}

pub(crate) struct Talk {
    user: String,
    seen: Option<u64>,
    /// The place of the last purge that it saw.
    purged: u64,
    /// Its room may begin anew, in which no place is behind a purge of before.
    is_passing: bool,
    /// Whose content was erased, by what it saw since its room last began anew: the place of that.
    erased: BTreeMap<String, u64>,
    said: u64,
    /// Not answered, by number.
    open: BTreeMap<u64, String>,
    /// Answered lately: well within the room's window of remembered messages.
    journaled: VecDeque<String>,
    retry_at: Option<Instant>,
}

impl Talk {
    pub(crate) fn new(user: &str) -> Self {
        Self {
            user: user.into(),
            seen: None,
            purged: 0,
            is_passing: false,
            erased: BTreeMap::new(),
            said: 0,
            open: BTreeMap::new(),
            journaled: VecDeque::new(),
            retry_at: None,
        }
    }

    /// In a room that may go.
    pub(crate) fn in_passing(user: &str) -> Self {
        Self {
            is_passing: true,
            ..Self::new(user)
        }
    }

    pub(crate) fn seen(&self) -> Option<u64> {
        self.seen
    }

    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }

    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The first frame of a connection: after which place it goes on, and what it says.
    pub(crate) fn welcome(&mut self, frame: &Value) -> Result<[Step; 2], String> {
        let wrong = || format!("the first frame is {frame}");
        let (seq, recovered) = (
            frame["seq"].as_u64().ok_or_else(wrong)?,
            frame["recovered"].as_bool().ok_or_else(wrong)?,
        );
        let members = names(&frame["members"]);
        if !members.contains(&self.user) {
            return Err(format!("welcomed and no member: {frame}"));
        }
        let after = *self.seen.get_or_insert(seq);
        Ok([
            Step::Connected { after },
            Step::Welcomed {
                seq,
                members,
                recovered,
            },
        ])
    }

    pub(crate) fn new_message(&mut self) -> (String, String) {
        let id = format!("{}-{}", self.user, self.said + 1);
        self.say(id)
    }

    /// A message that was answered already, once more.
    pub(crate) fn repeat(&mut self) -> Option<(String, String)> {
        let id = self
            .journaled
            .get(self.said as usize % self.journaled.len().max(1))?
            .clone();
        Some(self.say(id))
    }

    fn say(&mut self, id: String) -> (String, String) {
        self.said += 1;
        self.open.insert(self.said, id.clone());
        let frame = message(&id);
        (id, frame)
    }

    /// All that is not answered, in the order in which it was said.
    pub(crate) fn again(&mut self) -> Vec<(String, String)> {
        self.retry_at = None;
        self.open
            .values()
            .map(|id| (id.clone(), message(id)))
            .collect()
    }

    pub(crate) fn hear(&mut self, frame: &Value) -> Result<Told, String> {
        let wrong = || format!("not understood: {frame}");
        let id = frame["id"].as_str();
        Ok(match frame["type"].as_str().ok_or_else(wrong)? {
            "event" => {
                let event = Event::of_json(frame).ok_or_else(wrong)?;
                self.seen = Some(event.seq);
                if event.kind == "purged" && !self.is_passing {
                    self.purged = event.seq;
                }
                if event.kind == "erased" {
                    self.erased.insert(event.from.clone(), event.seq);
                }
                self.is_without(&event)?;
                Told::Step(Step::Saw(event))
            }
            "accepted" => Told::Step(Step::Accepted {
                id: id.ok_or_else(wrong)?.into(),
            }),
            "journaled" => {
                let (id, seq) = (
                    id.ok_or_else(wrong)?.to_owned(),
                    frame["seq"].as_u64().ok_or_else(wrong)?,
                );
                self.open.retain(|_, open| *open != id);
                self.journaled.push_front(id.clone());
                self.journaled.truncate(REPEATABLE);
                match frame["duplicate"].as_bool().ok_or_else(wrong)? {
                    true => Told::Repeated(Step::Repeated { id, seq }),
                    false => Told::Step(Step::Journaled { id, seq }),
                }
            }
            "rejected" => {
                let reason = frame["reason"].as_str().ok_or_else(wrong)?.to_owned();
                match (reason.as_str(), frame["retry_after_ms"].as_u64()) {
                    ("not_member", _) => Told::Leave(reason),
                    (_, Some(ms)) => {
                        self.retry_at = Some(Instant::now() + Duration::from_millis(ms.min(5_000)));
                        Told::Retry(Step::Refused {
                            id: id.ok_or_else(wrong)?.into(),
                            reason,
                        })
                    }
                    _ => return Err(format!("rejected for good: {frame}")),
                }
            }
            "history" => {
                let events = frame["events"].as_array().ok_or_else(wrong)?;
                let events: Vec<Event> = events.iter().filter_map(Event::of_json).collect();
                if let Some(old) = events.iter().find(|event| event.seq < self.purged) {
                    let (old, purged) = (old.seq, self.purged);
                    return Err(format!("a page shows {old} behind the purge at {purged}"));
                }
                events.iter().try_for_each(|event| self.is_without(event))?;
                Told::Page(events)
            }
            "members" => Told::Members(names(&frame["members"])),
            "reset" => {
                self.erased.clear();
                Told::Step(Step::Reset {
                    seq: frame["seq"].as_u64().ok_or_else(wrong)?,
                })
            }
            "bye" => Told::Leave("bye".into()),
            "pong" => Told::Nothing,
            _ => return Err(wrong()),
        })
    }
}

impl Talk {
    /// Nobody is told what was erased before.
    fn is_without(&self, event: &Event) -> Result<(), String> {
        let place = self.erased.get(&event.from).copied().unwrap_or(0);
        let has_content = event.text.is_some() || event.sealed.is_some();
        match has_content && !event.erased && event.seq < place {
            true => Err(format!("{} was told, which {place} erased", event.seq)),
            false => Ok(()),
        }
    }
}

fn message(id: &str) -> String {
    let mut frame = content(id);
    frame["type"] = "send".into();
    frame["id"] = id.into();
    frame.to_string()
}

/// What a message says, and to whom: some of them sealed, some to one user.
pub(crate) fn content(id: &str) -> Value {
    let n: usize = id.bytes().map(usize::from).sum();
    let mut content = match n % 4 {
        0 => json!({"sealed": BASE64_URL_SAFE_NO_PAD.encode(format!("sealed {id}"))}),
        _ => json!({"text": format!("text of {id}")}),
    };
    if n.is_multiple_of(3) {
        content["to"] = "user-1".into();
    }
    content
}

fn names(frame: &Value) -> Vec<String> {
    frame
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect()
}
