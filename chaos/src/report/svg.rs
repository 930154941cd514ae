//! Pieces of pictures: panels with axes, lines, areas, bars. Colours come from the style sheet of
//! the page, by class.

use super::{scale::Scale, text};
use std::fmt::Write;

/// Width of every picture, in its own units; the page stretches it.
pub(super) const WIDTH: f64 = 960.0;
/// Where the plots begin and end; left of them are figures.
pub(super) const LEFT: f64 = 64.0;
pub(super) const RIGHT: f64 = WIDTH - 12.0;

/// A picture that is being made.
pub(super) struct Svg {
    body: String,
    height: f64,
    label: String,
}

/// A part of a picture with a vertical axis of its own.
pub(super) struct Panel {
    pub(super) title: &'static str,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) y: Scale,
}

impl Svg {
    pub(super) fn new(label: &str, height: f64) -> Self {
        Self {
            body: String::new(),
            height,
            label: text::html(label),
        }
    }

    pub(super) fn end(self) -> String {
        let Self {
            body,
            height,
            label,
        } = self;
        format!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">\n{body}</svg>\n"
        )
    }

    /// Grid, figures and title of a panel.
    pub(super) fn panel(&mut self, panel: &Panel, show: impl Fn(f64) -> String) {
        for tick in panel.y.ticks() {
            let y = panel.y.at(tick);
            self.put(format_args!(
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/>"
            ));
            let (x, y, figure) = (LEFT - 6.0, y + 4.0, text::html(&show(tick)));
            self.put(format_args!(
                "<text class=\"figure\" x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{figure}</text>"
            ));
        }
        self.put(format_args!(
            "<text class=\"title\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>",
            panel.top - 7.0,
            text::html(panel.title)
        ));
    }

    /// Seconds or minutes below the plots.
    pub(super) fn time(&mut self, x: &Scale, seconds: f64, y: f64) {
        let in_minutes = seconds > 300.0;
        let axis = if in_minutes {
            Scale::exact(seconds / 60.0, LEFT, RIGHT)
        } else {
            *x
        };
        for tick in axis.ticks() {
            let (x, unit) = (axis.at(tick), if in_minutes { "min" } else { "s" });
            let (tick, anchor) = (
                text::amount(tick, ""),
                if x > RIGHT - 20.0 { "end" } else { "middle" },
            );
            self.put(format_args!("<text class=\"figure\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{tick} {unit}</text>"));
        }
    }

    /// A line through points; where there is none, it is interrupted.
    pub(super) fn line(&mut self, class: &str, points: impl Iterator<Item = Option<(f64, f64)>>) {
        let (mut path, mut pen) = (String::new(), 'M');
        for point in points {
            let Some((x, y)) = point else {
                pen = 'M';
                continue;
            };
            // A lone point is a line of no length, which a round cap makes a dot.
            let _ = if pen == 'M' {
                write!(path, "M{x:.1} {y:.1}h0")
            } else {
                write!(path, "L{x:.1} {y:.1}")
            };
            pen = 'L';
        }
        self.put(format_args!("<path class=\"line {class}\" d=\"{path}\"/>"));
    }

    /// Bars that stand on `bottom`: left, right, top.
    pub(super) fn bars(
        &mut self,
        class: &str,
        bottom: f64,
        bars: impl Iterator<Item = (f64, f64, f64)>,
    ) {
        let mut path = String::new();
        for (left, right, top) in bars {
            let _ = write!(
                path,
                "M{left:.1} {bottom:.1}V{top:.1}H{right:.1}V{bottom:.1}Z"
            );
        }
        self.put(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
    }

    /// A rectangle that says something when a pointer is over it.
    pub(super) fn says(
        &mut self,
        class: &str,
        (left, top): (f64, f64),
        (right, bottom): (f64, f64),
        what: &str,
    ) {
        let (width, height, what) = (
            (right - left).max(0.0),
            (bottom - top).max(0.0),
            text::html(what),
        );
        self.put(format_args!(
            "<rect class=\"{class}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{what}</title></rect>"
        ));
    }

    pub(super) fn text(&mut self, class: &str, (x, y): (f64, f64), what: &str) {
        self.put(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            text::html(what)
        ));
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{what}");
    }
}
