//! Server-sent events: one operation per connection.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};
use ureq::Agent;

use super::{PATIENCE, issue, now};
use crate::harness::{Api, Company, url};

/// The lines of an answer, as they come.
fn stream(api: &Api, document: &str, variables: Value) -> impl Iterator<Item = String> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .build()
        .into();
    let response = agent
        .post(format!("{}/graphql", url()))
        .header("authorization", api.authorization())
        .header("accept", "text/event-stream")
        .header("accept-encoding", "gzip")
        .send_json(json!({ "query": document, "variables": variables }))
        .expect("an answer");
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let lines = BufReader::new(response.into_body().into_reader()).lines();
    lines.map(|line| line.expect("a line"))
}

/// The next event: its name and its data.
fn event(lines: &mut impl Iterator<Item = String>) -> (String, Value) {
    let mut name = String::new();
    for line in lines {
        if let Some(found) = line.strip_prefix("event: ") {
            name = found.to_owned();
        } else if let Some(data) = line.strip_prefix("data:") {
            let data = serde_json::from_str(data.trim()).unwrap_or_default();
            return (name, data);
        }
    }
    panic!("the events end");
}

#[test]
fn a_subscription_is_a_stream_of_events() {
    let api = Company::new().admin();
    api.client("C001");
    let start = now(&api);
    let document = "subscription($after: String) { changes(after: $after, topics: [DOCUMENTS]) { kind subjectId } }";
    let mut lines = stream(&api, document, json!({ "after": start }));
    for number in ["FA-1", "FA-2"] {
        let invoice = issue(&api, "C001", number);
        let (name, data) = event(&mut lines);
        assert_eq!(name, "next");
        assert_eq!(
            data["data"]["changes"],
            json!({ "kind": "INVOICE_ISSUED", "subjectId": invoice["id"] })
        );
    }
}

#[test]
fn a_query_is_one_event_and_a_fault_is_told_in_one() {
    let api = Company::new().admin();
    let mut lines = stream(&api, "{ viewer { role } }", json!({}));
    let (name, data) = event(&mut lines);
    assert_eq!(
        (name.as_str(), &data["data"]["viewer"]["role"]),
        ("next", &json!("ADMIN"))
    );
    assert_eq!(event(&mut lines), ("complete".into(), Value::Null));
    assert_eq!(lines.find(|line| !line.is_empty()), None);
    let mut lines = stream(&api, "{ nothing }", json!({}));
    let (_, data) = event(&mut lines);
    assert_eq!(
        data["errors"][0]["extensions"]["code"],
        "GRAPHQL_VALIDATION_FAILED"
    );
    assert!(data.get("data").is_none());
    assert_eq!(event(&mut lines).0, "complete");
}

#[test]
fn a_plain_post_says_how_to_subscribe() {
    let api = Company::new().admin();
    let answer = api.post(&json!({ "query": "subscription { changes { kind } }" }));
    assert_eq!(answer.status, 406);
    assert!(answer.text.contains("text/event-stream"), "{}", answer.text);
}
