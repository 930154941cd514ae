//! A client of a node's internal port.

use crate::config::Config;
use anyhow::{Context, ensure};
use axum::body::{Body, to_bytes};
use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{net::IpAddr, time::Duration};
use tokio::{net::TcpStream, time::timeout};

/// How long a node may take to take a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// More than any answer has.
const MOST: usize = 64 * 1024 * 1024;

/// The internal port of a node, and how to log in there.
pub(super) struct Internal {
    at: String,
    login: Option<String>,
}

impl Internal {
    /// That of the node of a configuration.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let Config { ops, .. } = config;
        Ok(Self::at(address(&ops.host, ops.port, "ops.port")?))
    }

    /// That where such a node answers probes, which may be another port.
    pub(super) fn probes(config: &Config) -> anyhow::Result<Self> {
        match config.ops.probes() {
            Some((host, port)) => Ok(Self::at(address(host, port, "ops.probes_port")?)),
            None => Self::of(config),
        }
    }

    /// That at an address.
    pub(super) fn at(at: String) -> Self {
        Self { at, login: None }
    }

    /// Logs in with every request.
    pub(super) fn logged_in(self, user: &str, password: &str) -> Self {
        let login = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let login = Some(format!("Basic {login}"));
        Self { login, ..self }
    }

    pub(super) fn address(&self) -> &str {
        &self.at
    }

    /// Makes a request and reads the whole answer, within a time.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        within: Duration,
    ) -> anyhow::Result<(StatusCode, Vec<u8>)> {
        let exchange = async {
            let answer = self.begin(method, path, body).await?;
            let status = answer.status();
            let body = to_bytes(Body::new(answer.into_body()), MOST).await?;
            Ok((status, body.to_vec()))
        };
        let at = &self.at;
        timeout(within, exchange)
            .await
            .with_context(|| format!("{at} does not answer within {within:?}"))?
    }

    /// Makes a request and returns as soon as the answer begins.
    pub(super) async fn begin(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Response<Incoming>> {
        let at = &self.at;
        let silent = || {
            format!("{at} does not answer: is a node running there, and is that its internal port?")
        };
        let stream = timeout(CONNECT, TcpStream::connect(at))
            .await
            .with_context(silent)?
            .with_context(silent)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Moves the bytes; it ends with the exchange, or fails, which the exchange notices.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, at)
            .header(CONNECTION, "close");
        if let Some(login) = &self.login {
            request = request.header(AUTHORIZATION, login);
        }
        let request = match body {
            None => request.body(Body::empty())?,
            Some(body) => request
                .header(CONTENT_TYPE, "application/json")
                .body(Body::from(body.to_string()))?,
        };
        sender.send_request(request).await.with_context(silent)
    }
}

/// Where a port is asked, by what sets it: a node that listens on all addresses does on loopback
/// too.
fn address(host: &str, port: u16, key: &str) -> anyhow::Result<String> {
    ensure!(
        port != 0,
        "{key} is 0, any free one: the node's log says which it took; give it here{}",
        if key == "ops.port" {
            " with --internal-port"
        } else {
            ""
        }
    );
    let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
    Ok(match ip {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => format!("127.0.0.1:{port}"),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => format!("[::1]:{port}"),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        _ => format!("{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_asked_where_they_are_answered() {
        let mut config = Config::default();
        let at = |config: &Config| Internal::probes(config).unwrap().at;
        assert_eq!(at(&config), "127.0.0.1:8558");
        config.ops.probes_port = Some(8559);
        assert_eq!(at(&config), "127.0.0.1:8559");
        config.ops.probes_host = Some("0.0.0.0".into());
        (config.ops.host, config.ops.port) = ("10.0.0.7".into(), 1);
        assert_eq!(at(&config), "127.0.0.1:8559");
    }

    #[test]
    fn a_node_that_listens_everywhere_is_asked_on_loopback() {
        let at =
            |host: &str, port| address(host, port, "ops.port").map_err(|error| error.to_string());
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
