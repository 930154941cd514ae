//! Writers that keep different amounts of the past of all rooms, or rooms that are gone for
//! different times. Each room is kept as its owner of the moment is configured, so what one of them
//! lets go is gone for all.

use crate::{
    bus::{NodeRecord, Role},
    cluster::{Status, View},
};

/// What to say about how much of the past they keep; `None`: they agree, as far as they say it.
pub(super) fn of_events(view: &View) -> Option<String> {
    let each = disagree(view, |node| node.keeps.map(|keeps| keeps.to_string()))?;
    Some(format!(
        "writers keep different amounts of the past ({each}): a room loses what its owner of the \
         moment lets go. Give all the same writer.keep_age_s, .keep_events and .keep_bytes"
    ))
}

/// The same of when they remove rooms that are gone.
pub(super) fn of_rooms(view: &View) -> Option<String> {
    let each = disagree(view, |node| {
        node.gone_after_s.map(|seconds| match seconds {
            0 => "never".to_owned(),
            _ => format!("after {seconds} s"),
        })
    })?;
    Some(format!(
        "writers remove rooms that are gone at different times ({each}): a room goes as its owner \
         of the moment says. Give all nodes the same writer.gone_after_s"
    ))
}

/// What writers say, if it is not the same, and who says it. Older versions say nothing.
fn disagree(view: &View, says: impl Fn(&NodeRecord) -> Option<String>) -> Option<String> {
    let up = view.members.iter().filter(|it| it.status == Status::Up);
    let writers = up.filter(|it| it.node.roles.contains(&Role::Writer));
    let mut said: Vec<(String, Vec<&str>)> = Vec::new();
    for member in writers {
        let Some(what) = says(&member.node) else {
            continue;
        };
        match said.iter_mut().find(|(other, _)| *other == what) {
            Some((_, nodes)) => nodes.push(&member.node.name),
            None => said.push((what, vec![&member.node.name])),
        }
    }
    let each = said.iter().map(|(what, nodes)| {
        let nodes = nodes.join(", ");
        format!("{what} at {nodes}")
    });
    let each: Vec<_> = each.collect();
    (each.len() > 1).then(|| each.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::{Member, example::member},
        room::Retention,
    };

    fn keeping(n: u128, events: Option<u64>, gone_after_s: u64) -> Member {
        let mut member = member(n, 8000 + n as u16, Status::Up);
        member.node.keeps = Some(Retention {
            events,
            ..Retention::default()
        });
        member.node.gone_after_s = Some(gone_after_s);
        member
    }

    fn warnings_of(members: &[&Member]) -> [Option<String>; 2] {
        let view = View {
            members: members.iter().copied().cloned().collect(),
            ..View::default()
        };
        [of_events(&view), of_rooms(&view)]
    }

    #[test]
    fn writers_that_keep_different_amounts_are_warned_of() {
        let (one, other) = (keeping(1, None, 5), keeping(2, Some(10), 0));
        let [events, rooms] = warnings_of(&[&one, &other]).map(Option::unwrap);
        assert!(
            events.contains("(everything at node-1; 10 events at node-2)"),
            "{events}"
        );
        assert!(
            rooms.contains("(after 5 s at node-1; never at node-2)"),
            "{rooms}"
        );
        let none = [None, None];
        assert_eq!(warnings_of(&[&one, &keeping(3, None, 5)]), none);
        let mut before = other.clone();
        (before.node.keeps, before.node.gone_after_s) = (None, None);
        assert_eq!(warnings_of(&[&one, &before]), none);
        let mut gateway = other.clone();
        gateway.node.roles = vec![Role::Gateway];
        assert_eq!(warnings_of(&[&one, &gateway]), none);
        let mut leaving = other;
        leaving.status = Status::Leaving;
        assert_eq!(warnings_of(&[&one, &leaving]), none);
    }
}
