//! Facts of the page and of the tables, whatever they look like.

use super::*;

fn run(scenario: &str) -> Run {
    let second = Second {
        journaled: 200,
        p50_us: 5000,
        p99_us: 9000,
        connects: 0,
    };
    Run {
        scenario: scenario.into(),
        journal: "bus".into(),
        seconds: 20.0,
        clients: 40,
        rooms: 4,
        sent: 4000,
        journaled: 4000,
        per_second: vec![second; 20],
        faults: vec![Fault {
            at_s: 5.0,
            until_s: Some(9.5),
            what: "SIGSTOP node-2 (owner)".into(),
        }],
        longest_gap_ms: 1312.0,
        gap_after_fault_ms: Some(1287.0),
        p50_us: 5000,
        p99_us: 9000,
        met: true,
        ..Run::default()
    }
}

fn report(runs: Vec<Run>) -> Report {
    Report {
        made_at: "2026-11-25".into(),
        commit: "abc1234".into(),
        command: "chaos --seed 7".into(),
        seed: 7,
        runs,
        ..Report::default()
    }
}

fn soak() -> Soak {
    let points = (0..100)
        .map(|n| (f64::from(n) * 5.0, 1e8 + f64::from(n)))
        .collect();
    let series = |process: &str, slope, tolerance| Series {
        process: process.into(),
        what: "resident memory".into(),
        unit: "bytes".into(),
        slope,
        tolerance,
        points: Vec::clone(&points),
    };
    let series = vec![
        series("node-1", Some(1e6), Some(2e6)),
        series("node-2", Some(3e6), Some(2e6)),
        series("nats-1", Some(9e9), None),
    ];
    Soak {
        journal: "bus".into(),
        seconds: 500.0,
        warm_up: 60.0,
        series,
        ..Soak::default()
    }
}

/// The elements of the page that begin so.
fn count(page: &str, what: &str) -> usize {
    page.matches(what).count()
}

/// Tags that are opened are closed, in order.
fn balanced(page: &str) {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag
            .trim_start_matches('/')
            .split([' ', '\n'])
            .next()
            .unwrap();
        match tag {
            _ if tag.starts_with('!') || tag.ends_with('/') || matches!(name, "meta" | "br") => {}
            _ if tag.starts_with('/') => assert_eq!(open.pop(), Some(name)),
            _ => open.push(name),
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn every_run_is_on_the_page_and_in_the_table() {
    let reports = [
        report(vec![run("owner-kill"), run("owner-stop")]),
        report(vec![run("nats-restart")]),
    ];
    let (page, table) = (html(&reports), markdown(&reports));
    for scenario in ["owner-kill", "owner-stop", "nats-restart"] {
        assert!(page.contains(&format!("<h2>{scenario}<")), "{scenario}");
        assert!(
            table.contains(&format!("| {scenario} | bus | 1 |")),
            "{table}"
        );
    }
    assert_eq!((count(&page, "<section"), count(&page, "<svg")), (3, 3));
    assert!(
        page.contains("3 of 3 runs met all that was wanted; 0 broken promises"),
        "{page}"
    );
    for fact in [
        "chaos --seed 7",
        "abc1234",
        "1.31 s",
        "1.29 s",
        "4\u{202f}000",
        "SIGSTOP node-2 (owner)",
    ] {
        assert!(page.contains(fact), "{fact}");
    }
    balanced(&page);
}

#[test]
fn a_broken_promise_is_seen_everywhere() {
    let mut bad = run("owner-kill");
    bad.violations = vec!["m1 of harry was journaled at 7, but is not there".into()];
    assert!(bad.met, "even when a run says that it is met");
    let (page, table) = (
        html(&[report(vec![bad.clone(), run("owner-stop")])]),
        markdown(&[report(vec![bad])]),
    );
    assert!(
        page.contains(
            "class=\"verdict no\">1 of 2 runs met all that was wanted; 1 broken promises"
        )
    );
    assert!(page.contains(
        "<ul class=\"broken\">\n<li>m1 of harry was journaled at 7, but is not there</li>"
    ));
    assert_eq!(
        (
            count(&page, "<tr class=\"no\">"),
            count(&page, "<section id=\"run-0\" class=\"no\">")
        ),
        (1, 1)
    );
    assert!(
        table.contains("| **NO** |") && table.contains("- owner-kill on bus, : m1 of harry"),
        "{table}"
    );
}

#[test]
fn more_violations_than_can_be_read_are_counted() {
    let mut bad = run("owner-kill");
    bad.violations = (0..75).map(|n| format!("violation {n}")).collect();
    let page = html(&[report(vec![bad])]);
    assert!(page.contains("<li>violation 49</li>\n<li>and 25 more</li>"));
}

#[test]
fn what_was_wanted_and_not_met_is_seen_without_a_violation() {
    let late = Run {
        met: false,
        wanted: Some("first journaled within 2 s".into()),
        ..run("owner-kill")
    };
    let page = html(&[report(vec![late])]);
    assert!(page.contains("NOT MET") && page.contains("Wanted: first journaled within 2 s"));
    assert!(page.contains("class=\"verdict no\">0 of 1"));
}

#[test]
fn nothing_from_outside_becomes_an_element() {
    let evil = "</title><script>alert('x')</script>|&\"";
    let mut bad = run(evil);
    bad.journal = evil.into();
    bad.wanted = Some(evil.into());
    bad.violations = vec![evil.into()];
    bad.faults[0].what = evil.into();
    let mut long = soak();
    long.series[0].what = evil.into();
    long.series[0].process = evil.into();
    long.violations = vec![evil.into()];
    let mut all = report(vec![bad]);
    all.versions = vec![evil.into()];
    all.command = evil.into();
    all.machine = evil.into();
    all.soaks = vec![long];
    let page = html(std::slice::from_ref(&all));
    assert!(!page.contains("<script") && !page.contains("|&\""));
    balanced(&page);
    let table = markdown(&[all]);
    assert!(
        table
            .lines()
            .filter(|line| line.starts_with('|'))
            .all(|line| !line.contains("<script")),
        "{table}"
    );
}

#[test]
fn the_page_needs_nothing_else() {
    let mut all = report(vec![run("owner-kill")]);
    all.soaks = vec![soak()];
    let page = html(&[all]);
    for request in [
        "http:", "https:", "src=", "@import", "url(", "<link", "<script",
    ] {
        assert!(!page.contains(request), "{request}");
    }
    assert!(page.contains("prefers-color-scheme: dark"));
}

#[test]
fn odd_figures_make_no_odd_pictures() {
    let none = Run {
        per_second: Vec::new(),
        seconds: 0.0,
        faults: Vec::new(),
        ..run("none")
    };
    let silent = Run {
        per_second: vec![Second::default(); 3],
        ..run("silent")
    };
    let faults = [
        (f64::NAN, None),
        (-3.0, Some(f64::INFINITY)),
        (30.0, Some(2.0)),
    ];
    let odd = Run {
        seconds: f64::NAN,
        longest_gap_ms: f64::NAN,
        gap_after_fault_ms: Some(f64::INFINITY),
        faults: faults
            .map(|(at_s, until_s)| Fault {
                at_s,
                until_s,
                what: String::new(),
            })
            .into(),
        per_second: vec![Second {
            journaled: u64::MAX,
            p50_us: 1,
            p99_us: u64::MAX,
            connects: u64::MAX,
        }],
        ..run("odd")
    };
    let mut long = soak();
    long.series[0].points = vec![];
    long.series[1].points = vec![(0.0, 0.0)];
    long.series[2].points = vec![(f64::NAN, f64::NAN), (1.0, f64::INFINITY)];
    long.seconds = f64::NAN;
    let mut all = report(vec![none, silent, odd]);
    all.soaks = vec![long, Soak::default()];
    let page = html(&[all, Report::default()]);
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    balanced(&page);
}

#[test]
fn a_second_without_answers_interrupts_the_line() {
    let mut gap = run("owner-kill");
    gap.per_second[7] = Second::default();
    let moves = |run: &Run| {
        timeline::draw(run)
            .lines()
            .find(|line| line.contains("line p99"))
            .unwrap()
            .matches('M')
            .count()
    };
    assert_eq!((moves(&run("owner-kill")), moves(&gap)), (1, 2));
}

#[test]
fn a_soak_says_what_grows() {
    let long = soak();
    assert_eq!(
        (
            long.series[0].is_flat(),
            long.series[1].is_flat(),
            long.series[2].is_flat(),
            long.met()
        ),
        (true, false, true, false)
    );
    let mut all = report(Vec::new());
    all.soaks = vec![long.clone()];
    let (page, table) = (
        html(std::slice::from_ref(&all)),
        markdown(std::slice::from_ref(&all)),
    );
    assert!(page.contains("NOT FLAT") && page.contains("0 of 1 runs met all"));
    assert_eq!(
        count(&page, "<svg"),
        1,
        "one picture for one figure of three processes"
    );
    assert!(
        table.contains(
            "| resident memory | node-2 | 95.4 MiB | 95.4 MiB | 2.9 MiB | 1.9 MiB | **NO** |"
        ),
        "{table}"
    );
    assert!(table.contains("not judged"));
    let unmeasured = Series {
        slope: None,
        ..long.series[0].clone()
    };
    assert!(
        !unmeasured.is_flat(),
        "what could not be measured is not flat"
    );
    assert!(!Soak::default().met(), "nothing was measured");
    let shown = Series {
        tolerance: None,
        ..long.series[0].clone()
    };
    assert!(
        !Soak {
            series: vec![shown],
            ..Soak::default()
        }
        .met(),
        "nothing was judged"
    );
}

#[test]
fn the_data_is_read_again_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let page = dir.path().join("new").join("chaos.html");
    let mut all = report(vec![run("owner-kill")]);
    all.soaks = vec![soak()];
    files::write(&all, &page).unwrap();
    let again = files::read(&[page.with_extension("json")]).unwrap();
    assert_eq!(again, std::slice::from_ref(&all));
    assert_eq!(std::fs::read_to_string(&page).unwrap(), html(&again));
    assert_eq!(
        std::fs::read_to_string(page.with_extension("md")).unwrap(),
        markdown(&again)
    );
    let error = files::read(&[page]).unwrap_err().to_string();
    assert!(error.contains("is not the data of a report"), "{error}");
}
