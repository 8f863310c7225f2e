//! Bad requests: a stable code, the field it is about, and nothing written.

use chrono::Datelike;
use serde_json::{Value, json};

use crate::harness::{Api, Company, codes, data, day, today};
use crate::roles::own;

/// Two clients, in euros and dollars too, with documents to do wrong things to. January is closed.
fn books() -> Api {
    let api = Company::new().admin();
    for client in ["C001", "C002"] {
        api.client(client);
        let number = |kind: &str| format!("{kind}-{client}");
        api.invoice(
            client,
            &number("FA"),
            &day("02-10"),
            &day("03-12"),
            ("1000.00", "20"),
        );
        api.payment(client, &number("RG"), &day("03-01"), "500.00");
    }
    let dollars = json!({
        "client": { "number": "C001" }, "number": "FA-USD", "issuedOn": day("02-10"), "currency": "USD", "exchangeRate": "0.9",
        "lines": [{ "description": "Service", "quantity": "1", "unitPrice": "100.00", "vatRate": "0" }],
    });
    api.make("IssueInvoice", dollars);
    let credit = json!({ "invoice": { "number": "FA-C002" }, "number": "AV-1", "issuedOn": day("02-20"), "amount": "120.00" });
    api.make("IssueCreditNote", credit);
    api.done(
        "mutation($through: Date!) { closePeriod(through: $through) { company { closedThrough } userErrors { code field message } } }",
        json!({ "through": day("01-31") }),
    );
    api
}

/// Everything that a write would change.
fn state(api: &Api) -> Value {
    let mut state = api.data(
        "{ clients(first: 0) { totalCount } invoices(first: 0) { totalCount } creditNotes(first: 0) { totalCount }
           payments(first: 0) { totalCount } deductions(first: 0) { totalCount } disputes(first: 0) { totalCount }
           journalEntries(first: 0) { totalCount } invoiceDrafts(first: 0) { totalCount }
           c1: client(ref: { number: \"C001\" }) { version invoices { nodes { open allocations { totalCount } } } payments { nodes { unallocated } } }
           c2: client(ref: { number: \"C002\" }) { version invoices { nodes { open allocations { totalCount } } } payments { nodes { unallocated } } } }",
        json!({}),
    );
    let items = |client: &str| json!(api.account_items(client));
    state["items"] = json!([items("C001"), items("C002")]);
    state
}

fn line(price: &str) -> Value {
    json!([{ "description": "Prestation", "quantity": "1", "unitPrice": price, "vatRate": "20" }])
}

/// An input with other values.
fn with(mut input: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("changes") {
        input[name] = value.clone();
    }
    input
}

#[test]
fn invoices_that_cannot_be_are_refused() {
    let api = books();
    let before = state(&api);
    let invoice = json!({ "client": { "number": "C001" }, "number": "FA-X", "issuedOn": day("03-01"), "lines": line("100.00") });
    let next_year = format!("{}-01-01", today().year() + 1);
    for (changes, code, field) in [
        (
            json!({ "client": { "number": "C999" } }),
            "NOT_FOUND",
            &["client"][..],
        ),
        (
            json!({ "client": { "id": "cli_not-an-id" } }),
            "NOT_FOUND",
            &["client"],
        ),
        (json!({ "client": { "id": "" } }), "NOT_FOUND", &["client"]),
        (
            json!({ "client": { "externalRef": "nobody" } }),
            "NOT_FOUND",
            &["client"],
        ),
        (json!({ "lines": [] }), "INVALID", &["lines"]),
        (json!({ "lines": line("0") }), "INVALID", &["lines"]),
        (json!({ "lines": line("-100.00") }), "INVALID", &["lines"]),
        (
            json!({ "lines": line("1.0000001") }),
            "INVALID",
            &["lines", "0", "unitPrice"],
        ),
        (
            json!({ "lines": [{ "description": "x", "quantity": "0", "unitPrice": "1", "vatRate": "20" }] }),
            "INVALID",
            &["lines", "0", "quantity"],
        ),
        (
            json!({ "lines": [{ "description": "x", "quantity": "1", "unitPrice": "1", "vatRate": "-1" }] }),
            "INVALID",
            &["lines", "0", "vatRate"],
        ),
        (
            json!({ "lines": [{ "description": "", "quantity": "1", "unitPrice": "1", "vatRate": "20" }] }),
            "INVALID",
            &["lines", "0", "description"],
        ),
        (json!({ "currency": "XQQ" }), "INVALID", &["currency"]),
        (json!({ "currency": "USD" }), "INVALID", &["exchangeRate"]),
        (json!({ "dueOn": day("02-28") }), "INVALID", &["dueOn"]),
        (
            json!({ "dueOn": day("06-30") }),
            "TERMS_UNLAWFUL",
            &["dueOn"],
        ),
        (
            json!({ "installments": [{ "dueOn": day("03-10"), "amount": "60.00" }, { "dueOn": day("03-20"), "amount": "59.99" }] }),
            "INVALID",
            &["installments"],
        ),
        (
            json!({ "installments": [{ "dueOn": day("03-10"), "amount": "120.001" }] }),
            "INVALID",
            &["installments", "0", "amount"],
        ),
        (
            json!({ "issuedOn": day("01-31"), "dueOn": day("03-01") }),
            "PERIOD_CLOSED",
            &["issuedOn"],
        ),
        (
            json!({ "issuedOn": next_year }),
            "FUTURE_PERIOD",
            &["issuedOn"],
        ),
        (json!({ "number": "FA-C001" }), "DUPLICATE", &["number"]),
        (json!({ "number": "FA-C002" }), "DUPLICATE", &["number"]),
        (
            json!({ "idempotencyKey": "" }),
            "INVALID",
            &["idempotencyKey"],
        ),
    ] {
        api.refused("IssueInvoice", with(invoice.clone(), &changes), code, field);
    }
    assert_eq!(state(&api), before);
}

/// Days to come are posted to the end of the current financial year, and no further (the cases of `FUTURE_PERIOD`).
#[test]
fn this_financial_year_is_posted_to_its_end() {
    let api = Company::new().admin();
    api.client("C001");
    let end = format!("{}-12-31", today().year());
    api.invoice("C001", "FA-1", &end, &end, ("100.00", "20"));
    api.payment("C001", "RG-1", &end, "120.00");
    api.allocate(&end, &[("FA-1", "RG-1", "120.00")]);
    assert_eq!(api.account("C001", &end).1, Vec::<Value>::new());
    api.sound();
}

#[test]
fn clients_and_payments_that_cannot_be_are_refused() {
    let api = books();
    let before = state(&api);
    let terms = json!({ "rule": "NET", "days": 61 });
    for (input, code, field) in [
        (
            json!({ "number": "C001", "name": "Again" }),
            "DUPLICATE",
            "number",
        ),
        (json!({ "name": " " }), "INVALID", "name"),
        (
            json!({ "name": "x", "siren": "123456789" }),
            "INVALID",
            "siren",
        ),
        (
            json!({ "name": "x", "currency": "XQQ" }),
            "INVALID",
            "currency",
        ),
        (
            json!({ "name": "x", "paymentTerms": terms }),
            "TERMS_UNLAWFUL",
            "paymentTerms",
        ),
        (
            json!({ "name": "x", "salesOwner": "usr_nobody" }),
            "NOT_FOUND",
            "salesOwner",
        ),
    ] {
        api.refused("CreateClient", input, code, &[field]);
    }
    let payment = json!({ "client": { "number": "C001" }, "number": "RG-X", "receivedOn": day("03-01"), "method": "TRANSFER", "amount": "10.00" });
    for (changes, code, field) in [
        (
            json!({ "client": { "number": "C999" } }),
            "NOT_FOUND",
            &["client"][..],
        ),
        (json!({ "client": null }), "INVALID", &["client"]),
        (json!({ "amount": "-10.00" }), "INVALID", &["amount"]),
        (json!({ "amount": "0.00" }), "INVALID", &["amount"]),
        (json!({ "amount": "10.001" }), "INVALID", &["amount"]),
        (
            json!({ "amount": "99999999999999999.00" }),
            "INVALID",
            &["amount"],
        ),
        (json!({ "currency": "EURO" }), "INVALID", &["currency"]),
        (json!({ "currency": "USD" }), "INVALID", &["exchangeRate"]),
        (
            json!({ "receivedOn": day("01-15") }),
            "PERIOD_CLOSED",
            &["receivedOn"],
        ),
        (
            json!({ "receivedOn": format!("{}-06-01", today().year() + 1) }),
            "FUTURE_PERIOD",
            &["receivedOn"],
        ),
        (json!({ "number": "RG-C002" }), "DUPLICATE", &["number"]),
        (
            json!({ "allocations": [{ "debit": { "number": "FA-NONE" } }] }),
            "NOT_FOUND",
            &["allocations", "0", "debit"],
        ),
        (
            json!({ "allocations": [{ "debit": { "number": "FA-C001" }, "amount": "10.01" }] }),
            "OVER_ALLOCATION",
            &["allocations", "0", "amount"],
        ),
        (
            json!({ "allocations": [{ "debit": { "number": "FA-C002" } }] }),
            "ALLOCATION_MISMATCH",
            &["allocations", "0"],
        ),
    ] {
        api.refused(
            "RecordPayment",
            with(payment.clone(), &changes),
            code,
            field,
        );
    }
    assert_eq!(state(&api), before);
}

#[test]
fn matchings_that_cannot_be_are_refused() {
    let api = books();
    let before = state(&api);
    let allocation = |debit: &str, credit: &str, amount: &str| json!({ "lines": [{ "debit": { "number": debit }, "credit": { "number": credit }, "amount": amount }], "allocatedOn": day("03-05") });
    for (input, code, field) in [
        (
            allocation("FA-C001", "RG-C001", "500.01"),
            "OVER_ALLOCATION",
            &["lines", "0", "amount"][..],
        ),
        (
            allocation("FA-C001", "RG-C001", "0.00"),
            "INVALID",
            &["lines", "0", "amount"],
        ),
        (
            allocation("FA-C001", "RG-C001", "-1.00"),
            "INVALID",
            &["lines", "0", "amount"],
        ),
        (
            allocation("FA-C001", "RG-C001", "1.001"),
            "INVALID",
            &["lines", "0", "amount"],
        ),
        (
            allocation("FA-C002", "RG-C001", "1.00"),
            "ALLOCATION_MISMATCH",
            &["lines", "0"],
        ),
        (
            allocation("FA-USD", "RG-C001", "1.00"),
            "ALLOCATION_MISMATCH",
            &["lines", "0"],
        ),
        (
            allocation("FA-NONE", "RG-C001", "1.00"),
            "NOT_FOUND",
            &["lines", "0", "debit"],
        ),
        (
            allocation("FA-C001", "RG-NONE", "1.00"),
            "NOT_FOUND",
            &["lines", "0", "credit"],
        ),
        (
            allocation("RG-C001", "FA-C001", "1.00"),
            "INVALID",
            &["lines", "0", "debit"],
        ),
        (
            with(
                allocation("FA-C001", "RG-C001", "1.00"),
                &json!({ "allocatedOn": day("01-31") }),
            ),
            "PERIOD_CLOSED",
            &["allocatedOn"],
        ),
        (
            with(
                allocation("FA-C001", "RG-C001", "1.00"),
                &json!({ "lines": [] }),
            ),
            "INVALID",
            &["lines"],
        ),
        (
            json!({ "lines": [{ "debit": { "number": "FA-C001", "dueOn": "2001-01-01" }, "credit": { "number": "RG-C001" } }] }),
            "INVALID",
            &["lines", "0", "debit", "dueOn"],
        ),
        (
            json!({ "lines": [{ "debit": {}, "credit": { "number": "RG-C001" } }] }),
            "INVALID",
            &["lines", "0", "debit"],
        ),
    ] {
        api.refused("Allocate", input, code, field);
    }
    // All or none: the second line is what is wrong.
    let mut both = allocation("FA-C001", "RG-C001", "400.00");
    let second = both["lines"][0].clone();
    both["lines"].as_array_mut().expect("lines").push(second);
    api.refused(
        "Allocate",
        both,
        "OVER_ALLOCATION",
        &["lines", "1", "amount"],
    );
    api.refused(
        "Unallocate",
        json!({ "allocation": "alc_nothing" }),
        "NOT_FOUND",
        &["allocation"],
    );
    assert_eq!(state(&api), before);
}

#[test]
fn credit_notes_disputes_and_deductions_that_cannot_be_are_refused() {
    let api = books();
    let before = state(&api);
    let credit = json!({ "invoice": { "number": "FA-C001" }, "number": "AV-X", "issuedOn": day("03-01"), "lines": line("10.00") });
    for (changes, code, field) in [
        (
            json!({ "invoice": { "number": "FA-NONE" } }),
            "NOT_FOUND",
            "invoice",
        ),
        (
            json!({ "lines": line("1000.01") }),
            "CREDIT_EXCEEDS_INVOICE",
            "lines",
        ),
        (
            json!({ "currency": "USD" }),
            "CURRENCY_MISMATCH",
            "currency",
        ),
        (json!({ "issuedOn": day("02-09") }), "INVALID", "issuedOn"),
        (
            json!({ "issuedOn": day("01-31") }),
            "PERIOD_CLOSED",
            "issuedOn",
        ),
        (json!({ "number": "AV-1" }), "DUPLICATE", "number"),
        (
            json!({ "client": { "number": "C002" } }),
            "INVALID",
            "invoice",
        ),
    ] {
        api.refused(
            "IssueCreditNote",
            with(credit.clone(), &changes),
            code,
            &[field],
        );
    }
    let dispute = json!({ "invoice": { "number": "FA-C001" }, "amount": "100.00", "reason": "BLIV", "openedOn": day("03-01") });
    for (changes, code, field) in [
        (
            json!({ "invoice": { "number": "RG-C001" } }),
            "NOT_FOUND",
            "invoice",
        ),
        (
            json!({ "amount": "1200.01" }),
            "DISPUTE_EXCEEDS_OPEN",
            "amount",
        ),
        (json!({ "amount": "0.00" }), "INVALID", "amount"),
        (json!({ "reason": "NOPE" }), "INVALID", "reason"),
        (json!({ "openedOn": day("02-09") }), "INVALID", "openedOn"),
        (json!({ "respondBy": day("02-28") }), "INVALID", "respondBy"),
    ] {
        api.refused(
            "OpenDispute",
            with(dispute.clone(), &changes),
            code,
            &[field],
        );
    }
    let deduction = json!({ "invoice": { "number": "FA-C001" }, "amount": "100.00", "reason": "BMAN", "recordedOn": day("03-01") });
    for (changes, code, field) in [
        (json!({ "amount": "1200.01" }), "OVER_ALLOCATION", "amount"),
        (json!({ "amount": "1.00" }), "INVALID", "amount"),
        (json!({ "reason": "NOPE" }), "INVALID", "reason"),
        (
            json!({ "recordedOn": day("01-31") }),
            "PERIOD_CLOSED",
            "recordedOn",
        ),
    ] {
        api.refused(
            "RecordDeduction",
            with(deduction.clone(), &changes),
            code,
            &[field],
        );
    }
    assert_eq!(state(&api), before);
}

#[test]
fn malformed_arguments_are_errors_of_the_request() {
    let api = books();
    let cursor = api.data(
        "{ invoices(first: 1) { pageInfo { endCursor } } }",
        json!({}),
    );
    let foreign = cursor["invoices"]["pageInfo"]["endCursor"]
        .as_str()
        .expect("a cursor");
    for (arguments, field) in [
        ("first: 101".to_owned(), "first"),
        ("first: -1".into(), "first"),
        ("first: 1, after: \"x\"".into(), "after"),
        ("first: 1, after: \"\"".into(), "after"),
        ("first: 1, after: \"ffff\"".into(), "after"),
        (format!("first: 1, after: \"{foreign}\""), "after"),
    ] {
        let answer = api.run(
            &format!("{{ clients({arguments}) {{ totalCount }} }}"),
            json!({}),
        );
        assert_eq!(codes(&answer), ["BAD_USER_INPUT"], "{arguments}: {answer}");
        assert_eq!(
            answer["errors"][0]["extensions"]["field"], field,
            "{arguments}: {answer}"
        );
        assert!(answer["data"].is_null(), "{arguments}: {answer}");
    }
    for id in [
        "",
        "x",
        "inv_",
        "inv_0",
        "doc_00000000000000000000000000000000",
        "é",
        "cli_' OR 1=1",
    ] {
        let found = api.data("query($id: ID!) { node(id: $id) { id } client(ref: { id: $id }) { id } invoice(ref: { id: $id }) { id } }", json!({ "id": id }));
        assert_eq!(
            found,
            json!({ "node": null, "client": null, "invoice": null }),
            "{id}"
        );
    }
    for (operation, input) in [
        (
            "RecordPayment",
            json!({ "client": { "number": "C001" }, "method": "TRANSFER", "amount": 10.0 }),
        ),
        (
            "RecordPayment",
            json!({ "client": { "number": "C001" }, "method": "TRANSFER", "amount": "ten" }),
        ),
        (
            "RecordPayment",
            json!({ "client": { "number": "C001" }, "method": "BARTER", "amount": "10.00" }),
        ),
        (
            "RecordPayment",
            json!({ "client": { "number": "C001", "id": "x" }, "method": "TRANSFER", "amount": "10.00" }),
        ),
        (
            "RecordPayment",
            json!({ "client": { "number": "C001" }, "method": "TRANSFER", "amount": "10.00", "receivedOn": "31/12/2026" }),
        ),
        (
            "RecordPayment",
            json!({ "client": { "number": "C001" }, "method": "TRANSFER", "amount": "10.00", "unheardOf": 1 }),
        ),
    ] {
        let answer = api.contract(operation, json!({ "input": input })).json();
        assert!(!codes(&answer).is_empty(), "{input}: {answer}");
        for code in codes(&answer) {
            assert!(
                matches!(code, "BAD_USER_INPUT" | "GRAPHQL_VALIDATION_FAILED"),
                "{input}: {answer}"
            );
        }
    }
}

#[test]
fn a_replay_answers_the_same_bytes_and_does_nothing() {
    let api = books();
    let payment = json!({
        "client": { "number": "C001" }, "receivedOn": day("03-02"), "method": "CHEQUE", "amount": "100.00", "idempotencyKey": "once",
        "allocations": [{ "debit": { "number": "FA-C001" }, "amount": "60.00" }],
    });
    let variables = json!({ "input": payment });
    let first = api.contract("RecordPayment", variables.clone());
    assert!(first.text.contains("\"60.00\""), "{}", first.text);
    // What the answer shows changes afterwards; the replay still says what was done.
    api.allocate(&day("03-05"), &[("FA-C001", "RG-C001", "500.00")]);
    let before = state(&api);
    assert_eq!(api.contract("RecordPayment", variables).text, first.text);
    assert_eq!(state(&api), before);

    let other = with(payment.clone(), &json!({ "amount": "100.01" }));
    api.refused(
        "RecordPayment",
        other,
        "IDEMPOTENCY_KEY_REUSED",
        &["idempotencyKey"],
    );
    let other = json!({ "name": "Other", "idempotencyKey": "once" });
    api.refused(
        "CreateClient",
        other,
        "IDEMPOTENCY_KEY_REUSED",
        &["idempotencyKey"],
    );
    assert_eq!(state(&api), before);

    // A key that was refused is free again.
    let late = json!({ "client": { "number": "C999" }, "method": "CHEQUE", "amount": "1.00", "receivedOn": day("03-02"), "idempotencyKey": "again" });
    api.refused("RecordPayment", late.clone(), "NOT_FOUND", &["client"]);
    api.make(
        "RecordPayment",
        with(late, &json!({ "client": { "number": "C001" } })),
    );
}

#[test]
fn a_replay_answers_what_is_asked_to_those_who_may_see_it() {
    let company = Company::new();
    let (admin, (sales, user)) = (company.admin(), company.as_member("SALES"));
    for client in ["C001", "C002"] {
        admin.client(client);
        let number = format!("FA-{client}");
        admin.invoice(client, &number, &day("01-10"), &day("02-09"), ("100", "0"));
    }
    own(&admin, "C001", &user);
    let answered = |api: &Api, client: &str, key: &str, first: i32| {
        let input = json!({ "invoice": { "number": format!("FA-{client}") }, "amount": "20.00", "reason": "BLIV",
            "openedOn": day("01-20"), "idempotencyKey": key });
        api.run(
            "mutation($input: OpenDisputeInput!, $first: Int!) { openDispute(input: $input) {
               dispute { invoice { number disputes(first: $first) { nodes { amount } } } } userErrors { code } } }",
            json!({ "input": input, "first": first }),
        )
    };
    let sent = |api: &Api, client: &str, first: i32| {
        data(answered(api, client, client, first))["openDispute"].take()
    };
    let opened = |api: &Api, client: &str, first: i32| {
        let opened = sent(api, client, first);
        assert_eq!(opened["userErrors"], json!([]));
        opened["dispute"]["invoice"].clone()
    };
    let shown = opened(&admin, "C001", 1);
    assert_eq!(shown["disputes"]["nodes"], json!([{ "amount": "20.00" }]));
    // The same input with other rows below what it made.
    let none = opened(&admin, "C001", 0);
    assert_eq!(none["disputes"]["nodes"], json!([]));
    assert_eq!(opened(&admin, "C001", 1), shown);
    assert_ne!(opened(&admin, "C002", 1), Value::Null);
    // The key of another is not a way to what they saw.
    for client in ["C001", "C002"] {
        let refused = sent(&sales, client, 1);
        assert_eq!(refused["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
        assert_eq!(refused["dispute"], Value::Null);
    }
    let disputes = admin.data("{ disputes { totalCount } }", json!({}));
    assert_eq!(disputes["disputes"]["totalCount"], 2);
    // Their own is a way to it as long as the client is theirs.
    admin.invoice("C001", "FA-OWN", &day("01-10"), &day("02-09"), ("100", "0"));
    let own_key = || answered(&sales, "OWN", "own", 5);
    let mine = own_key();
    let seen = &mine["data"]["openDispute"]["dispute"]["invoice"];
    assert_eq!(seen["number"], "FA-OWN", "{mine}");
    assert_eq!(own_key()["data"], mine["data"]);
    let (_, other) = company.as_member("SALES");
    own(&admin, "C001", &other);
    let gone = own_key();
    let why = &gone["errors"][0]["extensions"];
    assert_eq!(
        (&why["code"], &why["refusal"], &gone["data"]["openDispute"]),
        (&json!("BAD_USER_INPUT"), &json!("NOT_FOUND"), &Value::Null)
    );
}

#[test]
fn sixteen_at_once_under_one_key_have_one_effect() {
    let api = books();
    let invoice = json!({ "client": { "number": "C001" }, "issuedOn": day("03-10"), "lines": line("10.00"), "idempotencyKey": "storm" });
    let variables = json!({ "input": invoice });
    let answers: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| api.contract("IssueInvoice", variables.clone()).text))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("an answer"))
            .collect()
    });
    for answer in &answers {
        assert_eq!(answer, &answers[0]);
    }
    let answer: Value = serde_json::from_str(&answers[0]).expect("JSON");
    assert_eq!(
        answer["data"]["issueInvoice"]["userErrors"],
        json!([]),
        "{answer}"
    );
    let found = api.data(
        "{ invoices { totalCount } integrityCheck { ok } }",
        json!({}),
    );
    assert_eq!(
        found,
        json!({ "invoices": { "totalCount": 4 }, "integrityCheck": { "ok": true } })
    );
}

#[test]
fn two_who_match_the_same_credit_cannot_both_have_it() {
    let api = books();
    let input = json!({ "lines": [{ "debit": { "number": "FA-C001" }, "credit": { "number": "RG-C001" }, "amount": "300.00" }], "allocatedOn": day("03-05") });
    let variables = json!({ "input": input });
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| api.contract("Allocate", variables.clone()).json()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("an answer"))
            .collect()
    });
    let done = answers
        .iter()
        .filter(|answer| answer["data"]["allocate"]["userErrors"] == json!([]))
        .count();
    let refused = answers
        .iter()
        .filter(|answer| answer["data"]["allocate"]["userErrors"][0]["code"] == "OVER_ALLOCATION")
        .count();
    assert_eq!((done, refused), (1, 7), "{answers:?}");
}

#[test]
fn a_validation_says_what_would_be_refused_and_writes_nothing() {
    let api = books();
    let before = state(&api);
    let invoice = json!({ "client": { "number": "C001" }, "issuedOn": day("03-01"), "lines": line("100.00"), "validateOnly": true });
    assert_eq!(
        api.make("IssueInvoice", invoice.clone())["invoice"],
        Value::Null
    );
    api.refused(
        "IssueInvoice",
        with(invoice, &json!({ "dueOn": day("02-01") })),
        "INVALID",
        &["dueOn"],
    );
    assert_eq!(state(&api), before);
}
