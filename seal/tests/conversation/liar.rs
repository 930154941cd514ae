//! A server that is not honest: whatever it answers, a device asks it less and less often, says
//! what it sees, and does not have its user wait without a word.

use super::host::Host;
use super::world::{Entry, now, room};
use super::{connected, settle};
use seal::conversation::{Conversation, Effect, Outgoing, Show, Waits};
use seal::member::{Error, How, Shown};
use seal::rules::JoinPolicy;
use seal::{Handshake, Identity};

/// Answers that a server has at once within a second.
const QUICK: usize = 50;

/// Has a server answer whatever the device does, for so long, as fast as it can. What it sent, and
/// what it showed.
fn answered_for(
    conversation: &mut Conversation,
    seconds: u64,
    first: Vec<Effect>,
    answer: &mut dyn FnMut(&mut Conversation, Effect, u64) -> Vec<Effect>,
) -> (usize, Vec<Show>) {
    let (mut sent, mut shown, mut effects) = (0, Vec::new(), first);
    for at in (0..seconds).map(|later| now() + later) {
        effects.extend(conversation.tick(at));
        for _ in 0..QUICK {
            for effect in std::mem::take(&mut effects) {
                match effect {
                    Effect::Show(show) => shown.push(show),
                    effect => {
                        sent += usize::from(matches!(effect, Effect::Send(..)));
                        effects.extend(answer(conversation, effect, at));
                    }
                }
            }
        }
    }
    (sent, shown)
}

pub(super) fn tells_in_vain(shown: &[Show], of: &str) -> bool {
    let is_it = |show: &Show| matches!(show, Show::InVain(why) if why.contains(of));
    shown.iter().any(is_it)
}

#[test]
fn a_group_that_is_said_to_be_there_and_not_shown_is_not_founded_without_end() {
    let mut host = Host::new("harry", 1, JoinPolicy::Open);
    let first = host.conversation.connected(5, now());
    let mut answer = |conversation: &mut Conversation, effect, at| match effect {
        Effect::AskWelcome => conversation.welcome(None, at),
        Effect::AskGroup => conversation.group(None, at),
        Effect::Send(number, _) => conversation.answered(number, Err("stale_epoch"), at),
        _ => Vec::new(),
    };
    let (sent, shown) = answered_for(&mut host.conversation, 600, first, &mut answer);
    assert!((10..40).contains(&sent), "{sent}");
    assert!(tells_in_vain(&shown, "does not give it"), "{shown:?}");
}

#[test]
fn a_way_in_that_is_always_too_late_is_not_tried_without_end() {
    for shows_who in [false, true] {
        let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
        let (info, tree) = server.delivery().reentry();
        let effects = hosts[0].conversation.tick(now() + 8 * 86_400);
        hosts[0].effects.extend(effects);
        settle(&mut server, &mut hosts);
        let Some(Entry::Commit(newer)) = server.journal.last() else {
            panic!("harry renewed his keys");
        };
        let newer = Handshake::Bundle(seal::Bundle {
            commit: newer.clone(),
            welcome: None,
            group_info: Vec::new(),
        });
        let newer = Outgoing::Handshake(newer.encode());
        let mut kim = Host::new("kim", 3, JoinPolicy::Open);
        let mut seq = server.journal.len() as u64;
        let first = kim.conversation.connected(seq, now());
        let mut answer = |conversation: &mut Conversation, effect, at| match effect {
            Effect::AskWelcome => conversation.welcome(None, at),
            Effect::AskGroup => conversation.group(Some((&info, &tree)), at),
            Effect::Send(number, _) => {
                let mut effects = conversation.answered(number, Err("stale_epoch"), at);
                if shows_who {
                    seq += 1;
                    effects.extend(conversation.event(seq, Some(&newer), at));
                }
                effects
            }
            _ => Vec::new(),
        };
        let (sent, shown) = answered_for(&mut kim.conversation, 600, first, &mut answer);
        assert!((10..40).contains(&sent), "{shows_who}: {sent}");
        assert!(tells_in_vain(&shown, "each time"), "{shown:?}");
    }
}

#[test]
fn a_way_in_that_is_said_to_be_in_the_room_and_never_shown_is_not_waited_for_without_a_word() {
    let mut host = Host::new("harry", 1, JoinPolicy::Open);
    let mut seq = 5;
    let first = host.conversation.connected(seq, now());
    let mut answer = |conversation: &mut Conversation, effect, at| match effect {
        Effect::AskWelcome => conversation.welcome(None, at),
        Effect::AskGroup => conversation.group(None, at),
        Effect::Send(number, _) => {
            seq += 1;
            let mut effects = conversation.answered(number, Ok(seq), at);
            effects.extend(conversation.event(seq, None, at));
            effects
        }
        _ => Vec::new(),
    };
    let (sent, shown) = answered_for(&mut host.conversation, 600, first, &mut answer);
    assert!((10..40).contains(&sent), "{sent}");
    assert!(tells_in_vain(&shown, "does not show"), "{shown:?}");
}

#[test]
fn messages_that_are_said_to_be_too_old_each_time_are_not_sent_without_end_and_keep_their_order() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    settle(&mut server, &mut hosts);
    let mut stored = std::mem::take(&mut hosts[0].stored);
    let conversation = &mut hosts[0].conversation;
    let mut first = Vec::new();
    for text in ["one", "two", "three"] {
        first.extend(conversation.say(text.as_bytes(), now()).unwrap());
    }
    let mut answer = |conversation: &mut Conversation, effect, at| match effect {
        Effect::Send(number, _) => conversation.answered(number, Err("stale_epoch"), at),
        Effect::Store(changes) => {
            stored.store(changes).unwrap();
            Vec::new()
        }
        _ => Vec::new(),
    };
    let (sent, shown) = answered_for(conversation, 600, first, &mut answer);
    assert_eq!(sent, 3, "once each");
    assert!(tells_in_vain(&shown, "does not show"), "{shown:?}");
    assert_eq!(conversation.waits_for(), Some(Waits::Hidden));
    hosts[0].stored = stored;
    // Newer keys end it at once.
    let effects = hosts[1].conversation.tick(now() + 8 * 86_400);
    hosts[1].effects.extend(effects);
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[1].said(), ["one", "two", "three"]);
    assert_eq!(hosts[0].said(), ["one", "two", "three"]);
}

fn unseen(shown: &[Show]) -> Vec<(u64, Option<&str>)> {
    let unseen = shown.iter().filter_map(|show| match show {
        Show::Unseen { seq, content } => {
            let text = content
                .as_ref()
                .map(|content| std::str::from_utf8(&content.0));
            Some((*seq, text.transpose().unwrap()))
        }
        _ => None,
    });
    unseen.collect()
}

/// The effects of one that are shown, and what it sends.
fn taken(effects: Vec<Effect>) -> (Vec<Show>, Vec<(u64, Outgoing)>) {
    let (mut shown, mut sent) = (Vec::new(), Vec::new());
    for effect in effects {
        match effect {
            Effect::Show(show) => shown.push(show),
            Effect::Send(number, outgoing) => sent.push((number, outgoing)),
            _ => {}
        }
    }
    (shown, sent)
}

/// The same, of a host that goes on: what is to be stored is.
fn kept(host: &mut Host, effects: Vec<Effect>) -> (Vec<Show>, Vec<(u64, Outgoing)>) {
    let mut rest = Vec::new();
    for effect in effects {
        match effect {
            Effect::Store(changes) => host.stored.store(changes).unwrap(),
            effect => rest.push(effect),
        }
    }
    taken(rest)
}

#[test]
fn what_is_not_at_the_place_that_the_service_named_is_told_at_once_or_after_a_while() {
    for is_elsewhere in [true, false] {
        let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
        settle(&mut server, &mut hosts);
        let conversation = &mut hosts[0].conversation;
        let seq = server.journal.len() as u64 + 1;
        let (_, sent) = taken(conversation.say(b"mine", now()).unwrap());
        assert_eq!(
            unseen(&taken(conversation.answered(sent[0].0, Ok(seq), now())).0),
            []
        );
        assert!(!conversation.is_settled());
        let effects = match is_elsewhere {
            true => conversation.event(seq, None, now()),
            false => {
                assert_eq!(unseen(&taken(conversation.tick(now() + 20)).0), []);
                conversation.tick(now() + 40)
            }
        };
        let told = [(seq, Some("mine"))];
        assert_eq!(unseen(&taken(effects).0), told, "{is_elsewhere}");
        assert!(conversation.is_settled());
        assert_eq!(unseen(&taken(conversation.tick(now() + 90)).0), [], "once");
        // It comes all the same: it is in the room, and shown.
        let (shown, _) = taken(conversation.event(seq + 1, Some(&sent[0].1), now()));
        assert!(matches!(&shown[..], [Show::Said { seq: at, .. }] if *at == seq + 1));
    }
}

#[test]
fn a_device_that_slept_waits_for_what_it_sent_before_as_long_as_any() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    settle(&mut server, &mut hosts);
    let seq = server.journal.len() as u64 + 1;
    let charly = hosts[1].person.user.clone();
    let effects = hosts[0].conversation.remove(&charly, None, now()).unwrap();
    let (_, sent) = kept(&mut hosts[0], effects);
    let effects = hosts[0].conversation.answered(sent[0].0, Ok(seq), now());
    kept(&mut hosts[0], effects);
    let later = now() + 10 * 3600;
    let effects = hosts[0].conversation.tick(later);
    assert_eq!(unseen(&kept(&mut hosts[0], effects).0), []);
    let effects = hosts[0].conversation.event(seq, Some(&sent[0].1), later);
    let (shown, _) = kept(&mut hosts[0], effects);
    let is_done = |show: &Show| match show {
        Show::Room { what, .. } => matches!(what, Shown::Changed { left, .. } if left.len() == 1),
        _ => false,
    };
    assert!(shown.iter().any(is_done), "{shown:?}");
}

#[test]
fn behind_a_change_that_is_not_where_the_service_says_nothing_is_encrypted() {
    for answer in [Ok(0), Err("stale_epoch")] {
        let (mut server, mut hosts) = connected(&["harry", "charly", "kim"], JoinPolicy::Open);
        settle(&mut server, &mut hosts);
        let charly = hosts[1].person.user.clone();
        let seq = server.journal.len() as u64 + 1;
        let effects = hosts[0].conversation.remove(&charly, None, now()).unwrap();
        let (_, sent) = kept(&mut hosts[0], effects);
        let answer = answer.map(|_| seq);
        let effects = hosts[0].conversation.answered(sent[0].0, answer, now());
        kept(&mut hosts[0], effects);
        let effects = hosts[0].conversation.say(b"wait", now()).unwrap();
        let (_, held) = kept(&mut hosts[0], effects);
        let waits = hosts[0].conversation.waits_for();
        assert!(held.is_empty() && waits == Some(Waits::Change));
        let effects = hosts[0].conversation.tick(now() + 40);
        let (shown, sent) = kept(&mut hosts[0], effects);
        let is_told = match answer {
            Ok(_) => unseen(&shown) == [(seq, None)],
            Err(_) => matches!(&shown[..], [Show::Refused { content: None, .. }]),
        };
        assert!(is_told, "{shown:?}");
        assert!(sent.is_empty(), "{answer:?}");
        let conversation = &mut hosts[0].conversation;
        assert_eq!(conversation.waits_for(), Some(Waits::Hidden));
        let again = conversation.remove(&charly, None, now() + 41);
        assert_eq!(again.map(drop), Err(Error::Lacking));
        // The change of somebody else that there is ends it.
        hosts[2].remove("charly");
        settle(&mut server, &mut hosts);
        assert_eq!(hosts[0].said(), ["wait"]);
        assert_eq!(hosts[1].said(), [""; 0]);
    }
}

#[test]
fn a_revocation_that_the_service_hides_is_told() {
    for is_hidden in [true, false] {
        let (mut server, mut hosts) = connected(&["harry"], JoinPolicy::Open);
        let mut other = Host::with_device("harry", 1, "laptop", JoinPolicy::Open);
        other.publish(&mut server);
        other.connect(&server);
        hosts.push(other);
        settle(&mut server, &mut hosts);
        let identity = Identity::from_seed(&hosts[0].person.identity.seed());
        let device = hosts[1].person.device.clone();
        let conversation = &mut hosts[0].conversation;
        let revoked = conversation.revoke(&identity, &device, now()).unwrap();
        let (_, sent) = taken(revoked);
        let seq = server.journal.len() as u64 + 1;
        let (number, list) = &sent[0];
        let content = (!is_hidden).then_some(list);
        // The event and the answer come in either order.
        let (mut shown, _) = taken(conversation.event(seq, content, now()));
        shown.extend(taken(conversation.answered(*number, Ok(seq), now())).0);
        let told = [(seq, None)];
        assert_eq!(unseen(&shown), &told[usize::from(!is_hidden)..]);
    }
}

#[test]
fn what_a_revoked_device_says_is_refused_at_once_also_what_waited() {
    let (mut server, mut hosts) = connected(&["harry"], JoinPolicy::Open);
    let mut other = Host::with_device("harry", 1, "laptop", JoinPolicy::Open);
    other.publish(&mut server);
    other.connect(&server);
    hosts.push(other);
    settle(&mut server, &mut hosts);
    hosts[1].disconnect();
    hosts[1].say("waits");
    assert_eq!(hosts[1].conversation.waits_for(), Some(Waits::Connection));
    let identity = Identity::from_seed(&hosts[0].person.identity.seed());
    let device = hosts[1].person.device.clone();
    let revoked = hosts[0].conversation.revoke(&identity, &device, now());
    hosts[0].effects.extend(revoked.unwrap());
    settle(&mut server, &mut hosts);
    hosts[1].connect(&server);
    settle(&mut server, &mut hosts);
    hosts[1].say("later");
    settle(&mut server, &mut hosts);
    let refused = hosts[1].shown.iter().filter_map(|show| match show {
        Show::Refused {
            content: Some(content),
            reason,
        } => Some((content.0.as_slice(), reason.as_str())),
        _ => None,
    });
    let refused: Vec<_> = refused.collect();
    let all = [
        (&b"waits"[..], "bad_credential"),
        (b"later", "bad_credential"),
    ];
    assert_eq!(refused, all);
    assert!(hosts[1].conversation.is_settled());
}

#[test]
fn who_comes_back_is_told_how_much_it_cannot_read() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    let (harry, charly) = hosts.split_at_mut(1);
    assert!(harry[0].add(&mut server, &charly[0]));
    settle(&mut server, &mut hosts);
    hosts[0].remove("charly");
    settle(&mut server, &mut hosts);
    assert!(!hosts[1].is_in());
    for text in ["one", "two"] {
        hosts[0].say(text);
        settle(&mut server, &mut hosts);
    }
    let (harry, charly) = hosts.split_at_mut(1);
    assert!(harry[0].add(&mut server, &charly[0]));
    harry[0].say("three");
    while harry[0].act(&mut server) {}
    // He hears it before he knows that it is for him.
    let late = std::mem::take(&mut server.waiting);
    while charly[0].act(&mut server) {}
    assert!(!charly[0].is_in());
    server.waiting = late;
    for later in 1..60 {
        let effects = hosts[1].conversation.tick(now() + later);
        hosts[1].effects.extend(effects);
        settle(&mut server, &mut hosts);
    }
    assert_eq!(hosts[1].came().last(), Some(&How::LetInAgain));
    let missed = hosts[1].shown.iter().filter_map(|show| match show {
        Show::Missed { count } => Some(*count),
        _ => None,
    });
    assert_eq!(missed.collect::<Vec<_>>(), [2]);
    assert_eq!(hosts[1].said(), ["three"]);
    let is_change = |show: &Show| {
        matches!(
            show,
            Show::Room {
                what: Shown::Changed { .. },
                ..
            }
        )
    };
    assert!(hosts[1].shown.iter().any(is_change));
    assert!(hosts[1].conversation.member().is_in(&room()));
}

/// The service adds nothing when a session goes on.
#[test]
fn what_is_said_after_a_reconnect_to_a_room_where_nothing_happened_goes_out_at_once() {
    let (_, mut hosts) = connected(&["harry"], JoinPolicy::Open);
    let conversation = &mut hosts[0].conversation;
    let seq = conversation.since().unwrap();
    conversation.event(seq + 1, None, now());
    conversation.disconnected();
    conversation.connected(seq + 1, now());
    let (_, sent) = taken(conversation.say(b"hello", now()).unwrap());
    assert_eq!(sent.len(), 1, "{:?}", conversation.waits_for());
}
