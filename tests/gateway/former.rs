//! A key that takes the place of another one, over real sockets: both sign the answer to the
//! challenge, and all who are in the room see it.

use crate::{
    proofs::Person,
    world::server::{Server, Socket, code, frame, line, say},
};
use futures::SinkExt;
use safe_chat::wire::proof::PublicKey;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// Answers the challenge with both keys.
async fn changes(server: &Server, new: &Person, former: &Person) -> Socket {
    let named = former.key();
    let (mut socket, nonce) = new
        .challenged(server, &format!("&former={}", named.as_str()))
        .await;
    let proof = signed(server, new, former, nonce);
    say(&mut socket, proof.to_string()).await;
    socket
}

fn signed(
    server: &Server,
    new: &Person,
    former: &Person,
    nonce: safe_chat::wire::proof::Nonce,
) -> Value {
    let (about, public) = (new.about(nonce), PublicKey::parse(&former.key()).unwrap());
    let mut proof = new.proof(&server.address, &about);
    proof["former"] = json!(former.sign(&about.change(&server.address, &public)));
    proof
}

#[tokio::test]
async fn a_name_goes_on_with_a_key_that_its_own_one_signed_and_all_see_it() {
    let server = Server::start().await;
    let (old, new) = (Person::new("harry", 1), Person::new("harry", 2));
    let mut before = old.proves(&server).await;
    let mut charly = server.json("charly", "").await;
    let mut lines = server.text("kim").await;
    assert_eq!(
        new.refused(&server, "&auth=1").await,
        (403, "key_mismatch".into())
    );
    let mut socket = changes(&server, &new, &old).await;
    assert_eq!(frame(&mut socket, "welcome").await["proven"], true);
    assert_eq!(
        code(&mut before).await,
        4010,
        "who came with the former key"
    );
    let seen = loop {
        let event = frame(&mut charly, "event").await;
        if event["kind"] == "unpinned" {
            break event;
        }
    };
    assert_eq!(
        (&seen["from"], &seen["changed"]),
        (&json!("harry"), &json!(true))
    );
    let joined = frame(&mut charly, "event").await;
    assert_eq!(
        (&joined["kind"], &joined["from"]),
        (&json!("joined"), &json!("harry"))
    );
    let shown = loop {
        let line = line(&mut lines).await;
        if line.contains("unpinned") {
            break line;
        }
    };
    assert!(shown.ends_with("harry unpinned] (changed)"), "{shown}");

    let mismatch = (403, String::from("key_mismatch"));
    assert_eq!(old.refused(&server, "&auth=1").await, mismatch);
    drop(new.proves(&server).await);
    // Once more it is a session like another.
    let mut again = changes(&server, &new, &old).await;
    frame(&mut again, "welcome").await;
}

#[tokio::test]
async fn nobody_takes_a_name_by_a_key_that_did_not_sign_this_very_thing() {
    let server = Server::start().await;
    let (old, new) = (Person::new("harry", 1), Person::new("harry", 2));
    let (mallory, charly) = (Person::new("harry", 3), Person::new("charly", 2));
    drop(old.proves(&server).await);
    let former = format!("&auth=1&former={}", old.key().as_str());
    let other = format!("&auth=1&former={}", mallory.key().as_str());
    assert_eq!(
        new.refused(&server, &other).await,
        (403, "key_mismatch".into()),
        "before the upgrade"
    );
    for (query, why) in [
        (format!("&former={}", old.key().as_str()), "without auth"),
        ("&auth=1&former=KEY".into(), "no Ed25519 key"),
        ("&auth=1&former=".into(), "none"),
    ] {
        let refused = new.refused(&server, &query).await;
        assert_eq!(refused, (400, "bad_query".into()), "{why}");
    }
    let host = &server.address;
    let public = PublicKey::parse(&old.key()).unwrap();
    let (_stays, others_nonce) = new.challenged(&server, &former[7..]).await;
    type Wrong<'a> = &'a dyn Fn(safe_chat::wire::proof::Nonce) -> Value;
    let with = |nonce, former: Value| {
        let mut proof = new.proof(host, &new.about(nonce));
        proof["former"] = former;
        proof
    };
    let wrong: [(&str, Wrong<'_>); 8] = [
        ("nothing", &|nonce| new.proof(host, &new.about(nonce))),
        ("half a signature", &|nonce| with(nonce, json!("AAAA"))),
        ("another's signature", &|nonce| {
            with(
                nonce,
                json!(mallory.sign(&new.about(nonce).change(host, &public))),
            )
        }),
        ("the proof of the new key once more", &|nonce| {
            with(nonce, json!(old.sign(&new.about(nonce).bytes(host))))
        }),
        ("for another key", &|nonce| {
            with(
                nonce,
                json!(old.sign(&mallory.about(nonce).change(host, &public))),
            )
        }),
        ("for another user", &|nonce| {
            with(
                nonce,
                json!(old.sign(&charly.about(nonce).change(host, &public))),
            )
        }),
        ("for another server", &|nonce| {
            with(
                nonce,
                json!(old.sign(&new.about(nonce).change("evil.example", &public))),
            )
        }),
        ("of another connection", &|nonce| {
            with(
                nonce,
                json!(old.sign(&new.about(others_nonce).change(host, &public))),
            )
        }),
    ];
    for (what, wrong) in wrong {
        let (mut socket, nonce) = new.challenged(&server, &former[7..]).await;
        say(&mut socket, wrong(nonce).to_string()).await;
        assert_eq!(code(&mut socket).await, 4004, "{what}");
    }
    // The right one, without the new key's.
    let (mut socket, nonce) = new.challenged(&server, &former[7..]).await;
    let mut proof = signed(&server, &new, &old, nonce);
    proof["signature"] = json!(mallory.sign(&new.about(nonce).bytes(host)));
    say(&mut socket, proof.to_string()).await;
    assert_eq!(code(&mut socket).await, 4004);
    drop(old.proves(&server).await);
}

#[tokio::test]
async fn the_text_protocol_carries_both_signatures() {
    let server = Server::start().await;
    let (old, new) = (Person::new("harry", 1), Person::new("harry", 2));
    drop(old.proves(&server).await);
    let path = new.path(&format!("&auth=1&former={}", old.key().as_str()));
    let mut socket = server.try_connect(&path, None).await.unwrap();
    let challenge = line(&mut socket).await;
    let nonce = crate::proofs::nonce(challenge.strip_prefix("!challenge ").unwrap());
    let proof = signed(&server, &new, &old, nonce);
    let word = |name: &str| proof[name].as_str().unwrap().to_owned();
    let (host, signature, former) = (word("host"), word("signature"), word("former"));
    let proof = Message::text(format!("!proof {host} {signature} {former}"));
    socket.send(proof).await.unwrap();
    assert_eq!(line(&mut socket).await, "harry:aaa:connected");
}
