//! The report as one page that needs nothing else: no script, no font, no request.

use super::{Fault, Report, Run, Soak, drift, group, table, text, timeline};
use std::fmt::Write;

/// Violations that are shown of one run; the data beside the page has all.
const SHOWN: usize = 50;
/// Columns of the overview: who sent, and those that hold figures.
const CLIENTS: usize = 3;
const NUMBERS: std::ops::RangeInclusive<usize> = 4..=12;

/// The page of all reports.
pub fn html(reports: &[Report]) -> String {
    let mut out =
        String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>safe-chat under faults</title>\n");
    let _ = writeln!(
        out,
        "<style>\n{}</style>\n</head>\n<body>\n<h1>safe-chat under faults</h1>",
        include_str!("page.css")
    );
    verdict(&mut out, reports);
    reports.iter().for_each(|report| facts(&mut out, report));
    overview(&mut out, reports);
    for (n, run) in reports.iter().flat_map(|report| &report.runs).enumerate() {
        self::run(&mut out, n, run);
    }
    reports
        .iter()
        .flat_map(|report| &report.soaks)
        .for_each(|soak| self::soak(&mut out, soak));
    out.push_str("</body>\n</html>\n");
    out
}

fn verdict(out: &mut String, reports: &[Report]) {
    let runs = || reports.iter().flat_map(|report| &report.runs);
    let soaks = || reports.iter().flat_map(|report| &report.soaks);
    let all = runs().count() + soaks().count();
    let met = runs().filter(|run| is_met(run)).count() + soaks().filter(|soak| soak.met()).count();
    let broken = runs().map(|run| run.violations.len()).sum::<usize>()
        + soaks().map(|soak| soak.violations.len()).sum::<usize>();
    let class = if met == all && all > 0 {
        "verdict"
    } else {
        "verdict no"
    };
    let what = if all == 0 {
        "Nothing was run".to_owned()
    } else {
        format!("{met} of {all} runs met all that was wanted")
    };
    let _ = writeln!(
        out,
        "<p class=\"{class}\">{what}; {broken} broken promises</p>"
    );
}

fn facts(out: &mut String, report: &Report) {
    let Report {
        made_at,
        commit,
        machine,
        versions,
        command,
        seed,
        ..
    } = report;
    let [made_at, commit, machine, command] =
        [made_at, commit, machine, command].map(|fact| text::html(fact));
    let versions = text::html(&versions.join(", "));
    let _ = writeln!(
        out,
        "<p class=\"facts\">Made {made_at}, commit <code>{commit}</code>, seed {seed}, with <code>{command}</code><br>{machine}; {versions}</p>"
    );
}

fn overview(out: &mut String, reports: &[Report]) {
    let groups = group::of(reports);
    if groups.is_empty() {
        return;
    }
    out.push_str("<div class=\"wide\"><table>\n<tr><th>met</th>");
    for (n, head) in group::HEADS.iter().enumerate() {
        let class = if NUMBERS.contains(&n) {
            " class=\"number\""
        } else {
            ""
        };
        let _ = write!(out, "<th{class}>{head}</th>");
    }
    out.push_str("</tr>\n");
    let numbered = |wanted: &Run| {
        reports
            .iter()
            .flat_map(|report| &report.runs)
            .position(|run| std::ptr::eq(run, wanted))
            .unwrap_or(0)
    };
    for group in &groups {
        let row = if group.met() {
            "<tr>"
        } else {
            "<tr class=\"no\">"
        };
        let _ = write!(out, "{row}<td>{}</td>", badge(group.met(), "yes", "NO"));
        for (n, cell) in group.cells().iter().enumerate() {
            let (class, cell) = (
                if NUMBERS.contains(&n) {
                    " class=\"number\""
                } else {
                    ""
                },
                text::html(cell),
            );
            let _ = match n {
                0 => write!(
                    out,
                    "<td class=\"name\"><a href=\"#run-{}\">{cell}</a></td>",
                    numbered(group.runs[0])
                ),
                CLIENTS => write!(out, "<td class=\"name\">{cell}</td>"),
                _ => write!(out, "<td{class}>{cell}</td>"),
            };
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

fn run(out: &mut String, n: usize, run: &Run) {
    let (class, badge) = (
        if is_met(run) { "" } else { " class=\"no\"" },
        badge(is_met(run), "met", "NOT MET"),
    );
    let [scenario, journal, started] =
        [&run.scenario, &run.journal, &run.started].map(|fact| text::html(fact));
    let _ = writeln!(
        out,
        "<section id=\"run-{n}\"{class}>\n<h2>{scenario}<small>{journal}, {started}</small> {badge}</h2>"
    );
    if let Some(wanted) = &run.wanted {
        let _ = writeln!(out, "<p class=\"facts\">Wanted: {}</p>", text::html(wanted));
    }
    broken(out, &run.violations);
    if let Some(sealed) = &run.sealed {
        let told = text::html(&sealed.told());
        let _ = writeln!(out, "<p class=\"facts\">Sealed: {told}</p>");
    }
    figures(
        out,
        &[
            ("sent", text::count(run.sent)),
            ("journaled", text::count(run.journaled)),
            ("rejected", text::count(run.rejected)),
            ("connects", text::count(run.connects)),
            ("failures seen", text::count(run.failures_seen)),
            ("longest gap", text::millis(run.longest_gap_ms)),
            (
                "after a fault",
                run.gap_after_fault_ms.map_or("-".to_owned(), text::millis),
            ),
            ("p50", text::micros(run.p50_us)),
            ("p99", text::micros(run.p99_us)),
            (
                "load",
                format!(
                    "{} clients, {} rooms, {}",
                    run.clients,
                    run.rooms,
                    text::duration(run.seconds)
                ),
            ),
        ],
    );
    out.push_str(&timeline::draw(run));
    if !run.faults.is_empty() {
        out.push_str("<ol class=\"faults\">\n");
        run.faults.iter().for_each(|fault| {
            let _ = writeln!(out, "<li>{}</li>", self::fault(fault));
        });
        out.push_str("</ol>\n");
    }
    out.push_str("</section>\n");
}

fn soak(out: &mut String, soak: &Soak) {
    let (class, badge) = (
        if soak.met() { "" } else { " class=\"no\"" },
        badge(soak.met(), "flat", "NOT FLAT"),
    );
    let [journal, started] = [&soak.journal, &soak.started].map(|fact| text::html(fact));
    let _ = writeln!(
        out,
        "<section{class}>\n<h2>soak<small>{journal}, {started}</small> {badge}</h2>"
    );
    let _ = writeln!(
        out,
        "<p class=\"facts\">{}</p>",
        text::html(&soak.load.join("; "))
    );
    broken(out, &soak.violations);
    figures(
        out,
        &[
            ("lasted", text::duration(soak.seconds)),
            ("warm-up", text::duration(soak.warm_up)),
            ("sent", text::count(soak.sent)),
            ("journaled", text::count(soak.journaled)),
            ("rejected", text::count(soak.rejected)),
            ("connects", text::count(soak.connects)),
            ("p50", text::micros(soak.p50_us)),
            ("p99", text::micros(soak.p99_us)),
        ],
    );
    out.push_str("<div class=\"wide\"><table>\n<tr><th>figure</th><th>process</th>");
    out.push_str("<th class=\"number\">last</th><th class=\"number\">most</th><th class=\"number\">per hour</th>");
    out.push_str("<th class=\"number\">allowed per hour</th><th>flat</th></tr>\n");
    for series in &soak.series {
        let [what, process, last, most, slope, tolerance, _] =
            table::cells(series).map(|cell| text::html(&cell));
        let (row, flat) = match series.tolerance {
            None => (
                "<tr>",
                "<span class=\"badge open\">not judged</span>".to_owned(),
            ),
            Some(_) if series.is_flat() => ("<tr>", self::badge(true, "yes", "")),
            Some(_) => ("<tr class=\"no\">", self::badge(false, "", "NO")),
        };
        let _ = write!(out, "{row}<td>{what}</td><td>{process}</td>");
        [last, most, slope, tolerance].iter().for_each(|cell| {
            let _ = write!(out, "<td class=\"number\">{cell}</td>");
        });
        let _ = writeln!(out, "<td>{flat}</td></tr>");
    }
    out.push_str("</table></div>\n");
    drift::draw(soak)
        .iter()
        .for_each(|picture| out.push_str(picture));
    out.push_str("</section>\n");
}

fn is_met(run: &Run) -> bool {
    run.met && run.violations.is_empty()
}

fn badge(met: bool, yes: &str, no: &str) -> String {
    if met {
        format!("<span class=\"badge\">{yes}</span>")
    } else {
        format!("<span class=\"badge no\">{no}</span>")
    }
}

fn broken(out: &mut String, violations: &[String]) {
    if violations.is_empty() {
        return;
    }
    out.push_str("<ul class=\"broken\">\n");
    violations.iter().take(SHOWN).for_each(|what| {
        let _ = writeln!(out, "<li>{}</li>", text::html(what));
    });
    if let Some(more) = violations.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(out, "<li>and {more} more</li>");
    }
    out.push_str("</ul>\n");
}

fn figures(out: &mut String, figures: &[(&str, String)]) {
    out.push_str("<dl class=\"figures\">");
    figures.iter().for_each(|(name, figure)| {
        let _ = write!(
            out,
            "<div><dt>{name}</dt><dd>{}</dd></div>",
            text::html(figure)
        );
    });
    out.push_str("</dl>\n");
}

fn fault(fault: &Fault) -> String {
    let until = fault.until_s.map_or(String::new(), |until| {
        format!(" to {}", text::seconds(until))
    });
    format!(
        "{}{until}: {}",
        text::seconds(fault.at_s),
        text::html(&fault.what)
    )
}
