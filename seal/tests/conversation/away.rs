//! A device that is out of the group: what it has on its way, and what it is asked before it makes
//! another one.

use super::host::Host;
use super::world::{Entry, Server, now, room};
use super::{connected, settle};
use seal::Identity;
use seal::conversation::{Question, Show, Waits, in_vain};
use seal::member::Shown;
use seal::rules::JoinPolicy;

/// What of this device's nobody can read, as it is told.
fn unread(host: &Host) -> Vec<(u64, &str)> {
    let shown = host.shown.iter();
    let unread = shown.filter_map(|show| match show {
        Show::Unread {
            seq,
            content: Some(content),
        } => Some((*seq, std::str::from_utf8(&content.0).unwrap())),
        _ => None,
    });
    unread.collect()
}

/// Harry with a telephone and a laptop, which has said something and is revoked at that moment.
fn revoked_while_it_says(texts: &[&str]) -> (Server, Vec<Host>) {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    let mut laptop = Host::with_device("harry", 1, "laptop", JoinPolicy::Open);
    laptop.connect(&server);
    hosts.push(laptop);
    settle(&mut server, &mut hosts);
    for text in texts {
        hosts[2].say(text);
    }
    let identity = Identity::from_seed(&hosts[0].person.identity.seed());
    let device = hosts[2].person.device.clone();
    let revoked = hosts[0].conversation.revoke(&identity, &device, now());
    hosts[0].effects.extend(revoked.unwrap());
    settle(&mut server, &mut hosts[..2]);
    let effects = hosts[0].conversation.tick(now() + 61);
    hosts[0].effects.extend(effects);
    settle(&mut server, &mut hosts[..2]);
    assert!(matches!(server.journal.last(), Some(Entry::Commit(_))));
    (server, hosts)
}

#[test]
fn what_a_removed_device_had_on_its_way_is_told_once_as_read_by_nobody() {
    let texts = ["one", "two", "three"];
    // The answers come before all that happened meanwhile, or after it.
    for is_late in [false, true] {
        let (mut server, mut hosts) = revoked_while_it_says(&texts);
        let first = server.journal.len() as u64 + 1;
        while let Some(effect) = hosts[2].effects.pop_front() {
            hosts[2].effect(effect, &mut server);
        }
        assert_eq!(
            server.journal.len() as u64 + 1,
            first + 3,
            "the service takes them"
        );
        let late = match is_late {
            true => std::mem::take(&mut hosts[2].answers),
            false => Default::default(),
        };
        settle(&mut server, &mut hosts);
        hosts[2].answers.extend(late);
        settle(&mut server, &mut hosts);
        assert!(!hosts[2].is_in());
        assert!(hosts[2].said().is_empty(), "{:?}", hosts[2].said());
        let all: Vec<_> = (first..).zip(texts).collect();
        assert_eq!(unread(&hosts[2]), all);
        assert!(hosts[2].conversation.is_settled());
        assert!(hosts[..2].iter().all(|host| host.said().is_empty()));
        assert!(hosts[2].conversation.is_unread(first) && !hosts[2].conversation.is_unread(1));
    }
}

/// Its answers come when it is in again, and what they are about was seen by it while it was out.
#[test]
fn what_was_on_its_way_while_a_device_was_out_is_not_missing_once_it_is_in_again() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    hosts[1].say("late");
    while let Some(effect) = hosts[1].effects.pop_front() {
        hosts[1].effect(effect, &mut server);
    }
    let late = std::mem::take(&mut hosts[1].answers);
    let effects = hosts[1].conversation.missed(now());
    hosts[1].effects.extend(effects);
    settle(&mut server, &mut hosts);
    assert!(hosts[1].is_in());
    hosts[1].answers.extend(late);
    settle(&mut server, &mut hosts);
    let is_unseen = |show: &Show| matches!(show, Show::Unseen { .. });
    assert!(
        !hosts[1].shown.iter().any(is_unseen),
        "{:?}",
        hosts[1].shown
    );
    assert_eq!(hosts[1].said(), ["late"]);
}

#[test]
fn whoever_was_with_others_is_asked_before_another_group_is_made() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    hosts.iter_mut().for_each(|host| host.asks = true);
    // The service is another one: nothing of the room is there.
    server = Server {
        packages: server.packages,
        ..Server::default()
    };
    for host in &mut hosts {
        host.disconnect();
        host.connect(&server);
        host.next = 1;
        let effects = host.conversation.missed(now());
        host.effects.extend(effects);
        host.say("for those who were here");
    }
    settle(&mut server, &mut hosts);
    assert!(server.delivery.is_none() && server.journal.is_empty());
    for host in &hosts {
        assert_eq!(host.shown.last(), Some(&Show::Ask(Question::NoGroup)));
        assert_eq!(host.conversation.waits_for(), Some(Waits::Word));
    }
    let effects = hosts[0].conversation.agree(now());
    hosts[0].effects.extend(effects);
    settle(&mut server, &mut hosts);
    assert!(hosts[0].is_in() && hosts[0].said() == ["for those who were here"]);
    // The other one has not agreed to that group.
    assert!(!hosts[1].is_in() && hosts[1].said().is_empty());
    let another = Some(&Show::Ask(Question::AnotherGroup));
    assert_eq!(hosts[1].shown.last(), another);
}

#[test]
fn who_was_alone_makes_the_group_again_unasked() {
    let (_, mut hosts) = connected(&["harry"], JoinPolicy::Open);
    hosts[0].asks = true;
    let mut server = Server::default();
    hosts[0].disconnect();
    hosts[0].connect(&server);
    hosts[0].next = 1;
    let effects = hosts[0].conversation.missed(now());
    hosts[0].effects.extend(effects);
    settle(&mut server, &mut hosts);
    assert!(hosts[0].is_in());
}

/// Two programs with the same state put each other out.
#[test]
fn a_copy_of_a_device_beside_it_is_told_and_does_not_loop_without_end() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    let mut copy = Host::new("charly", 2, JoinPolicy::Open);
    copy.stored = hosts[1].stored.clone();
    copy.crash();
    copy.connect(&server);
    hosts.push(copy);
    hosts[2].say("from the copy");
    let before = server.journal.len();
    for later in 0..3600 * 6 {
        for host in &mut hosts {
            host.later = later;
            let effects = host.conversation.tick(now() + later);
            host.effects.extend(effects);
        }
        settle(&mut server, &mut hosts);
    }
    let changes = server.journal.len() - before;
    assert!((5..60).contains(&changes), "{changes}");
    for host in &hosts[1..] {
        let is_told = |show: &Show| match show {
            Show::InVain(why) => in_vain(why).contains("a copy of what it keeps"),
            _ => false,
        };
        assert!(host.shown.iter().any(is_told), "{:?}", host.shown);
        let accuses = |show: &Show| matches!(show, Show::InVain(why) if why.contains("service"));
        assert!(!host.shown.iter().any(accuses));
    }
    let is_out = |show: &Show| {
        let Show::Room { what, .. } = show else {
            return false;
        };
        matches!(what, Shown::Lost(_))
    };
    assert!(!hosts[0].shown.iter().any(is_out));
    assert!(hosts[0].conversation.member().is_in(&room()));
}
