//! The dashboard: what is served, what it asks, and what it is told.

use crate::{
    manage::{get, two},
    person::Person,
    support::{Cluster, eventually},
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_needs_nothing_from_elsewhere_and_every_route_that_it_asks_is_there() {
    let cluster = Cluster::new(4);
    let (node, _other) = two(&cluster).await;
    let url = format!("http://{}/dashboard", node.internal_address());
    let stranger = reqwest::get(&url).await.unwrap();
    assert_eq!(stranger.status(), 401);
    assert!(stranger.headers().contains_key("www-authenticate"));

    let request = reqwest::Client::new().get(&url);
    let request = request.basic_auth("admin", Some("safe-chat"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/html; charset=utf-8");
    assert_eq!(header("x-content-type-options"), "nosniff");
    let policy = header("content-security-policy");
    let page = answer.text().await.unwrap();
    let nonce = policy.split('\'').find_map(|it| it.strip_prefix("nonce-"));
    let nonce = nonce.unwrap().to_owned();
    assert_eq!(
        policy,
        format!(
            "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
             img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        )
    );
    let inline = format!(" nonce=\"{nonce}\">");
    assert_eq!(page.matches(&inline).count(), 2, "one style, one script");
    assert!(!page.contains("{nonce}") && !page.contains("{style}") && !page.contains("{script}"));
    // What the policy would keep from working.
    for attribute in [" src=", " style=", " onclick=", "href=\"http"] {
        assert!(!page.contains(attribute), "{attribute}");
    }

    let asked = page.split("ask(").skip(1).filter_map(|rest| {
        let (quote, path) = rest.split_at_checked(1)?;
        let path = path.split(quote).next()?;
        ["\"", "`"].contains(&quote).then(|| path.to_owned())
    });
    let asked: Vec<_> = asked.collect();
    let room = "rooms/${encodeURIComponent(name)}";
    assert_eq!(asked, ["overview", room]);
    for path in asked {
        get(&node, &format!("/{}", path.replace(&room[6..], "aaa"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_says_what_it_does_at_whichever_node_is_asked() {
    let cluster = Cluster::new(4);
    let (first, second) = two(&cluster).await;
    let mut harry = Person::joins(&first, "aaa", "harry", "").await;
    harry.says("m1", "Hello").await;
    harry.reads_until(2).await;
    eventually("both nodes tell of all shards", async || {
        let told = get(&second, "/overview").await;
        let nodes = told["nodes"].as_array().unwrap();
        let shards = nodes
            .iter()
            .flat_map(|node| node["figures"]["shards"].as_array().into_iter().flatten());
        let mut shards: Vec<_> = shards.map(|shard| shard["shard"].as_u64()).collect();
        shards.sort_unstable();
        shards.dedup();
        shards.len() == 4 && told["shards"] == 4
    })
    .await;
    let told = get(&second, "/overview").await;
    assert_eq!(told["fresh"], json!(true));
    let nodes = told["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    for node in nodes {
        let figures = &node["figures"];
        assert_eq!(
            (&figures["ready"], &node["this"]),
            (&json!(true), &json!(node["name"] == "second"))
        );
        assert!(figures["journaled"].as_u64() >= Some(1), "{figures}");
        let histogram = &figures["frame_to_journaled"];
        let [bounds, counts] = ["bounds", "counts"].map(|it| histogram[it].as_array().unwrap());
        assert_eq!(counts.len(), bounds.len() + 1);
        assert!(counts.last().unwrap().as_u64() >= Some(1), "{histogram}");
    }
}
