//! Drafts, lines and due dates of invoices; accounts that close; receipts whose payer is unknown; deposits, bills,
//! factored claims and money on account.

use serde_json::{Value, json};

use crate::desk::{ago, mutate};
use crate::harness::{Api, Company, day, single, today};

/// A payload that was refused for one reason: its code and the path of the input.
#[track_caller]
fn refused(payload: &Value, code: &str, field: &[&str]) {
    let error = single(payload["userErrors"].clone());
    let told = json!([error["code"], error["field"]]);
    assert_eq!(told, json!([code, field]), "{payload}");
}

/// A part of the payload of what was done.
#[track_caller]
fn done(mut payload: Value, part: &str) -> Value {
    assert_eq!(payload["userErrors"], json!([]), "{payload}");
    payload[part].take()
}

/// A line of one piece, with its discount.
fn line(price: &str, vat_rate: &str, discount: Option<&str>) -> Value {
    json!({ "description": "Vitrine", "quantity": "1", "unitPrice": price, "vatRate": vat_rate, "discountPercent": discount })
}

/// The accounts of an operation's entries: number, debit, credit.
fn legs(operation: &Value) -> Vec<[&str; 3]> {
    let entries = operation["entries"].as_array().expect("entries");
    let lines = entries.iter().flat_map(|entry| entry["lines"].as_array());
    let told = |line: &'_ Value| line.clone();
    let _ = told;
    lines
        .flatten()
        .map(|line| ["account", "debit", "credit"].map(|name| line[name].as_str().unwrap_or("")))
        .collect()
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
    refused(&close(None), "WRONG_STATE", &["client"]);
    api.payment("C001", "RG-1", &now, "10.00");
    api.allocate(&now, &[("FA-1", "RG-1", "10.00")]);
    // Not before what is posted on it, nor on a day to come.
    refused(&close(Some(ago(1))), "INVALID", &["closedOn"]);
    let tomorrow = today().succ_opt().expect("a day");
    let early = close(Some(tomorrow.to_string()));
    refused(&early, "INVALID", &["closedOn"]);
    assert_eq!(done(close(None), "client")["closedOn"], now);
    refused(&close(None), "WRONG_STATE", &["client"]);
    let input = json!({ "client": { "number": "C001" }, "lines": [line("10.00", "20", None)] });
    api.refused("IssueInvoice", input, "WRONG_STATE", &["client"]);
}

#[test]
fn a_siret_has_its_check_digit_and_begins_with_the_siren() {
    let api = Company::new().admin();
    let create = |number: &str, siret: &str| {
        let input = json!({ "number": number, "name": "Atelier", "siret": siret });
        mutate(&api, "createClient", input, "client { siren siret }")
    };
    let both = |siren: &str, siret: &str| json!({ "siren": siren, "siret": siret });
    let made = done(create("C001", "732 829 320 00074"), "client");
    assert_eq!(made, both("732829320", "73282932000074"));
    // La Poste numbers its establishments with a rule of its own.
    done(create("C002", "35600000009075"), "client");
    for wrong in ["73282932000075", "732829320", "7328293200007X", ""] {
        refused(&create("C003", wrong), "INVALID", &["siret"]);
    }
    let update = |mut input: Value| {
        input["client"] = json!({ "number": "C001" });
        mutate(&api, "updateClient", input, "client { siren siret }")
    };
    let moved = both("443061841", "44306184100047");
    let siret = update(json!({ "siret": moved["siret"] }));
    refused(&siret, "INVALID", &["siret"]);
    // The SIREN alone would leave the establishment of another company.
    let siren = update(json!({ "siren": moved["siren"] }));
    refused(&siren, "INVALID", &["siren"]);
    assert_eq!(done(update(moved.clone()), "client"), moved);
    let cleared = done(update(json!({ "clear": ["SIREN"] })), "client");
    assert_eq!(cleared, json!({ "siren": null, "siret": null }));
}

#[test]
fn clients_are_found_by_insolvency_and_by_open_items() {
    let api = Company::new().admin();
    for number in ["C001", "C002", "C003"] {
        api.client(number);
    }
    let set = |number: &str, mut input: Value| {
        input["client"] = json!({ "number": number });
        let fields = "client { insolvencyOn creditInsurance { percent limit } }";
        mutate(&api, "setCreditTerms", input, fields)
    };
    let judged = json!({ "insolvency": "RECEIVERSHIP", "insolvencyOn": day("02-01") });
    done(set("C001", judged), "client");
    // The day alone puts the day right, and there is none without proceedings.
    let day_alone = json!({ "insolvencyOn": day("01-15") });
    let judged = done(set("C001", day_alone.clone()), "client");
    assert_eq!(judged["insolvencyOn"], day("01-15"));
    refused(&set("C002", day_alone), "INVALID", &["insolvencyOn"]);
    let cover = json!({ "percent": "90", "limit": "5000.00" });
    let bare = set("C002", json!({ "insuredLimit": cover["limit"] }));
    refused(&bare, "INVALID", &["insuredPercent"]);
    let insured = json!({ "insuredPercent": cover["percent"], "insuredLimit": cover["limit"] });
    let insured = done(set("C002", insured), "client");
    assert_eq!(insured["creditInsurance"], cover);
    api.payment("C002", "RG-1", &day("02-01"), "10.00");
    let (issued, due) = (day("02-01"), day("03-03"));
    api.invoice("C003", "FA-1", &issued, &due, ("10.00", "0"));
    api.payment("C003", "RG-2", &issued, "10.00");
    api.allocate(&issued, &[("FA-1", "RG-2", "10.00")]);
    for (insolvent, open, numbers) in [
        (json!(true), Value::Null, vec!["C001"]),
        (json!(false), Value::Null, vec!["C002", "C003"]),
        (Value::Null, json!(true), vec!["C002"]),
        (Value::Null, json!(false), vec!["C001", "C003"]),
        (json!(false), json!(false), vec!["C003"]),
    ] {
        let found = api.data(
            "query($filter: ClientFilter!) { clients(filter: $filter) { nodes { number } } }",
            json!({ "filter": { "insolvent": insolvent, "hasOpenItems": open } }),
        );
        let nodes: Vec<Value> = numbers.iter().map(|it| json!({ "number": it })).collect();
        assert_eq!(found["clients"]["nodes"], json!(nodes), "{insolvent} {open}");
    }
}

/// Writes a draft, new or changed.
fn draft(api: &Api, client: &str, mut input: Value) -> Value {
    input["client"] = json!({ "number": client });
    let fields = "draft { id updatedBy totals { net vat total currency } }";
    mutate(api, "saveInvoiceDraft", input, fields)
}

#[test]
fn a_draft_is_free_to_change_until_it_is_issued_r9_2() {
    let company = Company::new();
    let api = company.admin();
    let (accountant, id) = company.as_member("AR_ACCOUNTANT");
    api.client("C001");
    api.client("C002");
    let lines = json!({ "lines": [line("100.00", "20", None)] });
    let written = done(draft(&api, "C001", lines), "draft");
    assert_eq!(written["totals"]["total"], "120.00");
    let change = json!({ "draft": written["id"], "issuedOn": day("03-02"), "periodic": true, "purchaseOrder": "BC-9",
        "lines": [line("100.00", "20", Some("10"))] });
    let changed = done(draft(&accountant, "C002", change.clone()), "draft");
    assert_eq!(
        changed["totals"],
        json!({ "net": "90.00", "vat": "18.00", "total": "108.00", "currency": "EUR" })
    );
    let found = api.data(
        "{ members { id email } invoiceDrafts { totalCount } invoices { totalCount } journalEntries { totalCount } }",
        json!({}),
    );
    let members = found["members"].as_array().expect("members");
    let author = members.iter().find(|member| member["id"] == id);
    assert_eq!(changed["updatedBy"], author.expect("a member")["email"]);
    let counts = ["invoiceDrafts", "invoices", "journalEntries"];
    assert_eq!(counts.map(|list| found[list]["totalCount"].clone()), [1, 0, 0]);
    let delete = |api: &Api| {
        let document = "mutation($id: ID!) { deleteInvoiceDraft(draft: $id) { draft { id } userErrors { code field } } }";
        api.data(document, json!({ "id": written["id"] }))["deleteInvoiceDraft"].take()
    };
    let stranger = Company::new().admin();
    refused(&delete(&stranger), "NOT_FOUND", &["draft"]);
    let issue = || {
        let fields = "invoice { issuedOn dueOn purchaseOrder total client { number } }";
        let input = json!({ "draft": written["id"] });
        mutate(&api, "issueInvoice", input, fields)
    };
    assert_eq!(
        done(issue(), "invoice"),
        json!({ "issuedOn": day("03-02"), "dueOn": day("04-01"), "purchaseOrder": "BC-9", "total": "108.00", "client": { "number": "C002" } })
    );
    // From then on there is no draft.
    for payload in [issue(), draft(&api, "C002", change), delete(&api)] {
        refused(&payload, "NOT_FOUND", &["draft"]);
    }
    let lines = json!({ "lines": [line("100.00", "20", None)] });
    let id = done(draft(&api, "C001", lines), "draft")["id"].take();
    // What stands beside a draft would not count: nothing but its day may.
    for (name, value) in [
        ("purchaseOrder", json!("BC-9")),
        ("dueOn", json!(day("04-15"))),
        ("periodic", json!(true)),
        ("lateEntry", json!(true)),
    ] {
        let mut input = json!({ "draft": id, "issuedOn": day("03-05"), "validateOnly": true });
        input[name] = value;
        let beside = mutate(&api, "issueInvoice", input, "invoice { number }");
        refused(&beside, "INVALID", &[name]);
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
        refused(&answer, "INVALID", &["lines", "0", "discountPercent"]);
    }
    let (discounted, plain) = (line("99.99", "20", Some("33.333")), line("30", "5.5", None));
    let lines = json!([discounted, plain, line("100", "0", None)]);
    let share = |rate: &str, net: &str, vat: &str| json!({ "rate": rate, "net": net, "vat": vat });
    // 99.99 less 33.333 % is 66.660…
    assert_eq!(
        done(issue(lines), "invoice"),
        json!({
            "total": "211.64",
            "vatShares": [share("0", "100.00", "0.00"), share("5.5", "30.00", "1.65"), share("20", "66.66", "13.33")],
            "lines": [{ "discountPercent": "33.333", "net": "66.66" }, { "discountPercent": "0", "net": "30.00" }, { "discountPercent": "0", "net": "100.00" }],
        })
    );
    // 100.00 of 211.64 is 47.25 at 0 %, 14.95 at 5.5 % and 37.80 at 20 %.
    let input = json!({ "invoice": { "number": "FA-1" }, "amount": "100.00" });
    let fields = "creditNote { vatShares { rate net vat } }";
    let credited = mutate(&api, "issueCreditNote", input, fields);
    assert_eq!(
        done(credited, "creditNote")["vatShares"],
        json!([share("0", "47.25", "0.00"), share("5.5", "14.17", "0.78"), share("20", "31.50", "6.30")])
    );
}

#[test]
fn due_dates_keep_to_the_terms_and_to_the_law_r6_2() {
    let api = Company::new().admin();
    let open = |number: &str, days: i32, then_day: Option<i32>| {
        let terms = json!({ "rule": "DAYS_THEN_EOM", "days": days, "thenDay": then_day });
        let input = json!({ "number": number, "name": number, "paymentTerms": terms });
        mutate(&api, "createClient", input, "client { number }")
    };
    for (number, days, then_day) in [("C10", 30, Some(10)), ("C15", 30, Some(15)), ("C28", 0, Some(28)), ("C45", 45, None)] {
        done(open(number, days, then_day), "client");
    }
    for (days, then_day, code) in [(30, Some(16), "TERMS_UNLAWFUL"), (46, None, "TERMS_UNLAWFUL"), (0, Some(29), "INVALID")] {
        refused(&open("C99", days, then_day), code, &["paymentTerms"]);
    }
    let issue = |client: &str, issued: &str, due: Option<&str>| {
        // Only a periodic invoice is given its due date.
        let input = json!({ "client": { "number": client }, "number": format!("{client}-{issued}"), "issuedOn": day(issued),
            "dueOn": due.map(day), "periodic": due.is_some(), "lines": [line("10.00", "20", None)] });
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
        let invoice = done(issue(client, issued, None), "invoice");
        assert_eq!(invoice["dueOn"], day(due), "{client} {issued}");
    }
    // A day later the terms give 15 September, the law 14 September. A periodic invoice has 45 days.
    for (answer, latest) in [
        (issue("C15", "07-02", None), "09-14"),
        (issue("C45", "03-01", Some("04-16")), "04-15"),
    ] {
        refused(&answer, "TERMS_UNLAWFUL", &["dueOn"]);
        let details = &answer["userErrors"][0]["details"];
        assert_eq!(details["latest"], day(latest), "{answer}");
    }
    done(issue("C45", "03-01", Some("04-15")), "invoice");
}

const ENTRIES: &str = "entries { postedOn occurredOn lines { account debit credit } }";

#[test]
fn the_payer_of_a_receipt_is_named_later() {
    let api = Company::new().admin();
    api.client("C001");
    let receive = |number: &str, on: &str, method: &str| {
        let input = json!({ "payer": "SARL MYSTERE", "number": number, "receivedOn": day(on), "method": method, "amount": "50.00", "maturesOn": (method == "BILL").then(|| day("04-30")) });
        mutate(&api, "recordPayment", input, &format!("payment {{ client {{ number }} unallocated {ENTRIES} }}"))
    };
    let made = done(receive("RG-1", "03-05", "TRANSFER"), "payment");
    assert_eq!((&made["client"], &made["unallocated"]), (&Value::Null, &json!("0.00")));
    assert_eq!(legs(&made), [["512000", "50.00", "0.00"], ["471000", "0.00", "50.00"]]);
    done(receive("RG-2", "03-06", "CHEQUE"), "payment");
    // A bill has a drawee: none could be named later.
    refused(&receive("RG-9", "03-06", "BILL"), "INVALID", &["client"]);
    api.payment("C001", "RG-3", &day("03-07"), "10.00");
    for (filter, numbers) in [
        (json!({ "unknownPayer": true }), vec!["RG-2", "RG-1"]),
        (json!({ "unknownPayer": false }), vec!["RG-3"]),
        (json!({ "unknownPayer": true, "methods": ["TRANSFER", "CARD"] }), vec!["RG-1"]),
        (json!({ "receivedFrom": day("03-06") }), vec!["RG-3", "RG-2"]),
        (json!({ "receivedFrom": day("03-06"), "receivedTo": day("03-06") }), vec!["RG-2"]),
    ] {
        let found = api.data(
            "query($filter: PaymentFilter!) { payments(filter: $filter) { nodes { number } } }",
            json!({ "filter": filter }),
        );
        let nodes: Vec<Value> = numbers.iter().map(|it| json!({ "number": it })).collect();
        assert_eq!(found["payments"]["nodes"], json!(nodes), "{filter}");
    }
    let name = |number: &str, on: &str| {
        let input = json!({ "payment": { "number": number }, "client": { "number": "C001" }, "identifiedOn": day(on) });
        mutate(&api, "identifyPayment", input, &format!("payment {{ unallocated {ENTRIES} }}"))
    };
    refused(&name("RG-1", "03-04"), "INVALID", &["identifiedOn"]);
    let named = done(name("RG-1", "03-20"), "payment");
    assert_eq!(named["unallocated"], "50.00");
    assert_eq!(legs(&named)[2..], [["471000", "50.00", "0.00"], ["411000", "0.00", "50.00"]]);
    for known in ["RG-1", "RG-3"] {
        refused(&name(known, "03-21"), "WRONG_STATE", &["payment"]);
    }
    // It counts from the day it was named for.
    for (on, total) in [("03-19", "-10.00"), ("03-20", "-60.00")] {
        assert_eq!(api.account("C001", &day(on)).0["total"], total, "{on}");
    }
    api.sound();
}
