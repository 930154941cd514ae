//! What libFuzzer said about a run, in a line.

use std::fmt;

/// How a run went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Inputs that were run.
    runs: u64,
    /// Edges of the program that some input reached.
    reached: u64,
    /// Edges, and how often each.
    features: u64,
    /// Inputs that reach something new.
    corpus: String,
    /// What broke, and the file with the input.
    pub(super) found: Option<String>,
}

impl Report {
    /// From what libFuzzer wrote; `well`: it ended with success.
    pub(super) fn read(text: &str, well: bool) -> Self {
        let last = text
            .lines()
            .rfind(|line| line.starts_with('#') && line.contains(" cov: "))
            .unwrap_or_default();
        let after = |name: &str| {
            last.split_whitespace()
                .skip_while(|word| *word != name)
                .nth(1)
                .unwrap_or_default()
        };
        let executed = text
            .lines()
            .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        let started = last.trim_start_matches('#').split_whitespace().next();
        Self {
            runs: executed
                .or(started)
                .and_then(|number| number.trim().parse().ok())
                .unwrap_or_default(),
            reached: after("cov:").parse().unwrap_or_default(),
            features: after("ft:").parse().unwrap_or_default(),
            corpus: after("corp:").to_owned(),
            found: (!well).then(|| found(text)),
        }
    }
}

/// The words of the panic, or libFuzzer's own, and where the input is.
fn found(text: &str) -> String {
    let mut lines = text.lines();
    let panic = lines
        .by_ref()
        .find(|line| line.contains("panicked at"))
        .map(|line| {
            let words = lines.next().unwrap_or_default();
            format!("{} {words}", line.trim())
        });
    let summary = || {
        text.lines()
            .rfind(|line| line.starts_with("SUMMARY: ") || line.starts_with("=="))
            .map(str::to_owned)
    };
    let why = panic
        .or_else(summary)
        .unwrap_or_else(|| "it ended early, see the log".into());
    let input = text
        .lines()
        .rev()
        .find_map(|line| line.split_once("Test unit written to "))
        .map(|(_, path)| path);
    format!("{why}; input: {}", input.unwrap_or("none was written"))
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            runs,
            reached,
            features,
            corpus,
            found,
        } = self;
        match found {
            None => write!(
                out,
                "nothing found in {runs} runs; {reached} edges, {features} features, corpus {corpus}"
            ),
            Some(found) => write!(out, "FOUND after {runs} runs: {found}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_to_its_end_says_how_far_it_came() {
        let text = "INFO: Seed: 1\n#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                    #2097152\tDONE   cov: 512 ft: 1203 corp: 210/34Kb lim: 4096 exec/s: 34952 rss: 50Mb\n\
                    Done 2097152 runs in 60 second(s)\nstat::number_of_executed_units: 2097152\n";
        let report = Report::read(text, true);
        assert_eq!(
            report.to_string(),
            "nothing found in 2097152 runs; 512 edges, 1203 features, corpus 210/34Kb"
        );
    }

    #[test]
    fn a_find_is_named_with_its_words_and_its_file() {
        let text = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                    thread '<unnamed>' (7) panicked at src/text.rs:12:9:\nmore than a line\n==7== ERROR: libFuzzer: deadly signal\n\
                    artifact_prefix='/a/'; Test unit written to /a/crash-1\n";
        let found = Report::read(text, false).found.unwrap();
        assert_eq!(
            found,
            "thread '<unnamed>' (7) panicked at src/text.rs:12:9: more than a line; input: /a/crash-1"
        );
        let slow = "==7== ERROR: libFuzzer: timeout after 10 seconds\nSUMMARY: libFuzzer: timeout\nTest unit written to /a/timeout-1\n";
        assert_eq!(
            Report::read(slow, false).found.unwrap(),
            "SUMMARY: libFuzzer: timeout; input: /a/timeout-1"
        );
    }
}
