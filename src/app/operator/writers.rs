//! A cluster without a writer: its gateways are ready for clients, and nothing that these say is
//! decided.

use crate::{
    bus::Role,
    cluster::{Status, View},
};

/// What to say when no living node decides what is said.
pub(in super::super) fn warning(view: &View) -> Option<String> {
    // Before the first look at the cluster nobody is known.
    let mut members = view.members.iter();
    let writes = members.any(|member| {
        let lives = matches!(
            member.status,
            Status::Up | Status::Joining | Status::Leaving
        );
        lives && member.node.roles.contains(&Role::Writer)
    });
    (!writes && !view.members.is_empty()).then(|| {
        "no node with the role `writer` lives: messages wait for one, and rooms that are not open \
         here cannot be joined; start one"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::{super::members::tests::member, *};

    #[test]
    fn a_cluster_whose_writers_are_gone_warns() {
        let with = |roles: &[Role], status| {
            let mut gateway = member(1, 8001, Status::Up);
            gateway.node.roles = vec![Role::Gateway];
            let mut other = member(2, 8002, status);
            other.node.roles = roles.to_vec();
            warning(&View {
                members: vec![gateway, other],
                ..View::default()
            })
        };
        let both = [Role::Gateway, Role::Writer];
        assert_eq!(with(&both, Status::Up), None);
        assert_eq!(with(&[Role::Writer], Status::Leaving), None);
        assert!(with(&both, Status::Down).unwrap().contains("start one"));
        assert!(with(&[Role::Gateway], Status::Up).is_some());
        assert_eq!(warning(&View::default()), None);
    }
}
