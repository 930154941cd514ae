//! Cassandra, when it is the journal: tables, syncing and copies, clocks.

use super::{Finding, State, clock};
use crate::{
    app::compared::{self, Newest},
    config::{Config, JournalKind},
    journal::{
        Error,
        cassandra::{self, Examined, Worth},
    },
};

/// `refusal`: why no node of this configuration may start.
pub(super) async fn look(config: &Config, refusal: Option<&str>) -> Vec<Finding> {
    let server = |state, message: String| Finding::new("cassandra: server", state, message);
    if config.journal.kind == JournalKind::Bus {
        return vec![server(
            State::Skipped,
            "not used here: rooms are kept on the bus".into(),
        )];
    }
    match cassandra::examine(&config.cassandra).await {
        Ok(found) => {
            let mut findings = vec![
                server(State::Ok, format!("Cassandra {}", found.release)),
                nodes(&found),
                schema(&found, config, refusal),
                commit_log(&found),
            ];
            for (node, ahead_ms) in &found.ahead_ms {
                // Who does not answer is named above.
                let told = ahead_ms.map(|ms| clock("cassandra: clock", node, Some(ms)));
                findings.extend(told);
            }
            findings
        }
        Err(error) => vec![server(State::Fail, error.to_string())],
    }
}

/// Whether it has the newest events that were published. `is_refused`: no node of this
/// configuration may start, so that what is there is not its cluster's.
pub(super) async fn newest(config: &Config, is_refused: bool) -> Option<Finding> {
    let check = "cassandra: newest";
    if config.journal.kind == JournalKind::Bus || is_refused {
        return None;
    }
    Some(match compared::newest(config).await {
        Ok(Newest::All(rooms)) => Finding::new(
            check,
            State::Ok,
            format!("it has what was published last (rooms compared: {rooms})"),
        ),
        Ok(Newest::Nothing(why)) => Finding::new(check, State::Skipped, why),
        Ok(Newest::Less(what)) => Finding::new(check, State::Fail, what),
        Err(error) => {
            let is_refused = matches!(error.downcast_ref(), Some(Error::Unusable(_)));
            let state = if is_refused {
                State::Fail
            } else {
                State::Skipped
            };
            Finding::new(check, state, format!("cannot be seen: {error:#}"))
        }
    })
}

/// Whether all nodes of the datacenter answer, and how much it matters if not.
fn nodes(found: &Examined) -> Finding {
    let check = "cassandra: nodes";
    let lost = found.ahead_ms.iter().filter(|(_, told)| told.is_none());
    let lost: Vec<&str> = lost.map(|(node, _)| &**node).collect();
    let (all, copies) = (found.ahead_ms.len(), found.durability.copies.unwrap_or(1));
    if lost.is_empty() {
        return Finding::new(check, State::Ok, format!("all {all} answer"));
    }
    // A quorum of copies must be there.
    let may_be_lost = copies.saturating_sub(copies / 2 + 1);
    let (state, effect) = match lost.len() > may_be_lost {
        true => (
            State::Fail,
            "nothing is journaled in rooms whose copies they have",
        ),
        false if lost.len() == may_be_lost => (State::Warn, "with one more, nothing is journaled"),
        false => (State::Warn, "there are copies enough for now"),
    };
    let lost = lost.join(", ");
    Finding::new(
        check,
        state,
        format!(
            "{lost} of {all} do not answer (copies: {copies}): {effect}; start them (nodetool \
             status), and repair what was away for hours (nodetool repair)"
        ),
    )
}

fn schema(found: &Examined, config: &Config, refusal: Option<&str>) -> Finding {
    let check = "cassandra: tables";
    match (&found.schema, refusal) {
        (Ok(()), _) => Finding::new(
            check,
            State::Ok,
            format!("keyspace {}", config.cassandra.keyspace),
        ),
        // Tables are not to be made for nodes that are refused.
        (Err(Error::Unusable(_)), Some(why)) => Finding::new(check, State::Fail, why),
        (Err(error @ Error::Unusable(_)), None) if config.cassandra.auto_migrate => Finding::new(
            check,
            State::Warn,
            format!("{error}; a node that starts does (cassandra.auto_migrate)"),
        ),
        (Err(error), _) => Finding::new(check, State::Fail, error.to_string()),
    }
}

fn commit_log(found: &Examined) -> Finding {
    let (state, message) = match found.durability.worth() {
        Worth::Kept(what) => (State::Ok, what),
        Worth::Weak(what) | Worth::Unknown(what) => (State::Warn, what),
        Worth::Lost(what) => (State::Fail, what),
    };
    Finding::new("cassandra: commit log", state, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::cassandra::Durability;

    #[test]
    fn nodes_that_do_not_answer_are_named_and_judged_by_the_copies() {
        let judged = |answers: &[bool], copies| {
            let node =
                |(n, answers): (usize, &bool)| (format!("10.0.0.{n}:9042"), answers.then_some(0));
            nodes(&Examined {
                release: "5.0".into(),
                schema: Ok(()),
                durability: Durability {
                    syncing: Vec::new(),
                    copies: Some(copies),
                    nodes: answers.len(),
                },
                ahead_ms: (1..).zip(answers).map(node).collect(),
            })
        };
        assert_eq!(judged(&[true, true, true], 3).state, State::Ok);
        let one = judged(&[true, false, true], 3);
        assert_eq!(one.state, State::Warn);
        let told = one.message.contains("10.0.0.2:9042 of 3") && one.message.contains("start");
        assert!(told, "{}", one.message);
        let two = judged(&[false, false, true], 3);
        assert_eq!(two.state, State::Fail);
        assert!(two.message.contains("10.0.0.1:9042, 10.0.0.2:9042"));
        assert_eq!(judged(&[true, false], 1).state, State::Fail);
        assert_eq!(
            judged(&[true, true, true, true, false], 5).state,
            State::Warn
        );
    }
}
