//! Requests to the collector. On a runtime of its own, which only the thread of the exporter
//! drives: the node's has nothing to do with it.

use crate::fetch;
use async_trait::async_trait;
use bytes::Bytes;
use hyper::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use rustls::{ClientConfig, RootCertStore};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};
use tracing::{info, warn};

/// More than any answer has.
const MOST: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Collector {
    runtime: Runtime,
    client: fetch::Client,
    /// Whether the last request failed: that is said once.
    fails: AtomicBool,
}

impl Collector {
    pub(super) fn new(url: &str, deadline: Duration) -> io::Result<Self> {
        let tls = match url.starts_with("https:") {
            true => Some(Arc::new(trust_the_system()?)),
            false => None,
        };
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            client: fetch::Client::new(tls, deadline, MOST),
            fails: AtomicBool::new(false),
        })
    }

    fn note(&self, sent: &Result<Response<Bytes>, HttpError>) {
        let why = match sent {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        match (why, &self.fails) {
            (Some(why), fails) if !fails.swap(true, Relaxed) => warn!(
                %why,
                "the collector of traces does not take spans: they are dropped and counted; \
                 look at trace.endpoint and trace.headers"
            ),
            (None, fails) if fails.swap(false, Relaxed) => {
                info!("the collector of traces takes spans again");
            }
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    /// Blocks: the thread that calls it has nothing else to do.
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.block_on(self.client.send(request));
        self.note(&sent);
        sent
    }
}

/// Who is trusted to be the collector: whom the system trusts (`SSL_CERT_FILE` names others).
fn trust_the_system() -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(io::Error::other(
            "trace.endpoint is https, and this system trusts nobody: install CA certificates, \
             or name a file of them with SSL_CERT_FILE",
        ));
    }
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}
