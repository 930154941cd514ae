//! What this machine gives a node: open files, ports, queues of the kernel.

use super::{Finding, State};
use crate::{cli::health, config::Config, listener, ops};
use std::fs;

/// Open files below which a node is soon full: 1,000 clients, the servers, and what is open
/// besides.
const FEW_FILES: usize = 1024 + 256;
/// What a node that clients come to should have.
const ENOUGH_FILES: usize = 65_536;
/// Connections that should be able to wait in the kernel: as many as come back at once when another
/// node dies.
const ENOUGH_WAITING: u64 = 4096;

pub(super) async fn look(config: &Config) -> Vec<Finding> {
    vec![
        files(ops::host::open_files()),
        waiting(number("/proc/sys/net/core/somaxconn")),
        conntrack(
            number("/proc/sys/net/netfilter/nf_conntrack_count"),
            number("/proc/sys/net/netfilter/nf_conntrack_max"),
        ),
        ports(config).await,
    ]
}

fn number(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn files(limit: Option<usize>) -> Finding {
    let finding = |state, message| Finding::new("host: open files", state, message);
    let advice = "raise the limit (ulimit -Hn, LimitNOFILE, ulimits.nofile in a compose file)";
    match limit {
        None => finding(State::Skipped, "the system does not say".into()),
        Some(most) if most < FEW_FILES => finding(
            State::Fail,
            format!("{most}, enough for some hundred clients: {advice} to {ENOUGH_FILES}"),
        ),
        Some(most) if most < ENOUGH_FILES => finding(
            State::Warn,
            format!(
                "{most}, enough for {} clients: {advice} to {ENOUGH_FILES} or more",
                most / 4 * 3
            ),
        ),
        Some(most) => finding(State::Ok, most.to_string()),
    }
}

fn waiting(most: Option<u64>) -> Finding {
    let finding = |state, message| Finding::new("host: accept queue", state, message);
    match most {
        None => finding(State::Skipped, "the system does not say".into()),
        Some(most) if most < ENOUGH_WAITING => finding(
            State::Warn,
            format!(
                "{most} connections can wait to be accepted; of more that come at once some wait \
                 for seconds: sysctl -w net.core.somaxconn={ENOUGH_WAITING}"
            ),
        ),
        Some(most) => finding(State::Ok, format!("{most} connections")),
    }
}

fn conntrack(tracked: Option<u64>, most: Option<u64>) -> Finding {
    let finding = |state, message| Finding::new("host: conntrack", state, message);
    let (Some(tracked), Some(most)) = (tracked, most) else {
        return finding(State::Skipped, "connections are not tracked here".into());
    };
    let advice = "the kernel drops packets of new ones when it is full: \
                  raise net.netfilter.nf_conntrack_max";
    let counted = format!("{tracked} of {most} connections tracked");
    match tracked.saturating_mul(100) / most.max(1) {
        0..80 => finding(State::Ok, counted),
        80..95 => finding(State::Warn, format!("{counted}; {advice}")),
        _ => finding(State::Fail, format!("{counted}; {advice}")),
    }
}

/// Free, or taken by a node of this configuration.
async fn ports(config: &Config) -> Finding {
    let finding = |state, message| Finding::new("host: ports", state, message);
    let (gateway, ops) = (&config.gateway, &config.ops);
    let mut wanted = vec![(&*gateway.host, gateway.port), (&*ops.host, ops.port)];
    wanted.extend(ops.probes());
    let mut taken = Vec::new();
    for (host, port) in wanted.iter().copied() {
        if let Err(why) = listener::bind(host, port).await {
            taken.push(format!("{host}:{port} ({why})"));
        }
    }
    if taken.is_empty() {
        let all = wanted.iter().map(|(host, port)| format!("{host}:{port}"));
        let all: Vec<_> = all.collect();
        return finding(State::Ok, format!("{} are free", all.join(" and ")));
    }
    match health::state(config).await {
        Ok(state) => finding(State::Ok, format!("a node is running here: {state}")),
        Err(_) => finding(
            State::Fail,
            format!(
                "cannot be listened on: {}; end what uses it, or set --http-port, \
                 --internal-port, --host",
                taken.join(", ")
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_judged_by_what_a_node_needs() {
        assert_eq!(files(Some(256)).state, State::Fail);
        assert_eq!(files(Some(4096)).state, State::Warn);
        assert!(files(Some(4096)).message.contains("3072 clients"));
        assert_eq!(files(Some(1 << 20)).state, State::Ok);
        assert_eq!(waiting(Some(128)).state, State::Warn);
        assert_eq!(waiting(Some(4096)).state, State::Ok);
        let tracked = |count| conntrack(Some(count), Some(1000)).state;
        assert_eq!(tracked(700), State::Ok);
        assert_eq!(tracked(900), State::Warn);
        assert_eq!(tracked(1000), State::Fail);
        assert_eq!(conntrack(None, Some(1000)).state, State::Skipped);
    }

    #[tokio::test]
    async fn a_port_that_somebody_else_uses_is_named() {
        let other = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut config = Config::default();
        config.gateway.port = 0;
        config.ops.port = other.local_addr().unwrap().port();
        // It takes connections and answers nothing.
        let found = ports(&config).await;
        assert_eq!(found.state, State::Fail);
        let named = found.message.contains(&config.ops.port.to_string());
        assert!(named, "{}", found.message);
    }
}
