//! What is found in the journal after a conversation: by the commands of the program, and by CQL.

use crate::{cluster::Cluster, person::Person};
use scylla::client::session_builder::SessionBuilder;
use serde_json::Value;

/// Two people join, and harry says so many things.
const SAID: u64 = 5;

async fn conversation(cluster: &Cluster) -> Vec<Value> {
    let (first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let mut harry = Person::joins_in_json(&first, "aaa", "harry", "key-harry").await;
    let mut charly = Person::joins_in_json(&second, "aaa", "charly", "key-charly").await;
    for n in 0..SAID {
        harry.says(&format!("m{n}"), "Hello").await;
    }
    charly.events_until(SAID + 2).await
}

pub(crate) async fn what_was_said_is_stored_and_can_be_looked_at(cluster: Cluster) {
    let events = conversation(&cluster).await;
    let inspected = cluster
        .run(&["journal", "inspect", "aaa"], &["--content"])
        .await;
    assert_eq!(inspected.code, Some(0), "{inspected:?}");
    for event in &events {
        let (seq, from) = (&event["seq"], event["from"].as_str().expect("a user"));
        let what = if event["kind"] == "text" {
            format!("{from} -> * \"Hello\"")
        } else {
            from.to_owned()
        };
        let seq = seq.to_string();
        let mut lines = inspected.stdout.lines();
        let line = lines.find(|line| line.split_whitespace().nth(1) == Some(&seq));
        assert!(
            line.is_some_and(|line| line.contains(&what)),
            "no line with place {seq} and `{what}` in\n{}",
            inspected.stdout
        );
    }
    let hidden = cluster.run(&["journal", "inspect", "aaa"], &[]).await;
    assert!(
        hidden.code == Some(0)
            && hidden.stdout.contains("text of 5 bytes")
            && !hidden.stdout.contains("Hello"),
        "{hidden:?}"
    );
    let verified = cluster.run(&["journal", "verify", "aaa"], &[]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    println!("{}", verified.stdout);
}

pub(crate) async fn every_message_is_a_row(cluster: Cluster) {
    let events = conversation(&cluster).await;
    let address = cluster
        .cassandra_address()
        .expect("Cassandra is the journal");
    let session = SessionBuilder::new()
        .known_node(address)
        .build()
        .await
        .expect("a session");
    let query = format!(
        "SELECT seq, at, event, version, payload FROM {}.journal WHERE room = 'aaa' AND partition_nr = 0",
        cluster.keyspace()
    );
    let rows = session
        .query_unpaged(query, ())
        .await
        .expect("rows")
        .into_rows_result()
        .expect("rows");
    let rows: Vec<(i64, i64, String, i32, Vec<u8>)> = rows
        .rows()
        .expect("typed rows")
        .map(|row| row.expect("a row"))
        .collect();
    // The nodes are gone by now, and harry and charly may have left with them.
    let rows = &rows[..events.len()];
    for (row, event) in rows.iter().zip(&events) {
        let (seq, at, name, version, payload) = row;
        assert_eq!(
            (Some(*seq), Some(*at)),
            (event["seq"].as_i64(), event["at"].as_i64())
        );
        assert!(!name.is_empty() && *version >= 1, "{row:?}");
        let holds = |text: &str| {
            payload
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        assert!(holds(event["from"].as_str().expect("a user")), "{row:?}");
        assert!(event["kind"] != "text" || holds("Hello"), "{row:?}");
    }
    println!(
        "events in rows: {:?}",
        rows.iter()
            .map(|row| (row.0, &row.2, row.3))
            .collect::<Vec<_>>()
    );
}
