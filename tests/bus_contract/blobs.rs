//! Larger values by name.

use crate::world::World;
use bytes::Bytes;
use safe_chat::bus::{BLOB, Error};

pub(crate) async fn a_blob_is_replaced_by_revision(world: World) {
    let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
    assert_eq!(world.a.get("lobby.0").await.unwrap(), None);
    let first = world.a.put("lobby.0", one.clone(), 0).await.unwrap();
    assert_eq!(
        world.b.get("lobby.0").await.unwrap(),
        Some((one.clone(), first))
    );
    assert!(matches!(
        world.b.put("lobby.0", two.clone(), 0).await,
        Err(Error::Conflict(_))
    ));
    let second = world.b.put("lobby.0", two.clone(), first).await.unwrap();
    assert!(matches!(
        world.a.put("lobby.0", one, first).await,
        Err(Error::Conflict(_))
    ));
    assert_eq!(world.a.get("lobby.0").await.unwrap(), Some((two, second)));
    assert_eq!(world.a.get("lobby.1").await.unwrap(), None);
}

pub(crate) async fn a_blob_of_any_permitted_size_is_kept(world: World) {
    for size in [0, 1, BLOB] {
        let value = Bytes::from((0..size).map(|n| n as u8).collect::<Vec<_>>());
        let revision = world
            .a
            .put(&format!("size-{size}"), value.clone(), 0)
            .await
            .unwrap();
        assert_eq!(
            world.b.get(&format!("size-{size}")).await.unwrap(),
            Some((value, revision))
        );
    }
}

pub(crate) async fn a_blob_that_cannot_be_kept_is_refused(world: World) {
    let refused = [
        ("name", BLOB + 1),
        ("a b", 1),
        ("a..b", 1),
        ("", 1),
        ("a.>", 1),
    ];
    for (name, size) in refused {
        let result = world.a.put(name, vec![0; size].into(), 0).await;
        assert!(
            matches!(result, Err(Error::Unusable(_))),
            "{name}: {result:?}"
        );
    }
}

pub(crate) async fn copies_alone_are_read_by_whoever_owns_nothing(world: World) {
    let (copy, other) = ("copies.lobby.0", "snapshot.lobby.0");
    assert_eq!(world.b.peek(copy).await.unwrap(), None);
    for name in [copy, other] {
        world.a.put(name, "said".into(), 0).await.unwrap();
    }
    let found = world.b.peek(copy).await.unwrap();
    assert_eq!(found, Some(Bytes::from_static(b"said")));
    let refused = world.b.peek(other).await;
    assert!(matches!(refused, Err(Error::Unusable(_))), "{refused:?}");
}
