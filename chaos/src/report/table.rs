//! The report as tables of markdown, for a document that is kept.

use super::{Report, Series, Soak, group, text};
use std::fmt::Write;

/// The tables of all reports: where they were made, scenarios, soaks, and what was broken.
pub fn markdown(reports: &[Report]) -> String {
    let mut out = String::new();
    for report in reports {
        let Report {
            made_at,
            commit,
            machine,
            command,
            seed,
            ..
        } = report;
        let versions = report.versions.join(", ");
        let _ = writeln!(
            out,
            "Made {made_at}, commit {commit}, seed {seed}, with `{command}`, on {machine}; {versions}.\n"
        );
    }
    let groups = group::of(reports);
    if !groups.is_empty() {
        row(
            &mut out,
            group::HEADS.into_iter().chain(["met"]).map(str::to_owned),
        );
        row(
            &mut out,
            group::HEADS
                .iter()
                .chain(&["met"])
                .map(|_| "---".to_owned()),
        );
        for group in &groups {
            row(
                &mut out,
                group
                    .cells()
                    .into_iter()
                    .chain([verdict(group.met()).to_owned()]),
            );
        }
    }
    for soak in reports.iter().flat_map(|report| &report.soaks) {
        self::soak(&mut out, soak);
    }
    let broken = reports
        .iter()
        .flat_map(|report| &report.runs)
        .flat_map(|run| {
            run.violations.iter().map(move |what| {
                format!(
                    "- {} on {}, {}: {}",
                    run.scenario,
                    run.journal,
                    run.started,
                    text::cell(what)
                )
            })
        });
    for line in broken {
        let _ = writeln!(out, "{line}");
    }
    out
}

fn soak(out: &mut String, soak: &Soak) {
    let (seconds, warm_up) = (text::duration(soak.seconds), text::duration(soak.warm_up));
    let [sent, journaled, rejected, connects] =
        [soak.sent, soak.journaled, soak.rejected, soak.connects].map(text::count);
    let _ = writeln!(
        out,
        "\nSoak on {}, {seconds}, of which {warm_up} warm-up: {}.",
        soak.journal,
        soak.load.join("; ")
    );
    let _ = writeln!(
        out,
        "{sent} sent, {journaled} journaled, {rejected} rejected, {connects} connects, p50 {}, p99 {}.\n",
        text::micros(soak.p50_us),
        text::micros(soak.p99_us)
    );
    row(
        out,
        [
            "figure",
            "process",
            "last",
            "most",
            "per hour",
            "allowed per hour",
            "flat",
        ]
        .map(str::to_owned)
        .into_iter(),
    );
    row(out, ["---"; 7].map(str::to_owned).into_iter());
    for series in &soak.series {
        row(out, cells(series).into_iter());
    }
    for what in &soak.violations {
        let _ = writeln!(out, "- soak on {}: {}", soak.journal, text::cell(what));
    }
}

/// Figure, process, last, most, slope, tolerance, verdict.
pub(super) fn cells(series: &Series) -> [String; 7] {
    let amount = |value: Option<f64>| {
        value.map_or("-".to_owned(), |value| text::amount(value, &series.unit))
    };
    let flat = if series.tolerance.is_none() {
        "not judged"
    } else {
        verdict(series.is_flat())
    };
    let Series {
        what,
        process,
        slope,
        tolerance,
        ..
    } = series;
    [
        what.clone(),
        process.clone(),
        amount(series.last()),
        amount(series.most()),
        amount(*slope),
        amount(*tolerance),
        flat.to_owned(),
    ]
}

fn verdict(met: bool) -> &'static str {
    if met { "yes" } else { "**NO**" }
}

fn row(out: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.map(|cell| text::cell(&cell)).collect();
    let _ = writeln!(out, "| {} |", cells.join(" | "));
}
