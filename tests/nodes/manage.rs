//! Management of nodes: what operators see and do, at whichever node.

use crate::{
    person::Person,
    support::{Cluster, Node, eventually},
};
use safe_chat::bus::Role;
use serde_json::{Value, json};

pub(crate) const BOTH: [Role; 2] = [Role::Gateway, Role::Writer];

pub(crate) async fn ask(node: &Node, method: reqwest::Method, path: &str) -> (u16, Value) {
    let request =
        reqwest::Client::new().request(method, format!("http://{}{path}", node.internal_address()));
    let answer = request
        .basic_auth("admin", Some("safe-chat"))
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

pub(crate) async fn get(node: &Node, path: &str) -> Value {
    let (status, answer) = ask(node, reqwest::Method::GET, path).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

pub(crate) async fn two(cluster: &Cluster) -> (Node, Node) {
    let (first, second) = (
        cluster.node("first", &BOTH).await,
        cluster.node("second", &BOTH).await,
    );
    first.ready().await;
    second.ready().await;
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_nodes_shards_and_rooms() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    eventually("both nodes own shards", async || {
        let shards = get(&first, "/shards").await;
        let shards = shards["shards"].as_array().unwrap().clone();
        shards.len() == 4
            && shards.iter().all(|shard| {
                shard["owner"]["node"].is_string()
                    && shard["epoch"].as_u64() > Some(0)
                    && shard["floor"].is_u64()
            })
    })
    .await;
    let nodes = get(&second, "/nodes").await;
    let mut names: Vec<_> = nodes["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| (node["name"].clone(), node["this"].clone()))
        .collect();
    names.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(
        names,
        [
            (json!("first"), json!(false)),
            (json!("second"), json!(true))
        ]
    );

    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    harry.says("m1", "Hello").await;
    harry.reads_until(2).await;
    let room = get(&second, "/rooms/aaa").await;
    assert_eq!(
        (&room["head"], &room["members"], &room["room"]),
        (&json!(2), &json!(["harry"]), &json!("aaa"))
    );
    assert!(
        room["owner"]["node"].is_string() && room["shard"].is_u64() && room["epoch"].is_u64(),
        "{room}"
    );
    assert_eq!(
        get(&first, "/rooms/aaa/sessions").await["sessions"][0]["user"],
        "harry"
    );
    assert_eq!(
        get(&second, "/rooms/aaa/sessions").await["sessions"],
        json!([])
    );
    assert_eq!(ask(&first, reqwest::Method::GET, "/rooms/a.b").await.0, 400);
    let open = reqwest::get(format!("http://{}/nodes", first.internal_address()))
        .await
        .unwrap();
    assert_eq!(
        (
            open.status().as_u16(),
            open.headers().contains_key("www-authenticate")
        ),
        (401, true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_ends_the_sessions_of_a_user_at_whichever_node() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let mut here = Person::joins(&first, "aaa", "harry", "").await;
    let mut there = Person::joins(&second, "aaa", "harry", "").await;
    let mut charly = Person::joins(&second, "aaa", "charly", "").await;
    let mut elsewhere = Person::joins(&second, "bbb", "harry", "").await;
    let (status, answer) = ask(&second, reqwest::Method::DELETE, "/rooms/aaa/users/harry").await;
    assert_eq!(
        (status, &answer["was_member"]),
        (200, &json!(true)),
        "{answer}"
    );
    assert_eq!(
        (here.is_closed().await, there.is_closed().await),
        (4001, 4001)
    );
    assert_eq!(charly.reads_until(3).await.last().unwrap().kind, "left");
    elsewhere.says("m1", "still here").await;
    elsewhere.reads_until(2).await;
    assert_eq!(
        get(&first, "/rooms/aaa").await["members"],
        json!(["charly"])
    );
    let (status, answer) = ask(&first, reqwest::Method::DELETE, "/rooms/aaa/users/harry").await;
    assert_eq!(
        (status, &answer["was_member"]),
        (200, &json!(false)),
        "again: it is so already"
    );
}

/// The answer to it, and that it names what was not understood.
async fn refused(node: &Node, method: reqwest::Method, path: &str, named: &str) {
    let (status, answer) = ask(node, method.clone(), path).await;
    let message = answer["message"].as_str().unwrap();
    let is_named = message.contains(&format!("no parameter `{named}`"));
    assert!(
        status == 400 && is_named,
        "{method} {path}: {status} {answer}"
    );
    assert_eq!(answer["error"]["reason"], "bad_query", "{method} {path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_a_route_does_not_have_is_refused_and_nothing_is_done() {
    use reqwest::Method;
    let cluster = Cluster::new(4);
    let node = cluster.node("first", &BOTH).await;
    node.ready().await;
    let mut harry = Person::joins(&node, "aaa", "harry", "").await;
    harry.says("m1", "Hello").await;
    harry.reads_until(2).await;
    let before = get(&node, "/rooms/aaa").await["head"].clone();
    // Every route that changes something, as the document has them; not one may be forgotten.
    let document = get(&node, "/openapi.json").await;
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let tag = operation["tags"][0].as_str().unwrap();
            let method: Method = method.to_uppercase().parse().unwrap();
            let asks = method == Method::GET && (path != "/trace" && tag == "cluster");
            if asks || tag == "health" || path == "/" {
                continue;
            }
            let path = path.replace("{room}", "aaa").replace("{user}", "harry");
            let path = path
                .replace("{member}", "first")
                .replace("{region}", "chat-rooms");
            refused(&node, method, &format!("{path}?usr=harry"), "usr").await;
            routes += 1;
        }
    }
    assert!(routes >= 17, "{routes}");
    refused(&node, Method::PUT, "/cluster/?a=1", "a").await;
    refused(&node, Method::DELETE, "/rooms/aaa?user=harry", "user").await;
    let (erased, before_seq) = ("/rooms/aaa/users/harry/messages?before=3", "before");
    refused(&node, Method::DELETE, erased, before_seq).await;
    assert_eq!(get(&node, "/rooms/aaa").await["head"], before);
    // What asks as Akka has it, and scrapes, bring what they like.
    get(&node, "/cluster/members?verbose=1").await;
    get(&node, "/rooms?after=a&limit=3").await;
    harry.says("m2", "still here").await;
    harry.reads_until(3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_may_have_no_more_rooms_says_so_and_stays_ready() {
    let cluster = Cluster::new(4);
    let mut config = cluster.config("first", &BOTH);
    config.gateway.max_rooms = 1;
    let node = cluster.start(config).await.unwrap();
    node.ready().await;
    assert_eq!(get(&node, "/ready").await.get("warnings"), None);
    let _harry = Person::joins(&node, "aaa", "harry", "").await;
    let ready = get(&node, "/ready").await;
    let warning = ready["warnings"][0].as_str().unwrap();
    assert!(warning.contains("gateway.max_rooms"), "{ready}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_asks_a_node_to_stop() {
    let cluster = Cluster::new(4);
    let node = cluster.node("first", &BOTH).await;
    node.ready().await;
    let unwanted = node.unwanted();
    assert!(!unwanted.is_cancelled());
    assert_eq!(
        ask(&node, reqwest::Method::POST, "/drain").await,
        (202, json!({"draining": true}))
    );
    unwanted.cancelled().await;
    node.drain().await;
}
