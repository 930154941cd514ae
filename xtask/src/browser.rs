//! `cargo xtask browser`: the page in a real browser, with a terminal in the same sealed room,
//! against a node and a nats-server of this run. The browser is the machine's; without one this
//! says so and does nothing. `tests/browser/` has what is done, and pictures of it are left behind.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::binary::{self, Build};
use crate::cluster::Cluster;
use crate::console::say;
use crate::interrupt::Interrupt;
use crate::nats::Nats;
use crate::node::{Journal, Nodes, Place};
use crate::{loopback, obtain, paths, runs, tool};

/// Names that it has on different systems.
const BROWSERS: [&str; 4] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

#[derive(Args)]
pub(crate) struct Options {
    /// The browser, if it is not on the PATH: a Chromium or Chrome
    #[arg(long, value_name = "PROGRAM")]
    browser: Option<PathBuf>,
}

pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Result<()> {
    let found = BROWSERS.iter().find_map(|name| paths::on_path(name));
    let Some(browser) = options.browser.clone().or(found) else {
        say("browser: skipped, there is neither chromium nor google-chrome on the PATH");
        return Ok(());
    };
    let playwright = obtain::playwright::playwright(interrupt)?;
    // With the cryptography of the test profile: without, publishing 50 key packages takes 8 s.
    let program = binary::build(Build::Dev, interrupt)?;
    let (state, dir) = runs::open()?;
    let mut cluster = Cluster::new(state, interrupt.clone())?;
    let host = loopback::of_pid(std::process::id());
    let nats = Nats {
        program: obtain::nats::nats_server(interrupt)?,
        host,
        servers: 1,
        data: cluster.state().data("browser"),
        max_file: None,
    };
    let nodes = Nodes {
        config: None,
        program: program.clone(),
        nats: nats.urls(),
        replicas: 1,
        journal: Journal::Bus,
        dir: cluster.state().data("browser"),
    };
    let mut place = Place::numbered(1);
    place.host = host;
    let servers = nats.servers()?;
    cluster.start(&servers[0])?;
    cluster.await_ready(&servers)?;
    let node = nodes.server_at(1, place);
    cluster.start(&node)?;
    cluster.await_ready(std::slice::from_ref(&node))?;

    let shots = paths::root().join("target/browser");
    let mut script = Command::new("node");
    script.arg(paths::root().join("tests/browser/sealed.mjs"));
    // Browsers give pages of loopback addresses all that https has.
    script.env("SAFE_CHAT_URL", format!("http://{host}:{}/", place.http));
    script.env("SAFE_CHAT_PROGRAM", program);
    script.env("SAFE_CHAT_BROWSER", browser);
    script.env("SAFE_CHAT_PLAYWRIGHT", playwright);
    script.env("SAFE_CHAT_SHOTS", shots);
    let status = tool::shown(&mut script, interrupt);
    cluster.stop(Duration::ZERO)?;
    let status = status.context("node (20.19 or later) runs it")?;
    ensure!(status.success(), "the page does not do what it should");
    drop(cluster);
    fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())
}
