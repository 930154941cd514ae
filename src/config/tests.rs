//! Which layer wins, what is warned about, and what is never shown.

use super::*;
use crate::bus::Role;
use std::{io::Write, path::Path};

/// An empty environment.
const NONE: [(&str, &str); 0] = [];

fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Loaded, Error> {
    let mut on_disk = tempfile::NamedTempFile::new().unwrap();
    on_disk.write_all(file.as_bytes()).unwrap();
    let environment = environment
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let flags = flags
        .iter()
        .map(|(key, flag, text)| (*key, *flag, (*text).to_owned()));
    Loaded::load(Some(on_disk.path()), environment, flags.collect())
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    const FILE: &str = "[ops]\nport = 1";
    const SHORT: (&str, &str) = ("HOSTNAME", "short");
    const LONG: (&str, &str) = ("SAFE_CHAT_OPS__PORT", "2");
    const FLAG: (&str, &str, &str) = ("ops.port", "--internal-port", "3");
    #[rustfmt::skip]
    let table = [
        ("",   vec![],           vec![],     8558, "default"),
        (FILE, vec![],           vec![],     1,    "file "),
        (FILE, vec![LONG],       vec![],     2,    "environment SAFE_CHAT_OPS__PORT"),
        ("",   vec![LONG],       vec![],     2,    "environment SAFE_CHAT_OPS__PORT"),
        (FILE, vec![LONG],       vec![FLAG], 3,    "flag --internal-port"),
        (FILE, vec![SHORT],      vec![FLAG], 3,    "flag --internal-port"),
        (FILE, vec![("SAFE_CHAT_OPS__PORT", "")], vec![], 1, "file "),
    ];
    for (file, environment, flags, port, source) in table {
        let loaded = load(file, &environment, &flags).unwrap();
        let from = loaded
            .sources
            .get("ops.port")
            .cloned()
            .unwrap_or_default()
            .to_string();
        assert_eq!(
            (loaded.config.ops.port, from.starts_with(source)),
            (port, true),
            "{file:?} {environment:?} {flags:?}: {from}"
        );
        assert_eq!(loaded.unknown, [""; 0]);
    }
}

#[test]
fn a_long_name_wins_over_a_short_one() {
    let both = [("HOSTNAME", "shell"), ("SAFE_CHAT_NODE__NAME", "mine")];
    assert_eq!(load("", &both, &[]).unwrap().config.node.name, "mine");
    assert_eq!(load("", &both[..1], &[]).unwrap().config.node.name, "shell");
}

#[test]
fn lists_are_separated_by_commas_and_numbers_may_be_names() {
    let lists = [
        ("SAFE_CHAT_NODE__ROLES", "writer, gateway,"),
        ("HOSTNAME", "42"),
    ];
    let node = load("", &lists, &[]).unwrap().config.node;
    assert_eq!(
        (node.roles, node.name.as_str()),
        (vec![Role::Writer, Role::Gateway], "42")
    );
}

#[test]
fn cassandra_hosts_choose_the_cassandra_journal_unless_something_else_does() {
    let kind = |file: &str, environment: &[(&str, &str)]| {
        load(file, environment, &[]).unwrap().config.journal.kind
    };
    let hosts = ("CASSANDRA", "127.0.0.1:9042");
    assert_eq!(kind("", &[]), JournalKind::Bus);
    assert_eq!(kind("", &[hosts]), JournalKind::Cassandra);
    assert_eq!(
        kind("", &[hosts, ("SAFE_CHAT_JOURNAL__KIND", "bus")]),
        JournalKind::Bus
    );
    assert_eq!(kind("[journal]\nkind = 'bus'", &[hosts]), JournalKind::Bus);
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    let file = "[opps]\nport = 1\n[log]\nlevle = 'debug'\n[else]\nwhere = 1";
    let environment = [
        ("SAFE_CHAT_LOG__FROMAT", "json"),
        ("SAFE_CHAT_TEST_NATS", "x"),
        ("SAFE_CHAT_CONFIG", "x"),
        ("OTHER", "x"),
    ];
    let unknown = load(file, &environment, &[]).unwrap().unknown.join("\n");
    for part in [
        "[opps] in file ",
        "did you mean [ops]?",
        "did you mean log.level?",
        "did you mean SAFE_CHAT_LOG__FORMAT?",
        "else.where",
    ] {
        assert!(unknown.contains(part), "{part} is missing in\n{unknown}");
    }
    assert_eq!(unknown.lines().count(), 4, "{unknown}");
}

#[test]
fn a_misspelt_section_is_named_once_and_an_empty_one_too() {
    let file = "[buss]\nprefix = 'x'\nservers = ['a:1']\n[gatevay]\n[nats]\n[ops]\n\
                [bus]\nprefix = 'y'\n[bus.servrs]";
    let loaded = load(file, &NONE, &[]).unwrap();
    assert_eq!(loaded.config.bus.prefix, "y");
    let hints: Vec<_> = loaded
        .unknown
        .iter()
        .map(|line| (line.split(' ').next().unwrap(), line.split(": ").nth(1)))
        .collect();
    let expected = [
        ("[buss]", Some("did you mean [bus]?")),
        ("[gatevay]", Some("did you mean [gateway]?")),
        ("[nats]", None),
        ("bus.servrs", Some("did you mean bus.servers?")),
    ];
    assert_eq!(hints, expected);
}

#[test]
fn a_value_that_cannot_be_is_refused_with_its_key_and_source() {
    let refused = |file: &str, environment: &[(&str, &str)]| {
        load(file, environment, &[]).unwrap_err().to_string()
    };
    let text = refused("", &[("SAFE_CHAT_OPS__PORT", "many")]);
    assert!(
        text.contains("ops.port (environment SAFE_CHAT_OPS__PORT)") && text.contains("many"),
        "{text}"
    );
    let text = refused("[ops]\nport = 65536", &[]);
    assert!(
        text.contains("ops.port (file ") && text.contains("65536"),
        "{text}"
    );
    let text = refused("", &[("SAFE_CHAT_NODE__ROLES", "gateway,reader")]);
    assert!(
        text.contains("node.roles (environment SAFE_CHAT_NODE__ROLES)") && text.contains("reader"),
        "{text}"
    );
    let text = refused("", &[("SAFE_CHAT_NODE__NAME", "two words")]);
    assert!(text.contains("node.name"), "{text}");
    assert!(refused("[ops", &[]).contains("cannot be used"));
}

#[test]
fn words_that_can_be_are_accepted_and_named_when_another_is_given() {
    let refused = |key: &str, word: &str| {
        let (section, name) = key.split_once('.').unwrap();
        load(&format!("[{section}]\n{name} = {word}"), &[], &[])
            .map(drop)
            .map_err(|error| error.to_string())
    };
    for (key, words) in [
        ("journal.kind", ["bus", "cassandra"]),
        ("log.format", ["pretty", "json"]),
    ] {
        let why = refused(key, "'Foo'").unwrap_err();
        assert!(
            why.contains(&format!("{key} (file "))
                && why.contains("cannot be `Foo`")
                && !why.contains("enum"),
            "{why}"
        );
        assert!(
            words
                .iter()
                .all(|word| why.contains(word) && refused(key, &format!("'{word}'")).is_ok()),
            "{why}"
        );
        let why = refused(key, "[1]").unwrap_err();
        assert!(
            words.iter().all(|word| why.contains(word)) && !why.contains("enum"),
            "{why}"
        );
    }
}

#[test]
fn no_error_quotes_a_password() {
    let syntax = "[cassandra]\nuser = 'me'\npassword = 'topsecret\n";
    let no_list = "[bus]\nservers = 'nats://me:topsecret@a:4222'";
    let no_text = "[cassandra]\npassword = ['topsecret']";
    let no_table = "[bus.servers]\na = 'nats://me:topsecret@a:4222'";
    for file in [
        syntax,
        no_list,
        no_text,
        no_table,
        "bus = 'topsecret'",
        "cassandra.password.a = 'topsecret'",
        "ops.password = ['topsecret']",
    ] {
        let told = match load(file, &[], &[]) {
            Ok(loaded) => loaded.unknown.join("\n") + &loaded.show(),
            Err(error) => error.to_string(),
        };
        assert!(!told.contains("topsecret"), "{file}:\n{told}");
    }
    assert!(
        load(syntax, &[], &[])
            .unwrap_err()
            .to_string()
            .contains("line 3")
    );
}

#[test]
fn a_missing_file_is_named() {
    let error = Loaded::load(Some(Path::new("/nowhere/safe-chat.toml")), NONE, vec![]).unwrap_err();
    assert!(
        error.to_string().contains("/nowhere/safe-chat.toml"),
        "{error}"
    );
}

#[test]
fn every_default_is_valid_and_what_is_shown_can_be_loaded_again() {
    let defaults = load("", &[], &[]).unwrap();
    assert_eq!(
        load(&defaults.show(), &[], &[]).unwrap().config,
        defaults.config
    );
}

#[test]
fn a_password_is_never_shown() {
    assert_eq!(
        show::without_credentials("nats://me:secret@host:4222"),
        "nats://(hidden)@host:4222"
    );
    assert_eq!(
        show::without_credentials("nats://host:4222"),
        "nats://host:4222"
    );
    for hidden in ["nats://me:secret", "nats://me:sec,ret"] {
        assert_eq!(show::without_credentials(hidden), "nats://(hidden)");
    }
    for plain in [
        "nats://host",
        "nats://[::1]:4222",
        "nats://[::1]",
        "any: text",
    ] {
        assert_eq!(show::without_credentials(plain), plain);
    }
    assert_eq!(
        show::without_credentials("token@host:4222"),
        "(hidden)@host:4222"
    );
    for (page, shown) in [
        ("https://host/keys", "https://host/keys"),
        ("https://host/keys?key=secret", "https://host/keys?(hidden)"),
        (
            "https://host/keys?mail=a@b&key=secret",
            "https://host/keys?(hidden)",
        ),
        ("https://host?secret", "https://host?(hidden)"),
    ] {
        assert_eq!(show::without_credentials(page), shown);
    }
    let jwks = "[access]\njwks = \"https://issuer.example/keys?key=topsecret\"";
    let told = load(jwks, &[], &[]).unwrap().show();
    assert!(told.contains("https://issuer.example/keys?(hidden)") && !told.contains("topsecret"));
}

#[test]
fn an_address_of_nats_that_cannot_be_one_is_refused_without_its_password() {
    for servers in [
        "nats://me:topsecret",
        "nats://me:top,secret@a:1",
        "nats://me:topsecret@a:port",
        "topsecret://a:1",
    ] {
        let why = load("", &[("NATS", servers)], &[]).unwrap_err().to_string();
        assert!(
            why.contains("bus.servers (environment NATS)") && !why.contains("secret"),
            "{why}"
        );
    }
}

#[test]
fn a_level_that_is_none_is_refused_wherever_it_comes_from() {
    let refused = [
        load("[log]\nlevel = 'warning'", &[], &[]),
        load("", &[("RUST_LOG", "info,safe_chat=warning")], &[]),
        load("", &[("SAFE_CHAT_LOG__LEVEL", "warning")], &[]),
    ];
    let sources = [
        "file ",
        "environment RUST_LOG",
        "environment SAFE_CHAT_LOG__LEVEL",
    ];
    for (refused, source) in refused.into_iter().zip(sources) {
        let why = refused.unwrap_err().to_string();
        assert!(
            why.contains(&format!("log.level ({source}"))
                && why.contains("did you mean warn?")
                && why.contains("off, error, warn, info, debug, trace"),
            "{why}"
        );
    }
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_with_its_line_and_nothing_of_it() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[cassandra]\npassword = 'topsecret\xe9'\n")
        .unwrap();
    let why = Loaded::load(Some(file.path()), NONE, vec![])
        .unwrap_err()
        .to_string();
    assert!(
        why.contains("line 2 is not UTF-8") && !why.contains("topsecret"),
        "{why}"
    );
}

#[test]
fn a_prefix_that_no_stream_can_have_is_refused_by_the_configuration() {
    for wrong in ["*", "a.b", ">", "Chat"] {
        let why = load("", &[("SAFE_CHAT_BUS__PREFIX", wrong)], &[]).unwrap_err();
        assert!(why.to_string().contains("bus.prefix (environment"), "{why}");
    }
}

#[test]
fn a_number_that_is_not_whole_is_refused_and_not_rounded() {
    for wrong in ["0.5", "-0.5", "nan", "inf", "1e300"] {
        let file = format!("[gateway]\nsession_rate = {wrong}\n");
        let why = load(&file, &[], &[]).unwrap_err().to_string();
        let named = why.contains("gateway.session_rate (file") && why.contains("whole number");
        assert!(named, "{wrong}: {why}");
    }
    let whole = load("[gateway]\nsession_rate = 50.0\n", &[], &[]).unwrap();
    assert_eq!(whole.config.gateway.session_rate, 50);
}

#[test]
fn variables_of_kubernetes_are_no_keys_and_misspelt_ones_are_still_named() {
    let environment = [
        ("SAFE_CHAT_PORT", "tcp://10.0.0.1:80"),
        ("SAFE_CHAT_SERVICE_HOST", "10.0.0.1"),
        ("SAFE_CHAT_GATEWAY_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("HTTP_PORT", "tcp://10.0.0.1:80"),
        ("NATS_PORT", "tcp://10.0.0.1:4222"),
        ("CASSANDRA_PORT", "tcp://10.0.0.1:9042"),
    ];
    let loaded = load("", &environment, &[]).unwrap();
    assert_eq!((loaded.unknown, loaded.config), (vec![], Config::default()));
    let misspelt = load("", &[("SAFE_CHAT_GATEWAY_PORT", "8081")], &[]).unwrap();
    assert!(
        misspelt.unknown[0].contains("did you mean SAFE_CHAT_GATEWAY__PORT?"),
        "{:?}",
        misspelt.unknown
    );
}

#[test]
fn a_secret_may_be_in_a_file_and_is_shown_nowhere() {
    let file = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    let (password, login) = (
        file("topsecret\n"),
        file("nats://me:topsecret@a:4222,b:4222"),
    );
    let [password, login] = [&password, &login].map(|file| file.path().to_str().unwrap());
    let environment = [
        ("CAS_USER", "me"),
        ("CAS_PWS_FILE", password),
        ("SAFE_CHAT_OPS__PASSWORD_FILE", password),
        ("NATS_FILE", login),
    ];
    let loaded = load("", &environment, &[]).unwrap();
    let Config {
        bus,
        cassandra,
        ops,
        ..
    } = &loaded.config;
    assert_eq!(bus.servers, ["nats://me:topsecret@a:4222", "b:4222"]);
    assert_eq!(
        [cassandra.user.as_deref(), cassandra.password.as_deref()],
        [Some("me"), Some("topsecret")]
    );
    assert_eq!(ops.password.as_deref(), Some("topsecret"));
    let shown = loaded.show();
    assert!(
        shown.contains(&format!("# file {password}, environment CAS_PWS_FILE"))
            && !shown.contains("topsecret"),
        "{shown}"
    );
    assert_eq!(loaded.unknown, [""; 0]);
}

#[test]
fn every_secret_may_be_in_a_file_by_its_long_name() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"nats://kept:4222").unwrap();
    for key in layers::known()
        .keys()
        .filter(|key| layers::may_be_secret(key))
    {
        let variable = format!("SAFE_CHAT_{}_FILE", key.to_uppercase().replace('.', "__"));
        // A user needs a password, and a password its user.
        let other = match key.rsplit_once('.') {
            Some((section, "password")) => format!("{section}.user"),
            Some((section, "user")) => format!("{section}.password"),
            _ => "of.nothing".to_owned(),
        };
        let other = format!("SAFE_CHAT_{}", other.to_uppercase().replace('.', "__"));
        let path = file.path().to_str().unwrap();
        let environment = [(variable.as_str(), path), (other.as_str(), "kept")];
        let loaded = load("", &environment, &[]);
        let set = loaded.map(|loaded| loaded.sources.contains_key(key));
        // A user's name has no colon.
        assert!(
            set.as_ref().is_ok_and(|set| *set) || key == "ops.user",
            "{key}: {set:?}"
        );
    }
}

#[test]
fn a_file_without_a_secret_is_refused_by_name_and_never_quoted() {
    let binary = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(binary.path(), b"topsecret\xff").unwrap();
    let empty = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(empty.path(), "\n").unwrap();
    let refused = |path: &str, others: &[(&str, &str)]| {
        let environment = [&[("CAS_PWS_FILE", path)], others].concat();
        let why = load("", &environment, &[]).unwrap_err().to_string();
        assert!(
            why.contains("CAS_PWS_FILE") && why.contains(path) && !why.contains("topsecret"),
            "{why}"
        );
        why
    };
    refused("/nowhere/password", &[]);
    assert!(refused("/dev/zero", &[]).contains("no regular file"));
    let two = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(two.path(), "topsecret\nsecond\n").unwrap();
    assert!(refused(two.path().to_str().unwrap(), &[]).contains("more than one line"));
    refused(binary.path().to_str().unwrap(), &[]);
    assert!(refused(empty.path().to_str().unwrap(), &[]).contains("empty"));
    assert!(refused("/nowhere/password", &[("CAS_PWS", "topsecret")]).contains("CAS_PWS is set"));
}

#[test]
fn only_secrets_are_read_from_files_and_files_of_others_are_left_alone() {
    let foreign = [("RUST_LOG_FILE", "/nowhere"), ("HOSTNAME_FILE", "/nowhere")];
    assert_eq!(load("", &foreign, &[]).unwrap().unknown, [""; 0]);
    let level = [("SAFE_CHAT_LOG__LEVEL_FILE", "/nowhere")];
    let unknown = load("", &level, &[]).unwrap().unknown;
    assert!(
        unknown.len() == 1 && unknown[0].contains("use SAFE_CHAT_LOG__LEVEL"),
        "{unknown:?}"
    );
}

#[test]
fn variables_of_an_akka_cluster_are_tolerated_in_one_line() {
    let notes = |environment: &[(&str, &str)]| {
        let loaded = load("", environment, &[]).unwrap();
        assert_eq!(loaded.unknown, [""; 0]);
        loaded.notes
    };
    let all = [
        ("AKKA_PORT", "2551"),
        ("SEEDS", "127.0.0.1:2551"),
        ("CONTACT_POINTS", "127.0.0.1:8558"),
        ("DISCOVERY_METHOD", "config"),
        ("ENV", "development"),
    ];
    assert_eq!(
        notes(&all),
        [
            "AKKA_PORT, CONTACT_POINTS, DISCOVERY_METHOD, SEEDS, ENV are not needed and ignored: \
          nodes find each other on NATS"
        ]
    );
    assert_eq!(
        notes(&all[..1]),
        ["AKKA_PORT is not needed and ignored: nodes find each other on NATS"]
    );
    // Others set these too.
    assert_eq!(notes(&[("ENV", "production"), ("SEEDS", "1")]), [""; 0]);
}

#[test]
fn two_ports_that_meet_are_refused_with_both_flags() {
    let both = |clients: &str, operators: &str| {
        let file = format!(
            "[gateway]\nhost = '{clients}'\nport = 9000\n[ops]\nhost = '{operators}'\n\
             port = 9000\npassword = 'x'"
        );
        load(&file, &[], &[]).map(drop)
    };
    for (clients, operators) in [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("127.0.0.1", "::"),
    ] {
        let why = both(clients, operators).unwrap_err().to_string();
        let named = [
            "gateway.port (file ",
            "ops.port",
            "both 9000",
            "--http-port",
            "--internal-port",
        ];
        assert!(named.iter().all(|part| why.contains(part)), "{why}");
    }
    assert!(both("127.0.0.1", "127.0.0.2").is_ok());
    let any = [
        ("SAFE_CHAT_GATEWAY__PORT", "0"),
        ("SAFE_CHAT_OPS__PORT", "0"),
    ];
    assert!(load("", &any, &[]).is_ok(), "any free port");
}

#[test]
fn how_a_node_logs_is_known_though_the_rest_of_its_configuration_is_wrong() {
    let speaks = |file: &str, environment: &[(&str, &str)], flags: &[&'static str]| {
        let mut on_disk = tempfile::NamedTempFile::new().unwrap();
        on_disk.write_all(file.as_bytes()).unwrap();
        let environment = environment.iter().copied();
        let flags = flags
            .iter()
            .map(|format| ("log.format", "--log", (*format).to_owned()));
        voice(Some(on_disk.path()), environment, flags.collect())
    };
    let json = |name: &str| (telemetry::Format::Json, name.to_owned());
    let file =
        "[gateway]\nsession_rate = 0.5\nburst = 'x'\n[log]\nformat = 'json'\n[node]\nname = 'n1'";
    assert_eq!(speaks(file, &[], &[]), json("n1"));
    let environment = [
        ("CAS_PWS_FILE", "/nowhere"),
        ("SAFE_CHAT_LOG__FORMAT", "json"),
        ("SAFE_CHAT_NODE__NAME", "n2"),
        ("SAFE_CHAT_OPS__PORT", "many"),
    ];
    assert_eq!(speaks("no toml", &environment, &[]), json("n2"));
    assert_eq!(speaks("", &[("HOSTNAME", "n3")], &["json"]), json("n3"));
    let pretty = speaks(file, &[], &["pretty"]);
    assert_eq!(pretty.0, telemetry::Format::Pretty);
}
