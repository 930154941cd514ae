//! promtool, which checks metrics and rules and runs queries on Prometheus' own engine: from PATH,
//! the cache, Go, docker.

use std::path::PathBuf;

use anyhow::Result;

use super::program::Wanted;
use super::version::Version;
use super::{docker, go};
use crate::interrupt::Interrupt;

const PROMTOOL: Wanted = Wanted {
    name: "promtool",
    // Distributions have this one or a newer one.
    oldest: Version(2, 42, 0),
    place: "promtool-3.5",
    ways: &[("go", go::promtool), ("docker", docker::promtool)],
    needs: "promtool on PATH (it comes with Prometheus), Go, or docker",
};

/// The path of a promtool that is recent enough.
pub fn promtool(interrupt: &Interrupt) -> Result<PathBuf> {
    PROMTOOL.obtain(interrupt)
}
