//! What comes later than it should, or is there for too long.

use super::host::Host;
use super::world::now;
use super::world::room;
use super::{connected, settle};
use seal::Shelf;
use seal::conversation::{Effect, Show};
use seal::rules::JoinPolicy;

/// A server hides a change for a while. Meanwhile something of the epoch before is read, which is
/// behind the change.
#[test]
fn a_change_that_was_hidden_is_read_when_the_server_shows_it_again() {
    let (mut server, mut hosts) = connected(&["harry", "charly", "kim"], JoinPolicy::Open);
    settle(&mut server, &mut hosts);
    hosts[2].say("before");
    let commit = server.journal.len() as u64 + 2;
    settle(&mut server, &mut hosts[2..]);
    settle(&mut server, &mut hosts);
    let effects = hosts[0].conversation.tick(now() + 8 * 86_400);
    hosts[0].effects.extend(effects);
    hosts[1].hidden = Some(commit);
    // Kim has not heard of it either, and says something in the epoch before.
    settle(&mut server, &mut hosts[..1]);
    hosts[2].say("in the epoch before");
    let said = hosts[2].effects.len();
    assert!(said > 0);
    while !hosts[2].effects.is_empty() {
        let effect = hosts[2].effects.pop_front().unwrap();
        hosts[2].effect(effect, &mut server);
    }
    settle(&mut server, &mut hosts[..1]);
    hosts[0].say("in the new one");
    settle(&mut server, &mut hosts);
    let said = ["before", "in the epoch before"];
    assert_eq!(hosts[1].said(), said, "{:?}", hosts[1].shown);
    // It asks again each minute, if something is missing still.
    hosts[1].hidden = None;
    hosts[0].say("one more");
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[1].said(), said);
    hosts[1].later = 61;
    hosts[0].say("and one");
    settle(&mut server, &mut hosts);
    let mut said: Vec<_> = hosts[1].said();
    said.sort_unstable();
    let mut all = hosts[0].said();
    all.sort_unstable();
    assert_eq!(said, all);
    let codes = hosts.iter();
    let codes = codes.map(|host| host.conversation.member().room_code(&room()));
    let codes: Vec<_> = codes.collect();
    assert_eq!(codes[0], codes[1]);
}

#[test]
fn key_packages_that_are_too_old_go_by_themselves() {
    let mut host = Host::new("harry", 1, JoinPolicy::Open);
    let step = host.conversation.member_mut().publish(3, now()).unwrap();
    let mut shelf = Shelf::default();
    shelf.store(step.changes).unwrap();
    let gone_at = |host: &mut Host, at| {
        let effects = host.conversation.tick(at).into_iter();
        let changes = effects.filter_map(|effect| match effect {
            Effect::Store(changes) => Some(changes),
            _ => None,
        });
        changes.map(|changes| changes.delete().len()).sum::<usize>()
    };
    assert_eq!(gone_at(&mut host, now() + 83 * 86_400), 0);
    // What each of the four consists of.
    assert!(gone_at(&mut host, now() + 85 * 86_400) >= 4);
    assert_eq!(gone_at(&mut host, now() + 85 * 86_400), 0);
}

/// Two members could not process a commit of a third one.
#[test]
fn who_comes_to_an_open_group_that_takes_in_nobody_now_knows_it_and_tries_again() {
    let (mut server, mut hosts) = connected(&["harry", "charly", "kim"], JoinPolicy::Open);
    for reporter in [0, 1] {
        let delivery = server.delivery.as_mut().unwrap();
        let by = hosts[reporter].person.proven();
        let leaf = delivery.decide_report(delivery.epoch(), &by).unwrap();
        delivery.apply_report(leaf, now());
    }
    let mut hermione = Host::new("hermione", 4, JoinPolicy::Open);
    hermione.publish(&mut server);
    hermione.connect(&server);
    hosts.push(hermione);
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[3].shown, [Show::Shut]);
    let since = now();
    let mut tried_by = |hosts: &mut Vec<Host>, later: u64| {
        let effects = hosts[3].conversation.tick(since + later);
        hosts[3].effects.extend(effects);
        settle(&mut server, hosts);
        hosts[3].shown.len()
    };
    assert_eq!(tried_by(&mut hosts, 595), 1);
    assert_eq!(tried_by(&mut hosts, 605), 2, "once more, and refused again");
    let (harry, others) = hosts.split_at_mut(1);
    assert!(harry[0].add(&mut server, &others[2]));
    settle(&mut server, &mut hosts);
    assert!(hosts[3].is_in(), "{:?}", hosts[3].shown);
}
