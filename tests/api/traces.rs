//! Traces from HTTP to SQL: a collector as small as can be receives them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Company, Second, codes};

const PATIENCE: Duration = Duration::from_secs(60);
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Takes OTLP/HTTP in JSON.
struct Collector {
    address: String,
    messages: Arc<Mutex<Vec<Value>>>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let messages = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&messages);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = Arc::clone(&received);
                std::thread::spawn(move || answer(stream, &received));
            }
        });
        Collector { address, messages }
    }

    /// All that was received.
    fn text(&self) -> String {
        json!(*self.messages.lock().expect("messages")).to_string()
    }

    fn spans(&self) -> Vec<Value> {
        let messages = self.messages.lock().expect("messages");
        messages
            .iter()
            .flat_map(|message| {
                message["resourceSpans"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            })
            .flat_map(|resource| {
                let named = &resource["resource"]["attributes"][0];
                assert_eq!(named["key"], "service.name");
                assert_eq!(named["value"]["stringValue"], "encours");
                resource["scopeSpans"][0]["spans"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default()
            })
            .collect()
    }

    /// The spans of a trace, once one of this name is among them: a parent ends after its children.
    #[track_caller]
    fn trace(&self, trace: &str, last: &str) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut spans = self.spans();
            spans.retain(|span| span["traceId"] == trace);
            if spans.iter().any(|span| span["name"] == last) {
                return spans;
            }
            assert!(
                Instant::now() < deadline,
                "no {last} in {:#?}",
                self.spans()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn answer(stream: TcpStream, received: &Mutex<Vec<Value>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut line) = (0, String::new());
        let mut head = String::new();
        while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line.trim() != "" {
            head.push_str(&line.to_ascii_lowercase());
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        if head.is_empty() {
            return;
        }
        assert!(head.starts_with("post /v1/traces "), "{head}");
        assert!(head.contains("x-key: opensesame"), "{head}");
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let message = serde_json::from_slice(&body).expect("JSON");
        received.lock().expect("messages").push(message);
        let answer =
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        reader.get_mut().write_all(answer).expect("an answer");
    }
}

fn attribute<'a>(span: &'a Value, name: &str) -> &'a Value {
    let attributes = span["attributes"].as_array().expect("attributes");
    attributes
        .iter()
        .find(|attribute| attribute["key"] == name)
        .map_or(&Value::Null, |attribute| &attribute["value"])
}

/// The only span of a name under a parent.
#[track_caller]
fn under<'a>(spans: &'a [Value], parent: &Value, name: &str) -> &'a Value {
    let found: Vec<_> = spans
        .iter()
        .filter(|span| span["name"] == name && span["parentSpanId"] == *parent)
        .collect();
    assert_eq!(found.len(), 1, "{name} under {parent}: {spans:#?}");
    found[0]
}

#[test]
fn a_request_is_traced_from_the_callers_span_to_the_statements_without_a_value() {
    const NAME: &str = "Durand et Fils";
    let company = Company::new();
    let api = company.admin();
    let collector = Collector::start();
    let server = Second::start(&[
        ("ENCOURS_OTLP_ENDPOINT", &collector.address),
        ("ENCOURS_OTLP_HEADERS", "x-key=opensesame"),
    ]);
    let headers = |flags: &str, trace: &str| {
        [
            ("authorization", api.authorization()),
            ("traceparent", format!("00-{trace}-{CALLER}-{flags}")),
        ]
    };
    let left_out = TRACE.replace("0af7", "1bf8");
    let create = json!({
        "query": "mutation Open($input: CreateClientInput!) { createClient(input: $input) { client { number } userErrors { code } } }",
        "variables": { "input": { "number": "C-4711", "name": NAME } },
    });
    let answer = server
        .send("/graphql", &headers("01", TRACE), &create)
        .json();
    assert_eq!(
        answer["data"]["createClient"]["client"]["number"], "C-4711",
        "{answer}"
    );
    let nothing = json!({ "query": "query Left { viewer { role } }" });
    server.send("/graphql", &headers("00", &left_out), &nothing);
    let list = json!({ "query": "query List { mine: clients(first: 5) { nodes { number } } }" });
    let second = TRACE.replace("0af7", "2cf9");
    server.send("/graphql", &headers("01", &second), &list);

    let spans = collector.trace(TRACE, "POST /graphql");
    let request = under(&spans, &json!(CALLER), "POST /graphql");
    assert_eq!(request["kind"], 2);
    assert_eq!(
        attribute(request, "http.response.status_code")["intValue"],
        "200"
    );
    let operation = under(&spans, &request["spanId"], "mutation");
    assert_eq!(
        attribute(operation, "graphql.operation.name")["stringValue"],
        "Open"
    );
    assert_eq!(
        attribute(operation, "graphql.operation.type")["stringValue"],
        "mutation"
    );
    assert_eq!(attribute(operation, "encours.outcome")["stringValue"], "ok");
    let field = under(&spans, &operation["spanId"], "Mutation.createClient");
    under(&spans, &field["spanId"], "pool wait");
    let statements: Vec<_> = spans
        .iter()
        .filter(|span| attribute(span, "db.query.text").is_object())
        .collect();
    let inserted = statements
        .iter()
        .find(|span| span["name"] == "INSERT" && span["parentSpanId"] == field["spanId"]);
    let inserted = inserted.unwrap_or_else(|| panic!("no INSERT under the field: {spans:#?}"));
    let text = attribute(inserted, "db.query.text")["stringValue"]
        .as_str()
        .expect("SQL");
    assert!(text.contains("$1"), "{text}");
    for span in &spans {
        let time = |name: &str| {
            span[name]
                .as_str()
                .and_then(|it| it.parse::<u128>().ok())
                .expect("a time")
        };
        assert!(
            time("startTimeUnixNano") <= time("endTimeUnixNano"),
            "{span}"
        );
    }

    // Names of the schema, not the caller's aliases.
    let spans = collector.trace(&second, "POST /graphql");
    assert!(
        spans.iter().any(|span| span["name"] == "Query.clients"),
        "{spans:#?}"
    );
    let all = collector.text();
    let id = company.id.strip_prefix("com_").expect("an id");
    for value in [
        NAME,
        "C-4711",
        api.token(),
        left_out.as_str(),
        id,
        "opensesame",
    ] {
        assert!(!all.contains(value), "{value} is in a span:\n{all}");
    }
}

#[test]
fn a_collector_that_is_away_costs_spans_and_no_request() {
    let api = Company::new().admin();
    let server = Second::start(&[
        // Nobody listens there.
        ("ENCOURS_OTLP_ENDPOINT", "http://127.0.0.1:9"),
    ]);
    let headers = [("authorization", api.authorization())];
    let body = json!({ "query": "{ viewer { role } }" });
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = server.send("/graphql", &headers, &body);
        assert_eq!(codes(&answer.json()), [""; 0]);
        let metrics = server.fetch("/metrics", &[]).text;
        let dropped = metrics
            .lines()
            .find_map(|line| line.strip_prefix("encours_trace_spans_dropped "));
        if dropped.is_some_and(|count| count != "0") {
            break;
        }
        assert!(Instant::now() < deadline, "{metrics}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
