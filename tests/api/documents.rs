//! Drafts, lines and due dates of invoices; accounts that close; receipts whose payer is unknown; deposits, bills,
//! factored claims and money on account.

use serde_json::{Value, json};

use crate::desk::{ago, mutate};
use crate::harness::{Api, Company, day, single, today};
use crate::roles::own;

const ENTRIES: &str = "entries { postedOn occurredOn lines { account debit credit } }";

/// A payload that was refused for one reason: its code, and the path of the input.
#[track_caller]
fn refused(payload: &Value, reason: &str) {
    let error = single(payload["userErrors"].clone());
    let field = error["field"].as_array().expect("a path").iter();
    let field: Vec<&str> = field.filter_map(Value::as_str).collect();
    let code = error["code"].as_str().expect("a code");
    assert_eq!(format!("{code} {}", field.join(".")), reason, "{payload}");
}

/// What a payload holds of what was done.
#[track_caller]
fn done(payload: &Value) -> Value {
    assert_eq!(payload["userErrors"], json!([]), "{payload}");
    let mut parts = payload.as_object().expect("a payload").iter();
    let part = parts.find(|(name, _)| *name != "userErrors");
    part.expect("what was done").1.clone()
}

/// A line of one piece, with its discount.
fn line(price: &str, vat_rate: &str, discount: Option<&str>) -> Value {
    json!({ "description": "Vitrine", "quantity": "1", "unitPrice": price, "vatRate": vat_rate, "discountPercent": discount })
}

/// What the entries of a record post: accounts with their debits, or with their credits below zero.
fn posted(record: &Value) -> String {
    let entries = record["entries"].as_array().expect("entries").iter();
    let lines = entries.flat_map(|entry| entry["lines"].as_array().expect("lines"));
    let text = |line: &Value, name: &str| line[name].as_str().expect("a text").to_owned();
    let told = lines.map(|line| match text(line, "debit").as_str() {
        "0.00" => format!("{} -{}", text(line, "account"), text(line, "credit")),
        debit => format!("{} {debit}", text(line, "account")),
    });
    told.collect::<Vec<_>>().join(", ")
}

/// The numbers that a list answers under a filter.
fn numbers(api: &Api, list: &str, kind: &str, filter: &Value) -> String {
    let document =
        format!("query($filter: {kind}!) {{ {list}(filter: $filter) {{ nodes {{ number }} }} }}");
    let found = api.data(&document, json!({ "filter": filter }));
    numbers_of(&found[list])
}

/// The numbers on a page.
fn numbers_of(page: &Value) -> String {
    let nodes = page["nodes"].as_array().expect("nodes").iter();
    let numbers = nodes.filter_map(|node| node["number"].as_str());
    numbers.collect::<Vec<_>>().join(" ")
}

fn tomorrow() -> String {
    today().succ_opt().expect("a day").to_string()
}

#[test]
fn an_account_closes_once_on_a_day_that_fits_it() {
    let api = Company::new().admin();
    let now = today().to_string();
    let close = |on: Option<String>| {
        let document = "mutation($on: Date) { closeClient(client: { number: \"C001\" }, closedOn: $on) { client { closedOn } userErrors { code field } } }";
        api.data(document, json!({ "on": on }))["closeClient"].take()
    };
    api.client("C001");
    api.invoice("C001", "FA-1", &now, &now, ("10.00", "0"));
    refused(&close(None), "WRONG_STATE client");
    api.payment("C001", "RG-1", &now, "10.00");
    api.allocate(&now, &[("FA-1", "RG-1", "10.00")]);
    // Not before what is posted on it, nor on a day to come.
    refused(&close(Some(ago(1))), "INVALID closedOn");
    refused(&close(Some(tomorrow())), "INVALID closedOn");
    assert_eq!(done(&close(None))["closedOn"], now);
    refused(&close(None), "WRONG_STATE client");
    let input = json!({ "client": { "number": "C001" }, "lines": [line("10.00", "20", None)] });
    api.refused("IssueInvoice", input.clone(), "WRONG_STATE", &["client"]);
    let mut free = input.clone();
    free["reason"] = json!("geste");
    let credited = mutate(&api, "issueCreditNote", free, "creditNote { number }");
    refused(&credited, "WRONG_STATE client");
    // Closed by mistake, it is opened again.
    let open = json!({ "client": { "number": "C001" }, "clear": ["CLOSED_ON"] });
    let open = done(&mutate(&api, "updateClient", open, "client { closedOn }"));
    assert_eq!(open["closedOn"], Value::Null);
    api.make("IssueInvoice", input);
}

#[test]
fn a_siret_has_its_check_digit_and_begins_with_the_siren() {
    let api = Company::new().admin();
    let create = |number: &str, siret: &str| {
        let input = json!({ "number": number, "name": "Atelier", "siret": siret });
        mutate(&api, "createClient", input, "client { siren siret }")
    };
    let both = |siren: &str, siret: &str| json!({ "siren": siren, "siret": siret });
    let made = done(&create("C001", "732 829 320 00074"));
    assert_eq!(made, both("732829320", "73282932000074"));
    for wrong in ["73282932000075", "732829320", ""] {
        refused(&create("C003", wrong), "INVALID siret");
    }
    let update = |mut input: Value| {
        input["client"] = json!({ "number": "C001" });
        mutate(&api, "updateClient", input, "client { siren siret }")
    };
    let moved = both("443061841", "44306184100047");
    let siret = json!({ "siret": moved["siret"] });
    refused(&update(siret), "INVALID siret");
    // The SIREN alone would leave the establishment of another company.
    let siren = json!({ "siren": moved["siren"] });
    refused(&update(siren), "INVALID siren");
    assert_eq!(done(&update(moved.clone())), moved);
}

#[test]
fn clients_are_found_by_insolvency_and_by_open_items() {
    let api = Company::new().admin();
    let on = day("02-01");
    let set = |number: &str, mut input: Value| {
        input["client"] = json!({ "number": number });
        let fields = "client { insolvencyOn creditInsurance { percent limit } }";
        mutate(&api, "setCreditTerms", input, fields)
    };
    for number in ["C001", "C002", "C003"] {
        api.client(number);
        api.payment(number, &format!("RG-{number}"), &on, "10.00");
    }
    let judged = json!({ "insolvency": "RECEIVERSHIP", "insolvencyOn": on });
    done(&set("C001", judged));
    // The day alone puts the day right, and there is none without proceedings.
    let day_alone = json!({ "insolvencyOn": day("01-15") });
    let judged = done(&set("C001", day_alone.clone()));
    assert_eq!(judged["insolvencyOn"], day("01-15"));
    refused(&set("C002", day_alone), "INVALID insolvencyOn");
    let cover = json!({ "insuredPercent": "90", "insuredLimit": "5000.00" });
    let insured = done(&set("C002", cover))["creditInsurance"].take();
    assert_eq!(insured, json!({ "percent": "90", "limit": "5000.00" }));
    api.invoice("C003", "FA-1", &on, &day("03-03"), ("10.00", "0"));
    api.allocate(&on, &[("FA-1", "RG-C003", "10.00")]);
    for (filter, expected) in [
        (json!({ "insolvent": true }), "C001"),
        (json!({ "insolvent": false }), "C002 C003"),
        (json!({ "hasOpenItems": true }), "C001 C002"),
        (json!({ "hasOpenItems": false }), "C003"),
        (json!({ "insolvent": false, "hasOpenItems": true }), "C002"),
    ] {
        let found = numbers(&api, "clients", "ClientFilter", &filter);
        assert_eq!(found, expected, "{filter}");
    }
}

/// Writes a draft, new or changed.
fn draft(api: &Api, client: &str, mut input: Value) -> Value {
    input["client"] = json!({ "number": client });
    let fields = "draft { id updatedBy totals { net vat total } }";
    mutate(api, "saveInvoiceDraft", input, fields)
}

#[test]
fn a_draft_is_free_to_change_until_it_is_issued_r9_2() {
    let company = Company::new();
    let api = company.admin();
    let (accountant, _) = company.as_member("AR_ACCOUNTANT");
    api.client("C001");
    api.client("C002");
    let lines = json!({ "lines": [line("100.00", "20", None)] });
    let written = done(&draft(&api, "C001", lines));
    assert_eq!(written["updatedBy"], "script");
    let change = json!({ "draft": written["id"], "issuedOn": day("03-02"), "periodic": true, "purchaseOrder": "BC-9", "lines": [line("100.00", "20", Some("10"))] });
    let changed = done(&draft(&accountant, "C002", change.clone()));
    let totals = json!({ "net": "90.00", "vat": "18.00", "total": "108.00" });
    assert_eq!(
        (&changed["id"], &changed["totals"]),
        (&written["id"], &totals)
    );
    let by = changed["updatedBy"].as_str().expect("who changed it");
    assert!(by.ends_with("@example.com"), "{by}");
    let document = "{ invoiceDrafts { totalCount } journalEntries { totalCount } }";
    let expected =
        json!({ "invoiceDrafts": { "totalCount": 1 }, "journalEntries": { "totalCount": 0 } });
    assert_eq!(api.data(document, json!({})), expected);
    let delete = |api: &Api| {
        let document = "mutation($id: ID!) { deleteInvoiceDraft(draft: $id) { draft { id } userErrors { code field } } }";
        api.data(document, json!({ "id": written["id"] }))["deleteInvoiceDraft"].take()
    };
    refused(&delete(&Company::new().admin()), "NOT_FOUND draft");
    let issue = || {
        let fields = "invoice { dueOn purchaseOrder total client { number } }";
        let input = json!({ "draft": written["id"] });
        mutate(&api, "issueInvoice", input, fields)
    };
    let expected = json!({ "dueOn": day("04-01"), "purchaseOrder": "BC-9", "total": "108.00", "client": { "number": "C002" } });
    assert_eq!(done(&issue()), expected);
    // From then on there is no draft.
    for payload in [issue(), draft(&api, "C002", change), delete(&api)] {
        refused(&payload, "NOT_FOUND draft");
    }
}

#[test]
fn beside_a_draft_nothing_but_its_day_is_given() {
    let api = Company::new().admin();
    api.client("C001");
    let lines = json!({ "lines": [line("100.00", "20", None)] });
    let id = done(&draft(&api, "C001", lines))["id"].take();
    let others = json!({ "number": "WEB-1", "purchaseOrder": "BC-9", "dueOn": day("04-15"), "periodic": true, "lines": [line("1.00", "20", None)] });
    for (name, value) in others.as_object().expect("fields") {
        let input =
            json!({ "draft": id, "issuedOn": day("03-05"), name: value, "validateOnly": true });
        let answer = mutate(&api, "issueInvoice", input, "invoice { number }");
        refused(&answer, &format!("INVALID {name}"));
    }
}

#[test]
fn a_line_has_its_discount_and_each_rate_its_vat_r0_3() {
    let api = Company::new().admin();
    api.client("C001");
    let issue = |lines: Value| {
        let input = json!({ "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("03-01"), "lines": lines });
        let fields = "invoice { total vatShares { rate net vat } lines { discountPercent net } }";
        mutate(&api, "issueInvoice", input, fields)
    };
    for wrong in ["-0.01", "100.01", "1.00001"] {
        let answer = issue(json!([line("100", "20", Some(wrong))]));
        refused(&answer, "INVALID lines.0.discountPercent");
    }
    // 99.99 less 33.333 % is 66.660…
    let discounted = line("99.99", "20", Some("33.333"));
    let invoice = done(&issue(json!([discounted, line("30", "5.5", None)])));
    let share = |rate: &str, net: &str, vat: &str| json!({ "rate": rate, "net": net, "vat": vat });
    let shares = [share("5.5", "30.00", "1.65"), share("20", "66.66", "13.33")];
    let lines = json!([{ "discountPercent": "33.333", "net": "66.66" }, { "discountPercent": "0", "net": "30.00" }]);
    let expected = json!({ "total": "111.64", "vatShares": shares, "lines": lines });
    assert_eq!(invoice, expected);
    // 50.00 of 111.64 is 14.18 at 5.5 % and 35.82 at 20 %.
    let input = json!({ "invoice": { "number": "FA-1" }, "amount": "50.00" });
    let fields = "creditNote { vatShares { rate net vat } }";
    let credited = done(&mutate(&api, "issueCreditNote", input, fields));
    let shares = [share("5.5", "13.44", "0.74"), share("20", "29.85", "5.97")];
    assert_eq!(credited["vatShares"], json!(shares));
}

#[test]
fn due_dates_keep_to_the_terms_and_to_the_law_r6_2() {
    let api = Company::new().admin();
    let open = |number: &str, days: i32, then_day: Option<i32>| {
        let terms = json!({ "rule": "DAYS_THEN_EOM", "days": days, "thenDay": then_day });
        let input = json!({ "number": number, "name": number, "paymentTerms": terms });
        mutate(&api, "createClient", input, "client { number }")
    };
    done(&open("C10", 30, Some(10)));
    done(&open("C15", 30, Some(15)));
    done(&open("C28", 0, Some(28)));
    done(&open("C45", 45, None));
    for (days, then_day) in [(30, Some(16)), (46, None)] {
        let answer = open("C99", days, then_day);
        refused(&answer, "TERMS_UNLAWFUL paymentTerms");
    }
    let issue = |client: &str, issued: &str, periodic: Option<&str>| {
        let input = json!({ "client": { "number": client }, "number": format!("{client}-{issued}"), "issuedOn": day(issued),
            "dueOn": periodic.map(day), "periodic": periodic.is_some(), "lines": [line("10.00", "20", None)] });
        mutate(&api, "issueInvoice", input, "invoice { dueOn }")
    };
    for (client, issued, due) in [
        ("C10", "04-17", "06-10"),
        ("C28", "01-05", "02-28"),
        ("C28", "01-31", "02-28"),
        ("C45", "04-16", "05-31"),
        ("C45", "04-17", "06-30"),
        ("C15", "07-01", "08-15"),
    ] {
        let invoice = done(&issue(client, issued, None));
        assert_eq!(invoice["dueOn"], day(due), "{client} {issued}");
    }
    // A day later the terms give 15 September. A periodic invoice has 45 days.
    let late = issue("C15", "07-02", None);
    let periodic = issue("C45", "03-01", Some("04-16"));
    for (answer, latest) in [(late, "09-14"), (periodic, "04-15")] {
        refused(&answer, "TERMS_UNLAWFUL dueOn");
        let details = &answer["userErrors"][0]["details"];
        assert_eq!(details["latest"], day(latest));
    }
    done(&issue("C45", "03-01", Some("04-15")));
}

#[test]
fn the_payer_of_a_receipt_is_named_later() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    let receipt = format!("payment {{ client {{ number }} unallocated {ENTRIES} }}");
    let receive = |number: &str, on: &str, method: &str| {
        let matures_on = (method == "BILL").then(|| day("04-30"));
        let input = json!({ "payer": "SARL X", "number": number, "receivedOn": day(on), "method": method, "amount": "50.00", "maturesOn": matures_on });
        mutate(&api, "recordPayment", input, &receipt)
    };
    let made = done(&receive("RG-1", "03-05", "TRANSFER"));
    assert_eq!(made["client"], Value::Null);
    assert_eq!(posted(&made), "512000 50.00, 471000 -50.00");
    done(&receive("RG-2", "03-06", "CHEQUE"));
    // A bill has a drawee: none could be named later.
    refused(&receive("RG-9", "03-06", "BILL"), "INVALID client");
    api.payment("C001", "RG-3", &day("03-07"), "10.00");
    let sixth = day("03-06");
    for (filter, expected) in [
        (json!({ "unknownPayer": true }), "RG-2 RG-1"),
        (json!({ "unknownPayer": false }), "RG-3"),
        (json!({ "methods": ["CHEQUE", "CARD"] }), "RG-2"),
        (json!({ "receivedFrom": sixth }), "RG-3 RG-2"),
        (json!({ "receivedTo": sixth }), "RG-2 RG-1"),
    ] {
        let found = numbers(&api, "payments", "PaymentFilter", &filter);
        assert_eq!(found, expected, "{filter}");
    }
    let name = |number: &str, on: &str| {
        let input = json!({ "payment": { "number": number }, "client": { "number": "C001" }, "identifiedOn": day(on) });
        mutate(&api, "identifyPayment", input, &receipt)
    };
    refused(&name("RG-1", "03-04"), "INVALID identifiedOn");
    let named = done(&name("RG-1", "03-20"));
    assert_eq!(named["unallocated"], "50.00");
    assert!(posted(&named).ends_with(", 471000 50.00, 411000 -50.00"));
    for known in ["RG-1", "RG-3"] {
        refused(&name(known, "03-21"), "WRONG_STATE payment");
    }
    // It is one of the client's, also for whoever sees their own clients alone.
    let (sales, user) = company.as_member("SALES");
    let seen = |api: &Api| {
        let lists = "clients { nodes { payments { totalCount nodes { number } } } } payments { totalCount }";
        let found = api.data(&format!("{{ {lists} }}"), json!({}));
        let of_client = &found["clients"]["nodes"][0]["payments"];
        let count = [&of_client["totalCount"], &found["payments"]["totalCount"]];
        (
            count.map(Value::as_u64),
            of_client["nodes"].is_array().then(|| numbers_of(of_client)),
        )
    };
    assert_eq!(seen(&sales), ([None, Some(0)], None));
    own(&api, "C001", &user);
    let both = || Some("RG-3 RG-1".to_owned());
    assert_eq!(seen(&api), ([Some(2), Some(3)], both()));
    assert_eq!(seen(&sales), ([Some(2), Some(2)], both()));
    let client = api.data("{ client(ref: { number: \"C001\" }) { id } }", json!({}));
    let table = api.fetch("/export/payments.csv").text;
    let row = table
        .lines()
        .find(|row| row.contains("RG-1"))
        .expect("a row");
    assert!(row.contains("C001"), "{row}");
    let held = api.data(
        "query($id: ID!) { personalData(subject: { client: $id }) }",
        json!({ "id": client["client"]["id"] }),
    );
    let receipts = held["personalData"]["payments"]
        .as_array()
        .expect("receipts");
    assert!(
        receipts.len() == 2 && receipts[0]["payer"] == "SARL X",
        "{receipts:?}"
    );
    // It counts from the day it was named for.
    for (on, total) in [("03-19", "-10.00"), ("03-20", "-60.00")] {
        assert_eq!(api.account("C001", &day(on)).0["total"], total);
    }
    api.sound();
}

#[test]
fn a_deposit_is_used_from_its_day_on_and_taken_back_whole_r2_4() {
    let api = Company::new().admin();
    api.client("C001");
    let deposit = json!({ "client": { "number": "C001" }, "number": "AC-1", "receivedOn": day("05-01"), "method": "TRANSFER", "amount": "240.00", "deposit": { "vatRate": "20" } });
    let kept = "payment { isDeposit unusedDeposit unallocated }";
    let left =
        |unused: &str| json!({ "isDeposit": true, "unusedDeposit": unused, "unallocated": "0.00" });
    let received = mutate(&api, "recordPayment", deposit, kept);
    assert_eq!(done(&received), left("240.00"));
    let invoice = json!({ "client": { "number": "C001" }, "number": "FA-1", "issuedOn": day("05-10"), "vatDue": "RECEIPTS", "lines": [line("1000.00", "20", None)] });
    api.make("IssueInvoice", invoice);
    let operation = format!("operation {{ number {kept} }}");
    let used = |on: &str| {
        let input = json!({ "deposit": { "number": "AC-1" }, "invoice": { "number": "FA-1" }, "on": day(on) });
        mutate(&api, "useDeposit", input, &operation)
    };
    // Neither before the money came nor before the invoice.
    refused(&used("04-30"), "INVALID on");
    refused(&used("05-09"), "INVALID on");
    let first = done(&used("05-10"));
    assert_eq!(first["payment"], left("0.00"));
    let input = json!({ "operation": { "number": first["number"] }, "on": day("05-14"), "reason": "Erreur" });
    let back = done(&mutate(&api, "reverseOperation", input, &operation));
    assert_eq!(back["payment"], left("240.00"));
    done(&used("05-15"));
    api.payment("C001", "RG-1", &day("06-01"), "960.00");
    api.allocate(&day("06-01"), &[("FA-1", "RG-1", "960.00")]);
    // All is paid: the whole VAT is due, nothing of it waits.
    let document = "query($on: Date) { trialBalance(asOf: $on) { rows { account closing } } }";
    let found = api.data(document, json!({ "on": day("06-30") }));
    let rows = found["trialBalance"]["rows"].as_array().expect("rows");
    let vat = rows.iter().find(|row| row["account"] == "445710");
    assert_eq!(vat.expect("the account")["closing"], "-200.00");
    api.sound();
}

#[test]
fn no_more_is_diverted_than_was_assigned() {
    let api = Company::new().admin();
    api.client("C001");
    let (issued, due) = (day("02-01"), day("03-03"));
    api.invoice("C001", "FA-1", &issued, &due, ("10000.00", "20"));
    let input = json!({ "invoice": { "number": "FA-1" }, "factor": "Factor SA", "withRecourse": true, "on": day("02-10") });
    let fields = "operation { number }";
    let assigned = done(&mutate(&api, "assignInvoice", input, fields));
    let fields = format!("operation {{ kind amount {ENTRIES} }}");
    let divert = |amount: &str, on: &str| {
        let input = json!({ "assignment": assigned, "amount": amount, "on": day(on) });
        mutate(&api, "recordDivertedPayment", input, &fields)
    };
    refused(&divert("1.00", "02-09"), "INVALID on");
    refused(&divert("0.00", "03-01"), "INVALID amount");
    refused(&divert("12000.01", "03-01"), "OVER_ALLOCATION amount");
    let diverted = done(&divert("5000.00", "03-01"));
    assert_eq!(diverted["kind"], "FACTOR_DIVERTED");
    assert_eq!(posted(&diverted), "512000 5000.00, 467100 -5000.00");
    refused(&divert("7000.01", "03-02"), "OVER_ALLOCATION amount");
    // The claim that came back is ours again: what the client pays is no longer the factor's.
    let document = "mutation($input: FactorStepInput!) { recordRecourse(input: $input) { operation { number } userErrors { code field } } }";
    let input = json!({ "operation": assigned, "on": day("04-01") });
    api.done(document, json!({ "input": input }));
    refused(&divert("7.00", "04-02"), "WRONG_STATE assignment");
}

#[test]
fn discounted_bills_mature_once_on_their_day_r2_2() {
    let api = Company::new().admin();
    api.client("C001");
    let (came, now) = (ago(1), today().to_string());
    for (number, matures_on) in [("LCR-1", &came), ("LCR-2", &now)] {
        let bill = json!({ "client": { "number": "C001" }, "number": number, "receivedOn": came, "method": "BILL", "maturesOn": matures_on, "amount": "100.00" });
        api.make("RecordPayment", bill);
    }
    let input = json!({ "kind": "BILLS_FOR_DISCOUNT", "payments": [{ "number": "LCR-1" }, { "number": "LCR-2" }], "remittedOn": came });
    let fields = "remittance { number }";
    let slip = done(&mutate(&api, "handIn", input, fields));
    let mature = |through: Option<String>| {
        let document = format!(
            "mutation($through: Date) {{ recordBillMaturities(through: $through) {{ operations {{ happenedOn payment {{ number }} {ENTRIES} }} userErrors {{ code field }} }} }}"
        );
        api.data(&document, json!({ "through": through }))["recordBillMaturities"].take()
    };
    // The bank has not paid them yet.
    assert_eq!(done(&mature(None)), json!([]));
    let input = json!({ "remittance": slip, "creditedOn": came });
    done(&mutate(&api, "creditRemittance", input, fields));
    refused(&mature(Some(tomorrow())), "INVALID through");
    let document =
        "mutation($on: Date!) { closePeriod(through: $on) { company { id } userErrors { code } } }";
    api.done(document, json!({ "on": came }));
    let first = single(done(&mature(Some(came.clone()))));
    assert_eq!(first["payment"]["number"], "LCR-1");
    assert_eq!(posted(&first), "801400 100.00, 802400 -100.00");
    // Its day is closed: the entry stands on the first open one.
    let entry = &first["entries"][0];
    let days = json!([first["happenedOn"], entry["occurredOn"], entry["postedOn"]]);
    assert_eq!(days, json!([came, came, now]));
    assert_eq!(single(done(&mature(None)))["payment"]["number"], "LCR-2");
    assert_eq!(done(&mature(None)), json!([]));
    api.sound();
}

#[test]
fn proposals_follow_the_order_of_the_law_r3_8() {
    let api = Company::new().admin();
    api.client("C001");
    for (number, due) in [
        ("FA-0001", ago(20)),
        ("FA-0002", ago(10)),
        ("FA-0003", tomorrow()),
    ] {
        api.invoice("C001", number, &ago(30), &due, ("100.00", "0"));
    }
    let note = json!({ "invoice": { "number": "FA-0002" }, "number": "AV-1", "issuedOn": ago(9), "amount": "40.00", "allocate": false });
    api.make("IssueCreditNote", note);
    let named = json!({ "client": { "number": "C001" }, "number": "RG-1", "receivedOn": ago(8), "method": "TRANSFER", "amount": "30.00", "remittance": "VIR FA-0003 merci" });
    api.make("RecordPayment", named);
    api.payment("C001", "RG-2", &ago(7), "175.00");
    let document = "{ matchingProposals(client: { number: \"C001\" }) { debit { reference } credit { reference } amount rule } }";
    let found = api.data(document, json!({}));
    let proposals = found["matchingProposals"].as_array().expect("proposals");
    let told = proposals.iter().map(|it| {
        json!([
            it["debit"]["reference"],
            it["credit"]["reference"],
            it["amount"],
            it["rule"]
        ])
    });
    let expected = json!([
        ["FA-0002", "AV-1", "40.00", "CREDIT_NOTE_REFERENCE"],
        ["FA-0003", "RG-1", "30.00", "DEBTOR_INDICATION"],
        ["FA-0001", "RG-2", "100.00", "DUE_OLDEST_FIRST"],
        ["FA-0002", "RG-2", "60.00", "DUE_OLDEST_FIRST"],
        ["FA-0003", "RG-2", "15.00", "NOT_DUE_OLDEST_FIRST"]
    ]);
    assert_eq!(Value::from_iter(told), expected);
}

#[test]
fn money_on_account_pays_a_doubtful_claim_r13_4() {
    let company = Company::new();
    let api = company.admin();
    api.client("C001");
    api.invoice("C001", "FA-1", &ago(60), &ago(30), ("1000.00", "20"));
    let input = json!({ "client": { "number": "C001" }, "reason": "Impayé", "evidence": ["jugement"], "on": ago(20) });
    let file = done(&mutate(&api, "proposeDoubtful", input, "file { number }"));
    let input = json!({ "file": file, "approve": true });
    done(&mutate(
        &api,
        "decideDoubtfulFile",
        input,
        "file { number }",
    ));
    api.payment("C001", "RG-1", &ago(10), "500.00");
    let fields = format!("operation {{ {ENTRIES} }}");
    let transfer = |doubtful: bool, amount: &str, on: u64| {
        let input = json!({ "credit": { "number": "RG-1" }, "to": { "number": "C001" }, "doubtful": doubtful, "amount": amount, "on": ago(on), "reason": "Créance douteuse" });
        mutate(&api, "transferCredit", input, &fields)
    };
    refused(&transfer(false, "300.00", 9), "INVALID to");
    refused(&transfer(true, "500.01", 9), "OVER_ALLOCATION amount");
    // The money cannot move before it came.
    refused(&transfer(true, "300.00", 11), "INVALID on");
    let moved = done(&transfer(true, "300.00", 9));
    assert_eq!(posted(&moved), "411000 300.00, 416000 -300.00");
    let input = json!({ "client": { "number": "C001" }, "allocatedOn": ago(9) });
    let fields = "allocations { id amount endedBy debit { kind open } }";
    let mut matched = single(done(&mutate(&api, "autoAllocate", input, fields)));
    let id = matched["id"].take();
    let debit = json!({ "kind": "DOUBTFUL", "open": "900.00" });
    let expected = json!({ "id": null, "amount": "300.00", "endedBy": null, "debit": debit });
    assert_eq!(matched, expected);
    // Who ended it is kept beside who made it (R3.7).
    let (accountant, _) = company.as_member("AR_ACCOUNTANT");
    let input = json!({ "allocation": id, "reason": "Autre créance" });
    let fields = "allocation { recordedBy endedBy endedReason }";
    let ended = done(&mutate(&accountant, "unallocate", input, fields));
    let made = json!([ended["recordedBy"], ended["endedReason"]]);
    assert_eq!(made, json!(["script", "Autre créance"]));
    let by = ended["endedBy"].as_str().expect("who ended it");
    assert!(by.ends_with("@example.com"), "{by}");
}
