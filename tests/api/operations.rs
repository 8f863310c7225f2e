//! What an operator sees, and how one caller is kept from taking everything.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Company, Second, send};

#[test]
fn metrics_tell_what_was_asked_and_what_waits() {
    let api = Company::new().admin();
    api.client("C001");
    api.post(&json!({ "query": "{ nothing }" }));
    api.post(&json!({ "query": "{" }));
    // A job that has just been started has not been round yet.
    let deadline = Instant::now() + Duration::from_secs(60);
    let answer = loop {
        let answer = send("/metrics", &[], None);
        assert_eq!(answer.status, 200);
        if answer.text.contains("encours_job_last_success") && answer.text.contains("job=") {
            break answer;
        }
        assert!(Instant::now() < deadline, "{}", answer.text);
        std::thread::sleep(Duration::from_millis(100));
    };
    for part in [
        "encours_graphql_requests_total{operation=\"mutation\",outcome=\"ok\"}",
        "encours_graphql_requests_total{operation=\"query\",outcome=\"errors\"}",
        "encours_graphql_requests_total{operation=\"none\",outcome=\"GRAPHQL_PARSE_FAILED\"}",
        "encours_graphql_part_seconds_bucket{le=\"0.25\",part=\"sql\"}",
        "encours_graphql_part_seconds_bucket{le=\"0.25\",part=\"pool\"}",
        "encours_graphql_part_seconds_bucket{le=\"0.25\",part=\"resolvers\"}",
        "encours_graphql_fields_total{field=\"Mutation.createClient\",outcome=\"ok\"}",
        "encours_graphql_field_seconds_total{field=\"Mutation.createClient\"}",
        "encours_job_rounds_total{job=\"webhooks\",outcome=\"ok\"}",
        "encours_job_last_success_timestamp_seconds{job=\"webhooks\"}",
        "encours_trace_spans_dropped 0",
        "encours_graphql_request_seconds_bucket{le=\"0.25\",operation=\"mutation\"}",
        "encours_sql_statements_total",
        "encours_pool_connections{name=\"most\"} 8",
        "encours_work{name=\"companies\"}",
        "encours_work{name=\"mails_queued\"}",
    ] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    // No names of companies, clients or people.
    assert!(!answer.text.contains("C001"));
}

#[test]
fn who_spends_too_much_waits_and_nobody_else_does() {
    let company = Company::new();
    let server = Second::start(&[
        ("ENCOURS_RATE_BURST", "30"),
        ("ENCOURS_RATE_PER_SECOND", "1"),
    ]);
    let greedy = [(
        "authorization",
        format!("Bearer {}", company.admin().token()),
    )];
    let body = json!({ "query": "{ clients(first: 20) { nodes { name number } } }" });
    let first = server.send("/graphql", &greedy, &body);
    assert_eq!(first.status, 200, "{}", first.text);
    let second = server.send("/graphql", &greedy, &body);
    assert_eq!(second.status, 429, "{}", second.text);
    let error = &second.json()["errors"][0]["extensions"];
    assert_eq!(error["code"], "RATE_LIMITED");
    assert!(
        error["retryAfter"].as_u64().is_some_and(|wait| wait > 0),
        "{error}"
    );
    // Another role of the same company, and another company, are served.
    for other in [company.as_role("AUDITOR"), Company::new().admin()] {
        let headers = [("authorization", format!("Bearer {}", other.token()))];
        assert_eq!(server.send("/graphql", &headers, &body).status, 200);
    }
}
