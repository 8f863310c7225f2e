//! Slips of the pen that must not reach the books: numbers, settings, texts, days, and what was undone.

use std::thread;
use std::time::{Duration, Instant};

use chrono::Days;
use diesel::connection::SimpleConnection;
use diesel::pg::PgConnection;
use diesel::sql_types::BigInt;
use diesel::{QueryableByName, RunQueryDsl};
use serde_json::json;

use crate::harness::{Api, Company, day, owner, today, year};

#[test]
fn numbers_given_by_hand_never_block_a_series_r9_2() {
    let api = Company::new().admin();
    api.client("C001");
    let given = |number: serde_json::Value| {
        let input = json!({ "client": { "number": "C001" }, "number": number, "issuedOn": day("02-10"),
            "lines": [{ "description": "Service", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] });
        api.make("IssueInvoice", input)["invoice"]["number"].clone()
    };
    let own = |n: u32| format!("FA-{}-{n:06}", year());
    given(json!(own(1)));
    given(json!(own(3)));
    // The series passes over the two that are taken, and leaves no gap.
    assert_eq!(given(json!(null)), own(2));
    assert_eq!(given(json!(null)), own(4));
    let receipt = json!({ "client": { "number": "C001" }, "number": format!("RG-{}-000001", year()), "receivedOn": day("03-01"), "method": "TRANSFER", "amount": "5.00" });
    api.make("RecordPayment", receipt);
    let next = json!({ "client": { "number": "C001" }, "receivedOn": day("03-01"), "method": "TRANSFER", "amount": "5.00" });
    api.make("RecordPayment", next);
    api.sound();
}

#[test]
fn a_number_given_by_hand_at_the_same_moment_is_passed_over_r9_2() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let issued = || {
        let input = json!({ "client": { "number": "C001" }, "issuedOn": day("02-10"),
            "lines": [{ "description": "Service", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] });
        api.make("IssueInvoice", input)["invoice"]["number"].clone()
    };
    let own = |n: u32| format!("FA-{}-{n:06}", year());
    assert_eq!(issued(), own(1));
    // Not committed yet: whoever draws the number does not see that it was given.
    let mut other = owner();
    let (id, number, on) = (company.id.trim_start_matches("com_"), own(2), day("02-10"));
    other
        .batch_execute(&format!(
            "BEGIN; INSERT INTO documents (company_id, id, kind, number, external_series, client_id, issued_on, due_on, currency, net, vat, total, \
               exchange_rate, snapshot, recorded_by) \
             SELECT company_id, gen_random_uuid(), 'INVOICE', '{number}', true, id, '{on}', '{on}', 'EUR', 1, 0, 1, 1, '{{}}', 'hand' \
             FROM clients WHERE company_id = '{id}'"
        ))
        .expect("the invoice");
    let waits = "SELECT count(*) AS count FROM pg_locks l WHERE NOT l.granted AND l.transactionid IN \
                   (SELECT o.transactionid FROM pg_locks o WHERE o.granted AND o.pid = pg_backend_pid())";
    thread::scope(|scope| {
        let waiting = scope.spawn(issued);
        let since = Instant::now();
        while count(&mut other, waits) == 0 && since.elapsed() < Duration::from_secs(4) {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!waiting.is_finished(), "it waits for the other");
        other.batch_execute("COMMIT").expect("the commit");
        assert_eq!(waiting.join().expect("an invoice"), own(3));
    });
}

fn count(conn: &mut PgConnection, sql: &str) -> i64 {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        count: i64,
    }
    let found: Found = diesel::sql_query(sql).get_result(conn).expect("a count");
    found.count
}

#[test]
fn late_penalties_count_a_free_credit_note_as_a_payment_r6_9() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    let credit = json!({ "client": { "number": "C001" }, "number": "AV-1", "issuedOn": day("03-01"),
        "lines": [{ "description": "Ristourne", "quantity": "1", "unitPrice": "100.00", "vatRate": "20" }] });
    api.make("IssueCreditNote", credit);
    api.allocate(&day("03-01"), &[("FA-1", "AV-1", "120.00")]);
    let late = api.data(
        "query($through: Date!) { latePenalties(client: { number: \"C001\" }, through: $through) { nodes { interest claimable } } }",
        json!({ "through": day("04-30") }),
    );
    assert_eq!(
        late["latePenalties"]["nodes"].as_array().map(Vec::len),
        Some(1),
        "{late}"
    );
}

/// What a change of the settings is answered.
fn change_settings(api: &Api, settings: serde_json::Value) -> serde_json::Value {
    api.data(
        "mutation($input: UpdateCompanyInput!) { updateCompany(input: $input) { userErrors { code field message } } }",
        json!({ "input": { "settings": settings } }),
    )["updateCompany"]["userErrors"]
        .clone()
}

#[test]
fn series_have_prefixes_of_their_own() {
    let api = Company::new().admin();
    let change = |series: serde_json::Value| change_settings(&api, json!({ "series": series }));
    // Entries and clients have series of fixed names: what another record drew there would be missing in theirs.
    for wrong in [
        json!({ "disputes": "ENTRY" }),
        json!({ "cases": "CL" }),
        json!({ "remittances": "FA" }),
        json!({ "penalties": "OD" }),
        json!({ "invoices": "fa" }),
    ] {
        let errors = change(wrong.clone());
        assert_eq!(errors[0]["code"], "INVALID", "{wrong}: {errors}");
        assert_eq!(errors[0]["field"], json!(["settings"]), "{wrong}");
    }
    assert_eq!(
        change(json!({ "invoices": "F", "cases": "CTX2" })),
        json!([])
    );
}

#[test]
fn the_account_map_takes_only_accounts_of_the_same_kind() {
    let api = Company::new().admin();
    let change = |settings: serde_json::Value| change_settings(&api, settings);
    for wrong in [
        json!({ "accounts": { "bank": "411" } }),
        json!({ "accounts": { "bank": "512" , "suspense": "411000" } }),
        json!({ "accounts": { "revenue": "411000" } }),
        json!({ "accounts": { "receivable": "401000" } }),
        json!({ "accounts": { "deposits": "419800" } }),
        json!({ "bank_fee_vat_rate": "200" }),
        json!({ "tolerance": "x" }),
        json!([]),
        json!([5, "m"]),
    ] {
        let errors = change(wrong.clone());
        assert_eq!(errors[0]["code"], "INVALID", "{wrong}: {errors}");
        assert_eq!(errors[0]["field"], json!(["settings"]), "{wrong}");
    }
    assert_eq!(
        change(json!({ "accounts": { "bank": "512100", "revenue": "707000" } })),
        json!([])
    );
    let closed = api.data(
        "mutation($on: Date!) { saveAccount(input: { number: \"411000\", label: \"Clients\", closedOn: $on }) { userErrors { code field } } }",
        json!({ "on": day("01-01") }),
    );
    assert_eq!(
        closed["saveAccount"]["userErrors"],
        json!([{ "code": "INVALID", "field": ["closedOn"] }])
    );
}

#[test]
fn texts_that_the_books_cannot_hold_are_refused_with_their_field() {
    let api = Company::new().admin();
    api.client("C001");
    let nul = api.run(
        "query($search: String) { clients(filter: { search: $search }) { totalCount } }",
        json!({ "search": "a\u{0}b" }),
    );
    assert_eq!(
        nul["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
        "{nul}"
    );
    assert_eq!(nul["errors"][0]["extensions"]["field"], "search", "{nul}");
    let literal = api.run(
        "{ client(ref: { number: \"C\\u0000\" }) { id } }",
        json!({}),
    );
    assert_eq!(
        literal["errors"][0]["extensions"]["field"], "number",
        "{literal}"
    );
    for (name, number) in [
        ("Deux\nlignes", "C002"),
        ("\u{202e}\u{200b}", "C002"),
        ("Nom", "A\nB"),
    ] {
        let input = json!({ "name": name, "number": number });
        let field = if name == "Nom" { "number" } else { "name" };
        api.refused("CreateClient", input, "INVALID", &[field]);
    }
}

#[test]
fn values_of_the_wrong_form_name_their_field_and_say_the_right_one() {
    let api = Company::new().admin();
    let faults = |input: serde_json::Value| {
        let answer = api
            .contract("IssueInvoice", json!({ "input": input }))
            .json();
        let error = &answer["errors"][0];
        (
            error["extensions"]["field"].clone(),
            error["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let line = |quantity: serde_json::Value| json!([{ "description": "x", "quantity": quantity, "unitPrice": "1.00", "vatRate": "20" }]);
    let input = |issued: &str, lines: serde_json::Value| json!({ "client": { "number": "C001" }, "issuedOn": issued, "lines": lines });
    for day in ["2026-02-30", "0001-01-01", "9999-12-31"] {
        let (field, message) = faults(input(day, line(json!("1"))));
        assert_eq!(field, "issuedOn", "{message}");
        assert!(message.contains("2026-03-31"), "{message}");
    }
    let (field, message) = faults(input("2026-01-05", line(json!("1e5"))));
    assert_eq!(field, "lines.0.quantity", "{message}");
    let (field, message) = faults(json!({ "lines": [{ "quantity": "1" }] }));
    assert_eq!(field, "lines.0.description", "{message}");
}

/// As the GraphQL specification has it: a field of an input whose variable is not given is as if it was not written.
#[test]
fn a_variable_that_is_not_given_leaves_the_default_of_its_field() {
    let api = Company::new().admin();
    let create = "createClient(input: { number: $number, name: \"Client\", validateOnly: $only, idempotencyKey: $key }) \
        { client { number } userErrors { code } }";
    let declared = "$number: String!, $only: Boolean, $key: String";
    let done = api.data(
        &format!("mutation Create({declared}) {{ {create} }}"),
        json!({ "number": "C001" }),
    );
    assert_eq!(
        done["createClient"],
        json!({ "client": { "number": "C001" }, "userErrors": [] })
    );
    // Given, it holds; given as null, it is one.
    let only = api.data(
        &format!("mutation({declared}) {{ {create} }}"),
        json!({ "number": "C002", "only": true }),
    );
    assert_eq!(
        only["createClient"],
        json!({ "client": null, "userErrors": [] })
    );
    let null = api.run(
        &format!("mutation({declared}) {{ {create} }}"),
        json!({ "number": "C002", "only": null }),
    );
    assert!(null["errors"][0]["message"].is_string(), "{null}");
    // In a fragment that two operations use, one of which declares it with a default.
    let document = "query One($number: String!, $search: String) { ...found }
        query Two($number: String!, $search: String = \"nobody\") { ...found }
        fragment found on Query { clients(filter: { search: $search }) { nodes { number } } client(ref: { number: $number }) { number } }";
    let ask = |name: &str| {
        let body =
            json!({ "query": document, "operationName": name, "variables": { "number": "C001" } });
        api.post(&body).json()["data"].take()
    };
    assert_eq!(
        ask("One")["clients"]["nodes"],
        json!([{ "number": "C001" }])
    );
    assert_eq!(ask("Two")["clients"]["nodes"], json!([]));
    // Another operation needs what this one is not given; or has it as an argument.
    let document = "query One($number: String, $first: Int) {
          clients(filter: { search: $number }, first: $first) { nodes { number } } }
        query Two($number: String!) { client(ref: { number: $number }) { ...named } }
        query Three($number: String) { invoice(ref: { number: \"F1\" }) { number } clients(filter: { search: $number }) { totalCount } }
        fragment named on Client { number }";
    let body = json!({ "query": document, "operationName": "One", "variables": {} });
    let found = api.post(&body).json();
    assert_eq!(
        found["data"]["clients"]["nodes"],
        json!([{ "number": "C001" }]),
        "{found}"
    );
    // What is a mistake stays one.
    let unused = api.run("query($search: String) { viewer { name } }", json!({}));
    assert!(unused["errors"][0]["message"].is_string(), "{unused}");
    let needed = api.run(
        "query($number: String) { client(ref: { number: $number }) { number } }",
        json!({}),
    );
    assert!(needed["errors"][0]["message"].is_string(), "{needed}");
}

#[test]
fn a_filter_by_an_unknown_client_is_an_error_not_an_empty_list() {
    let api = Company::new().admin();
    for list in ["invoices", "payments", "disputes", "journalEntries"] {
        let answer = api.run(
            &format!(
                "{{ {list}(filter: {{ client: {{ number: \"NOBODY\" }} }}) {{ totalCount }} }}"
            ),
            json!({}),
        );
        let extensions = &answer["errors"][0]["extensions"];
        assert_eq!(extensions["field"], "client", "{list}: {answer}");
        assert_eq!(extensions["refusal"], "NOT_FOUND", "{list}");
    }
    let wrong = api.run(
        "{ journalEntries(filter: { account: \"41x\" }) { totalCount } }",
        json!({}),
    );
    assert_eq!(wrong["errors"][0]["extensions"]["field"], "account");
}

#[test]
fn names_are_found_and_sorted_as_french_readers_expect() {
    let api = Company::new().admin();
    for (number, name) in [
        ("1", "Zénith"),
        ("2", "Élan"),
        ("3", "Dubœuf"),
        ("4", "hôtels de l'Est"),
    ] {
        api.make("CreateClient", json!({ "number": number, "name": name }));
    }
    let found = |search: &str| {
        let page = api.data(
            "query($search: String) { clients(filter: { search: $search }, orderBy: { field: NAME, direction: ASC }) { nodes { number } } }",
            json!({ "search": search }),
        );
        page["clients"]["nodes"].clone()
    };
    // Who is late, whatever else they owe.
    let (issued, due) = (today() - Days::new(9), today() - Days::new(2));
    api.invoice(
        "2",
        "FA-1",
        &issued.to_string(),
        &due.to_string(),
        ("10.00", "20"),
    );
    for (overdue, count) in [(true, 1), (false, 3)] {
        let found = api.data(
            "query($overdue: Boolean) { clients(filter: { overdue: $overdue }) { totalCount }
               agedBalance(filter: { clients: { overdue: $overdue } }) { rows { totalCount } } }",
            json!({ "overdue": overdue }),
        );
        assert_eq!(found["clients"]["totalCount"], count);
        assert_eq!(
            found["agedBalance"]["rows"]["totalCount"],
            i32::from(overdue)
        );
    }
    assert_eq!(found("HÔTELS"), json!([{ "number": "4" }]));
    assert_eq!(found("hotels de"), json!([{ "number": "4" }]));
    assert_eq!(found("elan"), json!([{ "number": "2" }]));
    assert_eq!(found("DUBŒUF"), json!([{ "number": "3" }]));
    assert_eq!(
        found(""),
        json!([{ "number": "3" }, { "number": "2" }, { "number": "4" }, { "number": "1" }])
    );
}

/// A loss of 600.00 that was proposed and decided; its number.
fn written_off() -> (Api, String) {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("500.00", "20"),
    );
    let input = json!({ "client": { "number": "C001" }, "reason": "Insolvable", "evidence": ["certificat"], "on": day("04-01") });
    let file = api.done(
        "mutation($input: ProposeWriteOffInput!) { proposeWriteOff(input: $input) { file { number } userErrors { code field message } } }",
        json!({ "input": input }),
    );
    let decided = api.done(
        "mutation($number: String!) { decideDoubtfulFile(input: { file: { number: $number }, approve: true }) { file { operations { number } } userErrors { code field message } } }",
        json!({ "number": file["file"]["number"] }),
    );
    let loss = decided["file"]["operations"][0]["number"].as_str();
    (api, loss.expect("a loss").to_owned())
}

#[test]
fn a_loss_is_taken_back_only_after_its_recovery_2_12() {
    let (api, loss) = written_off();
    let recovery = api.done(
        "mutation($input: RecordRecoveryInput!) { recordRecovery(input: $input) { operation { number } userErrors { code field message } } }",
        json!({ "input": { "writeOff": { "number": loss }, "amount": "60.00", "receivedOn": day("05-01") } }),
    );
    let reverse = |number: &str| {
        api.data(
            "mutation($input: ReverseOperationInput!) { reverseOperation(input: $input) { userErrors { code field } } }",
            json!({ "input": { "operation": { "number": number }, "reason": "Erreur", "on": day("06-01") } }),
        )["reverseOperation"]["userErrors"]
            .clone()
    };
    assert_eq!(reverse(&loss)[0]["code"], "WRONG_STATE");
    let recovery = recovery["operation"]["number"]
        .as_str()
        .expect("a recovery");
    assert_eq!(reverse(recovery), json!([]));
    assert_eq!(reverse(&loss), json!([]));
    api.sound();
}

#[test]
fn refusals_outside_graphql_have_the_same_shape() {
    let api = Company::new().admin();
    for (path, status) in [
        ("/export/fec/abc", 400),
        ("/export/fec/2026?separator=comma", 400),
        ("/letters/REMITTANCE_SLIP/unknown", 404),
        ("/nowhere", 404),
    ] {
        let answer = api.fetch(path);
        assert_eq!(answer.status, status, "{path}");
        let code = answer.json()["errors"][0]["extensions"]["code"].clone();
        assert!(code.is_string(), "{path}: {code}");
    }
    let year = api.fetch("/export/fec/abc").json();
    let message = year["errors"][0]["message"].as_str();
    assert!(
        message.is_some_and(|text| text.starts_with("`abc` is no financial year")),
        "{year}"
    );
    let wide = format!("{}\n1\n", "x".repeat(500_000));
    let answer = api.upload("/import/receivables", "text/csv", &wide);
    assert_eq!(answer.status, 400);
    assert!(answer.json().to_string().len() < 1000);
    let file = "client,number,issuedOn,dueOn,amount\nC1,A-1,2025-01-20,2025-02-19,100.00,surplus\n";
    let answer = api.upload("/import/receivables", "text/csv", file).json();
    assert_eq!(answer["refused"], 1, "{answer}");
}

#[test]
fn bulk_forms_answer_row_by_row_and_are_repeatable_by_key() {
    let api = Company::new().admin();
    let bulk = |rows: serde_json::Value| {
        api.data(
            "mutation($inputs: [IssueInvoiceInput!]!) { issueInvoices(inputs: $inputs) { invoice { id number total } userErrors { code field } } }",
            json!({ "inputs": rows }),
        )["issueInvoices"]
            .clone()
    };
    let clients = api.data(
        "mutation($inputs: [CreateClientInput!]!) { createClients(inputs: $inputs) { client { number } userErrors { code } } }",
        json!({ "inputs": [{ "number": "C001", "name": "Un", "idempotencyKey": "c1" }, { "number": "C002", "name": "Deux", "idempotencyKey": "c2" }] }),
    );
    assert_eq!(clients["createClients"][1]["client"]["number"], "C002");
    let row = |client: &str, key: Option<&str>| {
        json!({ "client": { "number": client }, "issuedOn": day("02-10"), "idempotencyKey": key,
            "lines": [{ "description": "Service", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] })
    };
    let rows = json!([
        row("C001", Some("a")),
        row("NOBODY", Some("b")),
        row("C002", None),
        row("C002", Some("d"))
    ]);
    let first = bulk(rows.clone());
    assert_eq!(first[0]["invoice"]["total"], "12.00", "{first}");
    assert_eq!(
        first[1]["userErrors"],
        json!([{ "code": "NOT_FOUND", "field": ["client"] }])
    );
    assert_eq!(
        first[2]["userErrors"],
        json!([{ "code": "INVALID", "field": ["idempotencyKey"] }])
    );
    assert_eq!(
        first[3]["invoice"]["number"],
        format!("FA-{}-000002", year())
    );
    // Sent again, what is done is not done twice; the single form knows the row's key too.
    assert_eq!(bulk(rows), first);
    let single = api.make("IssueInvoice", row("C001", Some("a")));
    assert_eq!(single["invoice"]["number"], first[0]["invoice"]["number"]);
    let other = bulk(json!([row("C002", Some("a"))]));
    assert_eq!(other[0]["userErrors"][0]["code"], "IDEMPOTENCY_KEY_REUSED");
    let paid = api.data(
        "mutation($inputs: [RecordPaymentInput!]!) { recordPayments(inputs: $inputs) { payment { unallocated } userErrors { code message } } }",
        json!({ "inputs": [{ "client": { "number": "C001" }, "receivedOn": day("03-01"), "method": "TRANSFER", "amount": "12.00", "idempotencyKey": "p",
            "allocations": [{ "debit": { "number": first[0]["invoice"]["number"] } }] }] }),
    );
    assert_eq!(
        paid["recordPayments"][0]["payment"]["unallocated"], "0.00",
        "{paid}"
    );
    api.sound();
}
