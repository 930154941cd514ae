//! Claims about the session, one at a time.

use super::frame::{ClientFrame, Event, ServerFrame};
use super::session::{Effect, Line, Session};

pub(super) fn event(seq: u64, from: &str, id: Option<&str>) -> ServerFrame {
    ServerFrame::Event(Event {
        seq,
        at: 0,
        kind: "text".into(),
        from: from.into(),
        to: None,
        text: Some("x".into()),
        sealed: None,
        id: id.map(Into::into),
    })
}

pub(super) fn welcome(seq: u64, recovered: bool) -> ServerFrame {
    ServerFrame::Welcome {
        seq,
        recovered,
        members: Vec::new(),
        node: String::new(),
    }
}

pub(super) fn rejected(id: &str, retry_after_ms: Option<u64>) -> ServerFrame {
    ServerFrame::Rejected {
        id: Some(id.into()),
        reason: "busy".into(),
        message: String::new(),
        retry_after_ms,
    }
}

pub(super) fn sent(effects: &[Effect]) -> Vec<String> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send(ClientFrame::Send { id, .. }) => Some(id.clone()),
            _ => None,
        })
        .collect()
}

pub(super) fn shown(effects: &[Effect]) -> Vec<u64> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Show(Line::Event(event)) => Some(event.seq),
            _ => None,
        })
        .collect()
}

/// A session that joined a room with head 1.
fn live() -> Session {
    let mut session = Session::new("harry", 50);
    session.take(welcome(1, true));
    session.take(event(1, "harry", None));
    session
}

fn say(session: &mut Session, id: &str) -> Vec<String> {
    sent(&session.say(id.into(), "x".into(), None))
}

#[test]
fn nothing_is_sent_before_the_room_is_caught_up_with() {
    let mut session = Session::new("harry", 50);
    assert!(say(&mut session, "m1").is_empty());
    assert!(sent(&session.take(welcome(2, true))).is_empty());
    assert!(sent(&session.take(event(1, "charly", None))).is_empty());
    assert_eq!(sent(&session.take(event(2, "harry", None))), ["m1"]);
}

#[test]
fn a_message_is_sent_again_with_its_id_in_its_order() {
    let mut session = live();
    assert_eq!(say(&mut session, "m1"), ["m1"]);
    assert_eq!(say(&mut session, "m2"), ["m2"]);
    session.disconnected();
    assert_eq!(session.resume_after(), Some(1));
    assert!(say(&mut session, "m3").is_empty());
    assert_eq!(sent(&session.take(welcome(1, true))), ["m1", "m2", "m3"]);
}

#[test]
fn what_came_back_while_away_is_not_sent_again() {
    let mut session = live();
    say(&mut session, "m1");
    say(&mut session, "m2");
    session.disconnected();
    session.take(welcome(2, true));
    assert_eq!(sent(&session.take(event(2, "harry", Some("m1")))), ["m2"]);
}

#[test]
fn an_id_of_somebody_else_decides_nothing() {
    let mut session = live();
    say(&mut session, "m1");
    session.take(event(2, "charly", Some("m1")));
    assert_eq!(session.undecided(), 1);
}

#[test]
fn a_repeat_is_not_shown_twice() {
    let mut session = live();
    assert_eq!(shown(&session.take(event(2, "charly", None))), [2]);
    assert!(session.is_repeat(&event(2, "charly", None)));
    assert!(session.take(event(2, "charly", None)).is_empty());
    assert!(session.take(event(1, "charly", None)).is_empty());
}

#[test]
fn a_gap_leads_to_another_connection_from_the_last_event() {
    let mut session = live();
    assert_eq!(session.take(event(3, "charly", None)), [Effect::Rejoin]);
    assert!(session.take(event(4, "charly", None)).is_empty());
    assert_eq!(session.resume_after(), Some(1));
}

#[test]
fn a_kind_that_we_do_not_know_counts() {
    let mut session = live();
    let ServerFrame::Event(later) = event(2, "charly", None) else {
        unreachable!()
    };
    session.take(ServerFrame::Event(Event {
        kind: "pinned".into(),
        text: None,
        ..later
    }));
    assert_eq!(shown(&session.take(event(3, "charly", None))), [3]);
}

#[test]
fn a_reset_forgets_and_goes_on_from_its_seq() {
    let mut session = live();
    say(&mut session, "m1");
    session.disconnected();
    assert!(sent(&session.take(welcome(40, false))).is_empty());
    session.take(ServerFrame::Reset {
        seq: 40,
        reason: "history was cut".into(),
    });
    let effects = session.take(event(40, "charly", None));
    assert_eq!(
        (shown(&effects), sent(&effects)),
        (vec![40], vec!["m1".to_owned()])
    );
}

#[test]
fn a_reset_to_an_empty_room_is_caught_up_with_at_once() {
    let mut session = live();
    session.take(event(2, "charly", None));
    session.disconnected();
    say(&mut session, "m1");
    assert!(sent(&session.take(welcome(1, false))).is_empty());
    let reset = session.take(ServerFrame::Reset {
        seq: 2,
        reason: "beyond the head".into(),
    });
    assert_eq!(sent(&reset), ["m1"]);
}

#[test]
fn without_history_the_next_event_is_the_one_after_the_head() {
    let mut session = Session::new("harry", 0);
    session.take(welcome(9, true));
    assert_eq!(session.resume_after(), Some(9));
    assert_eq!(shown(&session.take(event(10, "charly", None))), [10]);
}

#[test]
fn a_rejection_that_passes_holds_the_later_messages_back() {
    let mut session = live();
    say(&mut session, "m1");
    let effects = session.take(rejected("m1", Some(500)));
    assert!(matches!(effects[..], [Effect::RetryIn(delay)] if delay.as_millis() == 500));
    assert!(say(&mut session, "m2").is_empty());
    assert_eq!(sent(&session.retry()), ["m1", "m2"]);
}

#[test]
fn a_final_rejection_is_shown_and_ends_the_message() {
    let mut session = live();
    say(&mut session, "m1");
    let effects = session.take(rejected("m1", None));
    assert!(matches!(&effects[..], [Effect::Show(Line::Rejected { text, .. })] if text == "x"));
    assert_eq!(session.undecided(), 0);
}

#[test]
fn a_text_that_the_service_cannot_take_is_never_sent() {
    let mut session = live();
    let effects = session.say("m1".into(), "x".repeat(16_385), None);
    assert!(
        matches!(&effects[..], [Effect::Show(Line::Rejected { reason, .. })] if reason == "too_large")
    );
    assert_eq!(
        sent(&session.say("m2".into(), "x".repeat(16_384), None)),
        ["m2"]
    );
}

#[test]
fn silence_about_a_message_leads_to_sending_it_again() {
    let mut session = live();
    say(&mut session, "m1");
    say(&mut session, "m2");
    session.take(ServerFrame::Accepted { id: "m2".into() });
    let again: Vec<String> = (0..15).flat_map(|_| sent(&session.tick())).collect();
    assert_eq!(again, ["m1"]);
}

#[test]
fn it_is_settled_when_own_messages_are_journaled_and_shown() {
    let mut session = live();
    assert!(session.is_settled());
    say(&mut session, "m1");
    assert!(!session.is_settled());
    session.take(ServerFrame::Journaled {
        id: "m1".into(),
        seq: 2,
    });
    assert!(!session.is_settled());
    session.take(event(2, "harry", Some("m1")));
    assert!(session.is_settled());
}

#[test]
fn earlier_pages_join_up_with_what_is_held() {
    let mut session = Session::new("harry", 50);
    session.take(welcome(9, true));
    session.take(event(9, "harry", None));
    let before = |session: &Session| match &session.ask_earlier(2)[..] {
        [Effect::Send(ClientFrame::History { before, .. })] => *before,
        _ => None,
    };
    assert_eq!(before(&session), Some(9));
    let page = [7, 8].map(|seq| match event(seq, "charly", None) {
        ServerFrame::Event(event) => event,
        _ => unreachable!(),
    });
    session.take(ServerFrame::History {
        id: "earlier".into(),
        events: page.to_vec(),
        more: true,
    });
    assert_eq!(before(&session), Some(7));
}
