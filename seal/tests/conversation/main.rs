//! Devices as their hosts run them, against a room with its writer: how they come in, what is said
//! meanwhile, and what is left after a crash between any two effects.

mod away;
mod hidden;
mod host;
mod later;
mod liar;
mod put_back;
mod shared;
#[path = "../world/mod.rs"]
mod world;

use host::Host;
use seal::conversation::{Conversation, Effect, MOST_WAITING, Outgoing, Question, Show};
use seal::member::{Error, How, Shown};
use seal::rules::JoinPolicy;
use seal::{Identity, Shelf};
use std::collections::BTreeMap;
use world::{Entry, Random, Server, now, room};

fn settle(server: &mut Server, hosts: &mut [Host]) {
    while hosts.iter_mut().any(|host| host.act(server)) {}
}

fn connected(users: &[&str], policy: JoinPolicy) -> (Server, Vec<Host>) {
    let mut server = Server::default();
    let mut hosts: Vec<_> = (1..)
        .zip(users)
        .map(|(seed, user)| Host::new(user, seed, policy))
        .collect();
    for host in &mut hosts {
        host.publish(&mut server);
        host.connect(&server);
        settle(&mut server, std::slice::from_mut(host));
    }
    settle(&mut server, &mut hosts);
    (server, hosts)
}

#[test]
fn who_is_not_invited_waits_until_somebody_adds_him_and_misses_nothing_from_then_on() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    assert!(hosts[0].is_in() && !hosts[1].is_in());
    // It says what is to be done, and no refusal that nothing can be done about.
    assert_eq!(hosts[1].shown, [Show::NotIn]);
    hosts[0].say("before");
    settle(&mut server, &mut hosts);
    let (harry, charly) = hosts.split_at_mut(1);
    assert!(harry[0].add(&mut server, &charly[0]));
    // What is said at once after it is for him, too, though he hears it before he knows.
    harry[0].say("after");
    while harry[0].act(&mut server) {}
    settle(&mut server, &mut hosts);
    hosts[1].say("thanks");
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[0].said(), ["before", "after", "thanks"]);
    assert_eq!(hosts[1].said(), ["after", "thanks"]);
    assert!(hosts.iter().all(|host| host.conversation.is_settled()));
}

#[test]
fn a_welcome_that_comes_later_than_its_commit_is_found() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    let (harry, charly) = hosts.split_at_mut(1);
    assert!(harry[0].add(&mut server, &charly[0]));
    while harry[0].act(&mut server) {}
    // The writer hands it over when it has stored the commit; members hear of that before.
    let late = std::mem::take(&mut server.waiting);
    assert!(!late.is_empty());
    while charly[0].act(&mut server) {}
    assert!(!charly[0].is_in());
    let base = now();
    assert_eq!(asks_until(&mut charly[0].conversation, base, 10), 3);
    server.waiting = late;
    for later in 11..60 {
        let effects = charly[0].conversation.tick(base + later);
        charly[0].effects.extend(effects);
        while charly[0].act(&mut server) {}
    }
    assert!(charly[0].is_in());
}

/// It was added with a key package from before it lost its state. It is in the group, but the
/// welcome is of no use to it.
#[test]
fn who_waits_outside_and_is_added_by_a_welcome_that_it_cannot_open_comes_in_by_itself() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    let (harry, charly) = hosts.split_at_mut(1);
    let old = server.claim(&charly[0].person.user, &charly[0].person.device);
    charly[0].stored = Shelf::default();
    charly[0].crash();
    charly[0].connect(&server);
    while charly[0].act(&mut server) {}
    assert_eq!(charly[0].shown.last(), Some(&Show::NotIn));
    let person = charly[0].person.person();
    let added = harry[0].conversation.add(&person, &[old], now()).unwrap();
    harry[0].effects.extend(added);
    settle(&mut server, &mut hosts);
    assert!(hosts[1].is_in(), "{:?}", hosts[1].shown);
}

#[test]
fn who_waits_outside_asks_now_and_then() {
    let (_server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    let asked = asks_until(&mut hosts[1].conversation, now(), 600);
    assert!((20..40).contains(&asked), "{asked}");
}

/// How often it asks for a welcome, which is not there, in so many seconds.
fn asks_until(conversation: &mut Conversation, base: u64, seconds: u64) -> usize {
    let mut asks = |later: u64| {
        let effects = conversation.tick(base + later);
        let is_asked = matches!(effects[..], [Effect::AskWelcome]);
        if is_asked {
            conversation.welcome(None, base + later);
        }
        is_asked
    };
    (1..=seconds).map(&mut asks).filter(|asked| *asked).count()
}

/// The answer of another node may be of before what this device has read; what overtook it is not
/// heard again. So it is after a purge, too.
#[test]
fn who_comes_back_with_a_state_that_was_overtaken_asks_again() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    let old = server.delivery().reentry();
    hosts[1].disconnect();
    let mut hermione = Host::new("hermione", 3, JoinPolicy::Open);
    hermione.connect(&server);
    while hermione.act(&mut server) {}
    let charly = &mut hosts[1];
    charly.connect(&server);
    let effects = charly.conversation.missed(now());
    charly.next = server.journal.len() as u64 + 1;
    charly.effects.extend(effects);
    while !matches!(charly.effects.front(), Some(Effect::AskGroup)) {
        assert!(charly.act(&mut server), "it asks: {:?}", charly.shown);
    }
    charly.effects.pop_front();
    let (info, tree) = &old;
    let effects = charly.conversation.group(Some((info, tree)), now());
    charly.effects.extend(effects);
    while charly.act(&mut server) {}
    assert!(!charly.is_in(), "somebody was faster");
    let base = now();
    for later in 1..10 {
        let effects = charly.conversation.tick(base + later);
        charly.effects.extend(effects);
        while charly.act(&mut server) {}
    }
    assert!(charly.is_in(), "{:?}", charly.shown);
}

#[test]
fn into_an_open_room_everybody_comes_by_himself() {
    let users = ["harry", "charly", "hermione"];
    let (mut server, mut hosts) = connected(&users, JoinPolicy::Open);
    assert!(hosts.iter().all(Host::is_in));
    hosts[2].say("hello");
    settle(&mut server, &mut hosts);
    assert!(hosts.iter().all(|host| host.said() == ["hello"]));
    let codes = hosts
        .iter()
        .map(|host| host.conversation.member().room_code(&room()));
    let codes: Vec<_> = codes.collect();
    assert!(
        codes
            .windows(2)
            .all(|two| two[0].is_some() && two[0] == two[1])
    );
}

#[test]
fn who_may_not_found_the_group_waits_for_whoever_made_the_room() {
    let mut server = Server::default();
    let mut hosts = vec![
        Host::new("harry", 1, JoinPolicy::Open),
        Host::new("charly", 2, JoinPolicy::Open),
    ];
    hosts[1].may_found = false;
    hosts[1].connect(&server);
    settle(&mut server, &mut hosts);
    assert!(!hosts[1].is_in() && hosts[1].shown == [Show::NotFounded]);
    hosts[0].connect(&server);
    settle(&mut server, &mut hosts);
    assert!(hosts.iter().all(Host::is_in));

    // Nobody comes: it tries again, and not before a minute is over.
    let mut server = Server::default();
    let mut hosts = vec![Host::new("kim", 3, JoinPolicy::Open)];
    hosts[0].may_found = false;
    hosts[0].connect(&server);
    settle(&mut server, &mut hosts);
    hosts[0].may_found = true;
    let since = now();
    for (later, is_in) in [(30, false), (61, true)] {
        let effects = hosts[0].conversation.tick(since + later);
        hosts[0].effects.extend(effects);
        settle(&mut server, &mut hosts);
        assert_eq!(hosts[0].is_in(), is_in, "after {later} s");
    }
}

#[test]
fn a_change_that_was_refused_is_not_made_again_at_once() {
    let (_, mut hosts) = connected(&["harry"], JoinPolicy::Open);
    let conversation = &mut hosts[0].conversation;
    let later = now() + 8 * 86_400;
    let mut renews = |at| {
        let effects = conversation.tick(at);
        let sent = effects.iter().find_map(|effect| match effect {
            Effect::Send(number, Outgoing::Handshake(_)) => Some(*number),
            _ => None,
        });
        if let Some(number) = sent {
            conversation.answered(number, Err("barred"), at);
        }
        sent.is_some()
    };
    assert!(renews(later));
    assert!(!renews(later + 5) && !renews(later + 599));
    assert!(renews(later + 600));
}

#[test]
fn who_had_to_wait_outside_removes_who_leaves_soon_after() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    settle(&mut server, &mut hosts);
    let (harry, charly) = hosts.split_at_mut(1);
    assert!(!charly[0].is_in(), "he asked, and was refused");
    assert!(harry[0].add(&mut server, &charly[0]));
    settle(&mut server, &mut hosts);
    let left = hosts[0].conversation.leave(now()).unwrap();
    hosts[0].effects.extend(left);
    settle(&mut server, &mut hosts);
    let effects = hosts[1].conversation.tick(now() + 1);
    hosts[1].effects.extend(effects);
    settle(&mut server, &mut hosts);
    let delivery = server.delivery.as_ref().unwrap();
    assert_eq!(delivery.members().count(), 1);
}

/// Its program goes on, or is started again.
#[test]
fn who_has_left_is_asked_before_coming_back_and_then_is_let_in_again() {
    for is_started_again in [false, true] {
        let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
        let (harry, charly) = hosts.split_at_mut(1);
        assert!(harry[0].add(&mut server, &charly[0]));
        settle(&mut server, &mut hosts);
        assert_eq!(hosts[1].came(), [How::LetIn]);
        hosts[1].asks = true;
        let left = hosts[1].conversation.leave(now()).unwrap();
        hosts[1].effects.extend(left);
        settle(&mut server, &mut hosts);
        if is_started_again {
            hosts[1].crash();
            hosts[1].connect(&server);
            settle(&mut server, &mut hosts);
            assert_eq!(hosts[1].shown.pop(), Some(Show::Ask(Question::Left)));
        }
        let tidied = hosts[0].conversation.tick(now());
        hosts[0].effects.extend(tidied);
        settle(&mut server, &mut hosts);
        let (harry, charly) = hosts.split_at_mut(1);
        assert!(harry[0].add(&mut server, &charly[0]));
        settle(&mut server, &mut hosts);
        hosts[0].say("come back");
        settle(&mut server, &mut hosts);
        let by = hosts[0].conversation.member().members(&room()).remove(0);
        let asked = Show::Ask(Question::Invited(by));
        let asks = hosts[1].shown.iter().filter(|show| **show == asked);
        assert_eq!((asks.count(), hosts[1].is_in()), (1, false));
        let agreed = hosts[1].conversation.agree(now());
        hosts[1].effects.extend(agreed);
        settle(&mut server, &mut hosts);
        assert!(hosts[1].is_in(), "{:?}", hosts[1].shown);
        assert_eq!(hosts[1].came().last(), Some(&How::LetInAgain));
        assert_eq!(hosts[1].said(), ["come back"]);
    }
}

#[test]
fn who_has_left_an_open_group_comes_in_again_when_the_user_says_so() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    hosts[1].asks = true;
    let left = hosts[1].conversation.leave(now()).unwrap();
    hosts[1].effects.extend(left);
    settle(&mut server, &mut hosts);
    hosts[1].crash();
    hosts[1].connect(&server);
    settle(&mut server, &mut hosts);
    assert!(!hosts[1].is_in());
    let agreed = hosts[1].conversation.agree(now());
    hosts[1].effects.extend(agreed);
    settle(&mut server, &mut hosts);
    assert!(hosts[1].is_in(), "{:?}", hosts[1].shown);
}

#[test]
fn a_revoked_device_is_told_so_and_by_whom_it_can_be_allowed() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    let mut phone = Host::with_device("harry", 1, "laptop", JoinPolicy::Invited);
    phone.publish(&mut server);
    phone.connect(&server);
    hosts.push(phone);
    settle(&mut server, &mut hosts);
    assert!(hosts[2].is_in(), "one more device of the same person");
    let identity = Identity::from_seed(&hosts[0].person.identity.seed());
    let device = hosts[2].person.device.clone();
    let revoked = hosts[0].conversation.revoke(&identity, &device, now());
    hosts[0].effects.extend(revoked.unwrap());
    settle(&mut server, &mut hosts);
    let is_revoked = |show: &Show| match show {
        Show::Room { what, .. } => matches!(
            what,
            Shown::Leaving {
                is_revoked: true,
                ..
            }
        ),
        _ => false,
    };
    assert!(
        hosts[2].shown.iter().any(is_revoked),
        "{:?}",
        hosts[2].shown
    );
    let effects = hosts[0].conversation.tick(now() + 61);
    hosts[0].effects.extend(effects);
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[2].shown.last(), Some(&Show::Revoked));
    // Whoever adds them is told which device does not come in, and why.
    let packages = ["phone", "laptop"].map(|device| {
        let key = (String::from("harry"), String::from(device));
        server.packages[&key].1.clone()
    });
    let person = hosts[0].person.person();
    let added = hosts[0]
        .conversation
        .add(&person, &packages, now())
        .map(drop);
    assert_eq!(added, Err(Error::Unlisted(vec![device.clone()])));
    let is_refused = |show: &Show| matches!(show, Show::Refused { .. });
    assert!(
        !hosts[2].shown.iter().any(is_refused),
        "{:?}",
        hosts[2].shown
    );
}

#[test]
fn who_says_more_than_can_wait_is_told_so_and_not_that_a_change_is_under_way() {
    let mut host = Host::new("harry", 1, JoinPolicy::Open);
    for n in 0..MOST_WAITING {
        host.say(&format!("{n}"));
    }
    let more = host.conversation.say(b"more", now()).map(drop);
    assert_eq!(more, Err(Error::Full));
}

#[test]
fn who_was_away_reads_on_where_he_was() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    hosts[1].disconnect();
    for text in ["one", "two", "three"] {
        hosts[0].say(text);
        settle(&mut server, &mut hosts);
    }
    hosts[1].crash();
    hosts[1].connect(&server);
    hosts[1].say("four");
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[1].said(), ["one", "two", "three", "four"]);
}

#[test]
fn two_who_found_a_room_at_once_are_in_one() {
    let mut server = Server::default();
    let mut hosts = vec![
        Host::new("harry", 1, JoinPolicy::Open),
        Host::new("charly", 2, JoinPolicy::Open),
    ];
    hosts.iter_mut().for_each(|host| host.connect(&server));
    // Both have learnt that there is none.
    for host in &mut hosts {
        while !matches!(host.effects.front(), Some(Effect::Send(..))) {
            assert!(host.act(&mut server));
        }
    }
    settle(&mut server, &mut hosts);
    hosts[0].say("hello");
    settle(&mut server, &mut hosts);
    assert!(
        hosts.iter().all(|host| host.said() == ["hello"]),
        "{:?}",
        hosts[1].shown
    );
}

/// The clock of the device is wrong, so that its keys do not count: another founding is as bad.
#[test]
fn a_founding_that_is_refused_is_not_made_again_and_again() {
    let mut host = Host::new("harry", 1, JoinPolicy::Open);
    let (mut foundings, base) = (0, now());
    let mut effects = host.conversation.connected(0, base);
    for later in 0..60 {
        while let Some(effect) = effects.pop() {
            effects.extend(match effect {
                Effect::AskWelcome => host.conversation.welcome(None, base + later),
                Effect::AskGroup => host.conversation.group(None, base + later),
                Effect::Send(number, _) => {
                    foundings += 1;
                    assert!(foundings < 20, "after {later} s");
                    let refused = Err("bad_bundle");
                    host.conversation.answered(number, refused, base + later)
                }
                _ => Vec::new(),
            });
        }
        effects = host.conversation.tick(base + later);
    }
    assert!(foundings > 3);
}

/// Its answer and the event of whoever was faster come in either order, and it may not be the one
/// who may found the group at all.
#[test]
fn who_founds_a_room_later_than_another_is_in_and_has_said_what_waited() {
    let orders = [(false, true), (false, false), (true, true), (true, false)];
    for (event_first, may_found) in orders {
        let mut server = Server::default();
        let mut hosts = vec![
            Host::new("harry", 1, JoinPolicy::Open),
            Host::new("charly", 2, JoinPolicy::Open),
        ];
        hosts[1].may_found = may_found;
        for host in &mut hosts {
            host.connect(&server);
            host.say("hello");
            while !matches!(host.effects.front(), Some(Effect::Send(..))) {
                assert!(host.act(&mut server));
            }
        }
        while hosts[0].act(&mut server) {}
        let charly = &mut hosts[1];
        let send = charly.effects.pop_front().expect("its founding");
        charly.effect(send, &mut server);
        let late = charly.answers.pop_front();
        while event_first && charly.act(&mut server) {}
        charly.answers.extend(late);
        settle(&mut server, &mut hosts);
        let what = (event_first, may_found, &hosts[1].shown);
        assert_eq!(hosts[0].said(), ["hello", "hello"], "{what:?}");
        let is_needless = |show: &Show| {
            matches!(
                show,
                Show::Room {
                    what: Shown::Dropped,
                    ..
                }
            )
        };
        assert!(!hosts[1].shown.iter().any(is_needless), "{what:?}");
    }
}

#[test]
fn what_a_crash_leaves_goes_on_wherever_it_happens() {
    // The first device founds the room and says something; a crash after each effect of it.
    for crash_after in 0..30 {
        let mut server = Server::default();
        let mut hosts = vec![Host::new("harry", 1, JoinPolicy::Open)];
        hosts[0].connect(&server);
        hosts[0].say("hello");
        for _ in 0..crash_after {
            hosts[0].act(&mut server);
        }
        hosts[0].crash();
        hosts[0].connect(&server);
        settle(&mut server, &mut hosts);
        assert!(
            hosts[0].is_in(),
            "after {crash_after}: {:?}",
            hosts[0].shown
        );
        hosts[0].say("again");
        settle(&mut server, &mut hosts);
        let messages = server.journal.iter();
        let messages = messages.filter(|entry| matches!(entry, Entry::Message { .. }));
        assert!(messages.count() <= 2, "after {crash_after}");
        assert_eq!(
            hosts[0].said().last(),
            Some(&"again"),
            "after {crash_after}"
        );
    }
}

/// Everybody says things, is away, comes back, and crashes; one is added and removed.
fn schedule(seed: u64) {
    let mut random = Random(seed);
    let (mut server, mut hosts) = connected(&["harry", "charly", "hermione"], JoinPolicy::Open);
    let mut texts: BTreeMap<String, usize> = BTreeMap::new();
    for step in 0..120 {
        let at = random.below(hosts.len());
        match random.below(20) {
            0 => hosts[at].disconnect(),
            1 => {
                // Nothing of its own may be undecided, and nothing on its way to the screen: that a
                // crash may lose.
                if hosts[at].conversation.is_settled() && hosts[at].effects.is_empty() {
                    hosts[at].crash();
                }
            }
            2..4 if hosts[at].next == 0 => hosts[at].connect(&server),
            4..8 => {
                let text = format!("{seed}-{step}");
                hosts[at].say(&text);
                texts.insert(text, at);
            }
            8 => {
                let other = ["harry", "charly", "hermione"][random.below(3)];
                hosts[at].remove(other);
            }
            9 => {
                let effects = hosts[at].conversation.tick(now() + 8 * 24 * 3600);
                hosts[at].effects.extend(effects);
            }
            _ => {
                for _ in 0..=random.below(11) {
                    hosts[at].act(&mut server);
                }
            }
        }
    }
    for _ in 0..4 {
        for host in &mut hosts {
            host.disconnect();
            host.connect(&server);
        }
        settle(&mut server, &mut hosts);
    }
    for host in &hosts {
        let what = (seed, host.person.user.as_str());
        assert!(host.is_in(), "{what:?}: {:?}", host.shown.last());
        assert!(host.conversation.is_settled(), "{what:?}");
        // Nothing is shown twice, and everything in the room's order.
        assert!(
            host.said.windows(2).all(|two| two[0].0 < two[1].0),
            "{what:?}: {:?}",
            host.said
        );
    }
    let mut places = BTreeMap::new();
    for (seq, text) in hosts.iter().flat_map(|host| &host.said) {
        places.entry(text.as_str()).or_insert(*seq);
        assert_eq!(
            places[text.as_str()],
            *seq,
            "{seed}: one text has one place"
        );
    }
    // Whoever said something sees it in the room, or that it is not.
    for (text, at) in &texts {
        let is_refused = hosts[*at].shown.iter().any(|shown| match shown {
            Show::Refused { content, .. } => content
                .as_ref()
                .is_some_and(|content| content.0 == text.as_bytes()),
            _ => false,
        });
        let is_said = hosts[*at].said().contains(&text.as_str());
        assert!(
            is_said != is_refused,
            "{seed}: {text}: said {is_said}, refused {is_refused}"
        );
    }
}

#[test]
fn whatever_happens_everybody_is_in_at_the_end_and_nothing_is_said_twice() {
    (0..25).for_each(schedule);
}
