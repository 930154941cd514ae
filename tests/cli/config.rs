//! What the program says of its configuration: what is wrong with it, and what it would use.

use crate::{refusal_with, safe_chat, text};
use std::{ffi::OsString, io::Write, os::unix::ffi::OsStringExt};

#[test]
fn config_check_shows_sources_and_misspelt_names_but_no_password() {
    let mut command = safe_chat(&[
        "config",
        "check",
        "--http-port",
        "99",
        "--nats",
        "nats://me:topsecret@a:1,b:2",
    ]);
    let output = command
        .env("CAS_PWS", "verysecret")
        .env("SAFE_CHAT_GATWAY__PORT", "1")
        .output()
        .unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        (output.status.code(), stderr.lines().last()),
        (
            Some(78),
            Some(
                "error: SAFE_CHAT_GATWAY__PORT in the environment is not known: did you mean \
                 SAFE_CHAT_GATEWAY__PORT?"
            )
        )
    );
    assert!(
        stdout
            .lines()
            .any(|line| line.starts_with("port = 99 ") && line.ends_with("# flag --http-port")),
        "{stdout}"
    );
    assert!(
        stdout.contains(r#"servers = ["nats://(hidden)@a:1", "b:2"]"#),
        "{stdout}"
    );
    assert!(!stdout.contains("secret"), "{stdout}");
}

#[test]
fn a_value_that_cannot_be_is_refused_in_one_line() {
    // Not 1: no further start helps. Whoever checks first learns the same.
    for command in [&["serve"][..], &["config", "check"]] {
        let mut wrong = safe_chat(command);
        let output = wrong.args(["--http-port", "many"]).output().unwrap();
        let line = refusal_with(78, &output);
        assert!(
            line.contains("gateway.port (flag --http-port)") && line.contains("many"),
            "{line}"
        );
    }
}

#[test]
fn a_node_refuses_what_its_check_refuses() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[gateway]\ntls_certifcate = 'x'\n[opps]\nport = 1\n")
        .unwrap();
    let path = file.path().to_str().unwrap();
    let lines = [&["serve"][..], &["config", "check"]].map(|command| {
        let output = safe_chat(command)
            .args(["--config", path])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(78));
        text(&output.stderr).trim_end().to_owned()
    });
    assert_eq!(
        lines[0],
        format!(
            "error: 2 keys or sections are wrong: [opps] in file {path} is not known: did you mean \
             [ops]?; gateway.tls_certifcate in file {path} is not known: did you mean \
             gateway.tls_certificate?"
        )
    );
    assert_eq!(lines[0], lines[1]);
}

#[test]
fn a_configuration_without_unknown_keys_passes_the_check() {
    let output = safe_chat(&["config", "check"]).output().unwrap();
    assert!(output.status.success());
}

#[test]
fn config_check_names_a_file_that_cannot_be_used() {
    for (keys, named) in [
        (
            &["GATEWAY__TLS_CERTIFICATE", "GATEWAY__TLS_KEY"][..],
            "gateway.tls_certificate",
        ),
        (&["BUS__NKEY_FILE"], "login file"),
        (&["BUS__CREDS_FILE"], "login file"),
        (&["BUS__TLS_CA"], "TLS with NATS"),
    ] {
        let mut command = safe_chat(&["config", "check"]);
        for key in keys {
            command.env(format!("SAFE_CHAT_{key}"), "/nowhere/file.pem");
        }
        let output = command.output().unwrap();
        let why = text(&output.stderr);
        assert!(!output.status.success(), "{keys:?}");
        assert!(
            why.contains(named) && why.contains("/nowhere/file.pem"),
            "{why}"
        );
    }
}

#[test]
fn a_word_that_cannot_be_is_refused_with_those_that_can() {
    let output = safe_chat(&["serve", "--journal", "foo"]).output().unwrap();
    let line = refusal_with(78, &output);
    assert_eq!(
        line,
        "error: journal.kind (flag --journal) cannot be `foo`: it must be bus or cassandra"
    );
}

#[test]
fn an_environment_that_is_not_utf_8_is_refused_by_name_and_only_where_it_is_own() {
    let odd = || OsString::from_vec(b"geheim\xe9".into());
    let mut foreign = safe_chat(&["config", "check"]);
    foreign.env("FOREIGN", odd()).env(odd(), "x");
    assert!(foreign.output().unwrap().status.success());
    for own in ["CAS_PWS", "HOSTNAME", "RUST_LOG", "SAFE_CHAT_OPS__PASSWORD"] {
        for words in [
            &["config", "check"][..],
            &["serve"],
            &["journal", "verify", "aaa"],
        ] {
            let output = safe_chat(words).env(own, odd()).output().unwrap();
            let code = if words[0] == "journal" { 1 } else { 78 };
            let line = refusal_with(code, &output);
            assert!(line.contains(own) && line.contains("UTF-8"), "{line}");
            assert!(!text(&output.stderr).contains("geheim"), "{line}");
        }
    }
    let output = safe_chat(&["config", "check", "--keyspace"])
        .arg(odd())
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert!(!output.status.success() && said.contains("UTF-8"), "{said}");
    assert!(!said.contains("geheim"), "{said}");
}

#[test]
fn a_config_file_named_by_an_empty_variable_is_none() {
    let mut check = safe_chat(&["config", "check"]);
    let output = check.env("SAFE_CHAT_CONFIG", "").output().unwrap();
    assert!(output.status.success());
}

#[test]
fn the_reference_of_the_configuration_is_the_one_in_the_docs() {
    let of = |what: &str| {
        let output = safe_chat(&["config", what]).output().unwrap();
        text(&output.stdout).to_owned()
    };
    let stored = std::fs::read_to_string("docs/configuration.md").unwrap();
    let outdated = "safe-chat config doc > docs/configuration.md";
    assert!(of("doc") == stored, "{outdated}");
    assert!(of("default").contains("\n[gateway]\n"));
    assert!(of("env").contains("#SAFE_CHAT_GATEWAY__PORT=8080\n#HTTP_PORT=8080\n"));
}
