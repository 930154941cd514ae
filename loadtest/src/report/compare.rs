//! Two reports beside each other.

use super::{Report, limit::unit_of, text::rounded};
use std::fmt::Write as _;

/// A table of the figures that both have, with how much the second one is of the first, and what
/// differs in where they were taken.
pub fn compare(a: &Report, b: &Report) -> String {
    let mut out = String::new();
    if a.scenario != b.scenario {
        let _ = writeln!(
            out,
            "not the same scenario: {} and {}",
            a.scenario, b.scenario
        );
    }
    for (name, of_a) in &a.environment.0 {
        let of_b = b.environment.0.get(name).map_or("unknown", String::as_str);
        let varies = matches!(name.as_str(), "date" | "load when it began" | "servers");
        if of_a != of_b && !varies {
            let _ = writeln!(out, "{name}: {of_a} | {of_b}");
        }
    }
    let _ = writeln!(out, "{:<34} {:>12} {:>12} {:>8}", "", "A", "B", "B/A");
    for (name, value) in &a.figures {
        let Some(other) = b.figures.get(name) else {
            continue;
        };
        let ratio = if *value == 0.0 {
            "-".into()
        } else {
            format!("{:.2}", other / value)
        };
        let _ = writeln!(
            out,
            "{name:<34} {:>12} {:>12} {ratio:>8} {}",
            rounded(*value),
            rounded(*other),
            unit_of(name)
        );
    }
    let only = |of: &Report, other: &Report| -> Vec<String> {
        let names = of.figures.keys();
        let missing = names.filter(|name| !other.figures.contains_key(*name));
        missing.cloned().collect()
    };
    for (label, names) in [("only in A", only(a, b)), ("only in B", only(b, a))] {
        if !names.is_empty() {
            let _ = writeln!(out, "{label}: {}", names.join(", "));
        }
    }
    out
}
