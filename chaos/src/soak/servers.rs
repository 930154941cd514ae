//! What a soak runs on: one nats-server, one Cassandra if rooms are kept there, and nodes; on a
//! loopback address of this process.

use super::{
    Options,
    figures::{Kind, Place},
};
use crate::site::{Kept, journal};
use anyhow::{Context, Result};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};
use xtask::{
    cluster::Cluster,
    interrupt::Interrupt,
    loopback,
    nats::Nats,
    node::{self, Nodes},
    obtain,
    server::Server,
};

const HTTP: u16 = 8080;
const INTERNAL: u16 = 8558;
/// The monitoring port of the first nats-server.
const MONITORING: u16 = 8222;

/// Where everything is.
pub(super) struct Servers {
    pub(super) gateways: Vec<SocketAddr>,
    pub(super) operators: Vec<SocketAddr>,
    pub(super) places: Vec<Place>,
    pub(super) versions: Vec<String>,
}

/// Where a day takes ten seconds: rooms keep 90 of them, and it is looked often enough whether some
/// keep more.
const OF_A_YEAR: &str = "[writer]\nkeep_age_s = 900\ntrim_ms = 1000\ngone_after_s = 900\n";

/// Where Cassandra has the rooms, the bus keeps the newest so many bytes of events; this many have
/// come before anything is judged.
const OF_A_YEAR_BESIDE: &str = "[bus]\nevent_bytes = 67108864\n";

/// Starts everything and waits until it answers.
pub(super) fn start(
    cluster: &mut Cluster,
    kept: Kept,
    options: &Options,
    program: &Path,
    interrupt: &Interrupt,
) -> Result<Servers> {
    let (host, data) = (
        loopback::of_pid(std::process::id()),
        cluster.state().data("soak"),
    );
    let nats = Nats {
        program: obtain::nats::nats_server(interrupt)?,
        host,
        servers: 1,
        data: data.clone(),
        max_file: None,
    };
    let ring = kept.ring(vec![host], &data, interrupt)?;
    let mut servers = nats.servers()?;
    if let Some(ring) = &ring {
        servers.extend(ring.servers()?);
    }
    launch(cluster, &servers)?;
    let versions = vec![
        crate::about::version(program),
        crate::about::version(&nats.program),
    ];
    let settings = Nodes {
        program: program.to_owned(),
        nats: nats.urls(),
        replicas: 1,
        journal: journal(ring.as_ref()),
        config: options
            .year
            .then(|| configuration(kept, &data))
            .transpose()?,
        dir: data.clone(),
    };
    let place = |i: u8| node::Place {
        host,
        http: HTTP + u16::from(i),
        internal: INTERNAL + u16::from(i),
    };
    let servers: Vec<Server> = (1..=options.nodes)
        .map(|i| settings.server_at(i, place(i)))
        .collect();
    launch(cluster, &servers)?;

    let mut places: Vec<Place> = (1..=options.nodes)
        .map(|i| Place {
            name: format!("node-{i}"),
            kind: Kind::Node,
            url: format!("http://{host}:{}", place(i).internal),
        })
        .collect();
    places.push(Place {
        name: "nats-1".to_owned(),
        kind: Kind::Nats,
        url: format!("http://{host}:{MONITORING}"),
    });
    // Tables: the log of commits has a bound of its own, and goes up and down by all of it.
    let tables = ring.map(|_| ("cassandra-1", "cassandra-1/data"));
    let stores = tables.into_iter().chain([("nats-1", "nats-1")]);
    places.extend(stores.map(|(name, folder)| Place {
        name: name.to_owned(),
        kind: Kind::Disk,
        url: data.join(folder).display().to_string(),
    }));
    let at = |port: fn(node::Place) -> u16| {
        (1..=options.nodes)
            .map(|i| (host, port(place(i))).into())
            .collect()
    };
    Ok(Servers {
        gateways: at(|place| place.http),
        operators: at(|place| place.internal),
        places,
        versions,
    })
}

fn configuration(kept: Kept, dir: &Path) -> Result<PathBuf> {
    let file = dir.join("year.toml");
    let beside = match kept {
        Kept::Bus => "",
        Kept::Cassandra => OF_A_YEAR_BESIDE,
    };
    std::fs::write(&file, [OF_A_YEAR, beside].concat())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

fn launch(cluster: &mut Cluster, servers: &[Server]) -> Result<()> {
    servers
        .iter()
        .try_for_each(|server| cluster.start(server))?;
    cluster.await_ready(servers)
}
