//! A group with more devices than a room takes, in which all is well but that: a writer that lets
//! nobody go beyond can be another one. Refused by whoever is shown it.

mod peer;
mod world;

use peer::{device, device_of_seed};
use seal::delivery::Delivery;
use seal::member::{Agreed, Error, Frame};
use seal::rules::MOST_MEMBERS;
use seal::{Founding, Refusal};
use world::{Client, now, room};

#[test]
fn a_group_of_too_many_devices_is_refused_by_welcome_by_tree_and_as_a_founding() {
    let mut harry = device("harry", "phone", 1, [101; 32]);
    harry.found(true, now());
    let packages: Vec<_> = (0..MOST_MEMBERS as u32)
        .map(|n| {
            let mut seed = [2; 32];
            seed[..4].copy_from_slice(&n.to_be_bytes());
            device_of_seed("crowd", &format!("phone-{n}"), seed, [102; 32]).key_package()
        })
        .collect();
    // One too many, with the maker.
    harry.adds(&packages, now());
    let too_many = || Err(Error::Refused(Refusal::TooMany));
    let (info, tree) = harry.state();
    let mut ann = Client::new("ann", "phone", 10);
    let state = (&info[..], &tree[..]);
    let refused = ann.member.rejoin(&room(), state, Agreed::Nothing, now());
    assert_eq!(refused.map(drop), too_many());
    assert!(ann.member.is_out(&room()));

    ann.publish(1);
    let Some(Frame::Publish { one_time, .. }) = ann.outbox.pop_front() else {
        panic!("no key packages")
    };
    let welcome = harry.adds(&one_time, now());
    let (_, with_ann) = harry.state();
    let refused = ann.member.join(&room(), &welcome, &with_ann, now());
    assert_eq!(refused.map(drop), too_many());
    assert!(ann.member.is_out(&room()));

    let founding = Founding {
        group_info: info,
        tree,
    };
    let founded = Delivery::found(room(), &founding, &harry.proven(), now());
    assert_eq!(founded.map(drop), Err(Refusal::TooLarge));
}
