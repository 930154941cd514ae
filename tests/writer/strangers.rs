//! Owners that another cluster stops, which writes into the same journal: they say so, and of nobody
//! else.

use crate::world::{World, send};

/// Somebody forced the settings of one, so that each elects owners of its own.
#[tokio::test(start_paused = true)]
async fn an_owner_says_that_another_cluster_writes_into_its_keyspace() {
    let world = World::new();
    let (mut first, mut second) = (world.node(1), world.node(2));
    first.take().await;
    let mut client = world.client().await;
    assert_eq!(client.journaled(send(1)).await, (1, false));
    second.take().await;
    assert_eq!(client.journaled(send(2)).await, (2, false));
    first.ended.recv().await.unwrap();
    assert_eq!(
        first.writer.warnings(),
        Vec::<String>::new(),
        "its own took it"
    );

    let other = World {
        database: world.database.clone(),
        ..World::new()
    };
    let stranger = other.node(3);
    stranger.take().await;
    let mut theirs = other.client().await;
    assert_eq!(theirs.journaled(send(9)).await, (3, false));
    client.submit(send(3)).await;
    second.ended.recv().await.unwrap();
    let warned = second.writer.warnings().join("; ");
    assert!(warned.contains("who is not of this cluster"), "{warned}");
}

/// Its journal has higher epochs than its records, and none of them is a stranger's.
#[tokio::test(start_paused = true)]
async fn a_cluster_whose_bus_was_put_back_takes_nobody_for_another_one() {
    let world = World::new();
    for n in 1..=3 {
        world.node(n).take().await;
        let mut client = world.client().await;
        client.journaled(send(n as u64)).await;
    }
    let restored = World {
        database: world.database.clone(),
        ..World::new()
    };
    let mut client = restored.client().await;
    let (mut first, second) = (restored.node(4), restored.node(5));
    first.take().await;
    assert_eq!(client.journaled(send(4)).await, (4, false));
    second.take().await;
    assert_eq!(client.journaled(send(5)).await, (5, false));
    first.ended.recv().await.unwrap();
    for node in [first, second] {
        assert_eq!(node.writer.warnings(), Vec::<String>::new());
    }
}
