//! Traces of real nodes, as a collector gets them: what is in them, how they hang together across
//! nodes, and that they cost nobody anything when they are off or cannot be delivered.

use crate::{
    cluster::{Cluster, eventually},
    node::Node,
    person::Person,
    support::unique,
};
use async_nats::Subscriber;
use axum::{Router, body::Bytes, extract::State, http::HeaderMap, routing::post};
use futures::{FutureExt, StreamExt};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind},
};
use prost::Message;
use reqwest::Client;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};
use tokio::net::TcpListener;

/// A client that says that it traces, and one that says that it does not.
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

pub(crate) async fn one_trace_goes_from_a_frame_to_the_deliveries_of_both_gateways(
    cluster: Cluster,
) {
    let [room, user, key, text, secret] = ['r', 'u', 'k', 't', 's'].map(unique);
    let journal_publishes = cluster.cassandra_address().is_none();
    let collector = Collector::start().await;
    let cluster = collector
        .of(cluster)
        .with("OTEL_EXPORTER_OTLP_HEADERS", &format!("api-key={secret}"))
        .with("SAFE_CHAT_TRACE__PER_SECOND", "1000")
        .with("SAFE_CHAT_LOG__FORMAT", "json")
        .with("SAFE_CHAT_LOG__LEVEL", "debug");
    let mut bus = Bus::of(&cluster).await;
    let (mut first, second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let owner = async || match first.is_named_in(&cluster, &room).await {
        true => "first",
        false => "second",
    };
    let mut harry = Person::joins_in_json(&first, &room, &user, &key).await;
    let mut charly = Person::joins_in_json(&second, &room, "charly", &key).await;
    harry.says("m1", &text).await;
    let seq = harry.next("journaled").await["seq"].as_u64().unwrap();
    charly.events_until(seq).await;

    // The tree.
    let is_message = |seq: u64| {
        move |span: &Seen| span.name() == "chat.message" && span.number("chat.seq") == Some(seq)
    };
    let trace = collector.trace(is_message(seq), 2).await;
    let delivered = trace.all("chat.deliver");
    let gateways: BTreeSet<_> = delivered.iter().map(|span| span.node.as_str()).collect();
    assert_eq!(gateways, BTreeSet::from(["first", "second"]));
    let publish = trace.above(delivered[0], "chat.publish");
    assert_eq!(delivered[1].parent(), publish.id());
    let commit = match journal_publishes {
        true => trace.above(trace.above(publish, "chat.append"), "chat.commit"),
        false => trace.above(publish, "chat.commit"),
    };
    if !journal_publishes {
        let confirm = trace.all("chat.confirm")[0];
        assert_eq!(trace.above(confirm, "chat.append").parent(), commit.id());
    }
    let decide = trace.above(commit, "chat.decide");
    assert_eq!(commit.links(), [decide.place()]);
    let owner = owner().await;
    assert_eq!((commit.node.as_str(), decide.node.as_str()), (owner, owner));
    let store = trace.above(decide, "chat.store");
    assert_eq!(decide.number("chat.shard"), store.number("chat.shard"));
    let root = trace.above(store, "chat.message");
    assert_eq!(
        (root.node.as_str(), store.node.as_str()),
        ("first", "first")
    );
    assert!(root.span.parent_span_id.is_empty() && root.span.links.is_empty());
    assert_eq!(root.kind(), SpanKind::Server);
    assert_eq!(root.text("chat.outcome").as_deref(), Some("journaled"));
    assert_eq!(root.number("chat.bytes"), Some(text.len() as u64));
    let epoch = root.number("chat.epoch");
    for span in [commit, publish, delivered[0], delivered[1]] {
        assert_eq!(span.number("chat.seq"), Some(seq), "{}", span.name());
        assert_eq!(span.number("chat.epoch"), epoch, "{}", span.name());
    }
    // It is on the bus, in headers, and in the log.
    let headers = bus.traceparents();
    for sent_by in [store, publish] {
        let header = format!("00-{}-{}-01", trace.id(), hex(sent_by.id()));
        assert!(headers.contains(&Some(header.clone())), "no {header}");
    }
    let line = first.logs();
    let line = line.lines().find(|line| line.contains(&trace.id()));
    let line: Value = serde_json::from_str(line.expect("a line of the trace")).unwrap();
    assert_eq!(line["trace_id"], json!(trace.id()));

    // Each command is linked to by one commit, however many it holds: two joins, the first message,
    // and the others in at least one batch.
    for n in 0..20 {
        harry.says(&format!("n{n}"), &text).await;
    }
    charly.events_until(seq + 20).await;
    let is_linked = |spans: &[Seen]| {
        let commits = spans.iter().filter(|span| span.name() == "chat.commit");
        let mut links: Vec<_> = commits.flat_map(Seen::links).collect();
        let decided = spans.iter().filter(|span| span.name() == "chat.decide");
        let mut decided: Vec<_> = decided.map(Seen::place).collect();
        links.sort();
        decided.sort();
        decided.len() >= 4 && links == decided
    };
    eventually("all commands are linked", async || {
        is_linked(&collector.spans())
    })
    .await;

    // A client's trace is linked to, and not joined; what it does not trace is not traced.
    let begun = traces_begun(&first).await;
    says(&first, &room, UNSAMPLED).await;
    assert_eq!(traces_begun(&first).await, begun);
    let seq = says(&first, &room, SAMPLED).await;
    assert_eq!(traces_begun(&first).await, begun + 1.0);
    // The process ends: what it has not sent yet goes before that.
    assert!(first.stop().await.success());
    let spans = collector.spans();
    let mut roots = spans.iter().filter(|span| is_message(seq)(span));
    let root = roots.next().expect("it was sent before the end");
    let of_client = SAMPLED.split('-').nth(1).unwrap();
    assert_ne!(hex(&root.span.trace_id), of_client);
    assert_eq!(hex(&root.span.links[0].trace_id), of_client);

    // Nobody's secret, and nothing that says who talks where.
    let all = format!("{spans:?}");
    for secret in [&room, &user, &key, &text, &secret] {
        assert!(!all.contains(secret), "{secret}");
    }
    assert!(collector.keys().iter().all(|key| *key == secret));
    let checked = cluster.run(&["config", "check"], &[]).await;
    assert!(!checked.stdout.contains(&secret), "{}", checked.stdout);
    assert!(checked.stdout.contains("api-key=(hidden)"));
    assert!(!first.logs().contains(&secret) && !second.logs().contains(&secret));
}

pub(crate) async fn without_sampling_nothing_of_a_trace_is_on_the_bus(cluster: Cluster) {
    let collector = Collector::start().await;
    let cluster = collector.of(cluster).with("SAFE_CHAT_TRACE__RATIO", "0.0");
    let mut bus = Bus::of(&cluster).await;
    let (mut first, mut second) = tokio::join!(cluster.node("first"), cluster.node("second"));
    let mut harry = Person::joins_in_json(&first, "aaa", "harry", "key").await;
    let mut charly = Person::joins_in_json(&second, "aaa", "charly", "key").await;
    harry.says("m1", "Hello").await;
    harry.next("journaled").await;
    let seq = says(&second, "aaa", SAMPLED).await;
    charly.events_until(seq).await;
    let headers = bus.traceparents();
    // Two commands that open, two that say something, and what became of them.
    assert!(headers.len() >= 8, "{headers:?}");
    assert!(headers.iter().all(Option::is_none), "{headers:?}");
    assert_eq!(
        traces_begun(&first).await + traces_begun(&second).await,
        0.0
    );
    assert!(first.stop().await.success() && second.stop().await.success());
    assert!(collector.spans().is_empty());
}

pub(crate) async fn a_collector_that_does_not_answer_costs_only_spans(cluster: Cluster) {
    // It accepts in the kernel, and nobody ever reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cluster = cluster
        .with(
            "SAFE_CHAT_TRACE__ENDPOINT",
            &format!("http://{}", silent.local_addr().unwrap()),
        )
        .with("SAFE_CHAT_TRACE__PER_SECOND", "10000")
        .with("SAFE_CHAT_TRACE__QUEUE", "512")
        .with("SAFE_CHAT_TRACE__TIMEOUT_MS", "1000");
    let mut node = cluster.node("only").await;
    let mut harry = Person::joins_in_json(&node, "aaa", "harry", "key").await;
    let mut said = 0;
    let lost = async |node: &Node| {
        let metrics = node.metrics().await;
        let of = |outcome| {
            let name = format!("safechat_trace_spans_total{{outcome=\"{outcome}\"}}");
            figure(&metrics, &name)
        };
        of("dropped") > 0.0 && of("failed") > 0.0
    };
    // More than the queue takes, until some are dropped, and some could not be sent.
    while !lost(&node).await {
        for _ in 0..100 {
            said += 1;
            harry.says(&format!("m{said}"), "Hello").await;
            harry.next("journaled").await;
        }
    }
    node.ready().await;
    assert!(node.stop().await.success());
    let told = node.logs();
    let told = told.matches("does not take spans").count();
    assert_eq!(told, 1, "an episode is told once");
}

impl Node {
    /// Whether it writes a room.
    async fn is_named_in(&self, cluster: &Cluster, room: &str) -> bool {
        let owner = cluster.owner(room).await.to_string();
        self.logs().contains(&owner)
    }
}

/// Says something without a session; its place.
async fn says(node: &Node, room: &str, traceparent: &str) -> u64 {
    let url = format!("{}/rooms/{room}/messages?user=ivan&pub=k3", node.url());
    let body = json!({ "type": "send", "id": unique('i'), "text": "Hello" });
    let request = Client::new().post(url).header("traceparent", traceparent);
    let answer = request.json(&body).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["seq"].as_u64().expect("it is journaled")
}

async fn traces_begun(node: &Node) -> f64 {
    let metrics = node.metrics().await;
    figure(&metrics, "safechat_traces_total{outcome=\"begun\"}")
}

fn figure(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0.0, |figure| figure.trim().parse().unwrap())
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What goes over the bus: commands, and commits as gateways get them.
struct Bus([Subscriber; 2]);

impl Bus {
    async fn of(cluster: &Cluster) -> Self {
        let nats = async_nats::connect(cluster.nats()).await.unwrap();
        let prefix = cluster.prefix();
        let [commands, live] = ["cmd", "live"].map(|part| format!("{prefix}.{part}.>"));
        let both = [
            nats.subscribe(commands).await.unwrap(),
            nats.subscribe(live).await.unwrap(),
        ];
        nats.flush().await.unwrap();
        Self(both)
    }

    /// The trace header of each message that has come.
    fn traceparents(&mut self) -> Vec<Option<String>> {
        let mut all = Vec::new();
        for messages in &mut self.0 {
            while let Some(Some(message)) = messages.next().now_or_never() {
                let headers = message.headers.unwrap_or_default();
                all.push(headers.get("traceparent").map(ToString::to_string));
            }
        }
        all
    }
}

/// A span, and the node that sent it.
#[derive(Debug, Clone)]
struct Seen {
    node: String,
    span: Span,
}

impl Seen {
    fn name(&self) -> &str {
        &self.span.name
    }

    fn id(&self) -> &[u8] {
        &self.span.span_id
    }

    fn parent(&self) -> &[u8] {
        &self.span.parent_span_id
    }

    fn kind(&self) -> SpanKind {
        self.span.kind()
    }

    fn place(&self) -> (Vec<u8>, Vec<u8>) {
        (self.span.trace_id.clone(), self.span.span_id.clone())
    }

    fn links(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let links = self.span.links.iter();
        links
            .map(|link| (link.trace_id.clone(), link.span_id.clone()))
            .collect()
    }

    fn number(&self, key: &str) -> Option<u64> {
        match attribute(&self.span.attributes, key)? {
            Any::IntValue(number) => Some(number as u64),
            _ => None,
        }
    }

    fn text(&self, key: &str) -> Option<String> {
        match attribute(&self.span.attributes, key)? {
            Any::StringValue(text) => Some(text),
            _ => None,
        }
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<Any> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.clone()?.value
}

/// The spans of one trace.
struct Trace(Vec<Seen>);

impl Trace {
    fn id(&self) -> String {
        hex(&self.0[0].span.trace_id)
    }

    fn all(&self, name: &str) -> Vec<&Seen> {
        self.0.iter().filter(|span| span.name() == name).collect()
    }

    /// The parent of a span, which has such a name.
    fn above(&self, span: &Seen, name: &str) -> &Seen {
        let above = self.0.iter().find(|above| above.id() == span.parent());
        let above = above.unwrap_or_else(|| panic!("{} is below nothing", span.name()));
        assert_eq!(above.name(), name, "it is above {}", span.name());
        above
    }
}

#[derive(Default)]
struct Taken {
    spans: Vec<Seen>,
    /// The header of each request that says who sends it.
    keys: Vec<String>,
}

/// A collector: takes spans over HTTP, as protobuf.
struct Collector {
    address: String,
    taken: Arc<Mutex<Taken>>,
}

impl Collector {
    async fn start() -> Self {
        let taken = Arc::<Mutex<Taken>>::default();
        let router = Router::new()
            .route("/v1/traces", post(take))
            .with_state(taken.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, taken }
    }

    /// A cluster that sends its traces here.
    fn of(&self, cluster: Cluster) -> Cluster {
        cluster.with("OTEL_EXPORTER_OTLP_ENDPOINT", &self.address)
    }

    fn spans(&self) -> Vec<Seen> {
        self.taken.lock().unwrap().spans.clone()
    }

    fn keys(&self) -> Vec<String> {
        self.taken.lock().unwrap().keys.clone()
    }

    /// The trace with such a root, once so many gateways have delivered it.
    async fn trace(&self, is_root: impl Fn(&Seen) -> bool, deliveries: usize) -> Trace {
        let found = || {
            let spans = self.spans();
            let root = spans.iter().find(|span| is_root(span))?;
            let id = root.span.trace_id.clone();
            let of_it = spans.into_iter().filter(|span| span.span.trace_id == id);
            Some(Trace(of_it.collect()))
        };
        eventually("a trace is complete", async || {
            found().is_some_and(|trace| {
                trace.all("chat.deliver").len() == deliveries
                    && ["chat.store", "chat.decide", "chat.commit", "chat.publish"]
                        .iter()
                        .all(|name| !trace.all(name).is_empty())
            })
        })
        .await;
        found().expect("it was just there")
    }
}

async fn take(State(taken): State<Arc<Mutex<Taken>>>, headers: HeaderMap, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(body).expect("protobuf");
    let mut taken = taken.lock().unwrap();
    let key = headers.get("api-key").map(|key| key.to_str().unwrap());
    taken.keys.push(key.unwrap_or_default().to_owned());
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.unwrap_or_default();
        let Some(Any::StringValue(node)) = attribute(&resource.attributes, "chat.node") else {
            panic!("a span of no node");
        };
        let scopes = of_resource.scope_spans.into_iter();
        let spans = scopes.flat_map(|scope| scope.spans);
        taken.spans.extend(spans.map(|span| Seen {
            node: node.clone(),
            span,
        }));
    }
}
