//! What a room asks of those who come: by patterns of its name, the first that fits.

use super::Pattern;
use crate::room::RoomId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a room asks of those who read it or say something in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// Nothing. A name belongs to the first key that comes with it.
    #[default]
    Open,
    /// A proof of possession of the key.
    Proven,
    /// A token of an issuer whose keys are known here.
    Token,
}

impl Policy {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "open" => Some(Self::Open),
            "proven" => Some(Self::Proven),
            "token" => Some(Self::Token),
            _ => None,
        }
    }
}

/// Which rooms have which policy.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    rules: Vec<(Pattern, Policy)>,
    otherwise: Policy,
}

impl Rules {
    /// Rules as `PATTERN=POLICY`, in their order, and what holds for all other rooms. The error
    /// says which rule is none.
    pub(super) fn parse(rules: &[String], otherwise: Policy) -> Result<Self, String> {
        let parse = |rule: &String| {
            let parts = rule.split_once('=');
            let (pattern, policy) =
                parts.ok_or_else(|| format!("{rule} is no rule: write PATTERN=POLICY"))?;
            let pattern = Pattern::parse(pattern.trim()).map_err(|why| format!("{rule}: {why}"))?;
            let policy = Policy::parse(policy.trim())
                .ok_or_else(|| format!("{rule}: a policy is open, proven or token"))?;
            Ok::<_, String>((pattern, policy))
        };
        let rules = rules.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { rules, otherwise })
    }

    /// The policy of a room.
    pub(super) fn of(&self, room: &RoomId) -> Policy {
        let mut rules = self.rules.iter();
        let first = rules.find(|(pattern, _)| pattern.matches(room));
        first.map_or(self.otherwise, |(_, policy)| *policy)
    }

    /// Whether some room may have a policy.
    pub(super) fn has(&self, policy: Policy) -> bool {
        self.otherwise == policy || self.rules.iter().any(|(_, other)| *other == policy)
    }

    /// Whether all rooms are open.
    pub(super) fn are_open(&self) -> bool {
        !self.has(Policy::Proven) && !self.has(Policy::Token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_counts() {
        let rules = ["lobby=open", "team-*=token", "team-*=open", "*-log = open"];
        let rules = Rules::parse(&rules.map(str::to_owned), Policy::Token).unwrap();
        for (room, policy) in [
            ("lobby", Policy::Open),
            ("team-red", Policy::Token),
            ("team-log", Policy::Token),
            ("a-log", Policy::Open),
            ("other", Policy::Token),
        ] {
            assert_eq!(rules.of(&RoomId::parse(room).unwrap()), policy, "{room}");
        }
        assert!(!rules.are_open());
        assert!(Rules::default().are_open());
    }

    #[test]
    fn what_is_no_rule_is_named() {
        for (rule, why) in [
            ("lobby", "PATTERN=POLICY"),
            ("lobby=closed", "open, proven or token"),
            ("a b=open", "a pattern of rooms"),
            ("=open", "a pattern of rooms"),
        ] {
            let told = Rules::parse(&[rule.to_owned()], Policy::Open).unwrap_err();
            assert!(told.starts_with(rule) && told.contains(why), "{told}");
        }
    }
}
