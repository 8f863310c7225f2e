//! What the books and the bank tell of themselves: items by their numbers, movements, entries, years, and since when.

use chrono::DateTime;
use serde_json::{Value, json};

use crate::bank::{
    PAYER, desk, details, entry, free, last, line_of, open, open_account, statement,
};
use crate::harness::{Api, Company, day, instant, single, tamper, year};

/// A document answers so.
#[track_caller]
fn shows(api: &Api, document: &str, variables: Value, expected: Value) {
    assert_eq!(api.data(document, variables), expected);
}

/// A mutation, done; `kind` is the type of its input.
#[track_caller]
fn act(api: &Api, mutation: &str, kind: &str, input: Value, fields: &str) -> Value {
    let document = format!(
        "mutation($input: {kind}!) {{ {mutation}(input: $input) {{ {fields} userErrors {{ code field message }} }} }}"
    );
    api.done(&document, json!({ "input": input }))
}

/// The code and the field of what refuses a mutation.
fn refusal(api: &Api, mutation: &str, kind: &str, input: Value) -> Value {
    let document = format!(
        "mutation($input: {kind}!) {{ {mutation}(input: $input) {{ userErrors {{ code field }} }} }}"
    );
    let error = api.data(&document, json!({ "input": input }))[mutation]["userErrors"][0].take();
    json!([error["code"], error["field"]])
}

fn taken(api: &Api, file: &str) {
    let answer = api.upload("/import/bank", "application/xml", file);
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// Opening items of other software: client, number, debit and credit.
fn take_over(api: &Api, items: &[[&str; 4]]) {
    let mut file = "JournalCode|JournalLib|EcritureNum|EcritureDate|CompteNum|CompteLib|CompAuxNum|CompAuxLib|PieceRef|PieceDate|EcritureLib|Debit|Credit|EcritureLet|DateLet|ValidDate|Montantdevise|Idevise".to_owned();
    let on = day("01-01").replace('-', "");
    for (place, [client, piece, debit, credit]) in items.iter().enumerate() {
        file += &format!(
            "\nAN|AN|{place}|{on}|411000|Clients|{client}|{client}|{piece}|{on}|x|{debit}|{credit}|||{on}||"
        );
        file += &format!(
            "\nAN|AN|{place}|{on}|890000|Bilan|||{piece}|{on}|x|{credit}|{debit}|||{on}||"
        );
    }
    let answer = api.upload("/import/fec", "text/plain", &file);
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn invoice(api: &Api, number: &str, net: &str) -> Value {
    api.invoice("C001", number, &day("01-10"), &day("02-09"), (net, "20"))
}

#[test]
fn statements_come_latest_first_and_movements_by_their_days() {
    let api = Company::new().admin();
    let account = json!({ "label": "Courant", "iban": crate::bank::OURS, "bic": "AGRIFRPP" });
    act(&api, "saveBankAccount", "SaveBankAccountInput", account, "");
    let text = "<Strd><CdtrRefInf><Ref>FA-1</Ref></CdtrRefInf></Strd><Strd><CdtrRefInf><Ref>BL 7</Ref></CdtrRefInf></Strd>";
    let told = details("E2E-1", "M. DUPONT", PAYER, text);
    let told = format!("<ValDt><Dt>{}</Dt></ValDt>{told}", day("03-11"));
    let first = entry("10.00", &day("03-10"), "B1", &told);
    let march = [first, entry("20.00", &day("03-14"), "B2", "")];
    taken(&api, &statement("S-1", 1, "0.00", "30.00", &march));
    let april = [entry("40.00", &day("04-01"), "B3", "")];
    taken(&api, &statement("S-2", 2, "30.00", "70.00", &april));
    let document = "query($a: Date!, $b: Date!) { bankAccounts { label bic currency } bankStatements { nodes { reference toOn closing } } \
        all: bankLines { nodes { amount valueOn counterparty endToEndId structuredReferences } } from: bankLines(filter: { bookedFrom: $b }) { totalCount } \
        to: bankLines(filter: { bookedTo: $b }) { totalCount } within: bankLines(filter: { bookedFrom: $a, bookedTo: $b }) { nodes { amount } } \
        none: bankLines(filter: { bookedFrom: $b, bookedTo: $a }) { totalCount } }";
    let expected = json!({
        "bankAccounts": [{ "label": "Courant", "bic": "AGRIFRPP", "currency": "EUR" }],
        "bankStatements": { "nodes": [{ "reference": "S-2", "toOn": day("04-01"), "closing": "70.00" }, { "reference": "S-1", "toOn": day("03-14"), "closing": "30.00" }] },
        "all": { "nodes": [
            { "amount": "40.00", "valueOn": null, "counterparty": null, "endToEndId": null, "structuredReferences": [] },
            { "amount": "20.00", "valueOn": null, "counterparty": null, "endToEndId": null, "structuredReferences": [] },
            { "amount": "10.00", "valueOn": day("03-11"), "counterparty": "M. DUPONT", "endToEndId": "E2E-1", "structuredReferences": ["FA-1", "BL 7"] },
        ] },
        "from": { "totalCount": 2 }, "to": { "totalCount": 2 }, "within": { "nodes": [{ "amount": "20.00" }] }, "none": { "totalCount": 0 },
    });
    let days = json!({ "a": day("03-11"), "b": day("03-14") });
    shows(&api, document, days, expected);
}

#[test]
fn numbers_in_odd_spellings_find_what_is_owed_13_2() {
    let api = Company::new().admin();
    open_account(&api);
    api.client("C001");
    take_over(&api, &[["C001", "OLD/2025-0012", "40,00", "0,00"]]);
    for (number, net) in [
        ("FA-2026-000012", "100.00"),
        ("FA 2026/0021", "160.00"),
        ("INV0099A", "170.00"),
        ("FA-2026-31", "180.00"),
        ("FA-2026-31-B", "181.00"),
        ("FA-2026-51", "220.00"),
        ("FA-2026-52", "230.00"),
    ] {
        invoice(&api, number, net);
    }
    let note = json!({ "invoice": { "number": "FA-2026-51" }, "number": "AV-1", "issuedOn": day("02-12"), "allocate": false, "amount": "24.00" });
    api.make("IssueCreditNote", note);
    let deduction = json!({ "invoice": { "number": "FA-2026-52" }, "amount": "36.00", "reason": "BMAN", "recordedOn": day("02-20") });
    let deduction = api.make("RecordDeduction", deduction)["deduction"]["number"].take();
    let deduction = deduction.as_str().expect("a number");
    let spoken = deduction.replace('-', " ");
    let cases = [
        ("120.00", "FACTURE N° fa/2026/12.", "FA-2026-000012"),
        ("192.00", "FA-2026-021", "FA 2026/0021"),
        ("204.00", "INV 99 A", "INV0099A"),
        ("216.00", "FA2026-31", "FA-2026-31"),
        ("217.20", "FA 2026 31 B", "FA-2026-31-B"),
        ("240.00", "FA-2026-51 moins AV-1", "FA-2026-51"),
        ("36.00", &spoken, deduction),
        ("40.00", "OLD 2025 12", "OLD/2025-0012"),
    ];
    let entries = cases.map(|(amount, text, number)| {
        let told = details("NOTPROVIDED", "QUELQU UN", "", &free(text));
        entry(amount, &day("03-10"), number, &told)
    });
    taken(&api, &statement("S-1", 1, "0.00", "1265.20", &entries));
    for (amount, text, number) in cases {
        let line = line_of(&api, amount);
        let (rule, share) = (&last(&line)["rule"], &last(&line)["shares"][0]);
        let found = json!([line["status"], rule, share["debit"]["reference"]]);
        assert_eq!(
            found,
            json!(["AUTOMATIC", "NUMBERS_IN_TEXT", number]),
            "{text}"
        );
    }
    assert_eq!(open(&api, "FA-2026-51"), "0.00");
    // What is settled is said, and nothing else is paid with the money.
    let told = details("X", "QUELQU UN", "", &free("FA 2026 12, OLD-2025-12"));
    let again = [entry("45.00", &day("03-12"), "B20", &told)];
    taken(&api, &statement("S-2", 2, "1265.20", "1310.20", &again));
    let line = line_of(&api, "45.00");
    let evidence = last(&line)["evidence"].as_str().expect("an evidence");
    assert_eq!(line["status"], "UNKNOWN");
    assert!(
        evidence.starts_with("FA-2026-000012, OLD/2025-0012 named, which is settled already"),
        "{evidence}"
    );
    api.sound();
}

#[test]
fn items_are_named_by_the_numbers_of_their_documents_r3_4() {
    let api = Company::new().admin();
    api.client("C001");
    api.client("C002");
    let old = ["C001", "OLD-1", "50,00", "0,00"];
    let credit = ["C001", "OLD-C", "0,00", "30,00"];
    take_over(&api, &[old, credit, ["C002", "FA-1", "70,00", "0,00"]]);
    invoice(&api, "FA-1", "100.00");
    let parts = json!({ "client": { "number": "C001" }, "number": "FA-2", "issuedOn": day("01-10"),
        "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "100.00", "vatRate": "20" }],
        "installments": [{ "dueOn": day("02-10"), "amount": "60.00" }, { "dueOn": day("03-01"), "amount": "60.00" }] });
    api.make("IssueInvoice", parts);
    let note = json!({ "invoice": { "number": "FA-2" }, "number": "AV-1", "issuedOn": day("02-12"), "allocate": false, "amount": "12.00" });
    api.make("IssueCreditNote", note);
    let deduction = json!({ "invoice": { "number": "FA-2" }, "amount": "36.00", "reason": "BMAN", "recordedOn": day("02-20") });
    let deduction = api.make("RecordDeduction", deduction)["deduction"]["number"].take();
    api.payment("C001", "RG-1", &day("03-10"), "100.00");
    api.payment("C002", "RG-2", &day("03-10"), "70.00");
    // What is left of both sides, or the code, field and details of the refusal.
    let document = "mutation($input: AllocateInput!) { allocate(input: $input) { allocations { debit { kind open } credit { open } } userErrors { code field details } } }";
    let allocate = |debit: Value, credit: &str, amount: Value| {
        let line = json!({ "debit": debit, "credit": { "number": credit }, "amount": amount });
        let input = json!({ "lines": [line], "allocatedOn": day("05-15") });
        let done = api.data(document, json!({ "input": input }))["allocate"].take();
        let (made, error) = (&done["allocations"][0], &done["userErrors"][0]);
        match error["code"].as_str() {
            Some(code) => json!([
                code,
                error["field"][2],
                error["field"][3],
                error["details"]["side"]
            ]),
            None => json!([
                made["debit"]["kind"],
                made["debit"]["open"],
                made["credit"]["open"]
            ]),
        }
    };
    let by = |number: &str| json!({ "number": number });
    let due = |number: &str, on: &str| json!({ "number": number, "dueOn": day(on) });
    for (debit, credit, amount, expected) in [
        (
            due("FA-2", "03-01"),
            "RG-1",
            json!("10.00"),
            json!(["INVOICE", "50.00", "-90.00"]),
        ),
        // The deduction took 36.00 off the first instalment.
        (
            by("FA-2"),
            "AV-1",
            json!(null),
            json!(["INVOICE", "12.00", "0.00"]),
        ),
        (
            json!({ "number": deduction }),
            "RG-1",
            json!("6.00"),
            json!(["DEDUCTION", "30.00", "-84.00"]),
        ),
        (
            by("OLD-1"),
            "OLD-C",
            json!("20.00"),
            json!(["IMPORTED", "30.00", "-10.00"]),
        ),
        (
            due("FA-2", "03-02"),
            "RG-1",
            json!(null),
            json!(["INVALID", "debit", "dueOn", null]),
        ),
        (
            by("RG-1"),
            "RG-1",
            json!(null),
            json!(["INVALID", "debit", null, null]),
        ),
        (
            by("OLD-1"),
            "FA-2",
            json!(null),
            json!(["INVALID", "credit", null, null]),
        ),
        (
            by("fa-2"),
            "RG-1",
            json!(null),
            json!(["NOT_FOUND", "debit", null, null]),
        ),
        // Two documents are called FA-1, until one of them is settled.
        (
            by("FA-1"),
            "RG-1",
            json!(null),
            json!(["INVALID", "debit", null, null]),
        ),
        (
            due("FA-1", "01-31"),
            "RG-2",
            json!(null),
            json!(["IMPORTED", "0.00", "0.00"]),
        ),
        (
            by("FA-1"),
            "RG-1",
            json!("4.00"),
            json!(["INVOICE", "116.00", "-80.00"]),
        ),
    ] {
        assert_eq!(
            allocate(debit.clone(), credit, amount),
            expected,
            "{debit} {credit}"
        );
    }
    // A receipt that came back has nothing left, and that is what is said.
    let returned = json!({ "payment": { "number": "RG-2" }, "returnedOn": day("05-20") });
    act(&api, "returnPayment", "ReturnPaymentInput", returned, "");
    let spent = json!(["OVER_ALLOCATION", "amount", null, "credit"]);
    assert_eq!(allocate(due("FA-1", "01-31"), "RG-2", json!(null)), spent);
    api.sound();
}

#[test]
fn a_proposal_that_was_rejected_is_decided_by_hand_r13_1() {
    let api = Company::new().admin();
    open_account(&api);
    api.client("C001");
    invoice(&api, "FA-1", "100.00");
    invoice(&api, "FA-2", "200.00");
    let told = |text: &str| details("NOTPROVIDED", "M. X", "", &free(text));
    let part = entry("100.00", &day("03-10"), "B1", &told("acompte FA-2"));
    let whole = entry("120.00", &day("03-10"), "B2", &told("FA-1"));
    taken(&api, &statement("S-1", 1, "0.00", "220.00", &[part, whole]));
    let act = |field: &str, amount: &str, mut input: Value| {
        input["line"] = line_of(&api, amount)["id"].take();
        let done = desk(&api, field, input);
        json!([done["bankLine"]["status"], done["userErrors"][0]["code"]])
    };
    let reject =
        |amount: &str, reason: &str| act("rejectBankProposal", amount, json!({ "reason": reason }));
    assert_eq!(reject("100.00", " "), json!([null, "INVALID"]));
    // A movement that is booked has nothing to reject.
    assert_eq!(reject("120.00", "non"), json!([null, "WRONG_STATE"]));
    assert_eq!(reject("100.00", "pas sûr"), json!(["ON_ACCOUNT", null]));
    let line = line_of(&api, "100.00");
    let found = json!([
        last(&line)["outcome"],
        last(&line)["evidence"],
        line["payment"]["unallocated"]
    ]);
    assert_eq!(found, json!(["REJECTED", "pas sûr", "100.00"]));
    shows(
        &api,
        "{ tasks { totalCount } }",
        json!({}),
        json!({ "tasks": { "totalCount": 0 } }),
    );
    assert_eq!(reject("100.00", "encore"), json!([null, "WRONG_STATE"]));
    assert_eq!(
        act("acceptBankProposal", "100.00", json!({})),
        json!([null, "WRONG_STATE"])
    );
    let parts = json!({ "client": { "number": "C001" }, "allocations": [{ "debit": { "number": "FA-2" }, "amount": "40.00" }] });
    assert_eq!(
        act("assignBankLine", "100.00", parts),
        json!(["MATCHED", null])
    );
    assert_eq!(open(&api, "FA-2"), "200.00");
    api.sound();
}

#[test]
fn an_account_is_remembered_only_when_that_is_asked_r13_4() {
    let api = Company::new().admin();
    open_account(&api);
    api.client("C001");
    let told = details("X", "MYSTERE", PAYER, &free("merci"));
    let entries = [entry("50.00", &day("03-10"), "B1", &told)];
    taken(&api, &statement("S-1", 1, "0.00", "50.00", &entries));
    let id = line_of(&api, "50.00")["id"].take();
    let document = "{ client(ref: { number: \"C001\" }) { payerAccounts { iban } } }";
    for (remember, known) in [(false, json!([])), (true, json!([{ "iban": PAYER }]))] {
        let input = json!({ "line": id, "client": { "number": "C001" }, "remember": remember });
        assert_eq!(desk(&api, "assignBankLine", input)["userErrors"], json!([]));
        let expected = json!({ "client": { "payerAccounts": known } });
        shows(&api, document, json!({}), expected);
        if !remember {
            desk(
                &api,
                "undoBankMatch",
                json!({ "line": id, "reason": "essai" }),
            );
        }
    }
    let input = json!({ "iban": PAYER, "client": { "number": "C001" } });
    let (mutation, kind) = ("unlinkPayerAccount", "PayerAccountInput");
    let fields = "client { payerAccounts { iban } }";
    let forgotten = act(&api, mutation, kind, input.clone(), fields);
    assert_eq!(forgotten["client"]["payerAccounts"], json!([]));
    let again = refusal(&api, mutation, kind, input);
    assert_eq!(again, json!(["NOT_FOUND", ["iban"]]));
}

#[test]
fn journals_are_added_and_renamed_by_code() {
    let api = Company::new().admin();
    let save = |code: &str, label: &str| {
        let input = json!({ "code": code, "label": label });
        refusal(&api, "saveJournal", "SaveJournalInput", input)
    };
    for (code, label) in [("VX", "Ventes export"), ("VX", "Export"), ("VE", "France")] {
        assert_eq!(save(code, label), json!([null, null]));
    }
    for code in ["vx", "", "TROPLNG", "A-B"] {
        assert_eq!(save(code, "x"), json!(["INVALID", ["code"]]), "{code}");
    }
    assert_eq!(save("ZZ", " "), json!(["INVALID", ["label"]]));
    let expected = json!({ "journals": [
        { "code": "AN", "label": "À-nouveaux" }, { "code": "BQ", "label": "Banque" }, { "code": "OD", "label": "Opérations diverses" },
        { "code": "VE", "label": "France" }, { "code": "VX", "label": "Export" },
    ] });
    shows(&api, "{ journals { code label } }", json!({}), expected);
}

#[test]
fn entries_say_what_made_them_and_what_they_take_back_r2_2() {
    let api = Company::new().admin();
    open_account(&api);
    api.client("C001");
    let dollars = json!({ "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("03-05"), "dueOn": day("04-04"), "currency": "USD", "exchangeRate": "0.917",
        "lines": [{ "description": "Export", "quantity": "1", "unitPrice": "33.33", "vatRate": "20" }] });
    api.make("IssueInvoice", dollars);
    invoice(&api, "FA-2", "100.00");
    api.payment("C001", "RG-1", &day("03-10"), "119.60");
    api.allocate(&day("03-10"), &[("FA-2", "RG-1", "119.60")]);
    let rest = json!({ "item": { "number": "FA-2" }, "on": day("03-11") });
    let small = act(
        &api,
        "settleDifference",
        "SettleDifferenceInput",
        rest,
        "operation { number }",
    );
    let back = json!({ "operation": small["operation"], "on": day("03-12"), "reason": "non" });
    act(&api, "reverseOperation", "ReverseOperationInput", back, "");
    let error = json!({ "payment": { "number": "RG-1" }, "on": day("03-13"), "reason": "erreur" });
    act(&api, "reversePayment", "ReversePaymentInput", error, "");
    let document = "query($f: JournalEntryFilter) { journalEntries(filter: $f) { nodes { sourceKind reversalOf { postedOn } } } }";
    for (from, to, expected) in [
        (
            "01-01",
            "03-05",
            json!([["INVOICE", null], ["INVOICE", null]]),
        ),
        (
            "03-10",
            "03-11",
            json!([["PAYMENT", null], ["OPERATION", null]]),
        ),
        ("03-12", "03-12", json!([["OPERATION", day("03-11")]])),
        ("03-13", "12-31", json!([["PAYMENT", day("03-10")]])),
    ] {
        let filter = json!({ "f": { "postedFrom": day(from), "postedTo": day(to) } });
        let found = api.data(document, filter)["journalEntries"]["nodes"].take();
        let rows = found.as_array().expect("entries").iter();
        let rows: Vec<Value> = rows
            .map(|row| json!([row["sourceKind"], row["reversalOf"]["postedOn"]]))
            .collect();
        assert_eq!(json!(rows), expected, "{from}");
    }
    // Each line in the company's currency; what rounding leaves over is on the largest.
    let lines = "{ journalEntries(filter: { reference: \"FA-1\" }) { nodes { lines { credit currency baseDebit baseCredit } } } }";
    let expected = json!({ "journalEntries": { "nodes": [{ "lines": [
        { "credit": "0.00", "currency": "USD", "baseDebit": "36.68", "baseCredit": "0.00" },
        { "credit": "33.33", "currency": "USD", "baseDebit": "0.00", "baseCredit": "30.56" },
        { "credit": "6.67", "currency": "USD", "baseDebit": "0.00", "baseCredit": "6.12" },
    ] }] } });
    shows(&api, lines, json!({}), expected);
    // A movement that the books hold names the entry: a receipt recorded by hand.
    api.payment("C001", "RG-2", &day("03-09"), "77.00");
    let entries = [entry(
        "77.00",
        &day("03-10"),
        "B1",
        &details("X", "CLIENT C001", "", ""),
    )];
    taken(&api, &statement("S-1", 1, "0.00", "77.00", &entries));
    let document = "{ bankLines { nodes { status reconciledWith { sourceKind reference } } } }";
    let held = json!({ "status": "RECONCILED", "reconciledWith": { "sourceKind": "PAYMENT", "reference": "RG-2" } });
    shows(
        &api,
        document,
        json!({}),
        json!({ "bankLines": { "nodes": [held] } }),
    );
    api.sound();
}

#[test]
fn a_financial_year_that_begins_in_july_is_named_by_its_end() {
    let company = Company::new();
    let api = company.admin();
    let (id, now, before) = (company.id.trim_start_matches("com_"), year(), year() - 1);
    tamper(&format!(
        "UPDATE companies SET fiscal_year_start_month = 7 WHERE company_id = '{id}'"
    ));
    api.client("C001");
    let (end, start) = (format!("{before}-06-30"), format!("{before}-07-01"));
    for (number, on) in [("FA-1", &end), ("FA-2", &start)] {
        api.invoice("C001", number, on, on, ("100.00", "20"));
    }
    let close = "mutation($on: Date!, $year: Int!) { closePeriod(through: $on) { userErrors { code } } closeYear(year: $year) { year userErrors { code } } }";
    let expected = json!({ "closePeriod": { "userErrors": [] }, "closeYear": { "year": before, "userErrors": [] } });
    shows(&api, close, json!({ "on": end, "year": before }), expected);
    let document = "{ viewer { company { fiscalYearStartMonth } } financialYears { name startsOn endsOn state result } journalEntries { nodes { number postedOn sourceKind } } }";
    let mut found = api.data(document, json!({}));
    // From July on, the current year is a third one.
    let years = found["financialYears"].as_array_mut().expect("years");
    years.retain(|found| found["name"] != now + 1);
    let expected = json!({
        "viewer": { "company": { "fiscalYearStartMonth": 7 } },
        "financialYears": [
            { "name": now, "startsOn": start, "endsOn": format!("{now}-06-30"), "state": "OPEN", "result": null },
            { "name": before, "startsOn": format!("{}-07-01", before - 1), "endsOn": end, "state": "LOCKED", "result": "100.00" },
        ],
        "journalEntries": { "nodes": [
            { "number": format!("{before}-000001"), "postedOn": end, "sourceKind": "INVOICE" },
            { "number": format!("{now}-000001"), "postedOn": start, "sourceKind": "INVOICE" },
            { "number": format!("{now}-000002"), "postedOn": start, "sourceKind": "CARRY_FORWARD" },
        ] },
    });
    assert_eq!(found, expected);
    api.sound();
}

#[test]
fn late_entries_are_of_the_clients_and_the_currency_of_the_balance_r4_14() {
    let api = Company::new().admin();
    api.client("C001");
    api.client("C002");
    invoice(&api, "FA-1", "100.00");
    let since = instant();
    let paid = json!({ "client": { "number": "C001" }, "number": "RG-1", "receivedOn": day("02-04"), "method": "TRANSFER", "amount": "30.00",
        "allocations": [{ "debit": { "number": "FA-1" } }] });
    api.make("RecordPayment", paid);
    invoice(&api, "FA-2", "200.00");
    api.invoice(
        "C002",
        "FA-3",
        &day("01-10"),
        &day("02-09"),
        ("300.00", "20"),
    );
    let dollars = json!({ "client": { "number": "C001" }, "number": "FA-4", "issuedOn": day("01-10"), "dueOn": day("02-09"), "currency": "USD", "exchangeRate": "0.9",
        "lines": [{ "description": "Export", "quantity": "1", "unitPrice": "50.00", "vatRate": "0" }] });
    api.make("IssueInvoice", dollars);
    api.invoice(
        "C001",
        "FA-5",
        &day("04-02"),
        &day("05-02"),
        ("500.00", "20"),
    );
    for (invoice, amount) in [("FA-1", "20.00"), ("FA-3", "40.00")] {
        let input = json!({ "invoice": { "number": invoice }, "reason": "BMAN", "amount": amount, "openedOn": day("03-10") });
        api.make("OpenDispute", input);
    }
    let document = "query($on: Date!, $f: AgedBalanceFilter, $since: DateTime!) { agedBalance(asOf: $on, filter: $f) { totals { total disputed } \
        lateEntries(since: $since) { totalCount nodes { reference } } } }";
    let (first, second) = (json!({ "number": "C001" }), json!({ "number": "C002" }));
    for (filter, totals, late) in [
        (
            json!({}),
            json!([["690.00", "60.00"], ["50.00", "0.00"]]),
            "RG-1 FA-2 FA-3 FA-4",
        ),
        (
            json!({ "client": second }),
            json!([["360.00", "40.00"]]),
            "FA-3",
        ),
        (
            json!({ "clients": { "search": "C002" } }),
            json!([["360.00", "40.00"]]),
            "FA-3",
        ),
        (
            json!({ "client": first, "currency": "EUR" }),
            json!([["330.00", "20.00"]]),
            "RG-1 FA-2",
        ),
        (
            json!({ "currency": "USD" }),
            json!([["50.00", "0.00"]]),
            "FA-4",
        ),
    ] {
        let asked = json!({ "on": day("03-31"), "f": filter, "since": since });
        let late: Vec<Value> = late
            .split(' ')
            .map(|number| json!({ "reference": number }))
            .collect();
        let totals = totals.as_array().expect("totals").iter();
        let totals: Vec<Value> = totals
            .map(|row| json!({ "total": row[0], "disputed": row[1] }))
            .collect();
        let late = json!({ "totalCount": late.len(), "nodes": late });
        let expected = json!({ "agedBalance": { "totals": totals, "lateEntries": late } });
        shows(&api, document, asked, expected);
    }
}

#[test]
fn what_waits_and_who_was_let_in_says_since_when() {
    let company = Company::segregated();
    let api = company.admin();
    let limits = json!({ "settings": { "approvals": { "credit_note": { "EUR": "50.00" } } } });
    act(&api, "updateCompany", "UpdateCompanyInput", limits, "");
    api.client("C001");
    let issued = invoice(&api, "FA-1", "100.00");
    let from = instant();
    let note = json!({ "invoice": { "number": "FA-1" }, "amount": "60.00", "reason": "geste" });
    let accountant = company.as_role("AR_ACCOUNTANT");
    let waits = refusal(&accountant, "issueCreditNote", "IssueCreditNoteInput", note);
    assert_eq!(waits, json!(["APPROVAL_REQUIRED", []]));
    let invitation = json!({ "email": "nouveau@example.com", "role": "AUDITOR" });
    act(&api, "inviteMember", "InviteMemberInput", invitation, "");
    let shop = json!({ "name": "Shop", "expiresOn": format!("{}-01-31", year() + 1), "scopes": ["READ_CLIENTS"] });
    act(
        &api,
        "createServiceAccount",
        "CreateServiceAccountInput",
        shop,
        "",
    );
    let hook = |path: &str| {
        let input = json!({ "url": format!("http://127.0.0.1:9/{path}") });
        act(
            &api,
            "createWebhook",
            "CreateWebhookInput",
            input,
            "webhook { id createdAt }",
        )["webhook"]
            .take()
    };
    let (ours, other) = (hook("a"), hook("b"));
    let fields = "delivery { id webhookId createdAt kind }";
    let sent = act(
        &api,
        "testWebhook",
        "WebhookIdInput",
        json!({ "webhook": ours["id"] }),
        fields,
    )["delivery"]
        .take();
    let to = instant();
    let document = "query($ours: ID!, $other: ID!) { approvals { nodes { documentId proposedAt } } members(withInvitations: true) { invitation { invitedAt } } \
        serviceAccounts { createdAt } ours: webhookDeliveries(webhook: $ours) { nodes { id webhookId createdAt kind } } other: webhookDeliveries(webhook: $other) { nodes { id } } }";
    let found = api.data(
        document,
        json!({ "ours": ours["id"], "other": other["id"] }),
    );
    let request = single(found["approvals"]["nodes"].clone());
    assert_eq!(request["documentId"], issued["id"]);
    assert_eq!(sent["webhookId"], ours["id"]);
    assert_eq!(found["ours"]["nodes"], json!([sent]));
    assert_eq!(found["other"]["nodes"], json!([]));
    let invited = found["members"].as_array().expect("members").iter();
    let invited = invited.filter_map(|member| member["invitation"]["invitedAt"].as_str());
    let mut instants: Vec<&str> = invited.collect();
    assert_eq!(instants.len(), 1, "{found}");
    let account = single(found["serviceAccounts"].clone());
    for shown in [
        &request["proposedAt"],
        &account["createdAt"],
        &ours["createdAt"],
        &sent["createdAt"],
    ] {
        instants.push(shown.as_str().expect("an instant"));
    }
    let at = |text: &str| DateTime::parse_from_rfc3339(text).expect("an instant");
    for shown in instants {
        assert!(
            at(&from) < at(shown) && at(shown) < at(&to),
            "{from} {shown} {to}"
        );
    }
}
