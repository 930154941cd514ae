//! Messages of before that a member shares: what others can make of that.

use crate::stranger;
use crate::world::{Client, Entry, Server, earlier, name, now, room, room_of, said};
use seal::content::{Earlier, MOST_SHARED};
use seal::member::{Error, Event, Frame, Shown};
use seal::{Member, Public, Refusal};

/// Harry, who shares, and charly talk; ann comes in after that.
fn ann_comes_later() -> (Server, [Client; 3]) {
    let (mut server, clients) = room_of(&["harry", "charly"]);
    let [mut harry, mut charly] = <[_; 2]>::try_from(clients).ok().unwrap();
    harry.send("before ann").unwrap();
    harry.flush(&mut server);
    charly.send("me too").unwrap();
    charly.flush(&mut server);
    let mut ann = stranger(&mut server, "ann", 10);
    for client in [&mut harry, &mut charly] {
        client.read(&server);
    }
    let package = server.claim(&ann.user, &ann.device);
    harry.add(&[package]).unwrap();
    harry.flush(&mut server);
    ann.welcome(&mut server);
    let mut all = [harry, charly, ann];
    for client in &mut all {
        client.read(&server);
    }
    (server, all)
}

fn key(client: &Client) -> Public {
    client.identity.public()
}

/// Who shares how many messages with whom, and those that are shown.
fn shares(shown: &[Shown]) -> Vec<(&str, Public, usize, &[Earlier])> {
    let shared = shown.iter().filter_map(|one| match one {
        Shown::Shared {
            by,
            with,
            count,
            messages,
            ..
        } => Some((by.user.as_str(), *with, *count, &messages[..])),
        _ => None,
    });
    shared.collect()
}

#[test]
fn what_is_shared_is_shown_as_such_to_whom_it_is_for_and_everybody_sees_that_it_was() {
    let (mut server, [mut harry, mut charly, mut ann]) = ann_comes_later();
    let messages = [
        earlier(3, "harry", "before ann"),
        earlier(4, "charly", "me too"),
    ];
    harry.share(key(&ann), &messages).unwrap();
    harry.flush(&mut server);
    let shown = ann.read(&server);
    assert_eq!(said(&shown), Vec::<String>::new(), "as if it was said now");
    assert_eq!(shares(&shown), [("harry", key(&ann), 2, &messages[..])]);
    let shown = charly.read(&server);
    assert_eq!(shares(&shown), [("harry", key(&ann), 2, &[][..])]);
    let Shown::Shared { with_user, .. } = &shown[0] else {
        panic!("{shown:?}");
    };
    assert_eq!(with_user.as_ref(), Some(&ann.user));
}

#[test]
fn nobody_shares_what_is_said_since_somebody_came_or_makes_it_up_of_later() {
    let (mut server, [_, mut charly, mut ann]) = ann_comes_later();
    let head = server.journal.len() as u64;
    // The commit that let ann in was the last event.
    let messages: Vec<_> = (head - 1..head + 4)
        .map(|seq| earlier(seq, "harry", "pay mallory"))
        .collect();
    charly.share(key(&ann), &messages).unwrap();
    charly.flush(&mut server);
    let shown = ann.read(&server);
    assert_eq!(shares(&shown), [("charly", key(&ann), 5, &messages[..1])]);
    // Nor in another order than that of the room, which would show the same twice.
    let twice = [earlier(1, "harry", "yes"), earlier(1, "harry", "no")];
    charly.share(key(&ann), &twice).unwrap();
    charly.flush(&mut server);
    let shown = ann.read(&server);
    assert!(matches!(shown[..], [Shown::Unreadable(_)]), "{shown:?}");
}

#[test]
fn who_was_there_all_the_time_shows_nothing_of_it() {
    let (mut server, [mut harry, mut charly, _]) = ann_comes_later();
    let forged = [earlier(3, "harry", "what harry never said")];
    charly.share(key(&harry), &forged).unwrap();
    charly.flush(&mut server);
    assert_eq!(
        shares(&harry.read(&server)),
        [("charly", key(&harry), 1, &[][..])]
    );
}

#[test]
fn a_flood_of_what_is_shared_is_bounded_for_each_who_shares_also_over_a_restart() {
    let (mut server, [mut harry, mut charly, mut ann]) = ann_comes_later();
    let one = [earlier(3, "harry", "before ann")];
    let mut shown = 0;
    for n in 0..MOST_SHARED + 20 {
        charly.share(key(&ann), &one).unwrap();
        charly.flush(&mut server);
        if n == 50 {
            ann.crash();
        }
        let read = ann.read(&server);
        shown += shares(&read)
            .iter()
            .map(|share| share.3.len())
            .sum::<usize>();
    }
    assert_eq!(shown, MOST_SHARED);
    // That takes nothing from what another one shares.
    harry.share(key(&ann), &one).unwrap();
    harry.flush(&mut server);
    assert_eq!(
        shares(&ann.read(&server)),
        [("harry", key(&ann), 1, &one[..])]
    );
    // Nor for good: who asks is shown as many again.
    ann.send_inside(&[2, 2, 20]).unwrap();
    ann.flush(&mut server);
    charly.share(key(&ann), &one).unwrap();
    charly.flush(&mut server);
    assert_eq!(
        shares(&ann.read(&server)),
        [("charly", key(&ann), 1, &one[..])]
    );
    let is_asked =
        |shown: &Shown| matches!(shown, Shown::Asked { by, count: 20 } if by.user == ann.user);
    assert!(charly.read(&server).iter().any(is_asked));
}

#[test]
fn a_stranger_neither_shares_nor_asks() {
    let (mut server, [mut harry, _, ann]) = ann_comes_later();
    let mut kim = stranger(&mut server, "kim", 20);
    assert_eq!(
        kim.share(key(&ann), &[earlier(3, "harry", "x")]),
        Err(Error::NotIn)
    );
    assert_eq!(kim.send_inside(&[2, 2, 20]), Err(Error::NotIn));
    // Of a group of its own the writer takes nothing, nor do members if the server places it.
    let step = kim
        .member
        .found(&room(), seal::rules::JoinPolicy::Open, &[9; 16], now());
    kim.host(step).unwrap();
    let Some(Frame::Found { founding, .. }) = kim.outbox.pop_back() else {
        panic!("no founding");
    };
    let step = kim
        .member
        .receive(&room(), Event::Founded(&founding.group_info));
    kim.host(step).unwrap();
    kim.send_inside(&[2, 2, 20]).unwrap();
    let Some(Frame::Message { bytes, .. }) = kim.outbox.pop_back() else {
        panic!("no message");
    };
    let decided = server.delivery().decide_message(&bytes, &kim.proven());
    assert_eq!(decided.map(drop), Err(Refusal::OtherGroup));
    let step = harry.member.receive(&room(), Event::Message(&bytes));
    assert_eq!(
        step.unwrap().shown,
        [Shown::Unreadable("it is of another group")]
    );
}

#[test]
fn who_was_removed_does_not_read_what_is_shared_with_others() {
    let (mut server, [mut harry, mut charly, ann]) = ann_comes_later();
    let before = charly.shelf.clone();
    harry.remove(&name("charly")).unwrap();
    harry.flush(&mut server);
    harry.read(&server);
    harry
        .share(key(&ann), &[earlier(3, "harry", "before ann")])
        .unwrap();
    harry.flush(&mut server);
    let Some(Entry::Message { bytes, .. }) = server.journal.last() else {
        panic!("no message");
    };
    let mut holdout = Member::restore(before).unwrap();
    let unread = holdout.receive(&room(), Event::Message(bytes)).map(drop);
    assert_eq!(unread, Err(Error::Gap));
    assert!(charly.read(&server).contains(&harry.removal()));
    assert_eq!(
        harry.share(key(&charly), &[earlier(3, "harry", "x")]),
        Err(Error::NotThere)
    );
}

#[test]
fn who_lost_its_state_is_shown_again_what_it_had_read() {
    let (mut server, [mut harry, mut charly, _]) = ann_comes_later();
    charly.forget();
    charly.cursor = server.journal.len();
    charly.rejoin(&server).unwrap();
    charly.flush(&mut server);
    charly.read(&server);
    charly.send_inside(&[2, 2, 5]).unwrap();
    charly.flush(&mut server);
    assert!(
        harry
            .read(&server)
            .iter()
            .any(|one| matches!(one, Shown::Asked { count: 5, .. }))
    );
    let messages = [
        earlier(3, "harry", "before ann"),
        earlier(4, "charly", "me too"),
    ];
    harry.share(key(&charly), &messages).unwrap();
    harry.flush(&mut server);
    assert_eq!(
        shares(&charly.read(&server)),
        [("harry", key(&charly), 2, &messages[..])]
    );
}
