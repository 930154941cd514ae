//! Words between nodes.

use crate::{
    things::*,
    world::{World, shard_of},
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::BoxStream};
use safe_chat::{
    bus::{
        Admission, Answer, Answered, Ask, BatchOutcome, Error, Inbound, MessageOutcome, OfBatch,
        Outcomes, RoomView,
    },
    room::{DeviceId, Epoch, Identity, Incarnation, Key, Reason, Rejection, Seq, UserId},
};
use std::time::Duration;
use tokio::time::timeout;

fn view(head: u64) -> RoomView {
    RoomView {
        epoch: Epoch(3),
        head: Seq(head),
        members: vec![user("harry"), user("charly")],
        snapshot: Seq(2),
        ..RoomView::default()
    }
}

/// Waits until a node's inbox is known to all servers.
async fn known(world: &World, node: Incarnation, inbox: &mut BoxStream<'static, Inbound>) {
    let word = |tag| {
        Inbound::Answer(Answer {
            tag,
            answered: Answered::Rejected(Rejection::new(Reason::Busy, "known?")),
        })
    };
    let mut tag = 0;
    let seen = soon(async {
        loop {
            tag += 1;
            world.a.tell(node, &word(tag)).await.unwrap();
            if let Ok(seen) = timeout(Duration::from_millis(50), inbox.next()).await {
                return seen;
            }
        }
    });
    let mut seen = seen.await;
    while seen != Some(word(tag)) {
        seen = soon(inbox.next()).await;
    }
}

/// One of each kind.
fn outcomes() -> Outcomes {
    let later = || Rejection::retry(Reason::Busy, "later", 500);
    let repeated = Answered::Journaled {
        seq: Seq(9),
        epoch: Epoch(2),
        duplicate: true,
    };
    let messages = vec![
        (0, MessageOutcome::Answered(repeated)),
        (7, MessageOutcome::Answered(Answered::Rejected(later()))),
        (255, MessageOutcome::DecidedBy(Seq(12))),
    ];
    let outcomes = [
        BatchOutcome::OutOfOrder { expected: 3 },
        BatchOutcome::Refused(later()),
        BatchOutcome::Messages(messages),
    ];
    let of = |(sequence, outcome)| OfBatch {
        generation: 2,
        sequence,
        outcome,
    };
    Outcomes {
        room: room("lobby"),
        batches: (4..).zip(outcomes).map(of).collect(),
    }
}

pub(crate) async fn a_word_reaches_its_node_only(world: World) {
    let (one, two) = (node(), node());
    let (mut of_one, mut of_two) = (
        world.a.inbox(one).await.unwrap(),
        world.b.inbox(two).await.unwrap(),
    );
    let answer = |tag, answered| Inbound::Answer(Answer { tag, answered });
    let words = [
        answer(
            1,
            Answered::Journaled {
                seq: Seq(9),
                epoch: Epoch(2),
                duplicate: true,
            },
        ),
        answer(
            2,
            Answered::Rejected(Rejection::retry(Reason::Busy, "later", 500)),
        ),
        Inbound::Outcomes(outcomes()),
        Inbound::Replaced {
            room: room("lobby"),
            session: session(),
        },
        Inbound::Expel {
            room: room("lobby"),
            user: safe_chat::room::UserId::parse("harry").unwrap(),
        },
    ];
    known(&world, one, &mut of_one).await;
    known(&world, two, &mut of_two).await;
    for word in &words {
        world.a.tell(two, word).await.unwrap();
    }
    world.a.tell(one, &words[0]).await.unwrap();
    world.a.tell(node(), &words[0]).await.unwrap();
    for word in &words {
        assert_eq!(&next(&mut of_two).await, word);
    }
    assert_eq!(next(&mut of_one).await, words[0]);
}

pub(crate) async fn a_question_is_answered_by_the_owner_of_its_shard(world: World) {
    let lobby = room("lobby");
    let shard = shard_of(&lobby);
    let mut questions = world.b.questions(shard).await.unwrap();
    let owner = tokio::spawn(async move {
        for head in [5, 6] {
            let question = next(&mut questions).await;
            assert_eq!(question.ask, Ask::room(room("lobby")));
            (question.respond)(view(head));
        }
        let question = next(&mut questions).await;
        (question.respond)(RoomView {
            refused: Some(Rejection::new(Reason::Unavailable, "why")),
            ..view(0)
        });
        questions
    });
    let ask = Ask::room(lobby);
    assert_eq!(until_ok(async || world.a.ask(&ask).await).await, view(5));
    assert_eq!(world.a.ask(&ask).await.unwrap(), view(6));
    let refused = world.a.ask(&ask).await.unwrap().refused;
    assert_eq!(refused, Some(Rejection::new(Reason::Unavailable, "why")));
    let mut questions = owner.await.unwrap();
    let who = Admission {
        user: UserId::parse("harry").unwrap(),
        key: Key::parse("key").unwrap(),
        identity: Identity::Claimed,
        device: Some(DeviceId::parse("phone").unwrap()),
        policy: None,
        former: None,
    };
    let ask = Ask::admission(room("lobby"), who);
    let (answer, ()) = tokio::join!(world.a.ask(&ask), async {
        let question = next(&mut questions).await;
        assert_eq!(question.ask, ask);
        (question.respond)(view(7));
    });
    assert_eq!(answer.unwrap(), view(7));
}

pub(crate) async fn nobody_answers_for_a_shard_without_owner(world: World) {
    let ask = Ask::room(room("lobby"));
    let nobody = |result| matches!(result, Err(Error::NoResponders(_)));
    assert!(nobody(world.a.ask(&ask).await));
    let questions = world.b.questions(shard_of(&room("lobby"))).await.unwrap();
    drop(questions);
    soon(async { while !nobody(world.a.ask(&ask).await) {} }).await;
}

pub(crate) async fn a_question_that_the_owner_drops_ends_by_its_deadline(world: World) {
    let mut questions = world.b.questions(shard_of(&room("lobby"))).await.unwrap();
    let owner = tokio::spawn(async move {
        let first = next(&mut questions).await;
        (first.respond)(view(1));
        drop(questions.next().await);
        questions
    });
    let ask = Ask::room(room("lobby"));
    until_ok(async || world.a.ask(&ask).await).await;
    let asked = tokio::time::Instant::now();
    let error = world.a.ask(&ask).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(8));
    drop(owner);
}

pub(crate) async fn a_probe_tells_a_node_that_is_there_from_one_that_is_gone(world: World) {
    let node = node();
    assert!(!world.a.probe(node).await.unwrap());
    let guard = world.b.answer_probes(node).await.unwrap();
    soon(async { while !world.a.probe(node).await.unwrap() {} }).await;
    drop(guard);
    soon(async { while world.a.probe(node).await.unwrap_or(true) {} }).await;
}

pub(crate) async fn a_consultation_is_answered_by_its_node_and_ends_in_time(world: World) {
    let (one, two) = (node(), node());
    let ask = async || world.a.consult(one, Bytes::from_static(b"how?")).await;
    // A server that is busy does not answer a question in time either.
    let nobody = |result| matches!(result, Err(Error::NoResponders(_)));
    soon(async { while !nobody(ask().await) {} }).await;
    let mut of_two = world.b.consultations(two).await.unwrap();
    let mut of_one = world.b.consultations(one).await.unwrap();
    let answers = async {
        let asked = next(&mut of_one).await;
        assert_eq!(asked.request, "how?");
        (asked.respond)(Bytes::from_static(b"so"));
    };
    let (answer, ()) = tokio::join!(until_ok(ask), answers);
    assert_eq!(answer, "so");
    assert!(
        of_two.next().now_or_never().is_none(),
        "only its node hears"
    );
    let asked = tokio::time::Instant::now();
    // It hears, as a frozen node's connection does, and does not answer.
    let error = ask().await.unwrap_err();
    assert!(matches!(error, Error::Unknown(_)), "{error:?}");
    assert!(asked.elapsed() < Duration::from_secs(8));
}
