//! Other living nodes of this node's name. They do each other no harm, because a run of a node goes
//! by its incarnation; but operators and graphs tell nodes by name.

use crate::{
    cluster::{Member, Status, View},
    room::Incarnation,
};

/// The nodes of this one's name that live on beside it: they are seen to beat and do not stop. So
/// neither the run before this one nor the one after it counts, however long it is remembered.
fn namesakes(view: &View, me: Incarnation) -> Vec<&Member> {
    let is_me = |member: &&Member| member.node.incarnation == me;
    let Some(own) = view.members.iter().find(is_me) else {
        return Vec::new();
    };
    if own.status != Status::Up {
        return Vec::new();
    }
    let members = view.members.iter().filter(|member| !is_me(member));
    members
        .filter(|member| member.status == Status::Up && member.node.name == own.node.name)
        .collect()
}

/// What to say about them; `None`: the name is this node's alone.
pub(super) fn warning(view: &View, me: Incarnation) -> Option<String> {
    let others = namesakes(view, me);
    let name = &others.first()?.node.name;
    let each = others.iter().map(|member| {
        let node = &member.node;
        format!("{} (incarnation {})", node.address, node.incarnation)
    });
    let each: Vec<_> = each.collect();
    Some(format!(
        "node.name {name} is also the name of the node at {}: give each a name of its own (--node)",
        each.join(" and of that at ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::example::member;

    #[test]
    fn only_a_namesake_that_lives_on_is_warned_of() {
        let named = |n, status| {
            let mut member = member(n, 8000 + n as u16, status);
            member.node.name = "harry".into();
            member
        };
        let me = named(1, Status::Up);
        let own = me.node.incarnation;
        let warning_beside = |me: &Member, other: Member| {
            let view = View {
                members: vec![me.clone(), other],
                ..View::default()
            };
            warning(&view, own)
        };
        let said = warning_beside(&me, named(2, Status::Up)).unwrap();
        assert!(
            said.contains("node.name harry") && said.contains("127.0.0.1:8002 (incarnation 00"),
            "{said}"
        );
        // The run before this one: its record is there, or it drains, or it is found dead.
        for passing in [
            Status::Joining,
            Status::Leaving,
            Status::Exiting,
            Status::Down,
        ] {
            assert_eq!(warning_beside(&me, named(2, passing)), None, "{passing:?}");
        }
        assert_eq!(warning_beside(&me, member(2, 8002, Status::Up)), None);
        // The run after this one.
        let stopping = named(1, Status::Leaving);
        assert_eq!(warning_beside(&stopping, named(2, Status::Up)), None);
    }
}
