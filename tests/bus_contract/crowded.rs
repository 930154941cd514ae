//! More at a time than a nats-server queues.

use crate::world::Mortal;
use safe_chat::room::ShardId;
use tokio::task::JoinSet;

/// A server that has 10,000 requests of JetStream's API in its queue drops all of them unanswered,
/// and whoever asks again keeps it there. So a node sends no more before it has answers.
#[tokio::test(flavor = "multi_thread")]
async fn what_no_server_answers_does_not_pile_up_there() {
    let claim = "what no server answers does not pile up there";
    let Some(server) = Mortal::nats(claim).await else {
        return;
    };
    server.freeze();
    let mut asked = JoinSet::new();
    for _ in 0..1000 {
        let bus = server.bus.clone();
        asked.spawn(async move { bus.shard(ShardId(0)).await });
    }
    let answers = asked.join_all().await.into_iter();
    let refused: Vec<_> = answers.filter_map(|answer| answer.err()).collect();
    assert_eq!(refused.len(), 1000);
    let was_sent = |error: &_| !format!("{error}").contains("requests were under way to NATS");
    let sent = refused.iter().filter(|error| was_sent(error)).count();
    assert!((1..=256).contains(&sent), "{sent} were sent");
}
