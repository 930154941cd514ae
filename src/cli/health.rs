//! `safe-chat health`: whether the node of this configuration is ready, as its exit code: 0 when it is, 1
//! when it is not or does not answer. The health check of the image, which has no other program.

use super::{Settings, stdout::print};
use crate::config::Config;
use anyhow::{Context, bail, ensure};
use axum::body::{Body, to_bytes};
use hyper::{
    Request, StatusCode,
    client::conn::http1,
    header::{CONNECTION, HOST},
};
use hyper_util::rt::TokioIo;
use std::{fmt, net::IpAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// How long the node may take. Below the 5 s after which the image's health check is given up, so
/// that this line is what is shown then.
const DEADLINE: Duration = Duration::from_secs(3);
/// More than any answer has.
const MOST: usize = 64 * 1024;

/// What `/ready` says.
#[derive(serde::Deserialize)]
struct Ready {
    ready: bool,
    #[serde(default)]
    why: Vec<String>,
}

pub(super) async fn run(settings: &Settings) -> anyhow::Result<()> {
    // Its warnings are the node's own, which has told them when it started.
    match state(&settings.load()?.config).await? {
        // The answer is the exit code, whether or not somebody reads this.
        State::Ready => print("ready\n").map(drop),
        not_ready => bail!("{not_ready}"),
    }
}

/// What a node says of itself.
#[derive(Debug)]
pub(super) enum State {
    Ready,
    /// Why not.
    NotReady(Vec<String>),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::NotReady(why) => write!(f, "not ready: {}", why.join("; ")),
        }
    }
}

/// Asks the node of this configuration.
pub(super) async fn state(config: &Config) -> anyhow::Result<State> {
    let at = address(config)?;
    let asked = timeout(DEADLINE, ask(&at)).await;
    let (status, body) = asked
        .with_context(|| format!("{at} does not answer within {DEADLINE:?}"))?
        .with_context(|| {
            format!("{at} does not answer: is a node running there, with this configuration?")
        })?;
    match serde_json::from_slice::<Ready>(&body) {
        Ok(Ready { ready: true, .. }) => Ok(State::Ready),
        Ok(Ready { why, .. }) => Ok(State::NotReady(why)),
        Err(_) => bail!("{at} answers {status}: is that the internal port of a node?"),
    }
}

/// Where the internal port is asked: a node that listens on all addresses does on loopback too.
fn address(config: &Config) -> anyhow::Result<String> {
    let (host, port) = (&config.ops.host, config.ops.port);
    ensure!(
        port != 0,
        "ops.port is 0, any free one: the node's log says which it took; give it here with --internal-port"
    );
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    Ok(match ip {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => format!("127.0.0.1:{port}"),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => format!("[::1]:{port}"),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    })
}

async fn ask(at: &str) -> anyhow::Result<(StatusCode, Vec<u8>)> {
    let stream = TcpStream::connect(at).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get("/ready")
        .header(HOST, at)
        .header(CONNECTION, "close")
        .body(Body::empty())?;
    let exchange = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = to_bytes(Body::new(answer.into_body()), MOST).await?;
        Ok((status, body.to_vec()))
    };
    // The connection moves the bytes; it ends with the exchange, or fails, which the exchange notices.
    let (exchanged, _) = tokio::join!(exchange, connection);
    exchanged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_is_asked_on_loopback() {
        let at = |host: &str, port| {
            let mut config = Config::default();
            (config.ops.host, config.ops.port) = (host.into(), port);
            address(&config).map_err(|error| error.to_string())
        };
        for (host, asked) in [
            ("127.0.0.1", "127.0.0.1:1"),
            ("0.0.0.0", "127.0.0.1:1"),
            ("::", "[::1]:1"),
            ("::1", "[::1]:1"),
            ("10.0.0.7", "10.0.0.7:1"),
            ("localhost", "localhost:1"),
        ] {
            assert_eq!(at(host, 1).as_deref(), Ok(asked));
        }
        assert!(at("127.0.0.1", 0).unwrap_err().contains("--internal-port"));
    }
}
