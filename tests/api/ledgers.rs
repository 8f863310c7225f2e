//! What the books and the bank tell of themselves: items by their numbers, movements, entries, years, and since when.

use chrono::DateTime;
use serde_json::{Value, json};

use crate::bank::{
    OURS, PAYER, desk, details, entry, free, last, line_of, open, open_account, statement,
};
use crate::harness::{Api, Company, day, instant, single, soon, year};

const DEDUCT: &str = "mutation($n: String!, $on: Date!) { recordDeduction(input: { invoice: { number: $n }, amount: \"36.00\", reason: \"BMAN\", recordedOn: $on }) { deduction { number } userErrors { code field } } }";
const CREDIT: &str = "mutation($n: String!, $on: Date!, $amount: Decimal!) { issueCreditNote(input: { invoice: { number: $n }, number: \"AV-1\", issuedOn: $on, allocate: false, amount: $amount }) { userErrors { code field } } }";

/// A document answers so.
#[track_caller]
fn shows(api: &Api, document: &str, variables: Value, expected: Value) {
    assert_eq!(api.data(document, variables), expected);
}

/// A statement of the 10th of March is taken in.
fn taken(api: &Api, total: &str, entries: &[String]) {
    let file = statement("S-1", 1, "0.00", total, entries);
    let answer = api.upload("/import/bank", "application/xml", &file);
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// Money from somebody without an account, who writes something.
fn money(amount: &str, id: &str, from: &str, text: &str) -> String {
    let told = details("NOTPROVIDED", from, "", &free(text));
    entry(amount, &day("03-10"), id, &told)
}

/// Opening items of other software: client, number, debit and credit.
fn take_over(api: &Api, items: &[[&str; 4]]) {
    let mut file = "JournalCode|JournalLib|EcritureNum|EcritureDate|CompteNum|CompteLib|CompAuxNum|CompAuxLib|PieceRef|PieceDate|EcritureLib|Debit|Credit|EcritureLet|DateLet|ValidDate|Montantdevise|Idevise".to_owned();
    let on = day("01-01").replace('-', "");
    for (n, [client, piece, debit, credit]) in items.iter().enumerate() {
        for (head, debit, credit) in [
            (format!("411000|Clients|{client}|{client}"), debit, credit),
            ("890000|Bilan||".to_owned(), credit, debit),
        ] {
            file += &format!("\nAN|AN|{n}|{on}|{head}|{piece}|{on}|x|{debit}|{credit}|||{on}||");
        }
    }
    let answer = api.upload("/import/fec", "text/plain", &file);
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn invoice(api: &Api, number: &str, net: &str) -> Value {
    api.invoice("C001", number, &day("01-10"), &day("02-09"), (net, "20"))
}

/// An invoice of one line in dollars.
fn dollars(api: &Api, number: &str, rate: &str, line: (&str, &str)) {
    let lines = json!([{ "description": "Export", "quantity": "1", "unitPrice": line.0, "vatRate": line.1 }]);
    let input = json!({ "client": { "number": "C001" }, "number": number, "issuedOn": day("01-10"), "dueOn": day("02-09"), "currency": "USD", "exchangeRate": rate, "lines": lines });
    api.make("IssueInvoice", input);
}

#[test]
fn statements_come_latest_first_and_movements_by_their_days() {
    let api = Company::new().admin();
    open_account(&api);
    let text = "<Strd><CdtrRefInf><Ref>FA-1</Ref></CdtrRefInf></Strd><Strd><CdtrRefInf><Ref>BL 7</Ref></CdtrRefInf></Strd>";
    let told = details("E2E-1", "M. DUPONT", PAYER, text);
    let told = format!("<ValDt><Dt>{}</Dt></ValDt>{told}", day("03-11"));
    let first = entry("10.00", &day("03-10"), "B1", &told);
    taken(
        &api,
        "30.00",
        &[first, entry("20.00", &day("03-14"), "B2", "")],
    );
    let april = [entry("40.00", &day("04-01"), "B3", "")];
    let april = statement("S-2", 2, "30.00", "70.00", &april);
    assert_eq!(
        api.upload("/import/bank", "application/xml", &april).status,
        200
    );
    let bic = "mutation { saveBankAccount(input: { label: \"Anglais\", iban: \"12ABCDE345\", bic: \"AGRIFRPP\", currency: \"USD\" }) { bankAccount { bic } userErrors { code } } }";
    assert_eq!(api.done(bic, json!({}))["bankAccount"]["bic"], "AGRIFRPP");
    let document = "query($a: Date!, $b: Date!) { bankAccounts { label iban bic } bankStatements { nodes { reference toOn closing } } \
        all: bankLines { nodes { amount valueOn counterparty endToEndId structuredReferences } } from: bankLines(filter: { bookedFrom: $b }) { totalCount } \
        to: bankLines(filter: { bookedTo: $b }) { totalCount } within: bankLines(filter: { bookedFrom: $a, bookedTo: $b }) { nodes { amount } } \
        none: bankLines(filter: { bookedFrom: $b, bookedTo: $a }) { totalCount } }";
    let expected = json!({
        "bankAccounts": [{ "label": "Anglais", "iban": "12ABCDE345", "bic": "AGRIFRPP" }, { "label": "Courant", "iban": OURS, "bic": null }],
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
    let mut cases = vec![
        ("FA-2026-000012", "100.00", "120.00", "N° fa/2026/12."),
        ("FA 2026/0021", "160.00", "192.00", "FA-2026-021"),
        ("INV0099A", "170.00", "204.00", "INV 99 A"),
        ("FA-2026-31", "180.00", "216.00", "FA2026-31"),
        ("FA-2026-31-B", "181.00", "217.20", "FA 2026 31 B"),
        ("FA-2026-51", "220.00", "240.00", "FA-2026-51 moins AV-1"),
        ("OLD/2025-0012", "", "40.00", "OLD 2025 12"),
    ];
    for (number, net, ..) in cases.iter().filter(|case| !case.1.is_empty()) {
        invoice(&api, number, net);
    }
    let on = day("02-12");
    let note = json!({ "n": "FA-2026-51", "on": on, "amount": "24.00" });
    api.done(CREDIT, note);
    invoice(&api, "FA-2026-52", "230.00");
    let made = api.done(DEDUCT, json!({ "n": "FA-2026-52", "on": on }));
    let deduction = made["deduction"]["number"].as_str().expect("a number");
    let spoken = deduction.replace('-', " ");
    cases.push((deduction, "", "36.00", spoken.as_str()));
    let entries = cases
        .iter()
        .map(|(number, _, amount, text)| money(amount, number, "QUELQU UN", text));
    // What is settled is said, and nothing else is paid with the money.
    let again = money("45.00", "last", "QUELQU UN", "FA 2026 12, OLD-2025-12");
    taken(&api, "1310.20", &entries.chain([again]).collect::<Vec<_>>());
    for (number, _, amount, text) in cases {
        let line = line_of(&api, amount);
        let (rule, share) = (&last(&line)["rule"], &last(&line)["shares"][0]);
        let found = json!([line["status"], rule, share["debit"]["reference"]]);
        let expected = json!(["AUTOMATIC", "NUMBERS_IN_TEXT", number]);
        assert_eq!(found, expected, "{text}");
    }
    assert_eq!(open(&api, "FA-2026-51"), "0.00");
    let line = line_of(&api, "45.00");
    let evidence = last(&line)["evidence"].as_str().expect("an evidence");
    let settled = "FA-2026-000012, OLD/2025-0012 named, which is settled already";
    assert!(evidence.starts_with(settled), "{evidence}");
    assert_eq!(line["status"], "UNKNOWN");
    api.sound();
}

#[test]
fn items_are_named_by_the_numbers_of_their_documents_r3_4() {
    let api = Company::new().admin();
    api.client("C001");
    api.client("C002");
    let debit = ["C001", "OLD-1", "50,00", "0,00"];
    let credit = ["C001", "OLD-C", "0,00", "30,00"];
    take_over(&api, &[debit, credit, ["C002", "FA-1", "70,00", "0,00"]]);
    invoice(&api, "FA-1", "100.00");
    let parts = json!({ "client": { "number": "C001" }, "number": "FA-2", "issuedOn": day("01-10"),
        "lines": [{ "description": "Prestation", "quantity": "1", "unitPrice": "100.00", "vatRate": "20" }],
        "installments": [{ "dueOn": day("02-10"), "amount": "60.00" }, { "dueOn": day("03-01"), "amount": "60.00" }] });
    api.make("IssueInvoice", parts);
    let on = day("02-12");
    api.done(CREDIT, json!({ "n": "FA-2", "on": on, "amount": "12.00" }));
    let made = api.done(DEDUCT, json!({ "n": "FA-2", "on": on }));
    let deduction = made["deduction"]["number"].as_str().expect("a number");
    api.payment("C001", "RG-1", &day("03-10"), "100.00");
    api.payment("C002", "RG-2", &day("03-10"), "70.00");
    // A receipt that came back has nothing left, and that is what is said.
    api.payment("C001", "RG-3", &day("03-10"), "5.00");
    let back = "mutation($on: Date!) { returnPayment(input: { payment: { number: \"RG-3\" }, returnedOn: $on }) { userErrors { code } } }";
    api.done(back, json!({ "on": day("03-20") }));
    let document = "mutation($input: AllocateInput!) { allocate(input: $input) { allocations { debit { kind open } credit { open } } userErrors { code field details } } }";
    for (debit, due_on, credit, amount, expected) in [
        ("FA-2", "03-01", "RG-1", "10.00", "INVOICE 50.00 -90.00"),
        // The deduction took 36.00 off the first instalment.
        ("FA-2", "", "AV-1", "", "INVOICE 12.00 0.00"),
        (deduction, "", "RG-1", "6.00", "DEDUCTION 30.00 -84.00"),
        ("OLD-1", "", "OLD-C", "20.00", "IMPORTED 30.00 -10.00"),
        ("FA-2", "03-02", "RG-1", "", "INVALID debit dueOn"),
        ("RG-1", "", "RG-1", "", "INVALID debit"),
        ("OLD-1", "", "FA-2", "", "INVALID credit"),
        ("fa-2", "", "RG-1", "", "NOT_FOUND debit"),
        // Two documents are called FA-1, until one of them is settled.
        ("FA-1", "", "RG-1", "", "INVALID debit"),
        ("FA-1", "01-31", "RG-2", "", "IMPORTED 0.00 0.00"),
        ("FA-1", "", "RG-1", "4.00", "INVOICE 116.00 -80.00"),
        ("FA-1", "", "RG-3", "", "OVER_ALLOCATION amount credit"),
    ] {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let debit = json!({ "number": debit, "dueOn": given(due_on).map(|on| day(&on)) });
        let line =
            json!({ "debit": debit, "credit": { "number": credit }, "amount": given(amount) });
        let input = json!({ "input": { "lines": [line], "allocatedOn": day("05-15") } });
        let done = api.data(document, input)["allocate"].take();
        let (made, error) = (&done["allocations"][0], &done["userErrors"][0]);
        let (place, side) = (&error["field"], &error["details"]["side"]);
        let left = [
            &made["debit"]["kind"],
            &made["debit"]["open"],
            &made["credit"]["open"],
        ];
        let shown = left
            .into_iter()
            .chain([&error["code"], &place[2], &place[3], side]);
        let shown: Vec<&str> = shown.filter_map(Value::as_str).collect();
        assert_eq!(shown.join(" "), expected, "{line}");
    }
    api.sound();
}

#[test]
fn a_proposal_that_was_rejected_is_decided_by_hand_r13_1() {
    let api = Company::new().admin();
    open_account(&api);
    api.client("C001");
    invoice(&api, "FA-1", "100.00");
    invoice(&api, "FA-2", "200.00");
    let part = money("100.00", "B1", "M. X", "acompte FA-2");
    taken(
        &api,
        "220.00",
        &[part, money("120.00", "B2", "M. X", "FA-1")],
    );
    let act = |field: &str, amount: &str, mut input: Value| {
        input["line"] = line_of(&api, amount)["id"].take();
        let done = desk(&api, field, input);
        json!([done["bankLine"]["status"], done["userErrors"][0]["code"]])
    };
    let reject = |amount: &str| act("rejectBankProposal", amount, json!({ "reason": "pas sûr" }));
    let wrong = json!([null, "WRONG_STATE"]);
    // A movement that is booked has nothing to reject.
    assert_eq!(reject("120.00"), wrong);
    assert_eq!(reject("100.00"), json!(["ON_ACCOUNT", null]));
    let line = line_of(&api, "100.00");
    let (outcome, left) = (&last(&line)["outcome"], &line["payment"]["unallocated"]);
    assert_eq!((outcome, left), (&json!("REJECTED"), &json!("100.00")));
    assert_eq!(reject("100.00"), wrong);
    assert_eq!(act("acceptBankProposal", "100.00", json!({})), wrong);
    let parts = json!({ "client": { "number": "C001" }, "allocations": [{ "debit": { "number": "FA-2" }, "amount": "40.00" }] });
    let assigned = act("assignBankLine", "100.00", parts);
    assert_eq!(assigned, json!(["MATCHED", null]));
    assert_eq!(open(&api, "FA-2"), "200.00");
    api.sound();
}

#[test]
fn an_account_is_remembered_only_when_that_is_asked_r13_4() {
    let api = Company::new().admin();
    open_account(&api);
    api.client("C001");
    let told = details("X", "MYSTERE", PAYER, &free("merci"));
    taken(&api, "50.00", &[entry("50.00", &day("03-10"), "B1", &told)]);
    let id = line_of(&api, "50.00")["id"].take();
    let document = "{ client(ref: { number: \"C001\" }) { payerAccounts { iban } } }";
    for (remember, known) in [(false, json!([])), (true, json!([{ "iban": PAYER }]))] {
        desk(
            &api,
            "undoBankMatch",
            json!({ "line": id, "reason": "essai" }),
        );
        let input = json!({ "line": id, "client": { "number": "C001" }, "remember": remember });
        assert_eq!(desk(&api, "assignBankLine", input)["userErrors"], json!([]));
        let expected = json!({ "client": { "payerAccounts": known } });
        shows(&api, document, json!({}), expected);
    }
    let unlink = "mutation($iban: String!) { unlinkPayerAccount(input: { iban: $iban, client: { number: \"C001\" } }) { client { payerAccounts { iban } } userErrors { code field } } }";
    let error = json!([{ "code": "NOT_FOUND", "field": ["iban"] }]);
    for (client, errors) in [
        (json!({ "payerAccounts": [] }), json!([])),
        (json!(null), error),
    ] {
        let expected = json!({ "unlinkPayerAccount": { "client": client, "userErrors": errors } });
        shows(&api, unlink, json!({ "iban": PAYER }), expected);
    }
}

#[test]
fn journals_are_added_and_renamed_by_code() {
    let api = Company::new().admin();
    let document = "mutation { new: saveJournal(input: { code: \"VX\", label: \"Export\" }) { userErrors { field } } renamed: saveJournal(input: { code: \"VE\", label: \"France\" }) { journal { label } } \
        small: saveJournal(input: { code: \"vx\", label: \"x\" }) { userErrors { field } } long: saveJournal(input: { code: \"TROPLNG\", label: \"x\" }) { userErrors { field } } \
        nameless: saveJournal(input: { code: \"ZZ\", label: \" \" }) { userErrors { field } } }";
    let (code, label) = (
        json!([{ "field": ["code"] }]),
        json!([{ "field": ["label"] }]),
    );
    let expected = json!({ "new": { "userErrors": [] }, "renamed": { "journal": { "label": "France" } }, "small": { "userErrors": code }, "long": { "userErrors": code }, "nameless": { "userErrors": label } });
    shows(&api, document, json!({}), expected);
    let rows = json!([
        ["AN", "À-nouveaux"],
        ["BQ", "Banque"],
        ["OD", "Opérations diverses"],
        ["VE", "France"],
        ["VX", "Export"]
    ]);
    let found = api.data("{ journals { code label } }", json!({}))["journals"].take();
    let found = found.as_array().expect("journals").iter();
    let found: Vec<Value> = found
        .map(|row| json!([row["code"], row["label"]]))
        .collect();
    assert_eq!(json!(found), rows);
}

#[test]
fn entries_say_what_made_them_and_what_they_take_back_r2_2() {
    let api = Company::new().admin();
    open_account(&api);
    api.client("C001");
    dollars(&api, "FA-1", "0.917", ("33.33", "20"));
    invoice(&api, "FA-2", "100.00");
    api.payment("C001", "RG-1", &day("03-10"), "119.60");
    api.allocate(&day("03-10"), &[("FA-2", "RG-1", "119.60")]);
    let rest = "mutation($on: Date!) { settleDifference(input: { item: { number: \"FA-2\" }, on: $on }) { operation { number } userErrors { code } } }";
    let small = api.done(rest, json!({ "on": day("03-11") }))["operation"].take();
    let undo = "mutation($small: OperationRef!, $on: Date!, $then: Date!) { reverseOperation(input: { operation: $small, on: $on, reason: \"non\" }) { userErrors { code } } \
        reversePayment(input: { payment: { number: \"RG-1\" }, on: $then, reason: \"erreur\" }) { userErrors { code } } }";
    let fine = json!({ "userErrors": [] });
    let done = json!({ "reverseOperation": fine, "reversePayment": fine });
    let variables = json!({ "small": small, "on": day("03-12"), "then": day("03-13") });
    shows(&api, undo, variables, done);
    // Each line in the company's currency; what rounding leaves over is on the largest.
    let document = "query($a: Date!, $b: Date!, $c: Date!) { first: journalEntries(filter: { postedTo: $a, reference: \"FA-1\" }) { nodes { sourceKind reversalOf { label } lines { credit currency baseDebit baseCredit } } } \
        then: journalEntries(filter: { postedFrom: $b, postedTo: $c }) { nodes { sourceKind reversalOf { postedOn } } } last: journalEntries(filter: { postedFrom: $c }) { totalCount } }";
    let expected = json!({
        "first": { "nodes": [{ "sourceKind": "INVOICE", "reversalOf": null, "lines": [
            { "credit": "0.00", "currency": "USD", "baseDebit": "36.68", "baseCredit": "0.00" },
            { "credit": "33.33", "currency": "USD", "baseDebit": "0.00", "baseCredit": "30.56" },
            { "credit": "6.67", "currency": "USD", "baseDebit": "0.00", "baseCredit": "6.12" },
        ] }] },
        "then": { "nodes": [
            { "sourceKind": "PAYMENT", "reversalOf": null }, { "sourceKind": "OPERATION", "reversalOf": null },
            { "sourceKind": "OPERATION", "reversalOf": { "postedOn": day("03-11") } }, { "sourceKind": "PAYMENT", "reversalOf": { "postedOn": day("03-10") } },
        ] },
        "last": { "totalCount": 1 },
    });
    let days = json!({ "a": day("01-10"), "b": day("03-10"), "c": day("03-13") });
    shows(&api, document, days, expected);
    // A movement that the books hold names the entry: a receipt recorded by hand.
    api.payment("C001", "RG-2", &day("03-09"), "77.00");
    taken(&api, "77.00", &[money("77.00", "B1", "CLIENT C001", "")]);
    let document = "{ bankLines { nodes { status reconciledWith { sourceKind reference } } } }";
    let held = json!({ "bankLines": { "nodes": [{ "status": "RECONCILED", "reconciledWith": { "sourceKind": "PAYMENT", "reference": "RG-2" } }] } });
    shows(&api, document, json!({}), held);
    api.sound();
}

#[test]
fn a_financial_year_that_begins_in_july_is_named_by_its_end() {
    let api = Company::created(&["--segregation", "off", "--year-begins", "7"]).admin();
    let (named, before) = (year(), year() - 1);
    api.client("C001");
    let (end, start) = (format!("{before}-06-30"), format!("{before}-07-01"));
    api.invoice("C001", "FA-1", &end, &end, ("100.00", "20"));
    api.invoice("C001", "FA-2", &start, &start, ("100.00", "20"));
    let close = "mutation($on: Date!, $year: Int!) { closePeriod(through: $on) { userErrors { code } } closeYear(year: $year) { year userErrors { code } } }";
    let expected = json!({ "closePeriod": { "userErrors": [] }, "closeYear": { "year": before, "userErrors": [] } });
    shows(&api, close, json!({ "on": end, "year": before }), expected);
    let document = "{ viewer { company { fiscalYearStartMonth } } financialYears { name startsOn endsOn state result } journalEntries { nodes { number postedOn sourceKind } } }";
    let mut found = api.data(document, json!({}));
    // The current year stands before these.
    let years = found["financialYears"].as_array_mut().expect("years");
    assert!(years.remove(0)["name"].as_i64() > Some(named.into()));
    let expected = json!({
        "viewer": { "company": { "fiscalYearStartMonth": 7 } },
        "financialYears": [
            { "name": named, "startsOn": start, "endsOn": format!("{named}-06-30"), "state": "OPEN", "result": null },
            { "name": before, "startsOn": format!("{}-07-01", before - 1), "endsOn": end, "state": "LOCKED", "result": "100.00" },
        ],
        "journalEntries": { "nodes": [
            { "number": format!("{before}-000001"), "postedOn": end, "sourceKind": "INVOICE" },
            { "number": format!("{named}-000001"), "postedOn": start, "sourceKind": "INVOICE" },
            { "number": format!("{named}-000002"), "postedOn": start, "sourceKind": "CARRY_FORWARD" },
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
    api.payment("C001", "RG-1", &day("02-04"), "30.00");
    api.allocate(&day("02-04"), &[("FA-1", "RG-1", "30.00")]);
    invoice(&api, "FA-2", "200.00");
    let (on, due_on, april) = (day("01-10"), day("02-09"), day("04-02"));
    api.invoice("C002", "FA-3", &on, &due_on, ("300.00", "20"));
    dollars(&api, "FA-4", "0.9", ("50.00", "0"));
    api.invoice("C001", "FA-5", &april, &april, ("500.00", "20"));
    for (invoice, amount) in [("FA-1", "20.00"), ("FA-3", "40.00")] {
        let input = json!({ "invoice": { "number": invoice }, "reason": "BMAN", "amount": amount, "openedOn": day("03-10") });
        api.make("OpenDispute", input);
    }
    let document = "query($on: Date!, $since: DateTime!) { all: agedBalance(asOf: $on) { ...Shown } theirs: agedBalance(asOf: $on, filter: { client: { number: \"C002\" } }) { ...Shown } \
        found: agedBalance(asOf: $on, filter: { clients: { search: \"C002\" } }) { ...Shown } dollars: agedBalance(asOf: $on, filter: { currency: \"USD\" }) { ...Shown } \
        euros: agedBalance(asOf: $on, filter: { client: { number: \"C001\" }, currency: \"EUR\" }) { ...Shown } } \
        fragment Shown on AgedBalance { totals { total disputed } lateEntries(since: $since) { totalCount nodes { reference } } }";
    let shown = |totals: Value, late: &[&str]| {
        let nodes = late.iter().map(|number| json!({ "reference": number }));
        let nodes: Vec<Value> = nodes.collect();
        json!({ "totals": totals, "lateEntries": { "totalCount": late.len(), "nodes": nodes } })
    };
    let sum = |total: &str, disputed: &str| json!({ "total": total, "disputed": disputed });
    let expected = json!({
        "all": shown(json!([sum("690.00", "60.00"), sum("50.00", "0.00")]), &["RG-1", "FA-2", "FA-3", "FA-4"]),
        "theirs": shown(json!([sum("360.00", "40.00")]), &["FA-3"]),
        "found": shown(json!([sum("360.00", "40.00")]), &["FA-3"]),
        "dollars": shown(json!([sum("50.00", "0.00")]), &["FA-4"]),
        "euros": shown(json!([sum("330.00", "20.00")]), &["RG-1", "FA-2"]),
    });
    let variables = json!({ "on": day("03-31"), "since": since });
    shows(&api, document, variables, expected);
}

#[test]
fn what_waits_and_who_was_let_in_says_since_when() {
    let company = Company::segregated();
    let api = company.admin();
    let limit = "mutation { updateCompany(input: { settings: { approvals: { credit_note: { EUR: \"50.00\" } } } }) { userErrors { code } } }";
    api.done(limit, json!({}));
    api.client("C001");
    let issued = invoice(&api, "FA-1", "100.00");
    let from = instant();
    let note = json!({ "n": "FA-1", "on": day("02-12"), "amount": "60.00" });
    let waits = company.as_role("AR_ACCOUNTANT").data(CREDIT, note);
    let error = &waits["issueCreditNote"]["userErrors"][0];
    assert_eq!(error["code"], "APPROVAL_REQUIRED");
    let document = "mutation($on: Date!) { invited: inviteMember(input: { email: \"a@example.com\", role: AUDITOR }) { invitation { id } } shop: createServiceAccount(input: { name: \"Shop\", expiresOn: $on, scopes: [\"READ_CLIENTS\"] }) { serviceAccount { id createdAt } } \
        hook: createWebhook(input: { url: \"http://127.0.0.1:9/a\" }) { webhook { id createdAt } } other: createWebhook(input: { url: \"http://127.0.0.1:9/b\" }) { webhook { id } } }";
    let expiry = soon();
    let made = api.data(document, json!({ "on": expiry }));
    let (hook, other) = (&made["hook"]["webhook"], &made["other"]["webhook"]["id"]);
    let test = "mutation($hook: ID!) { testWebhook(input: { webhook: $hook }) { delivery { id webhookId createdAt } userErrors { code } } }";
    let sent = api.done(test, json!({ "hook": hook["id"] }))["delivery"].take();
    let to = instant();
    let document = "query($hook: ID!, $other: ID!) { approvals { nodes { documentId proposedAt } } members(withInvitations: true) { invitation { id invitedAt } } \
        serviceAccounts { id createdAt } ours: webhookDeliveries(webhook: $hook) { nodes { id webhookId createdAt } } other: webhookDeliveries(webhook: $other) { nodes { id } } }";
    let found = api.data(document, json!({ "hook": hook["id"], "other": other }));
    assert_eq!(found["ours"]["nodes"], json!([sent]));
    assert_eq!(found["other"]["nodes"], json!([]));
    assert_eq!(sent["webhookId"], hook["id"]);
    let request = single(found["approvals"]["nodes"].clone());
    assert_eq!(request["documentId"], issued["id"]);
    let account = single(found["serviceAccounts"].clone());
    assert_eq!(account, made["shop"]["serviceAccount"]);
    let members = found["members"].as_array().expect("members").iter();
    let id = &made["invited"]["invitation"]["id"];
    let invited: Vec<&Value> = members.map(|member| &member["invitation"]).collect();
    let invited = invited.iter().find(|invitation| invitation["id"] == *id);
    let invited = &invited.expect("the invitation")["invitedAt"];
    let at = |text: &str| DateTime::parse_from_rfc3339(text).expect("an instant");
    let (proposed, created) = (&request["proposedAt"], &account["createdAt"]);
    for shown in [
        proposed,
        created,
        invited,
        &hook["createdAt"],
        &sent["createdAt"],
    ] {
        let shown = at(shown.as_str().expect("an instant"));
        assert!(at(&from) < shown && shown < at(&to), "{from} {shown} {to}");
    }
}
