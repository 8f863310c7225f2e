//! Dunning (section 7): what is due and why, what was sent, promises to pay.

use chrono::Days;
use serde_json::{Value, json};

use crate::harness::{Api, Company, today};

/// A day so many days before today.
fn ago(days: u64) -> String {
    (today() - Days::new(days)).to_string()
}

/// A client with one invoice of 1,200.00 that is so many days late.
fn late(api: &Api, client: &str, invoice: &str, days: u64) {
    api.client(client);
    api.invoice(
        client,
        invoice,
        &ago(days + 30),
        &ago(days),
        ("1000.00", "20"),
    );
}

fn preview(api: &Api, client: &str) -> Value {
    let answer = api.data(
        "query($client: String!) { dunningPreview(client: { number: $client }) { nodes { level { level channel tone proof } exclusion claimed unallocated net
           scenario { name version } claims { reference residual disputed claimed deservedLevel lastLevel level exclusion } } } }",
        json!({ "client": client }),
    );
    let nodes = answer["dunningPreview"]["nodes"].as_array().expect("nodes");
    nodes.first().cloned().unwrap_or(Value::Null)
}

fn mutate(api: &Api, mutation: &str, input: Value, fields: &str) -> Value {
    let kind = format!("{}{}", mutation[..1].to_uppercase(), &mutation[1..]);
    let document = format!(
        "mutation($input: {kind}Input!) {{ {mutation}(input: $input) {{ {fields} userErrors {{ code field message details }} }} }}"
    );
    api.data(&document, json!({ "input": input }))[mutation].clone()
}

fn remind(api: &Api, input: Value) -> Value {
    mutate(
        api,
        "recordDunningAction",
        input,
        "action { level channel doneOn claimed proof recordedBy items { level residual claimed } }",
    )
}

#[test]
fn reminders_rise_one_level_at_a_time_r7_3() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 60);
    let found = preview(&api, "C001");
    // Sixty days late deserves the formal notice, and gets the first reminder.
    assert_eq!(found["claims"][0]["deservedLevel"], 5, "{found:#}");
    assert_eq!(found["level"]["level"], 1);
    assert_eq!(
        (&found["claimed"], &found["net"]),
        (&json!("1200.00"), &json!("1200.00"))
    );
    let input = |level: i32, days: u64| json!({ "client": { "number": "C001" }, "level": level, "doneOn": ago(days), "recipient": "compta@c001.example" });
    let skipped = remind(&api, input(2, 25));
    assert_eq!(skipped["userErrors"][0]["code"], "CONFLICT");
    assert_eq!(remind(&api, input(1, 25))["action"]["level"], 1);
    // The same day, or within the week, nothing more is due.
    let again = remind(&api, input(2, 20));
    assert_eq!(again["userErrors"][0]["code"], "NOT_CHASEABLE");
    assert_eq!(again["userErrors"][0]["details"]["reason"], "TOO_SOON");
    assert_eq!(remind(&api, input(2, 18))["action"]["channel"], "PHONE");
    assert_eq!(remind(&api, input(3, 10))["action"]["level"], 3);
    // From the registered letter on the credit manager acts, with proof (R7.9).
    let accountant = company.as_role("AR_ACCOUNTANT");
    assert_eq!(
        remind(&accountant, input(4, 0))["userErrors"][0]["code"],
        "FORBIDDEN"
    );
    let without = remind(&api, input(4, 0));
    assert_eq!(without["userErrors"][0]["code"], "EVIDENCE_REQUIRED");
    let mut proven = input(4, 0);
    proven["proof"] = json!("LRAR 1A 234");
    let sent = remind(&api, proven);
    assert_eq!(sent["action"]["proof"], "LRAR 1A 234", "{sent}");
    let kept = api.data(
        "{ dunningActions { totalCount nodes { level items { claimed } } } }",
        json!({}),
    );
    assert_eq!(kept["dunningActions"]["totalCount"], 4);
    assert_eq!(
        kept["dunningActions"]["nodes"][0]["items"][0]["claimed"],
        "1200.00"
    );
    let auditor = company.as_role("AUDITOR");
    let seen = auditor.data("{ dunningActions { totalCount } }", json!({}));
    assert_eq!(seen["dunningActions"]["totalCount"], 4);
}

#[test]
fn what_is_disputed_promised_or_covered_is_not_chased_r7_2() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 40);
    let dispute = |reason: &str, amount: &str| json!({ "invoice": { "number": "FA-1" }, "reason": reason, "amount": amount });
    api.make("OpenDispute", dispute("BLIV", "200.00"));
    assert_eq!(preview(&api, "C001")["claims"][0]["claimed"], "1000.00");
    // A financial dispute does not stop dunning (section 8).
    api.make("OpenDispute", dispute("BFIN", "300.00"));
    assert_eq!(preview(&api, "C001")["claims"][0]["claimed"], "1000.00");

    late(&api, "C002", "FA-2", 40);
    let promise = |amount: &str, days: i64| {
        let due = today() + chrono::Duration::days(days);
        json!({ "client": { "number": "C002" }, "amount": amount, "dueOn": due.to_string(), "note": "par téléphone" })
    };
    let fields = "promise { id status amount paid }";
    for (amount, days, code) in [("1200.01", 5, "OVER_ALLOCATION"), ("100.00", -1, "INVALID")] {
        let refused = mutate(&api, "recordPromise", promise(amount, days), fields);
        assert_eq!(refused["userErrors"][0]["code"], code, "{refused}");
    }
    let promised = mutate(&api, "recordPromise", promise("1200.00", 5), fields);
    assert_eq!(promised["promise"]["status"], "RUNNING", "{promised}");
    let found = preview(&api, "C002");
    assert_eq!(found["level"], Value::Null);
    assert_eq!(found["claims"][0]["exclusion"], "PROMISED");
    // Paid in time it is kept; taken back it no longer protects.
    api.payment("C002", "RG-2", &ago(0), "1200.00");
    api.allocate(&ago(0), &[("FA-2", "RG-2", "500.00")]);
    let ids = json!({ "client": "C002" });
    let status = |api: &Api| {
        api.data(
            "query($client: String!) { promises(client: { number: $client }) { nodes { status paid } } }",
            ids.clone(),
        )["promises"]["nodes"][0]
            .clone()
    };
    assert_eq!(
        status(&api),
        json!({ "status": "RUNNING", "paid": "500.00" })
    );
    api.allocate(&ago(0), &[("FA-2", "RG-2", "700.00")]);
    assert_eq!(status(&api), json!({ "status": "KEPT", "paid": "1200.00" }));
    let cancel = json!({ "promise": promised["promise"]["id"], "reason": "erreur" });
    // Kept, there is nothing to take back.
    let late_regret = mutate(&api, "cancelPromise", cancel, fields);
    assert_eq!(late_regret["userErrors"][0]["code"], "WRONG_STATE");
    late(&api, "C004", "FA-4", 40);
    let small = json!({ "client": { "number": "C004" }, "amount": "10.00", "dueOn": (today() + chrono::Duration::days(5)).to_string() });
    let made = mutate(&api, "recordPromise", small.clone(), fields);
    // Twice the same money cannot be promised, nor for a day far away.
    let mut more = small.clone();
    more["amount"] = json!("1190.01");
    assert_eq!(
        mutate(&api, "recordPromise", more, fields)["userErrors"][0]["code"],
        "OVER_ALLOCATION"
    );
    let mut far = small;
    far["dueOn"] = json!((today() + chrono::Duration::days(91)).to_string());
    assert_eq!(
        mutate(&api, "recordPromise", far, fields)["userErrors"][0]["field"],
        json!(["dueOn"])
    );
    let cancel = json!({ "promise": made["promise"]["id"], "reason": "erreur" });
    assert_eq!(
        mutate(&api, "cancelPromise", cancel.clone(), fields)["promise"]["status"],
        "CANCELLED"
    );
    assert_eq!(
        mutate(&api, "cancelPromise", cancel, fields)["userErrors"][0]["code"],
        "WRONG_STATE"
    );
    // People are named in notes: not for a BI tool (R12.4).
    let seen = company.as_role("BI_READER").data(
        "{ promises { nodes { note } } dunningActions { nodes { note recipient } } }",
        json!({}),
    );
    assert!(!seen.to_string().contains("par téléphone"), "{seen}");

    // Credits that are not matched cover what is owed: nobody writes to a client in credit.
    late(&api, "C003", "FA-3", 40);
    api.payment("C003", "RG-3", &ago(1), "1300.00");
    assert_eq!(preview(&api, "C003")["exclusion"], "CREDIT_BALANCE");
    // Nor to one whose credits cover what is late, whatever else is to come.
    api.invoice(
        "C003",
        "FA-5",
        &ago(1),
        &(today() + chrono::Duration::days(20)).to_string(),
        ("5000.00", "20"),
    );
    let found = preview(&api, "C003");
    assert_eq!(
        (&found["exclusion"], &found["level"]),
        (&json!("CREDIT_BALANCE"), &Value::Null),
        "{found}"
    );
}

#[test]
fn scenarios_follow_the_segment_and_the_client_r7_8() {
    let api = Company::new().admin();
    late(&api, "C001", "FA-1", 9);
    assert_eq!(preview(&api, "C001")["claims"][0]["deservedLevel"], 1);
    api.data(
        "mutation { updateClient(input: { client: { number: \"C001\" }, segment: LARGE_GROUP }) { userErrors { message } } }",
        json!({}),
    );
    // Ten days more for a large group: nothing is due yet.
    let found = preview(&api, "C001");
    assert_eq!(
        found["scenario"],
        json!({ "name": "LARGE_GROUP", "version": 0 })
    );
    assert_eq!(
        (&found["level"], &found["exclusion"]),
        (&Value::Null, &json!("NOT_YET"))
    );
    let level = |level: i32, day: i32| json!({ "level": level, "day": day, "channel": "LETTER", "tone": "FIRM", "proof": false });
    let save = |levels: Value| {
        let input = json!({ "name": "PRESSE", "levels": levels });
        mutate(
            &api,
            "saveDunningScenario",
            input,
            "scenario { name version minResidual levels { level day } }",
        )
    };
    for wrong in [
        json!([]),
        json!([level(2, 3)]),
        json!([level(1, 9), level(2, 9)]),
        json!([level(1, -1)]),
        // A formal notice by another name (R7.7).
        json!([{ "level": 1, "day": 3, "channel": "EMAIL", "tone": "FORMAL_NOTICE", "proof": false }]),
    ] {
        assert_eq!(
            save(wrong.clone())["userErrors"][0]["code"],
            "INVALID",
            "{wrong}"
        );
    }
    assert_eq!(save(json!([level(1, 5)]))["scenario"]["version"], 1);
    assert_eq!(
        save(json!([level(1, 2), level(2, 4)]))["scenario"]["version"],
        2
    );
    let choose = |name: Value| {
        let input = json!({ "client": { "number": "C001" }, "name": name });
        mutate(&api, "setDunningScenario", input, "client { number }")
    };
    assert_eq!(
        choose(json!("NOWHERE"))["userErrors"][0]["code"],
        "NOT_FOUND"
    );
    assert_eq!(choose(json!("PRESSE"))["userErrors"], json!([]));
    let found = preview(&api, "C001");
    assert_eq!(found["scenario"], json!({ "name": "PRESSE", "version": 2 }));
    assert_eq!(found["level"]["channel"], "LETTER");
    assert_eq!(choose(Value::Null)["userErrors"], json!([]));
    assert_eq!(preview(&api, "C001")["scenario"]["name"], "LARGE_GROUP");
}
