//! How nodes log in at NATS, and how both sides know each other: every way, at a real server.

use crate::{pki::Authority, server::Server};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use nkeys::KeyPair;
use safe_chat::{
    bus::nats::{Config, Login, Nats, Tls},
    tls::Trust,
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};

/// Somewhere small: a server reserves what streams may hold.
const STREAM: u64 = 16 * 1024 * 1024;

fn config(server: &Server, login: Login, tls: Option<Tls>) -> Config {
    Config {
        servers: vec![format!("nats://{}", server.at())],
        login,
        tls,
        command_bytes: STREAM,
        key_bytes: STREAM,
        welcome_bytes: STREAM,
        event_bytes: Some(STREAM),
        ..Config::default()
    }
}

/// Whether a node gets in; else why not.
async fn enters(server: &Server, login: &Login, tls: Option<&Tls>) -> Result<(), String> {
    let config = config(server, login.clone(), tls.cloned());
    let connected = Nats::connect(&config).await;
    connected.map(drop).map_err(|error| error.to_string())
}

fn user(password: &str) -> Login {
    Login::User {
        name: "service".into(),
        password: password.into(),
    }
}

/// A file with the seed of a key.
fn seed(authority: &Authority, file: &str, pair: &KeyPair) -> PathBuf {
    let path = authority.directory().join(file);
    fs::write(&path, pair.seed().expect("a seed")).expect("a file");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_and_nodes_know_each_other_by_certificates_names_and_keys() {
    let Some(mut server) = Server::start("logins at NATS").await else {
        return;
    };
    let authority = Authority::new();
    let (certificate, key) = authority.issue("nats", &["localhost"]);
    let (own, own_key) = authority.issue("node", &["node"]);
    let (nkey, stranger) = (KeyPair::new_user(), KeyPair::new_user());
    let [certificate, key, ca] =
        [&certificate, &key, &authority.ca()].map(|path| path.display().to_string());
    let tls = |first: &str| {
        format!(
            "tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{ca}\"\n\
             verify: true\n{first} }}\n"
        )
    };
    let accounts = format!(
        "accounts {{ CHAT {{ jetstream: enabled, users: [\n\
         {{ user: service, password: secret }}\n{{ nkey: {} }}\n\
         {{ user: weak, password: secret, permissions: {{ publish: {{ deny: \"$JS.API.>\" }} }} }} ] \
         }} }}\n",
        nkey.public_key()
    );
    server.run_with(&(tls("") + &accounts)).await;

    let trusting = |trust: Trust| Tls {
        trust,
        first: false,
    };
    let whole = trusting(Trust {
        ca: Some(authority.ca()),
        pair: Some((own, own_key)),
        name: None,
    });
    let without_own = trusting(Trust {
        pair: None,
        ..whole.trust.clone()
    });
    let another = Authority::new();
    let of_another = trusting(Trust {
        ca: Some(another.ca()),
        ..whole.trust.clone()
    });
    let another_name = trusting(Trust {
        name: Some("elsewhere".into()),
        ..whole.trust.clone()
    });
    let by_nkey = Login::Nkey(seed(&authority, "user.nk", &nkey));
    let by_stranger = Login::Nkey(seed(&authority, "stranger.nk", &stranger));
    assert_eq!(enters(&server, &user("secret"), Some(&whole)).await, Ok(()));
    assert_eq!(enters(&server, &by_nkey, Some(&whole)).await, Ok(()));
    let known = Some(&whole);
    let weak = Login::User {
        name: "weak".into(),
        password: "secret".into(),
    };
    // Each is told by what is wrong, and what to do about that.
    for (login, tls, why, todo) in [
        // Its alert may be lost with the connection.
        (user("secret"), Some(&without_own), "", ""),
        (
            user("secret"),
            Some(&of_another),
            "invalid peer certificate",
            "bus.tls_ca",
        ),
        (
            user("secret"),
            Some(&another_name),
            "not valid for name",
            "a name that is in its certificate",
        ),
        // Nothing said of TLS: the server asks for it, and the system knows no such authority.
        (user("secret"), None, "UnknownIssuer", "bus.tls_ca"),
        (user("wrong-secret"), known, "authorization", "bus.password"),
        (by_stranger, known, "authorization", "stranger.nk"),
        (Login::ByAddress, known, "authorization", "none is set"),
        (
            Login::Nkey("/nowhere/user.nk".into()),
            known,
            "login file",
            "/nowhere/user.nk",
        ),
        (weak, known, "Permissions Violation", "that right"),
    ] {
        let refused = enters(&server, &login, tls).await.unwrap_err();
        let is_told = refused.contains(why) && refused.contains(todo);
        assert!(is_told, "{login:?} {tls:?}: {refused}");
        assert!(!refused.contains("secret"), "{refused}");
    }

    let first = Tls {
        first: true,
        ..whole.clone()
    };
    server
        .run_with(&(tls("handshake_first: true") + &accounts))
        .await;
    assert_eq!(enters(&server, &by_nkey, Some(&first)).await, Ok(()));
    // A server that speaks no TLS is not trusted by who wants it.
    server.run_with("authorization { token: secret }").await;
    let by_token = Login::Token("secret".into());
    assert_eq!(enters(&server, &by_token, None).await, Ok(()));
    assert!(
        enters(&server, &by_token, Some(&without_own))
            .await
            .is_err()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_credentials_lets_a_node_in_and_is_read_again_at_each_login() {
    let Some(mut server) = Server::start("credentials at NATS").await else {
        return;
    };
    let (operator, account, system) = (
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_account(),
    );
    let signed = |name: &str, subject: &KeyPair, issuer: &KeyPair, nats: Value| {
        let claims = json!({
            "jti": name, "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(),
            "name": name, "nats": nats,
        });
        let head = json!({"typ": "JWT", "alg": "ed25519-nkey"});
        let [head, claims] =
            [head, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = format!("{head}.{claims}");
        let signature = issuer.sign(text.as_bytes()).expect("a signature");
        format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    };
    let unlimited = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1,
        "consumer": -1,
    });
    let of_account = |limits: &Value| json!({"type": "account", "version": 2, "limits": limits});
    let plain = json!({"subs": -1, "data": -1, "payload": -1, "conn": -1, "imports": -1,
        "exports": -1, "wildcards": true, "leaf": -1});
    let operator_jwt = signed(
        "O",
        &operator,
        &operator,
        json!({"type": "operator", "version": 2}),
    );
    let more = format!(
        "operator: {operator_jwt}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{\n\
         {}: {}\n{}: {}\n}}",
        system.public_key(),
        account.public_key(),
        signed("CHAT", &account, &operator, of_account(&unlimited)),
        system.public_key(),
        signed("SYS", &system, &operator, of_account(&plain)),
    );
    server.run_with(&more).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("service.creds");
    let write = |issuer: &KeyPair| {
        let user = KeyPair::new_user();
        let jwt = signed(
            "service",
            &user,
            issuer,
            json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}),
        );
        let seed = user.seed().expect("a seed");
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(&file, text).expect("a file");
    };
    let by_creds = Login::Creds(file.clone());
    write(&KeyPair::new_account());
    let refused = enters(&server, &by_creds, None).await.unwrap_err();
    assert!(refused.contains("authorization"), "{refused}");
    write(&account);
    let config = config(&server, by_creds.clone(), None);
    let nats = Nats::connect(&config).await.expect("let in");
    // Another user from now on: what was read before would still be let in, a broken file is not.
    fs::write(&file, "topsecret").expect("a file");
    let refused = enters(&server, &by_creds, None).await.unwrap_err();
    assert!(
        refused.contains("service.creds") && !refused.contains("topsecret"),
        "{refused}"
    );
    write(&account);
    server.run_with(&more).await;
    crate::cluster::eventually("the node is back", async || {
        safe_chat::bus::Bus::ready(&nats).is_ok()
    })
    .await;
}
