//! Pages of other origins: which may read rooms, speak, and open sessions, and what browsers are
//! told that ask before (CORS).

use crate::world;
use crate::world::server::Server;
use reqwest::{Client, Method, RequestBuilder};
use safe_chat::gateway::Config;
use serde_json::json;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{client::IntoClientRequest, http::HeaderValue},
};

const HISTORY: &str = "/rooms/lobby/history";
const EVENTS: &str = "/rooms/lobby/events";
const POST: &str = "/rooms/lobby/messages?user=kim&pub=key";

fn get(server: &Server, path: &str) -> RequestBuilder {
    Client::new().get(server.url(path))
}

fn post(server: &Server) -> RequestBuilder {
    let message = json!({"id": "m1", "text": "Hello"}).to_string();
    Client::new().post(server.url(POST)).body(message)
}

async fn may_connect(server: &Server, origin: &str) -> bool {
    let url = format!("ws://{}/chat/lobby/user/kim?pub=key", server.address);
    let mut request = url.into_client_request().unwrap();
    let origin = HeaderValue::from_str(origin).unwrap();
    request.headers_mut().insert("origin", origin);
    connect_async(request).await.is_ok()
}

#[tokio::test]
async fn pages_of_allowed_origins_read_and_ask_before_and_others_do_not() {
    let config = Config {
        allowed_origins: [
            "https://app.example",
            "https://*.example.org",
            "capacitor://localhost",
            "null",
        ]
        .map(str::to_owned)
        .into(),
        ..world::unlimited()
    };
    let server = Server::with(config).await;
    let own = format!("http://{}", server.address);
    for (origin, allowed) in [
        ("https://app.example", true),
        ("https://a.b.example.org", true),
        ("capacitor://localhost", true),
        ("null", true),
        (&own, true),
        ("https://example.org", false),
        ("https://evil.example", false),
        ("tauri://localhost", false),
        ("file://", false),
    ] {
        let from = |request: RequestBuilder| request.header("origin", origin).send();
        for request in [get(&server, HISTORY), get(&server, EVENTS), post(&server)] {
            let answer = from(request).await.unwrap();
            let shown = answer.headers()["access-control-allow-origin"].to_str();
            let expected = if allowed { (200, origin) } else { (403, "*") };
            assert_eq!(
                (answer.status().as_u16(), shown.unwrap()),
                expected,
                "{origin}"
            );
            assert_eq!(answer.headers().contains_key("vary"), allowed, "{origin}");
        }
        assert_eq!(may_connect(&server, origin).await, allowed, "{origin}");

        for (path, methods) in [(HISTORY, "GET,HEAD"), (EVENTS, "GET,HEAD"), (POST, "POST")] {
            let asked = Client::new()
                .request(Method::OPTIONS, server.url(path))
                .header(
                    "access-control-request-method",
                    methods.split(',').next().unwrap(),
                )
                .header("access-control-request-headers", "authorization");
            let answer = from(asked).await.unwrap();
            let header = |name: &str| {
                let value = answer.headers().get(name);
                value.map(|value| value.to_str().unwrap())
            };
            if !allowed {
                assert_eq!(answer.status(), 403, "{origin} {path}");
                assert_eq!(header("access-control-allow-methods"), None);
                continue;
            }
            assert_eq!(answer.status(), 204, "{origin} {path}");
            assert_eq!(header("access-control-allow-origin"), Some(origin));
            assert_eq!(header("access-control-allow-methods"), Some(methods));
            let headers = header("access-control-allow-headers").unwrap();
            for needed in [
                "authorization",
                "content-type",
                "last-event-id",
                "chat-key",
                "safe-chat-proof",
            ] {
                assert!(headers.contains(needed), "{headers}");
            }
        }
    }
    // Without an origin nobody asks for a page.
    let plain = Client::new().request(Method::OPTIONS, server.url(HISTORY));
    let answer = plain.send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    let nowhere = Client::new()
        .request(Method::OPTIONS, server.url("/nowhere"))
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET");
    assert_eq!(nowhere.send().await.unwrap().status(), 404);

    let any = Config {
        allowed_origins: vec!["*".into()],
        ..world::unlimited()
    };
    let server = Server::with(any).await;
    let answer = get(&server, HISTORY);
    let answer = answer.header("origin", "https://evil.example").send().await;
    assert_eq!(
        answer.unwrap().headers()["access-control-allow-origin"],
        "*"
    );
}

#[tokio::test]
async fn a_page_whose_own_name_leads_to_loopback_reads_nothing_and_sends_nothing() {
    let evil = "evil.example:8080";
    // What the operator calls it, and where it listens: 127.0.0.1.
    for (public_hosts, chat) in [(vec![], 403), (vec!["chat.example".to_owned()], 200)] {
        let server = Server::with(Config {
            public_hosts,
            ..world::unlimited()
        })
        .await;
        let own = server.address.clone();
        for (host, expected) in [(evil, 403), ("chat.example", chat), (&own, 200)] {
            // A browser takes all of them for requests within one site.
            let page = format!("http://{host}");
            for request in [
                get(&server, HISTORY),
                get(&server, EVENTS),
                get(&server, HISTORY).header("origin", &page),
                post(&server).header("origin", &page),
            ] {
                let answer = request.header("host", host).send().await.unwrap();
                assert_eq!(answer.status(), expected, "{host}");
            }
            let url = format!("ws://{own}/chat/lobby/user/kim?pub=key");
            let mut request = url.into_client_request().unwrap();
            for (name, value) in [("host", host), ("origin", &page)] {
                let value = HeaderValue::from_str(value).unwrap();
                request.headers_mut().insert(name, value);
            }
            assert_eq!(
                connect_async(request).await.is_ok(),
                expected == 200,
                "{host}"
            );
        }
    }
}
