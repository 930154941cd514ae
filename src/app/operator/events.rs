//! What changes in the cluster, as a stream of Akka's cluster domain events. An event is the
//! difference between two views, so a reader that is slow sees fewer steps, never a queue.

use super::members::{Members, address, role_name, roles, uid};
use crate::{
    bus::Role,
    cluster::{self, Member, Status, View},
    ops::{ApiError, DomainEvent},
    room::Incarnation,
};
use futures::{
    StreamExt,
    stream::{BoxStream, unfold},
};
use serde_json::{Value, json};
use std::collections::{BTreeSet, VecDeque};
use tokio::sync::watch;

const MEMBER: [&str; 7] = [
    "MemberJoined",
    "MemberWeaklyUp",
    "MemberUp",
    "MemberLeft",
    "MemberExited",
    "MemberDowned",
    "MemberRemoved",
];
const REACHABILITY: [&str; 2] = ["UnreachableMember", "ReachableMember"];
const DATA_CENTER: [&str; 2] = ["UnreachableDataCenter", "ReachableDataCenter"];
const OTHERS: [&str; 3] = ["LeaderChanged", "RoleLeaderChanged", "ClusterShuttingDown"];
/// Names for several types, and all of them.
const GROUPS: [(&str, &[&str]); 3] = [
    ("MemberEvent", &MEMBER),
    ("ReachabilityEvent", &REACHABILITY),
    ("DataCenterReachabilityEvent", &DATA_CENTER),
];
const ALL: &str = "ClusterDomainEvent";

/// The events of these types (none: all), beginning with those that lead to how it is now.
pub(super) fn stream(
    cluster: &cluster::Handle,
    types: &[String],
) -> Result<BoxStream<'static, DomainEvent>, ApiError> {
    let wanted = wanted(types)?;
    let changes = Changes {
        me: cluster.me(),
        views: cluster.watch(),
        before: None,
        ready: VecDeque::new(),
        over: false,
    };
    let events = unfold(changes, |mut changes| async {
        Some((changes.next().await?, changes))
    });
    let is_wanted = move |event: &DomainEvent| std::future::ready(wanted.contains(event.kind));
    Ok(events.filter(is_wanted).boxed())
}

fn wanted(types: &[String]) -> Result<BTreeSet<&'static str>, ApiError> {
    let single = || {
        MEMBER
            .into_iter()
            .chain(REACHABILITY)
            .chain(DATA_CENTER)
            .chain(OTHERS)
    };
    if types.is_empty() {
        return Ok(single().collect());
    }
    let mut wanted = BTreeSet::new();
    for name in types {
        let group = GROUPS.iter().find(|(group, _)| group == name);
        match (single().find(|one| one == name), group) {
            (Some(one), _) => _ = wanted.insert(one),
            (_, Some((_, of))) => wanted.extend(of.iter()),
            _ if name == ALL => wanted.extend(single()),
            _ => {
                let groups = GROUPS.iter().map(|(group, _)| *group);
                let known: Vec<_> = [ALL].into_iter().chain(groups).chain(single()).collect();
                return Err(ApiError::bad(
                    "bad_type",
                    format!("there is no event type {name:?}: use {}", known.join(", ")),
                ));
            }
        }
    }
    Ok(wanted)
}

/// The views as they change, and the events between them.
struct Changes {
    me: Incarnation,
    views: watch::Receiver<View>,
    before: Option<Members>,
    /// Of one step only.
    ready: VecDeque<DomainEvent>,
    over: bool,
}

impl Changes {
    /// `None`: this node has left the cluster.
    async fn next(&mut self) -> Option<DomainEvent> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.over {
                return None;
            }
            if self.before.is_some() && self.views.changed().await.is_err() {
                self.over = true;
                return Some(event("ClusterShuttingDown", json!({})));
            }
            let now = Members::of(self.views.borrow_and_update().clone(), self.me);
            self.ready = between(self.before.as_ref(), &now).into();
            self.before = Some(now);
        }
    }
}

/// What happened between two views.
fn between(before: Option<&Members>, now: &Members) -> Vec<DomainEvent> {
    let was = |node: Incarnation| {
        let mut members = before.into_iter().flat_map(Members::iter);
        members.find(|member| member.node.incarnation == node)
    };
    let is = |node: Incarnation| now.iter().any(|member| member.node.incarnation == node);
    let mut events = Vec::new();
    for member in now.iter() {
        let earlier = was(member.node.incarnation);
        if earlier.is_none_or(|earlier| earlier.status != member.status) {
            events.push(of_member(reached(member.status), member));
        }
        let (missed, before) = (
            !member.observers.is_empty(),
            earlier.is_some_and(|earlier| !earlier.observers.is_empty()),
        );
        match (before, missed) {
            (false, true) => events.push(of_member("UnreachableMember", member)),
            (true, false) => events.push(of_member("ReachableMember", member)),
            _ => {}
        }
    }
    for gone in before.into_iter().flat_map(Members::iter) {
        if !is(gone.node.incarnation) {
            let mut removed = of_member("MemberRemoved", gone);
            removed.data["member"]["status"] = "Removed".into();
            removed.data["previousStatus"] = gone.status.as_str().into();
            events.push(removed);
        }
    }
    events.extend(leaders(before, now));
    events
}

fn leaders(before: Option<&Members>, now: &Members) -> Vec<DomainEvent> {
    let of = |members: Option<&Members>, role| members?.leader(role).map(address);
    let roles = [None, Some(Role::Gateway), Some(Role::Writer)];
    let changed = roles.into_iter().filter_map(|role| {
        let leader = of(Some(now), role);
        if leader == of(before, role) && before.is_some() {
            return None;
        }
        let mut data = leader.map_or(json!({}), |leader| json!({"address": leader}));
        Some(match role {
            None => event("LeaderChanged", data),
            Some(role) => {
                data["role"] = role_name(role).into();
                event("RoleLeaderChanged", data)
            }
        })
    });
    changed.collect()
}

fn reached(status: Status) -> &'static str {
    match status {
        Status::Joining => "MemberJoined",
        Status::Up => "MemberUp",
        Status::Leaving => "MemberLeft",
        Status::Exiting => "MemberExited",
        Status::Down => "MemberDowned",
    }
}

fn of_member(kind: &'static str, member: &Member) -> DomainEvent {
    let data = json!({"member": {
        "dataCenter": "default",
        "roles": roles(member),
        "status": member.status.as_str(),
        "uniqueAddress": {"address": address(member), "longUid": uid(member.node.incarnation)},
    }});
    event(kind, data)
}

fn event(kind: &'static str, mut data: Value) -> DomainEvent {
    data["type"] = kind.into();
    DomainEvent { kind, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::example::member;

    fn members(all: Vec<Member>) -> Members {
        let view = View {
            members: all,
            ..View::default()
        };
        let me = Incarnation::new(uuid::Uuid::from_u128(1));
        Members::of(view, me)
    }

    fn kinds(events: &[DomainEvent]) -> Vec<&str> {
        events.iter().map(|event| event.kind).collect()
    }

    #[test]
    fn each_step_of_a_member_is_an_event() {
        let one = |status| members(vec![member(1, 1, Status::Up), member(2, 2, status)]);
        let first = between(None, &members(vec![member(1, 1, Status::Up)]));
        let leaders = ["LeaderChanged", "RoleLeaderChanged", "RoleLeaderChanged"];
        assert_eq!(kinds(&first), [&["MemberUp"][..], &leaders].concat());
        let mut before = members(vec![member(1, 1, Status::Up)]);
        for (status, expected) in [
            (Status::Joining, "MemberJoined"),
            (Status::Up, "MemberUp"),
            (Status::Leaving, "MemberLeft"),
            (Status::Exiting, "MemberExited"),
            (Status::Down, "MemberDowned"),
        ] {
            let now = one(status);
            let events = between(Some(&before), &now);
            assert_eq!(kinds(&events), [expected]);
            assert_eq!(events[0].data["type"], expected);
            let unique = &events[0].data["member"]["uniqueAddress"];
            assert_eq!(
                *unique,
                json!({"address": "safe-chat@127.0.0.1:2", "longUid": 2})
            );
            before = now;
        }
        let gone = between(Some(&before), &members(vec![member(1, 1, Status::Up)]));
        assert_eq!(kinds(&gone), ["MemberRemoved"]);
        let data = &gone[0].data;
        assert_eq!(
            (&data["member"]["status"], &data["previousStatus"]),
            (&json!("Removed"), &json!("Down"))
        );
    }

    #[test]
    fn a_member_that_is_missed_leads_no_more() {
        let both = |observed: bool| {
            let (mut first, second) = (member(1, 1, Status::Up), member(2, 2, Status::Up));
            if observed {
                first.observers = vec![second.node.incarnation];
            }
            members(vec![first, second])
        };
        let missed = between(Some(&both(false)), &both(true));
        let leaders = ["LeaderChanged", "RoleLeaderChanged", "RoleLeaderChanged"];
        assert_eq!(
            kinds(&missed),
            [&["UnreachableMember"][..], &leaders].concat()
        );
        assert_eq!(missed[1].data["address"], "safe-chat@127.0.0.1:2");
        let back = between(Some(&both(true)), &both(false));
        assert_eq!(back[0].kind, "ReachableMember");
    }

    #[test]
    fn types_are_named_one_by_one_or_in_groups() {
        let of = |types: &[&str]| {
            let types: Vec<_> = types.iter().map(|name| (*name).to_owned()).collect();
            wanted(&types)
        };
        assert_eq!(of(&[]).unwrap().len(), 14);
        assert_eq!(of(&["ClusterDomainEvent"]).unwrap().len(), 14);
        assert_eq!(of(&["MemberUp"]).unwrap(), BTreeSet::from(["MemberUp"]));
        assert_eq!(of(&["MemberEvent", "LeaderChanged"]).unwrap().len(), 8);
        let error = of(&["MemberUp", "Nonsense"]).unwrap_err();
        assert_eq!(error.status, 400);
        assert!(
            error.message.contains("\"Nonsense\"") && error.message.contains("MemberUp"),
            "{}",
            error.message
        );
    }
}
