//! What it takes to start a server, to start it again, and to know that it answers.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// One try to reach a server that may be starting, paused or busy.
const TRY: Duration = Duration::from_secs(2);

/// A server and how to run it. Kept in the state file: `cargo xtask start` uses the same flags.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    /// `nats-1`, `node-2` ...
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its working directory, created if missing.
    pub dir: PathBuf,
    /// Every address that it listens on.
    pub listens: Vec<Listen>,
    /// How to know that it answers.
    pub ready: Ready,
    /// How long it may take until it is ready, in seconds.
    pub patience: u64,
}

/// What it is; later kinds need earlier ones, and are stopped before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A Cassandra node.
    Cassandra,
    /// A nats-server.
    Nats,
    /// A safe-chat node.
    Node,
}

/// An address that must be free, and what it is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Listen {
    /// What for.
    pub what: String,
    /// The address.
    pub at: SocketAddr,
}

impl Listen {
    /// From its two parts.
    pub fn new(what: &str, at: impl Into<SocketAddr>) -> Self {
        Self {
            what: what.to_owned(),
            at: at.into(),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.what, self.at)
    }
}

/// How a server shows that it is ready.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ready {
    /// GET answers 200.
    Http(String),
    /// A CQL OPTIONS frame is answered by SUPPORTED. An open port alone also answers for a paused
    /// or dying process.
    Cql(SocketAddr),
}

impl Ready {
    /// An error says what the server answers instead.
    pub fn ask(&self) -> Result<()> {
        match self {
            Self::Http(url) => http(url),
            Self::Cql(address) => cql(*address),
        }
    }
}

fn http(url: &str) -> Result<()> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(TRY))
        .proxy(None)
        .http_status_as_error(false);
    let mut answer = ureq::Agent::from(config.build()).get(url).call()?;
    let status = answer.status().as_u16();
    let body = answer.body_mut().read_to_string().unwrap_or_default();
    ensure!(status == 200, "{status} {}", body.trim());
    Ok(())
}

/// Native protocol 4: version, flags, stream (2 bytes), opcode, length of the body (4 bytes).
fn cql(address: SocketAddr) -> Result<()> {
    const OPTIONS: [u8; 9] = [4, 0, 0, 0, 5, 0, 0, 0, 0];
    const SUPPORTED: [u8; 5] = [0x84, 0, 0, 0, 6];
    let mut socket = TcpStream::connect_timeout(&address, TRY)?;
    socket.set_read_timeout(Some(TRY))?;
    socket.write_all(&OPTIONS)?;
    let mut answer = [0; 5];
    socket
        .read_exact(&mut answer)
        .context("no answer to CQL OPTIONS")?;
    ensure!(
        answer == SUPPORTED,
        "CQL OPTIONS is answered by {answer:02x?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    fn answering(answer: &'static [u8]) -> SocketAddr {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        thread::spawn(move || {
            let (mut peer, _) = socket.accept().unwrap();
            let _ = peer.read(&mut [0; 1024]);
            let _ = peer.write_all(answer);
        });
        address
    }

    #[test]
    fn only_supported_is_a_cql_answer() {
        Ready::Cql(answering(&[0x84, 0, 0, 0, 6, 0, 0, 0, 0]))
            .ask()
            .unwrap();
        Ready::Cql(answering(&[0x84, 0, 0, 0, 0, 0, 0, 0, 0]))
            .ask()
            .unwrap_err();
        Ready::Cql(answering(&[])).ask().unwrap_err();
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let address = answering(b"HTTP/1.1 503 No\r\ncontent-length: 7\r\n\r\nno NATS");
        let why = Ready::Http(format!("http://{address}/ready"))
            .ask()
            .unwrap_err()
            .to_string();
        assert_eq!(why, "503 no NATS");
    }
}
