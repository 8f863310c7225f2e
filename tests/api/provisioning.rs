//! What a provision is made of, and what stands beside it: late entries, policies, estimates, runs, files of doubtful
//! debts, penalties and the rates behind them, promises and plans.

use serde_json::{Value, json};

use crate::desk::{ago, mutate};
use crate::harness::{Api, Company, codes, day, instant, single, tamper};

/// A client with invoices of these net amounts at 20 %, all due on 20 January.
fn owes(api: &Api, client: &str, invoices: &[(&str, &str)]) {
    api.client(client);
    let (issued, due) = (day("01-10"), day("01-20"));
    for (number, net) in invoices {
        api.invoice(client, number, &issued, &due, (net, "20"));
    }
}

/// The code and the path of the only refusal.
#[track_caller]
fn refusal(payload: &Value) -> Value {
    let error = single(payload["userErrors"].clone());
    json!([error["code"], error["field"]])
}

/// The rows of a table of cases, or of a list.
fn rows(table: &Value) -> &Vec<Value> {
    table.as_array().expect("rows")
}

/// One field of each row.
fn each(table: &Value, field: &str) -> Value {
    rows(table).iter().map(|row| row[field].clone()).collect()
}

const LATE: &str = "query($on: Date!, $known: DateTime, $filter: AgedBalanceFilter, $since: DateTime, $first: Int, $after: String) {
    agedBalance(asOf: $on, knownAt: $known, filter: $filter) { lateEntries(since: $since, first: $first, after: $after) {
        totalCount nodes { reference open daysOverdue } pageInfo { hasNextPage endCursor } } openItems { nodes { reference open daysOverdue } } } }";

#[test]
fn late_entries_are_what_was_recorded_after_the_report_r4_14() {
    let api = Company::new().admin();
    for (client, currency) in [("C001", "EUR"), ("C002", "USD")] {
        let made = json!({ "number": client, "name": client, "currency": currency });
        api.make("CreateClient", made);
    }
    api.invoice("C001", "F-1", &ago(60), &ago(40), ("100.00", "20"));
    let printed = instant();
    api.invoice("C001", "F-2", &ago(60), &ago(40), ("100.00", "20"));
    let abroad = json!({
        "client": { "number": "C002" }, "number": "F-3", "issuedOn": ago(59), "dueOn": ago(40), "currency": "USD", "exchangeRate": "0.9",
        "lines": [{ "description": "Conseil", "quantity": "1", "unitPrice": "100.00", "vatRate": "0" }],
    });
    api.make("IssueInvoice", abroad);
    let again = instant();
    api.payment("C001", "R-1", &ago(50), "50.00");
    api.invoice("C001", "F-4", &ago(10), &ago(1), ("100.00", "20"));
    let asked = |variables: &Value| {
        let mut all = json!({ "on": ago(30) });
        for (name, value) in variables.as_object().expect("variables") {
            all[name] = value.clone();
        }
        api.run(LATE, all)
    };
    let of = json!({ "client": { "number": "C001" } });
    let cases = json!([
        // After the day itself, after an instant, after what was known then; `since` counts before `knownAt`.
        [{}, ["F-1", "F-2", "F-3", "R-1"]],
        [{ "since": printed }, ["F-2", "F-3", "R-1"]],
        [{ "since": again }, ["R-1"]],
        [{ "known": printed }, ["F-2", "F-3", "R-1"]],
        [{ "known": again, "since": printed }, ["F-2", "F-3", "R-1"]],
        [{ "on": ago(0) }, []],
        // Of what the report is about.
        [{ "filter": of }, ["F-1", "F-2", "R-1"]],
        [{ "filter": { "client": { "number": "C002" } }, "since": again }, []],
        [{ "filter": { "currency": "USD" } }, ["F-3"]],
        [{ "filter": { "client": { "number": "C001" }, "currency": "USD" } }, []],
    ]);
    for case in rows(&cases) {
        let found = &asked(&case[0])["data"]["agedBalance"]["lateEntries"];
        assert_eq!(each(&found["nodes"], "reference"), case[1], "{case}");
        assert_eq!(found["totalCount"], rows(&case[1]).len(), "{case}");
    }
    let first = asked(&json!({ "filter": of, "first": 2 }));
    let first = &first["data"]["agedBalance"]["lateEntries"];
    assert_eq!(each(&first["nodes"], "reference"), json!(["F-1", "F-2"]));
    let (count, more) = (&first["totalCount"], &first["pageInfo"]["hasNextPage"]);
    assert_eq!((count, more), (&json!(3), &json!(true)));
    let cursor = &first["pageInfo"]["endCursor"];
    let rest = asked(&json!({ "filter": of, "first": 2, "after": cursor }));
    let rest = &rest["data"]["agedBalance"]["lateEntries"];
    assert_eq!(each(&rest["nodes"], "reference"), json!(["R-1"]));
    assert_eq!(rest["pageInfo"]["hasNextPage"], false);
    assert_eq!(codes(&asked(&json!({ "after": cursor }))), ["BAD_USER_INPUT"]);
}

#[test]
fn late_entries_stand_as_on_the_day_of_the_report_r4_3() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice("C001", "F-1", &ago(90), &ago(60), ("1000.00", "20"));
    api.payment("C001", "R-1", &ago(50), "1200.00");
    api.allocate(&ago(5), &[("F-1", "R-1", "1200.00")]);
    let report = api.data(LATE, json!({ "on": ago(30) }))["agedBalance"].take();
    let expected = json!([
        { "reference": "F-1", "open": "1200.00", "daysOverdue": 30 },
        { "reference": "R-1", "open": "-1200.00", "daysOverdue": 0 },
    ]);
    assert_eq!(report["openItems"]["nodes"], expected);
    assert_eq!(report["lateEntries"]["nodes"], expected);
}

fn save(api: &Api, name: &str, policy: &Value) -> Value {
    let input = json!({ "name": name, "policy": policy });
    mutate(
        api,
        "saveProvisionPolicy",
        input,
        "policy { name version framework rates { bounds rates disputedRate } }",
    )
}

const RUN: &str = "run { id number status policyName policyVersion proposedBy approvedBy decision postedBy cancelledOn totals { previous charge }
    clients { nodes { claims { reference rate method deductible } } } }";

fn propose(api: &Api, input: Value) -> Value {
    mutate(api, "proposeProvisionRun", input, RUN)
}

#[test]
fn the_latest_version_of_a_policy_that_was_known_counts_r5_5() {
    let company = Company::new();
    let api = company.admin();
    owes(&api, "C001", &[("F-1", "1000.00")]);
    let before = instant();
    let harder = json!({ "rates": ["0", "50", "60", "70", "80"], "disputedRate": "25" });
    assert_eq!(
        save(&api, "default", &harder)["policy"],
        json!({ "name": "default", "version": 2, "framework": "FRENCH_GAAP",
            "rates": { "bounds": [30, 60, 90], "rates": ["0", "50", "60", "70", "80"], "disputedRate": "25" } })
    );
    let shorter = json!({ "bounds": [60], "rates": ["0", "10", "100"] });
    assert_eq!(save(&api, "prudente", &shorter)["policy"]["version"], 1);
    let cases = json!([
        [{}, "default", 2, "800.00"],
        [{ "known": before }, "default", 1, "400.00"],
        [{ "policy": { "name": "prudente" } }, "prudente", 1, "1000.00"],
        [{ "policy": { "rates": ["1", "2", "3", "4", "5"] } }, null, null, "50.00"],
    ]);
    for case in rows(&cases) {
        let mut variables = case[0].clone();
        variables["on"] = json!(day("05-31"));
        let found = api.data(
            "query($on: Date, $known: DateTime, $policy: ProvisionPolicyInput) {
               doubtfulDebtProvision(asOf: $on, knownAt: $known, policy: $policy) { policyName policyVersion totals { required } } }",
            variables,
        );
        let expected = json!({ "policyName": case[1], "policyVersion": case[2], "totals": [{ "required": case[3] }] });
        assert_eq!(found["doubtfulDebtProvision"], expected, "{case}");
    }
    // A run keeps what it was computed with.
    let run = propose(&api, json!({ "asOf": day("05-31") }))["run"].take();
    save(&api, "default", &json!({}));
    let found = api.data(
        "query($id: ID!) { provisionRun(ref: { id: $id }) { policyName policyVersion totals { charge } } provisionPolicies { name version } }",
        json!({ "id": run["id"] }),
    );
    assert_eq!(
        found["provisionRun"],
        json!({ "policyName": "default", "policyVersion": 2, "totals": { "charge": "800.00" } })
    );
    let policies = rows(&found["provisionPolicies"]).iter();
    let default: Value = policies.filter(|row| row["name"] == "default").cloned().collect();
    assert_eq!(each(&default, "version"), json!([3, 2, 1]));
}

#[test]
fn a_policy_has_one_rate_for_each_bucket_r5_5() {
    let api = Company::new().admin();
    let cases = json!([
        [{ "rates": ["0", "10", "20", "30"] }, "rates"],
        [{ "rates": ["0", "10", "20", "30", "100.01"] }, "rates"],
        [{ "rates": ["-1", "10", "20", "30", "40"] }, "rates"],
        [{ "bounds": [30, 60] }, "rates"],
        [{ "bounds": [30, 30, 90] }, "bounds"],
        [{ "bounds": [60, 30, 90] }, "bounds"],
        [{ "bounds": [0, 30, 60] }, "bounds"],
        [{ "segments": [{ "segment": "PUBLIC", "rates": ["0"] }] }, "segments"],
        [{ "disputedRate": "101" }, "disputedRate"],
    ]);
    for case in rows(&cases) {
        let run = json!({ "asOf": day("01-01"), "policy": case[0] });
        for refused in [save(&api, "default", &case[0]), propose(&api, run)] {
            let error = single(refused["userErrors"].clone());
            let shown = json!([error["code"], error["field"][0], error["field"][1]]);
            assert_eq!(shown, json!(["INVALID", "policy", case[1]]), "{case}");
        }
    }
    let unnamed = save(&api, " ", &json!({}));
    assert_eq!(refusal(&unnamed), json!(["INVALID", ["name"]]));
    let found = api.data("{ provisionPolicies { version } }", json!({}));
    assert_eq!(each(&found["provisionPolicies"], "version"), json!([1]));
}

/// Estimates all claims of C001 at 35 %, or something else.
fn assess(api: &Api, other: &Value) -> Value {
    let mut input = json!({ "client": { "number": "C001" }, "ratePercent": "35", "reason": "sans nouvelles", "evidence": ["LRAR"], "validFrom": day("03-01") });
    for (name, value) in other.as_object().expect("an input") {
        input[name] = value.clone();
    }
    mutate(api, "assessClaim", input, "assessmentId")
}

#[test]
fn an_estimate_counts_between_its_days_and_the_nearest_one_r5_3() {
    let company = Company::new();
    let api = company.admin();
    owes(&api, "C001", &[("F-1", "1000.00"), ("F-2", "500.00")]);
    let made = json!([
        { "validTo": day("06-30"), "deductible": true },
        { "validFrom": day("05-01"), "ratePercent": "60" },
        { "invoice": { "number": "F-1" }, "validFrom": day("05-20"), "validTo": day("05-25"), "ratePercent": "0" },
    ]);
    for estimate in rows(&made) {
        assert_eq!(assess(&api, estimate)["userErrors"], json!([]));
    }
    let asked = "query($on: Date!) { doubtfulDebtProvision(asOf: $on) { clients { nodes { claims { rate method } } } }
       provisionAssessments(asOf: $on) { ratePercent validFrom validTo deductible invoiceId } }";
    let cases = json!([
        ["02-28", ["5", "5"], "MATRIX", []],
        ["03-01", ["35", "35"], "INDIVIDUAL", ["35"]],
        ["05-01", ["60", "60"], "INDIVIDUAL", ["60", "35"]],
        ["05-20", ["0", "60"], "INDIVIDUAL", ["0", "60", "35"]],
        ["05-25", ["0", "60"], "INDIVIDUAL", ["0", "60", "35"]],
        ["05-26", ["60", "60"], "INDIVIDUAL", ["60", "35"]],
        ["07-01", ["60", "60"], "INDIVIDUAL", ["60"]],
    ]);
    for case in rows(&cases) {
        let on = day(case[0].as_str().expect("a day"));
        let found = api.data(asked, json!({ "on": on }));
        let client = single(found["doubtfulDebtProvision"]["clients"]["nodes"].clone());
        assert_eq!(each(&client["claims"], "rate"), case[1], "{case}");
        assert_eq!(client["claims"][1]["method"], case[2], "{case}");
        let estimates = &found["provisionAssessments"];
        assert_eq!(each(estimates, "ratePercent"), case[3], "{case}");
    }
    let found = api.data(asked, json!({ "on": day("03-01") }));
    assert_eq!(
        found["provisionAssessments"],
        json!([{ "ratePercent": "35", "validFrom": day("03-01"), "validTo": day("06-30"), "deductible": true, "invoiceId": null }])
    );
    let refused = company.as_role("AR_ACCOUNTANT").run(
        "mutation { assessClaim(input: { client: { number: \"C001\" }, ratePercent: \"1\", reason: \"x\", evidence: [\"x\"] }) { userErrors { code } } }",
        json!({}),
    );
    assert_eq!(codes(&refused), ["FORBIDDEN"]);
}

#[test]
fn an_estimate_without_proof_is_refused_r5_3() {
    let api = Company::new().admin();
    owes(&api, "C001", &[("F-1", "1000.00")]);
    owes(&api, "C002", &[("F-2", "1000.00")]);
    let stranger = Company::new().admin().client("C001")["id"].take();
    let cases = json!([
        [{ "evidence": [] }, "EVIDENCE_REQUIRED", ["evidence"]],
        [{ "evidence": [" "] }, "EVIDENCE_REQUIRED", ["evidence"]],
        [{ "reason": " " }, "INVALID", ["reason"]],
        [{ "ratePercent": "100.01" }, "INVALID", ["ratePercent"]],
        [{ "ratePercent": "-0.01" }, "INVALID", ["ratePercent"]],
        [{ "validTo": day("02-28") }, "INVALID", ["validTo"]],
        [{ "client": { "id": stranger } }, "NOT_FOUND", ["client"]],
        [{ "invoice": { "number": "F-3" } }, "NOT_FOUND", ["invoice"]],
        [{ "invoice": { "number": "F-2" } }, "INVALID", ["invoice"]],
    ]);
    for case in rows(&cases) {
        let refused = assess(&api, &case[0]);
        assert_eq!(refusal(&refused), json!([case[1], case[2]]), "{case}");
    }
    let asked = "query($on: Date) { provisionAssessments(asOf: $on) { id } }";
    let found = api.data(asked, json!({ "on": day("05-31") }));
    assert_eq!(found["provisionAssessments"], json!([]));
}

#[test]
fn a_claim_is_as_deductible_as_the_estimate_that_counts_r5_4() {
    let api = Company::new().admin();
    owes(&api, "C001", &[("F-1", "1000.00"), ("F-2", "500.00")]);
    for (client, invoice) in [("C002", "F-3"), ("C003", "F-4"), ("C004", "F-5")] {
        owes(&api, client, &[(invoice, "1000.00")]);
    }
    // Its own before its client's, and the latest of several.
    let made = json!([
        { "deductible": true },
        { "invoice": { "number": "F-1" }, "ratePercent": "30" },
        { "client": { "number": "C002" }, "deductible": true },
        { "client": { "number": "C002" }, "ratePercent": "20" },
        { "client": { "number": "C003" }, "invoice": { "number": "F-4" }, "ratePercent": "50", "deductible": true },
        { "client": { "number": "C003" } },
    ]);
    for estimate in rows(&made) {
        assert_eq!(assess(&api, estimate)["userErrors"], json!([]));
    }
    let proposed = propose(&api, json!({ "asOf": day("05-31") }));
    let clients = rows(&proposed["run"]["clients"]["nodes"]).iter();
    let claims: Vec<&Value> = clients.flat_map(|client| rows(&client["claims"])).collect();
    let expected = json!([
        { "reference": "F-1", "rate": "30", "method": "INDIVIDUAL", "deductible": false },
        { "reference": "F-2", "rate": "35", "method": "INDIVIDUAL", "deductible": true },
        { "reference": "F-3", "rate": "20", "method": "INDIVIDUAL", "deductible": false },
        { "reference": "F-4", "rate": "50", "method": "INDIVIDUAL", "deductible": true },
        { "reference": "F-5", "rate": "40", "method": "MATRIX", "deductible": false },
    ]);
    assert_eq!(json!(claims), expected);
}

#[test]
fn a_run_says_who_proposed_approved_and_posted_it_r12_1() {
    let company = Company::segregated();
    owes(&company.as_role("AR_ACCOUNTANT"), "C001", &[("F-1", "1000.00")]);
    let (credit, credit_id) = company.as_member("CREDIT_MANAGER");
    let (director, director_id) = company.as_member("DIRECTOR");
    let members = company.admin().data("{ members { id email } }", json!({}));
    let author = |id: &str| {
        let found = rows(&members["members"]).iter().find(|member| member["id"] == id);
        found.expect("a member")["email"].clone()
    };
    let decide = |number: &Value, approve: bool| {
        let input = json!({ "run": { "number": number }, "approve": approve, "reason": "vu" });
        mutate(&director, "decideProvisionRun", input, RUN)["run"].take()
    };
    let run = propose(&credit, json!({ "asOf": day("05-31") }))["run"].take();
    assert_eq!((&run["approvedBy"], &run["postedBy"]), (&Value::Null, &Value::Null));
    let approved = decide(&run["number"], true);
    assert_eq!((&approved["status"], &approved["postedBy"]), (&json!("APPROVED"), &Value::Null));
    let posted = credit.data(
        &format!("mutation($number: String!) {{ postProvisionRun(run: {{ number: $number }}) {{ {RUN} userErrors {{ code }} }} }}"),
        json!({ "number": run["number"] }),
    )["postProvisionRun"]["run"]
        .take();
    let by = json!([posted["status"], posted["proposedBy"], posted["approvedBy"], posted["postedBy"], posted["cancelledOn"]]);
    assert_eq!(by, json!(["POSTED", author(&credit_id), author(&director_id), author(&credit_id), null]));
    // Taken back on the closing day, it can be done again from nothing; what is rejected was posted by nobody.
    let cancel = json!({ "run": { "number": run["number"] }, "on": day("05-31"), "reason": "taux erroné" });
    let cancelled = mutate(&credit, "cancelProvisionRun", cancel, RUN)["run"].take();
    let shown = json!([cancelled["status"], cancelled["cancelledOn"], cancelled["decision"]]);
    assert_eq!(shown, json!(["CANCELLED", day("05-31"), "taux erroné"]));
    let again = propose(&credit, json!({ "asOf": day("05-31") }))["run"].take();
    assert_eq!(again["totals"], json!({ "previous": "0.00", "charge": "400.00" }));
    let rejected = decide(&again["number"], false);
    let shown = json!([rejected["status"], rejected["approvedBy"], rejected["postedBy"], rejected["cancelledOn"]]);
    assert_eq!(shown, json!(["REJECTED", author(&director_id), null, null]));
    let older = propose(&credit, json!({ "asOf": day("03-31") }))["run"].take();
    let found = credit.data(
        "{ all: provisionRuns { nodes { number } } some: provisionRuns(statuses: [REJECTED, PROPOSED], first: 1) { totalCount nodes { number } } }",
        json!({}),
    );
    let numbers = json!([again["number"], run["number"], older["number"]]);
    assert_eq!(each(&found["all"]["nodes"], "number"), numbers);
    assert_eq!(found["some"], json!({ "totalCount": 2, "nodes": [{ "number": again["number"] }] }));
    let asked = "query($id: ID!) { provisionRun(ref: { id: $id }) { number } }";
    let foreign = Company::new().admin().data(asked, json!({ "id": run["id"] }));
    assert_eq!(foreign["provisionRun"], Value::Null);
    company.admin().sound();
}

#[test]
fn files_are_found_by_status_and_kind_latest_first_r5_12() {
    let api = Company::new().admin();
    for (client, invoice) in [("C001", "F-1"), ("C002", "F-2"), ("C003", "F-3")] {
        owes(&api, client, &[(invoice, "1000.00")]);
    }
    let file = |mutation: &str, client: &str, on: &str| {
        let input = json!({ "client": { "number": client }, "reason": "injoignable", "evidence": ["LRAR"], "on": day(on) });
        mutate(&api, mutation, input, "file { id number happenedOn decidedBy }")["file"].take()
    };
    let moved = file("proposeDoubtful", "C001", "05-31");
    let lost = file("proposeWriteOff", "C002", "06-30");
    let waiting = file("proposeDoubtful", "C003", "04-30");
    assert_eq!((&moved["happenedOn"], &moved["decidedBy"]), (&json!(day("05-31")), &Value::Null));
    let decide = |file: &Value, approve: bool, reason: Option<&str>| {
        let input = json!({ "file": { "id": file["id"] }, "approve": approve, "reason": reason });
        mutate(&api, "decideDoubtfulFile", input, "file { status }")
    };
    assert_eq!(refusal(&decide(&lost, false, None)), json!(["INVALID", ["reason"]]));
    assert_eq!(decide(&lost, false, Some("trop tôt"))["file"]["status"], "REJECTED");
    assert_eq!(decide(&moved, true, None)["file"]["status"], "POSTED");
    let again = decide(&moved, false, Some("non"));
    assert_eq!(refusal(&again), json!(["WRONG_STATE", ["file"]]));
    let found = api.data(
        "query($id: ID!) { all: doubtfulFiles { totalCount nodes { number happenedOn } } queue: doubtfulFiles(statuses: [PROPOSED]) { nodes { number } }
           moved: doubtfulFiles(kinds: [TRANSFER], first: 1) { totalCount nodes { number } } none: doubtfulFiles(statuses: [POSTED], kinds: [WRITE_OFF]) { totalCount }
           doubtfulFile(ref: { id: $id }) { number happenedOn decision operations { happenedOn amount } } }",
        json!({ "id": moved["id"] }),
    );
    let days = json!([day("06-30"), day("05-31"), day("04-30")]);
    assert_eq!(each(&found["all"]["nodes"], "happenedOn"), days);
    assert_eq!(each(&found["queue"]["nodes"], "number"), json!([waiting["number"]]));
    assert_eq!(found["moved"], json!({ "totalCount": 2, "nodes": [{ "number": moved["number"] }] }));
    assert_eq!(found["none"]["totalCount"], 0);
    assert_eq!(
        found["doubtfulFile"],
        json!({ "number": moved["number"], "happenedOn": day("05-31"), "decision": null, "operations": [{ "happenedOn": day("05-31"), "amount": "1200.00" }] })
    );
    let asked = "query($id: ID!) { doubtfulFile(ref: { id: $id }) { number } }";
    let foreign = Company::new().admin().data(asked, json!({ "id": moved["id"] }));
    assert_eq!(foreign["doubtfulFile"], Value::Null);
    api.sound();
}

/// An invoice of 1,200.00.
fn billed(api: &Api, number: &str, issued: &str, due: &str) {
    let line = json!({ "description": "Vitrine", "quantity": "1", "unitPrice": "1000.00", "vatRate": "20" });
    let input = json!({ "client": { "number": "C001" }, "number": number, "issuedOn": issued, "dueOn": due, "lateEntry": true, "lines": [line] });
    api.make("IssueInvoice", input);
}

#[test]
fn interest_and_indemnity_are_claimed_and_waived_apart_r6_13() {
    let api = Company::new().admin();
    api.client("C001");
    billed(&api, "F-1", "2026-01-10", "2026-01-31");
    billed(&api, "F-2", "2026-01-10", "2026-01-31");
    // 1,200.00 for 150 days at 12.15 % are 59.92.
    let expect = |figures: Value| {
        let found = api.data(
            "{ latePenalties(through: \"2026-06-30\") { nodes { invoice { number } interest indemnity claimedInterest claimedIndemnity interestWaived indemnityWaived claimable disputed } } }",
            json!({}),
        );
        let late = rows(&found["latePenalties"]["nodes"]).iter();
        let shown: Value = late
            .map(|row| json!([row["invoice"]["number"], row["claimedInterest"], row["claimedIndemnity"], row["interestWaived"], row["indemnityWaived"], row["claimable"]]))
            .collect();
        assert_eq!(shown, figures);
    };
    let claim = |invoices: Value, interest_only: bool| {
        let input = json!({ "invoices": invoices, "through": "2026-06-30", "interestOnly": interest_only });
        mutate(&api, "claimPenalties", input, "operation { amount }")
    };
    let waive = |invoice: &str, scope: &str| {
        let input = json!({ "invoice": { "number": invoice }, "scope": scope, "reason": "geste" });
        mutate(&api, "waivePenalties", input, "waived operation { amount }")
    };
    let (one, both) = (json!([{ "number": "F-1" }]), json!([{ "number": "F-1" }, { "number": "F-2" }]));
    expect(json!([["F-1", "0.00", "0.00", false, false, "99.92"], ["F-2", "0.00", "0.00", false, false, "99.92"]]));
    assert_eq!(claim(one.clone(), true)["operation"]["amount"], "59.92");
    assert_eq!(refusal(&claim(one.clone(), true)), json!(["WRONG_STATE", ["invoices", "0"]]));
    assert_eq!(claim(one.clone(), false)["operation"]["amount"], "40.00");
    assert_eq!(waive("F-2", "INTEREST")["operation"], Value::Null);
    expect(json!([["F-1", "59.92", "40.00", false, false, "0.00"], ["F-2", "0.00", "0.00", true, false, "40.00"]]));
    assert_eq!(refusal(&claim(both, false)), json!(["WRONG_STATE", ["invoices", "0"]]));
    // What was claimed is taken back.
    assert_eq!(waive("F-1", "INDEMNITY")["operation"]["amount"], "40.00");
    expect(json!([["F-1", "59.92", "40.00", false, true, "0.00"], ["F-2", "0.00", "0.00", true, false, "40.00"]]));
    api.sound();
}
