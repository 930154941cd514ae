//! Groups in which something is over that counted when it was made. What was let in in time stays
//! in: whoever comes later takes it as it is. Devices of mls-rs make what is of before, for they
//! can be told the time.

mod peer;
mod world;

use peer::device;
use seal::member::{Agreed, Event, Frame};
use world::{Client, name, now, room};

const DAY: u64 = 86_400;

/// Key packages count for 84 days.
fn days_ago(days: u64) -> u64 {
    now() - days * DAY
}

fn users(client: &Client) -> Vec<String> {
    let members = client.member.members(&room());
    members.iter().map(|one| one.user.to_string()).collect()
}

#[test]
fn who_was_added_in_time_comes_in_when_its_own_and_others_key_packages_are_over() {
    let mut harry = device("harry", "phone", 1, [101; 32]);
    harry.found(true, days_ago(100));
    let mut bea = device("bea", "phone", 2, [102; 32]);
    let (info, tree) = harry.state();
    let (group, _) = bea.external_commit((&info, &tree), |_| false);
    bea.adopt(group);
    let mut charly = Client::new("charly", "phone", 3);
    let step = charly.member.publish(1, days_ago(95)).unwrap();
    charly.host(Ok(step)).unwrap();
    let Some(Frame::Publish { one_time, .. }) = charly.outbox.pop_front() else {
        panic!("no key packages")
    };
    // In time: nobody adds whose key package is over.
    let welcome = bea.adds(&one_time, days_ago(90));
    let (_, tree) = bea.state();
    let step = charly.member.join(&room(), &welcome, &tree, now());
    charly.host(step).unwrap();
    assert_eq!(users(&charly), ["harry", "bea", "charly"]);
    assert_eq!(charly.member.epoch(&room()), Some(2));
}

#[test]
fn a_device_comes_back_into_a_group_whose_members_key_packages_are_over() {
    let mut harry = device("harry", "phone", 1, [101; 32]);
    harry.found(true, days_ago(100));
    let (info, tree) = harry.state();
    let mut charly = Client::new("charly", "phone", 3);
    let state = (&info[..], &tree[..]);
    let step = charly.member.rejoin(&room(), state, Agreed::Nothing, now());
    charly.host(step).unwrap();
    let Some(Frame::Change { bundle, .. }) = charly.outbox.pop_front() else {
        panic!("no commit")
    };
    let step = charly
        .member
        .receive(&room(), Event::Commit(&bundle.commit));
    charly.host(step).unwrap();
    assert_eq!(users(&charly), ["harry", "charly"]);
    assert_eq!(charly.device, name("phone"));
}
