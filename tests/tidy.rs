//! What a reader of this tree relies on, checked: which module may use which, that files say what
//! they are, and that nothing is left over. Every check is a function from a file to complaints,
//! and is shown to complain.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A module and what it may use of the crate besides itself. Dependencies point one way; only
/// `app`, `cli` and tests know adapters.
const MAY_USE: [(&str, &[&str]); 26] = [
    ("room", &[]),
    ("proto", &[]),
    ("fetch", &[]),
    ("access", &["room", "tls", "secret", "fetch", "metric"]),
    ("wire", &["room", "proto"]),
    (
        "bus",
        &[
            "room",
            "proto",
            "tls",
            "journal::codec",
            "journal::Error",
            "metric",
            "secret",
            "telemetry::trace",
        ],
    ),
    (
        "journal",
        &[
            "room",
            "proto",
            "bus",
            "tls",
            "metric",
            "secret",
            "telemetry::trace",
        ],
    ),
    ("cluster", &["room", "bus", "metric"]),
    ("task", &[]),
    ("metric", &[]),
    ("pressure", &["metric"]),
    ("trace", &["room"]),
    (
        "writer",
        &[
            "room",
            "bus",
            "journal",
            "cluster",
            "task",
            "pressure",
            "metric",
            "trace",
            "telemetry::trace",
        ],
    ),
    (
        "gateway",
        &[
            "access",
            "room",
            "wire",
            "bus",
            "journal",
            "cluster",
            "task",
            "listener",
            "pressure",
            "tls",
            "metric",
            "trace",
            "telemetry::trace",
        ],
    ),
    ("secret", &[]),
    ("passphrase", &[]),
    ("tls", &["secret"]),
    ("chat", &["passphrase", "tls", "fetch"]),
    ("listener", &["tls"]),
    (
        "ops",
        &["listener", "telemetry", "metric", "secret", "trace"],
    ),
    ("shutdown", &["telemetry"]),
    ("telemetry", &["secret", "fetch"]),
    (
        "config",
        &[
            "access",
            "secret",
            "room",
            "bus",
            "journal",
            "cluster",
            "writer",
            "gateway",
            "ops",
            "telemetry",
            "tls",
        ],
    ),
    (
        "app",
        &[
            "access",
            "room",
            "bus",
            "journal",
            "cluster",
            "writer",
            "gateway",
            "ops",
            "config",
            "telemetry",
            "pressure",
            "tls",
            "trace",
        ],
    ),
    (
        "cli",
        &[
            "access",
            "passphrase",
            "secret",
            "room",
            "bus",
            "journal",
            "chat",
            "app",
            "config",
            "listener",
            "ops",
            "shutdown",
            "telemetry",
        ],
    ),
    ("main", &[]),
];
/// Parts of the gateway and what they may use of it: two streets. In: from the listener through the
/// sockets to a session. Out: from a room's replica to the sockets; it knows no session.
const STREETS: [&str; 2] = [
    "websocket Close Session Taken metrics outbox",
    "replica Close Outbox core history_cache lane metrics outbox session_revalidation websocket::Feeds",
];
const ADAPTERS: [&str; 5] = [
    "bus::nats",
    "bus::memory",
    "journal::cassandra",
    "journal::memory",
    "journal::bus",
];
const KNOW_ADAPTERS: [&str; 3] = ["app", "cli", "config"];
/// Longer than this is more than one idea.
const MOST_LINES: usize = 600;
/// Built in two halves, so that this file does not complain about itself.
const LEFT_OVER: [&str; 7] = [
    concat!("dbg", "!("),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("#[", "ignore"),
    concat!("thread", "::sleep"),
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
];

struct File {
    path: PathBuf,
    text: String,
}

#[test]
fn modules_depend_in_one_direction() {
    check(&files("src", "rs"), |file| {
        [directions(file), streets(file)].concat()
    });
}

#[test]
fn every_file_says_what_it_is() {
    check(
        &[
            "src",
            "tests",
            "client/src",
            "client/examples",
            "client/tests",
            "proto",
            "xtask/src",
            "loadtest/src",
            "simulation/src",
            "simulation/tests",
            "chaos/src",
            "fuzz/src",
            "fuzz/fuzz_targets",
            "seal/src",
            "seal/tests",
            "seal/wasm",
        ]
        .map(|folder| files(folder, "rs"))
        .concat(),
        header,
    );
}

#[test]
fn nothing_is_left_over() {
    check(
        &[
            files("src", "rs"),
            files("tests", "rs"),
            files("client", "rs"),
            files("loadtest/src", "rs"),
            files("fuzz/src", "rs"),
            files("seal", "rs"),
        ]
        .concat(),
        left_over,
    );
}

#[test]
fn a_file_is_one_idea() {
    check(
        &[
            files("src", "rs"),
            files("tests", "rs"),
            files("xtask/src", "rs"),
            files("chaos/src", "rs"),
            files("loadtest/src", "rs"),
            files("client", "rs"),
            files("seal", "rs"),
        ]
        .concat(),
        length,
    );
}

#[test]
fn every_dependency_says_what_for() {
    let of = [
        "",
        "client",
        "proto",
        "xtask",
        "chaos",
        "simulation",
        "loadtest",
        "model",
        "fuzz",
        "seal",
    ]
    .map(|folder| files(folder, "Cargo.toml"));
    check(&of.concat(), dependencies);
}

#[test]
fn links_in_documents_lead_somewhere() {
    check(&[files("", "md"), files("docs", "md")].concat(), |file| {
        links(file, &|path| path.exists())
    });
}

#[test]
fn the_architecture_names_files_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let there: Vec<_> = files("src", "rs")
        .iter()
        .map(|file| file.path.clone())
        .collect();
    let exists = |name: &str| {
        root.join(name).exists()
            || root.join("src").join(name).exists()
            || there.iter().any(|path| path.ends_with(name))
    };
    check(&files("", "ARCHITECTURE.md"), |file| named(file, &exists));
}

fn check(files: &[std::rc::Rc<File>], complaints: impl Fn(&File) -> Vec<String>) {
    assert!(
        !files.is_empty(),
        "no files were found: the check looks in the wrong place"
    );
    let all: Vec<_> = files
        .iter()
        .flat_map(|file| {
            complaints(file)
                .into_iter()
                .map(|what| format!("{}: {what}", file.path.display()))
        })
        .collect();
    assert!(all.is_empty(), "\n{}", all.join("\n"));
}

/// The files below a folder of the project whose name ends so, without generated ones; of the root
/// itself, those beside each other only.
fn files(folder: &str, end: &str) -> Vec<std::rc::Rc<File>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut folders) = (Vec::new(), vec![root.join(folder)]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() && !folder.is_empty() && !path.ends_with("generated") {
                folders.push(path);
            } else if path.is_file() && path.to_string_lossy().ends_with(end) {
                let text = fs::read_to_string(&path).unwrap();
                found.push(
                    File {
                        path: path.strip_prefix(root).unwrap().to_owned(),
                        text,
                    }
                    .into(),
                );
            }
        }
    }
    found
}

fn directions(file: &File) -> Vec<String> {
    let parts: Vec<_> = file
        .path
        .iter()
        .skip(1)
        .map(|part| part.to_string_lossy())
        .collect();
    let module = parts[0].trim_end_matches(".rs").to_owned();
    if module == "lib" || parts.last().is_some_and(|name| name.ends_with("tests.rs")) {
        return Vec::new();
    }
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == module) else {
        return vec![format!(
            "module {module} is not in the table of what may use what (tests/tidy.rs)"
        )];
    };
    let within =
        |path: &str, prefix: &str| path == prefix || path.starts_with(&format!("{prefix}::"));
    let mut complaints = Vec::new();
    for path in used(production(&file.text)) {
        if !within(&path, &module) && !allowed.iter().any(|prefix| within(&path, prefix)) {
            complaints.push(format!("{module} may not use crate::{path}"));
        }
        let adapter = ADAPTERS.iter().find(|adapter| within(&path, adapter));
        if adapter.is_some_and(|adapter| {
            !KNOW_ADAPTERS.contains(&module.as_str()) && !adapter.starts_with(&module)
        }) {
            complaints.push(format!(
                "{module} knows an adapter: crate::{path}; only its port may be known"
            ));
        }
    }
    complaints
}

/// What a part of the gateway uses of the gateway and may not.
fn streets(file: &File) -> Vec<String> {
    let streets = STREETS.iter().filter_map(|street| street.split_once(' '));
    let mut streets = streets.filter(|_| !file.path.ends_with("tests.rs"));
    let of = |part: &str| file.path.starts_with(Path::new("src/gateway").join(part));
    let Some((part, allowed)) = streets.find(|(part, _)| of(part)) else {
        return Vec::new();
    };
    let may = |path: &str| {
        let mut allowed = allowed.split(' ');
        allowed.any(|prefix| path == prefix || path.starts_with(&format!("{prefix}::")))
    };
    let used = used(production(&file.text));
    let within = used
        .iter()
        .filter_map(|path| path.strip_prefix("gateway::"));
    let wrong = within.filter(|path| !may(path));
    wrong
        .map(|path| format!("{part} may not use gateway::{path}"))
        .collect()
}

/// The source without its tests.
fn production(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod ")
        .map_or(text, |tests| &text[..tests])
}

/// Every path of the crate that is mentioned outside comments, with groups spelt out: `crate::{a,
/// b::{c, d}}` is `a`, `b::c`, `b::d`.
fn used(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    // A path keeps its own name, whatever it is called here.
    let code = code.replace(" as ", "\0");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        spell(
            &mut code[at + "crate::".len()..]
                .chars()
                .filter(|c| !c.is_whitespace())
                .peekable(),
            "",
            &mut found,
        );
    }
    found
}

fn spell(
    rest: &mut std::iter::Peekable<impl Iterator<Item = char>>,
    prefix: &str,
    found: &mut BTreeSet<String>,
) {
    let mut path = prefix.to_owned();
    while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '*')) {
        path.push(c);
    }
    if rest.next_if_eq(&'\0').is_some() {
        while rest.next_if(|c| c.is_alphanumeric() || *c == '_').is_some() {}
    }
    if rest.next_if_eq(&'{').is_none() {
        found.insert(path.trim_end_matches(':').to_owned());
        return;
    }
    loop {
        spell(rest, &path, found);
        match rest.next() {
            Some(',') if rest.next_if_eq(&'}').is_none() => {}
            _ => return,
        }
    }
}

fn header(file: &File) -> Vec<String> {
    let lines = file
        .text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .count();
    if lines == 0 {
        vec!["must begin with a //! header that says what it is".into()]
    } else {
        Vec::new()
    }
}

fn left_over(file: &File) -> Vec<String> {
    let numbered = file.text.lines().enumerate();
    let found = numbered.flat_map(|(n, line)| {
        LEFT_OVER
            .iter()
            .filter(move |word| line.contains(**word))
            .map(move |word| (n + 1, word))
    });
    found
        .map(|(line, word)| format!("line {line} has a left-over {word}"))
        .collect()
}

fn length(file: &File) -> Vec<String> {
    let lines = file.text.lines().count();
    if lines > MOST_LINES {
        vec![format!(
            "{lines} lines are more than {MOST_LINES}: more than one idea"
        )]
    } else {
        Vec::new()
    }
}

fn dependencies(file: &File) -> Vec<String> {
    let (mut within, mut complaints) = (false, Vec::new());
    for line in file.text.lines() {
        if line.starts_with('[') {
            within = line.trim_matches(['[', ']']).ends_with("dependencies");
        } else if within && line.contains('=') && !line.contains("# ") {
            complaints.push(format!(
                "a dependency without a comment that says what for: {line}"
            ));
        }
    }
    complaints
}

fn links(file: &File, exists: &dyn Fn(&Path) -> bool) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let targets = file
        .text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    let folder = file.path.parent().unwrap_or(Path::new(""));
    let broken = local.filter(|target| {
        !exists(
            &root
                .join(folder)
                .join(target.split('#').next().unwrap_or(target)),
        )
    });
    broken
        .map(|target| format!("the link to {target} leads nowhere"))
        .collect()
}

/// The files and folders that are named in backticks.
fn named(file: &File, exists: &dyn Fn(&str) -> bool) -> Vec<String> {
    let quoted = file.text.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|text| {
        (text.ends_with(".rs") || text.ends_with('/')) && !text.contains(char::is_whitespace)
    });
    paths
        .filter(|path| !exists(path))
        .map(|path| format!("names {path}, which is not there"))
        .collect()
}

#[path = "tidy/complaints.rs"]
mod each_check_complains;
