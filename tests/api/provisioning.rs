//! What a provision is made of, and what stands beside it: late entries, policies, estimates, runs, files of doubtful
//! debts, penalties and the rates behind them, promises and plans.

use serde_json::{Value, json};

use crate::desk::{ago, mutate};
use crate::harness::{Api, Company, codes, day, instant, single, tamper};

/// A client with an invoice of 1,000.00 net at 20 % for each number, all due on 20 January.
fn owes(api: &Api, client: &str, invoices: &[&str]) {
    api.client(client);
    let (issued, due) = (day("01-10"), day("01-20"));
    for number in invoices {
        api.invoice(client, number, &issued, &due, ("1000.00", "20"));
    }
}

/// The code and the path of the only refusal.
#[track_caller]
fn refusal(payload: &Value) -> Value {
    let error = single(payload["userErrors"].clone());
    json!([error["code"], error["field"]])
}

/// These fields of each row, in one line of text.
fn each(table: &Value, fields: &str) -> String {
    let text = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let row = |row: &Value| {
        let texts: Vec<String> = fields.split(' ').map(|field| text(&row[field])).collect();
        texts.join(" ")
    };
    let rows = table.as_array().expect("rows").iter();
    rows.map(row).collect::<Vec<_>>().join(", ")
}

/// An input with some fields changed.
fn with(mut input: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().expect("fields") {
        input[name] = value.clone();
    }
    input
}

const LATE: &str = "query($on: Date!, $known: DateTime, $filter: AgedBalanceFilter, $since: DateTime, $first: Int, $after: String) {
    agedBalance(asOf: $on, knownAt: $known, filter: $filter) { lateEntries(since: $since, first: $first, after: $after) {
        totalCount nodes { reference open daysOverdue } pageInfo { hasNextPage endCursor } } openItems { nodes { reference open daysOverdue } } } }";

#[test]
fn late_entries_are_what_was_recorded_after_the_report_r4_14() {
    let api = Company::new().admin();
    let abroad = json!({ "number": "C002", "name": "C002", "currency": "USD" });
    api.make("CreateClient", abroad);
    api.client("C001");
    api.invoice("C001", "F-1", &ago(60), &ago(40), ("100.00", "20"));
    let printed = instant();
    let abroad = json!({ "client": { "number": "C002" }, "number": "F-2", "issuedOn": ago(60), "dueOn": ago(40), "currency": "USD", "exchangeRate": "0.9",
        "lines": [{ "description": "Conseil", "quantity": "1", "unitPrice": "100.00", "vatRate": "0" }] });
    api.make("IssueInvoice", abroad);
    let again = instant();
    api.payment("C001", "R-1", &ago(50), "50.00");
    api.invoice("C001", "F-3", &ago(10), &ago(1), ("100.00", "20"));
    let asked = |variables: &Value| api.run(LATE, with(json!({ "on": ago(30) }), variables));
    let list = |variables: &Value| asked(variables)["data"]["agedBalance"]["lateEntries"].take();
    let of = json!({ "client": { "number": "C001" } });
    for (variables, count, expected) in [
        // After the day itself, after an instant, after what was known then; `since` counts before `knownAt`.
        (json!({}), 3, "F-1, F-2, R-1"),
        (json!({ "since": printed }), 2, "F-2, R-1"),
        (json!({ "known": printed }), 2, "F-2, R-1"),
        (json!({ "known": printed, "since": again }), 1, "R-1"),
        (json!({ "on": ago(0) }), 0, ""),
        // Of what the report is about, a page at a time.
        (json!({ "filter": of }), 2, "F-1, R-1"),
        (json!({ "filter": of, "first": 1 }), 2, "F-1"),
        (json!({ "filter": of, "since": again }), 1, "R-1"),
        (json!({ "filter": { "currency": "USD" } }), 1, "F-2"),
    ] {
        let found = list(&variables);
        assert_eq!(found["totalCount"], count, "{variables}");
        assert_eq!(each(&found["nodes"], "reference"), expected, "{variables}");
    }
    let page = list(&json!({ "filter": of, "first": 1 }))["pageInfo"].take();
    assert_eq!(page["hasNextPage"], true);
    let rest = list(&json!({ "filter": of, "first": 1, "after": page["endCursor"] }));
    assert_eq!(each(&rest["nodes"], "reference"), "R-1");
    assert_eq!(rest["pageInfo"]["hasNextPage"], false);
    let elsewhere = asked(&json!({ "after": page["endCursor"] }));
    assert_eq!(codes(&elsewhere), ["BAD_USER_INPUT"]);
}

#[test]
fn late_entries_stand_as_on_the_day_of_the_report_r4_3() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice("C001", "F-1", &ago(90), &ago(60), ("1000.00", "20"));
    api.payment("C001", "R-1", &ago(50), "1200.00");
    api.allocate(&ago(5), &[("F-1", "R-1", "1200.00")]);
    let report = api.data(LATE, json!({ "on": ago(30) }))["agedBalance"].take();
    for list in ["openItems", "lateEntries"] {
        let shown = each(&report[list]["nodes"], "reference open daysOverdue");
        assert_eq!(shown, "F-1 1200.00 30, R-1 -1200.00 0", "{list}");
    }
}

fn save(api: &Api, name: &str, policy: &Value) -> Value {
    let input = json!({ "name": name, "policy": policy });
    let fields = "policy { version framework rates { bounds rates disputedRate } }";
    mutate(api, "saveProvisionPolicy", input, fields)
}

const RUN: &str = "run { id number status policyName policyVersion proposedBy approvedBy postedBy cancelledOn totals { previous charge }
    clients { nodes { claims { reference deductible } } } }";

fn propose(api: &Api, input: Value) -> Value {
    mutate(api, "proposeProvisionRun", input, RUN)
}

#[test]
fn the_latest_version_of_a_policy_that_was_known_counts_r5_5() {
    let api = Company::new().admin();
    owes(&api, "C001", &["F-1"]);
    let before = instant();
    let harder = json!({ "rates": ["0", "50", "60", "70", "80"], "disputedRate": "25" });
    let rates = with(json!({ "bounds": [30, 60, 90] }), &harder);
    let expected = json!({ "version": 2, "framework": "FRENCH_GAAP", "rates": rates });
    assert_eq!(save(&api, "default", &harder)["policy"], expected);
    let shorter = json!({ "bounds": [60], "rates": ["0", "10", "100"] });
    save(&api, "prudente", &shorter);
    let named = json!({ "name": "prudente" });
    let asked = "query($on: Date, $known: DateTime, $policy: ProvisionPolicyInput) {
        doubtfulDebtProvision(asOf: $on, knownAt: $known, policy: $policy) { policyName policyVersion totals { required } } }";
    let moment = json!({ "rates": ["1", "2", "3", "4", "5"] });
    for (variables, expected) in [
        (json!({}), "default 2 800.00"),
        (json!({ "known": before }), "default 1 400.00"),
        (json!({ "policy": named }), "prudente 1 1000.00"),
        (json!({ "policy": moment }), "null null 50.00"),
    ] {
        let found = api.data(asked, with(json!({ "on": day("05-31") }), &variables));
        let mut found = found["doubtfulDebtProvision"].clone();
        found["required"] = found["totals"][0]["required"].take();
        let shown = each(&json!([found]), "policyName policyVersion required");
        assert_eq!(shown, expected);
    }
    // A run keeps what it was computed with.
    propose(&api, json!({ "asOf": day("05-31") }));
    save(&api, "default", &json!({}));
    let asked = "{ provisionRuns { nodes { policyName policyVersion } } provisionPolicies { name version } }";
    let found = api.data(asked, json!({}));
    let runs = &found["provisionRuns"]["nodes"];
    assert_eq!(each(runs, "policyName policyVersion"), "default 2");
    let policies = each(&found["provisionPolicies"], "name version");
    assert!(policies.contains("default 3, default 2, default 1"));
}

#[test]
fn a_policy_has_one_rate_for_each_bucket_r5_5() {
    let api = Company::new().admin();
    let public = json!({ "segment": "PUBLIC", "rates": ["0"] });
    for (policy, field) in [
        (json!({ "rates": ["0", "10", "20", "30"] }), "rates"),
        (json!({ "rates": ["-1", "10", "20", "30", "40"] }), "rates"),
        (json!({ "rates": ["0", "1", "2", "3", "100.01"] }), "rates"),
        (json!({ "bounds": [30, 60] }), "rates"),
        (json!({ "bounds": [60, 30, 90] }), "bounds"),
        (json!({ "segments": [public] }), "segments"),
        (json!({ "disputedRate": "101" }), "disputedRate"),
    ] {
        let run = json!({ "asOf": day("01-01"), "policy": policy });
        for refused in [save(&api, "default", &policy), propose(&api, run)] {
            let refusal = refusal(&refused);
            let shown = json!([refusal[0], refusal[1][0], refusal[1][1]]);
            assert_eq!(shown, json!(["INVALID", "policy", field]), "{policy}");
        }
    }
    let found = api.data("{ provisionPolicies { version } }", json!({}));
    assert_eq!(found["provisionPolicies"], json!([{ "version": 1 }]));
}

/// Estimates all claims of C001 at 35 %, or something else.
fn assess(api: &Api, changes: &Value) -> Value {
    let usual = json!({ "client": { "number": "C001" }, "ratePercent": "35", "reason": "sans nouvelles", "evidence": ["LRAR"], "validFrom": day("03-01") });
    mutate(api, "assessClaim", with(usual, changes), "assessmentId")
}

#[test]
fn an_estimate_has_proof_and_counts_between_its_days_r5_3() {
    let api = Company::new().admin();
    owes(&api, "C001", &["F-1", "F-2"]);
    owes(&api, "C002", &["F-3"]);
    let stranger = Company::new().admin().client("C001")["id"].take();
    let unproven = refusal(&assess(&api, &json!({ "evidence": [" "] })));
    assert_eq!(unproven, json!(["EVIDENCE_REQUIRED", ["evidence"]]));
    for (field, value, code) in [
        ("reason", json!(" "), "INVALID"),
        ("ratePercent", json!("100.01"), "INVALID"),
        ("validTo", json!(day("02-28")), "INVALID"),
        ("client", json!({ "id": stranger }), "NOT_FOUND"),
        ("invoice", json!({ "number": "F-3" }), "INVALID"),
    ] {
        let refused = refusal(&assess(&api, &json!({ field: value })));
        assert_eq!(refused, json!([code, [field]]));
    }
    // The latest counts, an invoice's own before its client's.
    for changes in [
        json!({ "validTo": day("06-30"), "deductible": true }),
        json!({ "ratePercent": "60", "validFrom": day("05-01") }),
        json!({ "ratePercent": "0", "validFrom": day("05-20"), "validTo": day("05-25"), "invoice": { "number": "F-1" } }),
    ] {
        assert_eq!(assess(&api, &changes)["userErrors"], json!([]));
    }
    let asked = "query($on: Date!) { doubtfulDebtProvision(asOf: $on) { clients { nodes { claims { rate method } } } }
        provisionAssessments(asOf: $on) { ratePercent validFrom validTo deductible } }";
    for (on, rates, estimates) in [
        ("02-28", "5 MATRIX, 5 MATRIX", ""),
        ("03-01", "35 INDIVIDUAL, 35 INDIVIDUAL", "35"),
        ("05-20", "0 INDIVIDUAL, 60 INDIVIDUAL", "0, 60, 35"),
        ("05-26", "60 INDIVIDUAL, 60 INDIVIDUAL", "60, 35"),
        ("07-01", "60 INDIVIDUAL, 60 INDIVIDUAL", "60"),
    ] {
        let found = api.data(asked, json!({ "on": day(on) }));
        let claims = &found["doubtfulDebtProvision"]["clients"]["nodes"][0]["claims"];
        assert_eq!(each(claims, "rate method"), rates, "{on}");
        let listed = &found["provisionAssessments"];
        assert_eq!(each(listed, "ratePercent"), estimates, "{on}");
    }
    let found = api.data(asked, json!({ "on": day("06-30") }));
    let listed = &found["provisionAssessments"];
    let listed = each(listed, "validFrom validTo deductible");
    let (from, later, to) = (day("03-01"), day("05-01"), day("06-30"));
    assert_eq!(listed, format!("{later} null false, {from} {to} true"));
}

#[test]
fn a_claim_is_as_deductible_as_the_estimate_that_counts_r5_4() {
    let api = Company::new().admin();
    owes(&api, "C001", &["F-1", "F-2"]);
    owes(&api, "C002", &["F-3"]);
    owes(&api, "C003", &["F-4"]);
    // Its own before its client's, and the latest of several.
    for changes in [
        json!({ "deductible": true }),
        json!({ "invoice": { "number": "F-1" } }),
        json!({ "client": { "number": "C002" }, "deductible": true }),
        json!({ "client": { "number": "C002" } }),
        json!({ "client": { "number": "C003" }, "invoice": { "number": "F-4" }, "deductible": true }),
        json!({ "client": { "number": "C003" } }),
    ] {
        assert_eq!(assess(&api, &changes)["userErrors"], json!([]));
    }
    let run = propose(&api, json!({ "asOf": day("05-31") }))["run"].take();
    let clients = run["clients"]["nodes"].as_array().expect("clients").iter();
    let shown: Vec<String> = clients
        .map(|client| each(&client["claims"], "reference deductible"))
        .collect();
    assert_eq!(shown, ["F-1 false, F-2 true", "F-3 false", "F-4 true"]);
}

#[test]
fn a_run_says_who_proposed_approved_and_posted_it_r12_1() {
    let company = Company::segregated();
    let credit = company.as_role("CREDIT_MANAGER");
    owes(&company.as_role("AR_ACCOUNTANT"), "C001", &["F-1"]);
    let director = company.as_member("DIRECTOR").0;
    let members = credit.data("{ members { email } }", json!({}));
    let email = each(&members["members"], "email");
    let fields = "status proposedBy approvedBy postedBy cancelledOn";
    let state = |run: &Value| each(&json!([run]), fields).replace(&email, "director");
    let new = |on: String| propose(&credit, json!({ "asOf": on }))["run"].take();
    let decide = |run: &Value, approve: bool| {
        let input = json!({ "run": { "id": run["id"] }, "approve": approve, "reason": "vu" });
        mutate(&director, "decideProvisionRun", input, RUN)["run"].take()
    };
    let run = new(day("05-31"));
    assert_eq!(state(&run), "PROPOSED script null null null");
    let approved = decide(&run, true);
    assert_eq!(state(&approved), "APPROVED script director null null");
    let post = format!("mutation($id: ID!) {{ postProvisionRun(run: {{ id: $id }}) {{ {RUN} }} }}");
    let posted = credit.data(&post, json!({ "id": run["id"] }))["postProvisionRun"].take();
    let posted = state(&posted["run"]);
    assert_eq!(posted, "POSTED script director script null");
    // Taken back on the closing day it can be done again, from nothing.
    let cancel = json!({ "run": { "id": run["id"] }, "on": day("05-31"), "reason": "taux erroné" });
    let cancelled = mutate(&director, "cancelProvisionRun", cancel, RUN);
    let expected = format!("CANCELLED script director script {}", day("05-31"));
    assert_eq!(state(&cancelled["run"]), expected);
    let again = new(day("05-31"));
    let totals = each(&json!([again["totals"]]), "previous charge");
    assert_eq!(totals, "0.00 400.00");
    let rejected = decide(&again, false);
    assert_eq!(state(&rejected), "REJECTED script director null null");
    new(day("03-31"));
    let asked = "{ all: provisionRuns { nodes { asOf status } } some: provisionRuns(statuses: [REJECTED, PROPOSED], first: 1) { totalCount nodes { status } } }";
    let found = credit.data(asked, json!({}));
    let (may, march) = (day("05-31"), day("03-31"));
    let expected = format!("{may} REJECTED, {may} CANCELLED, {march} PROPOSED");
    assert_eq!(each(&found["all"]["nodes"], "asOf status"), expected);
    let some = json!({ "totalCount": 2, "nodes": [{ "status": "REJECTED" }] });
    assert_eq!(found["some"], some);
    company.admin().sound();
}

#[test]
fn files_are_listed_by_status_and_kind_latest_first_r5_12() {
    let api = Company::new().admin();
    let file = |mutation: &str, client: &str, on: &str| {
        owes(&api, client, &[format!("F-{client}").as_str()]);
        let input = json!({ "client": { "number": client }, "reason": "injoignable", "evidence": ["LRAR"], "on": day(on) });
        mutate(&api, mutation, input, "file { id }")["file"]["id"].take()
    };
    let moved = file("proposeDoubtful", "C001", "05-31");
    let lost = file("proposeWriteOff", "C002", "06-30");
    file("proposeDoubtful", "C003", "04-30");
    for (file, approve) in [(&lost, false), (&moved, true)] {
        let input = json!({ "file": { "id": file }, "approve": approve, "reason": "vu" });
        mutate(&api, "decideDoubtfulFile", input, "file { id }");
    }
    let asked = "query($id: ID!) { doubtfulFile(ref: { id: $id }) { happenedOn operations { happenedOn amount } } doubtfulFiles { nodes { status happenedOn } }
        some: doubtfulFiles(statuses: [PROPOSED, POSTED], kinds: [TRANSFER], first: 1) { totalCount nodes { id } } none: doubtfulFiles(statuses: [POSTED], kinds: [WRITE_OFF]) { totalCount } }";
    let mut found = api.data(asked, json!({ "id": moved }));
    let (april, may, june) = (day("04-30"), day("05-31"), day("06-30"));
    let all = each(&found["doubtfulFiles"]["nodes"].take(), "status happenedOn");
    let expected = format!("REJECTED {june}, POSTED {may}, PROPOSED {april}");
    assert_eq!(all, expected);
    let expected = json!({ "doubtfulFile": { "happenedOn": may, "operations": [{ "happenedOn": may, "amount": "1200.00" }] },
        "doubtfulFiles": { "nodes": null }, "some": { "totalCount": 2, "nodes": [{ "id": moved }] }, "none": { "totalCount": 0 } });
    assert_eq!(found, expected);
    let foreign = Company::new().admin().data(asked, json!({ "id": moved }));
    assert_eq!(foreign["doubtfulFile"], Value::Null);
    api.sound();
}

/// An invoice of 1,200.00 of any year.
fn billed(api: &Api, number: &str, issued: &str, due: &str) {
    let input = json!({ "client": { "number": "C001" }, "number": number, "issuedOn": issued, "dueOn": due, "lateEntry": true,
        "lines": [{ "description": "Vitrine", "quantity": "1", "unitPrice": "1000.00", "vatRate": "20" }] });
    api.make("IssueInvoice", input);
}

/// These fields of the penalties through a day.
fn penalties(api: &Api, through: &str, fields: &str) -> String {
    let asked = format!("{{ latePenalties(through: \"{through}\") {{ nodes {{ {fields} }} }} }}");
    let found = api.data(&asked, json!({}));
    each(&found["latePenalties"]["nodes"], fields)
}

#[test]
fn interest_and_indemnity_are_claimed_and_waived_apart_r6_13() {
    let api = Company::new().admin();
    api.client("C001");
    billed(&api, "F-1", "2026-01-10", "2026-01-31");
    billed(&api, "F-2", "2026-01-10", "2026-01-31");
    let claim = |invoice: &str, interest_only: bool| {
        let input = json!({ "invoices": [{ "number": invoice }], "through": "2026-06-30", "interestOnly": interest_only });
        mutate(&api, "claimPenalties", input, "operation { amount }")
    };
    let waive = |invoice: &str, scope: &str| {
        let input = json!({ "invoice": { "number": invoice }, "scope": scope, "reason": "geste" });
        mutate(&api, "waivePenalties", input, "operation { amount }")["operation"].take()
    };
    let fields = "claimedInterest claimedIndemnity interestWaived indemnityWaived claimable";
    let state = || penalties(&api, "2026-06-30", fields);
    // 1,200.00 for 150 days at 12.15 % are 59.92.
    let fresh = "0.00 0.00 false false 99.92";
    assert_eq!(state(), format!("{fresh}, {fresh}"));
    assert_eq!(claim("F-1", true)["operation"]["amount"], "59.92");
    assert_eq!(state(), format!("59.92 0.00 false false 40.00, {fresh}"));
    let nothing = json!(["WRONG_STATE", ["invoices", "0"]]);
    assert_eq!(refusal(&claim("F-1", true)), nothing);
    assert_eq!(claim("F-1", false)["operation"]["amount"], "40.00");
    assert_eq!(refusal(&claim("F-1", false)), nothing);
    // What was not claimed yet is given up without an entry; what was is taken back.
    assert_eq!(waive("F-2", "INTEREST"), Value::Null);
    assert_eq!(waive("F-1", "INDEMNITY")["amount"], "40.00");
    let claimed = "59.92 40.00 false true 0.00";
    assert_eq!(state(), format!("{claimed}, 0.00 0.00 true false 40.00"));
    api.sound();
    // In dispute nothing may be claimed now (R8.5).
    let dispute = json!({ "invoice": { "number": "F-2" }, "reason": "BLIV", "amount": "100.00" });
    api.make("OpenDispute", dispute);
    assert_eq!(refusal(&claim("F-2", false)), nothing);
    assert_eq!(state(), format!("{claimed}, 0.00 0.00 true false 0.00"));
}

#[test]
fn a_rate_that_fell_below_the_floor_is_flagged_r6_7() {
    let api = Company::new().admin();
    api.client("C001");
    let terms = json!({ "client": { "number": "C001" }, "penaltyRate": "9" });
    mutate(&api, "setCreditTerms", terms, "client { penaltyRate }");
    billed(&api, "F-1", "2022-12-01", "2022-12-31");
    billed(&api, "F-2", "2023-09-01", "2023-09-30");
    // Three times the legal rate: 6.18 %, then 15.21 %, then 7.86 %.
    let flags = |through: &str| penalties(&api, through, "belowFloor");
    assert_eq!(flags("2023-06-30"), "false");
    assert_eq!(flags("2024-06-30"), "true, true");
    assert_eq!(flags("2026-06-30"), "false, false");
    let asked = "query($on: Date) { legalRates(on: $on) { kind validFrom validTo value unit } }";
    let found = api.data(asked, json!({ "on": "2024-06-30" }));
    let rates = each(&found["legalRates"], "kind validFrom validTo value unit");
    for (kind, expected) in [
        ("ECB_REFINANCING", "2024-01-01 2024-06-30 4.5 PERCENT"),
        ("CONTRACT_FLOOR_MULTIPLE", "2009-01-01 null 3 TIMES"),
        ("RECOVERY_INDEMNITY", "2013-01-01 null 40 EUR"),
    ] {
        assert_eq!(rates.matches(kind).count(), 1, "{rates}");
        assert!(rates.contains(&format!("{kind} {expected}")), "{rates}");
    }
    let next = api.data(asked, json!({ "on": "2024-07-01" }));
    let rates = each(&next["legalRates"], "kind validFrom validTo");
    assert!(rates.contains("ECB_REFINANCING 2024-07-01 2024-12-31"));
}

#[test]
fn a_client_is_as_reliable_as_its_promises_were_kept_r7_6() {
    let company = Company::new();
    let api = company.admin();
    let invoices = ["F-1", "F-2", "F-3", "F-4"];
    owes(&api, "C001", &invoices);
    let made = invoices.map(|invoice| {
        let input = json!({ "client": { "number": "C001" }, "amount": "1000.00", "dueOn": ago(0), "items": [{ "number": invoice }] });
        mutate(&api, "recordPromise", input, "promise { id }")["promise"]["id"].take()
    });
    api.payment("C001", "R-1", &ago(5), "1700.00");
    let paid = [("F-1", "R-1", "1000.00"), ("F-2", "R-1", "400.00")];
    api.allocate(&ago(2), &paid);
    let cancel = json!({ "promise": made[3], "reason": "doublon" });
    mutate(&api, "cancelPromise", cancel, "promise { id }");
    let asked = "{ client(ref: { number: \"C001\" }) { reliability { kept partlyKept broken percent } } promises { nodes { promisedOn status paid cancelledReason } } }";
    let reliability = |found: &Value| {
        let of = json!([found["client"]["reliability"]]);
        each(&of, "kept partlyKept broken percent")
    };
    // Nothing is known before the day has passed; what comes later changes nothing.
    assert_eq!(reliability(&api.data(asked, json!({}))), "0 0 0 null");
    let id = company.id.trim_start_matches("com_");
    tamper(&format!(
        "UPDATE promises SET promised_on = promised_on - 1, due_on = due_on - 1 WHERE company_id = '{id}'"
    ));
    api.allocate(&ago(0), &[("F-3", "R-1", "300.00")]);
    let found = api.data(asked, json!({}));
    assert_eq!(reliability(&found), "1 1 1 50");
    let fields = "promisedOn status paid cancelledReason";
    let promises = each(&found["promises"]["nodes"], fields).replace(&ago(1), "D");
    let expected = "D CANCELLED 0.00 doublon, D BROKEN 0.00 null, D PARTLY_KEPT 400.00 null, D KEPT 1000.00 null";
    assert_eq!(promises, expected);
}

#[test]
fn plans_are_listed_with_their_day_and_why_they_ended_r7_2() {
    let api = Company::new().admin();
    let plan = |client: &str| {
        owes(&api, client, &[format!("F-{client}").as_str()]);
        let part = json!({ "dueOn": ago(0), "amount": "600.00" });
        let input = json!({ "client": { "number": client }, "installments": [part] });
        mutate(&api, "recordPaymentPlan", input, "plan { id }")["plan"]["id"].take()
    };
    let input = json!({ "plan": plan("C001"), "reason": "dénoncé" });
    plan("C002");
    let cancel = |api: &Api| mutate(api, "cancelPaymentPlan", input.clone(), "plan { id }");
    let foreign = cancel(&Company::new().admin());
    assert_eq!(refusal(&foreign), json!(["NOT_FOUND", ["plan"]]));
    assert_eq!(cancel(&api)["userErrors"], json!([]));
    let asked = "{ paymentPlans { nodes { agreedOn status cancelledReason } } one: paymentPlans(client: { number: \"C001\" }) { totalCount nodes { status } } }";
    let found = api.data(asked, json!({}));
    let expected = format!("{0} IN_GOOD_STANDING null, {0} CANCELLED dénoncé", ago(0));
    let plans = &found["paymentPlans"]["nodes"];
    assert_eq!(each(plans, "agreedOn status cancelledReason"), expected);
    let one = json!({ "totalCount": 1, "nodes": [{ "status": "CANCELLED" }] });
    assert_eq!(found["one"], one);
}
