//! What it costs to bring a token, and what nobody has who has brought none.

use super::*;
use safe_chat::gateway::Config as Limits;

#[tokio::test]
async fn a_token_is_paid_for_before_it_is_looked_at() {
    // Ten frames at once; a request with a token takes six.
    let limits = Limits {
        address_rate: 1,
        address_burst: 10,
        ..world::unlimited()
    };
    let (config, _folder) = by_files();
    for (posts, path) in [
        (true, POST),
        (false, HISTORY),
        (false, EVENTS),
        (false, CHAT),
    ] {
        let server = Server::guarded(limits.clone(), &config).await;
        let bring = async || {
            let request = if posts { post } else { get }(&server, path, Some("garbage"));
            said(request, None).await
        };
        assert_eq!(bring().await, (401, "token_invalid".into()), "{path}");
        assert_eq!(bring().await, (429, "rate_limited".into()), "{path}");
    }
    let server = Server::guarded(limits, &config).await;
    let json = [("sec-websocket-protocol", "safechat.v1+json")];
    for (reason, ends) in [("token_invalid", 4008), ("rate_limited", 4010)] {
        let path = format!("{CHAT}?first=token");
        let (mut socket, _) = connect(&server, &path, &json).await.unwrap();
        say(
            &mut socket,
            json!({"type": "token", "id": "t1", "token": "garbage"}).to_string(),
        )
        .await;
        assert_eq!(frame(&mut socket, "rejected").await["reason"], reason);
        assert_eq!(code(&mut socket).await, ends);
    }
}

#[tokio::test]
async fn who_has_shown_no_token_takes_nobodys_place() {
    let limits = Limits {
        max_sessions: 1,
        ..world::unlimited()
    };
    let (config, _folder) = by_files();
    let server = Server::guarded(limits, &config).await;
    let (path, json) = (
        format!("{CHAT}?first=token"),
        [("sec-websocket-protocol", "safechat.v1+json")],
    );
    let (mut waiting, _) = connect(&server, &path, &json).await.unwrap();
    let good = by_secret(&claims());
    let _harry = session(&server, &good).await;
    // Now the node is full, for whoever waited and for whoever comes.
    say(
        &mut waiting,
        json!({"type": "token", "id": "t1", "token": good}).to_string(),
    )
    .await;
    let rejected = frame(&mut waiting, "rejected").await;
    assert_eq!(rejected["reason"], "unavailable");
    assert_eq!(code(&mut waiting).await, 4010);
    let full = connect(&server, &path, &json).await.err();
    assert_eq!(full, Some((503, "unavailable".into())));
}
