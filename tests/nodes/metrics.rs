//! What a node shows at /metrics, after people have used it, against the table of all metrics.

use crate::{
    BOTH,
    person::Person,
    support::{Cluster, Node, eventually},
};
use safe_chat::metric::{Kind, Metric, TABLE};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// Set, the document is written anew instead of compared.
const WRITE: &str = "SAFE_CHAT_WRITE_DOCS";
const DOCUMENT: &str = "docs/metrics.md";
const BEGIN: &str = "<!-- the table: SAFE_CHAT_WRITE_DOCS=1 cargo test --test nodes metrics -->\n";

async fn scrape(node: &Node) -> String {
    let url = format!("http://{}/metrics", node.internal_address());
    reqwest::get(url).await.unwrap().text().await.unwrap()
}

/// The sum of all samples of a name, with labels that begin so.
fn sum(text: &str, sample: &str) -> f64 {
    let of_sample = text.lines().filter_map(|line| line.strip_prefix(sample));
    of_sample
        .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
        .sum()
}

/// Kinds and helps by name, as they are shown.
fn shown(text: &str) -> BTreeMap<&str, (&str, &str)> {
    let mut shown: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, help)) = line
            .strip_prefix("# HELP ")
            .and_then(|rest| rest.split_once(' '))
        {
            shown.entry(name).or_default().1 = help;
        }
        if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            shown.entry(name).or_default().0 = kind;
        }
    }
    shown
}

/// Names of labels, and values, of every sample.
fn labels(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((_, rest)) = line.split_once('{') else {
            continue;
        };
        let (pairs, _) = rest.rsplit_once('}').unwrap();
        for pair in pairs.split(',') {
            let (label, value) = pair.split_once('=').unwrap();
            let value = value.trim_matches('"').to_owned();
            labels.entry(label.to_owned()).or_default().insert(value);
        }
    }
    labels
}

/// Judges what a node shows, by Prometheus' own tool.
fn lint(text: &str) {
    let variable = "SAFE_CHAT_TEST_PROMTOOL";
    let Some(promtool) = env::var_os(variable) else {
        println!("left out: promtool check metrics ({variable} is not set)");
        return;
    };
    let tool = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut tool = tool.expect("promtool can be run");
    let mut stdin = tool.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_shows_every_metric_of_the_table_and_no_other() {
    let cluster = Cluster::new(8);
    let node = cluster.node("first", &BOTH).await;
    node.ready().await;
    let (room, user) = ("not-for-labels", "nobody-in-labels");
    let mut person = Person::joins(&node, room, user, "").await;
    person.says("m1", "Hello").await;
    person.says("m1", "Hello").await;
    person.reads_until(2).await;
    drop(person);
    let mut person = Person::joins(&node, room, user, "&since=1").await;
    person.says("m2", "Hello").await;
    eventually("the last message is counted", async || {
        sum(
            &scrape(&node).await,
            "safechat_accepted_to_journaled_seconds_count",
        ) >= 2.0
    })
    .await;

    let text = scrape(&node).await;
    let table: BTreeMap<_, _> = TABLE
        .iter()
        .map(|it| (it.name, (it.kind.as_str(), it.help)))
        .collect();
    let shown = shown(&text);
    for (name, said) in &shown {
        assert_eq!(table.get(name), Some(said), "{name} is not in the table so");
    }
    for name in table.keys() {
        assert!(shown.contains_key(name), "{name} is not shown");
    }
    for (label, values) in labels(&text) {
        for value in values {
            let personal = [room, user, "m1", "m2"].iter().any(|it| value.contains(it));
            assert!(!personal, "{label}={value}");
        }
    }
    // What just happened is counted; other tests of this program may count as well.
    for (sample, least) in [
        ("safechat_joins_total{outcome=\"joined\"}", 2.0),
        ("safechat_resumes_total{outcome=\"recovered\"}", 1.0),
        ("safechat_messages_total{outcome=\"journaled\"}", 2.0),
        ("safechat_commands_decided_total{outcome=\"done\"}", 4.0),
        ("safechat_frame_to_journaled_seconds_count", 2.0),
        ("safechat_commit_seconds_count", 2.0),
        ("safechat_resume_events_count", 1.0),
        ("safechat_accepted_to_delivered_seconds_count", 2.0),
        ("safechat_shard_epoch", 1.0),
        ("safechat_check_passed{check=\"journal\"}", 1.0),
        ("safechat_build_info", 1.0),
        ("process_cpu_seconds_total", 0.01),
    ] {
        assert!(sum(&text, sample) >= least, "{sample} in\n{text}");
    }
    lint(&text);
    node.drain().await;
}

/// The rows of the document.
fn rows() -> String {
    let row = |metric: &Metric| {
        let Metric {
            name,
            kind,
            unit,
            label,
            help,
        } = metric;
        let label = label.map_or(String::new(), |(label, values)| match values {
            [] => format!("`{label}`"),
            values => format!("`{label}`: {}", values.join(", ")),
        });
        assert!(matches!(
            kind,
            Kind::Counter | Kind::Gauge | Kind::Histogram
        ));
        format!(
            "| `{name}` | {} | {unit} | {label} | {help} |\n",
            kind.as_str()
        )
    };
    let head = "| metric | kind | unit | label | what |\n|---|---|---|---|---|\n";
    head.to_owned() + &TABLE.iter().map(row).collect::<String>()
}

#[test]
fn the_document_has_every_metric() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT);
    let text = fs::read_to_string(&path).unwrap();
    let (words, table) = text.split_once(BEGIN).expect("the mark before the table");
    if env::var_os(WRITE).is_some() {
        fs::write(&path, format!("{words}{BEGIN}{}", rows())).unwrap();
    } else {
        assert!(
            table == rows(),
            "{DOCUMENT} is old: {WRITE}=1 cargo test --test nodes metrics"
        );
    }
}
