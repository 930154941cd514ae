//! Operators of different roles at a node: what each may do, what is written down of it, and what
//! becomes of it when the file changes or somebody guesses.

use crate::{
    cluster::{Cluster, eventually},
    node::Node,
    person::Person,
};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

const ALICE: (&str, &str) = ("alice", "staple battery 9");
const BOB: (&str, &str) = ("bob", "horse correct 10");

/// The line of an operator, as the program makes it.
fn line((name, password): (&str, &str), role: &str) -> String {
    let mut made = Command::new(env!("CARGO_BIN_EXE_safe-chat"))
        .args(["operators", "hash", name, role])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut stdin = made.stdin.take().expect("a pipe");
    stdin.write_all(password.as_bytes()).expect("it reads");
    drop(stdin);
    let output = made.wait_with_output().expect("an end");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("text")
}

fn write(path: &Path, lines: &[&str]) {
    fs::write(path, lines.concat()).expect("a file");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("its mode");
}

async fn ask(
    node: &Node,
    (name, password): (&str, &str),
    method: Method,
    path: &str,
) -> (StatusCode, reqwest::Response) {
    let url = format!("{}{path}", node.internal_url());
    let request = Client::new().request(method, url);
    let answer = request.basic_auth(name, Some(password)).send().await;
    let answer = answer.expect("an answer");
    (answer.status(), answer)
}

/// Every request of the document of a node, with what it needs: a role.
async fn requests(node: &Node) -> Vec<(Method, String, String)> {
    let document: Value = serde_json::from_str(&node.internal("openapi.json").await).expect("JSON");
    let mut requests = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("paths") {
        let path = ["{member}", "{room}", "{user}", "{region}"]
            .iter()
            .fold(path.clone(), |path, part| path.replace(part, "nobody"));
        for (method, operation) in operations.as_object().expect("operations") {
            if let Some(role) = operation["security"][0]["operator"][0].as_str() {
                let method = method.to_uppercase().parse().expect("a method");
                requests.push((method, path.clone(), role.to_owned()));
            }
        }
    }
    requests
}

/// The lines about what operators did.
fn audit(node: &Node) -> Vec<Value> {
    let lines = node.logs();
    let lines = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines
        .filter(|line| line["target"] == "safe_chat::audit")
        .collect()
}

pub(crate) async fn each_does_what_its_role_allows_and_it_is_written_down(cluster: Cluster) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("operators");
    let [alice, bob] = [line(ALICE, "operate"), line(BOB, "read")];
    write(&file, &["# people\n", &alice, &bob]);
    // What operators did is logged whatever the level is.
    let cluster = cluster
        .with("SAFE_CHAT_OPS__OPERATORS_FILE", &file.display().to_string())
        .with("SAFE_CHAT_LOG__LEVEL", "error");
    let (first, mut second) = tokio::join!(
        cluster.node_with("first", &["--log", "json"]),
        cluster.node_with("second", &["--log", "json"])
    );

    // Whatever there is to ask: who may look does that, and nothing more.
    let requests = requests(&first).await;
    assert!(requests.len() > 20, "{requests:?}");
    let mut refused = 0;
    for (method, path, role) in &requests {
        let (status, answer) = ask(&first, BOB, method.clone(), path).await;
        let looks = method == Method::GET && path != "/trace";
        assert_eq!(looks, role == "read", "{method} {path}");
        assert_ne!(status, 401, "{method} {path}");
        assert_eq!(status == 403, !looks, "{method} {path}: {status}");
        if !looks {
            refused += 1;
            let why = answer.text().await.expect("text");
            assert!(why.contains("bob may look, and do nothing"), "{why}");
        }
    }
    assert_eq!(
        ask(&first, ("admin", "safe-chat"), Method::GET, "/nodes")
            .await
            .0,
        401
    );

    // Everything for whom that is: here, and at the other node through this one.
    let mut harry = Person::joins_in_json(&first, "aaa", "harry", "k1").await;
    harry.events_until(1).await;
    let (status, _) = ask(&first, ALICE, Method::DELETE, "/rooms/aaa/users/harry").await;
    assert_eq!(status, 200);
    let path = "/rooms/a%0Ab/users/x%20y?why=noise";
    let (status, _) = ask(&first, ALICE, Method::DELETE, path).await;
    assert_eq!(status, 400);
    eventually("the nodes see each other", async || {
        let (_, answer) = ask(&first, BOB, Method::GET, "/cluster/members").await;
        let members: Value = answer.json().await.unwrap_or_default();
        members["members"]
            .as_array()
            .is_some_and(|all| all.len() == 2)
    })
    .await;
    let (status, _) = ask(&first, ALICE, Method::DELETE, "/cluster/members/second").await;
    assert_eq!(status, 200);
    assert!(second.ended().await.success());

    let lines = audit(&first);
    let of = |name: &str| -> Vec<&Value> {
        lines
            .iter()
            .filter(|line| line["operator"] == name)
            .collect()
    };
    assert_eq!(of("bob").len(), refused, "{lines:#?}");
    for line in of("bob") {
        assert_eq!(
            (&line["status"], &line["role"]),
            (&403.into(), &"read".into()),
            "{line}"
        );
    }
    let [kick, bad, leave] = of("alice")[..] else {
        panic!("{lines:#?}");
    };
    let facts = |line: &Value| {
        ["role", "method", "route", "room", "user", "status"].map(|name| line[name].clone())
    };
    let route = "/rooms/{room}/users/{user}";
    let expected = |room: &str, user: &str, status: u16| -> [Value; 6] {
        [
            "operate".into(),
            "DELETE".into(),
            route.into(),
            room.into(),
            user.into(),
            status.into(),
        ]
    };
    assert_eq!(facts(kick), expected("aaa", "harry", 200));
    assert_eq!(bad["query"], "why=noise");
    assert!(
        kick["peer"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{kick}"
    );
    assert!(kick["duration_ms"].is_u64(), "{kick}");
    assert_eq!(facts(bad), expected("a\\nb", "x y", 400));
    assert_eq!(
        [&leave["operation"], &leave["route"], &leave["member"]],
        [
            &Value::from("leave"),
            &"/cluster/members/{member}".into(),
            &"second".into()
        ]
    );
    let obeyed = audit(&second);
    let first_at = first.internal_url().replacen("http://", "safe-chat@", 1);
    let facts = |line: &Value| ["order", "by", "operator"].map(|name| line[name].clone());
    let obeyed: Vec<_> = obeyed.iter().map(facts).collect();
    assert_eq!(obeyed, [["leave", &*first_at, "alice"].map(Value::from)]);
    assert!(!first.logs().contains(ALICE.1) && !first.logs().contains("argon2id"));

    the_file_changes(&first, &file, [&alice, &bob]).await;
    guesses_keep_only_their_own_address_out(&first).await;
}

async fn the_file_changes(node: &Node, file: &Path, [alice, bob]: [&str; 2]) {
    let may_act = async || {
        let path = "/rebalance?dry_run=true";
        ask(node, BOB, Method::POST, path).await.0.is_success()
    };
    assert!(!may_act().await);
    write(file, &[alice, &bob.replacen(":read:", ":operate:", 1)]);
    node.signal("-HUP").await;
    eventually("bob may act", may_act).await;
    // What cannot be used changes nothing, and is told without what stands in it.
    write(file, &[alice, "bob:root:geheim\n"]);
    node.signal("-HUP").await;
    node.warned("line 2: the role must be read or operate")
        .await;
    assert!(may_act().await && !node.internal("ready").await.contains("geheim"));
    write(file, &[bob]);
    node.signal("-HUP").await;
    eventually("alice is gone", async || {
        ask(node, ALICE, Method::GET, "/nodes").await.0 == 401
    })
    .await;
    assert!(!may_act().await, "bob may look again");
}

async fn guesses_keep_only_their_own_address_out(node: &Node) {
    let url = format!("{}/nodes", node.internal_url());
    let from = |address: &str| {
        let client = Client::builder().local_address(address.parse::<std::net::IpAddr>().unwrap());
        client.build().expect("a client")
    };
    let status = async |client: &Client, password: &str, cookie: &str| {
        let request = client.get(&url).basic_auth(BOB.0, Some(password));
        let answer = request.header("cookie", cookie).send().await;
        answer.expect("an answer")
    };
    let guesser = from("127.0.0.2");
    let right = status(&guesser, BOB.1, "").await;
    assert_eq!(right.status(), 200);
    let pass = right.headers()["set-cookie"].to_str().unwrap().to_owned();
    assert!(
        pass.contains("HttpOnly") && pass.contains("SameSite=Strict"),
        "{pass}"
    );
    // Not how many: hashes take the time that they take.
    eventually("a guesser is not heard", async || {
        status(&guesser, "guess", "").await.status() == 429
    })
    .await;
    // As others from there, who are not told apart from it; but for their pass.
    assert_eq!(status(&guesser, BOB.1, &pass).await.status(), 200);
    assert_eq!(status(&from("127.0.0.3"), BOB.1, "").await.status(), 200);
}
