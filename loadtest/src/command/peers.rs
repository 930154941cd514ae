//! `loadtest peers`: the same scenario against several servers, one after another and again, so that
//! what the machine does meanwhile happens to all of them.

use super::Exit;
use crate::{
    engine::Engine,
    measure::{Environment, Processes, Recorder, listening},
    report::Report,
    scenario::{Plan, Scenario, Shape},
};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeMap,
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    str::FromStr,
};

/// What to compare.
#[derive(Debug, clap::Args)]
pub struct Peers {
    /// What is done
    #[arg(value_enum)]
    scenario: Scenario,
    #[command(flatten)]
    shape: Shape,
    /// A system beside the bare server: NAME=URL, and the ports of all that serves it:
    /// NAME=URL,PORT,PORT
    #[arg(long = "system", value_name = "NAME=URL[,PORT...]")]
    systems: Vec<System>,
    /// Bytes of text in a message
    #[arg(long, default_value_t = 256)]
    bytes: usize,
    /// How often each has its turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The figure that is compared [with --saturate: cpu.deliveries_per_s, else delivery.p99]
    #[arg(long)]
    figure: Option<String>,
    /// The core of the bare server (taskset); put the others on it, too
    #[arg(long)]
    core: Option<usize>,
}

/// A system that speaks the protocol.
#[derive(Debug, Clone)]
struct System {
    name: String,
    url: String,
    ports: Vec<u16>,
}

impl FromStr for System {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, rest) = text.split_once('=').ok_or("say NAME=URL[,PORT...]")?;
        let mut parts = rest.split(',');
        let url = parts.next().unwrap_or_default().to_owned();
        let of_url = url
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        let ports = parts.map(|port| {
            port.parse::<u16>()
                .map_err(|_| format!("{port} is no port"))
        });
        let mut ports: Vec<u16> = ports.collect::<Result<_, String>>()?;
        ports.extend(of_url);
        let name = name.to_owned();
        Ok(Self { name, url, ports })
    }
}

/// The bare server, as a process of its own: its CPU is not ours.
struct Bare(Child);

impl Bare {
    fn start(core: Option<usize>) -> Result<(Self, System)> {
        let program = env::current_exe()?;
        let mut command = match core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.arg("-c").arg(core.to_string()).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.args(["bare", "--at", "127.0.0.1:0"]);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("no bare server")?;
        let out = child.stdout.take().context("its output is piped")?;
        let bare = Self(child);
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        let address = line
            .trim()
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .to_owned();
        let system = format!("bare=http://{address}").parse();
        Ok((bare, system.map_err(anyhow::Error::msg)?))
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs all of them in turns, and prints medians and ratios within a round.
///
/// # Errors
/// A system cannot be measured.
pub fn peers(options: &Peers) -> Result<Exit> {
    let plan = Plan::new(options.scenario, options.shape.clone())?;
    let usual = if plan.pace.saturate {
        "cpu.deliveries_per_s"
    } else {
        "delivery.p99"
    };
    let figure = options.figure.as_deref().unwrap_or(usual);
    // As many sessions as the system lets this process have; too few show as an error of their own.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let (_bare, bare) = Bare::start(options.core)?;
    let systems: Vec<&System> = std::iter::once(&bare).chain(&options.systems).collect();
    let mut found: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 1..=options.rounds.max(1) {
        for system in &systems {
            let value = one(&plan, system, options.bytes, figure)?;
            println!("  round {round}  {:<16} {value:>14.2}", system.name);
            found.entry(&system.name).or_default().push(value);
        }
    }
    let base = &found["bare"];
    println!("  {figure}: median, and the median of the ratios to bare within a round [low-high]");
    for system in &systems {
        let values = &found[system.name.as_str()];
        let ratios: Vec<f64> = values
            .iter()
            .zip(base)
            .map(|(value, base)| value / base)
            .collect();
        let (low, high) = (
            least(&ratios),
            -least(&ratios.iter().map(|it| -it).collect::<Vec<_>>()),
        );
        println!(
            "  {:<16} {:>14.2}  {:.2} [{low:.2}-{high:.2}]",
            system.name,
            median(values),
            median(&ratios)
        );
    }
    Ok(Exit::Good)
}

fn one(plan: &Plan, system: &System, bytes: usize, figure: &str) -> Result<f64> {
    let pids = listening(&system.ports);
    let names = Processes::new(pids.clone()).names();
    let recorder = Recorder::new(pids, true, None);
    let mut engine = Engine::new(std::slice::from_ref(&system.url), bytes, recorder)?;
    let findings = plan.run(&mut engine).with_context(|| system.name.clone())?;
    let report = Report::new(plan, &engine.recorder, findings, Environment::here(&names));
    if engine.recorder.broken > 0 {
        bail!(
            "{}: promises were broken: {}",
            system.name,
            report.broken.join("; ")
        );
    }
    if let Some(why) = report.bottleneck() {
        bail!("{}: the generator was the bottleneck. {why}", system.name);
    }
    let value = report.figures.get(figure).copied();
    value.with_context(|| format!("{}: there is no figure {figure}", system.name))
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    } else {
        sorted[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_has_a_name_an_address_and_all_its_ports() {
        let system: System = "ours=http://127.0.0.1:8080,4222".parse().unwrap();
        assert_eq!(
            (system.name.as_str(), system.url.as_str()),
            ("ours", "http://127.0.0.1:8080")
        );
        assert_eq!(system.ports, [4222, 8080]);
        assert!("ours".parse::<System>().is_err());
        assert!("ours=http://x:1,y".parse::<System>().is_err());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
