//! `safe-chat admin`, and what it shows of rooms, sessions and shards.

use crate::{
    manage::{BOTH, ask, get, two},
    members::settled,
    person::Person,
    support::{Cluster, Node, eventually},
};
use reqwest::Method;
use safe_chat::bus::Role;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    process::{Output, Stdio},
};
use tokio::io::AsyncWriteExt;

/// Runs the command against a node; the environment has the password.
async fn admin(node: &Node, args: &[&str]) -> Output {
    types(node, args, "").await
}

/// The same, by somebody who types this then.
pub(crate) async fn types(node: &Node, args: &[&str], typed: &str) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_safe-chat"));
    command
        .env_clear()
        .env("SAFE_CHAT_OPS__PASSWORD", "safe-chat");
    command.env("SAFE_CHAT_ADMIN_AT", node.internal_address().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let mut running = command.arg("admin").args(args).spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    // It may end without having read that.
    let _ = stdin.write_all(typed.as_bytes()).await;
    drop(stdin);
    running.wait_with_output().await.unwrap()
}

pub(crate) async fn shows(node: &Node, args: &[&str]) -> String {
    let output = admin(node, args).await;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        (output.status.code(), &*complaint),
        (Some(0), ""),
        "{args:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) async fn fails(node: &Node, args: &[&str], code: i32, with: &str) {
    let output = admin(node, args).await;
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {complaint}");
    assert!(complaint.contains(with), "{args:?}: {complaint}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_looks_at_a_cluster_from_a_terminal() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    let mut charly = Person::joins(&second, "bbb", "charly", "").await;
    harry.says("m1", "Hello").await;
    harry.reads_until(2).await;
    charly.reads_until(1).await;

    settled(&second, 2).await;
    let members = shows(&second, &["members"]).await;
    let address = format!("safe-chat@{}", first.internal_address());
    let line = members.lines().find(|line| line.starts_with(&address));
    let line = line.expect("a line for each member");
    assert!(
        line.contains("first   Up      yes        gateway,writer"),
        "{members}"
    );
    let shards = shows(&first, &["shards"]).await;
    assert!(
        shards.contains("SHARD  OWNER") && shards.contains("of 4 shards"),
        "{shards}"
    );
    // In the order of their shards.
    let rooms = shows(&second, &["rooms", "--limit", "1"]).await;
    assert!(
        rooms.contains("bbb") && rooms.contains("more: --after bbb"),
        "{rooms}"
    );
    let rest = shows(&second, &["rooms", "--after", "bbb"]).await;
    assert!(rest.contains("aaa") && !rest.contains("bbb"), "{rest}");
    let room = shows(&second, &["room", "aaa"]).await;
    for fact in [
        "head           2",
        "content bytes  5",
        "members        harry",
        &address,
        "Z\n",
    ] {
        assert!(room.contains(fact), "{fact}:\n{room}");
    }
    let json: Value =
        serde_json::from_str(&shows(&second, &["--json", "room", "aaa"]).await).unwrap();
    assert_eq!(json["sessions"][0]["user"], "harry");
    assert_eq!(json["last_commit"]["seq"], 2);

    let nobodys = "room aab does not exist: nothing was ever written to it";
    fails(&second, &["room", "aab"], 1, nobodys).await;
    fails(&second, &["--json", "room", "aab"], 1, nobodys).await;

    let kicked = shows(&second, &["kick", "aaa", "harry"]).await;
    assert_eq!(kicked, "harry has left room aaa\n");
    assert_eq!(harry.is_closed().await, 4001);
    fails(&first, &["room", "a.b"], 1, "error: ").await;
    fails(&first, &["leave", "nobody"], 1, "Member [nobody] not found").await;
    fails(&first, &["leave"], 2, "NODE").await;
    fails(&first, &["--user", "me", "members"], 1, "log in").await;
    fails(
        &first,
        &["--at", "127.0.0.1:1", "members"],
        3,
        "does not answer",
    )
    .await;

    let leaving = shows(&first, &["leave", "second"]).await;
    assert_eq!(
        leaving,
        format!("Leaving safe-chat@{}\n", second.internal_address())
    );
    second.unwanted().cancelled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_sent_elsewhere_at_a_pace_and_the_node_goes_on() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let mut people = Vec::new();
    for n in 0..6 {
        people.push(Person::joins(&first, "aaa", &format!("user{n}"), "").await);
    }
    let mut stays = Person::joins(&second, "aaa", "stays", "").await;
    let path = format!("/disconnect?node={}&rate=60", first.internal_address());
    let (status, answer) = ask(&second, Method::POST, &path).await;
    assert_eq!(
        (status, &answer["nodes"][0]["sessions"]),
        (200, &json!(6)),
        "{answer}"
    );
    let since = tokio::time::Instant::now();
    for person in &mut people {
        let delay = person.is_told_to_come_back().await;
        assert!((500..=1_500).contains(&delay), "{delay}");
    }
    assert!(since.elapsed().as_millis() < 10_000);
    Person::joins(&first, "aaa", "again", "").await;
    stays.says("m1", "still here").await;
    eventually("it may be done again", async || {
        ask(&first, Method::POST, &path).await.1["nodes"][0]["sessions"].is_u64()
    })
    .await;
    for query in [
        "",
        "?all=true&node=first",
        "?all=true&rate=0",
        "?node=first&rate=x",
    ] {
        let path = format!("/disconnect{query}");
        assert_eq!(ask(&first, Method::POST, &path).await.0, 400, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_for_all_gateways_is_one_over_the_cluster() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    settled(&first, 2).await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    let mut charly = Person::joins(&second, "aaa", "charly", "").await;
    let path = "/disconnect?all=true&rate=1";
    let (status, answer) = ask(&first, Method::POST, path).await;
    assert_eq!((status, &answer["per_second"]), (200, &json!(1)));
    for node in answer["nodes"].as_array().unwrap() {
        assert_eq!(node["per_second"], 0.5, "{answer}");
    }
    // Both are sent away, the rate being less than one per second and gateway.
    harry.is_told_to_come_back().await;
    charly.is_told_to_come_back().await;
    eventually("it may be done again", async || {
        let shown = shows(&first, &["disconnect", "--all", "--rate", "60"]).await;
        assert!(shown.ends_with("60 per second in all\n"), "{shown}");
        shown.matches("  30").count() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_a_writer_is_told_that_none_lives_and_what_to_do() {
    let cluster = Cluster::new(4);
    let gateway = cluster.node("gateway", &[Role::Gateway]).await;
    let writer = cluster.node("writer", &[Role::Writer]).await;
    gateway.ready().await;
    writer.ready().await;
    settled(&gateway, 2).await;
    let mut harry = Person::joins(&gateway, "aaa", "harry", "").await;
    harry.reads_until(1).await;
    writer.drain().await;
    settled(&gateway, 1).await;

    let none = "no node with the role `writer` lives";
    for args in [
        &["room", "aaa"][..],
        &["kick", "aaa", "harry"],
        &["rebalance", "--dry-run"],
        &["rebalance"],
    ] {
        fails(&gateway, args, 3, none).await;
        fails(&gateway, args, 3, "start one").await;
    }
    let stats = get(&gateway, "/cluster/shards/chat-rooms/stats").await;
    let expected = json!({"regions": [], "failed": ["0", "1", "2", "3"], "nodes": []});
    assert_eq!(stats, expected);
    let shards = shows(&gateway, &["shards"]).await;
    assert!(shards.contains("nobody answers for 4 of them"), "{shards}");

    // Clients, too, are told at once: nobody would answer until their deadline.
    let clients = gateway.client_address().unwrap();
    let page = reqwest::get(format!("http://{clients}/rooms/bbb/history")).await;
    let page = page.unwrap();
    assert_eq!(
        (
            page.status().as_u16(),
            page.headers()["retry-after"].to_str().unwrap()
        ),
        (503, "5")
    );
    let refused: Value = page.json().await.unwrap();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("no node that writes rooms"), "{refused}");
    // What is open here is known here.
    let page = reqwest::get(format!("http://{clients}/rooms/aaa/history")).await;
    assert_eq!(page.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_are_made_even_and_stay_so_until_a_node_leaves() {
    let cluster = Cluster::new(16);
    let (first, second) = two(&cluster).await;
    let third = cluster.node("third", &[Role::Writer]).await;
    third.ready().await;
    let counts = async || {
        let mut counts = BTreeMap::new();
        for owner in cluster.owners().await {
            *counts.entry(owner).or_insert(0) += 1;
        }
        let mut counts: Vec<i32> = counts.into_values().collect();
        counts.sort_unstable();
        counts
    };
    eventually("all have shards", async || {
        counts().await.iter().sum::<i32>() == 16
    })
    .await;
    let dry = get_moves(&first, "?dry_run=true").await;
    assert_eq!(dry["begun"], false);
    let begun = get_moves(&first, "?rate=100").await;
    assert_eq!(begun["moves"], dry["moves"]);
    eventually("they are even", async || counts().await == [5, 5, 6]).await;
    eventually("there is nothing more to move", async || {
        get_moves(&second, "?dry_run=true").await["moves"] == json!([])
    })
    .await;
    third.drain().await;
    eventually("others have its shards", async || {
        let counts = counts().await;
        counts.len() == 2 && counts.iter().sum::<i32>() == 16
    })
    .await;
    assert_eq!(ask(&first, Method::POST, "/rebalance?rate=0").await.0, 400);
}

async fn get_moves(node: &Node, query: &str) -> Value {
    let (status, answer) = ask(node, Method::POST, &format!("/rebalance{query}")).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_traced_through_all_nodes_hop_by_hop_without_what_it_says() {
    let cluster = Cluster::new(4);
    let gateways = ["first", "second"].map(|name| cluster.node(name, &[Role::Gateway]));
    let [first, second] = gateways;
    let (first, second) = (first.await, second.await);
    let writer = cluster.node("writer", &[Role::Writer]).await;
    for node in [&first, &second, &writer] {
        node.ready().await;
    }
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    let mut charly = Person::joins(&second, "aaa", "charly", "").await;
    let mut elsewhere = Person::joins(&second, "bbb", "sam", "").await;
    let url = format!(
        "http://{}/trace?room=aaa&seconds=60",
        second.internal_address()
    );
    let request = reqwest::Client::new().get(url);
    let trace = request.basic_auth("admin", Some("safe-chat")).send().await;
    let mut trace = trace.unwrap();
    assert_eq!(trace.status(), 200);
    // A trace begins with its first look at all nodes; one that was asked for later has ended.
    get_text(&second, "/trace?room=zzz&seconds=1").await;
    harry.says("m1", "very secret").await;
    elsewhere.says("m2", "of another room").await;
    charly.reads_until(3).await;
    let mut text = String::new();
    while text.matches("\"id\":\"m1\"").count() < 7 {
        let piece = trace.chunk().await.unwrap().expect("more steps");
        text += std::str::from_utf8(&piece).unwrap();
    }
    assert!(!text.contains("secret") && !text.contains("m2"), "{text}");
    let steps: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of_message = steps.iter().filter(|step| step["id"] == "m1");
    let mut hops: Vec<_> = of_message
        .map(|step| {
            (
                step["hop"].as_str().unwrap(),
                step["node"].as_str().unwrap(),
            )
        })
        .collect();
    hops.sort_unstable();
    let at = |node: &Node| format!("safe-chat@{}", node.internal_address());
    let (one, two, owner) = (at(&first), at(&second), at(&writer));
    let mut expected = vec![
        ("decided", &*owner),
        ("delivered", &*one),
        ("delivered", &*two),
        ("journaled", &*owner),
        ("published", &*owner),
        ("received", &*one),
        ("stored", &*one),
    ];
    expected.sort_unstable();
    assert_eq!(hops, expected, "{text}");
    assert_eq!(ask(&first, Method::GET, "/trace").await.0, 400);
}

async fn get_text(node: &Node, path: &str) -> String {
    let url = format!("http://{}{path}", node.internal_address());
    let request = reqwest::Client::new().get(url);
    let answer = request.basic_auth("admin", Some("safe-chat")).send().await;
    answer.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_listed_page_by_page() {
    let cluster = Cluster::new(4);
    let node = cluster.node("first", &BOTH).await;
    node.ready().await;
    for room in ["ccc", "aaa", "bbb"] {
        Person::joins(&node, room, "harry", "").await;
    }
    let (mut after, mut rooms) = (String::new(), Vec::new());
    loop {
        let page = get(&node, &format!("/rooms?limit=2&after={after}")).await;
        let all = page["rooms"].as_array().unwrap();
        rooms.extend(
            all.iter()
                .map(|room| room["room"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    rooms.sort();
    assert_eq!(rooms, ["aaa", "bbb", "ccc"]);
    for query in ["limit=0", "limit=1001", "limit=x", "after=a.b"] {
        let path = format!("/rooms?{query}");
        assert_eq!(ask(&node, Method::GET, &path).await.0, 400, "{query}");
    }
}
