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
        Ok(Self::at(address(config)?))
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

/// Where the internal port is asked: a node that listens on all addresses does on loopback too.
fn address(config: &Config) -> anyhow::Result<String> {
    let (host, port) = (&config.ops.host, config.ops.port);
    ensure!(
        port != 0,
        "ops.port is 0, any free one: the node's log says which it took; give it here with \
         --internal-port"
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
