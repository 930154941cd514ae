//! A password or passphrase, typed in and not shown, or read from stdin.

use anyhow::{Context, bail, ensure};
use std::io::{self, BufRead, IsTerminal, Read};

/// Bytes that are read from stdin, at most.
const MOST: u64 = 4096;

/// A new one: who types it in types it twice, if it is good enough.
pub(super) fn new(
    what: &str,
    check: impl FnOnce(&str) -> anyhow::Result<()>,
) -> anyhow::Result<String> {
    if !io::stdin().is_terminal() {
        return piped(what);
    }
    let chosen = typed(what, &capitalized(what))?;
    check(&chosen)?;
    if chosen != typed(what, "The same again")? {
        bail!("the two are not the same");
    }
    Ok(chosen)
}

/// One that was chosen before.
pub(super) fn known(what: &str) -> anyhow::Result<String> {
    match io::stdin().is_terminal() {
        true => typed(what, &capitalized(what)),
        false => piped(what),
    }
}

fn typed(what: &str, prompt: &str) -> anyhow::Result<String> {
    rpassword::prompt_password(format!("{prompt}: "))
        .with_context(|| format!("the {what} cannot be read"))
}

/// The first line, which must be the only one.
fn piped(what: &str) -> anyhow::Result<String> {
    let mut lines = io::stdin().lock().take(MOST).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()));
    // The text of an error could quote bytes of it.
    let Ok(first) = first else {
        bail!("the {what} on stdin cannot be read: is it UTF-8?");
    };
    ensure!(
        lines.next().is_none(),
        "stdin has more than one line: it must be the {what} alone"
    );
    Ok(first)
}

fn capitalized(what: &str) -> String {
    let mut letters = what.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
