//! A service that was put back to before, under devices that have read more.

use super::host::Host;
use super::world::{Entry, Server, now};
use super::{connected, settle};
use seal::Delivery;
use seal::conversation::Show;
use seal::rules::JoinPolicy;

/// Every device comes back to a service that is as it was at the backup.
fn put_back(server: &mut Server, hosts: &mut [Host], (backup, length): (&[u8], usize)) {
    server.delivery = Some(Delivery::restore(backup).unwrap());
    server.journal.truncate(length);
    server.taken.clear();
    for host in hosts.iter_mut() {
        host.disconnect();
        host.connect(server);
        // What it is sent from the beginning on, as nothing of its place is known.
        host.next = 1;
        let effects = host.conversation.missed(now());
        host.effects.extend(effects);
    }
    settle(server, hosts);
}

/// Lets so many seconds pass.
fn wait(server: &mut Server, hosts: &mut [Host], seconds: u64) {
    for at in 1..seconds {
        for host in hosts.iter_mut() {
            let effects = host.conversation.tick(now() + at);
            host.effects.extend(effects);
        }
        settle(server, hosts);
    }
}

/// Whoever is asked something says yes.
fn agree(server: &mut Server, hosts: &mut [Host]) {
    for host in hosts
        .iter_mut()
        .filter(|host| host.conversation.is_asking())
    {
        let effects = host.conversation.agree(now());
        host.effects.extend(effects);
    }
    settle(server, hosts);
}

/// The state of now is one whose end all of them have seen, and one of them is not in it.
#[test]
fn a_group_that_is_as_it_was_before_is_entered_by_who_agrees() {
    const ANN: usize = 2;
    let users = ["harry", "charly", "ann", "kim"];
    let (mut server, mut hosts) = connected(&users, JoinPolicy::Invited);
    let adds = |server: &mut Server, hosts: &mut [Host], who: usize| {
        let (harry, others) = hosts.split_at_mut(1);
        assert!(harry[0].add(server, &others[who - 1]));
        settle(server, hosts);
    };
    adds(&mut server, &mut hosts, 1);
    let (backup, length) = (server.delivery().snapshot(), server.journal.len());
    for who in [ANN, 3] {
        adds(&mut server, &mut hosts, who);
    }
    hosts[0].remove("kim");
    settle(&mut server, &mut hosts);
    assert!(hosts[..3].iter().all(Host::is_in));

    hosts.iter_mut().for_each(|host| host.asks = true);
    put_back(&mut server, &mut hosts, (&backup, length));
    assert!(!hosts.iter().any(Host::is_in), "not unasked");
    hosts[ANN].say("am I there?");
    agree(&mut server, &mut hosts[..2]);
    assert!(hosts[..2].iter().all(Host::is_in));
    // Who came since then is outside, and knows it.
    agree(&mut server, &mut hosts);
    assert!(!hosts[ANN].is_in() && hosts[ANN].shown.contains(&Show::NotIn));
    hosts[0].say("here again");
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[1].said().last(), Some(&"here again"));
    // The welcome is of an epoch that it has seen the end of.
    adds(&mut server, &mut hosts, ANN);
    wait(&mut server, &mut hosts, 700);
    agree(&mut server, &mut hosts);
    assert!(hosts[ANN].is_in());
    assert_eq!(hosts[0].said().last(), Some(&"am I there?"));
    assert!(hosts.iter().all(|host| host.conversation.is_settled()));
}

/// A session goes on without a word, and what is said is refused.
#[test]
fn who_is_not_in_the_group_as_it_was_before_finds_that_out() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    let backup = server.delivery().snapshot();
    let (harry, others) = hosts.split_at_mut(1);
    assert!(harry[0].add(&mut server, &others[0]));
    settle(&mut server, &mut hosts);
    server.delivery = Some(Delivery::restore(&backup).unwrap());
    hosts[1].say("am I there?");
    settle(&mut server, &mut hosts);
    let refused = |show: &Show| matches!(show, Show::Refused { .. });
    assert!(!hosts[1].shown.iter().any(refused), "it waits");
    assert!(!hosts[1].conversation.is_settled());
    wait(&mut server, &mut hosts, 700);
    assert!(!hosts[1].is_in() && hosts[1].shown.contains(&Show::NotIn));
}

/// Places are given again below what devices have read.
#[test]
fn who_has_read_more_than_the_service_has_comes_back_by_one_change() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    let (backup, length) = (server.delivery().snapshot(), server.journal.len());
    for n in 0..6 {
        hosts[n % 2].say(&format!("text {n}"));
        settle(&mut server, &mut hosts);
    }
    put_back(&mut server, &mut hosts, (&backup, length));
    assert!(hosts.iter().all(Host::is_in));
    let changes = server.journal[length..].iter();
    let changes = changes.filter(|entry| matches!(entry, Entry::Commit(_)));
    assert_eq!(changes.count(), 2, "one each");
    hosts[0].say("again");
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[1].said().last(), Some(&"again"));
    assert!(hosts.iter().all(|host| host.conversation.is_settled()));
}
