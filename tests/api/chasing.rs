//! Scenarios, runs, proofs, cases, disputes: each setting and day changes what is done next (sections 7 and 8).

use serde_json::{Value, json};

use crate::desk::{ago, any_day, contact, late, mutate};
use crate::harness::{Api, Company, command, tamper, today};
use crate::mail::MailServer;

const RUN: &str = "run { id status validatedBy endedAt lines(first: 50) { nodes { client { number } claimed items action { claimed } } } }";

/// These fields of a record, as text.
fn of(record: &Value, fields: &str) -> String {
    let shown = fields.split(' ').map(|path| {
        let found = path.split('.').fold(record, |at, name| &at[name]);
        found.as_str().map_or(found.to_string(), str::to_owned)
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// These fields of each record of a list.
fn each(list: &Value, fields: &str) -> String {
    let records = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = records.iter().map(|record| of(record, fields));
    shown.collect::<Vec<_>>().join(", ")
}

/// Why it was refused: the code and the field; nothing when it was done.
fn why(payload: &Value) -> String {
    let errors = payload["userErrors"].as_array().expect("errors").iter();
    let shown = errors.map(|error| format!("{} {}", of(error, "code"), error["field"]));
    shown.collect::<String>().replace(['"', '[', ']'], "")
}

/// Runs a mutation that is only to be done or refused.
fn tried(api: &Api, mutation: &str, input: &Value) -> String {
    why(&mutate(api, mutation, input.clone(), "__typename"))
}

/// The nodes of a list.
fn list(api: &Api, name: &str, fields: &str) -> Value {
    let document = format!("{{ {name} {{ nodes {{ {fields} }} }} }}");
    let name = name.split('(').next().expect("a name");
    api.data(&document, json!({}))[name]["nodes"].take()
}

/// Saves the scenario that clients have, with these fields: a mail three days after the due date, such a one.
fn scenario(api: &Api, more: Value, first: Value) -> String {
    let add = |mut to: Value, more: Value| {
        for (name, value) in more.as_object().expect("fields") {
            to[name] = value.clone();
        }
        to
    };
    let usual =
        json!({ "day": 3, "channel": "EMAIL", "tone": "FRIENDLY", "proof": false, "level": 1 });
    let input = json!({ "name": "SME", "levels": [add(usual, first)] });
    tried(api, "saveDunningScenario", &add(input, more))
}

fn level(api: &Api, fields: Value) -> String {
    scenario(api, json!({}), fields)
}

fn propose(api: &Api) -> Value {
    mutate(api, "proposeDunningRun", json!({}), RUN)["run"].take()
}

fn run(api: &Api, mutation: &str, id: &Value) -> Value {
    let errors = "userErrors { code field message }";
    let document = format!("mutation($run: ID!) {{ {mutation}(run: $run) {{ {RUN} {errors} }} }}");
    api.data(&document, json!({ "run": id }))[mutation].take()
}

/// Whom a run of today reminds of how much, in how many claims. It is given up again.
fn due(api: &Api) -> String {
    let found = propose(api);
    if !found.is_null() {
        run(api, "cancelDunningRun", &found["id"]);
    }
    each(&found["lines"]["nodes"], "client.number claimed items")
}

/// Validates a run of today as this role, and gives it up.
fn validated(company: &Company, role: &str) -> String {
    let id = propose(&company.admin())["id"].take();
    let validated = run(&company.as_role(role), "validateDunningRun", &id);
    run(&company.admin(), "cancelDunningRun", &id);
    why(&validated)
}

/// Sends a run of today: the text of its last mail.
fn mailed(api: &Api) -> String {
    let id = propose(api)["id"].take();
    for mutation in ["validateDunningRun", "sendDunningRun"] {
        assert_eq!(why(&run(api, mutation, &id)), "");
    }
    of(&list(api, "outbox(first: 1)", "text")[0], "text")
}

/// What a client would be sent now.
fn preview(api: &Api, client: &str) -> Value {
    let name = format!("dunningPreview(client: {{ number: \"{client}\" }})");
    list(api, &name, "exclusion claims { claimed }")[0].take()
}

fn work(company: &Company, mail: &str) {
    let mut arguments = vec!["work", "--company", &company.id, "--smtp-url", mail];
    arguments.extend(["--mail-from", "no-reply@encours.example"]);
    command(&arguments);
}

#[test]
fn small_claims_do_not_rise_and_small_sums_get_no_notice_r7_1() {
    let api = Company::new().admin();
    late(&api, "C001", "FA-1", 20);
    api.invoice("C001", "FA-2", &ago(50), &ago(20), ("100.00", "20"));
    level(&api, json!({ "minAmount": "120.00" }));
    assert_eq!(due(&api), "C001 1320.00 2");
    // The reminder claims what it lists, and nothing else.
    level(&api, json!({ "minAmount": "120.01" }));
    let claims = preview(&api, "C001")["claims"].take();
    assert_eq!(each(&claims, "claimed"), "1200.00, 0.00");
    assert_eq!(due(&api), "C001 1200.00 1");
    // What falls due together counts together.
    api.client("C002");
    let soon = (today() + chrono::Days::new(9)).to_string();
    api.invoice("C002", "FA-3", &ago(9), &soon, ("500.00", "20"));
    api.invoice("C002", "FA-4", &ago(9), &soon, ("333.33", "20"));
    for (least, found) in [("1000.00", "C002 1000.00 2"), ("1000.01", "")] {
        let courtesy = json!({ "courtesy": { "daysBefore": 20, "minAmount": least } });
        scenario(&api, courtesy, json!({ "minAmount": "5000.00" }));
        assert_eq!(due(&api), found, "{least}");
    }
}

#[test]
fn amounts_of_a_scenario_are_in_the_companys_currency() {
    let company = Company::new();
    let api = company.admin();
    any_day(&api);
    let client = json!({ "number": "C001", "name": "Nippon", "currency": "JPY" });
    api.make("CreateClient", client);
    let line =
        json!({ "description": "P", "quantity": "1", "unitPrice": "120000", "vatRate": "0" });
    // 120,000 yen are 720.00 euros.
    let invoice = json!({ "client": { "number": "C001" }, "number": "FA-1", "issuedOn": ago(50), "dueOn": ago(20), "currency": "JPY", "exchangeRate": "0.006", "lines": [line] });
    api.make("IssueInvoice", invoice);
    for (least, found) in [("720.00", "C001 120000 1"), ("720.01", "")] {
        level(&api, json!({ "minAmount": least }));
        assert_eq!(due(&api), found, "{least}");
        scenario(&api, json!({ "minResidual": least }), json!({}));
        assert_eq!(due(&api), found, "{least}");
    }
    level(&api, json!({ "approvalAbove": "720.00" }));
    assert_eq!(validated(&company, "CREDIT_MANAGER"), "");
}

#[test]
fn the_director_approves_what_is_above_the_threshold_of_the_clients_own_scenario() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 20);
    level(&api, json!({ "approvalAbove": "1199.99" }));
    let needed = "APPROVAL_REQUIRED run";
    assert_eq!(validated(&company, "CREDIT_MANAGER"), needed);
    assert_eq!(validated(&company, "DIRECTOR"), "");
    level(&api, json!({ "approvalAbove": "1200.00" }));
    assert_eq!(validated(&company, "CREDIT_MANAGER"), "");
    // Nor does the scenario of other clients decide, or one that is closed.
    for closed in [false, true] {
        let others = json!({ "name": "OTHERS", "closed": closed });
        scenario(&api, others, json!({ "approvalAbove": "100.00" }));
        assert_eq!(validated(&company, "CREDIT_MANAGER"), "", "{closed}");
    }
}

#[test]
fn what_grows_after_the_validation_is_judged_anew_r7_6() {
    let company = Company::new();
    let api = company.admin();
    let told = "action.claimed claimed items";
    for (client, most, fields, found) in [
        ("C001", json!(null), told, "25200.00 25200.00 2"),
        // Above the threshold by now: nobody who may approve it has seen it.
        ("C002", json!("2000.00"), "action", "null"),
    ] {
        late(&api, client, &format!("FA-{client}"), 20);
        level(&api, json!({ "approvalAbove": most }));
        let id = propose(&api)["id"].take();
        let manager = company.as_role("CREDIT_MANAGER");
        assert_eq!(why(&run(&manager, "validateDunningRun", &id)), "");
        let more = format!("FB-{client}");
        api.invoice(client, &more, &ago(50), &ago(20), ("20000.00", "20"));
        let sent = run(&manager, "sendDunningRun", &id);
        assert_eq!(each(&sent["run"]["lines"]["nodes"], fields), found);
    }
}

#[test]
fn an_automatic_run_above_the_threshold_waits_for_the_director() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 20);
    late(&api, "C002", "FA-2", 20);
    api.invoice("C002", "FA-3", &ago(50), &ago(20), ("5000.00", "20"));
    let automatic = json!({ "settings": { "automatic_dunning": true } });
    tried(&api, "updateCompany", &automatic);
    let first = json!({ "actor": "AUTOMATIC", "approvalAbove": "5000.00" });
    level(&api, first);
    work(&company, "smtp://127.0.0.1:1");
    let runs = || list(&api, "dunningRuns", "id automatic status");
    let tasks = || each(&list(&api, "tasks", "kind"), "kind");
    assert_eq!(each(&runs(), "automatic status"), "true PROPOSED");
    assert_eq!(tasks(), "RUN_TO_VALIDATE");
    let director = company.as_role("DIRECTOR");
    run(&director, "validateDunningRun", &runs()[0]["id"]);
    work(&company, "smtp://127.0.0.1:1");
    assert_eq!(each(&runs(), "automatic status"), "true SENT");
    assert_eq!(tasks(), "");
    let mails = list(&api, "outbox", "client { number }");
    assert_eq!(each(&mails, "client.number"), "C002, C001");
}

#[test]
fn what_is_written_has_the_letter_of_its_tone() {
    let api = Company::new().admin();
    let asked = "{ letterTemplates(kind: FIRM_REMINDER) { language version subject body } }";
    let known = || api.data(asked, json!({}))["letterTemplates"].take();
    let product = known();
    assert_eq!(each(&product, "language version"), "FR 0, EN 0");
    let body = &product[0]["body"];
    for (subject, body, found) in [
        ("{{nowhere}}", body, "INVALID subject"),
        ("Rappel", &json!("?"), "MENTION_MISSING body"),
        ("Rappel", body, ""),
    ] {
        let own =
            json!({ "kind": "FIRM_REMINDER", "language": "FR", "subject": subject, "body": body });
        assert_eq!(tried(&api, "saveLetterTemplate", &own), found);
    }
    let own = json!({ "language": "FR", "version": 1, "subject": "Rappel", "body": body });
    assert_eq!(known(), json!([own, product[1]]));
    // No letter speaks of pre-litigation: the file is handed over.
    for (channel, taken) in [("FILE_TRANSFER", true), ("EMAIL", false), ("LETTER", false)] {
        let last = json!({ "channel": channel, "tone": "PRE_LITIGATION" });
        assert_eq!(level(&api, last).is_empty(), taken, "{channel}");
    }
}

#[test]
fn a_scenario_says_whom_to_chase_how_often_and_what_to_state_r7_3() {
    let api = Company::new().admin();
    late(&api, "C001", "FA-1", 60);
    scenario(&api, json!({ "chased": false }), json!({}));
    assert_eq!(of(&preview(&api, "C001"), "exclusion"), "NOT_CHASED");
    assert_eq!(due(&api), "");
    level(&api, json!({}));
    assert_eq!(due(&api), "C001 1200.00 1");
    let first = json!({ "client": { "number": "C001" }, "doneOn": ago(19) });
    assert_eq!(tried(&api, "recordDunningAction", &first), "");
    api.invoice("C001", "FA-2", &ago(50), &ago(20), ("100.00", "20"));
    for (gap, found) in [(20, ""), (19, "C001 1320.00 2"), (30, "")] {
        scenario(&api, json!({ "minGapDays": gap }), json!({}));
        assert_eq!(due(&api), found, "{gap}");
    }
    // Interest and 40 € are between professionals (R6.12).
    for (client, professional) in [("C002", true), ("C003", false)] {
        late(&api, client, &format!("FA-{client}"), 20);
        let more = json!({ "betweenProfessionals": professional, "minGapDays": 30 });
        scenario(&api, more, json!({ "tone": "FIRM", "interest": true }));
        assert_eq!(mailed(&api).contains("L441-10"), professional, "{client}");
    }
    let asked = "{ dunningScenarios { name version chased minGapDays betweenProfessionals } }";
    let all = api.data(asked, json!({}))["dunningScenarios"].take();
    let names = "CONSUMER, GROUP_COMPANY, LARGE_GROUP, NEW_OR_RISKY, PUBLIC, SME";
    assert_eq!(each(&all, "name"), names);
    let fields = "version chased minGapDays betweenProfessionals";
    assert_eq!(of(&all[0], fields), "0 true 7 false");
    assert_eq!(of(&all[1], fields), "0 false 7 true");
    assert_eq!(of(&all[5], fields), "7 true 30 false");
    for name in ["minAmount", "approvalAbove"] {
        let wrong = level(&api, json!({ name: "-1" }));
        assert_eq!(wrong, format!("INVALID levels,0,{name}"));
    }
    let wrong = scenario(&api, json!({ "minGapDays": -1 }), json!({}));
    assert_eq!(wrong, "INVALID minGapDays");
}

#[test]
fn a_run_is_given_up_until_it_was_sent() {
    let company = Company::new();
    let (manager, _) = company.as_member("CREDIT_MANAGER");
    late(&company.admin(), "C001", "FA-1", 20);
    let steps = ["validateDunningRun", "sendDunningRun"];
    for (done, before, after) in [
        (0, "PROPOSED", "CANCELLED"),
        (1, "VALIDATED", "CANCELLED"),
        (2, "SENT", "SENT"),
    ] {
        let mut now = propose(&manager);
        let id = now["id"].clone();
        assert_eq!(of(&now, "validatedBy endedAt"), "null null");
        for step in &steps[..done] {
            now = run(&manager, step, &id)["run"].take();
        }
        assert_eq!(of(&now, "status"), before);
        assert_eq!(now["endedAt"].is_string(), done == 2, "{now}");
        let stranger = Company::new().admin();
        let foreign = run(&stranger, "cancelDunningRun", &id);
        assert_eq!(why(&foreign), "NOT_FOUND run");
        run(&manager, "cancelDunningRun", &id);
        let again = run(&manager, "cancelDunningRun", &id);
        assert_eq!(why(&again), "WRONG_STATE run");
        let asked =
            "query($id: ID!) { dunningRun(id: $id) { status recordedBy validatedBy endedAt } }";
        let found = |api: &Api| api.data(asked, json!({ "id": id }))["dunningRun"].take();
        let kept = found(&manager);
        assert_eq!(of(&kept, "status"), after);
        assert!(kept["endedAt"].is_string(), "{kept}");
        let author = ["none", "recordedBy", "recordedBy"][done];
        assert_eq!(kept["validatedBy"], kept[author], "{kept}");
        assert_eq!(found(&stranger), Value::Null);
    }
    let runs = list(&manager, "dunningRuns", "status");
    assert_eq!(each(&runs, "status"), "SENT, CANCELLED, CANCELLED");
}

#[test]
fn a_letter_comes_back_after_its_deposit_r7_9() {
    let api = Company::new().admin();
    late(&api, "C001", "FA-1", 60);
    let letter = json!({ "channel": "REGISTERED_LETTER", "tone": "LAST_AMICABLE" });
    level(&api, letter);
    let made = json!({ "client": { "number": "C001" }, "doneOn": ago(20) });
    assert_eq!(tried(&api, "recordDunningAction", &made), "");
    let action = || list(&api, "dunningActions", "id proofs { kind happenedOn }")[0].take();
    let id = action()["id"].take();
    for (kind, days, found) in [
        ("DEPOSIT", 21, "INVALID happenedOn"),
        ("DEPOSIT", 10, ""),
        ("ACKNOWLEDGMENT", 11, "INVALID happenedOn"),
        ("ACKNOWLEDGMENT", 9, ""),
    ] {
        let proof =
            json!({ "action": id, "kind": kind, "happenedOn": ago(days), "reference": "1A" });
        let recorded = tried(&api, "recordLetterProof", &proof);
        assert_eq!(recorded, found, "{proof}");
    }
    let both = format!("DEPOSIT {}, ACKNOWLEDGMENT {}", ago(10), ago(9));
    assert_eq!(each(&action()["proofs"], "kind happenedOn"), both);
}

#[test]
fn the_days_of_a_case_follow_each_other_r7_11() {
    let company = Company::new();
    let api = company.admin();
    for client in ["C001", "C002"] {
        late(&api, client, &format!("FA-{client}"), 60);
        let case = json!({ "client": { "number": client } });
        assert_eq!(tried(&api, "openLitigationCase", &case), "");
    }
    let ids = list(&api, "litigationCases", "id");
    let end = json!({ "case": ids[0]["id"], "stage": "CLOSED", "outcome": "PAID" });
    assert_eq!(tried(&api, "advanceLitigationCase", &end), "");
    let own = "client: { number: \"C002\" }, open";
    for (asked, found) in [("open", "C001"), (own, ""), ("first: 9, open", "C001")] {
        for (is_open, found) in [(true, found), (false, "C002")] {
            let asked = format!("litigationCases({asked}: {is_open})");
            let cases = list(&api, &asked, "client { number }");
            assert_eq!(each(&cases, "client.number"), found, "{asked}");
        }
    }
    // They are of thirty days ago.
    let (id, day) = (company.id.trim_start_matches("com_"), ago(30));
    tamper(&format!(
        "UPDATE litigation_cases SET opened_on = '{day}' WHERE company_id = '{id}'; UPDATE litigation_events SET happened_on = '{day}' WHERE company_id = '{id}'"
    ));
    for (days, what, name, found) in [
        (31, "event", "NOTE", "INVALID happenedOn"),
        (20, "stage", "PAYMENT_ORDER", ""),
        (10, "event", "ORDER_MADE", ""),
        (11, "event", "SERVED", "INVALID happenedOn"),
        (9, "event", "SERVED", ""),
        (21, "stage", "JUDGMENT", "INVALID happenedOn"),
    ] {
        let step = json!({ "case": ids[1]["id"], "happenedOn": ago(days), what: name });
        let taken = tried(&api, "advanceLitigationCase", &step);
        assert_eq!(taken, found, "{step}");
    }
    let events = list(&api, "litigationCases(open: true)", "events { happenedOn }")[0].take();
    let days = [30, 20, 10, 9].map(ago).join(", ");
    assert_eq!(each(&events["events"], "happenedOn"), days);
}

#[test]
fn a_reason_that_changes_leaves_its_disputes_as_they_are() {
    let company = Company::new();
    let api = company.admin();
    late(&api, "C001", "FA-1", 20);
    let old = json!({ "code": "BRET", "label": "retard", "labelEn": "late", "kind": "ADMINISTRATIVE", "blocksDunning": false, "department": "TRANSPORT" });
    let dispute = json!({ "invoice": { "number": "FA-1" }, "reason": "BRET", "amount": "200.00", "openedOn": ago(9) });
    // The code is taken then: it is changed, for the disputes to come.
    let new = json!({ "code": "BRET", "label": "délai", "kind": "COMMERCIAL", "department": "SALES", "active": false });
    for (reason, found) in [(&old, ""), (&new, "INVALID reason")] {
        assert_eq!(tried(&api, "saveDisputeReason", reason), "");
        assert_eq!(tried(&api, "openDispute", &dispute), found);
    }
    let fields = "id kind department blocksDunning reason { label labelEn kind department blocksDunning active }";
    let kept = list(&api, "disputes", fields)[0].take();
    let found = of(&kept, "kind department blocksDunning");
    assert_eq!(found, "ADMINISTRATIVE TRANSPORT false");
    let fields = "label labelEn kind department blocksDunning active";
    let found = of(&kept["reason"], fields);
    assert_eq!(found, "délai délai COMMERCIAL SALES true false");
    assert_eq!(due(&api), "C001 1200.00 1");
    for (field, value) in [("code", "bret"), ("label", " ")] {
        let mut wrong = new.clone();
        wrong[field] = json!(value);
        let saved = tried(&api, "saveDisputeReason", &wrong);
        assert_eq!(saved, format!("INVALID {field}"));
    }
    let note = |text: &str| json!({ "dispute": { "id": kept["id"] }, "note": text });
    assert_eq!(tried(&api, "addDisputeNote", &note(" Appelé. ")), "");
    assert_eq!(tried(&api, "addDisputeNote", &note(" ")), "INVALID note");
    for stranger in [Company::new().admin(), company.as_role("SALES")] {
        let written = tried(&stranger, "addDisputeNote", &note("?"));
        assert_eq!(written, "NOT_FOUND dispute");
    }
    let events = list(&api, "disputes", "events { status note happenedOn }")[0]["events"].take();
    let both = format!("OPEN  {}, null Appelé. {}", ago(9), ago(0));
    assert_eq!(each(&events, "status note happenedOn"), both);
}

#[test]
fn lists_are_narrowed_by_their_days_both_included() {
    let api = Company::new().admin();
    for days in [30, 20, 10] {
        let names = ["C", "FA-", "FB-", "RG-"].map(|kind| format!("{kind}{days}"));
        let [client, invoice, small, paid] = names;
        late(&api, &client, &invoice, 60);
        // It opens a dispute of its day.
        let short = json!({ "invoice": { "number": invoice }, "reason": "BMAN", "amount": "9.00", "recordedOn": ago(days) });
        assert_eq!(tried(&api, "recordDeduction", &short), "");
        api.invoice(&client, &small, &ago(90), &ago(60), ("100.00", "20"));
        api.payment(&client, &paid, &ago(40), "119.99");
        let lines = [(small.as_str(), paid.as_str(), "119.99")];
        api.allocate(&ago(40), &lines);
        let rest = json!({ "item": { "number": small }, "on": ago(days) });
        assert_eq!(tried(&api, "settleDifference", &rest), "");
    }
    for (name, [from, to], day) in [
        ("disputes", ["openedFrom", "openedTo"], "openedOn"),
        ("deductions", ["recordedFrom", "recordedTo"], "recordedOn"),
        ("operations", ["from", "to"], "happenedOn"),
    ] {
        let days = |first: u64, last: u64| {
            let (first, last) = (ago(first), ago(last));
            let filter = format!("{from}: \"{first}\", {to}: \"{last}\"");
            let found = list(&api, &format!("{name}(filter: {{ {filter} }})"), day);
            each(&found, day)
        };
        assert_eq!(days(99, 0), [10, 20, 30].map(ago).join(", "), "{name}");
        assert_eq!(days(20, 0), [10, 20].map(ago).join(", "), "{name}");
        assert_eq!(days(99, 20), [20, 30].map(ago).join(", "), "{name}");
        assert_eq!(days(20, 20), ago(20), "{name}");
        assert_eq!(days(19, 11), "", "{name}");
    }
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
    let mails = || list(&api, "outbox", "status sentAt recordedAt");
    assert_eq!(each(&mails(), "status sentAt"), "QUEUED null, QUEUED null");
    work(&company, &MailServer::start().url);
    // Latest first: the one of C002 came back.
    let [returned, left] = [mails()[0].take(), mails()[1].take()];
    assert_eq!(of(&returned, "status sentAt"), "BOUNCED null");
    assert_eq!(of(&left, "status"), "SENT");
    assert!(left["sentAt"].as_str() > left["recordedAt"].as_str());
    let fields = "id kind doneAt doneBy";
    let tasks = |done: bool| list(&api, &format!("tasks(done: {done})"), fields);
    let waiting = each(&tasks(false), "kind doneAt doneBy");
    assert_eq!(waiting, "BOUNCED_MAIL null null");
    let id = tasks(false)[0]["id"].take();
    let complete = |api: &Api, id: &Value| {
        let document = "mutation($task: ID!) { completeTask(task: $task) { task { id } userErrors { code field } } }";
        why(&api.data(document, json!({ "task": id }))["completeTask"])
    };
    let stranger = Company::new().admin();
    assert_eq!(complete(&stranger, &id), "NOT_FOUND task");
    assert_eq!(complete(&api, &json!("tsk_1")), "NOT_FOUND task");
    let (person, _) = company.as_member("AR_ACCOUNTANT");
    assert_eq!(complete(&person, &id), "");
    // Whoever comes second is told so, and the first stays on record.
    assert_eq!(complete(&api, &id), "WRONG_STATE task");
    assert_eq!(tasks(false), json!([]));
    let done = tasks(true)[0].take();
    let members = api.data("{ members { email } }", json!({}));
    assert_eq!(each(&members["members"], "email"), of(&done, "doneBy"));
    assert!(done["doneAt"].as_str() > left["sentAt"].as_str());
}

#[test]
fn a_dispute_is_answered_inside_the_company_and_closed_after_its_decision_r8_2() {
    let company = Company::segregated();
    let api = company.admin();
    late(&api, "C001", "FA-1", 40);
    let (sales, owner) = company.as_member("SALES");
    let portfolio = json!({ "client": { "number": "C001" }, "salesOwner": owner });
    assert_eq!(tried(&api, "updateClient", &portfolio), "");
    let mut dispute = json!({ "invoice": { "number": "FA-1" }, "reason": "BLIV", "amount": "120.00", "openedOn": ago(30) });
    let id = api.make("OpenDispute", dispute.clone())["dispute"]["id"].take();
    let settle = |api: &Api, days: u64| {
        let input =
            json!({ "dispute": { "id": id }, "outcome": "ACCEPTED", "closedOn": ago(days) });
        tried(api, "resolveDispute", &input)
    };
    assert_eq!(settle(&sales, 5), "");
    // A person of another company is nobody here.
    dispute["reason"] = json!("BQUA");
    dispute["owner"] = json!(Company::new().as_member("SALES").1);
    assert_eq!(tried(&api, "openDispute", &dispute), "NOT_FOUND owner");
    let change = json!({ "dispute": { "id": id }, "owner": dispute["owner"] });
    assert_eq!(tried(&api, "updateDispute", &change), "NOT_FOUND owner");
    let accountant = company.as_role("AR_ACCOUNTANT");
    assert_eq!(settle(&accountant, 6), "INVALID closedOn");
    assert_eq!(settle(&accountant, 5), "");
    let ended = each(
        &list(&api, "disputes", "status closedOn"),
        "status closedOn",
    );
    assert_eq!(ended, format!("CLOSED {}", ago(5)));
}
