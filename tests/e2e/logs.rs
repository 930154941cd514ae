//! What must never be in a log, a metric or an answer that refuses: what was said, sealed bytes,
//! keys, passwords. With everything logged that can be, by the program and by its libraries.

use crate::{
    cluster::{Cluster, eventually},
    node::Node,
    person::{JSON, PROTO, Person, TEXT},
    support::unique,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use reqwest::Client;
use serde_json::json;
use std::fmt::Write;

/// Everything that can be logged, also by the libraries that are silent unless they are named.
pub(crate) const EVERYTHING: &str = "trace,tungstenite=trace,tokio_tungstenite=trace,hyper=trace,\
    axum=trace,tower=trace,multer=trace,openmls=trace,hpke_rs=trace,rustls=trace,async_nats=trace,\
    scylla=trace,tokio=trace,mio=trace";

pub(crate) async fn nothing_secret_is_logged(cluster: Cluster) {
    let [body, sealed, key, bus_password, journal_password] = [
        unique('b'),
        unique('s'),
        unique('k'),
        unique('p'),
        unique('q'),
    ];
    let nats = cluster
        .nats()
        .replacen("nats://", &format!("nats://somebody:{bus_password}@"), 1);
    let cluster = cluster
        .with_nats_at(nats)
        .with("SAFE_CHAT_LOG__LEVEL", crate::logs::EVERYTHING);
    let cluster = cluster
        .with("CAS_USER", "somebody")
        .with("CAS_PWS", &journal_password);
    let (mut first, mut second) = tokio::join!(
        cluster.node("first"),
        cluster.node_with("second", &["--log", "json"])
    );

    let mut harry = Person::joins(&first, "aaa", "harry", &key, TEXT).await;
    let mut charly = Person::joins(&second, "aaa", "charly", &key, JSON).await;
    let mut ivan = Person::joins(&second, "aaa", "ivan", &key, PROTO).await;
    harry.types(&format!("harry:charly:{body}")).await;
    charly.says("m1", &body).await;
    charly.events_until(5).await;
    ivan.says_in_proto("m1", &body).await;
    charly
        .types(
            &json!({"type": "send", "id": "s1", "sealed": BASE64_URL_SAFE_NO_PAD.encode(&sealed)})
                .to_string(),
        )
        .await;
    charly.events_until(7).await;
    // What is refused is neither logged nor told: no frame, no sender, an unknown type, no JSON, a
    // field too long.
    harry.types(&body).await;
    harry.types(&format!("{body}:*:{body}")).await;
    let mut told = harry.lines_with("!rejected", 2).await;
    charly
        .types(&format!("{{\"type\":\"{body}\",\"id\":\"m2\"}}"))
        .await;
    charly.types(&format!("{body}{{")).await;
    charly.says("m3", &body.repeat(2_000)).await;
    for _ in 0..3 {
        told.push(charly.next("rejected").await.to_string());
    }
    told.extend(refused_requests(&first, &body, &key).await);
    // A takeover reads and repairs; a stop says goodbye.
    first.kill().await;
    drop(harry);
    charly.says("m5", &body).await;
    charly.next("event").await;
    first.restart().await;
    for node in [&first, &second] {
        told.push(node.metrics().await);
        for path in ["live", "ready", &format!("{body}?pub={key}")] {
            told.push(node.internal(path).await);
        }
    }
    assert_eq!(
        [first.stop().await.code(), second.stop().await.code()],
        [Some(0); 2]
    );
    eventually("both nodes logged", async || {
        !first.logs().is_empty() && !second.logs().is_empty()
    })
    .await;

    let all = [first.logs(), second.logs(), told.join("\n")].concat();
    assert!(
        all.contains("DEBUG"),
        "nothing was logged at level debug, which libraries may use"
    );
    let secrets = [
        ("a body", body),
        ("sealed bytes", sealed),
        ("a key", key),
        ("a password", bus_password),
        ("a password", journal_password),
    ];
    for (what, secret) in secrets {
        let forms = forms(&secret);
        let lines: Vec<_> = all
            .lines()
            .filter(|line| forms.iter().any(|form| line.contains(form)))
            .collect();
        assert!(
            lines.is_empty(),
            "{what} is logged or told:\n{}",
            lines.join("\n")
        );
    }
}

/// The bodies of the answers to requests that name a room, a user, a key, a parameter that cannot
/// be, or another key than the first one.
async fn refused_requests(node: &Node, body: &str, key: &str) -> Vec<String> {
    let targets = [
        format!("rooms/aaa/messages?user=bad%20name&pub={key}"),
        format!("rooms/aaa/messages?user=harry&pub={key}{key}"),
        format!("rooms/aaa/messages?user=harry&pub={key}%20"),
        format!("rooms/{body}%20/messages?user=harry&pub={key}"),
        format!("rooms/aaa/history?pub={key}&limit={body}"),
        format!("chat/aaa/user/harry?pub={key}&since={body}"),
        format!("chat/aaa/user/harry?pub={key}&device={body}%20"),
        format!("{body}?pub={key}"),
    ];
    let mut told = Vec::new();
    for target in targets {
        let url = format!("{}/{target}", node.url());
        let post = target.contains("messages");
        let request = if post {
            Client::new()
                .post(url)
                .body(format!("{{\"id\":\"m4\",\"text\":\"{body}\"}}"))
        } else {
            Client::new().get(url)
        };
        let answer = request.send().await.expect("an answer");
        assert!(
            answer.status().is_client_error(),
            "{target}: {}",
            answer.status()
        );
        told.push(answer.text().await.expect("text"));
    }
    told
}

/// As it is, in hexadecimal digits, as a list of numbers, and in base64 wherever it begins.
pub(crate) fn forms(secret: &str) -> Vec<String> {
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let numbers = secret
        .bytes()
        .map(|byte| byte.to_string())
        .collect::<Vec<_>>()
        .join(", ");
    // The digits in the middle do not depend on what is around.
    let base64 = (0..3).map(|before| {
        let digits = BASE64_URL_SAFE_NO_PAD.encode(format!("{}{secret}", " ".repeat(before)));
        digits[4..digits.len() - 4].to_owned()
    });
    [secret.to_owned(), hex, numbers]
        .into_iter()
        .chain(base64)
        .collect()
}
