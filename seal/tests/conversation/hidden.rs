//! A server that hides what there is: until it shows it a device encrypts nothing, and says so.

use super::host::{Host, content};
use super::liar::tells_in_vain;
use super::world::{Server, now};
use super::{connected, settle};
use seal::conversation::{Effect, Question, Show, Waits};
use seal::member::{How, Shown};
use seal::rules::JoinPolicy;

const CHARLY: usize = 1;
const MALLORY: usize = 2;

/// Harry removes mallory, and says something of the new epoch; the server shows charly only that.
fn hides_a_removal() -> (Server, Vec<Host>) {
    let (mut server, mut hosts) = removes_mallory();
    hosts[0].say("among us");
    settle(&mut server, &mut hosts);
    (server, hosts)
}

/// The server does not show charly that harry has removed mallory.
fn removes_mallory() -> (Server, Vec<Host>) {
    let (mut server, mut hosts) = connected(&["harry", "charly", "mallory"], JoinPolicy::Invited);
    for newcomer in [CHARLY, MALLORY] {
        let (harry, others) = hosts.split_at_mut(1);
        assert!(harry[0].add(&mut server, &others[newcomer - 1]));
        settle(&mut server, &mut hosts);
    }
    hosts[CHARLY].hidden = Some(server.journal.len() as u64 + 1);
    hosts[0].remove("mallory");
    settle(&mut server, &mut hosts);
    assert!(!hosts[MALLORY].is_in());
    (server, hosts)
}

fn later(server: &mut Server, hosts: &mut [Host], seconds: u64) {
    let effects = hosts[CHARLY].conversation.tick(now() + seconds);
    hosts[CHARLY].effects.extend(effects);
    settle(server, hosts);
}

#[test]
fn nothing_is_encrypted_for_somebody_whose_removal_is_hidden() {
    let (mut server, mut hosts) = hides_a_removal();
    let length = server.journal.len();
    hosts[CHARLY].say("not for mallory");
    settle(&mut server, &mut hosts);
    assert_eq!(server.journal.len(), length);
    let conversation = &hosts[CHARLY].conversation;
    assert_eq!(conversation.waits_for(), Some(Waits::Hidden));
    later(&mut server, &mut hosts, 1);
    later(&mut server, &mut hosts, 40);
    assert!(tells_in_vain(
        &hosts[CHARLY].shown,
        "somebody may be removed"
    ));
    assert_eq!(server.journal.len(), length);
    // It is read again, and there.
    hosts[CHARLY].hidden = None;
    later(&mut server, &mut hosts, 90);
    assert_eq!(hosts[0].said(), ["among us", "not for mallory"]);
    assert_eq!(hosts[CHARLY].said(), ["among us", "not for mallory"]);
    assert_eq!(hosts[MALLORY].said(), [""; 0]);
    assert!(hosts[CHARLY].conversation.is_settled());
}

#[test]
fn a_restart_does_not_forget_that_a_change_is_hidden() {
    let (mut server, mut hosts) = hides_a_removal();
    let length = server.journal.len();
    hosts[CHARLY].crash();
    hosts[CHARLY].connect(&server);
    settle(&mut server, &mut hosts);
    hosts[CHARLY].say("not for mallory");
    settle(&mut server, &mut hosts);
    assert_eq!(server.journal.len(), length);
    let conversation = &hosts[CHARLY].conversation;
    assert_eq!(conversation.waits_for(), Some(Waits::Hidden));
    // The next session begins before it.
    hosts[CHARLY].hidden = None;
    hosts[CHARLY].disconnect();
    hosts[CHARLY].connect(&server);
    settle(&mut server, &mut hosts);
    assert_eq!(hosts[0].said(), ["among us", "not for mallory"]);
    assert_eq!(hosts[MALLORY].said(), [""; 0]);
}

#[test]
fn a_change_that_stays_hidden_is_given_up_and_the_way_back_is_into_what_was_shown() {
    let (mut server, mut hosts) = hides_a_removal();
    hosts[CHARLY].say("not for mallory");
    for at in (1..700).step_by(10) {
        later(&mut server, &mut hosts, at);
    }
    // The public state has the removal, and so has what it says then.
    assert_eq!(hosts[CHARLY].came().last(), Some(&How::CameBack));
    assert_eq!(hosts[0].said(), ["among us", "not for mallory"]);
    assert_eq!(hosts[MALLORY].said(), [""; 0]);
}

#[test]
fn who_comes_back_to_a_state_without_what_was_shown_is_asked_first() {
    let (mut server, mut hosts) = connected(&["harry", "charly", "mallory"], JoinPolicy::Open);
    let (info, tree) = server.delivery().reentry();
    hosts[CHARLY].hidden = Some(server.journal.len() as u64 + 1);
    hosts[0].remove("mallory");
    hosts[0].say("among us");
    while hosts[0].act(&mut server) {}
    settle(&mut server, &mut hosts[..2]);
    let conversation = &mut hosts[CHARLY].conversation;
    let (mut shown, mut effects) = (Vec::new(), Vec::new());
    for at in (1..700).map(|later| now() + later) {
        effects.extend(conversation.tick(at));
        while let Some(effect) = effects.pop() {
            effects.extend(match effect {
                Effect::AskWelcome => conversation.welcome(None, at),
                Effect::AskGroup => conversation.group(Some((&info, &tree)), at),
                Effect::Send(..) => panic!("into the state without the removal"),
                Effect::Show(show) => {
                    shown.push(show);
                    Vec::new()
                }
                Effect::Store(_) | Effect::Resume(_) => Vec::new(),
            });
        }
    }
    let asked = Show::Ask(Question::AnotherGroup);
    assert!(shown.contains(&asked), "{shown:?}");
    // Their word is enough.
    let effects = conversation.agree(now() + 700);
    assert!(effects.iter().any(|one| matches!(one, Effect::AskWelcome)));
    conversation.welcome(None, now() + 700);
    let effects = conversation.group(Some((&info, &tree)), now() + 700);
    assert!(effects.iter().any(|one| matches!(one, Effect::Send(..))));
}

/// What it asks for is refused as too late, and nothing shows why: that it has not left is told.
#[test]
fn who_leaves_while_a_change_is_hidden_is_still_in_and_may_leave_later() {
    let (mut server, mut hosts) = removes_mallory();
    let left = hosts[CHARLY].conversation.leave(now()).unwrap();
    hosts[CHARLY].effects.extend(left);
    settle(&mut server, &mut hosts);
    later(&mut server, &mut hosts, 40);
    let refused = |show: &Show| matches!(show, Show::Refused { .. });
    assert!(hosts[CHARLY].shown.iter().any(refused));
    assert!(!hosts[CHARLY].conversation.is_leaving() && hosts[CHARLY].is_in());
    hosts[CHARLY].say("still here");
    settle(&mut server, &mut hosts);
    let waits = hosts[CHARLY].conversation.waits_for();
    assert_eq!(waits, Some(Waits::Hidden));
    hosts[CHARLY].hidden = None;
    for seconds in [101, 170] {
        later(&mut server, &mut hosts, seconds);
    }
    assert_eq!(hosts[0].said(), ["still here"]);
    let left = hosts[CHARLY].conversation.leave(now()).unwrap();
    hosts[CHARLY].effects.extend(left);
    settle(&mut server, &mut hosts);
    assert!(hosts[CHARLY].conversation.has_left());
}

/// The room is read again each minute, in a session of its own.
#[test]
fn sessions_that_begin_again_do_not_put_off_the_end_of_waiting() {
    let (server, mut hosts) = hides_a_removal();
    let (head, hidden) = (server.journal.len() as u64, hosts[CHARLY].hidden);
    let conversation = &mut hosts[CHARLY].conversation;
    let (mut sessions, mut is_given_up) = (0, false);
    for at in (1..700).map(|later| now() + later) {
        let mut effects = conversation.tick(at);
        while let Some(effect) = effects.pop() {
            is_given_up |= matches!(effect, Effect::AskWelcome | Effect::AskGroup);
            let Effect::Resume(behind) = effect else {
                continue;
            };
            sessions += 1;
            conversation.disconnected();
            effects.extend(conversation.connected(head, at));
            for (seq, entry) in (1..).zip(&server.journal).skip(behind as usize) {
                let shown = (hidden != Some(seq)).then(|| content(entry));
                effects.extend(conversation.event(seq, shown.as_ref(), at));
            }
        }
    }
    assert!(is_given_up && sessions > 5, "{sessions}");
}

#[test]
fn a_room_that_is_not_shown_up_to_its_end_is_told_and_not_waited_for_without_end() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Open);
    settle(&mut server, &mut hosts);
    let head = server.journal.len() as u64;
    let conversation = &mut hosts[CHARLY].conversation;
    conversation.disconnected();
    conversation.connected(head + 5, now());
    conversation.say(b"wait", now()).unwrap();
    let mut shown = Vec::new();
    for at in 0..=600 {
        assert_eq!(conversation.waits_for(), Some(Waits::Reading), "{at}");
        for effect in conversation.tick(now() + at) {
            match effect {
                Effect::Show(show) => shown.push(show),
                Effect::Send(..) => panic!("encrypted before the room is read"),
                _ => {}
            }
        }
        if at == 31 {
            assert!(tells_in_vain(&shown, "not as far as it says"), "{shown:?}");
        }
        if conversation.waits_for() != Some(Waits::Reading) {
            break;
        }
    }
    let lost = |show: &Show| {
        let what = match show {
            Show::Room { what, .. } => what,
            _ => return false,
        };
        matches!(what, Shown::Lost(why) if why.contains("has not shown"))
    };
    assert!(shown.iter().any(lost), "{shown:?}");
    assert_eq!(conversation.waits_for(), Some(Waits::Way));
}

#[test]
fn a_welcome_of_a_place_that_was_not_heard_yet_is_told_and_not_waited_for_without_end() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    let (harry, charly) = hosts.split_at_mut(1);
    assert!(harry[0].add(&mut server, &charly[0]));
    while harry[0].act(&mut server) {}
    let waiting = server.waiting.values().next().unwrap().clone();
    let (welcome, tree) = (&waiting.admission.welcome, &waiting.admission.tree);
    let conversation = &mut hosts[CHARLY].conversation;
    let mut effects = conversation.tick(now() + 60);
    assert!(effects.iter().any(|one| matches!(one, Effect::AskWelcome)));
    effects = conversation.welcome(Some((1_000_000, welcome, tree)), now() + 60);
    effects.extend(conversation.say(b"wait", now() + 60).unwrap());
    assert_eq!(conversation.waits_for(), Some(Waits::Reading));
    effects.extend(conversation.tick(now() + 91));
    let shown = effects.into_iter().filter_map(|effect| match effect {
        Effect::Show(show) => Some(show),
        _ => None,
    });
    assert!(tells_in_vain(&shown.collect::<Vec<_>>(), "not as far"));
    // A device that slept has not waited.
    let asks = |effects: &[Effect]| effects.iter().any(|one| matches!(one, Effect::AskWelcome));
    assert!(!asks(&conversation.tick(now() + 100_000)));
    let mut at = now() + 100_000;
    let effects: Vec<_> = (0..9)
        .flat_map(|_| {
            at += 60;
            conversation.tick(at)
        })
        .collect();
    assert!(asks(&effects));
    // What it asks for then is read from where the room is.
    conversation.welcome(None, at);
    let (info, tree) = server.delivery().reentry();
    let effects = conversation.group(Some((&info, &tree)), at);
    assert!(effects.iter().any(|one| matches!(one, Effect::Send(..))));
    assert_eq!(conversation.since(), Some(server.journal.len() as u64 - 1));
}

#[test]
fn ways_in_that_came_to_nothing_do_not_count_once_it_is_in_for_a_while() {
    let mut host = Host::new("harry", 1, JoinPolicy::Open);
    let conversation = &mut host.conversation;
    let (mut shown, mut tries, mut at) = (Vec::new(), 0, now());
    let mut effects = conversation.connected(0, at);
    let mut founding = None;
    while tries < 13 {
        at += 1;
        effects.extend(conversation.tick(at));
        while let Some(effect) = effects.pop() {
            effects.extend(match effect {
                Effect::AskWelcome => conversation.welcome(None, at),
                Effect::AskGroup => conversation.group(None, at),
                Effect::Send(number, outgoing) => {
                    tries += 1;
                    founding = Some(outgoing);
                    match tries {
                        13 => Vec::new(),
                        _ => conversation.answered(number, Err("stale_epoch"), at),
                    }
                }
                Effect::Show(_) | Effect::Store(_) | Effect::Resume(_) => Vec::new(),
            });
        }
    }
    conversation.event(1, founding.as_ref(), at);
    assert_eq!(conversation.waits_for(), None);
    at += 31;
    conversation.tick(at);
    for effect in conversation.missed(at + 1) {
        shown.extend(match effect {
            Effect::Show(show) => Some(show),
            _ => None,
        });
    }
    let in_vain = shown.iter().any(|show| matches!(show, Show::InVain(_)));
    assert!(!in_vain && !shown.is_empty(), "{shown:?}");
}
