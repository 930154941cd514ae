//! What all nodes of a cluster must agree on, and who may not go on: one record of the registry.

use super::FORMATS;
use crate::room::Millis;
use chrono::{DateTime, SecondsFormat, Utc};
use std::{fmt, time::Duration};
use uuid::Uuid;

/// The first forms of which every version holds removals.
const HOLDS: u32 = 9;

/// What all nodes of a cluster must agree on. Whatever is open was not known when it was stored,
/// and is filled in by the first node that knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How many shards there are.
    pub shards: u16,
    /// Which cluster this is.
    pub cluster: Option<ClusterId>,
    /// Where its rooms are kept.
    pub journal: Option<JournalKind>,
    /// In Cassandra: the id of the keyspace that has them.
    pub keyspace: Option<Uuid>,
    /// The newest forms ([`FORMATS`]) in which something may be stored; 0: not known.
    pub format: u32,
    /// Rooms are being written by an operator's command, or one that did not come to its end: some
    /// are missing.
    pub is_incomplete: bool,
    /// What such a command writes, until it has come to its end: it alone completes that.
    pub import: Option<ImportId>,
    /// The cluster that has the rooms of this one now.
    pub moved: Option<ClusterId>,
    /// Until then, by the clock of the bus, nothing is removed of what rooms let go: the servers
    /// are being backed up. Zero: nobody asked for that.
    pub held_until: Millis,
}

/// Names what an operator's command writes into a cluster: a file, or the rooms of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImportId(Uuid);

/// Names a cluster: made by its first node, stored on the bus and in the keyspace of its rooms. Ids
/// are ordered by the time when they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterId(Uuid);

/// Where rooms are kept.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    serde::Serialize,
    serde::Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum JournalKind {
    /// The bus itself.
    #[default]
    Bus,
    /// Cassandra.
    Cassandra,
}

/// Why a node may not take part in a cluster: the stored settings are not as it would have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Rooms would be looked for in wrong shards.
    #[error(
        "the cluster has {stored} shards, this node is configured with {mine}: set cluster.shards to {stored}"
    )]
    Shards {
        /// Configured here.
        mine: u16,
        /// Stored in the registry.
        stored: u16,
    },
    /// All rooms would begin anew.
    #[error(
        "this cluster keeps its rooms {stored}, and the configuration says {mine}, where none of \
         them counts: {}; to begin another cluster set bus.prefix to one that is not used",
        stored.remedy()
    )]
    Journal {
        /// Configured here.
        mine: JournalKind,
        /// Stored in the registry.
        stored: JournalKind,
    },
    /// All rooms would begin anew, or be those of another cluster.
    #[error(
        "this cluster keeps its rooms in the Cassandra keyspace with the id {stored}, and the one \
         of the configuration has the id {mine}: set cassandra.hosts and \
         cassandra.keyspace to the cluster's; to begin another cluster set bus.prefix to one that \
         is not used"
    )]
    Keyspace {
        /// Of the keyspace that is configured here.
        mine: Uuid,
        /// Stored in the registry.
        stored: Uuid,
    },
    /// Its rooms go on elsewhere.
    #[error(
        "the rooms of this cluster were moved (journal copy --to bus --switch) to the cluster with \
         the id {to}: set bus.prefix to its prefix, the one of --to-prefix"
    )]
    Moved {
        /// Stored in the registry.
        to: ClusterId,
    },
    /// Some of what is stored would not be understood.
    #[error(
        "the cluster stores forms up to {stored}, this program reads them up to {FORMATS}: install \
         the version that the other nodes have"
    )]
    Format {
        /// Stored in the registry.
        stored: u32,
    },
}

/// Why nobody may use a cluster: rooms would be made anew that are still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an import into this cluster (or a copy, whose end is --switch, or a recover) has begun and \
     not come to its end, so rooms are missing: run it again (what is there is compared only), and \
     then this"
)]
pub struct Incomplete;

/// Nothing is removed of what rooms let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Until then, by the clock of the bus.
    pub until: Millis,
    /// For so long from now.
    pub left: Duration,
}

/// Why removals cannot be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cluster stores forms up to {stored}, so a node may run whose version knows no hold, and \
     removes all the same (FORMS below {HOLDS} in `safe-chat admin members`): upgrade it, or back \
     up with all nodes stopped"
)]
pub struct NotHeld {
    /// Stored in the registry.
    stored: u32,
}

/// A time for people: RFC 3339, to the second, UTC.
pub(crate) fn time(at: Millis) -> String {
    let time = i64::try_from(at.0)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    time.unwrap_or(DateTime::<Utc>::MAX_UTC)
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}

impl Settings {
    /// Whether all rooms are there.
    pub fn check_complete(&self) -> Result<(), Incomplete> {
        match self.is_incomplete {
            true => Err(Incomplete),
            false => Ok(()),
        }
    }

    /// With nothing known but the number of shards.
    pub fn of_shards(shards: u16) -> Self {
        Self {
            shards,
            cluster: None,
            journal: None,
            keyspace: None,
            format: 0,
            is_incomplete: false,
            import: None,
            moved: None,
            held_until: Millis(0),
        }
    }

    /// With an import of which nothing is there yet.
    pub fn begun(self, import: ImportId) -> Self {
        Self {
            // No program of before may take part in a cluster with what this one writes.
            format: self.format.max(FORMATS),
            is_incomplete: true,
            import: Some(import),
            ..self
        }
    }

    /// With an import of which all is there. What another one lacks is not there.
    pub fn completed(self, import: ImportId) -> Self {
        let lacks_another = self.lacks_another(import);
        Self {
            is_incomplete: lacks_another,
            import: self.import.filter(|_| lacks_another),
            ..self
        }
    }

    /// With nothing removed until then, or for longer where somebody else's backup takes longer.
    pub fn held(self, until: Millis) -> Result<Self, NotHeld> {
        if self.format < HOLDS {
            return Err(NotHeld {
                stored: self.format,
            });
        }
        Ok(Self {
            held_until: self.held_until.max(until),
            ..self
        })
    }

    /// The hold that is in force.
    pub fn held_at(&self, now: Millis) -> Option<Held> {
        let left = self.held_until.0.saturating_sub(now.0);
        (left > 0).then_some(Held {
            until: self.held_until,
            left: Duration::from_millis(left),
        })
    }

    /// Whether another import has to be completed first.
    pub fn lacks_another(&self, import: ImportId) -> bool {
        self.is_incomplete && self.import.is_some_and(|other| other != import)
    }

    /// Why a node that would have `mine` may not go on where these are stored. Ids of clusters do
    /// not count here: one bus has one record.
    pub fn contradiction(&self, mine: &Self) -> Option<Contradiction> {
        fn differ<T: PartialEq>(stored: Option<T>, mine: Option<T>) -> Option<(T, T)> {
            stored.zip(mine).filter(|(stored, mine)| stored != mine)
        }
        if let Some(to) = self.moved {
            return Some(Contradiction::Moved { to });
        }
        if self.shards != mine.shards {
            let (mine, stored) = (mine.shards, self.shards);
            return Some(Contradiction::Shards { mine, stored });
        }
        if let Some((stored, mine)) = differ(self.journal, mine.journal) {
            return Some(Contradiction::Journal { mine, stored });
        }
        if let Some((stored, mine)) = differ(self.keyspace, mine.keyspace) {
            return Some(Contradiction::Keyspace { mine, stored });
        }
        let stored = self.format;
        self.is_newer().then_some(Contradiction::Format { stored })
    }

    /// Whether something may be stored that this program does not read.
    pub fn is_newer(&self) -> bool {
        self.format > FORMATS
    }

    /// These, filled in, with what others may change while nodes run.
    pub fn learning(self, from: &Self) -> Self {
        Self {
            cluster: from.cluster,
            held_until: from.held_until,
            ..self.filled(from)
        }
    }

    /// These, with what they leave open filled in. What commands of an operator note is not open.
    pub fn filled(self, with: &Self) -> Self {
        Self {
            shards: self.shards,
            cluster: self.cluster.or(with.cluster),
            journal: self.journal.or(with.journal),
            keyspace: self.keyspace.or(with.keyspace),
            format: self.format.max(with.format),
            ..self
        }
    }
}

impl ImportId {
    /// Of a file: the first half of its SHA-256.
    pub fn of_file(sha256: [u8; 32]) -> Self {
        let mut half = [0; 16];
        half.copy_from_slice(&sha256[..16]);
        Self(Uuid::from_bytes(half))
    }

    /// Of the rooms of a cluster.
    pub fn of_cluster(cluster: ClusterId) -> Self {
        Self(cluster.0)
    }

    /// As [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::parse_str(text).ok().map(Self)
    }
}

impl fmt::Display for ImportId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ClusterId {
    /// A new one.
    pub fn make() -> Self {
        Self(Uuid::now_v7())
    }

    /// As [`fmt::Display`] writes it.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::parse_str(text).ok().map(Self)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JournalKind {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bus => "bus",
            Self::Cassandra => "cassandra",
        }
    }

    /// As [`JournalKind::as_str`] gives it.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Bus, Self::Cassandra]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }

    /// How a node joins a cluster whose rooms are kept there.
    fn remedy(self) -> &'static str {
        match self {
            Self::Bus => {
                "for this one set journal.kind to bus (--journal bus), or leave out \
                 cassandra.hosts (CASSANDRA)"
            }
            Self::Cassandra => {
                "for this one set journal.kind to cassandra and cassandra.hosts (CASSANDRA, \
                 --cassandra) to its servers"
            }
        }
    }
}

impl fmt::Display for JournalKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bus => "on the bus",
            Self::Cassandra => "in Cassandra",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(journal: JournalKind) -> Settings {
        Settings {
            cluster: Some(ClusterId::make()),
            journal: Some(journal),
            format: 1,
            ..Settings::of_shards(4)
        }
    }

    #[test]
    fn what_is_open_contradicts_nothing_and_is_filled_in_once() {
        let (open, first, second) = (
            Settings::of_shards(4),
            whole(JournalKind::Bus),
            whole(JournalKind::Bus),
        );
        assert_eq!(open.contradiction(&first), None);
        assert_eq!(open.filled(&first), first);
        assert_eq!(first.contradiction(&second), None, "one bus, one record");
        assert_eq!(first.filled(&second), first);
        assert_eq!(first.filled(&open), first);
    }

    #[test]
    fn a_hold_ends_with_the_longest_and_needs_versions_that_know_it() {
        let older = Settings {
            format: 8,
            ..whole(JournalKind::Bus)
        };
        assert_eq!(older.held(Millis(60)), Err(NotHeld { stored: 8 }));
        let settings = Settings { format: 9, ..older };
        let until = |settings: Settings| settings.held_until;
        assert_eq!(settings.held(Millis(60)).map(until), Ok(Millis(60)));
        let held = Settings {
            held_until: Millis(60),
            ..settings
        };
        assert_eq!(held.held(Millis(10)), Ok(held), "another backup goes on");
        assert_eq!(held.held(Millis(90)).map(until), Ok(Millis(90)));
        let left = |now| held.held_at(Millis(now)).map(|held| held.left.as_millis());
        assert_eq!([left(0), left(59), left(60)], [Some(60), Some(1), None]);
    }

    #[test]
    fn an_import_is_noted_until_it_has_come_to_its_end() {
        let settings = whole(JournalKind::Bus);
        let [one, other] = [1, 2].map(|n| ImportId::of_file([n; 32]));
        let begun = settings.begun(one);
        assert!(begun.is_incomplete && begun.completed(other) == begun);
        let done = begun.completed(one);
        assert_eq!((done.is_incomplete, done.import), (false, None));
        let of_before = Settings {
            is_incomplete: false,
            ..begun
        };
        assert_eq!(of_before.completed(other).import, None);
    }

    #[test]
    fn what_differs_is_named_with_both_sides_and_a_remedy() {
        let told = |stored: Settings, mine: Settings| stored.contradiction(&mine).unwrap();
        let (bus, cassandra) = (whole(JournalKind::Bus), whole(JournalKind::Cassandra));
        let flipped = told(bus, cassandra).to_string();
        for part in [
            "keeps its rooms on the bus",
            "in Cassandra",
            "journal.kind to bus",
        ] {
            assert!(flipped.contains(part), "{flipped}");
        }
        let back = told(cassandra, bus).to_string();
        assert!(back.contains("set journal.kind to cassandra"), "{back}");
        let keyspace = |id| Settings {
            keyspace: Some(Uuid::from_u128(id)),
            ..cassandra
        };
        assert!(matches!(
            told(keyspace(1), keyspace(2)),
            Contradiction::Keyspace { .. }
        ));
        let newer = Settings {
            format: FORMATS + 1,
            ..bus
        };
        assert!(told(newer, bus).to_string().contains("install"));
    }
}
