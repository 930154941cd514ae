//! A password or passphrase, typed in and not shown, or read from stdin or a file.

use anyhow::{Context, bail, ensure};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    path::Path,
};

/// Bytes that are read of one, at most.
const MOST: u64 = 4096;

/// A new one: who types it in types it twice, if it is good enough.
pub(crate) fn new(
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
pub(crate) fn known(what: &str) -> anyhow::Result<String> {
    match typed_in(what) {
        Some(typed) => typed,
        None => piped(what),
    }
}

/// One that only a person is asked for; `None`: nobody is there, on stdin is something else.
pub(crate) fn typed_in(what: &str) -> Option<anyhow::Result<String>> {
    io::stdin()
        .is_terminal()
        .then(|| typed(what, &capitalized(what)))
}

/// One in a file, or what else can be read under a name: `/dev/fd/3`, a pipe.
pub(crate) fn in_file(what: &str, path: &Path) -> anyhow::Result<String> {
    let from = path.display().to_string();
    let file = File::open(path).with_context(|| format!("the {what} in {from} cannot be read"))?;
    only_line(what, &from, BufReader::new(file))
}

fn typed(what: &str, prompt: &str) -> anyhow::Result<String> {
    rpassword::prompt_password(format!("{prompt}: "))
        .with_context(|| format!("the {what} cannot be read"))
}

fn piped(what: &str) -> anyhow::Result<String> {
    only_line(what, "stdin", io::stdin().lock())
}

/// The first line, which must be the only one.
fn only_line(what: &str, from: &str, source: impl BufRead) -> anyhow::Result<String> {
    let mut lines = source.take(MOST).lines();
    let first = match lines.next().unwrap_or_else(|| Ok(String::new())) {
        Ok(first) => first,
        // The text of such an error could quote bytes of it.
        Err(why) if why.kind() == io::ErrorKind::InvalidData => {
            bail!("the {what} in {from} cannot be read: is it UTF-8?")
        }
        Err(why) => {
            return Err(why).with_context(|| format!("the {what} in {from} cannot be read"));
        }
    };
    ensure!(
        !first.is_empty(),
        "{from} is empty: its first line must be the {what}"
    );
    ensure!(
        lines.next().is_none(),
        "{from} has more than one line: it must be the {what} alone"
    );
    Ok(first)
}

fn capitalized(what: &str) -> String {
    let mut letters = what.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
