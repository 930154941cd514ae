//! What every journal promises of keys in records of their own.

use crate::{claims::owner, cluster::Case};
use safe_chat::{
    journal::{Error, Journal},
    room::{Identity, Key, Moving, Pin, Seq, UserId},
};

/// Before the first purge, and after one.
const FIRST: Seq = Seq::ZERO;
const SECOND: Seq = Seq(7);

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn pin(key: &str, identity: Identity) -> Option<Pin> {
    let key = Key::parse(key).unwrap();
    Some(Pin { key, identity })
}

fn claimed(name: &str, key: &str) -> Moving {
    vec![(user(name), pin(key, Identity::Claimed))]
}

async fn read(node: &dyn Journal, case: &Case, of: Seq, names: &[&str]) -> Vec<Option<Pin>> {
    let names: Vec<_> = names.iter().map(|name| user(name)).collect();
    node.recorded(&case.room, of, &names).await.unwrap()
}

pub async fn what_is_recorded_is_read_and_nothing_else(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let pins = vec![
        (user("harry"), pin("h", Identity::Proven)),
        (user("charly"), pin("c", Identity::Posted)),
        (user("dave"), None),
        (user("erin"), pin("e", Identity::Claimed)),
    ];
    node.record(&case.room, claim, FIRST, &pins).await.unwrap();
    let names = ["erin", "nobody", "dave", "harry", "charly"];
    let expected = [3, 9, 2, 0, 1].map(|n| pins.get(n).and_then(|(_, pin)| pin.clone()));
    assert_eq!(read(&*node, &case, FIRST, &names).await, expected);
    assert_eq!(read(&*node, &case, SECOND, &["harry"]).await, [None]);
    assert!(read(&*node, &case, FIRST, &[]).await.is_empty());
    let (other, names) = (case.another_room(), [user("harry")]);
    let elsewhere = node.recorded(&other, FIRST, &names).await;
    assert_eq!(elsewhere.unwrap(), [None]);
    let mut all = node.all_recorded(&case.room, FIRST).await.unwrap();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    let all: Vec<_> = all.iter().map(|(user, _)| user.as_str()).collect();
    assert_eq!(all, ["charly", "erin", "harry"]);
}

pub async fn a_record_is_written_again_by_the_next_owner(case: Case) {
    for key in ["one", "two", "two", "three"] {
        let (node, claim, _) = owner(&case).await;
        let pins = claimed("harry", key);
        node.record(&case.room, claim, FIRST, &pins).await.unwrap();
        let there = read(&*node, &case, FIRST, &["harry"]).await;
        assert_eq!(there, [pins[0].1.clone()]);
        node.record(&case.room, claim, FIRST, &vec![(user("harry"), None)])
            .await
            .unwrap();
        assert_eq!(read(&*node, &case, FIRST, &["harry"]).await, [None]);
        node.record(&case.room, claim, FIRST, &pins).await.unwrap();
        assert_eq!(read(&*node, &case, FIRST, &["harry"]).await, there);
    }
}

/// It gives no name back to whom it was taken from, nor frees one.
pub async fn what_a_replaced_owner_records_counts_for_nothing(case: Case) {
    let (old, old_claim, _) = owner(&case).await;
    let (node, claim, _) = owner(&case).await;
    let pins = vec![
        (user("harry"), pin("new", Identity::Proven)),
        (user("dave"), None),
    ];
    node.record(&case.room, claim, FIRST, &pins).await.unwrap();
    for late in [
        claimed("harry", "old"),
        vec![(user("harry"), None)],
        claimed("dave", "old"),
    ] {
        let refused = old.record(&case.room, old_claim, FIRST, &late).await;
        let is_fenced = matches!(refused, Err(Error::Fenced { .. }));
        assert!(refused.is_ok() || is_fenced, "{refused:?}");
        let there = read(&*node, &case, FIRST, &["harry", "dave"]).await;
        assert_eq!(there, [pins[0].1.clone(), None]);
    }
    let stranger = case.room_of_another_shard();
    let refused = node.record(&stranger, claim, FIRST, &pins).await;
    assert!(
        matches!(refused, Err(Error::Stranger { .. })),
        "{refused:?}"
    );
}

pub async fn a_generation_is_dropped_and_no_other(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let other = case.another_room();
    let pins = claimed("harry", "key");
    for (room, generation) in [(&case.room, FIRST), (&case.room, SECOND), (&other, FIRST)] {
        node.record(room, claim, generation, &pins).await.unwrap();
    }
    for _ in 0..2 {
        node.drop_records(&case.room, FIRST).await.unwrap();
        assert_eq!(read(&*node, &case, FIRST, &["harry"]).await, [None]);
        assert!(
            node.all_recorded(&case.room, FIRST)
                .await
                .unwrap()
                .is_empty()
        );
        let there = read(&*node, &case, SECOND, &["harry"]).await;
        assert_eq!(there, [pins[0].1.clone()]);
        let elsewhere = node.recorded(&other, FIRST, &[user("harry")]).await;
        assert_eq!(elsewhere.unwrap(), there);
    }
}

pub async fn thousands_of_names_are_recorded(case: Case) {
    let (node, claim, _) = owner(&case).await;
    let name = |n: u32| user(&format!("user-{n}"));
    let moving: Moving = (0..3000)
        .map(|n| (name(n), pin(&format!("key-{n}"), Identity::Claimed)))
        .collect();
    node.record(&case.room, claim, FIRST, &moving)
        .await
        .unwrap();
    let names: Vec<UserId> = moving.iter().map(|(user, _)| user.clone()).collect();
    let there = node.recorded(&case.room, FIRST, &names).await.unwrap();
    assert!(moving.iter().map(|(_, pin)| pin).eq(&there));
    let mut all = node.all_recorded(&case.room, FIRST).await.unwrap();
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    assert_eq!(all.len(), 3000);
    all.dedup_by(|(one, _), (other, _)| one == other);
    assert_eq!(all.len(), 3000);
}
