//! What the manifests in docker/k8s promise beyond their schemas, which `cargo xtask kubernetes`
//! checks in what kustomize renders.

use super::read;
use safe_chat::config::{Config, Loaded};
use serde::Deserialize;
use serde_json::Value;
use std::{fs, path::Path, process::Command, time::Duration};

/// Every object of every file below docker/k8s: the file, and the object.
fn objects() -> Vec<(String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("docker/k8s")];
    let mut objects = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "yaml") {
                let text = fs::read_to_string(&path).unwrap();
                let file = path.strip_prefix(root).unwrap().display().to_string();
                for document in serde_yaml_ng::Deserializer::from_str(&text) {
                    let object = serde_yaml_ng::Value::deserialize(document)
                        .unwrap_or_else(|why| panic!("{file}: {why}"));
                    objects.push((file.clone(), serde_json::to_value(object).unwrap()));
                }
            }
        }
    }
    assert!(objects.len() > 20, "{} objects", objects.len());
    objects
}

fn of_kind(kind: &str) -> Vec<(String, Value)> {
    let objects = objects().into_iter();
    let found: Vec<_> = objects
        .filter(|(_, object)| object["kind"] == kind)
        .collect();
    assert!(!found.is_empty(), "there is no {kind}");
    found
}

/// Every pod that is made: the file, and its spec.
fn pods() -> Vec<(String, Value)> {
    let objects = objects().into_iter();
    objects
        .map(|(file, object)| (file, object["spec"]["template"].clone()))
        .filter(|(_, pod)| pod.is_object())
        .collect()
}

/// The container of Cassandra.
pub(super) fn cassandra() -> Value {
    let pods = pods().into_iter();
    let mut containers = pods.map(|(_, pod)| pod["spec"]["containers"][0].clone());
    let found = containers.find(|container| container["name"] == "cassandra");
    found.expect("a pod of Cassandra")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// What is said with `key=value` in a kustomization for nodes.
fn literals(kustomization: &Value) -> Vec<(String, String)> {
    let maps = list(&kustomization["configMapGenerator"]);
    let maps = maps.filter(|map| map["name"] == "safe-chat");
    let literals = maps.flat_map(|map| list(&map["literals"]));
    literals
        .map(|literal| {
            let (name, value) = literal.as_str().unwrap().split_once('=').unwrap();
            (name.into(), value.into())
        })
        .collect()
}

/// `[(file, variables)]`, the base first.
fn variables() -> Vec<(String, Vec<(String, String)>)> {
    let mut all = of_kind("Kustomization");
    all.extend(of_kind("Component"));
    all.sort_by_key(|(file, _)| !file.contains("/base/"));
    let all = all.into_iter();
    all.map(|(file, object)| (file, literals(&object)))
        .collect()
}

fn load(variables: Vec<(String, String)>) -> Loaded {
    Loaded::load(None, variables, Vec::new()).unwrap()
}

#[test]
fn a_node_has_the_time_to_drain_before_it_is_killed() {
    let drain = |variables: &[(String, String)]| {
        let name = "SAFE_CHAT_NODE__DRAIN_TIMEOUT_MS";
        let found = variables.iter().find(|(other, _)| other == name);
        found.map(|(_, ms)| Duration::from_millis(ms.parse().unwrap()))
    };
    let all = variables();
    let base = drain(&all[0].1).unwrap_or(Config::default().node.drain_timeout());
    for (file, variables) in &all[1..] {
        assert_eq!(drain(variables), None, "{file} changes it");
    }
    let seconds = |value: &Value| Duration::from_secs(value.as_u64().unwrap());
    for (file, deployment) in of_kind("Deployment") {
        let pod = &deployment["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let stop = seconds(&container["lifecycle"]["preStop"]["sleep"]["seconds"]);
        let grace = seconds(&pod["terminationGracePeriodSeconds"]);
        assert!(
            stop + base + Duration::from_secs(5) <= grace,
            "{file}: {stop:?}, {base:?}, {grace:?}"
        );
    }
    let nats = read("docker/k8s/components/nats/nats.conf");
    assert!(nats.contains("lame_duck_duration: \"30s\"") && nats.contains("sync_interval: always"));
}

#[test]
fn pods_have_no_more_rights_than_they_need() {
    for (file, pod) in pods() {
        let spec = &pod["spec"];
        let security = &spec["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{file}");
        assert_eq!(
            security["seccompProfile"]["type"], "RuntimeDefault",
            "{file}"
        );
        assert_eq!(spec["automountServiceAccountToken"], false, "{file}");
        assert_eq!(spec["enableServiceLinks"], false, "{file}");
        for container in list(&spec["containers"]) {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{file}");
            assert_eq!(security["privileged"], false, "{file}");
            assert_eq!(security["capabilities"]["drop"][0], "ALL", "{file}");
            let writes = container["name"] == "cassandra";
            assert!(
                writes || security["readOnlyRootFilesystem"] == true,
                "{file}"
            );
            let limits = &container["resources"]["limits"];
            assert!(
                limits["cpu"].is_string() && limits["memory"].is_string(),
                "{file}"
            );
        }
        for volume in list(&spec["volumes"]) {
            for kind in ["secret", "projected"].map(|kind| &volume[kind]) {
                // Owner and group only.
                assert!(kind.is_null() || kind["defaultMode"] == 0o440, "{file}");
            }
        }
    }
}

#[test]
fn every_kind_of_node_has_a_login_of_its_own_at_nats_and_nobody_another_ones() {
    let made = Command::new("sh")
        .arg("docker/k8s/secrets.sh")
        .output()
        .unwrap();
    assert!(made.status.success());
    let text = String::from_utf8(made.stdout).unwrap();
    let secrets: Vec<_> = serde_yaml_ng::Deserializer::from_str(&text)
        .map(|secret| serde_yaml_ng::Value::deserialize(secret).unwrap())
        .map(|secret| serde_json::to_value(secret).unwrap())
        .collect();
    let secret = |name: &str| {
        let named = |secret: &&Value| secret["metadata"]["name"] == name;
        let found = secrets.iter().find(named);
        &found.unwrap_or_else(|| panic!("no {name}"))["stringData"]
    };
    let passwords = secret("nats")["nats_passwords"].as_str().unwrap();
    let config = read("docker/k8s/components/nats/nats.conf");
    for (file, deployment) in of_kind("Deployment") {
        let role = deployment["metadata"]["name"].as_str().unwrap();
        let volume = &deployment["spec"]["template"]["spec"]["volumes"][0];
        let sources = list(&volume["projected"]["sources"]);
        let sources: Vec<_> = sources
            .map(|it| it["secret"]["name"].as_str().unwrap())
            .collect();
        assert_eq!(
            sources,
            ["safe-chat", &format!("safe-chat-{role}")],
            "{file}"
        );
        let login = secret(sources[1])["nats_login"].as_str().unwrap();
        let password = login.strip_prefix(&format!("nats://{role}:")).unwrap();
        let (password, _) = password.split_once('@').unwrap();
        let upper = role.to_uppercase();
        assert!(
            passwords.contains(&format!("{upper}_PASSWORD: \"{password}\"")),
            "{role}"
        );
        let user =
            format!("{{ user: {role}, password: ${upper}_PASSWORD, permissions: $MAY_{upper} }}");
        assert!(config.contains(&user), "{user}");
    }
    assert!(secret("safe-chat")["nats_login"].is_null());
    for (file, job) in of_kind("Job") {
        let container = &job["spec"]["template"]["spec"]["containers"][0];
        let unset =
            list(&container["env"]).any(|it| it["name"] == "NATS_FILE" && it["value"] == "");
        assert!(unset, "{file}: it has no such file");
    }
}

#[test]
fn whoever_watches_nodes_does_not_reach_what_manages_them() {
    let (_, base) = &variables()[0];
    let probes = ("SAFE_CHAT_OPS__PROBES_PORT".into(), "8559".into());
    assert!(base.contains(&probes));
    let let_in: Vec<_> = of_kind("NetworkPolicy")
        .iter()
        .flat_map(|(_, policy)| {
            list(&policy["spec"]["ingress"])
                .cloned()
                .collect::<Vec<_>>()
        })
        .flat_map(|rule| {
            list(&rule["ports"])
                .map(|it| it["port"].as_u64())
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(
        let_in.contains(&Some(8559)) && !let_in.contains(&Some(8558)),
        "{let_in:?}"
    );
    for (file, deployment) in of_kind("Deployment") {
        let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
        assert_eq!(annotations["prometheus.io/port"], "8559", "{file}");
    }
}

#[test]
fn every_kind_of_node_is_probed_and_leaves_one_at_a_time() {
    let budgets = of_kind("PodDisruptionBudget");
    for (file, deployment) in of_kind("Deployment") {
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        for (probe, path) in [
            ("startup", "/live"),
            ("readiness", "/ready"),
            ("liveness", "/live"),
        ] {
            let asked = &container[format!("{probe}Probe")]["httpGet"];
            assert_eq!(
                (&asked["path"], &asked["port"]),
                (&path.into(), &"probes".into()),
                "{file}"
            );
        }
        let labels = &deployment["spec"]["selector"];
        assert_eq!(
            labels["matchLabels"],
            deployment["spec"]["template"]["metadata"]["labels"]
        );
        let budget = budgets
            .iter()
            .find(|(_, budget)| budget["spec"]["selector"] == *labels);
        let (_, budget) = budget.unwrap_or_else(|| panic!("no budget for {file}"));
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
        assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
        assert_eq!(
            deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"],
            0
        );
    }
}

#[test]
fn variables_of_nodes_are_known_to_the_program() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "nats://me:secret@a:4222").unwrap();
    let secret = secret.path().to_str().unwrap();
    let of_file = |(name, value): (String, String)| {
        let value = if name.ends_with("_FILE") {
            secret.into()
        } else {
            value
        };
        (name, value)
    };
    let all = variables();
    let base: Vec<_> = all[0].1.iter().cloned().map(of_file).collect();
    for (file, more) in &all {
        let mut both = base.clone();
        both.extend(more.iter().cloned().map(of_file));
        both.extend([
            ("SAFE_CHAT_NODE__ROLES".into(), "writer".into()),
            ("SAFE_CHAT_NODE__NAME".into(), "writer-1".into()),
        ]);
        assert_eq!(load(both).unknown, Vec::<String>::new(), "{file}");
    }
    for (file, deployment) in of_kind("Deployment") {
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let mut names = list(&container["env"]).map(|variable| variable["name"].as_str().unwrap());
        assert!(
            names.all(|name| ["SAFE_CHAT_NODE__ROLES", "SAFE_CHAT_NODE__NAME"].contains(&name)),
            "{file}"
        );
    }
}

#[test]
fn tables_are_made_wherever_rooms_are_kept_in_cassandra() {
    let mut migrated = 0;
    for (file, overlay) in of_kind("Kustomization") {
        let components: Vec<_> = list(&overlay["components"])
            .map(|it| it.as_str().unwrap())
            .collect();
        let has = |name: &str| components.iter().any(|it| it.ends_with(name));
        let own = literals(&overlay)
            .iter()
            .any(|(name, _)| name == "CASSANDRA");
        let in_cassandra = own || has("/cassandra");
        assert_eq!(in_cassandra, has("/migrate"), "{file}");
        migrated += usize::from(in_cassandra);
    }
    assert_eq!(migrated, 2);
}

#[test]
fn what_is_no_node_is_not_taken_for_one() {
    let jobs = of_kind("Job");
    let selectors = of_kind("Service").into_iter().chain(of_kind("PodMonitor"));
    for (file, object) in selectors {
        let selector = &object["spec"]["selector"];
        let labels = match &selector["matchLabels"] {
            Value::Object(labels) => labels,
            _ => selector.as_object().unwrap(),
        };
        for (job, pod) in &jobs {
            let of_job = &pod["spec"]["template"]["metadata"]["labels"];
            let selected = labels.iter().all(|(name, value)| of_job[name] == *value);
            assert!(!selected, "{file} selects the pods of {job}");
        }
    }
}

#[test]
fn an_ingress_is_the_only_way_to_a_gateway_that_believes_it() {
    for (file, component) in of_kind("Component") {
        let patches: Vec<_> = list(&component["patches"]).collect();
        let closes = patches.iter().any(|patch| {
            let target = (&patch["target"]["kind"], &patch["target"]["name"]);
            target == (&"NetworkPolicy".into(), &"gateway".into())
                && patch["patch"]
                    .as_str()
                    .unwrap()
                    .contains("namespaceSelector")
        });
        assert_eq!(closes, file.contains("/ingress/"), "{file}");
    }
}

#[test]
fn images_have_versions_and_ours_is_this_one() {
    let mut kustomizations = of_kind("Kustomization");
    kustomizations.extend(of_kind("Component"));
    for (file, object) in kustomizations {
        for image in list(&object["images"]) {
            assert_eq!(image["newTag"], env!("CARGO_PKG_VERSION"), "{file}");
        }
    }
    for (file, pod) in pods() {
        for container in list(&pod["spec"]["containers"]) {
            let image = container["image"].as_str().unwrap();
            let tag = image.split_once(':').map(|(_, tag)| tag);
            assert!(
                image == "safe-chat" || tag.is_some_and(|tag| tag.contains('.')),
                "{file}: {image}"
            );
        }
    }
}
