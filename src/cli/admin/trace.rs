//! `safe-chat admin trace`: hops of messages, one line each, as they happen.

use super::{NoAnswer, Node, encoded, show::text};
use crate::{cli::stdout::print, journal::inspect::time, room::Millis};
use anyhow::Context;
use axum::body::{Body, to_bytes};
use futures::StreamExt;
use hyper::Method;
use serde_json::Value;

/// More than any refusal has.
const MOST: usize = 64 * 1024;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Messages of a room
    Room {
        /// The room
        #[arg(allow_hyphen_values = true)]
        room: String,
        #[command(flatten)]
        span: Span,
    },
    /// Messages of a user, in whatever room
    User {
        /// The user
        #[arg(allow_hyphen_values = true)]
        user: String,
        #[command(flatten)]
        span: Span,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Span {
    /// For so many seconds, 1 to 600
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
}

pub(super) async fn run(node: &Node, command: Command, json: bool) -> anyhow::Result<()> {
    let (about, Span { seconds }) = match command {
        Command::Room { room, span } => (format!("room={}", encoded(&room)), span),
        Command::User { user, span } => (format!("user={}", encoded(&user)), span),
    };
    let path = format!("/trace?{about}&seconds={seconds}");
    let answer = node.0.begin(Method::GET, &path, None).await;
    let answer = answer.context(NoAnswer)?;
    if !answer.status().is_success() {
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), MOST).await?;
        return Err(node.refusal(status, &body));
    }
    if !json && print(&head())?.is_break() {
        return Ok(());
    }
    let mut pieces = Body::new(answer.into_body()).into_data_stream();
    let mut waiting = Vec::new();
    while let Some(piece) = pieces.next().await {
        waiting.extend_from_slice(&piece.context("the node went away")?);
        while let Some(end) = waiting.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = waiting.drain(..=end).collect();
            let shown = match json {
                true => String::from_utf8_lossy(&line).into_owned(),
                false => shown(&serde_json::from_slice(&line).unwrap_or_default()),
            };
            if print(&shown)?.is_break() {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn head() -> String {
    line(["TIME", "HOP", "ROOM", "SEQ", "USER", "ID", "NODE", ""].map(str::to_owned))
}

fn shown(step: &Value) -> String {
    let what = ["what", "error"]
        .into_iter()
        .find_map(|key| step[key].as_str());
    let missed = step["missed"].as_u64();
    let what = match (what, missed) {
        (Some(what), _) => what.to_owned(),
        (_, Some(missed)) => format!("{missed} steps were too many"),
        _ => String::new(),
    };
    let at = step["at"]
        .as_u64()
        .map_or("-".into(), |at| time(Millis(at)));
    let cells = ["hop", "room", "seq", "user", "id", "node"].map(|key| text(&step[key]));
    let [hop, room, seq, user, id, node] = cells;
    line([at, hop, room, seq, user, id, node, what])
}

/// Cells at their columns; lines come one by one, so what is longer moves the rest.
fn line([at, hop, room, seq, user, id, node, what]: [String; 8]) -> String {
    let line = format!(
        "{at:<24}  {hop:<9}  {room:<12}  {seq:>6}  {user:<10}  {id:<12}  {node:<26}  {what}"
    );
    format!("{}\n", line.trim_end())
}
