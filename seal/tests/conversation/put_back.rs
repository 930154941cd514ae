//! A service that was put back to before, under devices that have read more.

use super::host::Host;
use super::world::{Entry, now};
use super::{connected, settle};
use seal::Delivery;
use seal::rules::JoinPolicy;

/// Places are given again below what devices have read.
#[test]
fn who_has_read_more_than_the_service_has_comes_back_by_one_change() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    let (backup, length) = (server.delivery().snapshot(), server.journal.len());
    for n in 0..6 {
        hosts[n % 2].say(&format!("text {n}"));
        settle(&mut server, &mut hosts);
    }
    server.delivery = Some(Delivery::restore(&backup).unwrap());
    server.journal.truncate(length);
    server.taken.clear();
    for host in &mut hosts {
        host.disconnect();
        host.connect(&server);
        // What it is sent from the beginning on, as nothing of its place is known.
        host.next = 1;
        let effects = host.conversation.missed(now());
        host.effects.extend(effects);
    }
    settle(&mut server, &mut hosts);
    assert!(hosts.iter().all(Host::is_in));
    let changes = server.journal[length..].iter();
    let changes = changes.filter(|entry| matches!(entry, Entry::Commit(_)));
    assert_eq!(changes.count(), 2, "one each");
    hosts[0].say("again");
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[1].said().last(), Some(&"again"));
    assert!(hosts.iter().all(|host| host.conversation.is_settled()));
}
