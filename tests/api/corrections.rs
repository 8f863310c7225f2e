//! What must not be torn apart, and what can be put right.

use serde_json::{Value, json};

use crate::harness::{Company, day, single};

const UNALLOCATE: &str = "mutation($id: ID!, $on: Date) { unallocate(input: { allocation: $id, unallocatedOn: $on }) { allocation { id } userErrors { code field } } }";
const RETURN: &str = "mutation($input: ReturnPaymentInput!) { returnPayment(input: $input) { payment { number allocations { totalCount nodes { id rule } } } userErrors { code field } } }";

/// The codes of the only mutation's user errors.
fn refusals(data: &Value) -> Vec<&str> {
    data.as_object()
        .and_then(|data| data.values().next())
        .and_then(|payload| payload["userErrors"].as_array())
        .expect("user errors")
        .iter()
        .filter_map(|error| error["code"].as_str())
        .collect()
}

#[test]
fn a_client_numbered_by_the_company_leaves_no_gap_r9_5() {
    let api = Company::new().admin();
    let made = api.make("CreateClient", json!({ "name": "Sans numéro" }));
    let number = made["client"]["number"].as_str().expect("a number");
    assert!(
        number.starts_with("CL-") && number.ends_with("-000001"),
        "{number}"
    );
    api.sound();
}

#[test]
fn what_a_returned_cheque_was_settled_with_stays_r2_6() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("300.00", "20"),
    );
    let cheque = json!({
        "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("02-09"), "method": "CHEQUE", "amount": "360.00",
        "allocations": [{ "debit": { "number": "FA-1" } }],
    });
    api.make("RecordPayment", cheque);
    let input = json!({ "payment": { "number": "RG-1" }, "returnedOn": day("02-20") });
    let returned = api.done(RETURN, json!({ "input": input }));
    let allocations = &returned["payment"]["allocations"];
    assert_eq!(allocations["totalCount"], 2, "{returned:#}");
    let nodes = allocations["nodes"].as_array().expect("allocations");
    assert_eq!(nodes.len(), 2, "each once: {returned:#}");
    let settling = nodes
        .iter()
        .find(|node| node["rule"] == "RETURN")
        .expect("the return settles the cheque");
    let refused = api.data(
        UNALLOCATE,
        json!({ "id": settling["id"], "on": day("02-21") }),
    );
    assert_eq!(refusals(&refused), ["WRONG_STATE"], "{refused:#}");
    // Nor does it come back twice.
    let again = api.data(RETURN, json!({ "input": input }));
    assert_eq!(refusals(&again), ["WRONG_STATE"], "{again:#}");
    let (_, items) = api.account("C001", &day("02-28"));
    assert_eq!(single(json!(items))["dueOn"], day("02-09"));
    api.sound();
}

#[test]
fn the_legs_of_a_deduction_stay_matched_r2_8() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("300.00", "20"),
    );
    let input = json!({ "invoice": { "number": "FA-1" }, "amount": "90.00", "reason": "BMAN", "recordedOn": day("02-10") });
    api.make("RecordDeduction", input);
    let found = api.data(
        "{ invoice(ref: { number: \"FA-1\" }) { allocations { nodes { id rule matching { code complete } } } } }",
        json!({}),
    );
    let allocation = single(found["invoice"]["allocations"]["nodes"].clone());
    assert_eq!(
        allocation["matching"],
        json!({ "code": "a", "complete": false })
    );
    let refused = api.data(
        UNALLOCATE,
        json!({ "id": allocation["id"], "on": day("02-11") }),
    );
    assert_eq!(refusals(&refused), ["WRONG_STATE"], "{refused:#}");
    api.sound();
}

#[test]
fn a_deduction_that_was_rejected_can_be_challenged_again() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("83.33", "20"),
    );
    let deducted = api.make(
        "RecordDeduction",
        json!({ "invoice": { "number": "FA-1" }, "amount": "30.00", "reason": "BMAN", "recordedOn": day("02-10") }),
    );
    let id = &deducted["deduction"]["id"];
    api.make(
        "ResolveDeduction",
        json!({ "deduction": { "id": id }, "outcome": "REJECTED", "closedOn": day("02-20") }),
    );
    // 70.00 of the invoice and 30.00 of the deduction are open.
    let opened = api.make(
        "OpenDispute",
        json!({ "invoice": { "number": "FA-1" }, "reason": "BQUA", "openedOn": day("02-21"), "amount": "100.00" }),
    );
    assert_eq!(opened["dispute"]["amount"], "100.00");
    let closed = api.make(
        "ResolveDispute",
        json!({ "dispute": { "id": opened["dispute"]["id"] }, "outcome": "ACCEPTED", "closedOn": day("02-25") }),
    );
    assert_eq!(closed["creditNote"]["total"], "100.00");
    let (_, items) = api.account("C001", &day("02-28"));
    assert_eq!(items, Vec::<Value>::new(), "the credit note settles both");
    api.sound();
}

#[test]
fn the_credit_note_of_a_dispute_corrects_its_invoice_r2_5() {
    let api = Company::new().admin();
    api.client("C001");
    for number in ["FA-1", "FA-2"] {
        api.invoice(
            "C001",
            number,
            &day("01-10"),
            &day("02-09"),
            ("100.00", "20"),
        );
    }
    let dispute = api.make(
        "OpenDispute",
        json!({ "invoice": { "number": "FA-1" }, "reason": "BLIV", "openedOn": day("02-01"), "amount": "60.00" }),
    );
    api.make(
        "IssueCreditNote",
        json!({ "invoice": { "number": "FA-2" }, "number": "AV-2", "issuedOn": day("02-02"), "amount": "60.00" }),
    );
    let input = json!({
        "dispute": { "id": dispute["dispute"]["id"] }, "outcome": "ACCEPTED", "closedOn": day("02-10"), "creditNote": { "number": "AV-2" },
    });
    api.refused("ResolveDispute", input, "INVALID", &["creditNote"]);
}

#[test]
fn the_rest_of_an_invoice_can_always_be_credited_r2_5() {
    let api = Company::new().admin();
    api.client("C001");
    let input = json!({
        "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("01-10"), "dueOn": day("02-09"),
        "lines": [
            { "description": "Vitrine", "quantity": "1", "unitPrice": "100.00", "vatRate": "20" },
            { "description": "Livres", "quantity": "1", "unitPrice": "200.00", "vatRate": "5.5" },
        ],
    });
    assert_eq!(
        api.make("IssueInvoice", input)["invoice"]["total"],
        "331.00"
    );
    let line = json!({ "description": "Vitrine rendue", "quantity": "1", "unitPrice": "80.00", "vatRate": "20" });
    api.make(
        "IssueCreditNote",
        json!({ "invoice": { "number": "FA-1" }, "number": "AV-1", "issuedOn": day("01-20"), "lines": [line] }),
    );
    let more = json!({ "invoice": { "number": "FA-1" }, "number": "AV-2", "issuedOn": day("01-21"), "amount": "235.01" });
    api.refused(
        "IssueCreditNote",
        more,
        "CREDIT_EXCEEDS_INVOICE",
        &["amount"],
    );
    let rest = api.make(
        "IssueCreditNote",
        json!({ "invoice": { "number": "FA-1" }, "number": "AV-2", "issuedOn": day("01-21"), "amount": "235.00" }),
    );
    let note = &rest["creditNote"];
    assert_eq!(
        (&note["net"], &note["vat"], &note["invoice"]["open"]),
        (&json!("220.00"), &json!("15.00"), &json!("0.00")),
        "24.00 at 20 % and 211.00 at 5.5 %"
    );
    api.sound();
}

#[test]
fn litigation_ends_a_dispute_too() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    let dispute = api.make(
        "OpenDispute",
        json!({ "invoice": { "number": "FA-1" }, "reason": "BLIV", "openedOn": day("02-01") }),
    );
    let id = &dispute["dispute"]["id"];
    api.done(
        "mutation($id: ID!) { updateDispute(input: { dispute: { id: $id }, status: ESCALATED }) { dispute { status } userErrors { code field message } } }",
        json!({ "id": id }),
    );
    let closed = api.make(
        "ResolveDispute",
        json!({ "dispute": { "id": id }, "outcome": "PARTLY_ACCEPTED", "acceptedAmount": "40.00", "closedOn": day("03-10") }),
    );
    assert_eq!(closed["dispute"]["status"], "CLOSED");
    assert_eq!(closed["creditNote"]["total"], "40.00");
}

#[test]
fn fields_of_a_client_can_be_taken_away() {
    let api = Company::new().admin();
    api.make(
        "CreateClient",
        json!({ "number": "C001", "name": "Client", "siren": "732829320" }),
    );
    let changed = api.done(
        "mutation { updateClient(input: { client: { number: \"C001\" }, clear: [SIREN] }) { client { siren } userErrors { code field message } } }",
        json!({}),
    );
    assert_eq!(changed["client"]["siren"], Value::Null);
    let input = json!({ "number": "C002", "name": "Autre", "siren": "732829320", "vatNumber": "FR83404833048" });
    api.refused("CreateClient", input, "INVALID", &["vatNumber"]);
}

#[test]
fn settled_lines_stay_readable_as_a_filter_r3_10() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    api.invoice(
        "C001",
        "FA-2",
        &day("01-11"),
        &day("02-10"),
        ("100.00", "20"),
    );
    api.payment("C001", "RG-1", &day("02-01"), "120.00");
    api.allocate(&day("02-01"), &[("FA-1", "RG-1", "120.00")]);
    let found = api.data(
        "{ client(ref: { number: \"C001\" }) { open: items(state: OPEN) { nodes { reference matching { code } } } \
           settled: items(state: SETTLED) { totalCount nodes { matching { code } } } all: items { totalCount } } }",
        json!({}),
    );
    assert_eq!(
        found["client"],
        json!({
            "open": { "nodes": [{ "reference": "FA-2", "matching": null }] },
            "settled": { "totalCount": 2, "nodes": [{ "matching": { "code": "A" } }, { "matching": { "code": "A" } }] },
            "all": { "totalCount": 3 },
        })
    );
}

#[test]
fn a_report_says_the_instant_that_prints_it_again() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    let asked = "query($on: Date!, $known: DateTime) { agedBalance(asOf: $on, knownAt: $known) { readAt totals { total } } }";
    let first = api.data(asked, json!({ "on": day("12-31") }));
    api.invoice(
        "C001",
        "FA-2",
        &day("01-10"),
        &day("02-09"),
        ("100.00", "20"),
    );
    let again = api.data(
        asked,
        json!({ "on": day("12-31"), "known": first["agedBalance"]["readAt"] }),
    );
    assert_eq!(
        again["agedBalance"]["totals"],
        first["agedBalance"]["totals"]
    );
    let now = api.data(asked, json!({ "on": day("12-31") }));
    assert_eq!(
        single(now["agedBalance"]["totals"].clone())["total"],
        "240.00"
    );
}
