//! Four eyes (section 12): what waits for a second person, who decides it, and what a decision does.

use std::thread;
use std::time::Duration;

use chrono::Days;
use diesel::RunQueryDsl;
use serde_json::{Value, json};

use crate::harness::{Api, Company, codes, command, day, owner, tamper, today};

const REQUEST: &str = "id kind status ground permission amount currency operation input before after reason \
    proposedBy decidedBy decision segregated resultId decidable client { number } history { status reason recordedBy }";

/// A mutation with one input: its payload.
fn mutate(api: &Api, mutation: &str, input: Value, fields: &str) -> Value {
    let kind = match mutation {
        "linkPayerAccount" => "PayerAccountInput".to_owned(),
        other => format!("{}{}Input", other[..1].to_uppercase(), &other[1..]),
    };
    let document = format!(
        "mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {fields} userErrors {{ code field message details }} }} }}"
    );
    api.data(&document, json!({ "input": input }))[mutation].clone()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text: {value}"))
        .to_owned()
}

/// The code that refuses a mutation.
#[track_caller]
fn refusal(api: &Api, mutation: &str, input: Value) -> String {
    let payload = mutate(api, mutation, input, "");
    text(&payload["userErrors"][0]["code"])
}

/// A mutation that has to wait: the id of its request.
#[track_caller]
fn asks(api: &Api, mutation: &str, input: Value) -> String {
    let payload = mutate(api, mutation, input, "");
    let error = &payload["userErrors"][0];
    assert_eq!(
        error["code"], "APPROVAL_REQUIRED",
        "{mutation}: {payload:#}"
    );
    assert_eq!(error["details"]["status"], "PROPOSED");
    text(&error["details"]["approvalRequestId"])
}

#[track_caller]
fn does(api: &Api, mutation: &str, input: Value, fields: &str) -> Value {
    let payload = mutate(api, mutation, input, fields);
    assert_eq!(payload["userErrors"], json!([]), "{mutation}: {payload:#}");
    payload
}

#[track_caller]
fn approves(api: &Api, request: &str) -> Value {
    let fields = format!("approval {{ {REQUEST} }}");
    does(
        api,
        "approveRequest",
        json!({ "request": request }),
        &fields,
    )["approval"]
        .take()
}

fn request(api: &Api, id: &str) -> Value {
    let document = format!("query($id: ID!) {{ approval(id: $id) {{ {REQUEST} }} }}");
    api.data(&document, json!({ "id": id }))["approval"].take()
}

/// The ids of the requests that wait for this caller.
fn queue(api: &Api) -> Vec<String> {
    let asked = "{ approvals(filter: { waitingForMe: true }) { nodes { id } totalCount } }";
    let found = api.data(asked, json!({}));
    let nodes = found["approvals"]["nodes"].as_array().expect("nodes");
    assert_eq!(found["approvals"]["totalCount"], nodes.len());
    nodes.iter().map(|node| text(&node["id"])).collect()
}

fn count(api: &Api, list: &str) -> Value {
    api.data(&format!("{{ {list} {{ totalCount }} }}"), json!({}))[list]["totalCount"].take()
}

fn set(api: &Api, approvals: Value) {
    let input = json!({ "settings": { "approvals": approvals } });
    does(api, "updateCompany", input, "");
}

/// What the change feed tells of approvals, once it tells this much: other writes on the server hold it back.
fn told(api: &Api, expected: usize) -> Vec<String> {
    let asked = "{ changes(topics: [WORKLIST]) { changes { kind subjectId } } }";
    let mut found = Vec::new();
    for _ in 0..400 {
        let page = api.data(asked, json!({}));
        let changes = page["changes"]["changes"].as_array().expect("changes");
        let kinds = changes.iter().map(|change| text(&change["kind"]));
        found = kinds.filter(|kind| kind.starts_with("APPROVAL_")).collect();
        if found.len() >= expected {
            break;
        }
        thread::sleep(Duration::from_millis(25));
    }
    found
}

/// A company of several people with thresholds, a client and an invoice of 12 000 €, late since long.
struct Office {
    company: Company,
    admin: Api,
    director: Api,
    credit: Api,
    accountant: Api,
    second: Api,
}

fn office() -> Office {
    let company = Company::segregated();
    set(
        &company.admin(),
        json!({ "credit_note": { "EUR": "500.00" }, "credit_note_director": { "EUR": "5000" },
                "credit_limit": { "EUR": "10000" }, "penalty_waiver": { "EUR": "40" } }),
    );
    let api = company.admin();
    api.client("C001");
    let line = ("10000.00", "20");
    api.invoice("C001", "FA-1", &day("01-02"), &day("01-03"), line);
    let member = |role| company.as_member(role).0;
    let (admin, director, credit) = (
        member("ADMIN"),
        member("DIRECTOR"),
        member("CREDIT_MANAGER"),
    );
    let (accountant, second) = (member("AR_ACCOUNTANT"), member("AR_ACCOUNTANT"));
    Office {
        company,
        admin,
        director,
        credit,
        accountant,
        second,
    }
}

fn credit(amount: &str) -> Value {
    json!({ "invoice": { "number": "FA-1" }, "amount": amount })
}

/// A day that lies more than a month back, and a receipt of it.
fn long_ago(office: &Office) -> String {
    let on = (today() - Days::new(60)).to_string();
    let api = office.company.admin();
    api.invoice("C001", "FA-OLD", &on, &on, ("100.00", "20"));
    api.payment("C001", "RG-OLD", &on, "120.00");
    on
}

#[test]
fn every_kind_waits_for_a_second_person_of_the_right_role_r12_1() {
    let office = office();
    let on = long_ago(&office);
    let elsewhere = Company::segregated().as_member("ADMIN").0;
    let (director, credit_manager) = (&office.director, &office.credit);
    let (accountant, second) = (&office.accountant, &office.second);
    let loss =
        json!({ "invoice": { "number": "FA-OLD" }, "reason": "perdu", "evidence": ["courrier"] });
    let matching = json!({ "lines": [{ "debit": { "number": "FA-OLD" }, "credit": { "number": "RG-OLD" } }],
        "allocatedOn": on, "reason": "oublié" });
    // Kind, deed and input; who may not decide, who does; what the result's id begins with.
    let cases = [
        (
            "CREDIT_NOTE",
            "issueCreditNote",
            credit("600.00"),
            second,
            credit_manager,
            "doc_",
        ),
        (
            "CREDIT_NOTE",
            "issueCreditNote",
            credit("5000.01"),
            credit_manager,
            director,
            "doc_",
        ),
        (
            "CREDIT_LIMIT",
            "setCreditTerms",
            json!({ "client": { "number": "C001" }, "creditLimit": "10000.01", "reason": "croissance" }),
            credit_manager,
            director,
            "cli_",
        ),
        (
            "BANK_DETAILS",
            "linkPayerAccount",
            json!({ "client": { "number": "C001" }, "iban": "FR7630006000011234567890189" }),
            director,
            second,
            "cli_",
        ),
        (
            "MATCHING",
            "allocate",
            matching,
            accountant,
            credit_manager,
            "alc_",
        ),
        (
            "PENALTY_WAIVER",
            "waivePenalties",
            json!({ "invoice": { "number": "FA-1" }, "scope": "BOTH", "reason": "geste" }),
            credit_manager,
            director,
            "doc_",
        ),
    ];
    for (kind, mutation, input, wrong, right, prefix) in cases {
        let before = count(&office.admin, "creditNotes");
        let id = asks(&office.admin, mutation, input.clone());
        // Asked again without a key, it is the same request.
        assert_eq!(asks(&office.admin, mutation, input.clone()), id, "{kind}");
        assert_eq!(
            count(&office.admin, "creditNotes"),
            before,
            "{kind}: nothing is done"
        );
        let input = json!({ "request": id });
        let script = office.company.admin();
        for (who, code) in [
            (&office.admin, "SECOND_PERSON_REQUIRED"),
            (wrong, "FORBIDDEN"),
            (&script, "FORBIDDEN"),
            (&elsewhere, "NOT_FOUND"),
        ] {
            assert_eq!(
                refusal(who, "approveRequest", input.clone()),
                code,
                "{kind}"
            );
            let rejects = json!({ "request": id, "reason": "non" });
            assert_eq!(refusal(who, "rejectRequest", rejects), code, "{kind}");
        }
        assert!(
            !queue(&office.admin).contains(&id) && !queue(wrong).contains(&id),
            "{kind}"
        );
        assert!(
            !queue(&script).contains(&id),
            "{kind}: no script decides (R12.5)"
        );
        assert!(queue(right).contains(&id), "{kind}");
        assert_eq!(request(wrong, &id)["decidable"], false);
        assert_eq!(request(right, &id)["decidable"], true);
        assert_eq!(request(&elsewhere, &id), Value::Null);

        let done = approves(right, &id);
        assert_eq!(
            (&done["kind"], &done["status"]),
            (&json!(kind), &json!("APPROVED"))
        );
        assert!(text(&done["resultId"]).starts_with(prefix), "{done:#}");
        assert_eq!(done["segregated"], true);
        let history = done["history"].as_array().expect("a history");
        assert_eq!(
            (&history[0]["status"], &history[1]["status"], history.len()),
            (&json!("PROPOSED"), &json!("APPROVED"), 2)
        );
        assert_eq!(history[0]["recordedBy"], done["proposedBy"]);
        assert_eq!(history[1]["recordedBy"], done["decidedBy"]);
        assert_eq!(
            refusal(right, "approveRequest", input),
            "WRONG_STATE",
            "{kind}"
        );
        assert!(queue(right).is_empty(), "{kind}");
    }
    assert_eq!(count(&office.admin, "creditNotes"), 2);
    let client = "{ client(ref: { number: \"C001\" }) { creditLimit payerAccounts { iban } } }";
    let client = office.accountant.data(client, json!({}))["client"].take();
    assert_eq!(client["creditLimit"], "10000.01");
    assert_eq!(
        client["payerAccounts"][0]["iban"],
        "FR7630006000011234567890189"
    );
    assert_eq!(
        refusal(&office.admin, "proposeWriteOff", loss),
        "OVER_ALLOCATION",
        "it was matched"
    );
    office.admin.sound();
}

#[test]
fn files_and_runs_stand_in_the_same_queue_r12_1() {
    let office = office();
    let loss = json!({ "invoice": { "number": "FA-1" }, "amount": "120.00", "reason": "perdu", "evidence": ["courrier"] });
    let proposes =
        |api: &Api| text(&does(api, "proposeWriteOff", loss.clone(), "file { id }")["file"]["id"]);
    let waiting = |of: &Api| queue(of).first().cloned().expect("a request");

    proposes(&office.accountant);
    let id = waiting(&office.director);
    let shown = request(&office.director, &id);
    assert_eq!(
        (
            &shown["kind"],
            &shown["amount"],
            &shown["reason"],
            &shown["client"]["number"]
        ),
        (
            &json!("WRITE_OFF"),
            &json!("120.00"),
            &json!("perdu"),
            &json!("C001")
        )
    );
    assert!(queue(&office.credit).is_empty());
    assert_eq!(
        refusal(
            &office.accountant,
            "approveRequest",
            json!({ "request": id })
        ),
        "FORBIDDEN"
    );
    let done = approves(&office.director, &id);
    assert!(text(&done["resultId"]).starts_with("dou_"));
    // Decided by its own mutation, the request is decided with it.
    let file = proposes(&office.accountant);
    let id = waiting(&office.director);
    let decision = json!({ "file": { "id": file }, "approve": false, "reason": "trop tôt" });
    does(&office.director, "decideDoubtfulFile", decision, "");
    let rejected = request(&office.director, &id);
    assert_eq!(
        (&rejected["status"], &rejected["decision"]),
        (&json!("REJECTED"), &json!("trop tôt"))
    );
    // Taken back by its author, the file ends with it.
    let file = proposes(&office.accountant);
    let id = waiting(&office.director);
    does(
        &office.accountant,
        "withdrawRequest",
        json!({ "request": id }),
        "",
    );
    let decision = json!({ "file": { "id": file }, "approve": true });
    assert_eq!(
        refusal(&office.director, "decideDoubtfulFile", decision),
        "WRONG_STATE"
    );

    let run = json!({ "asOf": day("01-31") });
    does(&office.credit, "proposeProvisionRun", run.clone(), "");
    let id = waiting(&office.director);
    assert_eq!(request(&office.director, &id)["kind"], "PROVISION");
    assert_eq!(approves(&office.director, &id)["status"], "APPROVED");
    does(&office.credit, "proposeProvisionRun", run, "");
    let id = waiting(&office.director);
    does(
        &office.credit,
        "withdrawRequest",
        json!({ "request": id, "reason": "erreur" }),
        "",
    );
    assert_eq!(request(&office.director, &id)["status"], "WITHDRAWN");
    office.admin.sound();
}

#[test]
fn thresholds_are_per_currency_and_begin_above_r12_6() {
    let office = office();
    let line = ("1000.00", "0");
    let api = office.company.admin();
    api.make("IssueInvoice", json!({ "client": { "number": "C001" }, "number": "FA-USD", "issuedOn": day("01-02"),
        "dueOn": day("01-03"), "currency": "USD", "exchangeRate": "0.9",
        "lines": [{ "description": "x", "quantity": "1", "unitPrice": line.0, "vatRate": line.1 }] }));
    let credits = |invoice: &str, amount: &str| {
        let input = json!({ "invoice": { "number": invoice }, "amount": amount });
        mutate(
            &office.accountant,
            "issueCreditNote",
            input,
            "creditNote { number }",
        )
    };
    assert_eq!(credits("FA-1", "500.00")["userErrors"], json!([]));
    let above = credits("FA-1", "500.01");
    assert_eq!(above["userErrors"][0]["code"], "APPROVAL_REQUIRED");
    assert_eq!(
        above["userErrors"][0]["details"]["permission"],
        "APPROVE_CREDIT_NOTES"
    );
    // A currency without a threshold has none to spare.
    let dollars = credits("FA-USD", "0.01");
    assert_eq!(
        dollars["userErrors"][0]["details"]["permission"],
        "APPROVE_LARGE_CREDIT_NOTES"
    );
    // A limit that is lowered, or below the threshold, waits for nobody.
    let limits = |limit: &str| json!({ "client": { "number": "C001" }, "creditLimit": limit });
    does(&office.credit, "setCreditTerms", limits("10000.00"), "");
    does(&office.credit, "setCreditTerms", limits("9000.00"), "");
    let none = json!({ "client": { "number": "C001" }, "clear": ["CREDIT_LIMIT"] });
    asks(&office.credit, "setCreditTerms", none);
    // Checked only, nothing waits.
    let checked =
        json!({ "invoice": { "number": "FA-1" }, "amount": "700.00", "validateOnly": true });
    let checked = mutate(&office.accountant, "issueCreditNote", checked, "");
    assert_eq!(checked["userErrors"][0]["code"], "APPROVAL_REQUIRED");
    assert!(checked["userErrors"][0]["details"]["approvalRequestId"].is_null());
    // What would be refused anyway is refused at once.
    assert_eq!(
        credits("FA-1", "11500.01")["userErrors"][0]["code"],
        "CREDIT_EXCEEDS_INVOICE"
    );
    assert_eq!(count(&office.admin, "approvals"), 3);
    for (rules, message) in [
        (json!({ "credit_note": { "XXQ": "1" } }), "no currency"),
        (json!({ "credit_note": { "EUR": "-1" } }), "an amount"),
        (
            json!({ "credit_note_director": { "EUR": "499" } }),
            "not below",
        ),
        (json!({ "request_days": 0 }), "1 to 365"),
        (json!({ "credit_notes": {} }), "not a setting"),
    ] {
        let input = json!({ "settings": { "approvals": rules } });
        let refused = mutate(&office.admin, "updateCompany", input, "");
        let error = &refused["userErrors"][0];
        assert_eq!(
            (&error["code"], &error["field"]),
            (&json!("INVALID"), &json!(["settings"]))
        );
        assert!(
            text(&error["message"]).contains(message),
            "{rules}: {error}"
        );
    }
    // A null takes a currency's threshold away.
    set(
        &office.admin,
        json!({ "credit_note": { "EUR": null }, "credit_note_director": { "EUR": null } }),
    );
    assert_eq!(credits("FA-1", "700.00")["userErrors"], json!([]));
    office.admin.sound();
}

#[test]
fn two_approvals_at_once_do_it_once() {
    let office = office();
    let id = asks(&office.accountant, "issueCreditNote", credit("600.00"));
    let approve = |api: &Api| {
        mutate(
            api,
            "approveRequest",
            json!({ "request": id }),
            "approval { status }",
        )
    };
    let approve = &approve;
    let results: Vec<Value> = thread::scope(|scope| {
        let tries = [
            &office.credit,
            &office.director,
            &office.credit,
            &office.admin,
        ]
        .map(|api| scope.spawn(move || approve(api)));
        tries
            .into_iter()
            .map(|tried| tried.join().expect("an answer"))
            .collect()
    });
    let done = results
        .iter()
        .filter(|result| result["userErrors"] == json!([]));
    assert_eq!(done.count(), 1, "{results:#?}");
    let late = results
        .iter()
        .filter(|result| result["userErrors"][0]["code"] == "WRONG_STATE");
    assert_eq!(late.count(), 3, "{results:#?}");
    assert_eq!(count(&office.admin, "creditNotes"), 1);
    office.admin.sound();
}

#[test]
fn a_key_leads_from_the_request_to_its_result() {
    let office = office();
    let keyed = |key: &str, amount: &str| {
        let mut input = credit(amount);
        input["idempotencyKey"] = json!(key);
        input
    };
    let issue = |input: Value| {
        mutate(
            &office.accountant,
            "issueCreditNote",
            input,
            "creditNote { id total }",
        )
    };
    let id = asks(&office.accountant, "issueCreditNote", keyed("k1", "600.00"));
    assert_eq!(
        asks(&office.accountant, "issueCreditNote", keyed("k1", "600.00")),
        id
    );
    assert_ne!(
        asks(&office.accountant, "issueCreditNote", keyed("k2", "600.00")),
        id
    );
    let other = issue(keyed("k1", "700.00"));
    assert_eq!(other["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
    // The row of a bulk call stands for a call of the single form.
    let bulk = "mutation($inputs: [IssueCreditNoteInput!]!) { issueCreditNotes(inputs: $inputs) { creditNote { id } userErrors { code details } } }";
    let rows = json!({ "inputs": [keyed("k1", "600.00"), keyed("k3", "10.00")] });
    let rows = office.accountant.data(bulk, rows)["issueCreditNotes"].take();
    assert_eq!(rows[0]["userErrors"][0]["details"]["approvalRequestId"], id);
    assert_eq!(rows[1]["userErrors"], json!([]));

    let approve = json!({ "request": id, "idempotencyKey": "a1" });
    let fields = "approval { id status resultId decidedAt }";
    let first = does(&office.credit, "approveRequest", approve.clone(), fields);
    assert_eq!(
        does(&office.credit, "approveRequest", approve, fields),
        first
    );
    let made = issue(keyed("k1", "600.00"));
    assert_eq!(made["userErrors"], json!([]));
    assert_eq!(made["creditNote"]["id"], first["approval"]["resultId"]);
    assert_eq!(issue(keyed("k1", "600.00")), made);

    let second = asks(&office.accountant, "issueCreditNote", keyed("k2", "600.00"));
    does(
        &office.credit,
        "rejectRequest",
        json!({ "request": second, "reason": "déjà fait" }),
        "",
    );
    let rejected = issue(keyed("k2", "600.00"));
    let error = &rejected["userErrors"][0];
    assert_eq!(
        (&error["code"], &error["details"]["status"]),
        (&json!("APPROVAL_REQUIRED"), &json!("REJECTED"))
    );
    assert!(text(&error["message"]).contains("déjà fait"));
    assert_eq!(count(&office.admin, "creditNotes"), 2);
    office.admin.sound();
}

#[test]
fn a_rejection_says_why_and_a_request_is_withdrawn_by_its_author_r12_6() {
    let office = office();
    let id = asks(&office.accountant, "issueCreditNote", credit("600.00"));
    let empty = json!({ "request": id, "reason": " " });
    assert_eq!(refusal(&office.credit, "rejectRequest", empty), "INVALID");
    assert_eq!(
        refusal(&office.credit, "withdrawRequest", json!({ "request": id })),
        "FORBIDDEN"
    );
    for (root, api) in [
        ("approveRequest", office.company.as_role("AUDITOR")),
        ("rejectRequest", office.company.as_role("SALES")),
    ] {
        let input = if root == "approveRequest" {
            "request: \"x\""
        } else {
            "request: \"x\", reason: \"y\""
        };
        let answer = api.run(
            &format!("mutation {{ {root}(input: {{ {input} }}) {{ userErrors {{ code }} }} }}"),
            json!({}),
        );
        assert_eq!(codes(&answer), ["FORBIDDEN"]);
    }
    does(
        &office.credit,
        "rejectRequest",
        json!({ "request": id, "reason": "pas d'accord" }),
        "",
    );
    let rejected = request(&office.accountant, &id);
    assert_eq!(
        (
            &rejected["status"],
            &rejected["decision"],
            &rejected["resultId"]
        ),
        (&json!("REJECTED"), &json!("pas d'accord"), &Value::Null)
    );
    assert_eq!(
        refusal(&office.credit, "approveRequest", json!({ "request": id })),
        "WRONG_STATE"
    );
    let id = asks(&office.accountant, "issueCreditNote", credit("600.00"));
    does(
        &office.accountant,
        "withdrawRequest",
        json!({ "request": id, "reason": "erreur" }),
        "",
    );
    assert_eq!(request(&office.accountant, &id)["status"], "WITHDRAWN");
    // What nobody decides in time is void.
    let id = asks(&office.accountant, "issueCreditNote", credit("600.00"));
    tamper(&format!(
        "UPDATE approval_requests SET expires_at = now() - interval '1 minute' WHERE 'apr_' || replace(id::text, '-', '') = '{id}'"
    ));
    assert!(queue(&office.credit).is_empty());
    assert_eq!(
        refusal(&office.credit, "approveRequest", json!({ "request": id })),
        "WRONG_STATE"
    );
    command(&["work", "--company", &office.company.id]);
    assert_eq!(request(&office.accountant, &id)["status"], "EXPIRED");
    assert_eq!(count(&office.admin, "creditNotes"), 0);
    assert_eq!(
        told(&office.admin, 6),
        [
            "APPROVAL_PROPOSED",
            "APPROVAL_REJECTED",
            "APPROVAL_PROPOSED",
            "APPROVAL_WITHDRAWN",
            "APPROVAL_PROPOSED",
            "APPROVAL_EXPIRED"
        ]
    );
    office.admin.sound();
}

#[test]
fn an_approval_is_judged_by_the_rules_of_its_moment() {
    let office = office();
    let id = asks(&office.accountant, "issueCreditNote", credit("12000.00"));
    does(&office.second, "issueCreditNote", credit("1.00"), "");
    let refused = mutate(
        &office.director,
        "approveRequest",
        json!({ "request": id }),
        "approval { id }",
    );
    let error = &refused["userErrors"][0];
    assert_eq!(
        (&error["code"], &error["field"]),
        (
            &json!("CREDIT_EXCEEDS_INVOICE"),
            &json!(["request", "amount"])
        )
    );
    assert_eq!(request(&office.director, &id)["status"], "PROPOSED");
    assert_eq!(count(&office.admin, "creditNotes"), 1);
    // What was shown to the approver is no longer so.
    let limit = |limit: &str| json!({ "client": { "number": "C001" }, "creditLimit": limit });
    let raise = asks(&office.credit, "setCreditTerms", limit("20000.00"));
    does(&office.credit, "setCreditTerms", limit("3000.00"), "");
    assert_eq!(
        refusal(
            &office.director,
            "approveRequest",
            json!({ "request": raise })
        ),
        "CONFLICT"
    );
    // A threshold that was raised meanwhile does not keep the approval from being done.
    let id = asks(&office.accountant, "issueCreditNote", credit("600.00"));
    set(&office.admin, json!({ "credit_note": { "EUR": "1000" } }));
    assert_eq!(approves(&office.credit, &id)["status"], "APPROVED");
    let checked = json!({ "request": raise, "validateOnly": true });
    assert_eq!(
        refusal(&office.director, "approveRequest", checked),
        "CONFLICT"
    );
    office.admin.sound();
}

#[test]
fn a_dispute_ends_with_a_credit_note_that_is_approved_r8_2() {
    let office = office();
    let sales = office.company.as_member("ADMIN").0;
    let opened = json!({ "invoice": { "number": "FA-1" }, "amount": "600.00", "reason": "QUANTITY", "description": "manque" });
    let reasons = office.admin.data("{ disputeReasons { code } }", json!({}));
    let reason = reasons["disputeReasons"][0]["code"].clone();
    let mut opened = opened;
    opened["reason"] = reason;
    let dispute =
        does(&office.accountant, "openDispute", opened, "dispute { id }")["dispute"]["id"].take();
    let resolve = json!({ "dispute": { "id": dispute }, "outcome": "ACCEPTED" });
    does(&sales, "resolveDispute", resolve.clone(), "");
    let id = asks(&office.accountant, "resolveDispute", resolve.clone());
    let shown = request(&office.credit, &id);
    assert_eq!(
        (&shown["kind"], &shown["operation"]),
        (&json!("CREDIT_NOTE"), &json!("resolveDispute"))
    );
    approves(&office.credit, &id);
    let query =
        "query($id: ID!) { node(id: $id) { ... on Dispute { status creditNote { total } } } }";
    let closed = office.admin.data(query, json!({ "id": dispute }))["node"].take();
    assert_eq!(
        (&closed["status"], &closed["creditNote"]["total"]),
        (&json!("CLOSED"), &json!("600.00"))
    );
    office.admin.sound();
}

#[test]
fn receipts_and_credits_of_one_item_are_two_peoples_work_r12_2() {
    let office = office();
    let pay = |number: &str, allocations: Value| {
        json!({ "client": { "number": "C001" }, "number": number, "receivedOn": today().to_string(), "method": "CHEQUE",
                "amount": "100.00", "allocations": allocations })
    };
    let on_fa1 = json!([{ "debit": { "number": "FA-1" } }]);
    does(
        &office.accountant,
        "recordPayment",
        pay("RG-1", on_fa1.clone()),
        "",
    );
    // Far below the threshold, and yet.
    let id = asks(&office.accountant, "issueCreditNote", credit("1.00"));
    assert_eq!(request(&office.credit, &id)["ground"], "SAME_PERSON");
    // Nor does somebody else approve it who recorded a receipt of it.
    does(
        &office.admin,
        "recordPayment",
        pay("RG-2", on_fa1.clone()),
        "",
    );
    assert_eq!(
        refusal(&office.admin, "approveRequest", json!({ "request": id })),
        "SECOND_PERSON_REQUIRED"
    );
    approves(&office.credit, &id);
    // The other way round: who credited alone does not match an own receipt alone.
    does(&office.second, "issueCreditNote", credit("1.00"), "");
    assert_eq!(
        refusal(&office.second, "recordPayment", pay("RG-3", on_fa1)),
        "SECOND_PERSON_REQUIRED"
    );
    does(&office.second, "recordPayment", pay("RG-4", json!([])), "");
    let lines =
        json!({ "lines": [{ "debit": { "number": "FA-1" }, "credit": { "number": "RG-4" } }] });
    let id = asks(&office.second, "allocate", lines.clone());
    assert_eq!(request(&office.credit, &id)["ground"], "SAME_PERSON");
    // Another person matches it without asking.
    does(&office.accountant, "allocate", lines, "");
    assert_eq!(
        refusal(&office.credit, "approveRequest", json!({ "request": id })),
        "OVER_ALLOCATION"
    );
    // Losses are approved by somebody who recorded no receipt of the item.
    let loss =
        json!({ "invoice": { "number": "FA-1" }, "reason": "perdu", "evidence": ["courrier"] });
    let file =
        does(&office.accountant, "proposeWriteOff", loss, "file { id }")["file"]["id"].take();
    let decision = json!({ "file": { "id": file }, "approve": true });
    assert_eq!(
        refusal(&office.admin, "decideDoubtfulFile", decision.clone()),
        "SECOND_PERSON_REQUIRED"
    );
    does(&office.director, "decideDoubtfulFile", decision, "");
    office.admin.sound();
}

/// The credit note names no invoice, and is matched by hand; or the money comes as a deposit.
#[test]
fn neither_a_free_credit_note_nor_a_deposit_goes_round_the_second_person_r12_2() {
    let office = office();
    let free = |number: &str| {
        json!({ "client": { "number": "C001" }, "number": number, "periodFrom": today().to_string(), "periodTo": today().to_string(),
                "lines": [{ "description": "Remise", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] })
    };
    let matched = |credit: &str| json!({ "lines": [{ "debit": { "number": "FA-1" }, "credit": { "number": credit }, "amount": "5.00" }] });
    let paid = |number: &str, allocations: Value| {
        json!({ "client": { "number": "C001" }, "number": number, "receivedOn": today().to_string(), "method": "TRANSFER",
                "amount": "100.00", "allocations": allocations })
    };
    // Credited first, then paid: the line that it is about is named.
    does(&office.second, "issueCreditNote", free("AV-1"), "");
    does(&office.second, "allocate", matched("AV-1"), "");
    let lines = json!([{ "debit": { "number": "FA-2" }, "amount": "1.00" }, { "debit": { "number": "FA-1" }, "amount": "1.00" }]);
    office.second.invoice(
        "C001",
        "FA-2",
        &today().to_string(),
        &today().to_string(),
        ("10.00", "20"),
    );
    office.second.refused(
        "RecordPayment",
        paid("RG-1", lines),
        "SECOND_PERSON_REQUIRED",
        &["allocations", "1"],
    );
    // Paid first, then credited.
    let on_fa1 = json!([{ "debit": { "number": "FA-1" }, "amount": "100.00" }]);
    does(
        &office.accountant,
        "recordPayment",
        paid("RG-2", on_fa1),
        "",
    );
    does(&office.accountant, "issueCreditNote", free("AV-2"), "");
    let id = asks(&office.accountant, "allocate", matched("AV-2"));
    assert_eq!(request(&office.credit, &id)["ground"], "SAME_PERSON");
    approves(&office.credit, &id);
    // A deposit is a receipt: its own is not used on what one credited alone ...
    let deposit = |number: &str| {
        json!({ "client": { "number": "C001" }, "number": number, "receivedOn": today().to_string(), "method": "TRANSFER",
                "amount": "60.00", "deposit": { "vatRate": "20" } })
    };
    let used = |number: &str, on: &str| json!({ "deposit": { "number": number }, "invoice": { "number": on }, "amount": "6.00" });
    does(&office.second, "recordPayment", deposit("RG-3"), "");
    assert_eq!(
        refusal(&office.second, "useDeposit", used("RG-3", "FA-1")),
        "SECOND_PERSON_REQUIRED"
    );
    does(&office.admin, "useDeposit", used("RG-3", "FA-1"), "");
    // ... and nobody credits alone what the own deposit paid.
    does(&office.accountant, "recordPayment", deposit("RG-4"), "");
    does(&office.accountant, "useDeposit", used("RG-4", "FA-2"), "");
    let note = json!({ "invoice": { "number": "FA-2" }, "amount": "1.00" });
    let id = asks(&office.accountant, "issueCreditNote", note);
    assert_eq!(request(&office.credit, &id)["ground"], "SAME_PERSON");
    office.admin.sound();
}

#[test]
fn without_segregation_it_is_done_at_once_and_recorded() {
    let office = office();
    let waits = asks(&office.admin, "issueCreditNote", credit("600.00"));
    let off = json!({ "segregationOfDuties": false });
    does(&office.admin, "updateCompany", off, "");
    let note = does(
        &office.accountant,
        "issueCreditNote",
        credit("700.00"),
        "creditNote { id }",
    );
    let done = "{ approvals(filter: { status: [APPROVED] }) { nodes { kind ground amount segregated proposedBy decidedBy resultId operation } } }";
    let done = office.admin.data(done, json!({}))["approvals"]["nodes"][0].take();
    assert_eq!(
        (
            &done["kind"],
            &done["ground"],
            &done["amount"],
            &done["segregated"]
        ),
        (
            &json!("CREDIT_NOTE"),
            &json!("ABOVE_THRESHOLD"),
            &json!("700.00"),
            &json!(false)
        )
    );
    assert_eq!(
        (&done["proposedBy"], &done["resultId"]),
        (&done["decidedBy"], &note["creditNote"]["id"])
    );
    // What waited may be decided by its author now.
    assert_eq!(approves(&office.admin, &waits)["segregated"], false);
    let link = json!({ "client": { "number": "C001" }, "iban": "FR7630006000011234567890189" });
    does(&office.accountant, "linkPayerAccount", link, "");
    let rules = "{ approvalRules { segregationOfDuties approvals recordedBy } }";
    let rules = office.company.as_role("AUDITOR").data(rules, json!({}))["approvalRules"].take();
    let on: Vec<bool> = rules
        .as_array()
        .expect("rules")
        .iter()
        .filter_map(|rule| rule["segregationOfDuties"].as_bool())
        .collect();
    assert_eq!(on, [false, true, true], "latest first");
    assert_eq!(rules[0]["approvals"]["credit_note"]["EUR"], "500.00");
    office.admin.sound();
}

#[test]
fn a_service_account_asks_and_never_approves_r12_5() {
    let office = office();
    let created = json!({ "name": "Script", "scopes": ["RECORD_PAYMENTS", "READ_JOURNAL"], "expiresOn": today().to_string() });
    let script = does(&office.admin, "createServiceAccount", created, "key");
    let script = Api::with(&text(&script["key"]));
    let link = json!({ "client": { "number": "C001" }, "iban": "FR7630006000011234567890189", "reason": "RIB reçu" });
    let id = asks(&script, "linkPayerAccount", link);
    assert!(queue(&script).is_empty());
    let approve = format!(
        "mutation {{ approveRequest(input: {{ request: \"{id}\", idempotencyKey: \"k\" }}) {{ userErrors {{ code }} }} }}"
    );
    assert_eq!(codes(&script.run(&approve, json!({}))), ["FORBIDDEN"]);
    for right in ["APPROVE", "APPROVE_BANK_DETAILS", "WITHDRAW_REQUESTS"] {
        let wanted =
            json!({ "name": "Autre", "scopes": [right], "expiresOn": today().to_string() });
        assert_eq!(
            refusal(&office.admin, "createServiceAccount", wanted),
            "INVALID",
            "{right}"
        );
    }
    // Management sees payers' accounts masked, here as elsewhere.
    let masked = request(&office.director, &id);
    for iban in [&masked["input"]["iban"], &masked["after"]["iban"]] {
        assert!(!text(iban).contains("30006"), "{iban}");
    }
    let document = "{ auditTrail(filter: { recordType: \"APPROVAL_REQUESTS\" }) { nodes { recordId after } } }";
    let told = office.director.data(document, json!({}))["auditTrail"]["nodes"].take();
    assert_eq!(told[0]["recordId"], id.as_str());
    assert_eq!(told[0]["after"]["input"]["iban"], "FR76…0189");
    assert!(!told.to_string().contains("30006"), "{told}");
    assert_eq!(
        request(&office.accountant, &id)["input"]["iban"],
        "FR7630006000011234567890189"
    );
    // It is done with the rights of its author.
    let done = approves(&office.accountant, &id);
    assert_eq!(
        (&done["proposedBy"], &done["reason"]),
        (&json!("service account Script"), &json!("RIB reçu"))
    );
    office.admin.sound();
}

#[test]
fn what_went_round_the_approval_is_found() {
    let office = office();
    let id = asks(&office.accountant, "issueCreditNote", credit("600.00"));
    approves(&office.credit, &id);
    office.admin.sound();
    let company = format!(
        "(SELECT company_id FROM companies WHERE 'com_' || replace(company_id::text, '-', '') = '{}')",
        office.company.id
    );
    // Not even the serving role's own statements make an author the approver.
    let alone = format!(
        "UPDATE approval_requests SET decided_by = proposed_by WHERE company_id = {company}"
    );
    let refused = diesel::sql_query(&alone).execute(&mut owner());
    assert!(
        refused
            .expect_err("a constraint")
            .to_string()
            .contains("never_the_author")
    );
    tamper(&format!(
        "DELETE FROM approval_requests WHERE company_id = {company}"
    ));
    let check = office
        .admin
        .data("{ integrityCheck { checks { code broken } } }", json!({}));
    let checks = check["integrityCheck"]["checks"]
        .as_array()
        .expect("checks");
    let broken: Vec<&Value> = checks
        .iter()
        .filter(|check| !check["broken"].is_null())
        .map(|check| &check["code"])
        .collect();
    assert_eq!(broken, ["UNAPPROVED"]);
}
