//! The banner of a start: what this node is and what it found, one fact per line.

use std::fmt::Write;

/// A fact: its name and what is so.
pub type Fact = (&'static str, String);

/// The facts under each other, with their names aligned. A fact of several lines stays in its
/// column.
pub fn render(title: &str, facts: &[Fact]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = format!("{title}\n");
    for (name, fact) in facts {
        let mut name = *name;
        for line in fact.lines() {
            let _ = writeln!(text, "  {name:<width$}  {line}");
            name = "";
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_stand_under_each_other() {
        let facts = [("node", "a".to_owned()), ("addresses", "b\nc".to_owned())];
        assert_eq!(
            render("safe-chat", &facts),
            "safe-chat\n  node       a\n  addresses  b\n             c\n"
        );
    }
}
