//! Claims about the session, one at a time.

use super::*;
use crate::{
    frame::{Body, Content},
    message::Duplicate,
};

pub(super) fn event(seq: u64, from: &str, id: Option<&str>) -> ServerFrame {
    ServerFrame::Event(Event {
        seq,
        at: 0,
        from: from.into(),
        to: None,
        id: id.map(Into::into),
        body: Body::Text("x".into()),
    })
}

pub(super) fn welcome(seq: u64, recovered: bool) -> ServerFrame {
    ServerFrame::Welcome(Welcome {
        seq: Some(seq),
        recovered,
        ..Welcome::default()
    })
}

pub(super) fn rejected(id: &str, retry_after_ms: Option<u64>) -> ServerFrame {
    ServerFrame::Rejected {
        id: Some(id.into()),
        reason: "busy".into(),
        message: String::new(),
        retry_after_ms,
        seq: None,
    }
}

fn journaled(id: &str, seq: u64, duplicate: bool) -> ServerFrame {
    ServerFrame::Journaled {
        id: id.into(),
        seq,
        epoch: 1,
        duplicate,
    }
}

pub(super) fn sent(effects: &[Effect]) -> Vec<String> {
    let id = |effect: &Effect| match effect {
        Effect::Send(ClientFrame::Send { id, .. }) => Some(id.clone()),
        _ => None,
    };
    effects.iter().filter_map(id).collect()
}

pub(super) fn told(effects: &[Effect]) -> Vec<u64> {
    let seq = |effect: &Effect| match effect {
        Effect::Tell(Notice::Event(event)) => Some(event.seq),
        _ => None,
    };
    effects.iter().filter_map(seq).collect()
}

fn answers(effects: &[Effect]) -> Vec<Result<Receipt, SendError>> {
    let answer = |effect: &Effect| match effect {
        Effect::Answer { answer, .. } => Some(answer.clone()),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

pub(super) fn options(protocol: Protocol) -> Options {
    Options {
        user: "harry".into(),
        protocol,
        since: None,
        history: 50,
        resend: Resend::AfterCatchUp,
        retries: 3,
        answer_within: Some(Duration::from_secs(60)),
    }
}

/// A session and a clock that stands still unless it is moved.
struct Bench {
    session: Session,
    now: Instant,
}

impl Bench {
    fn new(options: Options) -> Self {
        Self {
            session: Session::new(options),
            now: Instant::now(),
        }
    }

    /// A session that joined a room with head 1.
    fn live() -> Self {
        let mut bench = Self::new(options(Protocol::Json));
        bench.take(welcome(1, true));
        bench.take(event(1, "harry", None));
        bench
    }

    fn take(&mut self, frame: ServerFrame) -> Vec<Effect> {
        self.session.take(frame, false, self.now)
    }

    fn say(&mut self, id: &str) -> Vec<String> {
        let message = Message::text("x").with_id(id);
        sent(&self.session.say(message, self.now).unwrap())
    }

    /// Time passes, and everything is done when it is due.
    fn after(&mut self, pass: Duration) -> Vec<Effect> {
        let (mut effects, until) = (Vec::new(), self.now + pass);
        while let Some(due) = self.session.next_wake().filter(|due| *due <= until) {
            self.now = due;
            effects.extend(self.session.wake(due));
        }
        self.now = until;
        effects
    }
}

const SECOND: Duration = Duration::from_secs(1);

fn welcome_of(seq: u64, policy: &str) -> ServerFrame {
    ServerFrame::Welcome(Welcome {
        seq: Some(seq),
        recovered: true,
        policy: policy.into(),
        ..Welcome::default()
    })
}

/// Whenever it was said, and whatever the room was before: whoever runs the service does not read
/// it.
#[test]
fn no_text_goes_to_a_room_that_is_known_to_be_sealed() {
    let is_refused = |answer: &Result<Receipt, SendError>| match answer {
        Err(SendError::Rejected { reason, .. }) => reason == "sealed_room",
        _ => false,
    };
    let mut bench = Bench::new(options(Protocol::Json));
    assert!(bench.say("early").is_empty());
    let effects = bench.take(welcome_of(1, "sealed"));
    assert!(sent(&effects).is_empty() && answers(&effects).iter().all(is_refused));
    assert_eq!((answers(&effects).len(), bench.session.undecided()), (1, 0));
    let later = bench
        .session
        .say(Message::text("x").with_id("later"), bench.now);
    assert!(is_refused(&later.map(|_| unreachable!("it is refused"))));
    bench.take(event(1, "harry", None));
    let sealed = Message::sealed(vec![1]).with_id("sealed");
    assert_eq!(
        sent(&bench.session.say(sealed, bench.now).unwrap()),
        ["sealed"]
    );

    // What waits for a connection to a room that was none, and has become one.
    let mut bench = Bench::live();
    assert_eq!(bench.say("open"), ["open"]);
    bench.session.disconnected();
    assert!(bench.say("away").is_empty());
    let effects = bench.take(welcome_of(1, "sealed"));
    assert!(sent(&effects).is_empty());
    assert_eq!(
        answers(&effects).iter().filter(|it| is_refused(it)).count(),
        2
    );
    // And the other way round.
    bench.session.disconnected();
    bench.take(welcome_of(1, "open"));
    assert_eq!(bench.say("again"), ["again"]);
}

#[test]
fn nothing_is_sent_before_the_room_is_caught_up_with() {
    let mut bench = Bench::new(options(Protocol::Json));
    assert!(bench.say("m1").is_empty());
    assert!(sent(&bench.take(welcome(2, true))).is_empty());
    assert!(sent(&bench.take(event(1, "charly", None))).is_empty());
    assert_eq!(sent(&bench.take(event(2, "harry", None))), ["m1"]);
}

#[test]
fn who_sends_at_once_does_not_wait_for_what_was_missed() {
    let mut bench = Bench::new(Options {
        resend: Resend::AtOnce,
        ..options(Protocol::Json)
    });
    assert!(bench.say("m1").is_empty());
    assert_eq!(sent(&bench.take(welcome(2, true))), ["m1"]);
}

#[test]
fn a_message_is_sent_again_with_its_id_in_its_order() {
    let mut bench = Bench::live();
    assert_eq!(bench.say("m1"), ["m1"]);
    assert_eq!(bench.say("m2"), ["m2"]);
    bench.session.disconnected();
    assert_eq!(bench.session.resume_after(), Some(1));
    assert!(bench.say("m3").is_empty());
    assert_eq!(sent(&bench.take(welcome(1, true))), ["m1", "m2", "m3"]);
}

#[test]
fn what_came_back_while_away_is_answered_and_not_sent_again() {
    let mut bench = Bench::live();
    bench.say("m1");
    bench.say("m2");
    bench.session.disconnected();
    bench.take(welcome(2, true));
    let effects = bench.take(event(2, "harry", Some("m1")));
    assert_eq!(sent(&effects), ["m2"]);
    let answer = answers(&effects).pop().unwrap().unwrap();
    assert_eq!((answer.seq, answer.duplicate), (2, Duplicate::Unknown));
}

#[test]
fn the_answer_says_whether_it_was_a_duplicate_even_if_the_event_comes_first() {
    let mut bench = Bench::live();
    bench.say("m1");
    assert!(answers(&bench.take(event(2, "harry", Some("m1")))).is_empty());
    let effects = bench.take(journaled("m1", 2, true));
    let answer = answers(&effects).pop().unwrap().unwrap();
    assert_eq!((answer.seq, answer.duplicate), (2, Duplicate::Yes));
    assert_eq!(bench.session.undecided(), 0);
}

#[test]
fn an_id_of_somebody_else_decides_nothing() {
    let mut bench = Bench::live();
    bench.say("m1");
    bench.session.disconnected();
    bench.take(welcome(2, true));
    bench.take(event(2, "charly", Some("m1")));
    assert_eq!(bench.session.undecided(), 1);
}

#[test]
fn a_repeat_is_not_told_twice() {
    let mut bench = Bench::live();
    assert_eq!(told(&bench.take(event(2, "charly", None))), [2]);
    assert!(bench.take(event(2, "charly", None)).is_empty());
    assert!(bench.take(event(1, "charly", None)).is_empty());
}

#[test]
fn a_gap_leads_to_another_connection_from_the_last_event() {
    let mut bench = Bench::live();
    let effects = bench.take(event(3, "charly", None));
    assert_eq!(effects, [Effect::Leave("an event was missing")]);
    assert!(bench.take(event(4, "charly", None)).is_empty());
    assert_eq!(bench.session.resume_after(), Some(1));
}

#[test]
fn a_kind_that_is_not_known_counts() {
    let mut bench = Bench::live();
    let ServerFrame::Event(mut later) = event(2, "charly", None) else {
        unreachable!()
    };
    later.body = Body::Other("pinned".into());
    bench.take(ServerFrame::Event(later));
    assert_eq!(told(&bench.take(event(3, "charly", None))), [3]);
}

#[test]
fn a_reset_forgets_and_goes_on_from_its_seq() {
    let mut bench = Bench::live();
    bench.say("m1");
    bench.session.disconnected();
    assert!(sent(&bench.take(welcome(40, false))).is_empty());
    let reason = "history was cut".into();
    bench.take(ServerFrame::Reset { seq: 40, reason });
    let effects = bench.take(event(40, "charly", None));
    assert_eq!(told(&effects), [40]);
    assert_eq!(sent(&effects), ["m1"]);
}

#[test]
fn a_reset_to_an_empty_room_is_caught_up_with_at_once() {
    let mut bench = Bench::live();
    bench.take(event(2, "charly", None));
    bench.session.disconnected();
    bench.say("m1");
    assert!(sent(&bench.take(welcome(1, false))).is_empty());
    let reason = "beyond the head".into();
    let effects = bench.take(ServerFrame::Reset { seq: 2, reason });
    assert_eq!(sent(&effects), ["m1"]);
}

/// What the server compares with the event that has the place then.
#[test]
fn it_goes_on_behind_an_event_that_it_was_told_and_says_when_that_was() {
    let mut bench = Bench::live();
    let at = |bench: &Bench| {
        (
            bench.session.resume_after(),
            bench.session.resume_after_at(),
        )
    };
    let mut frame = event(2, "charly", None);
    if let ServerFrame::Event(event) = &mut frame {
        event.at = 200;
    }
    bench.take(frame);
    assert_eq!(at(&bench), (Some(2), Some(200)));
    let reason = "gone".into();
    bench.take(ServerFrame::Reset { seq: 9, reason });
    assert_eq!(at(&bench), (Some(8), None));
}

#[test]
fn without_history_the_next_event_is_the_one_after_the_head() {
    let mut bench = Bench::new(Options {
        history: 0,
        ..options(Protocol::Json)
    });
    bench.take(welcome(9, true));
    assert_eq!(bench.session.resume_after(), Some(9));
    assert_eq!(told(&bench.take(event(10, "charly", None))), [10]);
}

#[test]
fn a_rejection_that_passes_holds_the_later_messages_back_for_its_delay() {
    let mut bench = Bench::live();
    bench.say("m1");
    assert!(bench.take(rejected("m1", Some(500))).is_empty());
    assert!(bench.say("m2").is_empty());
    assert!(bench.after(Duration::from_millis(499)).is_empty());
    let due = bench.after(Duration::from_millis(1));
    assert_eq!(sent(&due), ["m1", "m2"]);
}

#[test]
fn a_message_that_is_rejected_too_often_is_given_back_with_the_reason() {
    let mut bench = Bench::live();
    bench.say("m1");
    for _ in 0..3 {
        assert!(bench.take(rejected("m1", Some(1))).is_empty());
        assert_eq!(sent(&bench.after(SECOND)), ["m1"]);
    }
    let last = answers(&bench.take(rejected("m1", Some(1))));
    assert!(matches!(&last[..], [Err(SendError::Rejected { reason, .. })] if reason == "busy"));
    assert_eq!(bench.session.undecided(), 0);
}

#[test]
fn a_session_that_is_none_any_more_is_left_and_the_message_kept() {
    let mut bench = Bench::live();
    bench.say("m1");
    let effects = bench.take(ServerFrame::Rejected {
        id: Some("m1".into()),
        reason: "not_member".into(),
        message: String::new(),
        retry_after_ms: None,
        seq: None,
    });
    assert_eq!(effects, [Effect::Leave("not a member any more")]);
    assert_eq!(sent(&bench.take(welcome(1, true))), ["m1"]);
}

#[test]
fn a_text_that_the_service_cannot_take_is_never_sent() {
    let mut bench = Bench::live();
    let long = Message::text("x".repeat(16_385));
    let refused = bench.session.say(long, bench.now);
    assert!(matches!(refused, Err(SendError::Rejected { reason, .. }) if reason == "too_large"));
    let longest = Message::text("x".repeat(16_384)).with_id("m2");
    let effects = bench.session.say(longest, bench.now).unwrap();
    assert_eq!(sent(&effects), ["m2"]);
}

#[test]
fn two_messages_under_way_cannot_have_one_id() {
    let mut bench = Bench::live();
    bench.say("m1");
    let again = Message::text("y").with_id("m1");
    assert_eq!(bench.session.say(again, bench.now), Err(SendError::InUse));
}

#[test]
fn silence_about_a_message_leads_to_sending_it_again_unless_it_was_accepted() {
    let mut bench = Bench::live();
    bench.say("m1");
    bench.say("m2");
    bench.take(ServerFrame::Accepted { id: "m2".into() });
    assert_eq!(sent(&bench.after(SECOND * 15)), ["m1"]);
}

#[test]
fn a_message_waits_for_its_answer_no_longer_than_it_may() {
    let mut bench = Bench::live();
    bench.session.disconnected();
    bench.say("m1");
    assert!(answers(&bench.after(SECOND * 59)).is_empty());
    assert_eq!(answers(&bench.after(SECOND)), [Err(SendError::Unanswered)]);
    assert_eq!(bench.session.next_wake(), None);
}

#[test]
fn a_question_is_asked_again_after_a_reconnect_and_answered_once() {
    let mut bench = Bench::live();
    let question = ClientFrame::Members {
        id: "q1".into(),
        after: None,
    };
    let asked = [Effect::Send(question.clone())];
    assert_eq!(bench.session.ask(question, bench.now), asked);
    bench.session.disconnected();
    assert!(bench.take(welcome(1, true)).contains(&asked[0]));
    let answer = ServerFrame::Members {
        id: "q1".into(),
        members: vec!["harry".into()],
        more: false,
    };
    let reply = Some(Reply::Members(vec!["harry".into()], false));
    let id = "q1".to_owned();
    assert_eq!(bench.take(answer.clone()), [Effect::Reply { id, reply }]);
    assert!(bench.take(answer).is_empty());
}

#[test]
fn events_that_nobody_takes_are_left_out_and_fetched_when_there_is_space_again() {
    let mut bench = Bench::live();
    bench.say("m1");
    let (full, now) = (true, bench.now);
    assert!(
        bench
            .session
            .take(event(2, "charly", None), full, now)
            .is_empty()
    );
    assert!(bench.take(event(3, "harry", Some("m1"))).is_empty());
    let answer = answers(&bench.take(journaled("m1", 3, false)));
    assert_eq!(answer[0].as_ref().unwrap().duplicate, Duplicate::No);
    assert!(matches!(bench.session.has_space()[..], [Effect::Leave(_)]));
    assert_eq!(bench.session.resume_after(), Some(1));
    bench.take(welcome(3, true));
    assert_eq!(told(&bench.take(event(2, "charly", None))), [2]);
}

#[test]
fn over_text_a_message_is_journaled_when_it_comes_back() {
    let mut bench = Bench::new(options(Protocol::Text));
    bench.take(ServerFrame::Welcome(Welcome {
        recovered: true,
        ..Welcome::default()
    }));
    let message = Message::text("a\nb").to("charly");
    bench.session.say(message, bench.now).unwrap();
    let mut line = Event {
        seq: 9,
        at: 0,
        from: "harry".into(),
        to: None,
        id: None,
        body: Body::Text("a\\nb".into()),
    };
    assert!(answers(&bench.take(ServerFrame::Event(line.clone()))).is_empty());
    (line.seq, line.to) = (10, Some("charly".into()));
    let answer = answers(&bench.take(ServerFrame::Event(line)));
    let answer = answer[0].as_ref().unwrap();
    assert_eq!((answer.seq, answer.duplicate), (10, Duplicate::No));
}

#[test]
fn over_text_nothing_is_sent_twice() {
    let mut bench = Bench::new(options(Protocol::Text));
    bench.take(ServerFrame::Welcome(Welcome::default()));
    assert_eq!(bench.say("m1").len(), 1);
    assert_eq!(
        answers(&bench.session.disconnected()),
        [Err(SendError::Unknown)]
    );
    assert!(bench.say("m2").is_empty());
    let effects = bench.take(ServerFrame::Welcome(Welcome::default()));
    assert_eq!(sent(&effects), ["m2"]);
    let sealed = Message::sealed(vec![1]);
    let refused = bench.session.say(sealed, bench.now);
    assert_eq!(refused, Err(SendError::NotInThisProtocol));
    assert!(matches!(Message::from("x").content, Content::Text(_)));
}

#[test]
fn a_server_that_answers_nothing_is_left_after_a_while_and_it_is_known_since_when() {
    let mut now = Instant::now();
    let options = Options {
        history: 0,
        answer_within: None,
        ..options(Protocol::Json)
    };
    let (mut session, start) = (Session::new(options), now);
    session.take(welcome(0, true), false, now);
    assert_eq!(session.unanswered_since(), None);
    let first = session
        .say(Message::text("Hello").with_id("m1"), now)
        .unwrap();
    assert_eq!(sent(&first), ["m1"]);
    assert_eq!(session.unanswered_since(), Some(start));
    let mut again = 0;
    let left = loop {
        now = session.next_wake().unwrap();
        let effects = session.wake(now);
        again += sent(&effects).len();
        if effects
            .iter()
            .any(|effect| matches!(effect, Effect::Leave(_)))
        {
            break now;
        }
    };
    assert_eq!((left - start, again), (Duration::from_secs(30), 1));
    // Over the next connection it goes once more. One that is stored waits as long as it has to.
    let effects = session.take(welcome(0, true), false, now);
    assert_eq!(sent(&effects), ["m1"]);
    let accepted = ServerFrame::Accepted { id: "m1".into() };
    session.take(accepted, false, now);
    assert_eq!(session.unanswered_since(), Some(now));
    let later = now + Duration::from_secs(50);
    let leaves = |effect: &Effect| matches!(effect, Effect::Leave(_));
    assert!(!session.wake(later).iter().any(leaves));
    session.take(journaled("m1", 1, false), false, later);
    assert_eq!(session.unanswered_since(), None);
}
