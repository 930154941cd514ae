//! `loadtest run SCENARIO`.

use super::{Exit, check};
use crate::{
    engine::Engine,
    measure::{Environment, Processes, Recorder, listening},
    report::{self, Limit, Report},
    scenario::{Plan, Scenario, Shape},
};
use anyhow::{Context, Result};
use safe_chat_client::Gateway;
use signal_hook::{consts::SIGUSR1, iterator::Signals};
use std::{
    io::{BufRead, stdin},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Run {
    /// What is done
    #[arg(value_enum)]
    scenario: Scenario,
    /// A gateway; give several to spread the sessions over them
    #[arg(long = "url", default_values_t = ["http://127.0.0.1:8080".to_owned()])]
    urls: Vec<String>,
    #[command(flatten)]
    shape: Shape,
    /// Bytes of text in a message
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// A process of the servers, whose CPU and memory (with that of its children) is counted;
    /// default: whoever listens at the gateways' ports on this machine
    #[arg(long = "pid")]
    pids: Vec<u32>,
    /// Also count whoever listens at this port of this machine, like 4222 for NATS
    #[arg(long = "server-port", value_name = "PORT")]
    server_ports: Vec<u16>,
    /// Must hold, like `p99<100ms`, `answer.p50<=5ms`, `broken=0`; may be given several times
    #[arg(long = "assert", value_name = "LIMIT")]
    limits: Vec<Limit>,
    /// Where the report goes
    #[arg(long, default_value = "target/loadtest", value_name = "FOLDER")]
    out: PathBuf,
    /// Every line on stdin marks this time in the report, like `node-1 killed`; so does SIGUSR1
    #[arg(long)]
    marks: bool,
    /// No live line
    #[arg(long)]
    quiet: bool,
}

/// Runs a scenario and writes its report.
///
/// # Errors
/// It could not be done.
pub fn run(options: Run) -> Result<Exit> {
    let plan = Plan::new(options.scenario, options.shape.clone())?;
    // As many sessions as the system lets this process have; too few show as an error of their own.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let pids = servers(&options);
    let names = Processes::new(pids.clone()).names();
    let environment = Environment::here(&names);
    let recorder = Recorder::new(pids, options.quiet, Some(marks(options.marks)?));
    let mut engine = Engine::new(&options.urls, options.bytes, recorder)?;
    let findings = plan.run(&mut engine)?;
    let recorder = &engine.recorder;
    let report = Report::new(&plan, recorder, findings, environment);
    if recorder.broken > 0 {
        eprint!("{report}");
        eprintln!("{} promises were broken", recorder.broken);
        write(&options.out, &report, recorder)?;
        return Ok(Exit::Broken);
    }
    if let Some(why) = report.bottleneck() {
        eprintln!("No report: the generator was the bottleneck. {why}.");
        return Ok(Exit::Bottleneck);
    }
    print!("{report}");
    write(&options.out, &report, recorder)?;
    Ok(check(&options.limits, &report))
}

fn write(out: &Path, report: &Report, recorder: &Recorder) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let folder = out.join(format!("{}-{now}", report.scenario));
    report::write(&folder, report, recorder)?;
    println!("  report: {}", folder.join("report.html").display());
    Ok(())
}

fn servers(options: &Run) -> Vec<u32> {
    if !options.pids.is_empty() {
        return options.pids.clone();
    }
    let port = |url: &String| {
        let gateway = url.parse::<Gateway>().ok()?.to_string();
        let host = gateway
            .trim_start_matches("ws://")
            .split('/')
            .next()?
            .to_owned();
        Some(
            host.rsplit_once(':')
                .map_or(80, |(_, port)| port.parse().unwrap_or(80)),
        )
    };
    let mut ports: Vec<u16> = options.urls.iter().filter_map(port).collect();
    ports.extend(&options.server_ports);
    listening(&ports)
}

/// What somebody notes while it runs: a signal, or a line on stdin if it is read.
fn marks(reads_stdin: bool) -> Result<mpsc::Receiver<String>> {
    let (noted, marks) = mpsc::channel();
    let mut signals = Signals::new([SIGUSR1]).context("cannot listen for SIGUSR1")?;
    let by_signal = noted.clone();
    thread::spawn(move || {
        for _ in signals.forever() {
            // Nobody listens any more when it has ended.
            let _ = by_signal.send("mark".into());
        }
    });
    if reads_stdin {
        thread::spawn(move || {
            for line in stdin().lock().lines().map_while(Result::ok) {
                let _ = noted.send(line);
            }
        });
    }
    Ok(marks)
}
