//! What the commands that look at rooms or carry them say where something is not as they expect:
//! what is there instead, and what to do. None of them makes anything there.

use crate::{
    changed::{Scene, gets_in},
    cluster::Cluster,
    node::Ended,
    person::Person,
};
use async_nats::HeaderMap;
use futures::StreamExt;
use scylla::client::session_builder::SessionBuilder;
use serde_json::Value;
use std::{fs::File, path::Path, process::Stdio};

/// Every command, by a short name. `FILE` is a file of rooms.
const COMMANDS: [(&str, &[&str]); 7] = [
    ("inspect", &["journal", "inspect", "aaa"]),
    ("verify", &["journal", "verify", "aaa"]),
    ("export", &["journal", "export"]),
    ("import", &["journal", "import", "FILE"]),
    (
        "to-bus",
        &["journal", "copy", "--to", "bus", "--to-prefix", "never"],
    ),
    ("to-cassandra", &["journal", "copy", "--to", "cassandra"]),
    ("recover", &["journal", "recover"]),
];

const LOOKS: [&str; 3] = ["inspect", "verify", "export"];
const READS: [&str; 5] = ["inspect", "verify", "export", "to-bus", "to-cassandra"];

/// Runs commands one after the other, and notes each that does not fail with all of these words.
async fn refused(
    file: &str,
    at: (&str, &Cluster),
    commands: &[&str],
    parts: &[&str],
    wrong: &mut Vec<String>,
) {
    let (place, cluster) = at;
    for name in commands {
        let (_, words) = COMMANDS
            .iter()
            .find(|(of, _)| of == name)
            .expect("a command");
        let words: Vec<_> = words
            .iter()
            .map(|word| if *word == "FILE" { file } else { word })
            .collect();
        let ended = cluster.run(&words, &[]).await;
        let said = ended.stderr.trim_end().lines().last().unwrap_or_default();
        let fits = ended.code == Some(1) && parts.iter().all(|part| said.contains(part));
        println!("{place}, {name}: {:?}\n{}", ended.code, ended.stderr);
        if !fits {
            wrong.push(format!(
                "{place}, {name}: {parts:?} of {:?}: {}",
                ended.code, ended.stderr
            ));
        }
    }
}

async fn with_rooms(cluster: &Cluster, room: &str) {
    let mut node = cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, room, "harry", "key-harry").await;
    gets_in(&mut harry, "m1").await;
    drop(harry);
    node.kill().await;
}

/// Whether the keyspace of a cluster is there.
async fn is_there(cluster: &Cluster) -> bool {
    let address = cluster.cassandra_address().expect("Cassandra");
    let session = SessionBuilder::new().known_node(address).build().await;
    let text = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let found = session
        .expect("a session")
        .query_unpaged(text, (cluster.keyspace(),))
        .await;
    let found = found.expect("an answer").into_rows_result();
    found.expect("rows").rows_num() > 0
}

fn done(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_looks_in_a_wrong_place_is_told_what_is_there() {
    let Some(scene) = Scene::new("what operators are told").await else {
        return;
    };
    let Some(cassandra) = Cluster::cassandra("what operators are told") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("rooms.ndjson");
    let file = file.to_str().expect("UTF-8");
    let bus = scene.cluster.clone();
    let prefix = bus.prefix().to_owned();
    // Another cluster, on the same servers.
    let cassandra = cassandra.with_nats_at(bus.nats().into());
    let mut wrong = Vec::new();

    let nothing = [
        "no cluster has the prefix",
        "none has another",
        "bus.servers",
    ];
    refused(file, ("empty NATS", &bus), &LOOKS, &nothing, &mut wrong).await;
    with_rooms(&bus, "aaa").await;
    done(&bus.run(&["journal", "export"], &["--to", file]).await);
    with_rooms(&cassandra, "bbb").await;

    let mistyped = bus.clone().with_prefix("mistyped");
    let others = [
        "no cluster has the prefix mistyped",
        "bus.prefix, --prefix",
        &prefix,
    ];
    let reads = ["inspect", "verify", "export", "to-cassandra", "recover"];
    refused(
        file,
        ("wrong prefix", &mistyped),
        &reads,
        &others,
        &mut wrong,
    )
    .await;
    let mistyped = cassandra.clone().with_prefix("mistyped");
    let others = [
        "no cluster has the prefix mistyped",
        "Set bus.prefix to",
        cassandra.prefix(),
    ];
    let all = ["inspect", "verify", "export", "import", "to-bus"];
    refused(
        file,
        ("wrong prefix, Cassandra", &mistyped),
        &all,
        &others,
        &mut wrong,
    )
    .await;
    let looked = mistyped.run(&["doctor"], &[]).await;
    assert!(
        looked.code == Some(1) && looked.stdout.contains("Set bus.prefix to"),
        "{looked:?}"
    );
    let away = mistyped.with_cassandra_at("127.0.0.1:9".into());
    let parts = ["Cassandra does not answer at 127.0.0.1:9"];
    refused(
        file,
        ("Cassandra down", &away),
        &["import"],
        &parts,
        &mut wrong,
    )
    .await;
    assert_eq!(scene.operator.config("MISTYPED_CMD").await, None);

    let already = ["are on the bus already", &prefix, "journal export"];
    refused(file, ("bus", &bus), &["to-bus"], &already, &mut wrong).await;
    let nothing_else = ["are on the bus: there is nothing else"];
    refused(file, ("bus", &bus), &["recover"], &nothing_else, &mut wrong).await;
    let of_bus = cassandra.clone().with_prefix(&prefix);
    let kept = ["keeps its rooms on the bus", "journal.kind to bus"];
    let all = ["export", "import"];
    refused(
        file,
        ("Cassandra for the bus", &of_bus),
        &all,
        &kept,
        &mut wrong,
    )
    .await;
    let theirs = [
        "holds the rooms of cluster",
        "Set bus.prefix to",
        cassandra.prefix(),
    ];
    refused(
        file,
        ("another's keyspace", &of_bus),
        &["to-cassandra"],
        &theirs,
        &mut wrong,
    )
    .await;

    let on_bus = cassandra.clone().on_the_bus();
    let kept = ["keeps its rooms in Cassandra", "journal.kind to cassandra"];
    let all = ["inspect", "verify", "export", "import"];
    refused(
        file,
        ("bus for Cassandra", &on_bus),
        &all,
        &kept,
        &mut wrong,
    )
    .await;
    let already = ["are in Cassandra already", "journal export"];
    refused(
        file,
        ("Cassandra", &cassandra),
        &["to-cassandra"],
        &already,
        &mut wrong,
    )
    .await;
    let nowhere = format!("{}n", cassandra.keyspace());
    let named = format!("keyspace {nowhere}");
    let nowhere = cassandra.clone().with_keyspace(&nowhere);
    let keyspace = ["in the keyspace with the id", &named, "cassandra.keyspace"];
    let all = ["inspect", "verify", "export", "to-bus"];
    refused(
        file,
        ("no such keyspace", &nowhere),
        &all,
        &keyspace,
        &mut wrong,
    )
    .await;
    refused(
        file,
        ("no such keyspace", &nowhere),
        &["import", "recover"],
        &keyspace,
        &mut wrong,
    )
    .await;
    // Nothing is made there, and nobody is told to make it.
    let flags = ["--http-port", "0", "--internal-port", "0"];
    let served = nowhere.run(&["serve"], &flags).await;
    let looked = nowhere.run(&["doctor"], &[]).await;
    for ended in [&served, &looked] {
        let said = format!("{}{}", ended.stdout, ended.stderr);
        let is_told = keyspace.iter().all(|part| said.contains(part));
        assert!(ended.code == Some(1) && is_told, "{ended:?}");
        assert!(!said.contains("safe-chat migrate"), "{ended:?}");
        assert!(!said.contains("nothing keeps a node"), "{ended:?}");
    }
    assert!(!is_there(&nowhere).await, "a keyspace was made");
    // A keyspace of the cluster in which its rooms are not.
    let abandoned = cassandra
        .clone()
        .with_keyspace(&format!("{}x", cassandra.keyspace()));
    with_rooms(&abandoned.clone().with_prefix(&format!("{prefix}y")), "ccc").await;
    let keyspace = [
        "in the Cassandra keyspace with the id",
        "cassandra.keyspace",
    ];
    refused(
        file,
        ("another keyspace", &abandoned),
        &["inspect", "verify", "export", "to-bus", "import", "recover"],
        &keyspace,
        &mut wrong,
    )
    .await;
    let looked = abandoned.run(&["doctor"], &[]).await;
    assert!(
        looked.code == Some(1) && looked.stdout.contains(keyspace[0]),
        "{looked:?}"
    );
    let few = cassandra.run(&["doctor"], &["--shards", "32"]).await;
    assert!(
        few.code == Some(1) && few.stdout.contains("has 16 shards"),
        "{few:?}"
    );

    let down = "127.0.0.1:9";
    let away = cassandra.clone().with_cassandra_at(down.into());
    let parts = ["Cassandra does not answer at 127.0.0.1:9"];
    refused(
        file,
        ("Cassandra down", &away),
        &["verify", "export", "import"],
        &parts,
        &mut wrong,
    )
    .await;
    let away = bus.clone().with_nats_at(format!("nats://{down}"));
    let parts = ["no connection to NATS at 127.0.0.1:9"];
    refused(file, ("NATS down", &away), &READS, &parts, &mut wrong).await;
    let away = cassandra.clone().with_nats_at(format!("nats://{down}"));
    refused(
        file,
        ("NATS down", &away),
        &["import", "recover"],
        &parts,
        &mut wrong,
    )
    .await;
    // Rooms in Cassandra can be saved without the bus.
    let saved = away.run(&["journal", "export"], &[]).await;
    done(&saved);
    assert!(
        saved.stderr.contains("make sure that none of its nodes"),
        "{saved:?}"
    );

    for ended in [
        bus.run(&["journal", "verify", "aab"], &[]).await,
        cassandra.run(&["journal", "verify", "aab"], &[]).await,
    ] {
        let said = &ended.stderr;
        let told = said.contains("room aab does not exist") && said.contains("such as");
        assert!(ended.code == Some(1) && told, "{ended:?}");
    }
    let key = scene.key("SHARDS", "settings");
    let stored = scene.operator.last(&scene.bucket("SHARDS"), &key).await;
    let mut settings: Value = serde_json::from_str(&stored).expect("JSON");
    settings["incomplete"] = true.into();
    settings["import"] = "0198c0de-0000-7000-8000-000000000000".into();
    let put = async |settings: &Value| {
        scene
            .operator
            .store(&key, HeaderMap::new(), &settings.to_string())
            .await
    };
    put(&settings).await;
    let half = ["has begun and not come to its end", "run it again"];
    refused(file, ("incomplete", &bus), &["export"], &half, &mut wrong).await;
    let ended = bus.run(&["journal", "verify", "aab"], &[]).await;
    assert!(ended.stderr.contains("room aab is not on the bus") && ended.stderr.contains(half[0]));
    done(&bus.run(&["journal", "verify", "aaa"], &[]).await);
    settings["incomplete"] = false.into();
    settings["moved"] = "0198c0de-0000-7000-8000-000000000000".into();
    put(&settings).await;
    let moved = ["were moved", "set bus.prefix to its prefix"];
    let all = ["inspect", "verify", "export", "import"];
    refused(file, ("moved", &bus), &all, &moved, &mut wrong).await;
    let looked = bus.run(&["doctor"], &[]).await;
    assert!(
        looked.code == Some(1) && looked.stdout.contains("were moved"),
        "{looked:?}"
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_read_or_written_is_named_and_nothing_is_left_of_it() {
    let Some(scene) = Scene::new("files of rooms").await else {
        return;
    };
    let bus = &scene.cluster;
    with_rooms(bus, "aaa").await;
    let folder = tempfile::tempdir().expect("a directory");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (here, absent) = (path("."), path("absent/rooms"));
    for (words, parts) in [
        (
            ["journal", "import", &here],
            ["is a directory", "journal export"],
        ),
        (
            ["journal", "import", &absent],
            ["absent/rooms", "No such file"],
        ),
    ] {
        let ended = bus.run(&words, &[]).await;
        let told = parts.iter().all(|part| ended.stderr.contains(part));
        assert!(ended.code == Some(1) && told, "{ended:?}");
    }
    for (to, parts) in [
        (&here, ["is a directory", "name a file in it"]),
        (&absent, ["cannot be made", "No such file"]),
    ] {
        let ended = bus.run(&["journal", "export"], &["--to", to]).await;
        let told = parts.iter().all(|part| ended.stderr.contains(part));
        assert!(ended.code == Some(1) && told, "{ended:?}");
    }
    let mut full = bus.command(&["journal", "export"], &[]);
    full.stdout(File::create("/dev/full").expect("a full disk"));
    full.stderr(Stdio::piped());
    let full = full.spawn().expect("the program");
    let ended = full.wait_with_output().await.expect("an end");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(
        !ended.status.success() && said.contains("stdout: No space left"),
        "{said}"
    );
    // No file may be as large as this one becomes.
    let to = path("rooms.ndjson");
    let mut large = bus.command(&["journal", "export"], &["--to", &to]);
    let program = large.as_std().get_program().to_owned();
    let args: Vec<_> = large
        .as_std()
        .get_args()
        .map(|arg| arg.to_owned())
        .collect();
    large = tokio::process::Command::new("sh");
    large
        .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"])
        .arg(program)
        .args(args);
    let ended = large.output().await.expect("the program");
    let said = String::from_utf8_lossy(&ended.stderr);
    let told = said.contains("was removed") && said.contains("File too large");
    assert!(!ended.status.success() && told, "{said}");
    assert!(!Path::new(&to).exists(), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_begins_a_cluster_says_first_that_rooms_are_missing() {
    let Some(scene) = Scene::new("an import that begins a cluster").await else {
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("rooms.ndjson");
    let file = file.to_str().expect("UTF-8");
    with_rooms(&scene.cluster, "aaa").await;
    done(
        &scene
            .cluster
            .run(&["journal", "export"], &["--to", file])
            .await,
    );
    // Whatever is noted there, from the first on: whoever is killed leaves it so.
    let client = async_nats::connect(scene.cluster.nats())
        .await
        .expect("a connection");
    let mut noted = client
        .subscribe("$KV.BEGUN_SHARDS.settings")
        .await
        .expect("subscribed");
    client.flush().await.expect("sent");
    let begun = scene.cluster.clone().with_prefix("begun");
    done(&begun.run(&["journal", "import", file], &[]).await);
    let first = noted.next().await.expect("a record");
    let first: Value = serde_json::from_slice(&first.payload).expect("JSON");
    assert_eq!(first["incomplete"], true, "{first}");
}
