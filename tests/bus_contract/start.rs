//! What a start on NATS says when it cannot be.

use crate::{support, world::nats_config};
use async_nats::jetstream;
use futures::StreamExt;
use safe_chat::bus::{
    Error,
    nats::{Config, Nats},
};

async fn refused(config: &Config) -> Error {
    match Nats::connect(config).await {
        Ok(_) => panic!("it connects"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_failed_connect_names_the_addresses_and_hides_the_password() {
    let servers = vec!["nats://me:hunter2@127.0.0.1:9".into(), "127.0.0.1:7".into()];
    let error = refused(&Config {
        servers,
        ..Config::default()
    })
    .await;
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    let text = error.to_string();
    assert!(
        text.contains("127.0.0.1:9, 127.0.0.1:7") && !text.contains("hunter2"),
        "{text}"
    );
}

#[tokio::test]
async fn a_stream_that_differs_where_it_matters_is_refused_and_named() {
    let Some(server) = support::server("SAFE_CHAT_TEST_NATS", "streams that differ on NATS") else {
        return;
    };
    let journal = nats_config(&server);
    Nats::connect(&journal).await.expect("the streams are made");
    Nats::connect(&Config {
        replicas: 3,
        command_bytes: 1024 * 1024,
        key_bytes: 1024 * 1024,
        welcome_bytes: 1024 * 1024,
        ..journal.clone()
    })
    .await
    .expect("sizes and copies are the operator's");
    let error = refused(&Config {
        event_bytes: Some(1024 * 1024),
        ..journal.clone()
    })
    .await;
    assert!(matches!(error, Error::Unusable(_)), "{error:?}");
    let stream = format!("{}_EVT", journal.prefix.to_uppercase());
    assert!(
        error.to_string().contains(&stream) && error.to_string().contains("max_bytes"),
        "{error}"
    );
}

/// A server that recovers its streams knows the events last.
#[tokio::test]
async fn a_journal_that_comes_late_is_waited_for_and_one_that_is_gone_is_named() {
    let Some(server) = support::server("SAFE_CHAT_TEST_NATS", "a late journal on NATS") else {
        return;
    };
    let config = nats_config(&server);
    Nats::connect(&config).await.expect("the streams are made");
    let client = async_nats::connect(&config.servers[0]).await.unwrap();
    let streams = jetstream::new(client.clone());
    let name = format!("{}_EVT", config.prefix.to_uppercase());
    let events = streams.get_stream(&name).await.unwrap();
    let definition = events.cached_info().config.clone();
    streams.delete_stream(&name).await.unwrap();
    let looks = format!("$JS.API.STREAM.INFO.{name}");
    let mut looks = client.subscribe(looks).await.unwrap();
    client.flush().await.unwrap();

    let error = refused(&config).await;
    assert!(matches!(error, Error::Unusable(_)), "{error:?}");
    assert!(error.to_string().contains(&name), "{error}");
    while let Some(Some(_)) = futures::FutureExt::now_or_never(looks.next()) {}

    let comes = async {
        for _ in 0..2 {
            looks.next().await.expect("it looks again");
        }
        streams.create_stream(definition).await.unwrap();
    };
    let (started, ()) = tokio::join!(Nats::connect(&config), comes);
    started.expect("it waited");
}

#[tokio::test]
async fn a_prefix_that_no_stream_can_have_is_refused() {
    for prefix in ["", "Chat", "a.b", "a b"] {
        let error = refused(&Config {
            prefix: prefix.into(),
            ..Config::default()
        })
        .await;
        assert!(matches!(error, Error::Unusable(_)), "{error:?}");
    }
}
