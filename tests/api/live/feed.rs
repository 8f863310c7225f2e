//! The change feed: nothing lost, nothing twice, nothing of others.

use std::collections::HashSet;

use diesel::connection::SimpleConnection;
use serde_json::{Value, json};

use super::{eventually, issue, kinds, now, page, read};
use crate::harness::{Company, codes, day, owner};

#[test]
fn records_tell_what_happens_to_them() {
    let api = Company::new().admin();
    let client = api.client("C001");
    let invoice = issue(&api, "C001", "FA-1");
    api.payment("C001", "RG-1", &day("02-01"), "120.00");
    api.allocate(&day("02-01"), &[("FA-1", "RG-1", "20.00")]);
    api.make("OpenDispute", json!({ "invoice": { "number": "FA-1" }, "amount": "10.00", "reason": "BLIV", "openedOn": day("02-03") }));
    let credit = json!({ "invoice": { "number": "FA-1" }, "number": "AV-1", "issuedOn": day("02-04"), "amount": "12.00" });
    api.make("IssueCreditNote", credit);
    let found = read(&api, None, 6);
    let told = kinds(&found);
    for (place, kind) in [
        "CLIENT_OPENED",
        "INVOICE_ISSUED",
        "PAYMENT_RECORDED",
        "ALLOCATION_MATCHED",
        "DISPUTE_OPENED",
        "CREDIT_NOTE_ISSUED",
    ]
    .iter()
    .enumerate()
    {
        assert_eq!(told[place], *kind, "{told:?}");
    }
    assert_eq!(
        (&found[1]["topic"], &found[1]["subjectId"]),
        (&json!("DOCUMENTS"), &invoice["id"])
    );
    assert_eq!(
        found[1]["client"],
        json!({ "id": client["id"], "number": "C001", "name": "Client C001" })
    );
    let node = json!({ "id": found[1]["subjectId"] });
    let node = api.data("query($id: ID!) { node(id: $id) { id } }", node);
    assert_eq!(node["node"]["id"], invoice["id"]);
    let topic = api.data(
        "{ changes(topics: [PAYMENTS]) { changes { kind } hasMore } }",
        json!({}),
    );
    assert_eq!(
        topic["changes"],
        json!({ "changes": [{ "kind": "PAYMENT_RECORDED" }], "hasMore": false })
    );
}

#[test]
fn a_reader_among_writers_misses_nothing_and_sees_nothing_twice() {
    const WRITERS: usize = 8;
    const EACH: usize = 10;
    let api = Company::new().admin();
    api.client("C001");
    let start = now(&api);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let api = api.clone();
            std::thread::spawn(move || -> Vec<Value> {
                (0..EACH)
                    .flat_map(|number| {
                        // Invoices wait for each other's numbers; clients do not.
                        let client = api.client(&format!("C-{writer}-{number}"));
                        let invoice = issue(&api, "C001", &format!("FA-{writer}-{number}"));
                        [client["id"].clone(), invoice["id"].clone()]
                    })
                    .collect()
            })
        })
        .collect();
    let (mut after, mut cursors, mut ids) = (start, Vec::new(), Vec::new());
    // Pages of seven, so that they break anywhere.
    eventually("everything", || {
        let page = page(&api, Some(&after), 7);
        for change in page["changes"].as_array().expect("changes") {
            cursors.push(change["cursor"].as_str().expect("a cursor").to_owned());
            ids.push(change["subjectId"].clone());
        }
        after = page["endCursor"].as_str().expect("a cursor").to_owned();
        (ids.len() >= 2 * WRITERS * EACH).then_some(())
    });
    let written: Vec<Value> = writers
        .into_iter()
        .flat_map(|writer| writer.join().expect("a writer"))
        .collect();
    let texts = |ids: &[Value]| -> HashSet<String> { ids.iter().map(Value::to_string).collect() };
    assert_eq!(ids.len(), written.len());
    assert_eq!(texts(&ids), texts(&written));
    let again = read(&api, None, 1 + ids.len());
    let again: Vec<&str> = again[1..]
        .iter()
        .map(|change| change["cursor"].as_str().expect("a cursor"))
        .collect();
    assert_eq!(
        cursors, again,
        "the order is the same for everybody, at any time"
    );
    assert_eq!(page(&api, Some(&after), 7)["changes"], json!([]));
}

#[test]
fn what_commits_late_is_not_passed_over() {
    let company = Company::new();
    let api = company.admin();
    let start = now(&api);
    let id = company.id.strip_prefix("com_").expect("an id");
    let mut late = owner();
    late.batch_execute(&format!(
        "BEGIN; INSERT INTO changes (company_id, topic, kind, subject_id) VALUES ('{id}', 'CLIENTS', 'CLIENT_LATE', gen_random_uuid())"
    ))
    .expect("an open transaction");
    api.client("C001");
    let before = page(&api, Some(&start), 100);
    assert_eq!(before["changes"], json!([]), "the first is still open");
    late.batch_execute("COMMIT").expect("committed");
    let after = before["endCursor"].as_str();
    assert_eq!(
        kinds(&read(&api, after, 2)),
        ["CLIENT_LATE", "CLIENT_OPENED"]
    );
}

#[test]
fn sales_are_told_of_their_portfolio_and_strangers_of_nothing() {
    let company = Company::new();
    let admin = company.admin();
    let (sales, user) = company.as_member("SALES");
    for client in ["C001", "C002"] {
        admin.client(client);
    }
    admin.done(
        "mutation($input: UpdateClientInput!) { updateClient(input: $input) { client { number } userErrors { code field message } } }",
        json!({ "input": { "client": { "number": "C001" }, "salesOwner": user } }),
    );
    issue(&admin, "C001", "FA-1");
    issue(&admin, "C002", "FA-2");
    admin.make("RecordPayment", json!({ "payer": "Inconnu", "number": "RG-1", "receivedOn": day("02-01"), "method": "TRANSFER", "amount": "1.00" }));
    let all = read(&admin, None, 6);
    let seen = page(&sales, None, 100);
    let seen = seen["changes"].as_array().expect("changes");
    assert_eq!(
        kinds(seen),
        ["CLIENT_OPENED", "CLIENT_CHANGED", "INVOICE_ISSUED"]
    );
    assert!(
        seen.iter()
            .all(|change| change["client"]["number"] == "C001")
    );
    assert!(kinds(&all).contains(&"PAYMENT_RECORDED"));
    let refused = sales.run("{ changes(topics: [WORKLIST]) { hasMore } }", json!({}));
    assert_eq!(codes(&refused), ["FORBIDDEN"]);
    let stranger = Company::new().admin();
    let start = json!(all[0]["cursor"]);
    assert_eq!(page(&stranger, None, 100)["changes"], json!([]));
    assert_eq!(page(&stranger, start.as_str(), 100)["changes"], json!([]));
}

#[test]
fn unreadable_cursors_and_sizes_are_refused() {
    let api = Company::new().admin();
    for (arguments, field) in [
        ("after: \"\"", "after"),
        ("after: \"zz\"", "after"),
        ("after: \"NOW\"", "after"),
        // Of a server that is far ahead.
        (
            "after: \"6368616e67657c393030303030303030303030307c31\"",
            "after",
        ),
        ("first: 0", "first"),
        ("first: 101", "first"),
    ] {
        let answer = api.run(
            &format!("{{ changes({arguments}) {{ hasMore }} }}"),
            json!({}),
        );
        assert_eq!(codes(&answer), ["BAD_USER_INPUT"], "{arguments}");
        assert_eq!(answer["errors"][0]["extensions"]["field"], field);
    }
}
