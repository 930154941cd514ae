//! `safe-chat admin`: what an operator asks of a cluster and tells it, through the internal port of
//! any node.

mod room;
mod show;
mod trace;

use super::{internal::Internal, stdout::print};
use crate::config::Loaded;
use anyhow::{Context, anyhow, bail};
use clap::{ArgGroup, Args, Subcommand};
use hyper::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::Duration};

/// The internal port, where an address names none.
const PORT: u16 = 8558;
/// Longer than anything takes that a node does for an operator.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    access: Access,
    #[command(subcommand)]
    command: Command,
}

/// Which node is asked, and how its answer is printed.
#[derive(Debug, Args)]
struct Access {
    /// Config file (TOML), else SAFE_CHAT_CONFIG: its [ops] says where a node is and how to log in
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Internal port of any node, HOST[:PORT] (default: ops.host and ops.port)
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SAFE_CHAT_ADMIN_AT",
        global = true
    )]
    at: Option<String>,
    /// Who logs in: an operator of ops.operators_file, or ops.user (default: that)
    #[arg(id = "login", long = "user", value_name = "NAME", global = true)]
    login: Option<String>,
    /// File with the password (default: ops.password, so SAFE_CHAT_OPS__PASSWORD or ..._FILE)
    #[arg(long, value_name = "FILE", global = true)]
    password_file: Option<PathBuf>,
    /// Print the node's answer as it is
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The nodes: where they are, what they do, who leads, who is missed
    Members,
    /// Who writes which shard, and how many rooms of it are in memory
    Shards,
    /// Tell a node to stop in order: its shards and clients go elsewhere first
    Leave {
        /// Its address or its name, as `members` shows them
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Declare a dead or frozen node gone: others take its shards at once
    Down {
        /// Its address or its name, as `members` shows them
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// The rooms that were ever written
    Rooms {
        /// Go on behind this room
        #[arg(long, value_name = "ROOM", allow_hyphen_values = true)]
        after: Option<String>,
        /// At most so many, 1 to 1000
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// A room: how far it goes, who is there, what is stored of it
    Room {
        /// The room
        #[arg(allow_hyphen_values = true)]
        room: String,
    },
    /// End all sessions of a user in a room; with the key a client may come back
    Kick {
        /// The room
        #[arg(allow_hyphen_values = true)]
        room: String,
        /// The user
        #[arg(allow_hyphen_values = true)]
        user: String,
    },
    /// Take the key away from a name in a room: its sessions end, and the next key is pinned
    Unpin {
        /// The room
        #[arg(allow_hyphen_values = true)]
        room: String,
        /// The name
        #[arg(allow_hyphen_values = true)]
        user: String,
    },
    /// Say how much of a room's past is kept: what is beyond one of the bounds goes for good
    #[command(group(ArgGroup::new("kept").required(true).multiple(true)
        .args(["age", "events", "bytes", "everything", "default"])))]
    Retain {
        /// The room
        #[arg(allow_hyphen_values = true)]
        room: String,
        /// Events that are not older: a number with s, m, h or d, such as 30d
        #[arg(long, value_name = "TIME", value_parser = room::seconds)]
        age: Option<u64>,
        /// About so many of the last events
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        events: Option<u64>,
        /// About so many bytes of the last messages
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        bytes: Option<u64>,
        /// Everything
        #[arg(long, conflicts_with_all = ["age", "events", "bytes", "default"])]
        everything: bool,
        /// As much as of all rooms (writer.keep_age_s, .keep_events, .keep_bytes)
        #[arg(long, conflicts_with_all = ["age", "events", "bytes"])]
        default: bool,
    },
    /// Have everything forgotten that was said in a room, and who said it: nothing brings it back
    Purge {
        /// The room
        #[arg(allow_hyphen_values = true)]
        room: String,
        /// Do not ask for its name once more
        #[arg(long)]
        yes: bool,
    },
    /// Have what a user said in a room erased: that there were messages stays. Nothing brings it
    /// back
    Erase {
        /// The room
        #[arg(allow_hyphen_values = true)]
        room: String,
        /// The user
        #[arg(allow_hyphen_values = true)]
        user: String,
        /// Do not ask for the user's name once more
        #[arg(long)]
        yes: bool,
    },
    /// Send clients elsewhere, so many per second; they come back and resume
    #[command(group(ArgGroup::new("whose").required(true).args(["node", "all"])))]
    Disconnect {
        /// Those of one node
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        /// Those of all nodes
        #[arg(long)]
        all: bool,
        /// So many per second over the whole cluster: gateways share it
        #[arg(long, value_name = "N", default_value_t = 100)]
        rate: u32,
    },
    /// Move shards to an even assignment, so many per second
    Rebalance {
        /// So many per second
        #[arg(long, value_name = "N", default_value_t = 4)]
        rate: u32,
        /// Only say which
        #[arg(long)]
        dry_run: bool,
    },
    /// Follow messages hop by hop, without what they say; ends by itself
    #[command(subcommand)]
    Trace(trace::Command),
}

/// Nobody answered, or not now: trying again may help. Anything else is refused for good.
#[derive(Debug, thiserror::Error)]
#[error("no answer")]
pub(super) struct NoAnswer;

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let Options { access, command } = options;
    let node = Node::of(&access)?;
    let shown: fn(&Value) -> String = match &command {
        Command::Members => show::members,
        Command::Rooms { .. } => room::page,
        Command::Room { .. } => room::room,
        Command::Kick { .. } => room::kicked,
        Command::Unpin { .. } => room::unpinned,
        Command::Retain { .. } => room::retained,
        Command::Purge { .. } => room::purged,
        Command::Erase { .. } => room::erased,
        Command::Disconnect { .. } => show::disconnected,
        Command::Rebalance { .. } => show::moves,
        Command::Leave { .. } | Command::Down { .. } => show::message,
        Command::Shards => show::shards,
        Command::Trace(_) => show::message,
    };
    let answer = match command {
        Command::Members => node.get("/cluster/members").await,
        Command::Shards => shards(&node).await,
        Command::Leave { node: name } => operate(&node, &name, "Leave").await,
        Command::Down { node: name } => operate(&node, &name, "Down").await,
        Command::Rooms { after, limit } => {
            let after = after.map_or(String::new(), |after| format!("&after={}", encoded(&after)));
            node.get(&format!("/rooms?limit={limit}{after}")).await
        }
        Command::Room { room } => existing(&node, &room).await,
        Command::Kick { room, user } => {
            let path = format!("/rooms/{}/users/{}", encoded(&room), encoded(&user));
            node.ask(Method::DELETE, &path, None).await
        }
        Command::Unpin { room, user } => {
            let path = format!("/rooms/{}/users/{}/key", encoded(&room), encoded(&user));
            node.ask(Method::DELETE, &path, None).await
        }
        Command::Retain {
            room,
            age,
            events,
            bytes,
            everything: _,
            default,
        } => {
            let bounds = [("age", age), ("events", events), ("bytes", bytes)];
            let set = bounds.map(|(name, most)| most.map(|most| format!("{name}={most}")));
            let set: Vec<String> = set.into_iter().flatten().collect();
            let path = format!("/rooms/{}/retention?{}", encoded(&room), set.join("&"));
            let method = match default {
                true => Method::DELETE,
                false => Method::PUT,
            };
            node.ask(method, &path, None).await
        }
        Command::Purge { room, yes } => {
            if !yes {
                let goes = format!("everything that was said in room {room}");
                room::confirm(&goes, &room)?;
            }
            let path = format!("/rooms/{}", encoded(&room));
            node.ask(Method::DELETE, &path, None).await
        }
        Command::Erase { room, user, yes } => {
            if !yes {
                room::confirm(&format!("what {user} said in room {room}"), &user)?;
            }
            let (room, user) = (encoded(&room), encoded(&user));
            let path = format!("/rooms/{room}/users/{user}/messages");
            node.ask(Method::DELETE, &path, None).await
        }
        Command::Disconnect {
            node: name, rate, ..
        } => {
            let whose = name.map_or("all=true".into(), |name| format!("node={}", encoded(&name)));
            let path = format!("/disconnect?{whose}&rate={rate}");
            node.ask(Method::POST, &path, None).await
        }
        Command::Rebalance { rate, dry_run } => {
            let path = format!("/rebalance?rate={rate}&dry_run={dry_run}");
            node.ask(Method::POST, &path, None).await
        }
        Command::Trace(command) => return trace::run(&node, command, access.json).await,
    }?;
    let text = match access.json {
        true => format!("{answer:#}\n"),
        false => shown(&answer),
    };
    // A reader that has seen enough is no error.
    let _ = print(&text)?;
    Ok(())
}

/// What there is of a room; of one that nobody has written there is nothing to look at.
async fn existing(node: &Node, room: &str) -> anyhow::Result<Value> {
    let answer = node.get(&format!("/rooms/{}", encoded(room))).await?;
    if answer["head"] == 0 {
        bail!(
            "room {room} does not exist: nothing was ever written to it, or it was removed with \
             its name: look at the name (safe-chat admin rooms)"
        );
    }
    Ok(answer)
}

async fn operate(node: &Node, name: &str, operation: &str) -> anyhow::Result<Value> {
    let path = format!("/cluster/members/{}", encoded(name));
    let body = json!({"operation": operation});
    node.ask(Method::PUT, &path, Some(&body)).await
}

/// The records, and beside each how many rooms are in memory where that is known; and the shards
/// that nobody answers for.
async fn shards(node: &Node) -> anyhow::Result<Value> {
    let mut shards = node.get("/shards").await?;
    let stats = node.get("/cluster/shards/chat-rooms/stats").await?;
    let regions = stats["regions"].as_array().cloned().unwrap_or_default();
    for shard in shards["shards"].as_array_mut().into_iter().flatten() {
        let name = shard["shard"].to_string();
        let region = regions.iter().find(|region| region["shardId"] == name);
        shard["rooms"] = region.map_or(Value::Null, |region| region["numEntities"].clone());
    }
    shards["failed"] = stats["failed"].clone();
    Ok(shards)
}

/// Everything but letters and digits is escaped: a name stays one part of a path or a query.
fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

/// The node that is asked.
pub(super) struct Node(Internal);

impl Node {
    fn of(access: &Access) -> anyhow::Result<Self> {
        let named = std::env::var_os("SAFE_CHAT_CONFIG").filter(|path| !path.is_empty());
        let file = access.config.clone().or(named.map(PathBuf::from));
        // Its warnings are a node's own, which has told them when it started.
        let config = Loaded::load(file.as_deref(), std::env::vars_os(), Vec::new())?.config;
        let internal = match &access.at {
            Some(at) => Internal::at(whole(at)),
            None => Internal::of(&config)?,
        };
        let password = match &access.password_file {
            Some(path) => fs::read_to_string(path)
                .with_context(|| format!("the password cannot be read from {}", path.display()))?
                .trim_end_matches(['\r', '\n'])
                .to_owned(),
            None => config.ops.password().to_owned(),
        };
        let user = access.login.as_deref().unwrap_or(&config.ops.user);
        Ok(Self(internal.logged_in(user, &password)))
    }

    async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.0.ask(method, path, body, DEADLINE).await;
        let (status, body) = answer.context(NoAnswer)?;
        match status.is_success() {
            true => serde_json::from_slice(&body).with_context(|| self.stranger(status)),
            false => Err(self.refusal(status, &body)),
        }
    }

    /// Why a request was refused, as the node says it.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        let answer: Value = serde_json::from_slice(body).unwrap_or_default();
        let why = match answer["message"].as_str() {
            Some(why) => anyhow!("{why}"),
            None => anyhow!(self.stranger(status)),
        };
        match status {
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                why.context(NoAnswer)
            }
            _ => why,
        }
    }

    fn stranger(&self, status: StatusCode) -> String {
        let at = self.0.address();
        format!("{at} answers {status}: is that the internal port of a node?")
    }
}

/// An address with its port, without `http://`.
fn whole(at: &str) -> String {
    let plain = at
        .strip_prefix("http://")
        .unwrap_or(at)
        .trim_end_matches('/');
    let host = plain
        .rsplit_once(':')
        .filter(|(_, port)| port.parse::<u16>().is_ok());
    match host {
        Some((host, _)) if !host.contains(':') || host.ends_with(']') => plain.to_owned(),
        _ if plain.contains(':') && !plain.starts_with('[') => format!("[{plain}]:{PORT}"),
        _ => format!("{plain}:{PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_out_what_is_usual() {
        for (at, expected) in [
            ("127.0.0.1:9558", "127.0.0.1:9558"),
            ("127.0.0.1", "127.0.0.1:8558"),
            ("http://chat-1:8558/", "chat-1:8558"),
            ("chat-1", "chat-1:8558"),
            ("[::1]:80", "[::1]:80"),
            ("[::1]", "[::1]:8558"),
            ("::1", "[::1]:8558"),
        ] {
            assert_eq!(whole(at), expected, "{at}");
        }
    }
}
