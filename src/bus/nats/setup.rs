//! Everything of a cluster on its servers, as a node finds it when it starts: makes what is
//! missing, if it may, or checks it, and says what of its configuration counts for nothing.

use super::{
    api::StreamInfo, definition::Definition, link::Link, settings, subjects::Subjects,
    survey::prefixes,
};
use crate::bus::{Error, Settings, Store};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long a journal may be missing at a start: a server that recovers its streams does not know
/// all of them at once.
const RECOVERY: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// What a node that starts has to do with.
pub(super) struct Setup<'a> {
    pub(super) link: &'a Link,
    pub(super) subjects: &'a Subjects,
    pub(super) definitions: &'a [Definition],
    /// What the configuration says.
    pub(super) settings: Settings,
    /// Whether this node may make what is missing.
    pub(super) may_make: bool,
}

impl Setup<'_> {
    /// Makes or checks everything. Whether the cluster's settings say where its rooms are kept.
    pub(super) async fn ensure_all(&self) -> Result<bool, Error> {
        let until = Instant::now() + RECOVERY;
        loop {
            match self.ensure().await? {
                Ok(knows_journal) => return Ok(knows_journal),
                Err(lost) if Instant::now() >= until => return Err(Error::Unusable(lost)),
                Err(_) => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// Makes or checks everything, unless the journal is missing where there was one: what to do
    /// then.
    async fn ensure(&self) -> Result<Result<bool, String>, Error> {
        // Before the events are looked at: another node may be making everything at this moment, in
        // this order.
        let (mut was_used, mut knows_journal) = (false, false);
        for definition in self.definitions {
            let is_there = match definition.store {
                Store::Shards | Store::Blobs => definition.find(self.link).await?.is_some(),
                _ => false,
            };
            was_used |= is_there;
            if is_there && definition.store == Store::Shards {
                let (link, mine) = (self.link, &self.settings);
                knows_journal = settings::check_journal(link, self.subjects, mine).await?;
            }
        }
        let mut is_new = self.may_make && !was_used;
        let (optional, needed): (Vec<_>, Vec<_>) = self
            .definitions
            .iter()
            .partition(|definition| definition.store.is_optional());
        for definition in needed {
            match definition.find(self.link).await? {
                Some(info) => {
                    is_new = false;
                    let fits = definition.check(&info.config, knows_journal);
                    fits.map_err(Error::Unusable)?;
                    say_ignored(definition, &info);
                }
                None if definition.is_journal && was_used => {
                    return Ok(Err(definition.lost()));
                }
                None if self.may_make => {
                    if std::mem::take(&mut is_new) {
                        self.say_others().await;
                    }
                    definition.create(self.link).await?;
                }
                None => return Err(Error::Unavailable(definition.left_to_writers())),
            }
        }
        for definition in optional {
            if let Err(why) = self.ensure_optional(definition).await {
                // The watch goes on saying so.
                tracing::warn!(stream = %definition.name, %why, "a store that this version adds cannot be used");
            }
        }
        Ok(Ok(knows_journal))
    }

    /// Makes or checks what a cluster does without: a node serves everything else.
    async fn ensure_optional(&self, definition: &Definition) -> Result<(), Error> {
        match definition.find(self.link).await? {
            Some(info) => {
                let fits = definition.check(&info.config, true);
                fits.map_err(Error::Unusable)?;
                say_ignored(definition, &info);
                Ok(())
            }
            None if self.may_make => definition.create(self.link).await,
            None => Err(Error::Unavailable(definition.left_to_writers())),
        }
    }

    /// Says which other clusters are on a server where a new one begins: its prefix may be a
    /// mistake.
    async fn say_others(&self) {
        let mine = self.subjects.prefix();
        match prefixes(self.link).await {
            Ok(others) if others.is_empty() => {}
            Ok(others) => tracing::warn!(
                prefix = mine,
                others = others.join(", "),
                "a new cluster begins under a prefix that was never used here, with empty rooms, \
                 beside those of the other prefixes: if this node belongs to one of them, stop it \
                 and set bus.prefix"
            ),
            Err(_) => tracing::debug!("which other clusters are on this bus cannot be read"),
        }
    }
}

fn say_ignored(definition: &Definition, info: &StreamInfo) {
    for what in definition.ignores(&info.config) {
        tracing::warn!("{what}");
    }
}
