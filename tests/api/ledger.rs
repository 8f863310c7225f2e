//! What documents, payments, deductions and provisions do to the books.

use chrono::Duration;
use serde_json::{Value, json};

use crate::harness::{Api, Company, day, owner, single, today, year};

/// Section 2.5: 100.00 invoiced, 70.00 paid, 30.00 deducted. Answers the deduction's id.
fn deducted(api: &Api) -> Value {
    api.client("C001");
    let invoice = api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("83.33", "20"),
    );
    assert_eq!(
        (&invoice["net"], &invoice["vat"], &invoice["total"]),
        (&json!("83.33"), &json!("16.67"), &json!("100.00"))
    );
    let payment = json!({
        "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("02-09"), "method": "CHEQUE", "amount": "70.00",
        "allocations": [{ "debit": { "number": "FA-1" } }],
    });
    let paid = api.make("RecordPayment", payment);
    assert_eq!(paid["payment"]["unallocated"], "0.00");
    assert_eq!(
        single(paid["allocations"].clone())["debit"],
        json!({ "reference": "FA-1", "open": "30.00" })
    );
    let input = json!({ "invoice": { "number": "FA-1" }, "amount": "30.00", "reason": "BMAN", "recordedOn": day("02-10") });
    let deduction = api.make("RecordDeduction", input)["deduction"].take();
    assert_eq!(
        (
            &deduction["status"],
            &deduction["invoice"]["open"],
            &deduction["dispute"]["status"]
        ),
        (&json!("OPEN"), &json!("0.00"), &json!("OPEN"))
    );

    let (balance, items) = api.account("C001", &day("02-28"));
    assert_eq!(
        (&balance["total"], &balance["disputed"]),
        (&json!("30.00"), &json!("30.00"))
    );
    let item = single(json!(items));
    assert_eq!(
        (&item["kind"], &item["reference"]),
        (&json!("DEDUCTION"), &deduction["number"])
    );
    assert_eq!(
        (&item["dueOn"], &item["open"], &item["disputedAmount"]),
        (&json!(day("02-09")), &json!("30.00"), &json!("30.00"))
    );
    assert_eq!(item["daysOverdue"], 19);
    let found = api.data(
        "{ invoice(ref: { number: \"FA-1\" }) { status allocations { totalCount } } }",
        json!({}),
    );
    assert_eq!(
        found["invoice"],
        json!({ "status": "SETTLED", "allocations": { "totalCount": 2 } })
    );
    api.sound();
    deduction["id"].clone()
}

/// The lines of the entries behind a document: account, debit, credit.
fn lines(api: &Api, of: &str, number: &str) -> Vec<(String, String, String)> {
    let document = format!(
        "query($number: String!) {{ {of}(ref: {{ number: $number }}) {{ entries {{ lines {{ account debit credit }} }} }} }}"
    );
    let data = api.data(&document, json!({ "number": number }));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let entries = data[of]["entries"].as_array().expect("entries").clone();
    let mut lines: Vec<_> = entries
        .iter()
        .flat_map(|entry| entry["lines"].as_array().expect("lines"))
        .map(|line| {
            (
                text(&line["account"]),
                text(&line["debit"]),
                text(&line["credit"]),
            )
        })
        .collect();
    lines.sort();
    lines
}

/// Whether an entry moves these accounts so, whatever the length of their numbers.
#[track_caller]
fn posted(lines: &[(String, String, String)], expected: &[(&str, &str, &str)]) {
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.0.starts_with(expected.0), "{lines:?}");
        assert_eq!(
            (line.1.as_str(), line.2.as_str()),
            (expected.1, expected.2),
            "{lines:?}"
        );
    }
}

#[test]
fn an_accepted_deduction_is_credited_and_settled_r2_9() {
    let api = Company::new().admin();
    let id = deducted(&api);
    let input = json!({ "deduction": { "id": id }, "outcome": "ACCEPTED", "creditNoteNumber": "AV-1", "closedOn": day("02-20") });
    let resolved = api.make("ResolveDeduction", input);
    assert_eq!(resolved["deduction"]["status"], "ACCEPTED");
    assert_eq!(
        resolved["creditNote"],
        json!({ "number": "AV-1", "total": "30.00" })
    );
    posted(
        &lines(&api, "creditNote", "AV-1"),
        &[
            ("411", "0.00", "30.00"),
            ("44571", "5.00", "0.00"),
            ("709", "25.00", "0.00"),
        ],
    );
    let (balance, items) = api.account("C001", &day("02-28"));
    assert_eq!(
        (&balance["total"], items.len()),
        (&json!("0.00"), 0),
        "{items:?}"
    );
    api.sound();
}

#[test]
fn a_rejected_deduction_is_chased_with_its_original_due_date_r2_10() {
    let api = Company::new().admin();
    let id = deducted(&api);
    let input =
        json!({ "deduction": { "id": id }, "outcome": "REJECTED", "closedOn": day("02-20") });
    let resolved = api.make("ResolveDeduction", input);
    assert_eq!(
        (&resolved["deduction"]["status"], &resolved["creditNote"]),
        (&json!("REJECTED"), &Value::Null)
    );
    let (balance, items) = api.account("C001", &day("02-28"));
    assert_eq!(
        (&balance["overdue"], &balance["disputed"]),
        (&json!("30.00"), &json!("0.00"))
    );
    let item = single(json!(items));
    assert_eq!(
        (&item["dueOn"], &item["open"], &item["disputedAmount"]),
        (&json!(day("02-09")), &json!("30.00"), &json!("0.00"))
    );
    // What was in dispute on a day stays so for that day.
    assert_eq!(api.account("C001", &day("02-19")).0["disputed"], "30.00");
    api.sound();
}

#[test]
fn a_deduction_accepted_in_part_is_chased_for_the_rest_r2_11() {
    let api = Company::new().admin();
    let id = deducted(&api);
    let input = json!({
        "deduction": { "id": id }, "outcome": "PARTLY_ACCEPTED", "acceptedAmount": "12.00", "creditNoteNumber": "AV-1", "closedOn": day("02-20"),
    });
    let resolved = api.make("ResolveDeduction", input);
    assert_eq!(resolved["deduction"]["status"], "PARTLY_ACCEPTED");
    assert_eq!(resolved["creditNote"]["total"], "12.00");
    posted(
        &lines(&api, "creditNote", "AV-1"),
        &[
            ("411", "0.00", "12.00"),
            ("44571", "2.00", "0.00"),
            ("709", "10.00", "0.00"),
        ],
    );
    let (balance, items) = api.account("C001", &day("02-28"));
    assert_eq!(
        (&balance["total"], &balance["disputed"]),
        (&json!("18.00"), &json!("0.00"))
    );
    assert_eq!(single(json!(items))["open"], "18.00");
    api.sound();
}

#[test]
fn a_bounced_cheque_reopens_the_invoice_with_its_due_date_r2_6() {
    let api = Company::new().admin();
    api.client("C001");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-15"),
        &day("02-14"),
        ("1000.00", "20"),
    );
    let input = json!({
        "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("02-10"), "method": "CHEQUE", "amount": "1200.00",
        "allocations": [{ "debit": { "number": "FA-1" }, "amount": "1200.00" }],
    });
    api.make("RecordPayment", input);
    assert_eq!(api.account("C001", &day("02-19")).1.len(), 0);
    let returned = api.done(
        "mutation($input: ReturnPaymentInput!) { returnPayment(input: $input) { payment { returnedOn returnReason unallocated } userErrors { code field message } } }",
        json!({ "input": { "payment": { "number": "RG-1" }, "returnedOn": day("02-20"), "reason": "Provision insuffisante", "fee": "18.00" } }),
    );
    assert_eq!(
        returned["payment"],
        json!({ "returnedOn": day("02-20"), "returnReason": "Provision insuffisante", "unallocated": "0.00" })
    );
    let (balance, items) = api.account("C001", &day("02-28"));
    assert_eq!(
        (
            &balance["total"],
            &balance["overdue"],
            &balance["unallocated"]
        ),
        (&json!("1200.00"), &json!("1200.00"), &json!("0.00"))
    );
    let item = single(json!(items));
    assert_eq!(
        (&item["reference"], &item["dueOn"], &item["daysOverdue"]),
        (&json!("FA-1"), &json!(day("02-14")), &json!(14))
    );
    // Before the return, the report still shows it paid.
    assert_eq!(api.account("C001", &day("02-19")).1.len(), 0);
    let found = api.data("{ invoice(ref: { number: \"FA-1\" }) { status open } payment(ref: { number: \"RG-1\" }) { amount } }", json!({}));
    assert_eq!(
        found["invoice"],
        json!({ "status": "OPEN", "open": "1200.00" })
    );
    assert_eq!(found["payment"]["amount"], "1200.00");
    api.sound();
}

#[test]
fn credit_notes_never_exceed_their_invoice_in_total_or_per_rate_r2_5() {
    let api = Company::new().admin();
    api.client("C001");
    let line = |price: &str, rate: &str| json!({ "description": "Prestation", "quantity": "1", "unitPrice": price, "vatRate": rate });
    let invoice = json!({ "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("01-10"), "lines": [line("1000.00", "20"), line("100.00", "5.5")] });
    assert_eq!(
        api.make("IssueInvoice", invoice)["invoice"]["total"],
        "1305.50"
    );
    let credit = |number: &str, lines: Value| json!({ "invoice": { "number": "FA-1" }, "number": number, "issuedOn": day("01-20"), "lines": lines });
    let refused = |number: &str, lines: Value| {
        api.refused(
            "IssueCreditNote",
            credit(number, lines),
            "CREDIT_EXCEEDS_INVOICE",
            &["lines"],
        )
    };

    refused("AV-0", json!([line("100.01", "5.5")]));
    refused("AV-0", json!([line("1", "10")]));
    let made = api.make(
        "IssueCreditNote",
        credit("AV-1", json!([line("600.00", "20")])),
    );
    assert_eq!(
        made["creditNote"]["invoice"],
        json!({ "number": "FA-1", "open": "585.50" })
    );
    refused("AV-0", json!([line("400.01", "20")]));
    refused("AV-0", json!([line("100.00", "5.5"), line("500.00", "20")]));
    api.make(
        "IssueCreditNote",
        credit("AV-2", json!([line("400.00", "20"), line("100.00", "5.5")])),
    );
    refused("AV-0", json!([line("0.01", "20")]));
    assert_eq!(api.account("C001", &day("01-31")).1.len(), 0);
    api.sound();
}

#[test]
fn groups_have_letters_that_turn_upper_case_when_settled_r3_2_r3_3() {
    let api = Company::new().admin();
    let matched = |allocated: &Value| allocated["matching"].clone();
    for client in ["C001", "C002"] {
        api.client(client);
        let number = |kind: &str| format!("{kind}-{client}");
        for (invoice, amount) in [("F1", "600.00"), ("F2", "400.00"), ("F3", "500.00")] {
            api.invoice(
                client,
                &number(invoice),
                &day("01-10"),
                &day("02-09"),
                (amount, "0"),
            );
        }
        api.payment(client, &number("R1"), &day("02-01"), "1000.00");
        api.payment(client, &number("R2"), &day("02-02"), "300.00");
        let (f1, f2, f3, r1, r2) = (
            number("F1"),
            number("F2"),
            number("F3"),
            number("R1"),
            number("R2"),
        );
        let group = api.allocate(&day("02-03"), &[(&f1, &r1, "600.00"), (&f2, &r1, "400.00")]);
        assert_eq!(
            matched(&group),
            json!({ "code": "A", "complete": true, "residual": "0.00" })
        );
        let group = api.allocate(&day("02-03"), &[(&f3, &r2, "300.00")]);
        assert_eq!(
            matched(&group),
            json!({ "code": "b", "complete": false, "residual": "200.00" })
        );
        let credit = json!({
            "client": { "number": client }, "number": number("AV"), "issuedOn": day("02-04"),
            "lines": [{ "description": "Ristourne", "quantity": "1", "unitPrice": "200.00", "vatRate": "0" }],
        });
        api.make("IssueCreditNote", credit);
        let group = api.allocate(&day("02-05"), &[(&f3, &number("AV"), "200.00")]);
        assert_eq!(
            matched(&group),
            json!({ "code": "B", "complete": true, "residual": "0.00" })
        );
        // Not on a day to come: today's figures would know nothing of it.
        let late = json!({ "allocation": group["allocations"][0]["id"], "unallocatedOn": (today() + Duration::days(1)).to_string() });
        api.refused("Unallocate", late, "INVALID", &["unallocatedOn"]);
        // A letter that was released is not used again (R3.3).
        let ended = api.make(
            "Unallocate",
            json!({ "allocation": group["allocations"][0]["id"], "unallocatedOn": day("02-06") }),
        );
        assert_eq!(ended["allocation"]["unallocatedOn"], json!(day("02-06")));
        assert_eq!(api.account(client, &day("02-05")).1.len(), 0);
        assert_eq!(api.account(client, &day("02-06")).0["total"], "0.00");
        assert_eq!(api.account(client, &day("02-06")).1.len(), 2);
    }
    api.sound();
}

#[test]
fn groups_that_meet_keep_the_older_letter_and_fall_apart_again_r3_2_r3_3() {
    let api = Company::new().admin();
    api.client("C001");
    for invoice in ["F1", "F2", "F3", "F4"] {
        api.invoice(
            "C001",
            invoice,
            &day("01-10"),
            &day("02-09"),
            ("100.00", "0"),
        );
    }
    for receipt in ["R1", "R2"] {
        api.payment("C001", receipt, &day("02-01"), "150.00");
    }
    api.payment("C001", "R3", &day("02-02"), "100.00");
    let on = day("02-03");
    let matched = |lines: &[(&str, &str, &str)]| api.allocate(&on, lines)["matching"].clone();
    let group = |code: &str, complete: bool, residual: &str| json!({ "code": code, "complete": complete, "residual": residual });
    assert_eq!(
        matched(&[("F1", "R1", "100.00"), ("F2", "R1", "50.00")]),
        group("a", false, "50.00")
    );
    assert_eq!(
        matched(&[("F3", "R2", "100.00"), ("F4", "R2", "50.00")]),
        group("b", false, "50.00")
    );
    // One half of the third receipt for each: what was two groups is one.
    let meeting = api.allocate(&on, &[("F2", "R3", "50.00"), ("F4", "R3", "50.00")]);
    assert_eq!(meeting["matching"], group("A", true, "0.00"));
    api.sound();
    // Apart again, under a letter that was never used; and together again, under the oldest.
    let ended = json!({ "allocation": meeting["allocations"][0]["id"], "unallocatedOn": on });
    api.make("Unallocate", ended);
    api.sound();
    assert_eq!(matched(&[("F2", "R3", "50.00")]), group("A", true, "0.00"));
    api.invoice("C001", "F5", &day("01-10"), &day("02-09"), ("10.00", "0"));
    api.payment("C001", "R4", &day("02-04"), "10.00");
    let next = api.allocate(&day("02-04"), &[("F5", "R4", "10.00")])["matching"].clone();
    assert_eq!(next, group("D", true, "0.00"));
    api.sound();
}

/// An invoice of the provision's example; debtors that are no professionals have no legal ceiling.
fn claim(api: &Api, client: &str, number: &str, issued_on: &str, due_on: &str, net: &str) {
    api.invoice(client, number, issued_on, due_on, (net, "20"));
}

#[test]
fn the_provision_of_section_5_1_comes_out_exactly() {
    let api = Company::new().admin();
    for client in ["A", "B", "C", "D", "E"] {
        api.make(
            "CreateClient",
            json!({ "number": client, "name": client, "kind": "OTHER" }),
        );
    }
    let next = |month_and_day: &str| format!("{}-{month_and_day}", year() + 1);
    claim(&api, "A", "A1", &day("08-01"), &day("09-15"), "2000.00");
    claim(&api, "A", "A2", &day("12-01"), &next("01-15"), "1000.00");
    claim(&api, "B", "B1", &day("10-01"), &day("11-20"), "3000.00");
    claim(&api, "C", "C1", &day("09-01"), &day("10-20"), "8000.00");
    claim(&api, "D", "D1", &day("12-01"), &next("01-31"), "1500.00");
    api.payment("A", "RG-A", &day("12-10"), "600.00");
    api.make("OpenDispute", json!({ "invoice": { "number": "B1" }, "reason": "BLIV", "amount": "1200.00", "openedOn": day("12-01") }));
    let terms = "mutation($input: SetCreditTermsInput!) { setCreditTerms(input: $input) { client { number } userErrors { code field message } } }";
    for input in [
        json!({ "client": { "number": "C" }, "insuredPercent": "90", "insuredLimit": "20000.00" }),
        json!({ "client": { "number": "D" }, "insolvency": "LIQUIDATION", "insolvencyOn": day("12-15") }),
    ] {
        api.done(terms, json!({ "input": input }));
    }
    let opening = "mutation($input: RecordOpeningProvisionInput!) { recordOpeningProvision(input: $input) { client { number } userErrors { code field message } } }";
    for (client, amount) in [("A", "400.00"), ("B", "900.00"), ("E", "120.00")] {
        api.done(opening, json!({ "input": { "client": { "number": client }, "amount": amount, "postedOn": day("01-01") } }));
    }

    let policy = json!({
        "framework": "FRENCH_GAAP", "bounds": [30, 60, 90], "rates": ["0", "1", "5", "15", "40"],
        "disputedRate": "30", "liquidationRate": "100", "insolvencyRate": "50",
    });
    let data = api.ask(
        "DoubtfulDebtProvision",
        json!({ "asOf": day("12-31"), "policy": policy, "first": 50 }),
    );
    let run = &data["doubtfulDebtProvision"];
    let totals = single(run["totals"].clone());
    let sums = ["required", "previous", "charge", "release"]
        .map(|column| totals[column].as_str().expect("a sum").to_owned());
    assert_eq!(sums, ["2620.00", "1420.00", "1820.00", "620.00"], "{run:#}");

    let clients = run["clients"]["nodes"].as_array().expect("clients");
    let columns = |client: &Value| {
        ["previous", "required", "charge", "release"]
            .map(|column| client[column].as_str().expect("a sum").to_owned())
    };
    let found: Vec<_> = clients
        .iter()
        .map(|client| {
            (
                client["client"]["number"].as_str().expect("a number"),
                columns(client),
            )
        })
        .collect();
    let expected = [
        ("A", ["400.00", "600.00", "200.00", "0.00"]),
        ("B", ["900.00", "400.00", "0.00", "500.00"]),
        ("C", ["0.00", "120.00", "120.00", "0.00"]),
        ("D", ["0.00", "1500.00", "1500.00", "0.00"]),
        ("E", ["120.00", "0.00", "0.00", "120.00"]),
    ];
    assert_eq!(
        found,
        expected.map(|(client, sums)| (client, sums.map(str::to_owned)))
    );

    let mut claims: Vec<_> = clients
        .iter()
        .flat_map(|client| client["claims"].as_array().expect("claims"))
        .map(|claim| {
            [
                "reference",
                "open",
                "exposure",
                "base",
                "insured",
                "disputedBase",
                "provision",
            ]
            .map(|column| claim[column].as_str().expect("a value").to_owned())
        })
        .collect();
    claims.sort();
    let expected = [
        [
            "A1", "2400.00", "1800.00", "1500.00", "0.00", "0.00", "600.00",
        ],
        [
            "A2", "1200.00", "1200.00", "1000.00", "0.00", "0.00", "0.00",
        ],
        [
            "B1", "3600.00", "3600.00", "2000.00", "0.00", "1000.00", "400.00",
        ],
        [
            "C1", "9600.00", "9600.00", "8000.00", "7200.00", "0.00", "120.00",
        ],
        [
            "D1", "1800.00", "1800.00", "1500.00", "0.00", "0.00", "1500.00",
        ],
    ];
    assert_eq!(claims, expected.map(|claim| claim.map(str::to_owned)));
    api.sound();
}

#[test]
fn a_changed_entry_is_named_by_the_check_and_by_the_command_r10_1() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    for number in ["FA-1", "FA-2"] {
        api.invoice(
            "C001",
            number,
            &day("01-10"),
            &day("02-09"),
            ("1000.00", "20"),
        );
    }
    let check = || crate::harness::outcome(&["check", "--company", &company.id]);
    let (done, shown) = check();
    assert!(done && shown.contains("24 checks hold"), "{shown}");
    let id = company.id.trim_start_matches("com_");
    crate::harness::tamper(&format!(
        "UPDATE journal_entries SET label = label || ' (changé)' WHERE company_id = '{id}' AND number = 2"
    ));
    let (done, shown) = check();
    assert!(!done && shown.contains("000002"), "{shown}");
    let answer = api.data(
        "{ integrityCheck { ok checks { code broken } } }",
        json!({}),
    );
    let broken: Vec<&Value> = answer["integrityCheck"]["checks"]
        .as_array()
        .expect("checks")
        .iter()
        .filter(|check| !check["broken"].is_null())
        .collect();
    assert_eq!(answer["integrityCheck"]["ok"], false);
    // The changed entry, and none behind it: its seal is still what the next one was made from.
    assert_eq!(broken.len(), 1, "{broken:#?}");
    assert_eq!(broken[0]["code"], "SEALS");
    assert!(
        broken[0]["broken"]
            .as_str()
            .unwrap_or_default()
            .ends_with("000002")
    );
}

#[test]
fn what_hangs_on_another_clients_record_is_found_by_the_check_r3_1() {
    let company = Company::new();
    let api = company.admin();
    for client in ["C001", "C002"] {
        api.client(client);
    }
    api.invoice("C001", "FA-1", &day("01-10"), &day("02-09"), ("100", "20"));
    api.payment("C001", "RG-1", &day("02-01"), "10.00");
    api.make(
        "IssueCreditNote",
        json!({ "invoice": { "number": "FA-1" }, "client": { "number": "C001" }, "number": "AV-1", "issuedOn": day("02-02"), "reason": "Geste",
            "lines": [{ "description": "Remise", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] }),
    );
    let deduction = api.make(
        "RecordDeduction",
        json!({ "invoice": { "number": "FA-1" }, "amount": "20.00", "reason": "BPRX", "recordedOn": day("02-03"), "description": "Retenue" }),
    );
    let number = &deduction["deduction"]["number"];
    let id = company.id.trim_start_matches("com_");
    let broken = || {
        let answer = api.data("{ integrityCheck { checks { code broken } } }", json!({}));
        let checks = answer["integrityCheck"]["checks"]
            .as_array()
            .expect("checks")
            .clone();
        let found = checks.into_iter().find(|check| check["code"] == "CLIENTS");
        found.expect("the check")["broken"].clone()
    };
    assert_eq!(broken(), Value::Null);
    for (table, named) in [
        (
            "documents WHERE number = 'AV-1'",
            "credit note AV-1".to_owned(),
        ),
        (
            "disputes WHERE invoice_id IS NOT NULL",
            "dispute ".to_owned(),
        ),
        (
            "deductions WHERE true",
            format!("deduction {}", number.as_str().expect("a number")),
        ),
        ("payments WHERE number = 'RG-1'", "item ".to_owned()),
        ("items WHERE t.kind = 'INVOICE'", "item ".to_owned()),
        ("items WHERE t.kind = 'DEDUCTION'", "item ".to_owned()),
    ] {
        let (table, which) = table.split_once(" WHERE ").expect("rows");
        let give = |client: &str| {
            crate::harness::tamper(&format!(
                "UPDATE {table} t SET client_id = c.id FROM clients c WHERE c.company_id = t.company_id AND c.number = '{client}' \
                 AND t.company_id = '{id}' AND {}",
                which.replace("number", "t.number")
            ));
        };
        give("C002");
        let found = broken();
        assert!(
            found
                .as_str()
                .is_some_and(|found| found.starts_with(&named)),
            "{table}: {found}"
        );
        give("C001");
        assert_eq!(broken(), Value::Null);
    }
}

/// A company that was just filled is one that the planner expects nothing of: a check that went through one table for
/// each row of another would take minutes for a few thousand invoices.
#[test]
fn checks_join_by_hashing_whatever_the_planner_believes() {
    use diesel::RunQueryDsl;
    use diesel::connection::Connection;
    use encours::store::integrity::{CHECKS, LATEST_SEALS, by_hashing};
    #[derive(diesel::QueryableByName)]
    struct Line {
        #[diesel(sql_type = diesel::sql_types::Text, column_name = "QUERY PLAN")]
        line: String,
    }
    let checks = CHECKS.iter().map(|&(code, _, statement)| (code, statement));
    let mut conn = owner();
    for (code, statement) in checks.chain([("LATEST_SEALS", LATEST_SEALS)]) {
        let asked = format!("EXPLAIN (COSTS OFF) {statement}");
        let asked = asked.replace("$1", "'01890000-0000-7000-8000-000000000000'::uuid");
        let plan: Vec<Line> = conn
            .transaction(|conn| by_hashing(conn, |conn| diesel::sql_query(asked).load(conn)))
            .expect("a plan");
        let shown = |text: &str| plan.iter().any(|told| told.line.contains(text));
        // But the lines of each entry, the balances of each closed year and the rules of each credit note, row by row.
        let is_lateral = ["SEALS", "OPENINGS", "UNAPPROVED", "LATEST_SEALS"].contains(&code);
        assert_eq!(shown("Nested Loop"), is_lateral, "{code}");
        if code.ends_with("SEALS") {
            assert!(shown("using journal_lines_pkey"), "{code}");
        }
    }
}

/// The last entry of a year has nobody behind it, but its seal.
#[test]
fn an_entry_taken_from_the_end_is_missed_by_its_seal_r10_1() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    for number in ["FA-1", "FA-2"] {
        let (on, due) = (day("01-10"), day("02-09"));
        api.invoice("C001", number, &on, &due, ("1000.00", "20"));
    }
    let id = company.id.trim_start_matches("com_");
    crate::harness::tamper(&format!(
        "DELETE FROM journal_entries WHERE company_id = '{id}' AND number = 2"
    ));
    let answer = api.data("{ integrityCheck { checks { code broken } } }", json!({}));
    let checks = answer["integrityCheck"]["checks"]
        .as_array()
        .expect("checks");
    let seals = checks.iter().find(|check| check["code"] == "SEALS");
    let broken = seals.and_then(|check| check["broken"].as_str());
    assert!(
        broken.is_some_and(|broken| broken.ends_with("000002")),
        "{answer:#}"
    );
    let (done, shown) = crate::harness::outcome(&["check", "--company", &company.id]);
    assert!(!done && shown.contains("seal"), "{shown}");
}

/// The database itself takes an entry once, whole and balanced (R2.1). Whatever signs its texts have, its seal covers what
/// the checks read (R10.1).
#[test]
fn an_entry_is_written_once_whole_and_balanced_r2_1() {
    use diesel::connection::SimpleConnection;
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let number = "F \"1\" \\ é € 😀 <&>/";
    api.invoice(
        "C001",
        number,
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    api.sound();
    let id = company.id.trim_start_matches("com_");
    let mut owner = crate::harness::owner();
    let mut refused = |entry: &str, lines: &str| -> String {
        let done = owner.batch_execute(&format!(
            "BEGIN; INSERT INTO journal_entries (company_id, id, journal, fiscal_year, number, posted_on, occurred_on, reference, label, source_kind, source_id, recorded_by)
               SELECT company_id, gen_random_uuid(), journal, fiscal_year, number + 1, posted_on, occurred_on, reference, label, source_kind, source_id, recorded_by
               FROM journal_entries WHERE company_id = '{id}';
             INSERT INTO journal_lines (company_id, entry_id, line, account, debit, credit, currency, base_debit, base_credit, posted_on)
               SELECT e.company_id, e.id, x.line, '471', x.debit, x.credit, 'EUR', x.debit, x.credit, e.posted_on
               FROM journal_entries e, (VALUES {lines}) x(line, debit, credit) WHERE e.company_id = '{id}' AND e.number = {entry};
             COMMIT"
        ));
        let why = done.err().map_or_else(String::new, |why| why.to_string());
        owner.batch_execute("ROLLBACK").expect("to go back");
        why
    };
    let balanced = "(8, 500, 0), (9, 0, 500)";
    let late = refused("1", balanced);
    assert!(late.contains("written whole"), "{late}");
    let alone = refused("2", "(1, 0, 0)");
    assert!(!alone.is_empty());
    let unbalanced = refused("2", "(1, 500, 0), (2, 0, 499)");
    assert!(unbalanced.contains("does not balance"), "{unbalanced}");
    assert_eq!(refused("2", balanced), "");
    api.sound();
}

/// A matching is told of the invoice, of the credit note and of the receipt alike (R3.4).
#[test]
fn a_matching_stands_below_both_of_its_documents_r3_4() {
    let api = Company::new().admin();
    api.client("C001");
    let (on, due) = (day("01-10"), day("02-09"));
    api.invoice("C001", "FA-1", &on, &due, ("100.00", "20"));
    api.make(
        "IssueCreditNote",
        json!({ "invoice": { "number": "FA-1" }, "number": "AV-1", "issuedOn": day("01-20"),
            "lines": [{ "description": "Remise", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] }),
    );
    api.payment("C001", "RG-1", &day("02-01"), "108.00");
    api.allocate(&day("02-01"), &[("FA-1", "RG-1", "108.00")]);
    let found = api.data(
        "{ invoice(ref: { number: \"FA-1\" }) { open allocations { totalCount nodes { id amount } } }
           creditNote(ref: { number: \"AV-1\" }) { allocations { totalCount nodes { id amount } } }
           payment(ref: { number: \"RG-1\" }) { allocations { totalCount nodes { id amount } } } }",
        json!({}),
    );
    let below = |of: &str| {
        let nodes = found[of]["allocations"]["nodes"].as_array();
        let nodes = nodes.expect("allocations").clone();
        assert_eq!(
            found[of]["allocations"]["totalCount"],
            nodes.len(),
            "{found:#}"
        );
        nodes
    };
    let (note, payment) = (below("creditNote"), below("payment"));
    assert_eq!(single(json!(note))["amount"], "12.00");
    assert_eq!(single(json!(payment))["amount"], "108.00");
    assert_eq!(found["invoice"]["open"], "0.00");
    // Latest first.
    assert_eq!(below("invoice"), [payment, note].concat());
}

/// R6.14, R9.3: what was printed stays as it was, whatever becomes of the client.
#[test]
fn an_invoice_shows_its_parties_as_they_were_r6_14() {
    let api = Company::new().admin();
    api.client("C001");
    let on = day("01-10");
    api.invoice("C001", "FA-1", &on, &day("02-09"), ("100.00", "20"));
    let named = |name: &str| {
        let data = api.data(
            "mutation($input: UpdateClientInput!) { updateClient(input: $input) { client { name } userErrors { message } } }",
            json!({ "input": { "client": { "number": "C001" }, "name": name } }),
        );
        assert_eq!(data["updateClient"]["client"]["name"], name, "{data:#}");
    };
    named("Nouveau nom");
    api.invoice("C001", "FA-2", &on, &day("02-09"), ("100.00", "20"));
    let buyer = |number: &str| {
        let mut data = api.data(
            "query($number: String!) { invoice(ref: { number: $number }) { client { name } snapshot } }",
            json!({ "number": number }),
        );
        assert_eq!(data["invoice"]["client"]["name"], "Nouveau nom");
        data["invoice"]["snapshot"]["buyer"]["name"].take()
    };
    assert_eq!(buyer("FA-1"), "Client C001");
    assert_eq!(buyer("FA-2"), "Nouveau nom");
}
