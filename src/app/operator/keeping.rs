//! Writers that keep different amounts of the past of all rooms. Each room is kept as its owner of
//! the moment is configured, so what one of them lets go is gone for all.

use crate::{
    bus::Role,
    cluster::{Status, View},
    room::Retention,
};

/// What to say about them; `None`: they agree, as far as they say it.
pub(super) fn warning(view: &View) -> Option<String> {
    let up = view.members.iter().filter(|it| it.status == Status::Up);
    let writers = up.filter(|it| it.node.roles.contains(&Role::Writer));
    let mut kept: Vec<(Retention, Vec<&str>)> = Vec::new();
    for member in writers {
        let Some(keeps) = member.node.keeps else {
            continue; // An older version, which does not say.
        };
        match kept.iter_mut().find(|(kept, _)| *kept == keeps) {
            Some((_, nodes)) => nodes.push(&member.node.name),
            None => kept.push((keeps, vec![&member.node.name])),
        }
    }
    if kept.len() < 2 {
        return None;
    }
    let each = kept.iter().map(|(keeps, nodes)| {
        let nodes = nodes.join(", ");
        format!("{keeps} at {nodes}")
    });
    let each: Vec<_> = each.collect();
    Some(format!(
        "writers keep different amounts of the past ({}): a room loses what its owner of the moment \
         lets go. Give all the same writer.keep_age_s, .keep_events and .keep_bytes",
        each.join("; ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Member, example::member};

    fn keeping(n: u128, events: Option<u64>) -> Member {
        let mut member = member(n, 8000 + n as u16, Status::Up);
        member.node.keeps = Some(Retention {
            events,
            ..Retention::default()
        });
        member
    }

    fn warning_of(members: Vec<Member>) -> Option<String> {
        warning(&View {
            members,
            ..View::default()
        })
    }

    #[test]
    fn writers_that_keep_different_amounts_are_warned_of() {
        let (one, other) = (keeping(1, None), keeping(2, Some(10)));
        let said = warning_of(vec![one.clone(), other.clone()]).unwrap();
        assert!(
            said.contains("(everything at node-1; 10 events at node-2)"),
            "{said}"
        );
        assert_eq!(warning_of(vec![one.clone(), keeping(3, None)]), None);
        let mut before = other.clone();
        before.node.keeps = None;
        assert_eq!(warning_of(vec![one.clone(), before]), None);
        let mut gateway = other.clone();
        gateway.node.roles = vec![Role::Gateway];
        assert_eq!(warning_of(vec![one.clone(), gateway]), None);
        let mut leaving = other;
        leaving.status = Status::Leaving;
        assert_eq!(warning_of(vec![one, leaving]), None);
    }
}
