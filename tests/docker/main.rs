//! What the files in docker/ and packaging/ promise, read as they are: nobody needs an engine to
//! notice that they no longer hold.

mod k8s;
mod systemd;

use safe_chat::config::Config;
use serde_json::Value;
use std::{fs, path::Path, process::Command, time::Duration};

const COMPOSE: [&str; 4] = [
    "compose.yaml",
    "compose.cluster.yaml",
    "docker-cassandra.yml",
    "docker-cassandra-cluster.yml",
];

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn yaml(path: &str) -> Value {
    let mut yaml: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(&read(path)).unwrap_or_else(|why| panic!("{path}: {why}"));
    yaml.apply_merge().unwrap();
    serde_json::to_value(yaml).unwrap()
}

/// Every service of every file: the file, its name, what is said of it.
fn services() -> Vec<(&'static str, String, Value)> {
    COMPOSE
        .into_iter()
        .flat_map(|file| {
            let services = yaml(&format!("docker/{file}"))["services"].clone();
            let services = services.as_object().unwrap().clone();
            services
                .into_iter()
                .map(move |(name, service)| (file, name, service))
        })
        .collect()
}

fn is_ours(service: &Value) -> bool {
    service["image"] == "safe-chat"
}

/// `30s` -> 30 seconds.
fn seconds(text: &Value) -> Option<Duration> {
    text.as_str()?
        .strip_suffix('s')?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

#[test]
fn every_service_says_how_it_is_well_what_it_may_take_and_what_happens_when_it_ends() {
    for (file, name, service) in services() {
        let said = |what: &str| format!("{what} of {name} in {file}: {service:#}");
        // The image of safe-chat brings its own.
        let health = &service["healthcheck"];
        assert!(
            is_ours(&service) || health["test"].is_array(),
            "{}",
            said("the health check")
        );
        assert!(health["test"].is_null() || seconds(&health["start_period"]).is_some());
        let limits = &service["deploy"]["resources"]["limits"];
        assert!(
            limits["cpus"].is_string() && limits["memory"].is_string(),
            "{}",
            said("the limits")
        );
        assert!(service["restart"].is_string(), "{}", said("the restart"));
        assert!(
            seconds(&service["stop_grace_period"]).is_some(),
            "{}",
            said("the stop_grace_period")
        );
        let needs = service["depends_on"].as_object().into_iter().flatten();
        for (other, need) in needs {
            let condition = need["condition"].as_str().unwrap_or_default();
            assert!(
                ["service_healthy", "service_completed_successfully"].contains(&condition),
                "{}",
                said(other)
            );
        }
    }
}

#[test]
fn a_node_has_the_time_to_drain_before_it_is_killed() {
    let drain = Config::default().node.drain_timeout();
    for (file, name, service) in services().iter().filter(|(.., service)| is_ours(service)) {
        let grace = seconds(&service["stop_grace_period"]).unwrap();
        assert!(
            grace >= drain + Duration::from_secs(5),
            "{name} in {file}: {grace:?} for a drain of up to {drain:?}"
        );
    }
    // Longer than haproxy waits itself.
    let proxy = read("docker/haproxy/haproxy.cfg");
    assert!(proxy.contains("hard-stop-after 30s"));
    let haproxy = &yaml("docker/compose.cluster.yaml")["services"]["haproxy"];
    assert!(seconds(&haproxy["stop_grace_period"]).unwrap() > Duration::from_secs(30));
}

#[test]
fn nodes_have_no_more_rights_than_they_need() {
    for (file, name, service) in services().iter().filter(|(.., service)| is_ours(service)) {
        assert!(
            service["read_only"] == true
                && service["cap_drop"][0] == "ALL"
                && service["security_opt"][0] == "no-new-privileges:true"
                && service["user"].is_null(),
            "{name} in {file}"
        );
    }
}

#[test]
fn images_of_others_have_a_version_and_only_loopback_is_published() {
    for (file, name, service) in services() {
        let image = service["image"].as_str().unwrap();
        let tag = image.split_once(':').map(|(_, tag)| tag);
        assert!(
            is_ours(&service)
                || tag.is_some_and(|tag| tag.contains('.') && !tag.contains("latest")),
            "{name} in {file}: {image}"
        );
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(
                port.as_str().unwrap().starts_with("127.0.0."),
                "{name} in {file}: {port}"
            );
        }
    }
}

#[test]
fn secrets_come_from_files_that_are_made_and_never_committed() {
    for (file, name, service) in services() {
        let variables = service["environment"].as_object().into_iter().flatten();
        for (variable, value) in variables {
            let secret = ["PASSWORD", "PWS", "TOKEN", "SECRET"]
                .iter()
                .any(|word| variable.contains(word));
            assert!(
                !secret || variable.ends_with("_FILE"),
                "{variable} of {name} in {file}"
            );
            assert!(
                !value.as_str().unwrap().contains('@'),
                "{variable} of {name} in {file}"
            );
        }
    }
    let made = read("docker/secrets.sh");
    let secrets = yaml("docker/compose.cluster.yaml")["secrets"].clone();
    for (name, secret) in secrets.as_object().unwrap() {
        assert_eq!(secret["file"], format!("./secrets/{name}"));
        assert!(
            made.contains(name.as_str()),
            "secrets.sh does not make {name}"
        );
    }
    assert!(read(".gitignore").contains("/docker/secrets/"));
}

#[test]
fn a_cluster_without_secrets_is_refused_before_anything_is_made() {
    let made = "secrets/run-docker-secrets-sh-first.env";
    let cluster = yaml("docker/compose.cluster.yaml");
    let services = cluster["services"].as_object().unwrap().iter();
    for (name, service) in services.filter(|(_, service)| service["secrets"].is_array()) {
        assert_eq!(service["env_file"][0], format!("./{made}"), "{name}");
    }
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("secrets.sh");
    fs::write(&script, read("docker/secrets.sh")).unwrap();
    let contents = || {
        let run = Command::new("sh").arg(&script).output().unwrap();
        assert!(run.status.success(), "{run:?}");
        let secrets = cluster["secrets"].as_object().unwrap().keys();
        let paths = secrets.map(|name| folder.path().join("secrets").join(name));
        let contents = paths.map(|path| fs::read_to_string(path).unwrap());
        contents.collect::<Vec<_>>()
    };
    let first = contents();
    assert!(first.iter().all(|secret| secret.len() > 40), "{first:?}");
    let sets_nothing = fs::read_to_string(folder.path().join(made)).unwrap();
    assert!(sets_nothing.lines().all(|line| line.starts_with('#')));
    assert_eq!(contents(), first, "what is there stays");
}

/// A crate that was added to the program, and not to the build of its image, is noticed where no
/// engine is.
#[test]
fn what_the_program_is_built_from_gets_into_the_build_of_its_image() {
    let (build, manifest) = (read("docker/Dockerfile"), read("Cargo.toml"));
    let ignore = read("docker/Dockerfile.dockerignore");
    let gets_in = |path: &str| {
        let mut let_in = ignore.lines().filter_map(|line| line.strip_prefix('!'));
        let is_manifest = path.ends_with("/Cargo.toml") && path.matches('/').count() == 1;
        let_in.any(|it| {
            it == path || path.starts_with(&format!("{it}/")) || it == "*/Cargo.toml" && is_manifest
        })
    };
    let has = |line: String| build.lines().any(|it| it == line);
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "));
    let members: Vec<String> = serde_json::from_str(members.unwrap()).unwrap();
    for member in members.iter().filter(|member| *member != ".") {
        let path = format!("{member}/Cargo.toml");
        assert!(gets_in(&path), "{path} is ignored");
        assert!(
            has(format!("COPY {path} {member}/")),
            "{path} is not copied"
        );
    }
    let dependencies = manifest.split("\n[dependencies]").nth(1).unwrap();
    let dependencies = dependencies.split("\n[").next().unwrap();
    let own = dependencies.lines().filter_map(|line| {
        let (_, path) = line.split_once("{ path = \"")?;
        path.split('"').next()
    });
    let own: Vec<&str> = own.collect();
    assert!(own.contains(&"client"), "{own:?}");
    for path in own {
        assert!(gets_in(&format!("{path}/src")), "{path} is ignored");
        assert!(has(format!("COPY {path} {path}")), "{path} is not copied");
    }
}

#[test]
fn every_file_that_is_mounted_is_there() {
    for (file, name, service) in services() {
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let path = volume.as_str().unwrap().split(':').next().unwrap();
            if path.starts_with('.') {
                let path = Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("docker")
                    .join(path);
                assert!(path.exists(), "{} of {name} in {file}", path.display());
            }
        }
    }
}

#[test]
fn a_cluster_has_its_five_nodes_and_all_of_them_are_watched_and_found_by_clients() {
    let cluster = yaml("docker/compose.cluster.yaml");
    let nodes: Vec<_> = cluster["services"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, service)| is_ours(service) && *name != "migrate")
        .collect();
    let count: u64 = nodes
        .iter()
        .map(|(_, node)| node["deploy"]["replicas"].as_u64().unwrap())
        .sum();
    assert_eq!(count, 5);
    let prometheus = yaml("docker/prometheus/prometheus.yml");
    let watched = &prometheus["scrape_configs"][0]["dns_sd_configs"][0]["names"];
    let proxy = read("docker/haproxy/haproxy.cfg");
    for (name, node) in nodes {
        assert!(watched.as_array().unwrap().contains(&name.as_str().into()));
        let gateway = node["environment"]["SAFE_CHAT_NODE__ROLES"] != "writer";
        assert_eq!(
            proxy.contains(&format!(" {name}:8080")),
            gateway,
            "{name} in haproxy.cfg"
        );
    }
}

#[test]
fn variables_of_nodes_are_known_to_the_program() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "nats://me:secret@a:4222").unwrap();
    let secret = secret.path().to_str().unwrap();
    for (file, name, service) in services().iter().filter(|(.., service)| is_ours(service)) {
        let variables = service["environment"].as_object().unwrap().iter();
        let variables = variables.map(|(variable, value)| {
            let value = value.as_str().unwrap();
            let value = match value.strip_prefix("${CASSANDRA_COPIES:-") {
                Some(copies) => copies.trim_end_matches('}'),
                None if variable.ends_with("_FILE") => secret,
                None => value,
            };
            (variable.clone(), value.to_owned())
        });
        let loaded = safe_chat::config::Loaded::load(None, variables, Vec::new());
        let unknown = loaded.map(|loaded| loaded.unknown);
        assert!(
            unknown.as_ref().is_ok_and(Vec::is_empty),
            "{name} in {file}: {unknown:?}"
        );
    }
}

#[test]
fn the_image_is_built_from_every_manifest_and_says_the_version() {
    let image = read("docker/Dockerfile");
    let manifest = read("Cargo.toml");
    let (_, members) = manifest.split_once("members = [").unwrap();
    let (members, _) = members.split_once(']').unwrap();
    let stood_in = image
        .lines()
        .find(|line| line.starts_with("for member in . "))
        .unwrap();
    for member in members
        .split(',')
        .map(|member| member.trim().trim_matches('"'))
    {
        assert!(
            member == "." || image.contains(&format!("COPY {member}/Cargo.toml {member}/")),
            "{member} is missing in docker/Dockerfile"
        );
        assert!(
            stood_in.contains(member),
            "{member} is missing in {stood_in}"
        );
    }
    assert!(image.contains(concat!("ARG VERSION=", env!("CARGO_PKG_VERSION"))));
    for promise in [
        // What the stage `symbols` keeps.
        "CARGO_PROFILE_RELEASE_DEBUG=line-tables-only",
        "CARGO_PROFILE_RELEASE_STRIP=none",
        "SAFE_CHAT_COMMIT=$COMMIT cargo build",
        "USER 65532",
        "HEALTHCHECK",
        r#"RUN ["safe-chat", "--version"]"#,
    ] {
        assert!(image.contains(promise), "{promise}");
    }
}

#[test]
fn servers_keep_what_they_acknowledge() {
    for file in ["nats/single.conf", "nats/cluster.conf"] {
        assert!(read(file).contains("sync_interval: always"), "{file}");
    }
    let cassandras = services().into_iter().filter(|(.., service)| {
        let image = service["image"].as_str().unwrap_or_default();
        image.starts_with("cassandra:")
    });
    let mut commands: Vec<_> = cassandras
        .map(|(file, name, service)| (format!("{name} in {file}"), service["command"].clone()))
        .collect();
    assert_eq!(commands.len(), 7);
    commands.push(("cassandra in k8s".into(), k8s::cassandra()["args"].clone()));
    for (name, command) in commands {
        let shell = command.as_array().and_then(|all| all.last()?.as_str());
        let shell = shell.unwrap_or_else(|| panic!("{name} has no command of its own"));
        assert_eq!(configured(shell), SYNCED, "{name}");
    }
}

/// What the image has, and what it must be.
const UNSYNCED: &str = "a: 1\ncommitlog_sync: periodic\ncommitlog_sync_period: 10000ms\n#b\n";
const SYNCED: &str = "a: 1\n#b\ncommitlog_sync: group\ncommitlog_sync_group_window: 5ms\n";

/// What the command of a container of Cassandra makes of the image's configuration before it
/// starts the image's own command. Twice, because a container that starts again keeps its files.
fn configured(command: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cassandra.yaml");
    fs::write(&file, UNSYNCED).unwrap();
    let command = command.replace("/etc/cassandra/cassandra.yaml", file.to_str().unwrap());
    let (edit, start) = command.split_once("&& exec ").unwrap();
    assert_eq!(start.trim_end(), "docker-entrypoint.sh cassandra -f");
    for _ in 0..2 {
        let edited = Command::new("sh").args(["-c", edit]).status().unwrap();
        assert!(edited.success(), "{edit}");
    }
    fs::read_to_string(file).unwrap()
}

#[test]
fn only_the_proxy_says_for_whom_it_asks() {
    let cluster = yaml("docker/compose.cluster.yaml");
    let proxy = &cluster["services"]["haproxy"]["networks"]["front"]["ipv4_address"];
    assert!(proxy.is_string(), "{proxy}");
    for name in ["gateway", "node"] {
        let trusted =
            &cluster["services"][name]["environment"]["SAFE_CHAT_GATEWAY__TRUSTED_PROXIES"];
        assert_eq!(trusted, proxy, "{name}");
    }
}
