//! What a request may cost, and that a hostile one costs nothing.

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Api, Company, codes, data, day};

const SCREEN: &str =
    "query($first: Int!) { clients(first: $first) { nodes { number invoices(first: 5) { nodes {
    number open status
    creditNotes(first: 2) { nodes { number total unallocated } }
    deductions(first: 2) { nodes { amount reason { code } dispute { status } } }
    disputes(first: 2) { nodes { amount reason { code } } }
    allocations(first: 5) { nodes { amount debit { reference } credit { kind reference } } }
} } } } }";

/// A client with two invoices that have one of each kind of record below them.
pub fn client_with_everything(api: &Api, number: usize) {
    let client = format!("C{number:03}");
    api.client(&client);
    for invoice in [format!("FA-{number}-1"), format!("FA-{number}-2")] {
        api.invoice(
            &client,
            &invoice,
            &day("01-10"),
            &day("02-09"),
            ("100.00", "20"),
        );
        api.make("IssueCreditNote", json!({ "invoice": { "number": invoice }, "number": format!("AV-{invoice}"), "issuedOn": day("01-12"), "amount": "20.00" }));
        api.payment(&client, &format!("RG-{invoice}"), &day("02-01"), "30.00");
        api.allocate(
            &day("02-01"),
            &[(&invoice, &format!("RG-{invoice}"), "30.00")],
        );
        api.make("RecordDeduction", json!({ "invoice": { "number": invoice }, "amount": "10.00", "reason": "BMAN", "recordedOn": day("02-02") }));
        api.make("OpenDispute", json!({ "invoice": { "number": invoice }, "amount": "15.00", "reason": "BLIV", "openedOn": day("02-03") }));
    }
}

#[test]
fn a_screen_of_ten_clients_takes_as_many_statements_as_one() {
    let api = Company::new().admin();
    (1..=10).for_each(|number| client_with_everything(&api, number));
    let ask = |first: u32| {
        let answer = api.post(&json!({ "query": SCREEN, "variables": { "first": first } }));
        let clients = data(answer.json())["clients"]["nodes"].clone();
        let clients = clients.as_array().expect("clients");
        assert_eq!(clients.len(), first as usize);
        for client in clients {
            let invoices = client["invoices"]["nodes"].as_array().expect("invoices");
            assert_eq!(invoices.len(), 2);
            for invoice in invoices {
                assert_eq!(invoice["open"], "60.00", "{invoice}");
                for (list, count) in [
                    ("creditNotes", 1),
                    ("deductions", 1),
                    ("disputes", 2),
                    ("allocations", 3),
                ] {
                    assert_eq!(
                        invoice[list]["nodes"].as_array().map(Vec::len),
                        Some(count),
                        "{list}: {invoice}"
                    );
                }
            }
        }
        answer.statements.expect("Server-Timing: sql;desc=\"N\"")
    };
    let (one, ten) = (ask(1), ask(10));
    // Loads of one kind from two levels share a statement or not, as they happen to meet: a row that
    // cost a statement of its own would add nine or more.
    assert!(one.abs_diff(ten) <= 3, "{one} and {ten} statements");
    assert!(one <= 40, "{one} statements");
}

#[test]
fn one_parent_in_many_rows_is_asked_once_and_answers_all_of_them() {
    let api = Company::new().admin();
    (1..=2).for_each(|number| client_with_everything(&api, number));
    let document = "query($first: Int!) { invoices(first: $first) { nodes { number client { number \
        invoices(first: 1) { nodes { number } } more: invoices(first: 1) { nodes { number } } all: invoices { edges { node { number } } } } } } }";
    let ask = |first: u32| {
        let answer = api.post(&json!({ "query": document, "variables": { "first": first } }));
        let rows = data(answer.json())["invoices"]["nodes"].take();
        let rows = rows.as_array().expect("invoices");
        assert_eq!(rows.len(), first as usize);
        for row in rows {
            let client = &row["client"];
            let number = client["number"].as_str().expect("a number");
            let number_of =
                |place: u32| format!("FA-{}-{place}", number[1..].trim_start_matches('0'));
            let latest = json!({ "nodes": [{ "number": number_of(2) }] });
            assert_eq!((&client["invoices"], &client["more"]), (&latest, &latest));
            let edge = |place| json!({ "node": { "number": number_of(place) } });
            assert_eq!(client["all"]["edges"], json!([edge(2), edge(1)]), "{row}");
        }
        answer.statements.expect("Server-Timing: sql;desc=\"N\"")
    };
    assert_eq!(ask(1), ask(4));
}

#[test]
fn balances_of_ten_clients_take_as_many_statements_as_one() {
    let api = Company::new().admin();
    (1..=10).for_each(|number| drop(api.client(&format!("C{number:03}"))));
    let ask = |first: u32| {
        let document =
            "query($first: Int!) { clients(first: $first) { nodes { number balance { total } } } }";
        let answer = api.post(&json!({ "query": document, "variables": { "first": first } }));
        let clients = data(answer.json())["clients"]["nodes"].take();
        assert_eq!(clients.as_array().map(Vec::len), Some(first as usize));
        answer.statements.expect("Server-Timing: sql;desc=\"N\"")
    };
    assert_eq!(ask(1), ask(10));
}

#[test]
fn bombs_are_answered_at_once_and_the_server_lives_on() {
    let api = Company::new().admin();
    let mut fragments = "query { ...f0 }".to_owned();
    for level in 0..24 {
        write!(
            fragments,
            " fragment f{level} on Query {{ ...f{next} ...f{next} }}",
            next = level + 1
        )
        .expect("text");
    }
    fragments.push_str(" fragment f24 on Query { __typename }");
    let aliases: String = (0..100)
        .map(|n| format!("a{n}: viewer {{ role }} "))
        .collect();
    let bombs = [
        format!("{{ client(ref: {}", "[".repeat(4000)),
        format!("{{ client(ref: {}", "{a:".repeat(1300)),
        "{ a ".repeat(1000),
        "{a".repeat(2000),
        fragments,
        format!("{{ {aliases} }}"),
        "query { ...a } fragment a on Query { ...b } fragment b on Query { ...a }".to_owned(),
        format!("{{ node(id: \"{}\") {{ id }} }}", "x".repeat(20_000)),
    ];
    for bomb in bombs {
        let started = Instant::now();
        let answer = api.post(&json!({ "query": bomb }));
        let shown: String = bomb.chars().take(60).collect();
        assert!(
            (400..500).contains(&answer.status),
            "{} for {shown}: {}",
            answer.status,
            answer.text
        );
        assert!(
            !codes(&answer.json()).is_empty(),
            "{shown}: {}",
            answer.text
        );
        assert!(
            !answer.text.contains("\"data\""),
            "{shown}: {}",
            answer.text
        );
        assert!(
            started.elapsed() < Duration::from_secs(3),
            "{shown}: {:?}",
            started.elapsed()
        );
    }
    assert_eq!(api.ask("Viewer", json!({}))["viewer"]["role"], "ADMIN");
}

#[test]
fn queries_may_be_asked_by_get_and_mutations_not() {
    let api = Company::new().admin();
    let answer = api.get("{ viewer { role } }");
    assert_eq!(
        (answer.status, &answer.json()["data"]["viewer"]["role"]),
        (200, &json!("ADMIN"))
    );
    let answer =
        api.get("mutation { createClient(input: { name: \"By GET\" }) { client { id } } }");
    assert_eq!(answer.status, 405, "{}", answer.text);
    assert_eq!(codes(&answer.json()), ["METHOD_NOT_ALLOWED"]);
    assert_eq!(answer.allow.as_deref(), Some("POST"));
    assert_eq!(
        api.data("{ clients(first: 0) { totalCount } }", json!({}))["clients"]["totalCount"],
        0
    );
}

#[test]
fn fields_are_answered_in_the_order_they_are_asked_for() {
    let api = crate::harness::Company::new().admin();
    let answer = api.post(&serde_json::json!({
        "query": "{ tasks { totalCount } ...rest b: company { currency name } a: clients { totalCount } } fragment rest on Query { journals { label code } viewer { role name } }",
    }));
    let place = |key: &str| answer.text.find(&format!("\"{key}\":")).expect(key);
    let order = [
        "tasks", "journals", "label", "code", "viewer", "role", "b", "currency", "a",
    ];
    assert!(
        order.windows(2).all(|pair| place(pair[0]) < place(pair[1])),
        "{}",
        answer.text
    );
}
