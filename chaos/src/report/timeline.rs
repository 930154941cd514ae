//! A run as a picture: journaled messages, p99 and connects second by second, with the faults
//! shaded.

use super::{
    Fault, Run, Second,
    scale::Scale,
    svg::{LEFT, Panel, RIGHT, Svg},
    text,
};

const HEIGHT: f64 = 372.0;
const TOP: f64 = 62.0;
const BOTTOM: f64 = 344.0;
/// Rows of fault numbers above the plots, and what one number needs.
const ROWS: usize = 3;
const ROW: f64 = 13.0;
const NUMBER: f64 = 20.0;

pub(super) fn draw(run: &Run) -> String {
    let seconds = run.seconds.max(run.per_second.len() as f64);
    let x = Scale::exact(seconds, LEFT, RIGHT);
    let mut svg = Svg::new(
        &format!("{} on {}, second by second", run.scenario, run.journal),
        HEIGHT,
    );
    faults(&mut svg, &x, &run.faults);
    journaled(&mut svg, &x, &run.per_second);
    latency(&mut svg, &x, &run.per_second);
    connects(&mut svg, &x, &run.per_second);
    svg.time(&x, seconds, BOTTOM + 20.0);
    for (n, second) in run.per_second.iter().enumerate() {
        svg.says(
            "hover",
            (x.at(n as f64), TOP),
            (x.at(n as f64 + 1.0), BOTTOM),
            &says(n, second),
        );
    }
    svg.end()
}

fn says(
    n: usize,
    Second {
        journaled,
        p50_us,
        p99_us,
        connects,
    }: &Second,
) -> String {
    let (p50, p99) = (text::micros(*p50_us), text::micros(*p99_us));
    format!("{n} s: {journaled} journaled, p50 {p50}, p99 {p99}, {connects} connects")
}

/// Behind everything else. Numbers stand above, in the row that has room.
fn faults(svg: &mut Svg, x: &Scale, faults: &[Fault]) {
    let mut ends = [f64::MIN; ROWS];
    for (n, fault) in faults.iter().enumerate() {
        let left = x.at(fault.at_s);
        let right = fault
            .until_s
            .map_or(left, |until| x.at(until))
            .max(left + 2.0);
        svg.says("fault", (left, TOP - 4.0), (right, BOTTOM), &fault.what);
        let row = ends.iter().position(|end| left >= *end).unwrap_or(ROWS - 1);
        ends[row] = left + NUMBER;
        svg.text(
            "fault-number",
            (left, TOP - 22.0 - ROW * row as f64),
            &(n + 1).to_string(),
        );
    }
}

fn journaled(svg: &mut Svg, x: &Scale, seconds: &[Second]) {
    let most = seconds
        .iter()
        .map(|second| second.journaled)
        .max()
        .unwrap_or(0);
    let (top, bottom) = (TOP, 162.0);
    let panel = Panel {
        title: "journaled messages per second",
        top,
        bottom,
        y: Scale::linear(most as f64, bottom, top),
    };
    svg.panel(&panel, |tick| text::amount(tick, ""));
    let bars = seconds
        .iter()
        .enumerate()
        .map(|(n, second)| bar(x, n, panel.y.at(second.journaled as f64), 1.0));
    svg.bars("journaled", panel.bottom, bars);
}

fn latency(svg: &mut Svg, x: &Scale, seconds: &[Second]) {
    let known = || seconds.iter().filter(|second| second.p99_us > 0);
    let least = known()
        .map(|second| second.p50_us.max(1))
        .min()
        .unwrap_or(1000);
    let most = known().map(|second| second.p99_us).max().unwrap_or(10_000);
    let (top, bottom) = (190.0, 276.0);
    let y = Scale::logarithmic(least as f64 / 1000.0, most as f64 / 1000.0, bottom, top);
    let panel = Panel {
        title: "from due to journaled: p99 and, below it, the median (logarithmic)",
        top,
        bottom,
        y,
    };
    svg.panel(&panel, text::millis);
    for (class, of) in [
        ("p50", (|second| second.p50_us) as fn(&Second) -> u64),
        ("p99", |second| second.p99_us),
    ] {
        let points = seconds.iter().enumerate();
        svg.line(
            class,
            points.map(|(n, second)| match of(second) {
                0 => None,
                us => Some((x.at(n as f64 + 0.5), panel.y.at(us as f64 / 1000.0))),
            }),
        );
    }
}

fn connects(svg: &mut Svg, x: &Scale, seconds: &[Second]) {
    let most = seconds
        .iter()
        .map(|second| second.connects)
        .max()
        .unwrap_or(0);
    let (top, bottom) = (304.0, BOTTOM);
    let panel = Panel {
        title: "clients that connected",
        top,
        bottom,
        y: Scale::linear(most as f64, bottom, top),
    };
    svg.panel(&panel, |tick| {
        if tick == 0.0 || tick >= most as f64 {
            text::amount(tick, "")
        } else {
            String::new()
        }
    });
    let connected = seconds
        .iter()
        .enumerate()
        .filter(|(_, second)| second.connects > 0);
    svg.bars(
        "connects",
        panel.bottom,
        connected.map(|(n, second)| bar(x, n, panel.y.at(second.connects as f64), 2.0)),
    );
}

/// Of second n, at least `width` wide: left, right, top.
fn bar(x: &Scale, n: usize, top: f64, width: f64) -> (f64, f64, f64) {
    let (left, right) = (x.at(n as f64), x.at(n as f64 + 1.0));
    (left, right.max(left + width), top)
}
