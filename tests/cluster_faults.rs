//! Nodes share the shards through joins, leaves, crashes, freezes and cuts: never two leases of one
//! epoch, and in the end every shard is written by a live node. Many nodes on one hub, under
//! virtual time.

mod cluster_nodes;

use cluster_nodes::{Cluster, SHARDS};
use proptest::prelude::*;
use safe_chat::{
    bus::{Registry, Submission},
    cluster::Status,
    room::{Action, RoomId, Shards},
};
use std::time::Duration;
use tokio::time::sleep;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn one_node_takes_all_shards_at_once() {
    let mut cluster = Cluster::new();
    cluster.start("a");
    cluster.settled(&["a"], SECOND).await;
    assert_eq!(cluster.held("a").len(), usize::from(SHARDS));
    assert!(cluster.handle("a").ready().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_joins_gets_its_part_by_hand_over() {
    let mut cluster = Cluster::new();
    cluster.start("a");
    cluster.settled(&["a"], SECOND).await;
    cluster.start("b");
    cluster.settled(&["a", "b"], 3 * SECOND).await;
    assert!(
        cluster.held("b").len() > usize::from(SHARDS) / 4,
        "{} shards",
        cluster.held("b").len()
    );
    assert_eq!(cluster.lost(), 0, "a hand-over is a release, not a loss");
    assert_eq!(
        cluster.taken(),
        usize::from(SHARDS) + cluster.held("b").len(),
        "no shard moves that need not"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rolling_upgrade_moves_each_shard_once() {
    let shards = usize::from(SHARDS);
    let mut cluster = Cluster::new();
    for name in ["a", "b"] {
        cluster.start_version(name, "1.9.0");
    }
    cluster.settled(&["a", "b"], 5 * SECOND).await;
    let before = cluster.taken();
    for name in ["c", "d"] {
        cluster.start_version(name, "1.10.0");
    }
    sleep(5 * SECOND).await;
    cluster.settled(&["a", "b"], SECOND).await;
    assert_eq!(
        cluster.taken(),
        before,
        "new nodes take nothing from the living"
    );
    assert!(cluster.handle("c").ready().is_ok(), "and wait for nothing");
    cluster.stop("a").await;
    cluster.stop("b").await;
    cluster.settled(&["c", "d"], 3 * SECOND).await;
    assert_eq!(cluster.taken(), before + shards, "each shard moves once");
    assert_eq!(cluster.lost(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_killed_node_are_taken_within_two_seconds() {
    let mut cluster = Cluster::new();
    cluster.start_all(&["a", "b", "c"]).await;
    cluster.kill("a");
    cluster.settled(&["b", "c"], 2 * SECOND).await;
    assert_eq!(cluster.lost(), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_of_all_nodes_a_new_one_takes_over_within_two_seconds() {
    let mut cluster = Cluster::new();
    cluster.start_all(&["a", "b"]).await;
    cluster.kill("a");
    cluster.kill("b");
    cluster.start("c");
    cluster.settled(&["c"], 2 * SECOND).await;
    sleep(SECOND).await;
    assert_eq!(cluster.records().await, ["c"], "what is dead is forgotten");
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_frozen_node_are_taken_and_it_is_told_when_it_wakes() {
    let mut cluster = Cluster::new();
    cluster.start_all(&["a", "b"]).await;
    let before = cluster.held("a").len();
    cluster.freeze("a");
    sleep(9 * SECOND).await;
    assert_eq!(
        cluster.held("a").len(),
        before,
        "a leader change of the bus can take so long"
    );
    cluster.settled(&["b"], 3 * SECOND).await;
    cluster.thaw("a");
    cluster.settled(&["a", "b"], 5 * SECOND).await;
    assert_eq!(
        cluster.lost(),
        before,
        "each of its leases is lost, none is handed over"
    );
    assert_eq!(cluster.handle("a").view().deaths, 1);
}

#[tokio::test(start_paused = true)]
async fn the_shards_of_a_node_that_was_declared_down_are_taken_at_once_and_it_gives_up() {
    let mut cluster = Cluster::new();
    cluster.start_all(&["a", "b", "c"]).await;
    cluster.freeze("a");
    cluster.bus.down(cluster.id("a")).await.unwrap();
    cluster.settled(&["b", "c"], SECOND / 2).await;
    let mut view = cluster.handle("a").watch();
    cluster.thaw("a");
    view.wait_for(|view| view.downed && view.owned.is_empty())
        .await
        .unwrap();
    // It beats as long as it lives, and is given nothing for that.
    sleep(5 * SECOND).await;
    cluster.settled(&["b", "c"], SECOND / 10).await;
    let a = cluster.id("a");
    let of_b = cluster.handle("b").view();
    assert!(
        of_b.members
            .iter()
            .all(|member| member.node.incarnation != a)
    );
    cluster.stop("a").await;
    assert_eq!(
        cluster.records().await,
        ["b", "c"],
        "no note is left either"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_missed_says_who_misses_it() {
    let mut cluster = Cluster::new();
    cluster.start_all(&["a", "b", "c"]).await;
    let member = |cluster: &Cluster, of: &str| {
        let (a, view) = (cluster.id("a"), cluster.handle(of).view());
        let mut members = view.members.into_iter();
        members.find(|member| member.node.incarnation == a)
    };
    let up = member(&cluster, "b").unwrap();
    assert_eq!((up.status, up.observers), (Status::Up, vec![]));
    cluster.freeze("a");
    sleep(8 * SECOND).await;
    let missed = member(&cluster, "b").unwrap();
    assert_eq!(missed.status, Status::Up);
    assert_eq!(missed.observers, [cluster.id("b"), cluster.id("c")]);
    assert_eq!(member(&cluster, "c"), Some(missed));
    sleep(10 * SECOND).await;
    assert_eq!(member(&cluster, "b"), None, "dead, and forgotten");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_drains_hands_over_without_a_gap() {
    let mut cluster = Cluster::new();
    cluster.start_all(&["a", "b"]).await;
    let drained = cluster.handle("a");
    assert!(tokio::time::timeout(SECOND, drained.drain()).await.is_ok());
    assert!(cluster.held("a").is_empty());
    cluster.settled(&["b"], Duration::from_millis(200)).await;
    assert!(drained.ready().is_err());
    cluster.stop("a").await;
    assert_eq!(cluster.records().await, ["b"]);
    assert_eq!(cluster.lost(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_last_node_stops_without_waiting_for_a_successor() {
    let mut cluster = Cluster::new();
    cluster.start("a");
    cluster.settled(&["a"], SECOND).await;
    tokio::time::timeout(SECOND, cluster.stop("a"))
        .await
        .expect("it stops at once");
    assert_eq!(cluster.records().await, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_cut_off_kills_nobody_and_comes_back() {
    let mut cluster = Cluster::new();
    cluster.start_all(&["a", "b", "c"]).await;
    cluster.cut("a");
    cluster.settled(&["b", "c"], 3 * SECOND).await;
    let (b, c) = (cluster.held("b").len(), cluster.held("c").len());
    sleep(20 * SECOND).await;
    assert_eq!(
        (cluster.held("b").len(), cluster.held("c").len()),
        (b, c),
        "the node that is away disturbs nobody"
    );
    cluster.restore("a");
    cluster.settled(&["a", "b", "c"], 8 * SECOND).await;
    for name in ["b", "c"] {
        assert_eq!(
            cluster.handle(name).view().deaths,
            0,
            "{name} was never taken for dead"
        );
    }
    assert_eq!(cluster.handle("a").view().deaths, 1);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_were_all_cut_off_kill_nobody_when_some_come_back_earlier() {
    let mut cluster = Cluster::new();
    cluster.start_all(&["a", "b"]).await;
    let taken = cluster.taken();
    cluster.cut("a");
    cluster.cut("b");
    sleep(6 * SECOND).await;
    cluster.restore("a");
    sleep(4 * SECOND).await;
    cluster.restore("b");
    sleep(5 * SECOND).await;
    cluster.settled(&["a", "b"], SECOND).await;
    assert_eq!(cluster.taken(), taken, "no shard moved");
}

#[tokio::test(start_paused = true)]
async fn a_shard_whose_lease_the_journal_refused_is_taken_with_a_higher_epoch() {
    let mut cluster = Cluster::new();
    cluster.start("a");
    cluster.settled(&["a"], SECOND).await;
    let shard = cluster.held("a")[0];
    let fenced = cluster.fence("a", shard, 40);
    cluster.settled(&["a"], SECOND).await;
    assert!(fenced.0 < 40 && cluster.epoch("a", shard).0 > 40);
}

#[tokio::test(start_paused = true)]
async fn the_sessions_of_a_killed_gateway_are_abandoned() {
    let mut cluster = Cluster::new();
    cluster.start_all(&["a", "b"]).await;
    cluster.start_gateway("g");
    sleep(3 * SECOND).await;
    let (gateway, living) = (cluster.id("g"), cluster.id("a"));
    let rooms: Vec<_> = (0..20)
        .map(|n| RoomId::parse(&format!("room-{n}")).unwrap())
        .collect();
    let of = |room: &RoomId| Shards::new(SHARDS).unwrap().of(room);
    for room in &rooms {
        cluster.bus.mark(gateway, room).await.unwrap();
        cluster.bus.mark(living, room).await.unwrap();
    }
    cluster.kill("g");
    sleep(4 * SECOND).await;
    for room in &rooms {
        let left = cluster.bus.marks(of(room)).await.unwrap();
        assert!(left.iter().all(|(node, _)| *node == living), "{left:?}");
        let abandoned = Submission {
            room: room.clone(),
            action: Action::Abandon { gateway },
            reply: None,
        };
        assert!(cluster.submitted(of(room)).await.contains(&abandoned));
    }
    assert_eq!(cluster.records().await, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_not_in_the_registry_yet_keeps_its_sessions() {
    let mut cluster = Cluster::new();
    let room = RoomId::parse("room").unwrap();
    let shard = Shards::new(SHARDS).unwrap().of(&room);
    let (gateway, _probes) = cluster.unseen_gateway().await;
    cluster.bus.mark(gateway, &room).await.unwrap();
    cluster.start("a");
    cluster.settled(&["a"], SECOND).await;
    sleep(10 * SECOND).await;
    assert_eq!(cluster.bus.marks(shard).await.unwrap(), [(gateway, room)]);
    assert!(cluster.submitted(shard).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_with_another_number_of_shards_refuses_to_start() {
    let mut cluster = Cluster::new();
    cluster.start("a");
    cluster.settled(&["a"], SECOND).await;
    let error = cluster
        .start_with_shards("b", SHARDS + 1)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the cluster has 32 shards, this node is configured with 33: set cluster.shards to 32"
    );
}

/// What happens to the cluster; the number picks the node.
#[derive(Debug, Clone, Copy)]
enum Event {
    Join,
    Kill(usize),
    Stop(usize),
    Freeze(usize),
    Cut(usize),
    Mend,
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Join),
        2 => any::<usize>().prop_map(Event::Kill),
        1 => any::<usize>().prop_map(Event::Stop),
        2 => any::<usize>().prop_map(Event::Freeze),
        2 => any::<usize>().prop_map(Event::Cut),
        3 => Just(Event::Mend),
        5 => (0_u64..15_000).prop_map(Event::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_epochs_are_unique_and_in_the_end_every_shard_is_written(
        seed in any::<u64>(),
        events in prop::collection::vec(event(), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut cluster = Cluster::with_faults(seed);
            cluster.start("0");
            for (n, event) in events.into_iter().enumerate() {
                cluster.happen(n + 1, event).await;
            }
            cluster.mend();
            cluster.start("last");
            let names = cluster.names();
            cluster.settled(&names.iter().map(String::as_str).collect::<Vec<_>>(), 60 * SECOND).await;
        });
    }
}

impl Cluster {
    async fn happen(&mut self, n: usize, event: Event) {
        let names = self.names();
        let pick = |k: usize| names.get(k % names.len().max(1)).cloned();
        match event {
            Event::Join => self.start(&n.to_string()),
            Event::Kill(k) => pick(k).iter().for_each(|name| self.kill(name)),
            Event::Freeze(k) => pick(k).iter().for_each(|name| self.freeze(name)),
            Event::Cut(k) => pick(k).iter().for_each(|name| self.cut(name)),
            Event::Stop(k) => {
                if let Some(name) = pick(k).filter(|name| self.is_well(name)) {
                    self.stop(&name).await;
                }
            }
            Event::Mend => self.mend(),
            Event::Wait(ms) => sleep(Duration::from_millis(ms)).await,
        }
    }
}
