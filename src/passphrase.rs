//! A password or passphrase, typed in and not shown, or read from stdin or a file.

use anyhow::{Context, bail, ensure};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, IsTerminal},
    path::Path,
    sync::mpsc,
    thread,
    time::Duration,
};

/// Bytes that are read of one, at most.
const MOST: u64 = 4096;
/// How long one in a file may take: a person may have to open what writes it.
const PATIENCE: Duration = Duration::from_secs(60);

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
    in_file_within(what, path, PATIENCE)
}

/// Into a pipe nobody may ever write, and it is neither opened nor read then: so on a thread.
fn in_file_within(what: &str, path: &Path, patience: Duration) -> anyhow::Result<String> {
    let from = path.display().to_string();
    ensure!(
        !path.is_dir(),
        "{from} is a folder: name the file whose only line is the {what}"
    );
    let (done, read) = mpsc::channel();
    let (of, path) = (what.to_owned(), path.to_owned());
    thread::spawn(move || {
        let from = path.display().to_string();
        let file = File::open(path);
        let file = file.with_context(|| format!("the {of} in {from} cannot be read"));
        // Nobody waits any more if it took too long.
        let _ = done.send(file.and_then(|file| only_line(&of, &from, BufReader::new(file))));
    });
    read.recv_timeout(patience).unwrap_or_else(|_| {
        bail!(
            "nothing came out of {from} in {} s, where the {what} was to be: it is a pipe into \
             which nobody writes, or a disk that does not answer",
            patience.as_secs()
        )
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_folder_and_a_pipe_into_which_nobody_writes_are_refused_and_other_pipes_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let refused = |path: &Path| {
            let refused = in_file_within("passphrase", path, Duration::ZERO).unwrap_err();
            refused.to_string()
        };
        assert!(refused(folder.path()).contains("is a folder"));
        assert!(refused(&pipe).contains("nobody writes"));
        let other = folder.path().join("other");
        let made = Command::new("mkfifo").arg(&other).status().unwrap();
        assert!(made.success());
        let writer = {
            let other = other.clone();
            thread::spawn(move || std::fs::write(other, "correct horse battery\n"))
        };
        let read = in_file("passphrase", &other).unwrap();
        assert_eq!(read, "correct horse battery");
        writer.join().unwrap().unwrap();
    }
}
