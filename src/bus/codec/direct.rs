//! What nodes say to each other.

use super::{Bad, device, former, id, key, policy, room, session, user};
use crate::{
    bus::{
        Admission, Answer, Answered, Ask, BatchOutcome, Head, Inbound, MessageOutcome, OfBatch,
        Outcomes, RoomView, Stays, Wanted,
    },
    journal::codec::{decode_retention, encode_retention, number},
    proto::bus::v1::{
        self,
        ask::{Admission as WireAdmission, Members as WireMembers},
        heads::Head as WireHead,
        inbound::{
            Answer as WireAnswer, Early, Expel, Journaled, Message as Wire, OfBatch as WireOfBatch,
            OfMessage, Outcomes as WireOutcomes, Replaced, answer::Answered as WireAnswered,
            of_message::Outcome as WireOutcome,
        },
        room_view::{Erasing as WireErasing, Group as WireGroup, Stays as WireStays},
    },
    room::{DeviceId, Epoch, Hold, Identity, Policy, Reason, Reentry, Rejection, Seq, UserId},
};
use bytes::Bytes;
use prost::Message;

/// Something for one node, as it is sent.
pub fn encode_inbound(inbound: &Inbound) -> Bytes {
    let message = match inbound {
        Inbound::Answer(Answer { tag, answered }) => {
            let answered = match answered {
                Answered::Journaled {
                    seq,
                    epoch,
                    duplicate,
                } => WireAnswered::Journaled(encode_journaled(*seq, *epoch, *duplicate)),
                Answered::Rejected(rejection) => {
                    WireAnswered::Rejected(encode_rejection(rejection))
                }
            };
            Wire::Answer(WireAnswer {
                tag: *tag,
                answered: Some(answered),
            })
        }
        Inbound::Early { tag } => Wire::Early(Early { tag: *tag }),
        Inbound::Outcomes(Outcomes { room, batches }) => Wire::Outcomes(WireOutcomes {
            room: room.to_string(),
            batches: batches.iter().map(encode_of_batch).collect(),
        }),
        Inbound::Replaced { room, session } => Wire::Replaced(Replaced {
            room: room.to_string(),
            session: id(session.to_bytes()),
        }),
        Inbound::Expel { room, user } => Wire::Expel(Expel {
            room: room.to_string(),
            user: user.to_string(),
        }),
    };
    v1::Inbound {
        message: Some(message),
    }
    .encode_to_vec()
    .into()
}

/// Reads what [`encode_inbound`] gave.
pub fn decode_inbound(bytes: Bytes) -> Result<Inbound, Bad> {
    let unknown = || Bad("a message to a node of a kind that this version does not know".into());
    match v1::Inbound::decode(bytes)?.message.ok_or_else(unknown)? {
        Wire::Answer(WireAnswer { tag, answered }) => {
            let answered = match answered.ok_or_else(unknown)? {
                WireAnswered::Journaled(journaled) => decode_journaled(journaled)?,
                WireAnswered::Rejected(rejection) => {
                    Answered::Rejected(decode_rejection(rejection)?)
                }
            };
            Ok(Inbound::Answer(Answer { tag, answered }))
        }
        Wire::Early(Early { tag }) => Ok(Inbound::Early { tag }),
        Wire::Outcomes(WireOutcomes {
            room: name,
            batches,
        }) => {
            let batches = batches.into_iter().map(decode_of_batch);
            Ok(Inbound::Outcomes(Outcomes {
                room: room(&name)?,
                batches: batches.collect::<Result<_, _>>()?,
            }))
        }
        Wire::Replaced(replaced) => Ok(Inbound::Replaced {
            room: room(&replaced.room)?,
            session: session(&replaced.session)?,
        }),
        Wire::Expel(expel) => Ok(Inbound::Expel {
            room: room(&expel.room)?,
            user: user(&expel.user)?,
        }),
    }
}

fn encode_journaled(seq: Seq, epoch: Epoch, duplicate: bool) -> Journaled {
    Journaled {
        seq: seq.0,
        epoch: epoch.0,
        duplicate,
    }
}

fn decode_journaled(journaled: Journaled) -> Result<Answered, Bad> {
    Ok(Answered::Journaled {
        seq: seq_of(journaled.seq)?,
        epoch: epoch_of(journaled.epoch)?,
        duplicate: journaled.duplicate,
    })
}

fn encode_of_batch(of: &OfBatch) -> WireOfBatch {
    let mut wire = WireOfBatch {
        generation: of.generation,
        sequence: of.sequence,
        ..WireOfBatch::default()
    };
    match &of.outcome {
        BatchOutcome::OutOfOrder { expected } => wire.expected = *expected,
        BatchOutcome::Refused(rejection) => wire.refused = Some(encode_rejection(rejection)),
        BatchOutcome::Messages(messages) => {
            let messages = messages.iter();
            wire.messages = messages
                .map(|(index, of)| encode_of_message(*index, of))
                .collect();
        }
    }
    wire
}

fn encode_of_message(index: u32, outcome: &MessageOutcome) -> OfMessage {
    let outcome = match outcome {
        MessageOutcome::Answered(Answered::Journaled {
            seq,
            epoch,
            duplicate,
        }) => WireOutcome::Journaled(encode_journaled(*seq, *epoch, *duplicate)),
        MessageOutcome::Answered(Answered::Rejected(rejection)) => {
            WireOutcome::Rejected(encode_rejection(rejection))
        }
        MessageOutcome::DecidedBy(seq) => WireOutcome::DecidedBy(seq.0),
    };
    OfMessage {
        index,
        outcome: Some(outcome),
    }
}

fn decode_of_batch(of: WireOfBatch) -> Result<OfBatch, Bad> {
    let messages = of.messages.into_iter().map(decode_of_message);
    let outcome = match (of.expected, of.refused) {
        (0, None) => BatchOutcome::Messages(messages.collect::<Result<_, _>>()?),
        (0, Some(rejection)) => BatchOutcome::Refused(decode_rejection(rejection)?),
        (expected, _) => BatchOutcome::OutOfOrder {
            expected: number("batch", expected)?,
        },
    };
    Ok(OfBatch {
        generation: of.generation,
        sequence: of.sequence,
        outcome,
    })
}

fn decode_of_message(of: OfMessage) -> Result<(u32, MessageOutcome), Bad> {
    let unknown = || Bad("what became of a message is of an unknown kind".into());
    let outcome = match of.outcome.ok_or_else(unknown)? {
        WireOutcome::Journaled(journaled) => MessageOutcome::Answered(decode_journaled(journaled)?),
        WireOutcome::Rejected(rejection) => {
            MessageOutcome::Answered(Answered::Rejected(decode_rejection(rejection)?))
        }
        WireOutcome::DecidedBy(seq) => MessageOutcome::DecidedBy(seq_of(seq)?),
    };
    Ok((of.index, outcome))
}

/// A question, as it is sent.
pub fn encode_ask(ask: &Ask) -> Bytes {
    let admission = ask.admission.as_ref().map(|admission| WireAdmission {
        user: admission.user.to_string(),
        key: admission.key.as_str().into(),
        device: admission.device.as_ref().map(DeviceId::to_string),
        proven: admission.identity.is_proven(),
        vouched: admission.key.is_vouched(),
        policy: admission.policy.map(|policy| policy.as_str().into()),
        former: admission.former.as_ref().map(|key| key.as_str().into()),
    });
    let members = match &ask.members {
        Wanted::All => None,
        Wanted::Nobody => Some(WireMembers {
            none: true,
            after: String::new(),
        }),
        Wanted::After(after) => Some(WireMembers {
            none: false,
            after: after.as_ref().map(UserId::to_string).unwrap_or_default(),
        }),
    };
    v1::Ask {
        room: ask.room.to_string(),
        admission,
        members,
        group: ask.group,
    }
    .encode_to_vec()
    .into()
}

/// Reads what [`encode_ask`] gave.
pub fn decode_ask(bytes: Bytes) -> Result<Ask, Bad> {
    let ask = v1::Ask::decode(bytes)?;
    let admission = ask.admission.map(|wire| {
        Ok::<_, Bad>(Admission {
            user: user(&wire.user)?,
            key: key(&wire.key, wire.vouched)?,
            identity: Identity::of(wire.proven),
            device: device(wire.device.as_deref())?,
            policy: policy(wire.policy.as_deref())?,
            former: former(wire.former.as_deref())?,
        })
    });
    let members = match ask.members {
        None => Wanted::All,
        Some(WireMembers { none: true, .. }) => Wanted::Nobody,
        Some(WireMembers { after, .. }) if after.is_empty() => Wanted::After(None),
        Some(WireMembers { after, .. }) => Wanted::After(Some(user(&after)?)),
    };
    Ok(Ask {
        room: room(&ask.room)?,
        admission: admission.transpose()?,
        members,
        group: ask.group,
    })
}

/// The answer to a question, as it is sent.
pub fn encode_view(view: &RoomView) -> Bytes {
    let members = view.members.iter().map(UserId::to_string).collect();
    let refused = view.refused.as_ref().map(encode_rejection);
    v1::RoomView {
        epoch: view.epoch.0,
        head: view.head.0,
        members,
        refused,
        snapshot: view.snapshot.0,
        more_members: view.more_members,
        policy: (view.policy != Policy::Open).then(|| view.policy.as_str().into()),
        group: view.group.as_ref().map(|group| WireGroup {
            epoch: group.epoch,
            group_info: group.group_info.clone(),
            tree: group.tree.clone(),
            made_at: group.made_at.0,
        }),
        first: view.first.0,
        retention: view.retention.as_ref().map(encode_retention),
        purged: view.purged.0,
        erasing: view.erasing.iter().map(encode_erasing).collect(),
        stays: view.stays.as_ref().map(|stays| WireStays {
            holds: stays.holds.iter().map(|it| it.as_str().into()).collect(),
            gone_after_s: stays.gone_after_s,
        }),
        new_name: view.is_new_name,
    }
    .encode_to_vec()
    .into()
}

/// Reads what [`encode_view`] gave.
pub fn decode_view(bytes: Bytes) -> Result<RoomView, Bad> {
    let view = v1::RoomView::decode(bytes)?;
    let members = view
        .members
        .iter()
        .map(|name| user(name))
        .collect::<Result<_, _>>()?;
    let refused = view.refused.map(decode_rejection).transpose()?;
    let group = view.group.map(|group| {
        Ok::<_, Bad>(Reentry {
            epoch: group.epoch,
            made_at: seq_of(group.made_at)?,
            group_info: group.group_info,
            tree: group.tree,
        })
    });
    Ok(RoomView {
        epoch: epoch_of(view.epoch)?,
        head: seq_of(view.head)?,
        members,
        more_members: view.more_members,
        refused,
        snapshot: seq_of(view.snapshot)?,
        policy: policy(view.policy.as_deref())?.unwrap_or_default(),
        group: group.transpose()?,
        first: seq_of(view.first)?,
        retention: view.retention.as_ref().map(decode_retention),
        purged: seq_of(view.purged)?,
        erasing: view
            .erasing
            .iter()
            .map(|it| Ok((user(&it.user)?, seq_of(it.through)?)))
            .collect::<Result<_, Bad>>()?,
        stays: view.stays.map(|stays| Stays {
            holds: stays.holds.iter().map(|it| Hold::of(it)).collect(),
            gone_after_s: stays.gone_after_s,
        }),
        is_new_name: view.new_name,
    })
}

fn encode_erasing((user, through): (&UserId, Seq)) -> WireErasing {
    WireErasing {
        user: user.to_string(),
        through: through.0,
    }
}

/// Where rooms end, as it is sent.
pub fn encode_heads(heads: &[Head]) -> Bytes {
    let heads = heads
        .iter()
        .map(|head| WireHead {
            room: head.room.to_string(),
            epoch: head.epoch.0,
            seq: head.seq.0,
        })
        .collect();
    v1::Heads { heads }.encode_to_vec().into()
}

/// Reads what [`encode_heads`] gave.
pub fn decode_heads(bytes: Bytes) -> Result<Vec<Head>, Bad> {
    let heads = v1::Heads::decode(bytes)?.heads.into_iter();
    heads
        .map(|head| {
            Ok(Head {
                room: room(&head.room)?,
                epoch: epoch_of(head.epoch)?,
                seq: seq_of(head.seq)?,
            })
        })
        .collect()
}

fn seq_of(value: u64) -> Result<Seq, Bad> {
    Ok(Seq(number("event", value)?))
}

fn epoch_of(value: u64) -> Result<Epoch, Bad> {
    Ok(Epoch(number("epoch", value)?))
}

fn encode_rejection(rejection: &Rejection) -> v1::Rejection {
    let Rejection {
        reason,
        message,
        retry_after_ms,
        seq,
    } = rejection;
    let known = reason.known_before();
    v1::Rejection {
        reason: known.as_str().into(),
        message: message.clone(),
        retry_after_ms: *retry_after_ms,
        later: (known != *reason).then(|| reason.as_str().into()),
        seq: seq.map(|seq| seq.0),
    }
}

fn decode_rejection(wire: v1::Rejection) -> Result<Rejection, Bad> {
    let later = wire.later.as_deref().and_then(Reason::parse);
    let reason = later
        .or_else(|| Reason::parse(&wire.reason))
        .ok_or_else(|| Bad("a reason that this version does not know".into()))?;
    Ok(Rejection {
        reason,
        message: wire.message,
        retry_after_ms: wire.retry_after_ms,
        seq: wire.seq.map(Seq),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::codec::{decode_command, decode_node, decode_shard},
        room::Retention,
    };

    #[test]
    fn a_refusal_says_which_event_was_faster_and_one_of_before_says_none() {
        let stale = crate::room::stale_epoch(3, Seq(17));
        let wire = encode_rejection(&stale);
        let before = v1::Rejection {
            seq: None,
            ..wire.clone()
        };
        assert_eq!(decode_rejection(wire).unwrap(), stale);
        let read = decode_rejection(before).unwrap();
        assert_eq!((read.reason, read.seq), (Reason::StaleEpoch, None));
    }

    /// Whoever asks can have a server store the answer, where another gateway's commands and
    /// records are.
    #[test]
    fn what_an_owner_answers_is_neither_a_command_nor_a_record() {
        let user = |name| UserId::parse(name).unwrap();
        let refused = [
            None,
            Some(Rejection::new(Reason::Busy, "why")),
            Some(Rejection::retry(Reason::Unavailable, "why", 500)),
        ];
        let room = crate::room::RoomId::parse("aaa").unwrap();
        let mut answers = vec![Bytes::new()];
        for (epoch, head) in [(0, 0), (0, 5), (3, 0), (3, 5)] {
            for members in [vec![], vec![user("harry"), user("charly")]] {
                answers.extend(refused.iter().map(|refused| {
                    encode_view(&RoomView {
                        epoch: Epoch(epoch),
                        head: Seq(head),
                        members: members.clone(),
                        more_members: false,
                        refused: refused.clone(),
                        snapshot: Seq(head),
                        first: Seq(head),
                        retention: Some(Retention::default()).filter(|_| head > 0),
                        stays: (head > 0).then(|| Stays {
                            holds: vec![Hold::Members],
                            gone_after_s: 9,
                        }),
                        ..RoomView::default()
                    })
                }));
            }
        }
        for answer in answers {
            assert!(decode_command(&room, answer.clone()).is_err(), "{answer:?}");
            assert!(decode_node(&answer).is_err() && decode_shard(&answer).is_err());
        }
    }
}
