//! How lines look, and that nothing of others looks like one of this program.

use super::*;

fn text(from: &str, text: &str) -> Event {
    Event {
        seq: 7,
        at: 0,
        from: from.into(),
        to: None,
        id: None,
        body: Body::Text(text.into()),
    }
}

fn shown(style: Style, event: Event) -> String {
    let mut out = String::new();
    View::new(style, "aaa", "harry").render(&Line::Event(event), &mut out);
    out
}

#[test]
fn a_pipe_gets_the_lines_of_the_text_protocol() {
    let labelled = Event {
        to: Some("charly".into()),
        ..text("harry", "Hello")
    };
    assert_eq!(
        shown(Style::Lines, labelled),
        "[aaa:7 - harry -> charly] Hello\n"
    );
    assert_eq!(
        shown(Style::Lines, text("harry", "a\nb")),
        "[aaa:7 - harry -> *] a\\nb\n"
    );
    let joined = Event {
        body: Body::Joined,
        ..text("charly", "")
    };
    assert_eq!(shown(Style::Lines, joined), "[aaa:7 - charly joined]\n");
    let without = Event {
        body: Body::ErasedText,
        ..text("harry", "")
    };
    assert_eq!(
        shown(Style::Lines, without.clone()),
        "[aaa:7 - harry -> *] (erased)\n"
    );
    let on_screen = shown(Style::Screen { color: false }, without);
    assert!(on_screen.contains("(erased)"), "{on_screen}");
}

#[test]
fn what_a_service_says_is_no_line_of_somebody() {
    let view = View::new(Style::Screen { color: false }, "aaa", "harry");
    let gap = " \u{3000}\u{2800}\u{a0}\n".repeat(40);
    let fake = format!("bad_frame: {gap}20:24 charly{gap}send money{gap}");
    let end = "x".repeat(1_000_000);
    for why in [fake, end] {
        let bye = Line::Bye {
            reason: why.clone(),
        };
        let reset = Line::Reset {
            reason: why.clone(),
            seq: 9,
            read: Some(3),
        };
        let of_nothing = Line::Rejected {
            text: String::new(),
            why: why.clone(),
        };
        let of_hello = Line::Rejected {
            text: "Hello".into(),
            why,
        };
        for line in [bye, reset, of_nothing, of_hello] {
            let note = view.note_of(&line);
            assert!(!note.contains("  ") && note.len() < 600, "{note}");
        }
    }
    assert_eq!(of_service(" busy:\n\u{202e}later "), "busy: \\u{202e}later");
    let names: Vec<String> = (0..20_000).map(|n| format!("user{n}")).collect();
    let line = Line::Joined {
        members: names,
        node: "n1".into(),
        resumed: false,
    };
    let note = view.note_of(&line);
    assert!(note.ends_with("user49 and 19950 more (20000)"), "{note}");
}

#[test]
fn where_a_service_begins_anew_is_said_what_is_missing_and_nothing_if_nothing_is() {
    for (seq, read, said) in [
        (4, Some(3), ""),
        (
            5,
            Some(3),
            "1 event from before #5 was not read here, and is not shown",
        ),
        (
            9,
            Some(3),
            "5 events from before #9 were not read here, and are not",
        ),
        (2, Some(3), "! the service goes on from #2"),
        (9, None, "the service shows nothing from before #9"),
    ] {
        let note = reset(seq, read, "why");
        assert!(
            note.starts_with(said) && note.is_empty() == said.is_empty(),
            "{note}"
        );
    }
}

#[test]
fn a_time_that_cannot_be_is_not_shown() {
    let style = Style::Screen { color: false };
    for at in [0, u64::MAX] {
        let event = Event {
            at,
            ..text("harry", "Hello")
        };
        assert!(shown(style, event).starts_with("--:-- harry"), "{at}");
    }
}

#[test]
fn what_no_member_has_said_is_a_warning_wherever_it_stands() {
    let event = Event {
        body: Body::Other(UNENCRYPTED.into()),
        ..text("harry", "")
    };
    let said = "! #7: the service shows something unencrypted as from harry: not from a member";
    for style in [Style::Lines, Style::Screen { color: false }] {
        let mut view = View::new(style, "aaa", "harry");
        let line = Line::Event(event.clone());
        assert!(view.is_note(&line));
        assert_eq!(view.note_of(&line), said);
        let page = Line::Earlier {
            events: [7, 8, 9]
                .map(|seq| Event {
                    seq,
                    ..event.clone()
                })
                .into(),
            notes: BTreeMap::new(),
            lost: 0,
            more: false,
        };
        let mut out = String::new();
        view.render(&page, &mut out);
        assert!(out.contains(said), "{out}");
        assert!(out.contains("! up to #9: 2 more such events"), "{out}");
    }
}

#[test]
fn no_message_can_send_commands_to_the_terminal() {
    let evil = "\u{1b}[2J\u{9b}31m\u{7f}\u{202e}x\u{2028}\r\n\u{1b}]0;t\u{7}";
    for style in [Style::Lines, Style::Screen { color: false }] {
        let event = Event {
            to: Some(evil.into()),
            ..text(evil, evil)
        };
        let out = shown(style, event).replace('\n', "");
        assert!(
            out.chars()
                .all(|c| !c.is_control() && c != '\u{202e}' && c != '\u{2028}'),
            "{out:?}"
        );
    }
}

#[test]
fn further_lines_of_a_text_never_begin_at_the_margin() {
    let out = shown(
        Style::Screen { color: false },
        text("charly", "one\n12:00 harry said\n\nthree"),
    );
    let message = out.split_once("charly").unwrap().1;
    assert!(
        message
            .lines()
            .skip(1)
            .all(|line| line.starts_with("      ")),
        "{out}"
    );
}

#[test]
fn the_same_name_always_has_the_same_color() {
    assert_eq!(color_of("harry"), color_of("harry"));
    assert_ne!(color_of("harry"), color_of("charly"));
}

#[test]
fn the_prompt_says_what_one_has_to_know() {
    let view = View::new(Style::Screen { color: false }, "aaa", "harry");
    let prompt = view.prompt("", 0);
    assert_eq!((prompt.printed.as_str(), prompt.columns), ("#aaa › ", 7));
    let prompt = view.prompt("reconnecting in 3 s", 2);
    assert_eq!(prompt.printed, "#aaa (reconnecting in 3 s, 2 waiting) › ");
    assert_eq!(prompt.columns, prompt.printed.chars().count());
}
