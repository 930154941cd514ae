//! The members of the cluster in the form of Akka Management, which operators' scripts read.

use crate::{
    bus::Role,
    cluster::{Member, Status, View},
    ops::{ApiError, answer},
    room::Incarnation,
};
use axum::http::StatusCode;
use std::{cmp::Reverse, collections::BTreeMap};

/// What stands before the address of every node.
const SYSTEM: &str = "safe-chat";
/// The role that Akka gives every member, after its one data centre.
const DATA_CENTER_ROLE: &str = "dc-default";
/// So many low bits of an incarnation are its uid: as many as every JSON reader keeps.
const UID: u64 = (1 << 53) - 1;

/// The members as one node sees them, by address.
pub(super) struct Members {
    me: Incarnation,
    all: Vec<Member>,
}

impl Members {
    pub(super) fn of(view: View, me: Incarnation) -> Self {
        let mut all = view.members;
        all.sort_by_cached_key(sort_key);
        Self { me, all }
    }

    /// All of them, as `GET /cluster/members` has them.
    pub(super) fn shown(&self) -> answer::Members {
        answer::Members {
            self_node: self.name(self.me),
            members: self.all.iter().map(shown).collect(),
            unreachable: self.unreachable(),
            leader: self.leader(None).map(address),
            oldest: self.oldest(None).map(address),
            oldest_per_role: self.oldest_per_role(),
        }
    }

    /// The members that a new one could turn to.
    pub(super) fn seeds(&self) -> answer::SeedNodes {
        let seeds = self.all.iter().filter(|member| is_up(member));
        answer::SeedNodes {
            self_node: self.name(self.me),
            seed_nodes: seeds.map(shown).collect(),
        }
    }

    /// The member of an address, a name or an incarnation. Of several runs under one address, the
    /// one that is not down, then the newest.
    pub(super) fn find(&self, asked: &str) -> Result<&Member, ApiError> {
        self.called(asked)
            .max_by_key(|member| (member.status != Status::Down, member.node.incarnation))
            .ok_or_else(|| {
                let message = format!("Member [{asked}] not found");
                ApiError::akka(StatusCode::NOT_FOUND, message)
            })
    }

    /// The same for what is done to it: where several that live go by that, none is.
    pub(super) fn find_one(&self, asked: &str) -> Result<&Member, ApiError> {
        let live = |member: &&Member| member.status != Status::Down;
        let living: Vec<_> = self.called(asked).filter(live).collect();
        if living.len() <= 1 {
            return self.find(asked);
        }
        let each = living.iter().map(|member| {
            let node = &member.node;
            format!("{} ({}, {})", node.incarnation, node.name, address(member))
        });
        let each: Vec<_> = each.collect();
        let message = format!(
            "Member [{asked}] is several: name one by its incarnation: {}",
            each.join(", ")
        );
        Err(ApiError::akka(StatusCode::CONFLICT, message))
    }

    /// All runs that go by an address, a name or an incarnation.
    fn called(&self, asked: &str) -> impl Iterator<Item = &Member> {
        let plain = plain(asked).to_owned();
        self.all.iter().filter(move |member| {
            let node = &member.node;
            node.address.eq_ignore_ascii_case(&plain)
                || node.name == plain
                || node.incarnation.to_string() == plain
        })
    }

    /// The reachable member with the lowest address that is up or leaving; of a role, or of all.
    pub(super) fn leader(&self, role: Option<Role>) -> Option<&Member> {
        let leads = |member: &&Member| {
            matches!(member.status, Status::Up | Status::Leaving) && member.observers.is_empty()
        };
        self.all.iter().filter(|m| has(m, role)).find(leads)
    }

    /// The member that joined first of those that are up.
    fn oldest(&self, role: Option<Role>) -> Option<&Member> {
        let up = self.all.iter().filter(|member| member.status == Status::Up);
        up.filter(|member| has(member, role))
            .min_by_key(|member| member.node.incarnation)
    }

    fn oldest_per_role(&self) -> BTreeMap<String, String> {
        let named = [Role::Gateway, Role::Writer].map(|role| (role_name(role), Some(role)));
        let all = named.into_iter().chain([(DATA_CENTER_ROLE, None)]);
        all.filter_map(|(name, role)| Some((name.to_owned(), address(self.oldest(role)?))))
            .collect()
    }

    fn unreachable(&self) -> Vec<answer::Unreachable> {
        let missed = self
            .all
            .iter()
            .filter(|member| !member.observers.is_empty());
        missed
            .map(|member| {
                let observers = member.observers.iter().map(|node| self.name(*node));
                answer::Unreachable {
                    node: address(member),
                    observed_by: observers.collect(),
                }
            })
            .collect()
    }

    /// The address of a member.
    pub(super) fn name(&self, node: Incarnation) -> String {
        let member = self
            .all
            .iter()
            .find(|member| member.node.incarnation == node);
        member.map_or_else(|| format!("{SYSTEM}@{node}"), address)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.all.iter()
    }
}

/// Where a member is, as it goes by.
pub(super) fn address(member: &Member) -> String {
    let node = &member.node;
    match node.address.is_empty() {
        true => format!("{SYSTEM}@{}", node.name),
        false => format!("{SYSTEM}@{}", node.address),
    }
}

/// A member as it is shown: what Akka says, and beside it what we know.
pub(super) fn shown(member: &Member) -> answer::Member {
    let node = &member.node;
    answer::Member {
        node: address(member),
        node_uid: uid(node.incarnation).to_string(),
        status: match member.status {
            Status::Joining => answer::Status::Joining,
            Status::Up => answer::Status::Up,
            Status::Leaving => answer::Status::Leaving,
            Status::Exiting => answer::Status::Exiting,
            Status::Down => answer::Status::Down,
        },
        roles: roles(member).into_iter().map(str::to_owned).collect(),
        name: node.name.clone(),
        incarnation: node.incarnation.to_string(),
        version: node.version.to_string(),
        commit: node.commit.to_string(),
        formats: node.formats,
    }
}

/// The roles of a member, as Akka says them.
pub(super) fn roles(member: &Member) -> Vec<&'static str> {
    let roles = member.node.roles.iter().map(|role| role_name(*role));
    roles.chain([DATA_CENTER_ROLE]).collect()
}

/// A number for one run of a node.
pub(super) fn uid(node: Incarnation) -> u64 {
    u128::from_be_bytes(node.to_bytes()) as u64 & UID
}

/// Whether a new member could turn to it.
fn is_up(member: &Member) -> bool {
    member.status == Status::Up && member.observers.is_empty()
}

fn has(member: &Member, role: Option<Role>) -> bool {
    role.is_none_or(|role| member.node.roles.contains(&role))
}

pub(super) fn role_name(role: Role) -> &'static str {
    match role {
        Role::Gateway => "gateway",
        Role::Writer => "writer",
    }
}

/// By host, then by port as a number, then the newest run of one address first.
fn sort_key(member: &Member) -> (String, u16, Reverse<Incarnation>) {
    let address: &str = &member.node.address;
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    let run = Reverse(member.node.incarnation);
    (host.to_owned(), port.parse().unwrap_or_default(), run)
}

/// An address without `akka://` (of which a proxy may have left one slash) and without
/// `safe-chat@`.
fn plain(asked: &str) -> &str {
    let is_scheme = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
    let without_scheme = match asked.split_once(":/") {
        Some((scheme, rest)) if is_scheme(scheme) => rest.trim_start_matches('/'),
        _ => asked,
    };
    let rest = without_scheme.strip_prefix(SYSTEM);
    rest.and_then(|rest| rest.strip_prefix('@'))
        .unwrap_or(without_scheme)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::example::member;
    use serde_json::json;
    use uuid::Uuid;

    fn members(all: Vec<Member>) -> Members {
        let me = all[0].node.incarnation;
        let view = View {
            members: all,
            ..View::default()
        };
        Members::of(view, me)
    }

    #[test]
    fn a_member_is_found_by_whatever_it_goes_by() {
        let all = members(vec![
            member(1, 8558, Status::Up),
            member(2, 9558, Status::Down),
            member(3, 9558, Status::Up),
            member(4, 9558, Status::Down),
        ]);
        for (asked, n) in [
            ("safe-chat@127.0.0.1:8558", 1),
            ("akka://safe-chat@127.0.0.1:8558", 1),
            ("akka.tcp://safe-chat@127.0.0.1:8558", 1),
            ("akka:/safe-chat@127.0.0.1:8558", 1),
            ("127.0.0.1:8558", 1),
            ("node-1", 1),
            ("127.0.0.1:9558", 3),
        ] {
            let found = all.find(asked).unwrap().node.incarnation;
            assert_eq!(found, Incarnation::new(Uuid::from_u128(n)), "{asked}");
        }
        for asked in ["", "127.0.0.1", "other@127.0.0.1:8558", "node-9", "a:/"] {
            let error = all.find(asked).unwrap_err();
            assert_eq!(error.status, StatusCode::NOT_FOUND);
            assert_eq!(error.message, format!("Member [{asked}] not found"));
        }
    }

    #[test]
    fn what_several_that_live_go_by_is_refused_for_what_changes_one() {
        let all = members(vec![
            member(1, 8558, Status::Up),
            member(2, 8558, Status::Up),
            member(3, 8558, Status::Down),
            member(4, 9558, Status::Down),
            member(5, 9558, Status::Up),
        ]);
        let error = all.find_one("safe-chat@127.0.0.1:8558").unwrap_err();
        assert_eq!(error.status, StatusCode::CONFLICT);
        let incarnation = |n| Incarnation::new(Uuid::from_u128(n)).to_string();
        for n in [1, 2] {
            assert!(error.message.contains(&incarnation(n)), "{}", error.message);
            assert!(
                error.message.contains(&format!("node-{n}")),
                "{}",
                error.message
            );
            let found = all.find_one(&incarnation(n)).unwrap();
            assert_eq!(found.node.name, format!("node-{n}"));
        }
        assert!(
            !error.message.contains(&incarnation(3)),
            "{}",
            error.message
        );
        assert_eq!(all.find_one("127.0.0.1:9558").unwrap().node.name, "node-5");
        assert_eq!(all.find_one("node-4").unwrap().node.name, "node-4");
        assert_eq!(
            all.find_one("nobody").unwrap_err().status,
            StatusCode::NOT_FOUND
        );
        assert!(
            all.find("safe-chat@127.0.0.1:8558").is_ok(),
            "looking is harmless"
        );
    }

    #[test]
    fn the_leader_has_the_lowest_address_and_the_oldest_joined_first() {
        let mut gateway = member(1, 10_000, Status::Up);
        gateway.node.roles = vec![Role::Gateway];
        let mut missed = member(5, 80, Status::Up);
        missed.observers = vec![gateway.node.incarnation];
        let answer = members(vec![
            gateway,
            member(2, 9000, Status::Up),
            member(3, 800, Status::Joining),
            member(4, 700, Status::Down),
            missed,
        ])
        .shown();
        let answer = json!(answer);
        assert_eq!(answer["selfNode"], "safe-chat@127.0.0.1:10000");
        assert_eq!(answer["leader"], "safe-chat@127.0.0.1:9000");
        assert_eq!(answer["oldest"], "safe-chat@127.0.0.1:10000");
        assert_eq!(
            answer["oldestPerRole"],
            json!({
                "gateway": "safe-chat@127.0.0.1:10000",
                "writer": "safe-chat@127.0.0.1:9000",
                "dc-default": "safe-chat@127.0.0.1:10000",
            })
        );
        assert_eq!(
            answer["unreachable"],
            json!([{
                "node": "safe-chat@127.0.0.1:80",
                "observedBy": ["safe-chat@127.0.0.1:10000"],
            }])
        );
        let ports = answer["members"].as_array().unwrap().iter();
        let ports: Vec<_> = ports.map(|m| m["node"].as_str().unwrap()).collect();
        let sorted = ["80", "700", "800", "9000", "10000"];
        assert!(
            ports.iter().zip(sorted).all(|(a, port)| a.ends_with(port)),
            "by number: {ports:?}"
        );
        assert_eq!(answer["members"][4]["nodeUid"], "1");
    }
}
