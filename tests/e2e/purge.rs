//! A room is purged, on either journal: after a while nothing of before is stored anywhere, and the
//! room goes on.

use crate::{
    cluster::{Cluster, eventually},
    http::post,
    person::Person,
    retention::admin,
};
use safe_chat::{
    bus::{Blobs, Feed, Position},
    room::{RoomId, Seq},
};

const SAID: u64 = 40;
/// Who was there.
const GONE: &str = "charly";

/// What is stored of the room, in whatever form.
async fn stored(cluster: &Cluster) -> Vec<u8> {
    let (bus, room) = (cluster.bus_of_it().await, RoomId::parse("aaa").unwrap());
    let messages = bus.stored(&room, Position::ZERO, 1000).await.unwrap();
    let mut all = format!("{messages:?}").into_bytes();
    for slot in 0..2 {
        let part = bus.get(&format!("snapshot.aaa.{slot}.0")).await.unwrap();
        all.extend(part.map(|(part, _)| part).unwrap_or_default());
    }
    let words = ["journal", "inspect", "aaa"];
    let inspected = cluster.run(&words, &["--content"]).await;
    all.extend(inspected.stdout.into_bytes());
    all
}

fn holds(all: &[u8], word: &str) -> bool {
    all.windows(word.len()).any(|part| part == word.as_bytes())
}

pub(crate) async fn a_purged_room_goes_on_and_nothing_of_before_is_stored(cluster: Cluster) {
    let (mut first, second) = (cluster.node("first").await, cluster.node("second").await);
    let mut harry = Person::joins_in_json(&second, "aaa", "harry", "key-harry").await;
    for n in 1..=SAID {
        assert_eq!(post(&second, &format!("m{n}")).await["seq"], n + 1);
    }
    drop(Person::joins_in_json(&first, "aaa", GONE, "key-charly").await);
    eventually("nobody else is there", async || {
        first.head("aaa").await == SAID + 3
    })
    .await;
    assert!(holds(&stored(&cluster).await, GONE), "it would be found");

    let said = admin(&first, &["purge", "aaa", "--yes"]).await;
    let purged = said["seq"].as_u64().expect("a place");
    let told = harry.events_until(purged).await;
    assert_eq!(told.last().expect("events")["kind"], "purged");
    let room = admin(&second, &["room", "aaa"]).await;
    assert_eq!(
        (&room["first"], &room["head"]),
        (&said["seq"], &said["seq"])
    );
    assert_eq!(room["members"][0], "harry");
    // An owner dies meanwhile.
    first.kill().await;
    first.restart().await;

    let name = RoomId::parse("aaa").unwrap();
    eventually("nothing of before is stored", async || {
        let bus = cluster.bus_of_it().await;
        let published = bus.stored(&name, Position::ZERO, 1000).await.unwrap();
        let is_gone = published.iter().all(|message| message.seq >= Seq(purged));
        is_gone && !holds(&stored(&cluster).await, GONE)
    })
    .await;
    // The same as before is none, though the room knows it by a digest alone.
    let again = post(&first, "m1").await;
    assert!(again["duplicate"] == true && again["seq"] == 2, "{again}");
    let new = post(&second, "new").await;
    assert_eq!(
        (&new["duplicate"], new["seq"].as_u64()),
        (&false.into(), Some(purged + 1))
    );
    harry.events_until(purged + 1).await;
    drop((first, second));
    let verified = cluster.run(&["journal", "verify", "aaa"], &[]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(
        verified.stdout.contains("or were purged"),
        "{}",
        verified.stdout
    );
}
