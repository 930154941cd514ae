//! Whoever signs tokens in a test, and where the keys for checking them are.

#![allow(dead_code, reason = "each test file uses its part")]

use axum::{Router, extract::State, routing::get};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, task::AbortHandle};

/// The secret of HS256, as a file holds it.
pub(crate) const SECRET: &str = "a secret that has more than thirty-two bytes";

/// The key for signing with an algorithm, and the file of its public half, if it has one.
pub(crate) fn key(algorithm: Algorithm) -> (EncodingKey, Option<PathBuf>) {
    let file = |name: &str| {
        let keys = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
        let private = std::fs::read(keys.join(format!("{name}.pem"))).unwrap();
        (private, Some(keys.join(format!("{name}.pub.pem"))))
    };
    match algorithm {
        Algorithm::HS256 => (EncodingKey::from_secret(SECRET.as_bytes()), None),
        Algorithm::RS256 => {
            let (pem, public) = file("rsa");
            (EncodingKey::from_rsa_pem(&pem).unwrap(), public)
        }
        Algorithm::ES256 => {
            let (pem, public) = file("p256");
            (EncodingKey::from_ec_pem(&pem).unwrap(), public)
        }
        Algorithm::EdDSA => {
            let (pem, public) = file("ed25519");
            (EncodingKey::from_ed_pem(&pem).unwrap(), public)
        }
        other => panic!("{other:?}"),
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// What a good token says: harry may read and write in `team-*` for an hour.
pub(crate) fn claims() -> Value {
    json!({"sub": "harry", "rooms": ["team-*"], "exp": now() + 3600})
}

/// The same with one claim more, or another one.
pub(crate) fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

/// A token, signed.
pub(crate) fn token(algorithm: Algorithm, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &key(algorithm).0).unwrap()
}

/// A token that is signed with the secret.
pub(crate) fn by_secret(claims: &Value) -> String {
    token(Algorithm::HS256, claims)
}

/// An issuer that publishes its keys, each with a name, and counts who asks.
pub(crate) struct Publisher {
    pub(crate) address: String,
    said: Arc<Said>,
    server: AbortHandle,
}

struct Said {
    keys: Mutex<Vec<Value>>,
    asked: AtomicUsize,
}

impl Publisher {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/keys", listener.local_addr().unwrap());
        let said = Arc::new(Said {
            keys: Mutex::default(),
            asked: AtomicUsize::new(0),
        });
        let answer = async |State(said): State<Arc<Said>>| {
            said.asked.fetch_add(1, Relaxed);
            json!({ "keys": *said.keys.lock().unwrap() }).to_string()
        };
        let routes = Router::new().route("/keys", get(answer));
        let routes = routes.with_state(said.clone());
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            address,
            said,
            server: server.abort_handle(),
        }
    }

    /// Publishes the keys of these algorithms and no others, each named after its algorithm.
    pub(crate) fn publish(&self, algorithms: &[Algorithm]) {
        let published = algorithms.iter().map(|algorithm| {
            let mut jwk = Jwk::from_encoding_key(&key(*algorithm).0, *algorithm).unwrap();
            jwk.common.key_id = Some(format!("{algorithm:?}"));
            serde_json::to_value(jwk).unwrap()
        });
        *self.said.keys.lock().unwrap() = published.collect();
    }

    /// How often somebody asked.
    pub(crate) fn asked(&self) -> usize {
        self.said.asked.load(Relaxed)
    }

    /// Nobody answers any more.
    pub(crate) fn stop(&self) {
        self.server.abort();
    }

    /// A token that names its key.
    pub(crate) fn token(algorithm: Algorithm, kid: &str) -> String {
        let header = Header {
            kid: Some(kid.into()),
            ..Header::new(algorithm)
        };
        encode(&header, &claims(), &key(algorithm).0).unwrap()
    }
}

/// A token whose header says what somebody likes, without a signature.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", part(header), part(claims))
}
