//! An operator, who asks nodes through their internal port as `safe-chat admin` does.

use serde_json::Value;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

/// As long as `safe-chat admin` waits.
const ANSWER: Duration = Duration::from_secs(20);
/// `admin:safe-chat`, whom every node knows that listens on loopback alone.
const LOGIN: (&str, &str) = ("authorization", "Basic YWRtaW46c2FmZS1jaGF0");
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);

/// He goes from node to node until one answers.
#[derive(Debug, Clone)]
pub struct Operator {
    nodes: Vec<SocketAddr>,
}

/// What he asks.
#[derive(Debug, Clone)]
pub struct Question {
    /// How.
    pub method: Method,
    /// Of the node.
    pub path: String,
}

/// How something is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`: he only looks.
    Get,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
}

/// Why it was not done.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// For now.
    Now(String),
    /// Because a node of an older version could not read it.
    OldNode(String),
    /// For good.
    Never(String),
}

impl Operator {
    /// Who knows these internal ports.
    pub fn new(nodes: Vec<SocketAddr>) -> Self {
        Self { nodes }
    }

    /// Asks the nth node, and others if that one does not answer, or not now; until then at most.
    /// `before` is called before each attempt, since what is not answered may be done all the same.
    ///
    /// # Errors
    /// Nobody did it.
    pub async fn asks(
        &self,
        nth: usize,
        question: &Question,
        until: Instant,
        before: impl Fn(),
    ) -> Result<Value, Refusal> {
        for attempt in nth.. {
            let at = self.nodes[attempt % self.nodes.len()];
            let question = question.clone();
            before();
            let asked = spawn_blocking(move || ask(at, &question)).await;
            match asked.unwrap_or_else(|error| Err(Refusal::Never(error.to_string()))) {
                Err(Refusal::Now(_)) if Instant::now() < until => sleep(PAUSE).await,
                answer => return answer,
            }
        }
        unreachable!("attempts do not end by themselves")
    }
}

fn ask(at: SocketAddr, Question { method, path }: &Question) -> Result<Value, Refusal> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER))
        .http_status_as_error(false)
        .proxy(None);
    let (agent, url) = (
        ureq::Agent::from(config.build()),
        format!("http://{at}{path}"),
    );
    let answer = match method {
        Method::Get => agent.get(url).header(LOGIN.0, LOGIN.1).call(),
        Method::Put => agent.put(url).header(LOGIN.0, LOGIN.1).send_empty(),
        Method::Delete => agent.delete(url).header(LOGIN.0, LOGIN.1).call(),
    };
    let mut answer = answer.map_err(|error| Refusal::Now(format!("{at}: {error}")))?;
    let text = answer.body_mut().read_to_string();
    let text = text.map_err(|error| Refusal::Now(format!("{at}: {error}")))?;
    judge(answer.status().as_u16(), &text)
}

fn judge(status: u16, text: &str) -> Result<Value, Refusal> {
    let answer: Value = serde_json::from_str(text).unwrap_or_default();
    let why = || format!("{status} {}", answer["message"].as_str().unwrap_or(text));
    match status {
        200..=299 => Ok(answer),
        429 | 502..=504 => Err(Refusal::Now(why())),
        _ if answer["error"]["reason"] == "old_node" => Err(Refusal::OldNode(why())),
        _ => Err(Refusal::Never(why())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_asked_again_is_told_from_what_is_refused() {
        let answer = |code: &str| format!(r#"{{"error":{{"reason":"{code}"}},"message":"no"}}"#);
        let refused = |status, code| judge(status, &answer(code)).unwrap_err();
        assert_eq!(judge(200, r#"{"seq":7}"#).unwrap()["seq"], 7);
        assert_eq!(refused(503, "unavailable"), Refusal::Now("503 no".into()));
        assert_eq!(refused(409, "old_node"), Refusal::OldNode("409 no".into()));
        assert_eq!(refused(404, "not_found"), Refusal::Never("404 no".into()));
        let other = judge(500, "broken").unwrap_err();
        assert_eq!(other, Refusal::Never("500 broken".into()));
    }
}
