//! What operators watch: rules, alerts with their runbooks, dashboards. Metrics that they name are
//! in the table, and Prometheus' own tool (`SAFE_CHAT_TEST_PROMTOOL`) checks the rules, runs their
//! tests, and runs every query of a dashboard on its engine.

mod support;

use safe_chat::metric::{Kind, Metric, TABLE};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const ALERTS: &str = "docker/prometheus/alerts.yml";
const TESTS: &str = "docker/prometheus/alerts.test.yml";
const RUNBOOKS: &str = "docs/runbooks.md";
const DASHBOARDS: [&str; 2] = ["overview", "internals"];
/// Of each runbook, in this order.
const PARTS: [&str; 4] = [
    "- **Meaning.** ",
    "- **Impact.** ",
    "- **Diagnosis.** ",
    "- **Mitigation.** ",
];

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

fn yaml(path: &str) -> Value {
    let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(&read(path)).unwrap();
    serde_json::to_value(yaml).unwrap()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn rules() -> Vec<Value> {
    let groups = yaml(ALERTS)["groups"].clone();
    let rules = items(&groups)
        .iter()
        .flat_map(|group| items(&group["rules"]));
    rules.cloned().collect()
}

fn alerts() -> Vec<Value> {
    let mut rules = rules();
    rules.retain(|rule| rule["alert"].is_string());
    rules
}

fn dashboard(name: &str) -> Value {
    let path = format!("docker/grafana/provisioning/dashboards/{name}.json");
    serde_json::from_str(&read(&path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// The panels of a dashboard that show something.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = items(&dashboard["panels"]).iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// Names of metrics in a text, without the endings of a histogram's series.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
    words
        .filter(|word| word.starts_with("safechat_") || word.starts_with("process_"))
        .collect()
}

fn is_a_metric(name: &str) -> bool {
    let ends = |metric: &Metric, end: &str| {
        metric.kind == Kind::Histogram && name.strip_suffix(end) == Some(metric.name)
    };
    TABLE.iter().any(|metric| {
        metric.name == name
            || ["_bucket", "_sum", "_count"]
                .iter()
                .any(|end| ends(metric, end))
    })
}

/// Runs Prometheus' tool; nothing without one.
fn promtool<A: AsRef<OsStr>>(args: &[A], left_out: &str) {
    let Some(promtool) = support::server("SAFE_CHAT_TEST_PROMTOOL", left_out) else {
        return;
    };
    let output = Command::new(promtool).args(args).output();
    let output = output.expect("promtool can be run");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn whatever_is_watched_is_a_metric_of_a_node() {
    let texts = [ALERTS, TESTS, RUNBOOKS, "docs/metrics.md"].map(read);
    let boards = DASHBOARDS.map(|name| dashboard(name).to_string());
    for text in texts.iter().chain(&boards) {
        let unknown: Vec<_> = named(text)
            .into_iter()
            .filter(|name| !is_a_metric(name))
            .collect();
        assert_eq!(unknown, [""; 0]);
    }
    // Whatever is recorded is used, and the other way round.
    let recorded: BTreeSet<_> = rules()
        .iter()
        .filter_map(|rule| Some(rule["record"].as_str()?.to_owned()))
        .collect();
    let words = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        words
            .filter(|it| it.starts_with("safechat:"))
            .map(str::to_owned)
            .collect()
    };
    let exprs = alerts()
        .iter()
        .map(|rule| rule["expr"].to_string())
        .collect::<String>();
    assert_eq!(words(&exprs), recorded);
    assert!(boards.iter().all(|board| words(board).is_subset(&recorded)));
}

#[test]
fn every_alert_says_what_it_means_and_has_a_runbook_and_a_test() {
    let (runbooks, tests) = (read(RUNBOOKS), read(TESTS));
    let mut sections: Vec<_> = runbooks.split("\n## ").skip(1).collect();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let said = &alert["annotations"];
        for part in ["summary", "description"] {
            assert!(
                said[part].as_str().is_some_and(|it| it.ends_with('.')),
                "{part} of {name}"
            );
        }
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(
            ["page", "ticket", "none"].contains(&severity),
            "{name}: {severity}"
        );
        let anchor = format!("{RUNBOOKS}#{}", name.to_lowercase());
        assert_eq!(said["runbook_url"], anchor, "{name}");
        let section = sections
            .iter()
            .position(|it| it.lines().next() == Some(name));
        let section = sections.remove(section.unwrap_or_else(|| panic!("{name} in {RUNBOOKS}")));
        let parts = PARTS.map(|part| section.find(part));
        assert!(
            parts.iter().all(Option::is_some) && parts.is_sorted(),
            "{name} in {RUNBOOKS}"
        );
        let tested = tests.split("alertname: ").skip(1);
        let fires = tested
            .filter(|it| it.lines().next() == Some(name))
            .any(|it| it.contains("exp_labels"));
        assert!(fires, "{TESTS} makes {name} fire");
    }
    assert_eq!(sections, [""; 0], "runbooks without an alert");
    let config = yaml("docker/prometheus/prometheus.yml");
    assert_eq!(config["rule_files"], json!(["alerts.yml"]));
    let jobs: Vec<_> = items(&config["scrape_configs"])
        .iter()
        .map(|it| &it["job_name"])
        .collect();
    assert!(
        jobs.contains(&&json!("safe-chat")),
        "the job that alerts name"
    );
}

#[test]
fn rules_are_sound_and_fire_when_they_should() {
    let path = |path| at(path).into_os_string();
    promtool(
        &["check".into(), "rules".into(), path(ALERTS)],
        "the check of the rules",
    );
    promtool(
        &["test".into(), "rules".into(), path(TESTS)],
        "the tests of the rules",
    );
}

#[test]
fn a_dashboard_is_provisioned_with_a_source_and_words_for_every_panel() {
    let provider = &yaml("docker/grafana/provisioning/dashboards/dashboards.yaml")["providers"][0];
    let sources = yaml("docker/grafana/provisioning/datasources/prometheus.yaml");
    let (uid, compose) = (
        &sources["datasources"][0]["uid"],
        read("docker/compose.cluster.yaml"),
    );
    assert!(compose.contains("./grafana/provisioning:/etc/grafana/provisioning:ro"));
    assert_eq!(
        provider["options"]["path"],
        "/etc/grafana/provisioning/dashboards"
    );
    let mut shown = BTreeSet::new();
    for board in DASHBOARDS.map(dashboard) {
        let mut ids = BTreeSet::new();
        for panel in items(&board["panels"]) {
            assert!(
                ids.insert(panel["id"].as_u64().unwrap()),
                "two panels with one id"
            );
        }
        for panel in panels(&board) {
            for words in ["title", "description"] {
                assert!(
                    panel[words].as_str().is_some_and(|it| !it.is_empty()),
                    "{panel}"
                );
            }
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{panel}"
            );
            assert!(!items(&panel["targets"]).is_empty(), "{panel}");
            for target in items(&panel["targets"]) {
                assert_eq!(&target["datasource"]["uid"], uid, "{panel}");
                let expr = target["expr"].as_str().unwrap();
                shown.extend(named(expr).into_iter().map(str::to_owned));
            }
        }
    }
    // Whatever is measured can be seen.
    let is_shown = |metric: &&Metric| shown.iter().any(|name| name.starts_with(metric.name));
    let unseen: Vec<_> = TABLE
        .iter()
        .filter(|it| !is_shown(it))
        .map(|it| it.name)
        .collect();
    assert_eq!(unseen, ["process_virtual_memory_bytes"]);
}

/// Series of two nodes that have every metric with every label.
fn series() -> Vec<Value> {
    let mut series = Vec::new();
    let mut add = |name: &str, labels: &str, values: &str| {
        for node in ["node-1", "node-2"] {
            let of = format!("{name}{{job=\"safe-chat\",instance=\"{node}:8558\"{labels}}}");
            series.push(json!({"series": of, "values": values}));
        }
    };
    add("up", "", "1x60");
    for metric in TABLE {
        let labels: Vec<String> = match metric.label {
            None => vec![String::new()],
            Some((label, [])) => vec![format!(",{label}=\"1\"")],
            Some((label, values)) => values
                .iter()
                .map(|value| format!(",{label}=\"{value}\""))
                .collect(),
        };
        for labels in &labels {
            match metric.kind {
                Kind::Counter => add(metric.name, labels, "0+60x60"),
                Kind::Gauge => add(metric.name, labels, "1+1x60"),
                Kind::Histogram => {
                    for (le, values) in [("0.25", "0+59x60"), ("1", "0+60x60"), ("+Inf", "0+60x60")]
                    {
                        let labels = format!("{labels},le=\"{le}\"");
                        add(&format!("{}_bucket", metric.name), &labels, values);
                    }
                    add(&format!("{}_count", metric.name), labels, "0+60x60");
                    add(&format!("{}_sum", metric.name), labels, "0+6x60");
                }
            }
        }
    }
    series
}

#[test]
fn every_query_of_a_dashboard_shows_something() {
    let boards = DASHBOARDS.map(dashboard);
    let panels = boards.iter().flat_map(panels);
    let queries = panels.flat_map(|panel| items(&panel["targets"]));
    let tests: Vec<_> = queries
        .map(|target| {
            let expr = target["expr"].as_str().unwrap();
            let expr = expr
                .replace("$__rate_interval", "5m")
                .replace("$instance", ".*");
            json!({
                "expr": format!("count({expr}) > bool 0"),
                "eval_time": "60m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            })
        })
        .collect();
    assert!(tests.len() > 50, "the queries were not found");
    let file = json!({
        "rule_files": [at(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [{"interval": "1m", "input_series": series(), "promql_expr_test": tests}],
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("queries.yml"); // JSON is YAML
    fs::write(&path, file.to_string()).unwrap();
    promtool(
        &["test".into(), "rules".into(), path.into_os_string()],
        "the queries of the dashboards",
    );
}
