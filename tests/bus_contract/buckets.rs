//! Small stores by name.

use crate::world::World;
use bytes::Bytes;
use safe_chat::bus::{BLOB, Bucket, Buckets, Error, KEPT, memory::Hub};
use std::time::Duration;
use tokio::time::advance;

const BOTH: [Bucket; 2] = [Bucket::Packages, Bucket::Welcomes];

pub(crate) async fn a_value_is_replaced_and_erased_by_revision(world: World) {
    let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
    for bucket in BOTH {
        let first = world.a.write(bucket, "a.b", one.clone(), 0).await.unwrap();
        let found = world.b.read(bucket, "a.b").await.unwrap();
        assert_eq!(found, Some((one.clone(), first)));
        let again = world.b.write(bucket, "a.b", two.clone(), 0).await;
        assert!(matches!(again, Err(Error::Conflict(_))), "{again:?}");
        let second = world.b.write(bucket, "a.b", two.clone(), first).await;
        let late = world.a.erase(bucket, "a.b", first).await;
        assert!(matches!(late, Err(Error::Conflict(_))), "{late:?}");
        world.a.erase(bucket, "a.b", second.unwrap()).await.unwrap();
        assert_eq!(world.b.read(bucket, "a.b").await.unwrap(), None);
    }
}

pub(crate) async fn what_was_erased_can_be_written_again_at_once(world: World) {
    let bucket = Bucket::Packages;
    for n in 0..3u8 {
        let value = Bytes::from(vec![n]);
        let revision = world.a.write(bucket, "x", value.clone(), 0).await.unwrap();
        let found = world.b.read(bucket, "x").await.unwrap();
        assert_eq!(found, Some((value, revision)));
        world.b.erase(bucket, "x", revision).await.unwrap();
    }
}

pub(crate) async fn names_are_found_by_pattern(world: World) {
    for name in ["a.b.c", "a.b.d", "a.x.c", "b.b.c"] {
        let bucket = Bucket::Welcomes;
        world.a.write(bucket, name, Bytes::new(), 0).await.unwrap();
    }
    let other = Bytes::new();
    world
        .a
        .write(Bucket::Packages, "a.b.e", other, 0)
        .await
        .unwrap();
    for (pattern, expected) in [
        ("a.b.c", &["a.b.c"][..]),
        ("a.b.*", &["a.b.c", "a.b.d"]),
        ("a.>", &["a.b.c", "a.b.d", "a.x.c"]),
        ("*.*.c", &["a.b.c", "a.x.c", "b.b.c"]),
        ("c.>", &[]),
    ] {
        let mut names = world.b.names(Bucket::Welcomes, pattern).await.unwrap();
        names.sort();
        assert_eq!(names, expected, "{pattern}");
    }
}

pub(crate) async fn what_cannot_be_stored_is_refused(world: World) {
    let refused = [
        ("name", BLOB + 1),
        ("a b", 1),
        ("a..b", 1),
        ("", 1),
        ("a.>", 1),
    ];
    for (name, size) in refused {
        let value = vec![0; size].into();
        let result = world.a.write(Bucket::Packages, name, value, 0).await;
        assert!(
            matches!(result, Err(Error::Unusable(_))),
            "{name}: {result:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_nobody_writes_again_ends() {
    let (bus, bucket) = (Hub::default().connect(), Bucket::Packages);
    let write = async |expected| bus.write(bucket, "x", Bytes::new(), expected).await;
    let first = write(0).await.unwrap();
    advance(KEPT - Duration::from_secs(1)).await;
    write(first).await.unwrap();
    advance(KEPT - Duration::from_secs(1)).await;
    assert!(bus.read(bucket, "x").await.unwrap().is_some());
    advance(Duration::from_secs(1)).await;
    assert_eq!(bus.read(bucket, "x").await.unwrap(), None);
    write(0).await.unwrap();
}
