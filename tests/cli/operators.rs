//! `safe-chat operators hash`, and what the check of a configuration says of a file of operators.

use crate::{refusal, refusal_with, safe_chat, text};
use argon2::{Argon2, PasswordHash, PasswordVerifier};
use std::{
    fs,
    io::Write,
    process::{Output, Stdio},
};

fn hash(args: &[&str], stdin: &[u8]) -> Output {
    let mut command = safe_chat(&["operators", "hash"]);
    command.args(args).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that was typed wrong reads nothing.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn a_password_becomes_a_line_that_has_nothing_of_it() {
    for ending in ["", "\n", "\r\n"] {
        let password = "correct: horse 7";
        let output = hash(
            &["alice", "operate"],
            format!("{password}{ending}").as_bytes(),
        );
        let line = text(&output.stdout);
        assert!(output.status.success() && output.stderr.is_empty());
        let found = line.strip_prefix("alice:operate:").expect("name and role");
        let found = PasswordHash::new(found.trim_end()).expect("a PHC string");
        let argon2 = Argon2::default();
        assert!(argon2.verify_password(password.as_bytes(), &found).is_ok());
        assert!(!line.contains("horse") && line.ends_with('\n'));
    }
}

#[test]
fn a_password_that_can_be_guessed_is_refused_and_not_quoted() {
    for (stdin, why) in [
        (&b""[..], "empty"),
        (b"\n", "empty"),
        (b"geheim", "12 characters or more"),
        (b"geheimgeheimalice", "the operator's name"),
        (b"geheim geheim\ngeheim geheim\n", "more than one line"),
        (b"geheim geheim\xff", "UTF-8"),
    ] {
        let line = refusal(&hash(&["alice", "read"], stdin));
        assert!(line.contains(why) && !line.contains("geheim"), "{line}");
    }
}

#[test]
fn a_name_and_a_role_that_cannot_be_are_refused() {
    for args in [
        &["alice", "root"][..],
        &["a:b", "read"],
        &["", "read"],
        &["alice"],
    ] {
        let output = hash(args, b"correct horse 7");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert_eq!(text(&output.stdout), "");
    }
}

#[test]
fn config_check_names_the_lines_of_a_file_of_operators_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("operators");
    let check = || {
        let mut command = safe_chat(&["config", "check"]);
        command.env("SAFE_CHAT_OPS__OPERATORS_FILE", &file);
        command.output().unwrap()
    };
    let why = text(&check().stderr).to_owned();
    assert!(
        why.contains("ops.operators_file") && why.contains("operators cannot be used"),
        "{why}"
    );
    fs::write(&file, "# people\nalice:read:geheim\n").unwrap();
    let output = check();
    let why = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(why.contains("line 2: ") && !why.contains("geheim"), "{why}");
    fs::write(&file, hash(&["alice", "read"], b"correct horse 7").stdout).unwrap();
    assert!(check().status.success());
}

#[test]
fn ports_of_operators_must_differ() {
    let mut command = safe_chat(&["serve"]);
    let output = command.env("SAFE_CHAT_OPS__PROBES_PORT", "8558").output();
    let line = refusal_with(78, &output.unwrap());
    assert!(
        line.contains("ops.port and ops.probes_port are both 8558"),
        "{line}"
    );
}
