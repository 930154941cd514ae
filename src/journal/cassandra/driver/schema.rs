//! The tables, as a list of versions. What was released is never changed; a new version is added at
//! the end.

use super::Config;

/// A version of the schema and the statements that lead to it from the version before. Each can be
/// repeated.
pub(super) struct Version {
    pub(super) number: i32,
    pub(super) statements: fn(&Names) -> Vec<String>,
}

/// The version that this program works with.
pub(super) const CURRENT: i32 = 5;

/// Every version, ascending.
pub(super) const VERSIONS: [Version; 5] = [
    Version {
        number: 1,
        statements: first,
    },
    Version {
        number: 2,
        statements: second,
    },
    Version {
        number: 3,
        statements: third,
    },
    Version {
        number: 4,
        statements: fourth,
    },
    Version {
        number: 5,
        statements: fifth,
    },
];

/// What the statements are filled with.
pub(super) struct Names {
    pub(super) keyspace: String,
    /// The options of every table.
    options: String,
}

impl Names {
    /// `release`: the server's version. Before Cassandra 5.0 there is no UnifiedCompactionStrategy.
    pub(super) fn new(config: &Config, release: &str) -> Self {
        let major: u32 = release
            .split('.')
            .next()
            .and_then(|major| major.parse().ok())
            .unwrap_or_default();
        let compaction = if major >= 5 {
            "UnifiedCompactionStrategy"
        } else {
            "SizeTieredCompactionStrategy"
        };
        // Blocking read repair is the default; the fencing rests on it: a claim that is seen in a
        // reading is at a quorum when the reading returns.
        let options = format!(
            "compaction = {{'class': '{compaction}'}} AND compression = {{'class': 'LZ4Compressor', 'chunk_length_in_kb': 16}} \
             AND read_repair = 'BLOCKING'"
        );
        Self {
            keyspace: config.keyspace.clone(),
            options,
        }
    }
}

/// The keyspace.
pub(super) fn keyspace(config: &Config) -> String {
    let copies = config.copies();
    let copies: Vec<_> = copies
        .iter()
        .map(|(datacenter, copies)| format!(", '{datacenter}': {copies}"))
        .collect();
    let replication = format!("{{'class': 'NetworkTopologyStrategy'{}}}", copies.concat());
    format!(
        "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = {replication}",
        config.keyspace
    )
}

/// The lock of migrators. It has a fixed id, so that two nodes that create it at the same time
/// create the same table.
pub(super) fn lock(Names { keyspace, options }: &Names) -> String {
    let id = uuid::Uuid::from_u64_pair(fnv(keyspace, "migration"), fnv(keyspace, "lock"));
    format!(
        "CREATE TABLE IF NOT EXISTS {keyspace}.migration_lock (name text PRIMARY KEY, owner text) WITH id = {id} AND {options}"
    )
}

/// Which versions there are. Only who holds the lock creates it.
pub(super) fn versions(Names { keyspace, options }: &Names) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {keyspace}.schema_version (version int PRIMARY KEY, program text) WITH {options}"
    )
}

/// FNV-1a-64 of two texts.
fn fnv(first: &str, second: &str) -> u64 {
    let bytes = first.bytes().chain([b'/']).chain(second.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn first(names: &Names) -> Vec<String> {
    let Names { keyspace, options } = names;
    let tables = [
        // Settings that must never change: partition_size, shards.
        "metadata (name text PRIMARY KEY, value text) WITH",
        "fence (shard int PRIMARY KEY, epoch bigint, owner blob) WITH",
        "journal (room text, partition_nr bigint, seq bigint, epoch bigint, first_seq bigint, at bigint, event text, version int, \
         payload blob, changes frozen<list<blob>>, tags frozen<set<text>>, PRIMARY KEY ((room, partition_nr), seq, epoch)) \
         WITH CLUSTERING ORDER BY (seq ASC, epoch DESC) AND",
        "all_persistence_ids (room text PRIMARY KEY) WITH",
        "snapshots (room text, seq bigint, epoch bigint, number bigint, version int, chunks int, \
         PRIMARY KEY (room, seq, epoch, number)) WITH CLUSTERING ORDER BY (seq DESC, epoch DESC, number DESC) AND",
        "snapshot_chunks (room text, seq bigint, epoch bigint, number bigint, chunk int, content blob, \
         PRIMARY KEY ((room, seq, epoch, number), chunk)) WITH",
    ];
    tables
        .iter()
        .map(|table| format!("CREATE TABLE IF NOT EXISTS {keyspace}.{table} {options}"))
        .collect()
}

/// A reading repairs only the rows that it reads, so that the reading of a page that ends within a
/// commit would give a replica a part of what was written as a whole, and the walk of a later
/// opening would stop there. The journal needs whole commits, and no two readings that agree.
fn second(names: &Names) -> Vec<String> {
    vec![format!(
        "ALTER TABLE {}.journal WITH read_repair = 'NONE'",
        names.keyspace
    )]
}

/// How far each room is trimmed: `start` before the rows below it are deleted, `removed` after that.
/// Nothing is read below `start`, where only tombstones are.
fn third(names: &Names) -> Vec<String> {
    let Names { keyspace, options } = names;
    vec![format!(
        "CREATE TABLE IF NOT EXISTS {keyspace}.trims \
         (room text PRIMARY KEY, start bigint, removed bigint) WITH {options}"
    )]
}

/// Keys of names that no snapshot has. A row for each epoch that wrote the name, the highest first,
/// so that what a replaced owner writes late stands behind; within an epoch the number is the time
/// of writing.
fn fourth(names: &Names) -> Vec<String> {
    let Names { keyspace, options } = names;
    vec![format!(
        "CREATE TABLE IF NOT EXISTS {keyspace}.pins \
         (room text, generation bigint, bucket int, name text, epoch bigint, record blob, \
         PRIMARY KEY ((room, generation, bucket), name, epoch)) \
         WITH CLUSTERING ORDER BY (name ASC, epoch DESC) AND {options}"
    )]
}

/// Copies of events that something was erased of, in partitions as those of the journal: by epoch,
/// the highest first, since all of those before it go together. Within an epoch the number is the
/// time of writing. And which places count: `first` is noted before those below it are deleted,
/// `removed` after that, `epoch` before those of lower ones are.
fn fifth(names: &Names) -> Vec<String> {
    let Names { keyspace, options } = names;
    vec![
        format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.copies \
             (room text, partition_nr bigint, epoch bigint, seq bigint, at bigint, event text, \
             version int, payload blob, changes frozen<list<blob>>, \
             PRIMARY KEY ((room, partition_nr), epoch, seq)) \
             WITH CLUSTERING ORDER BY (epoch DESC, seq ASC) AND {options}"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {keyspace}.copied \
             (room text PRIMARY KEY, first bigint, below bigint, removed bigint, epoch bigint) \
             WITH {options}"
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::cassandra::Replication;

    #[test]
    fn unified_compaction_is_used_where_it_exists() {
        let statements = |release| first(&Names::new(&Config::default(), release)).concat();
        assert!(statements("5.0.8").contains("UnifiedCompactionStrategy"));
        assert!(!statements("4.1.12").contains("UnifiedCompactionStrategy"));
    }

    #[test]
    fn the_fence_is_repaired_by_readings_and_the_journal_is_not() {
        let names = Names::new(&Config::default(), "5.0.8");
        let fence = first(&names)
            .into_iter()
            .find(|statement| statement.contains(".fence "))
            .unwrap();
        assert!(fence.contains("read_repair = 'BLOCKING'"), "{fence}");
        let mut all = VERSIONS
            .iter()
            .flat_map(|version| (version.statements)(&names));
        let last = all.rfind(|statement| statement.contains(".journal "));
        assert_eq!(last.as_ref(), second(&names).first());
        assert!(second(&names)[0].contains("journal WITH read_repair = 'NONE'"));
    }

    #[test]
    fn copies_are_given_by_datacenter() {
        let replication =
            Replication::PerDatacenter([("datacenter1".into(), 3), ("other".into(), 2)].into());
        let statement = keyspace(&Config {
            replication,
            ..Config::default()
        });
        assert!(
            statement
                .ends_with("{'class': 'NetworkTopologyStrategy', 'datacenter1': 3, 'other': 2}"),
            "{statement}"
        );
    }
}
