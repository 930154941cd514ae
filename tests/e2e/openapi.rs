//! The OpenAPI document of the internal port: valid, and true of a node that runs. schemathesis
//! asks each route what the document allows, and what it does not, and compares the answers with
//! it.

use crate::{cluster::Cluster, person::Person, support};
use std::{fs, path::Path, time::Duration};
use tokio::{process::Command, time::timeout};

/// Much longer than it takes: some 700 requests, 18 a second.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) async fn the_internal_port_is_as_its_document_says(cluster: Cluster) {
    let left_out = "whether the internal port is as its OpenAPI document says";
    let Some(packages) = support::server("SAFE_CHAT_TEST_OPENAPI", left_out) else {
        return;
    };
    let (first, mut second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    // Answers about somebody are checked, too.
    let mut harry = Person::joins_in_json(&first, "aaa", "harry", "k1").await;
    let mut charly = Person::joins_in_json(&second, "aaa", "charly", "k2").await;
    harry.says("m1", "Hello").await;
    charly.events_until(3).await;

    let dir = tempfile::tempdir().unwrap();
    let document = dir.path().join("openapi.json");
    fs::write(&document, first.internal("openapi.json").await).unwrap();
    let document = document.to_string_lossy();
    let python = async |module: &str, args: &[&str]| {
        let mut command = Command::new("python3");
        // Both leave files behind where they run.
        command.current_dir(&dir).kill_on_drop(true);
        command.env("PYTHONPATH", &packages).env("NO_COLOR", "1");
        command.args(["-m", module]).args(args);
        run(module, command).await;
    };
    python("openapi_spec_validator", &[&document]).await;
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/schemathesis.toml");
    python(
        "schemathesis.cli",
        &[
            "--config-file",
            &config.to_string_lossy(),
            "run",
            &document,
            "--url",
            &first.internal_url(),
            "--auth",
            "admin:safe-chat",
        ],
    )
    .await;
    // It was asked whatever there is, and nothing of it made a node leave.
    second.ready().await;
}

/// Runs it to its end; what it says when it is not content.
async fn run(module: &str, mut command: Command) {
    let output = timeout(PATIENCE, command.output()).await;
    let output = output
        .unwrap_or_else(|_| panic!("{module} is not done after {PATIENCE:?}"))
        .expect("python3 can be run");
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "{module}: {}",
        String::from_utf8_lossy(&said)
    );
}
