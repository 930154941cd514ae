//! Cassandra away for a while, as a node sees it: connections are cut, and new ones too.

use crate::{cluster::Cluster, person::Person, proxy::Proxy};
use serde_json::json;

pub(crate) async fn what_is_said_while_cassandra_is_away_is_journaled_later(cluster: Cluster) {
    let proxy = Proxy::to(
        cluster
            .cassandra_address()
            .expect("Cassandra is the journal"),
    )
    .await;
    let cluster = cluster.with_cassandra_at(proxy.address());
    let mut node = cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key-harry").await;
    harry.says("m1", "before").await;
    assert_eq!(harry.next("journaled").await["seq"], 2);

    proxy.close();
    harry.says("m2", "meanwhile").await;
    harry.says("m3", "meanwhile too").await;
    for id in ["m2", "m3"] {
        assert_eq!(harry.next("accepted").await["id"], id);
    }
    let why = node.unready().await;
    assert!(why.contains("Cassandra"), "{why}");
    println!("not ready: {why}");

    proxy.open();
    let frames = [harry.next("journaled").await, harry.next("journaled").await];
    let places: Vec<_> = frames
        .iter()
        .map(|frame| (&frame["id"], &frame["seq"]))
        .collect();
    assert_eq!(
        places,
        [(&json!("m2"), &json!(3)), (&json!("m3"), &json!(4))]
    );
    node.ready().await;
}
