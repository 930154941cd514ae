//! What a port of this node speaks: TLS 1.2 and 1.3, below HTTP/1.1.

use super::{Identity, provider};
use rustls::{ServerConfig, crypto::ring::Ticketer};
use std::sync::Arc;

/// The settings of a port that shows `identity`. Clients are asked for no certificate.
pub fn server(identity: Arc<Identity>) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(provider());
    let mut config = builder
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers for TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(identity);
    config.alpn_protocols = vec![b"http/1.1".into()];
    // Clients that come back need no full handshake. Without randomness they do.
    if let Ok(ticketer) = Ticketer::new() {
        config.ticketer = ticketer;
    }
    Arc::new(config)
}
