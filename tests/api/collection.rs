//! The collectors' desk, payment plans, the disputes desk and litigation (sections 7 and 8).

use chrono::{Duration, Months};
use serde_json::{Value, json};

use crate::desk::{ago, late, mutate};
use crate::harness::{Api, Company, command, today};

fn preview(api: &Api, client: &str) -> Value {
    let answer = api.data(
        "query($client: String!) { dunningPreview(client: { number: $client }) { nodes { level { level } exclusion claims { exclusion claimed } } } }",
        json!({ "client": client }),
    );
    answer["dunningPreview"]["nodes"][0].clone()
}

fn worklist(api: &Api) -> Vec<Value> {
    let answer = api.data(
        "{ worklist(first: 20) { totalCount nodes { client { number } priority overdue oldestDays lastLevel disputed phone lastContactOn followUpOn \
           brokenPromise waiting promise { amount } nextAction { level { level } exclusion } } } }",
        json!({}),
    );
    answer["worklist"]["nodes"]
        .as_array()
        .expect("entries")
        .clone()
}

fn day(days: i64) -> String {
    (today() + Duration::days(days)).to_string()
}

#[test]
fn the_worklist_is_in_the_documented_order() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 5);
    late(&api, "C002", "FA-2", 60);
    late(&api, "C003", "FA-3", 5);
    api.client("C004");
    let numbers = |list: &[Value]| -> Vec<(String, i64)> {
        list.iter()
            .map(|entry| {
                (
                    entry["client"]["number"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                    entry["priority"].as_i64().unwrap_or_default(),
                )
            })
            .collect()
    };
    let mut list = worklist(&api);
    // 1,200.00 late: one point; 60 days: 20 points; 5 days: 1 point.
    assert_eq!(numbers(&list)[0], ("C002".into(), 21), "{list:#?}");
    assert_eq!(list.len(), 3);
    let first = list.remove(0);
    assert_eq!(
        (&first["overdue"], &first["oldestDays"], &first["phone"]),
        (&json!("1200.00"), &json!(60), &json!("+33 4 72 00 00 00"))
    );
    assert_eq!(first["nextAction"]["level"]["level"], 1);
    // A client to call back, though nothing is late.
    let note = |client: &str, back: i64| {
        let input = json!({ "client": { "number": client }, "kind": "CALL", "outcome": "NO_ANSWER", "note": "sans réponse", "followUpOn": day(back) });
        mutate(
            &api,
            "recordCollectionNote",
            input,
            "note { id followUpOn }",
        )
    };
    assert_eq!(
        note("C004", -1)["userErrors"][0]["field"],
        json!(["followUpOn"])
    );
    assert_eq!(note("C004", 0)["userErrors"], json!([]));
    assert_eq!(note("C001", 3)["userErrors"], json!([]));
    let list = worklist(&api);
    let of = |client: &str| {
        list.iter()
            .find(|entry| entry["client"]["number"] == client)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(of("C004")["priority"], 20, "{list:#?}");
    assert_eq!(of("C001")["priority"], 2);
    // A promise that runs puts the client behind.
    let promise = json!({ "client": { "number": "C002" }, "amount": "1200.00", "dueOn": day(5) });
    mutate(&api, "recordPromise", promise, "promise { id }");
    let list = worklist(&api);
    let waiting = list.last().expect("an entry");
    assert_eq!(
        (
            &waiting["client"]["number"],
            &waiting["waiting"],
            &waiting["promise"]["amount"]
        ),
        (&json!("C002"), &json!(true), &json!("1200.00"))
    );
    // Sales see their own clients, without telephone numbers of others.
    assert_eq!(worklist(&company.as_role("SALES")).len(), 0);
    assert!(
        worklist(&company.as_role("BI_READER"))
            .iter()
            .all(|entry| entry["phone"].is_null())
    );
}

#[test]
fn a_payment_plan_holds_dunning_back_while_it_is_respected_r7_2() {
    let api = Company::new().admin();
    late(&api, "C001", "FA-1", 40);
    assert_eq!(preview(&api, "C001")["level"]["level"], 1);
    let plan = |parts: Value| {
        let input = json!({ "client": { "number": "C001" }, "installments": parts, "interest": "WAIVED_IF_KEPT", "graceDays": 3 });
        mutate(
            &api,
            "recordPaymentPlan",
            input,
            "plan { id status amount paid interest installments { number dueOn amount } }",
        )
    };
    let part = |days: i64, amount: &str| json!({ "dueOn": day(days), "amount": amount });
    for (parts, code, field) in [
        (json!([]), "INVALID", json!(["installments"])),
        (
            json!([part(-1, "100.00")]),
            "INVALID",
            json!(["installments", "0", "dueOn"]),
        ),
        (
            json!([part(5, "100.00"), part(5, "100.00")]),
            "INVALID",
            json!(["installments", "1", "dueOn"]),
        ),
        (
            json!([part(5, "1200.01")]),
            "OVER_ALLOCATION",
            json!(["installments"]),
        ),
    ] {
        let refused = plan(parts.clone());
        assert_eq!(
            (
                &refused["userErrors"][0]["code"],
                &refused["userErrors"][0]["field"]
            ),
            (&json!(code), &field),
            "{parts}"
        );
    }
    let agreed = plan(json!([
        part(0, "400.00"),
        part(30, "400.00"),
        part(60, "400.00")
    ]));
    assert_eq!(
        (&agreed["plan"]["status"], &agreed["plan"]["amount"]),
        (&json!("IN_GOOD_STANDING"), &json!("1200.00")),
        "{agreed}"
    );
    assert_eq!(preview(&api, "C001")["claims"][0]["exclusion"], "PLANNED");
    assert_eq!(
        plan(json!([part(5, "10.00")]))["userErrors"][0]["code"],
        "WRONG_STATE"
    );
    let text = api.letter(
        "PLAN_CONFIRMATION",
        agreed["plan"]["id"].as_str().expect("an id"),
    );
    assert!(
        text.contains("400,00\u{a0}€")
            && text.contains("déchéance du terme")
            && text.contains("renonçons"),
        "{text}"
    );
    let cancel = json!({ "plan": agreed["plan"]["id"], "reason": "dénoncé par le client" });
    assert_eq!(
        mutate(&api, "cancelPaymentPlan", cancel.clone(), "plan { status }")["plan"]["status"],
        "CANCELLED"
    );
    assert_eq!(
        mutate(&api, "cancelPaymentPlan", cancel, "plan { status }")["userErrors"][0]["code"],
        "WRONG_STATE"
    );
    assert_eq!(preview(&api, "C001")["level"]["level"], 1);
}

#[test]
fn a_closed_scenario_takes_no_run_and_a_courtesy_notice_goes_out_before() {
    let api = Company::new().admin();
    api.client("C001");
    // Falls due tomorrow: the notice of J−5 is due whatever day it is, for none moves by more than four (R7.5).
    api.invoice("C001", "FA-1", &ago(20), &day(1), ("2000.00", "20"));
    let found = preview(&api, "C001");
    assert_eq!(
        (&found["level"]["level"], &found["claims"][0]["claimed"]),
        (&json!(0), &json!("2400.00")),
        "{found}"
    );
    let level =
        json!({ "level": 1, "day": 3, "channel": "LETTER", "tone": "FRIENDLY", "proof": false });
    let save = |closed: bool| {
        let input = json!({ "name": "SPECIAL", "levels": [level], "closed": closed });
        mutate(
            &api,
            "saveDunningScenario",
            input,
            "scenario { closed courtesy { daysBefore } }",
        )
    };
    assert_eq!(save(false)["scenario"]["closed"], false);
    let choose = || {
        mutate(
            &api,
            "setDunningScenario",
            json!({ "client": { "number": "C001" }, "name": "SPECIAL" }),
            "client { number }",
        )
    };
    assert_eq!(choose()["userErrors"], json!([]));
    // It knows no courtesy notice.
    assert_eq!(preview(&api, "C001")["level"], Value::Null);
    assert_eq!(save(true)["scenario"]["closed"], true);
    assert_eq!(choose()["userErrors"][0]["code"], "WRONG_STATE");
    crate::desk::any_day(&api);
    let run = mutate(
        &api,
        "proposeDunningRun",
        json!({ "scenario": "SPECIAL" }),
        "run { id }",
    );
    assert_eq!(
        (
            &run["userErrors"][0]["code"],
            &run["userErrors"][0]["field"]
        ),
        (&json!("WRONG_STATE"), &json!(["scenario"])),
        "{run}"
    );
    // The segment's scenario counts again.
    assert_eq!(preview(&api, "C001")["level"]["level"], 0);
}

#[test]
fn the_disputes_desk_counts_reminds_and_takes_up_again_r8_4() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 40);
    late(&api, "C002", "FA-2", 40);
    let (_, owner) = company.as_member("SALES");
    let open = |invoice: &str, reason: &str, amount: &str, since: u64| {
        let input = json!({ "invoice": { "number": invoice }, "reason": reason, "amount": amount, "openedOn": ago(since), "owner": owner, "description": "carton abîmé" });
        api.make("OpenDispute", input)["dispute"]["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let first = open("FA-1", "BLIV", "300.00", 20);
    open("FA-2", "BPRX", "200.00", 12);
    command(&["work", "--company", &company.id]);
    command(&["work", "--company", &company.id]);
    let tasks = api.data("{ tasks { nodes { kind } } }", json!({}));
    let mut kinds: Vec<&str> = tasks["tasks"]["nodes"]
        .as_array()
        .expect("tasks")
        .iter()
        .filter_map(|task| task["kind"].as_str())
        .collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["DISPUTE_OVERDUE", "DISPUTE_REMINDER"], "{tasks}");
    // The notice is kept with the dispute and went to its owner.
    let found = api.data(
        "query($id: ID!) { dispute(ref: { id: $id }) { files { kind name } events { note } } }",
        json!({ "id": first }),
    );
    assert_eq!(
        found["dispute"]["files"].as_array().map(Vec::len),
        Some(1),
        "{found}"
    );
    assert!(
        found["dispute"]["events"].to_string().contains("escalade"),
        "{found}"
    );
    let mails = api.data("{ outbox { nodes { subject } } }", json!({}));
    assert!(mails.to_string().contains("Avis de litige"), "{mails}");
    let figures = |by: &str| {
        let document = format!(
            "{{ disputeStatistics(groupBy: {by}) {{ key opened disputed open openAmount overdue accepted daysToResolve }} }}"
        );
        api.data(&document, json!({}))["disputeStatistics"].clone()
    };
    assert_eq!(
        figures("REASON")[0],
        json!({ "key": "BLIV", "opened": 1, "disputed": "300.00", "open": 1, "openAmount": "300.00", "overdue": 1, "accepted": "0.00", "daysToResolve": null })
    );
    assert_eq!(figures("OWNER")[0]["key"], "Camille");
    assert_eq!(figures("DEPARTMENT")[0]["opened"], 2);
    let reopen = || {
        mutate(
            &api,
            "reopenDispute",
            json!({ "dispute": { "id": first }, "amount": "50.00", "description": "le remplacement est abîmé aussi" }),
            "dispute { id reopens status amount }",
        )
    };
    assert_eq!(reopen()["userErrors"][0]["code"], "WRONG_STATE");
    api.make(
        "ResolveDispute",
        json!({ "dispute": { "id": first }, "outcome": "REJECTED" }),
    );
    assert_eq!(figures("REASON")[0]["daysToResolve"], "20");
    let again = reopen();
    assert_eq!(
        (&again["dispute"]["reopens"], &again["dispute"]["amount"]),
        (&json!(first), &json!("50.00")),
        "{again}"
    );
    // Closed or open, the file can be taken.
    assert_eq!(api.bytes(&format!("/evidence/{first}")).0, 200);
}

#[test]
fn litigation_has_its_stages_and_deadlines_r7_10_r7_11() {
    let company = Company::new();
    let api = company.admin();
    let (client, _) = late(&api, "C001", "FA-1", 100);
    let open = |client: &str| {
        let input = json!({ "client": { "number": client }, "handler": "Me Durand" });
        mutate(
            &api,
            "openLitigationCase",
            input,
            "case { id number stage claimed claims { claimed } }",
        )
    };
    let case = open("C001");
    assert_eq!(
        (&case["case"]["stage"], &case["case"]["claimed"]),
        (&json!("PRE_LITIGATION"), &json!("1200.00")),
        "{case}"
    );
    assert_eq!(open("C001")["userErrors"][0]["code"], "WRONG_STATE");
    assert_eq!(
        preview(&api, "C001")["claims"][0]["exclusion"],
        "LITIGATION"
    );
    let id = case["case"]["id"].clone();
    let step = |mut input: Value| {
        input["case"] = id.clone();
        mutate(
            &api,
            "advanceLitigationCase",
            input,
            "case { stage closedOn outcome events { kind stage } }",
        )
    };
    // Between traders the small-claims procedure is closed since 23 April 2026.
    assert_eq!(
        step(json!({ "stage": "SMALL_CLAIM" }))["userErrors"][0]["field"],
        json!(["stage"])
    );
    assert_eq!(
        step(json!({ "stage": "PAYMENT_ORDER" }))["case"]["stage"],
        "PAYMENT_ORDER"
    );
    assert_eq!(step(json!({}))["userErrors"][0]["code"], "INVALID");
    assert_eq!(
        step(json!({ "event": "ORDER_MADE", "reference": "2026/123" }))["userErrors"],
        json!([])
    );
    let deadlines = |through: Option<String>| {
        let answer = api.data(
            "query($through: Date) { deadlines(client: { number: \"C001\" }, through: $through) { kind dueOn reference open } }",
            json!({ "through": through }),
        );
        answer["deadlines"].as_array().expect("deadlines").clone()
    };
    assert_eq!(deadlines(None)[0]["kind"], "SERVE_ORDER");
    assert_eq!(
        deadlines(None)[0]["dueOn"],
        (today() + Months::new(3)).to_string()
    );
    assert_eq!(step(json!({ "event": "SERVED" }))["userErrors"], json!([]));
    assert_eq!(deadlines(None)[0]["kind"], "OPPOSITION_ENDS");
    // Served, it counts as a claim in court: five years from today, no longer from the due date.
    let years = deadlines(Some((today() + Months::new(60)).to_string()));
    let prescription = years
        .iter()
        .find(|deadline| deadline["kind"] == "PRESCRIPTION")
        .expect("a prescription");
    assert_eq!(
        (&prescription["dueOn"], &prescription["open"]),
        (
            &json!((today() + Months::new(60)).to_string()),
            &json!("1200.00")
        )
    );
    assert_eq!(
        step(json!({ "stage": "CLOSED" }))["userErrors"][0]["field"],
        json!(["outcome"])
    );
    assert_eq!(
        step(json!({ "stage": "CLOSED", "outcome": "PAID" }))["case"]["outcome"],
        "PAID"
    );
    assert_eq!(
        step(json!({ "stage": "JUDGMENT" }))["userErrors"][0]["code"],
        "WRONG_STATE"
    );
    assert_eq!(
        api.bytes(&format!("/evidence/{}", id.as_str().expect("an id")))
            .0,
        200
    );

    // The case's number is one of a series that the books check.
    api.sound();

    // An acknowledgment of debt needs its document.
    late(&api, "C002", "FA-2", 30);
    let (second, _) = late(&api, "C003", "FA-3", 30);
    let acknowledge = |client: &str| {
        let input = json!({ "client": { "number": client }, "acknowledgedOn": ago(1) });
        mutate(&api, "recordDebtAcknowledgment", input, "client { number }")
    };
    assert_eq!(
        acknowledge("C002")["userErrors"][0]["code"],
        "EVIDENCE_REQUIRED"
    );
    api.attach(
        &second,
        "ACKNOWLEDGMENT_OF_DEBT",
        "dette.pdf",
        b"%PDF-1.7 je dois",
    );
    assert_eq!(acknowledge("C003")["userErrors"], json!([]));

    // Insolvency: no litigation, the claim is declared within two months of the BODACC.
    let terms = json!({ "client": { "number": "C002" }, "insolvency": "RECEIVERSHIP", "insolvencyOn": ago(20), "insolvencyPublishedOn": ago(10) });
    mutate(&api, "setCreditTerms", terms, "client { number }");
    assert_eq!(open("C002")["userErrors"][0]["code"], "NOT_CHASEABLE");
    let found = api.data(
        "{ deadlines(client: { number: \"C002\" }) { kind dueOn } }",
        json!({}),
    );
    let by = (today() - Duration::days(10)) + Months::new(2);
    assert_eq!(
        found["deadlines"][0],
        json!({ "kind": "PROOF_OF_CLAIM", "dueOn": by.to_string() }),
        "{found}"
    );
    command(&["work", "--company", &company.id]);
    let tasks = api.data(
        "{ tasks(kinds: [PROOF_OF_CLAIM]) { nodes { dueOn client { number } } } }",
        json!({}),
    );
    assert_eq!(
        tasks["tasks"]["nodes"][0]["client"]["number"], "C002",
        "{tasks}"
    );
    assert!(client.starts_with("cli_"));
}
