//! A soak as pictures: one for each figure, with a line for each process.

use super::{
    Series, Soak,
    scale::Scale,
    svg::{LEFT, Panel, RIGHT, Svg},
    text,
};

const HEIGHT: f64 = 188.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 158.0;
/// Colours of lines; more processes begin again.
const COLOURS: usize = 6;
const MIB: f64 = 1024.0 * 1024.0;
/// The legend stands in the line of the title.
const LEGEND: f64 = 92.0;

/// One picture for each figure, in the order in which they were measured.
pub(super) fn draw(soak: &Soak) -> Vec<String> {
    let mut whats: Vec<&str> = Vec::new();
    for series in &soak.series {
        if !whats.contains(&series.what.as_str()) {
            whats.push(&series.what);
        }
    }
    whats.iter().map(|what| picture(soak, what)).collect()
}

fn picture(soak: &Soak, what: &str) -> String {
    let all: Vec<&Series> = soak
        .series
        .iter()
        .filter(|series| series.what == what)
        .collect();
    let most = all
        .iter()
        .filter_map(|series| series.most())
        .fold(0.0, f64::max);
    let end = all
        .iter()
        .filter_map(|series| series.points.last())
        .map(|(at, _)| *at)
        .fold(soak.seconds, f64::max);
    let x = Scale::exact(end, LEFT, RIGHT);
    // Round figures of bytes are powers of two.
    let (unit, label) = if all.iter().any(|series| series.unit == "bytes") {
        (MIB, " MiB")
    } else {
        (1.0, "")
    };
    let panel = Panel {
        title: "",
        top: TOP,
        bottom: BOTTOM,
        y: Scale::linear(most / unit, BOTTOM, TOP),
    };
    let mut svg = Svg::new(&format!("{what} over time"), HEIGHT);
    svg.says(
        "warm-up",
        (LEFT, TOP),
        (x.at(soak.warm_up), BOTTOM),
        "warm-up: counts for no slope",
    );
    svg.panel(&panel, |tick| text::amount(tick, "") + label);
    svg.text("title", (LEFT, 18.0), what);
    for (n, series) in all.iter().enumerate() {
        let class = format!("process-{}", n % COLOURS);
        svg.line(
            &class,
            series
                .points
                .iter()
                .map(|(at, value)| Some((x.at(*at), panel.y.at(*value / unit)))),
        );
        let legend = RIGHT - LEGEND * (all.len() - n) as f64;
        svg.line(
            &class,
            [Some((legend, 14.0)), Some((legend + 16.0, 14.0))].into_iter(),
        );
        svg.text("legend", (legend + 21.0, 18.0), &series.process);
    }
    svg.time(&x, end, BOTTOM + 20.0);
    svg.end()
}
