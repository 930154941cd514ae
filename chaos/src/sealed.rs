//! Encrypted rooms beside the others of a run: one that everybody may come into, and one whose
//! members let others in. And the search for what was said in them, everywhere that it must not be.

use crate::{report, site::Site};
use anyhow::{Context, Result};
use futures::future::try_join_all;
use loadtest::sealed::{Circle, Counts, Marker, Plan, marker};
use seal::rules::JoinPolicy;
use std::{path::Path, time::Duration};
use tokio::task::block_in_place;

/// Devices of the open room. Ann has two, which read each other.
const OPEN: [(&str, &str); 5] = [
    ("ann", "phone"),
    ("ann", "laptop"),
    ("bob", "phone"),
    ("cleo", "phone"),
    ("dan", "phone"),
];
/// Devices of the other one.
const INVITED: [(&str, &str); 3] = [("eve", "phone"), ("finn", "phone"), ("gina", "phone")];
/// What the rooms of text say in every message: whoever does not find this would not find a marker
/// either.
const SAID_OPENLY: &str = "The quick brown fox jumps over the lazy dog.";

/// The rooms of a run.
pub struct Rooms {
    names: [String; 2],
    circles: Vec<Circle>,
    marker: String,
}

impl Rooms {
    /// Makes them, with names that begin alike, and lets everybody in.
    ///
    /// # Errors
    /// Not everybody came in.
    pub async fn gather(site: &Site, name: &str, seed: u64) -> Result<Self> {
        let marker = marker();
        let names = [format!("{name}-open"), format!("{name}-invited")];
        let plan = |room: &String, policy, devices: &[_]| Plan {
            urls: site.urls(),
            room: room.clone(),
            policy,
            devices: devices.to_vec(),
            marker: marker.clone(),
            seed,
        };
        let circles = try_join_all([
            Circle::gather(plan(&names[0], JoinPolicy::Open, &OPEN)),
            Circle::gather(plan(&names[1], JoinPolicy::Invited, &INVITED)),
        ]);
        let circles = circles.await?;
        Ok(Self {
            names,
            circles,
            marker,
        })
    }

    /// Everybody does what users do, from now on.
    pub fn begin(&mut self) {
        self.circles.iter_mut().for_each(Circle::begin);
    }

    /// When everything has settled: what there was, and which promises were broken.
    ///
    /// # Errors
    /// What is kept cannot be searched.
    pub async fn finish(
        self,
        site: &Site,
        settle: Duration,
    ) -> Result<(report::Sealed, Vec<String>)> {
        let rooms = self.circles.len();
        let finished = self.circles.into_iter().map(|circle| circle.finish(settle));
        let (mut counts, mut broken) = (Counts::default(), Vec::new());
        for outcome in futures::future::join_all(finished).await {
            counts += outcome.counts;
            broken.extend(outcome.broken);
        }
        for room in &self.names {
            broken.extend(site.verify(room)?);
        }
        let (files, found) = block_in_place(|| search(site, &self.marker))?;
        broken.extend(found);
        let sealed = report::Sealed {
            rooms,
            counts,
            files,
        };
        Ok((sealed, broken))
    }
}

/// Searches the stores of all servers, and all logs. How many files that were, and where it is.
fn search(site: &Site, text: &str) -> Result<(usize, Vec<String>)> {
    let (marker, openly) = (Marker::new(text), Marker::new(SAID_OPENLY));
    let searched = |marker: &Marker, folder: &Path| {
        let found = marker.files(folder);
        found.with_context(|| format!("{} cannot be searched", folder.display()))
    };
    let (mut files, mut broken) = (0, Vec::new());
    for folder in [site.data().to_owned(), site.logs()] {
        let (found, count) = searched(&marker, &folder)?;
        files += count;
        let told = found.iter().map(|path| path.display());
        broken.extend(told.map(|path| format!("what was said in a sealed room is in {path}")));
    }
    for server in site.stores() {
        let (found, _) = searched(&openly, &site.data().join(&server))?;
        if found.is_empty() {
            broken.push(format!(
                "the search finds not even an open text in the store of {server}: it says nothing"
            ));
        }
    }
    Ok((files, broken))
}
