//! Scenarios, runs, proofs, cases and disputes, setting by setting: each changes what is done next (sections 7 and 8).

use serde_json::{Value, json};

use crate::desk::{ago, any_day, contact, late, mutate};
use crate::harness::{Api, Company, command, single, tamper, today};
use crate::mail::MailServer;

const RUN: &str = "id status validatedBy endedAt counts { status count } lines(first: 50) { nodes { id client { number } level claimed items status action { claimed items { claimed } } } }";
const EVENTS: &str = "status closedOn events { status note happenedOn }";

/// The code and the field of a refusal.
fn why(payload: &Value) -> Value {
    let error = &payload["userErrors"][0];
    json!([error["code"], error["field"]])
}

/// A reminder by mail, that many days after the due date.
fn level(level: i32, day: i32, more: &Value) -> Value {
    let mut found = json!({ "level": level, "day": day, "channel": "EMAIL", "tone": "FRIENDLY", "proof": false });
    add(&mut found, more);
    found
}

fn add(to: &mut Value, more: &Value) {
    for (name, value) in more.as_object().expect("fields") {
        to[name] = value.clone();
    }
}

fn save(api: &Api, name: &str, levels: Value, more: &Value) -> Value {
    let mut input = json!({ "name": name, "levels": levels });
    add(&mut input, more);
    let fields = "scenario { name version chased minGapDays betweenProfessionals courtesy { minAmount } levels { minAmount approvalAbove } }";
    mutate(api, "saveDunningScenario", input, fields)
}

/// The next version of what most clients have: one level, three days after the due date.
#[track_caller]
fn usual(api: &Api, first: &Value, more: &Value) {
    let saved = save(api, "SME", json!([level(1, 3, first)]), more);
    assert_eq!(saved["userErrors"], json!([]), "{saved}");
}

fn propose(api: &Api) -> Value {
    let run = format!("run {{ {RUN} }}");
    mutate(api, "proposeDunningRun", json!({}), &run)
}

fn run(api: &Api, mutation: &str, id: &Value) -> Value {
    let document = format!(
        "mutation($run: ID!) {{ {mutation}(run: $run) {{ run {{ {RUN} }} userErrors {{ code field details }} }} }}"
    );
    api.data(&document, json!({ "run": id }))[mutation].clone()
}

/// Whom a run of today would remind of how much, in how many claims; it is given up again.
#[track_caller]
fn due(api: &Api) -> Value {
    let proposed = propose(api);
    if why(&proposed)[0] == "NOT_CHASEABLE" {
        return json!([]);
    }
    let run_of_today = &proposed["run"];
    assert_eq!(
        run(api, "cancelDunningRun", &run_of_today["id"])["userErrors"],
        json!([])
    );
    let lines = run_of_today["lines"]["nodes"].as_array().expect("lines");
    lines
        .iter()
        .map(|line| json!([line["client"]["number"], line["claimed"], line["items"]]))
        .collect()
}

/// Proposes, validates and sends a run: the text of its last mail.
fn mailed(api: &Api) -> String {
    let id = propose(api)["run"]["id"].clone();
    run(api, "validateDunningRun", &id);
    let sent = run(api, "sendDunningRun", &id);
    assert_eq!(sent["run"]["status"], "SENT", "{sent}");
    let mails = api.data("{ outbox(first: 1) { nodes { text } } }", json!({}));
    let text = mails["outbox"]["nodes"][0]["text"].as_str();
    text.expect("a text").to_owned()
}

fn preview(api: &Api, client: &str) -> Value {
    let asked = "query($client: String!) { dunningPreview(client: { number: $client }) { nodes { level { level } exclusion claims { claimed exclusion } } } }";
    single(api.data(asked, json!({ "client": client }))["dunningPreview"]["nodes"].take())
}

fn work(company: &Company, mail: &str) {
    let mut arguments = vec!["work", "--company", &company.id, "--smtp-url", mail];
    arguments.extend(["--mail-from", "no-reply@encours.example"]);
    command(&arguments);
}

#[test]
fn small_claims_do_not_rise_to_a_level_and_small_sums_get_no_notice_r7_1() {
    let api = Company::new().admin();
    late(&api, "C001", "FA-1", 20);
    api.invoice("C001", "FA-2", &ago(50), &ago(20), ("100.00", "20"));
    api.client("C002");
    api.invoice("C002", "FA-3", &ago(50), &ago(20), ("100.00", "20"));
    // The reminder claims what it lists, and nothing else.
    usual(&api, &json!({ "minAmount": "1000.00" }), &json!({}));
    assert_eq!(due(&api), json!([["C001", "1200.00", 1]]));
    let small = &preview(&api, "C001")["claims"][1];
    assert_eq!(small["claimed"], "0.00", "{small}");
    assert_ne!(small["exclusion"], Value::Null, "{small}");
    usual(&api, &json!({ "minAmount": "120.00" }), &json!({}));
    assert_eq!(
        due(&api),
        json!([["C001", "1320.00", 2], ["C002", "120.00", 1]])
    );
    // What falls due together counts together.
    api.client("C003");
    let soon = |days: u64| (today() + chrono::Days::new(days)).to_string();
    api.invoice("C003", "FA-4", &ago(9), &soon(8), ("500.00", "20"));
    api.invoice("C003", "FA-5", &ago(9), &soon(9), ("400.00", "0"));
    let courtesy = |least: &str| json!({ "courtesy": { "daysBefore": 20, "minAmount": least } });
    let large = json!({ "minAmount": "5000.00" });
    usual(&api, &large, &courtesy("1000.00"));
    assert_eq!(due(&api), json!([["C003", "1000.00", 2]]));
    usual(&api, &large, &courtesy("1000.01"));
    assert_eq!(due(&api), json!([]));
}

#[test]
fn amounts_of_a_scenario_are_in_the_companys_currency() {
    let company = Company::new();
    let api = company.admin();
    any_day(&api);
    let client = json!({ "number": "C001", "name": "Nippon", "currency": "JPY" });
    api.make("CreateClient", client);
    let line = json!({ "description": "Prestation", "quantity": "1", "unitPrice": "100000", "vatRate": "20" });
    // 120,000 yen are 720.00 euros.
    api.make("IssueInvoice", json!({ "client": { "number": "C001" }, "number": "FA-1", "issuedOn": ago(50), "dueOn": ago(20),
        "currency": "JPY", "exchangeRate": "0.006", "lines": [line] }));
    for (least, due_now) in [("720.00", json!(1)), ("720.01", Value::Null)] {
        usual(&api, &json!({ "minAmount": least }), &json!({}));
        assert_eq!(preview(&api, "C001")["level"]["level"], due_now, "{least}");
        usual(&api, &json!({}), &json!({ "minResidual": least }));
        assert_eq!(preview(&api, "C001")["level"]["level"], due_now, "{least}");
    }
    usual(&api, &json!({ "approvalAbove": "720.00" }), &json!({}));
    let id = propose(&api)["run"]["id"].clone();
    let manager = company.as_role("CREDIT_MANAGER");
    let validated = run(&manager, "validateDunningRun", &id);
    assert_eq!(validated["userErrors"], json!([]));
}

#[test]
fn the_director_approves_what_is_above_the_threshold_of_the_clients_own_scenario() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 20);
    let validated = |role: &str| {
        let id = propose(&api)["run"]["id"].clone();
        let validated = run(&company.as_role(role), "validateDunningRun", &id);
        let ended = run(&api, "cancelDunningRun", &id);
        assert_eq!(ended["run"]["status"], "CANCELLED", "{ended}");
        why(&validated)
    };
    let above = |most: &str| json!({ "approvalAbove": most });
    usual(&api, &above("1199.99"), &json!({}));
    assert_eq!(
        validated("CREDIT_MANAGER"),
        json!(["APPROVAL_REQUIRED", ["run"]])
    );
    assert_eq!(validated("DIRECTOR"), json!([null, null]));
    usual(&api, &above("1200.00"), &json!({}));
    assert_eq!(validated("CREDIT_MANAGER"), json!([null, null]));
    // Nor does the scenario of other clients decide, or one that is closed.
    for closed in [false, true] {
        let levels = json!([level(1, 3, &above("100.00"))]);
        save(&api, "OTHERS", levels, &json!({ "closed": closed }));
        assert_eq!(validated("CREDIT_MANAGER"), json!([null, null]), "{closed}");
    }
}

#[test]
fn what_grows_after_the_validation_is_judged_anew_r7_6() {
    let company = Company::new();
    let api = company.admin();
    let manager = company.as_role("CREDIT_MANAGER");
    let grown = |client: &str, invoices: [&str; 2], most: Value| {
        late(&api, client, invoices[0], 20);
        usual(&api, &json!({ "approvalAbove": most }), &json!({}));
        let id = propose(&manager)["run"]["id"].clone();
        assert_eq!(
            run(&manager, "validateDunningRun", &id)["userErrors"],
            json!([])
        );
        api.invoice(
            client,
            invoices[1],
            &ago(50),
            &ago(20),
            ("20000.00", "20"),
        );
        let sent = run(&manager, "sendDunningRun", &id);
        single(sent["run"]["lines"]["nodes"].clone())
    };
    // The line says what was sent.
    let line = grown("C001", ["FA-1", "FA-2"], Value::Null);
    assert_eq!(line["action"]["claimed"], "25200.00", "{line}");
    assert_eq!(
        (&line["claimed"], &line["items"]),
        (&json!("25200.00"), &json!(2)),
        "{line}"
    );
    // Above the threshold by now, nobody who may approve it has seen it.
    let line = grown("C002", ["FA-3", "FA-4"], json!("2000.00"));
    assert_eq!(line["action"], Value::Null, "{line}");
}

#[test]
fn an_automatic_run_above_the_threshold_waits_for_the_director() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 20);
    late(&api, "C002", "FA-2", 20);
    api.invoice("C002", "FA-3", &ago(50), &ago(20), ("5000.00", "20"));
    let automatic = json!({ "settings": { "automatic_dunning": true } });
    mutate(&api, "updateCompany", automatic, "company { id }");
    let first = json!({ "actor": "AUTOMATIC", "approvalAbove": "5000.00" });
    usual(&api, &first, &json!({}));
    work(&company, "smtp://127.0.0.1:1");
    let seen = || {
        api.data(
            "{ dunningRuns { nodes { id automatic status } } tasks(kinds: [RUN_TO_VALIDATE]) { totalCount } outbox { totalCount } }",
            json!({}),
        )
    };
    let found = seen();
    let waiting = single(found["dunningRuns"]["nodes"].clone());
    assert_eq!(
        (&waiting["automatic"], &waiting["status"]),
        (&json!(true), &json!("PROPOSED"))
    );
    assert_eq!(found["tasks"]["totalCount"], 1, "{found}");
    let director = company.as_role("DIRECTOR");
    run(&director, "validateDunningRun", &waiting["id"]);
    work(&company, "smtp://127.0.0.1:1");
    let found = seen();
    assert_eq!(found["dunningRuns"]["nodes"][0]["status"], "SENT");
    assert_eq!(
        (&found["tasks"]["totalCount"], &found["outbox"]["totalCount"]),
        (&json!(0), &json!(2))
    );
}

#[test]
fn what_is_written_has_the_letter_of_its_tone() {
    let company = Company::new();
    let api = company.admin();
    // No letter speaks of pre-litigation: the file is handed over.
    let taken = |channel: &str| {
        let last = json!({ "channel": channel, "tone": "PRE_LITIGATION" });
        why(&save(&api, "LAST", json!([level(1, 3, &last)]), &json!({})))
    };
    assert_eq!(taken("FILE_TRANSFER"), json!([null, null]));
    let list = |api: &Api| {
        let asked =
            "{ letterTemplates(kind: FIRM_REMINDER) { kind language version subject body } }";
        api.data(asked, json!({}))["letterTemplates"].take()
    };
    let product = list(&api);
    let write = |subject: &str, body: &Value| {
        let input = json!({ "kind": "FIRM_REMINDER", "language": "FR", "subject": subject, "body": body });
        mutate(&api, "saveLetterTemplate", input, "template { version }")
    };
    let body = &product[0]["body"];
    assert_eq!(why(&write("{{nowhere}}", body)), json!(["INVALID", ["subject"]]));
    assert_eq!(
        why(&write("Rappel", &json!("Payez."))),
        json!(["MENTION_MISSING", ["body"]])
    );
    assert_eq!(write("Rappel", body)["template"]["version"], 1);
    let own = list(&api);
    assert_eq!(
        (&own[0]["language"], &own[0]["version"], &own[0]["subject"]),
        (&json!("FR"), &json!(1), &json!("Rappel"))
    );
    assert_eq!(own[1], product[1]);
    assert_eq!(list(&Company::new().admin()), product);
    let all = api.data("{ letterTemplates { kind } }", json!({}));
    assert_eq!(all["letterTemplates"].as_array().map(Vec::len), Some(26));
    for channel in ["EMAIL", "LETTER", "REGISTERED_LETTER"] {
        assert_eq!(taken(channel)[0], "INVALID", "{channel}");
    }
}

#[test]
fn a_scenario_says_whom_to_chase_how_often_and_what_to_state_r7_3() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 60);
    usual(&api, &json!({}), &json!({ "chased": false }));
    assert_eq!(preview(&api, "C001")["exclusion"], "NOT_CHASED");
    assert_eq!(due(&api), json!([]));
    usual(&api, &json!({}), &json!({}));
    assert_eq!(due(&api), json!([["C001", "1200.00", 1]]));
    let first = json!({ "client": { "number": "C001" }, "doneOn": ago(19) });
    mutate(&api, "recordDunningAction", first, "action { id }");
    for (gap, found) in [(20, json!("TOO_SOON")), (19, Value::Null)] {
        let levels = json!([level(1, 3, &json!({})), level(2, 8, &json!({}))]);
        save(&api, "SME", levels, &json!({ "minGapDays": gap }));
        assert_eq!(preview(&api, "C001")["exclusion"], found, "{gap}");
    }
    // Interest and 40 € are between professionals (R6.12).
    mailed(&api);
    for (client, professional) in [("C002", true), ("C003", false)] {
        late(&api, client, &format!("FA-{client}"), 20);
        let firm = json!({ "tone": "FIRM", "interest": true });
        let more = json!({ "betweenProfessionals": professional });
        usual(&api, &firm, &more);
        let text = mailed(&api);
        assert!(text.contains(&format!("FA-{client}")), "{text}");
        assert_eq!(text.contains("L441-10"), professional, "{text}");
    }
    let asked = "{ dunningScenarios { name version chased minGapDays betweenProfessionals } }";
    let scenarios = api.data(asked, json!({}));
    let found = |name: &str| {
        let all = scenarios["dunningScenarios"].as_array().expect("scenarios");
        let found = all.iter().find(|scenario| scenario["name"] == name);
        let found = found.expect("a scenario");
        json!([
            found["version"],
            found["chased"],
            found["minGapDays"],
            found["betweenProfessionals"]
        ])
    };
    assert_eq!(found("SME"), json!([6, true, 7, false]));
    assert_eq!(found("GROUP_COMPANY"), json!([0, false, 7, true]));
    assert_eq!(found("CONSUMER"), json!([0, true, 7, false]));
    let refused = |first: Value, more: Value, field: Value| {
        let tried = save(&api, "WRONG", json!([level(1, 3, &first)]), &more);
        assert_eq!(why(&tried), json!(["INVALID", field]));
    };
    let of_level = |name: &str| json!(["levels", "0", name]);
    refused(json!({}), json!({ "minGapDays": -1 }), json!(["minGapDays"]));
    refused(json!({ "minAmount": "-1" }), json!({}), of_level("minAmount"));
    refused(json!({ "approvalAbove": "1.001" }), json!({}), of_level("approvalAbove"));
    let courtesy = json!({ "courtesy": { "daysBefore": 5, "minAmount": "-1" } });
    refused(json!({}), courtesy, json!(["courtesy", "minAmount"]));
}

#[test]
fn a_run_is_given_up_until_it_was_sent() {
    let company = Company::new();
    let api = company.admin();
    let (manager, _) = company.as_member("CREDIT_MANAGER");
    late(&api, "C001", "FA-1", 20);
    let cancel = |id: &Value| run(&manager, "cancelDunningRun", id);
    let again = |status: &str| json!([{ "code": "WRONG_STATE", "field": ["run"], "details": { "status": status } }]);
    let proposed = propose(&manager)["run"].clone();
    assert_eq!(
        (&proposed["validatedBy"], &proposed["endedAt"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        why(&run(&Company::new().admin(), "cancelDunningRun", &proposed["id"])),
        json!(["NOT_FOUND", ["run"]])
    );
    let given_up = cancel(&proposed["id"])["run"].clone();
    assert_eq!(given_up["status"], "CANCELLED");
    assert!(given_up["endedAt"].is_string() && given_up["validatedBy"].is_null());
    assert_eq!(cancel(&proposed["id"])["userErrors"], again("CANCELLED"));
    let second = propose(&manager)["run"]["id"].clone();
    let validated = run(&manager, "validateDunningRun", &second)["run"].clone();
    assert!(validated["validatedBy"].as_str().is_some_and(|by| by.ends_with("@example.com")));
    assert_eq!(validated["endedAt"], Value::Null);
    let given_up = cancel(&second)["run"].clone();
    assert_eq!(given_up["validatedBy"], validated["validatedBy"]);
    assert!(given_up["endedAt"].is_string());
    let late_start = run(&manager, "sendDunningRun", &second);
    assert_eq!(late_start["userErrors"], again("CANCELLED"));
    let third = propose(&manager)["run"]["id"].clone();
    run(&manager, "validateDunningRun", &third);
    let sent = run(&manager, "sendDunningRun", &third)["run"].clone();
    assert_eq!(cancel(&third)["userErrors"], again("SENT"));
    let asked = "query($id: ID!) { dunningRun(id: $id) { status endedAt } }";
    let kept = api.data(asked, json!({ "id": third }));
    assert_eq!(
        kept["dunningRun"],
        json!({ "status": "SENT", "endedAt": sent["endedAt"] })
    );
    let other = Company::new().admin().data(asked, json!({ "id": third }));
    assert_eq!(other["dunningRun"], Value::Null);
    // Latest first.
    let mut seen = Vec::new();
    let mut after = Value::Null;
    for _ in 0..3 {
        let page = api.data(
            "query($after: String) { dunningRuns(first: 1, after: $after) { totalCount nodes { id } pageInfo { endCursor } } }",
            json!({ "after": after }),
        );
        assert_eq!(page["dunningRuns"]["totalCount"], 3);
        seen.push(page["dunningRuns"]["nodes"][0]["id"].clone());
        after = page["dunningRuns"]["pageInfo"]["endCursor"].clone();
    }
    assert_eq!(seen, [third, second, proposed["id"].clone()]);
    api.sound();
}

#[test]
fn a_letter_comes_back_after_its_deposit_r7_9() {
    let api = Company::new().admin();
    late(&api, "C001", "FA-1", 60);
    let letter = json!({ "channel": "REGISTERED_LETTER", "tone": "LAST_AMICABLE" });
    usual(&api, &letter, &json!({}));
    let made = json!({ "client": { "number": "C001" }, "doneOn": ago(20) });
    let action = mutate(&api, "recordDunningAction", made, "action { id }")["action"]["id"].clone();
    let prove = |kind: &str, on: &str| {
        let input = json!({ "action": action, "kind": kind, "happenedOn": on, "reference": "1A" });
        let fields = "action { proofs { kind happenedOn } }";
        mutate(&api, "recordLetterProof", input, fields)
    };
    let wrong = json!(["INVALID", ["happenedOn"]]);
    let tomorrow = (today() + chrono::Days::new(1)).to_string();
    assert_eq!(why(&prove("DEPOSIT", &ago(21))), wrong);
    assert_eq!(why(&prove("DEPOSIT", &tomorrow)), wrong);
    assert_eq!(prove("DEPOSIT", &ago(10))["userErrors"], json!([]));
    assert_eq!(why(&prove("ACKNOWLEDGMENT", &ago(11))), wrong);
    let kept = prove("ACKNOWLEDGMENT", &ago(10));
    let day = |kind: &str| json!({ "kind": kind, "happenedOn": ago(10) });
    let both = json!([day("DEPOSIT"), day("ACKNOWLEDGMENT")]);
    assert_eq!(kept["action"]["proofs"], both);
}

#[test]
fn the_days_of_a_case_follow_each_other_r7_11() {
    let company = Company::new();
    let api = company.admin();
    let fields = "case { id stage closedOn events { kind happenedOn } }";
    let open = |client: &str| {
        late(&api, client, &format!("FA-{client}"), 60);
        let input = json!({ "client": { "number": client } });
        mutate(&api, "openLitigationCase", input, fields)["case"]["id"].clone()
    };
    let (first, second) = (open("C001"), open("C002"));
    let step = |case: &Value, on: u64, more: Value| {
        let mut input = json!({ "case": case, "happenedOn": ago(on) });
        add(&mut input, &more);
        mutate(&api, "advanceLitigationCase", input, fields)
    };
    let ended = json!({ "stage": "CLOSED", "outcome": "PAID" });
    let closed = step(&second, 0, ended.clone());
    assert_eq!(closed["case"]["closedOn"], ago(0), "{closed}");
    let numbers = |filter: &str| {
        let asked = format!("{{ litigationCases({filter}) {{ nodes {{ client {{ number }} }} }} }}");
        let nodes = api.data(&asked, json!({}))["litigationCases"]["nodes"].take();
        let nodes = nodes.as_array().expect("cases").iter();
        nodes.map(|case| case["client"]["number"].clone()).collect::<Value>()
    };
    assert_eq!(numbers("first: 9"), json!(["C002", "C001"]));
    assert_eq!(numbers("open: true"), json!(["C001"]));
    assert_eq!(numbers("open: false"), json!(["C002"]));
    assert_eq!(numbers("client: { number: \"C002\" }, open: true"), json!([]));
    // A case of thirty days ago.
    tamper(&format!(
        "UPDATE litigation_cases SET opened_on = opened_on - 30 WHERE company_id = '{0}'; UPDATE litigation_events SET happened_on = happened_on - 30 WHERE company_id = '{0}'",
        company.id.trim_start_matches("com_")
    ));
    let event = |kind: &str| json!({ "event": kind });
    let wrong = json!(["INVALID", ["happenedOn"]]);
    assert_eq!(why(&step(&first, 31, event("NOTE"))), wrong);
    for (on, more) in [(20, json!({ "stage": "PAYMENT_ORDER" })), (10, event("ORDER_MADE"))] {
        assert_eq!(step(&first, on, more)["userErrors"], json!([]));
    }
    assert_eq!(why(&step(&first, 11, event("SERVED"))), wrong);
    assert_eq!(why(&step(&first, 21, json!({ "stage": "JUDGMENT" }))), wrong);
    assert_eq!(why(&step(&first, 21, ended)), wrong);
}

#[test]
fn a_reason_that_changes_leaves_its_disputes_as_they_are() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 20);
    let fields = "reason { code label labelEn kind blocksDunning department active }";
    let reason = |input: &Value| mutate(&api, "saveDisputeReason", input.clone(), fields);
    let mut own = json!({ "code": "BRET", "label": "retard", "labelEn": "late", "kind": "ADMINISTRATIVE",
        "blocksDunning": false, "department": "TRANSPORT", "active": true });
    assert_eq!(reason(&own)["reason"], own);
    let dispute = |code: &str| {
        let input = json!({ "invoice": { "number": "FA-1" }, "reason": code, "amount": "200.00", "openedOn": ago(9), "description": "en retard" });
        let fields = format!("dispute {{ number kind department blocksDunning {EVENTS} }}");
        mutate(&api, "openDispute", input, &fields)
    };
    let opened = dispute("BRET")["dispute"].clone();
    assert_eq!(
        (&opened["kind"], &opened["department"], &opened["blocksDunning"]),
        (&json!("ADMINISTRATIVE"), &json!("TRANSPORT"), &json!(false))
    );
    // The code is taken: it is changed, for the disputes to come. Without an English label the French one is it.
    own = json!({ "code": "BRET", "label": "délai", "kind": "COMMERCIAL", "department": "SALES", "active": false });
    let changed = reason(&own)["reason"].clone();
    assert_eq!((&changed["labelEn"], &changed["blocksDunning"]), (&json!("délai"), &json!(true)));
    assert_eq!(why(&dispute("BRET")), json!(["INVALID", ["reason"]]));
    let list = "{ disputes { nodes { kind department blocksDunning reason { label department active } } } }";
    assert_eq!(
        single(api.data(list, json!({}))["disputes"]["nodes"].take()),
        json!({ "kind": "ADMINISTRATIVE", "department": "TRANSPORT", "blocksDunning": false,
            "reason": { "label": "délai", "department": "SALES", "active": false } })
    );
    assert_eq!(due(&api), json!([["C001", "1200.00", 1]]));
    for (field, value) in [("code", json!("bret")), ("label", json!(" ")), ("department", json!("x".repeat(61)))] {
        let mut wrong = own.clone();
        wrong[field] = value;
        assert_eq!(why(&reason(&wrong)), json!(["INVALID", [field]]));
    }
    let note = |api: &Api, text: &str| {
        let input = json!({ "dispute": { "number": opened["number"] }, "note": text });
        mutate(api, "addDisputeNote", input, &format!("dispute {{ {EVENTS} }}"))
    };
    let noted = note(&api, " Appelé le client. ")["dispute"].clone();
    let said = json!({ "status": null, "note": "Appelé le client.", "happenedOn": ago(0) });
    let start = json!({ "status": "OPEN", "note": "en retard", "happenedOn": ago(9) });
    assert_eq!(noted, json!({ "status": "OPEN", "closedOn": null, "events": [start, said] }));
    for text in [String::from(" "), "x".repeat(2001)] {
        assert_eq!(why(&note(&api, &text)), json!(["INVALID", ["note"]]));
    }
    for stranger in [Company::new().admin(), company.as_role("SALES")] {
        assert_eq!(why(&note(&stranger, "?")), json!(["NOT_FOUND", ["dispute"]]));
    }
}

#[test]
fn lists_are_narrowed_by_their_days_both_included() {
    let api = Company::new().admin();
    for (position, days) in [30, 20, 10].into_iter().enumerate() {
        let (client, invoice) = (format!("C{position}"), format!("FA-{position}"));
        late(&api, &client, &invoice, 60);
        let of = json!({ "number": invoice });
        api.make("OpenDispute", json!({ "invoice": of, "reason": "BLIV", "amount": "5.00", "openedOn": ago(days) }));
        let short = json!({ "invoice": of, "reason": "BMAN", "amount": "100.00", "recordedOn": ago(days) });
        api.make("RecordDeduction", short);
        let small = format!("FB-{position}");
        api.invoice(&client, &small, &ago(90), &ago(60), ("100.00", "20"));
        api.payment(&client, &format!("RG-{position}"), &ago(40), "119.99");
        api.allocate(&ago(40), &[(&small, &format!("RG-{position}"), "119.99")]);
        let rest = json!({ "item": { "number": small }, "on": ago(days) });
        let settled = mutate(&api, "settleDifference", rest, "operation { happenedOn }");
        assert_eq!(settled["operation"]["happenedOn"], ago(days), "{settled}");
    }
    for (list, filter, day, names, more) in [
        ("disputes", "DisputeFilter", "openedOn", ["openedFrom", "openedTo"], json!({ "reasons": ["BLIV"] })),
        ("deductions", "DeductionFilter", "recordedOn", ["recordedFrom", "recordedTo"], json!({})),
        ("operations", "OperationFilter", "happenedOn", ["from", "to"], json!({})),
    ] {
        let document = format!("query($filter: {filter}) {{ {list}(filter: $filter) {{ totalCount nodes {{ {day} }} }} }}");
        let days = |from: Option<u64>, to: Option<u64>| {
            let mut filter = more.clone();
            filter[names[0]] = json!(from.map(ago));
            filter[names[1]] = json!(to.map(ago));
            let found = api.data(&document, json!({ "filter": filter }))[list].take();
            let nodes = found["nodes"].as_array().expect("nodes");
            assert_eq!(found["totalCount"], nodes.len(), "{list}");
            nodes.iter().map(|node| node[day].clone()).collect::<Value>()
        };
        assert_eq!(days(None, None), json!([ago(10), ago(20), ago(30)]), "{list}");
        assert_eq!(days(Some(20), None), json!([ago(10), ago(20)]), "{list}");
        assert_eq!(days(None, Some(20)), json!([ago(20), ago(30)]), "{list}");
        assert_eq!(days(Some(20), Some(20)), json!([ago(20)]), "{list}");
        assert_eq!(days(Some(19), Some(20)), json!([]), "{list}");
    }
    api.sound();
}

#[test]
fn mails_say_when_they_left_and_tasks_who_did_them() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 20);
    api.client("C002");
    contact(&api, "C002", "bounce@c002.example");
    api.invoice("C002", "FA-2", &ago(50), &ago(20), ("100.00", "20"));
    mailed(&api);
    let sent = |list: &str| {
        let asked = format!("{{ outbox(statuses: [{list}]) {{ nodes {{ sentAt recordedAt }} }} }}");
        api.data(&asked, json!({}))["outbox"]["nodes"].take()
    };
    let waiting = sent("QUEUED");
    assert_eq!(waiting.as_array().map(Vec::len), Some(2));
    assert_eq!((&waiting[0]["sentAt"], &waiting[1]["sentAt"]), (&Value::Null, &Value::Null));
    work(&company, &MailServer::start().url);
    let left = single(sent("SENT"));
    assert!(left["sentAt"].as_str() > left["recordedAt"].as_str(), "{left}");
    assert_eq!(single(sent("BOUNCED"))["sentAt"], Value::Null);
    let list = |done: bool| {
        let asked = format!("{{ tasks(done: {done}) {{ nodes {{ id kind doneAt doneBy }} }} }}");
        api.data(&asked, json!({}))["tasks"]["nodes"].take()
    };
    let task = single(list(false));
    assert_eq!(
        (&task["kind"], &task["doneAt"], &task["doneBy"]),
        (&json!("BOUNCED_MAIL"), &Value::Null, &Value::Null)
    );
    let complete = |api: &Api, id: &Value| {
        let document = "mutation($task: ID!) { completeTask(task: $task) { task { id kind doneAt doneBy } userErrors { code field } } }";
        api.data(document, json!({ "task": id }))["completeTask"].take()
    };
    let missing = json!(["NOT_FOUND", ["task"]]);
    assert_eq!(why(&complete(&Company::new().admin(), &task["id"])), missing);
    assert_eq!(why(&complete(&api, &json!("tsk_1"))), missing);
    let (person, id) = company.as_member("AR_ACCOUNTANT");
    let done = complete(&person, &task["id"])["task"].clone();
    let members = api.data("{ members { id email } }", json!({}));
    let members = members["members"].as_array().expect("members");
    let me = members.iter().find(|member| member["id"] == id.as_str());
    assert_eq!(done["doneBy"], me.expect("a member")["email"]);
    assert!(done["doneAt"].as_str() > left["sentAt"].as_str(), "{done}");
    assert_eq!(why(&complete(&api, &task["id"])), json!(["WRONG_STATE", ["task"]]));
    assert_eq!((single(list(true)), list(false)), (done, json!([])));
}

#[test]
fn a_dispute_is_answered_inside_the_company_and_closed_after_its_decision_r8_2() {
    let company = Company::segregated();
    let api = company.admin();
    late(&api, "C001", "FA-1", 40);
    let (sales, owner) = company.as_member("SALES");
    let portfolio = json!({ "client": { "number": "C001" }, "salesOwner": owner });
    mutate(&api, "updateClient", portfolio, "client { id }");
    let input = json!({ "invoice": { "number": "FA-1" }, "reason": "BLIV", "amount": "120.00", "openedOn": ago(30) });
    let number = api.make("OpenDispute", input)["dispute"]["number"].clone();
    let of = json!({ "number": number });
    let settle = |api: &Api, days: u64| {
        let input = json!({ "dispute": of, "outcome": "ACCEPTED", "closedOn": ago(days) });
        mutate(api, "resolveDispute", input, &format!("dispute {{ {EVENTS} }}"))
    };
    assert_eq!(settle(&sales, 5)["dispute"]["status"], "ACCEPTED");
    let accountant = company.as_role("AR_ACCOUNTANT");
    assert_eq!(why(&settle(&accountant, 6)), json!(["INVALID", ["closedOn"]]));
    // A person of another company is nobody here.
    let (_, stranger) = Company::new().as_member("SALES");
    let missing = json!(["NOT_FOUND", ["owner"]]);
    let change = json!({ "dispute": of, "owner": stranger });
    assert_eq!(why(&mutate(&api, "updateDispute", change, "dispute { id }")), missing);
    for (mutation, reason) in [("openDispute", "BQUA"), ("recordDeduction", "BMAN")] {
        let input = json!({ "invoice": { "number": "FA-1" }, "reason": reason, "amount": "10.00", "owner": stranger });
        assert_eq!(why(&mutate(&api, mutation, input, "__typename")), missing);
    }
}
