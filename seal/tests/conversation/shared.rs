//! Messages of before, as hosts share and show them.

use crate::host::Host;
use crate::world::{earlier, now};
use crate::{connected, settle};
use seal::conversation::Show;
use seal::member::{Error, Shown};
use seal::rules::JoinPolicy;

#[test]
fn what_is_shared_with_who_came_later_is_shown_as_such_and_not_as_said() {
    let (mut server, mut hosts) = connected(&["harry", "charly"], JoinPolicy::Invited);
    hosts[0].say("before");
    settle(&mut server, &mut hosts);
    let messages = [earlier(2, "harry", "before")];
    let charly = hosts[1].person.identity.public();
    let share = |host: &mut Host| host.conversation.share(&charly, &messages, now());
    assert_eq!(share(&mut hosts[0]).map(drop), Err(Error::NotThere));
    let (harry, outside) = hosts.split_at_mut(1);
    assert!(harry[0].add(&mut server, &outside[0]));
    settle(&mut server, &mut hosts);
    let asked = hosts[1].conversation.ask_for_earlier(20, now()).unwrap();
    hosts[1].effects.extend(asked);
    let shared = share(&mut hosts[0]).unwrap();
    hosts[0].effects.extend(shared);
    hosts[0].say("after");
    settle(&mut server, &mut hosts);
    for host in &hosts {
        let user = host.person.user.as_str();
        let shown = host.shown.iter().filter_map(|show| match show {
            Show::Room { what, .. } => Some(what),
            _ => None,
        });
        let asked = shown
            .clone()
            .filter(|what| matches!(what, Shown::Asked { count: 20, .. }));
        assert_eq!(asked.count(), 1, "{user}");
        let shared = shown.filter_map(|what| match what {
            Shown::Shared { by, messages, .. } => Some((by.user.as_str(), &messages[..])),
            _ => None,
        });
        let expected = if user == "charly" { &messages[..] } else { &[] };
        assert_eq!(shared.collect::<Vec<_>>(), [("harry", expected)], "{user}");
        assert!(host.conversation.is_settled());
    }
    assert_eq!(hosts[1].said(), ["after"]);
}
