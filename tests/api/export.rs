//! Tables for spreadsheets, BI tools and scripts: what they hold, for whom, and that no cell is a formula.

use serde_json::{Value, json};

use crate::harness::{Answer, Api, Company, day, send};

/// A table as header and rows; the values are those of the cells.
fn table(api: &Api, path: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let answer = api.fetch(path);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let mut reader = csv::Reader::from_reader(answer.text.as_bytes());
    let owned = |row: &csv::StringRecord| row.iter().map(str::to_owned).collect::<Vec<_>>();
    let header = owned(reader.headers().expect("a header"));
    let rows = reader.records().map(|row| owned(&row.expect("a row")));
    (header, rows.collect())
}

/// The cells of a column.
fn column(table: &(Vec<String>, Vec<Vec<String>>), name: &str) -> Vec<String> {
    let place = table.0.iter().position(|column| column == name);
    let place = place.unwrap_or_else(|| panic!("no column {name} in {:?}", table.0));
    table.1.iter().map(|row| row[place].clone()).collect()
}

/// Two clients, two invoices of which one is paid in part, a credit note, and a receipt with a rest.
fn books(api: &Api) {
    api.client("C001");
    api.client("C002");
    api.invoice(
        "C001",
        "FA-1",
        &day("01-10"),
        &day("02-09"),
        ("1000.00", "20"),
    );
    api.invoice(
        "C002",
        "FA-2",
        &day("02-10"),
        &day("03-12"),
        ("50.00", "20"),
    );
    api.payment("C001", "R-1", &day("02-20"), "1250.00");
    api.allocate(&day("02-20"), &[("FA-1", "R-1", "700.00")]);
    let credit = json!({ "invoice": { "number": "FA-2" }, "number": "AV-1", "issuedOn": day("02-15"), "reason": "Retour",
        "lines": [{ "description": "Retour", "quantity": "1", "unitPrice": "10.00", "vatRate": "20" }] });
    api.make("IssueCreditNote", credit);
}

#[test]
fn tables_say_what_the_api_says() {
    let company = Company::new();
    let api = company.admin();
    books(&api);
    let clients = table(&api, "/export/clients.csv");
    assert_eq!(column(&clients, "number"), ["C001", "C002"]);
    let invoices = table(&api, "/export/invoices.csv");
    assert_eq!(column(&invoices, "number"), ["FA-1", "FA-2"]);
    assert_eq!(column(&invoices, "total"), ["1200.00", "60.00"]);
    assert_eq!(column(&invoices, "open"), ["500.00", "48.00"]);
    assert_eq!(column(&invoices, "dueOn"), [day("02-09"), day("03-12")]);
    let asked = api.data(
        "{ invoices(orderBy: { field: NUMBER, direction: ASC }) { nodes { id } } }",
        json!({}),
    );
    let ids: Vec<&str> = asked["invoices"]["nodes"]
        .as_array()
        .expect("invoices")
        .iter()
        .filter_map(|node| node["id"].as_str())
        .collect();
    assert_eq!(column(&invoices, "id"), ids);
    let credit_notes = table(&api, "/export/credit-notes.csv");
    assert_eq!(column(&credit_notes, "invoiceNumber"), ["FA-2"]);
    assert_eq!(column(&credit_notes, "total"), ["12.00"]);
    let payments = table(&api, "/export/payments.csv");
    assert_eq!(column(&payments, "amount"), ["1250.00"]);
    assert_eq!(column(&payments, "unallocated"), ["550.00"]);
    // A balance on the day before the receipt, and after everything.
    let before = table(
        &api,
        &format!("/export/open-items.csv?asOf={}", day("02-19")),
    );
    assert_eq!(column(&before, "open"), ["1200.00", "48.00"]);
    let aged = table(
        &api,
        &format!("/export/aged-balance.csv?asOf={}", day("02-20")),
    );
    assert_eq!(column(&aged, "clientNumber"), ["C001", "C002"]);
    assert_eq!(column(&aged, "overdue1To30"), ["500.00", "0.00"]);
    assert_eq!(column(&aged, "notDue"), ["0.00", "48.00"]);
    assert_eq!(column(&aged, "unallocated"), ["-550.00", "0.00"]);
    assert_eq!(column(&aged, "total"), ["-50.00", "48.00"]);
    // The same for scripts.
    let lines = api.fetch("/export/payments.jsonl").text;
    let line: Value = serde_json::from_str(lines.trim()).expect("one line");
    assert_eq!(
        (&line["unallocated"], &line["externalRef"]),
        (&json!("550.00"), &Value::Null)
    );
}

#[test]
fn no_cell_is_a_formula() {
    let company = Company::new();
    let api = company.admin();
    let hostile = "=cmd|' /C calc'!A0";
    api.make("CreateClient", json!({ "number": "+C1", "name": hostile }));
    api.invoice(
        "+C1",
        "@SUM(A1)",
        &day("01-10"),
        &day("02-09"),
        ("10.00", "0"),
    );
    let input = json!({ "client": { "number": "+C1" }, "number": "-1+1", "receivedOn": day("02-01"), "method": "TRANSFER", "amount": "1.00", "remittance": "=1+1" });
    api.make("RecordPayment", input);
    for name in [
        "clients",
        "invoices",
        "payments",
        "open-items",
        "aged-balance",
        "audit-trail",
    ] {
        let (header, rows) = table(&api, &format!("/export/{name}.csv"));
        assert!(!rows.is_empty(), "{name}");
        for (column, cell) in rows.iter().flat_map(|row| header.iter().zip(row)) {
            let is_number = cell.parse::<f64>().is_ok();
            let runs = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
            assert!(is_number || !runs, "{name}.{column}: {cell}");
        }
    }
    assert_eq!(
        column(&table(&api, "/export/clients.csv"), "name"),
        [format!("'{hostile}")]
    );
    // What no spreadsheet opens is told as it is.
    let line: Value =
        serde_json::from_str(api.fetch("/export/clients.jsonl").text.trim()).expect("one line");
    assert_eq!(line["name"], hostile);
}

#[test]
fn what_changed_is_told_again() {
    let company = Company::new();
    let api = company.admin();
    books(&api);
    let invoices = table(&api, "/export/invoices.csv");
    let last = column(&invoices, "updatedAt")
        .into_iter()
        .max()
        .expect("an instant");
    std::thread::sleep(std::time::Duration::from_millis(5));
    api.allocate(&day("03-20"), &[("FA-1", "R-1", "500.00")]);
    let since = format!("/export/invoices.csv?updatedSince={last}");
    let changed = table(&api, &since);
    let numbers = column(&changed, "number");
    assert!(numbers.contains(&"FA-1".to_owned()), "{numbers:?}");
    assert_eq!(
        column(&changed, "open")[numbers
            .iter()
            .position(|number| number == "FA-1")
            .expect("there")],
        "0.00"
    );
    let far = api.fetch("/export/invoices.csv?updatedSince=2999-01-01T00:00:00Z");
    assert_eq!(far.text.lines().count(), 1, "{}", far.text);
}

#[test]
fn an_unchanged_table_is_not_sent_again() {
    let company = Company::new();
    let api = company.admin();
    books(&api);
    let get = |tag: Option<&str>| -> Answer {
        let mut headers = vec![("authorization", api.authorization())];
        headers.extend(tag.map(|tag| ("if-none-match", tag.to_owned())));
        send("/export/invoices.csv", &headers, None)
    };
    let first = get(None);
    let tag = first.etag.clone().expect("a tag");
    let again = get(Some(&tag));
    assert_eq!(
        (again.status, again.text.as_str(), again.etag.as_deref()),
        (304, "", Some(tag.as_str()))
    );
    api.invoice("C001", "FA-3", &day("03-01"), &day("03-31"), ("1.00", "20"));
    assert_eq!(get(Some(&tag)).status, 200);
}

#[test]
fn tables_keep_to_the_caller_and_are_told() {
    let company = Company::new();
    let api = company.admin();
    books(&api);
    // No portfolio: nothing to sell to.
    let (sales, _) = company.as_member("SALES");
    for name in ["clients", "invoices", "open-items", "aged-balance"] {
        assert!(
            table(&sales, &format!("/export/{name}.csv")).1.is_empty(),
            "{name}"
        );
    }
    let stranger = Company::new().admin();
    assert!(table(&stranger, "/export/invoices.csv").1.is_empty());
    let told = api.data(
        "{ auditTrail(filter: { actions: [EXPORTED] }, first: 10) { nodes { recordType recordId details } } }",
        json!({}),
    );
    let told = told["auditTrail"]["nodes"].as_array().expect("a trail");
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(
        told.iter()
            .all(|entry| entry["recordType"] == "TABLE" && entry["details"]["rows"] == 0)
    );
}

#[test]
fn the_audit_trail_is_a_table_for_those_who_read_it() {
    let company = Company::new();
    let api = company.admin();
    books(&api);
    let trail = table(&api, "/export/audit-trail.csv");
    let made = column(&trail, "recordType").into_iter();
    let made: Vec<_> = made.zip(column(&trail, "action")).collect();
    let count = |kind: &str| {
        let wanted = (kind.to_owned(), "CREATED".to_owned());
        made.iter().filter(|row| **row == wanted).count()
    };
    assert_eq!((count("CLIENT"), count("PAYMENT")), (2, 1));
    let at = column(&trail, "at");
    assert!(at.is_sorted(), "{at:?}");
    // It says what the API says, and a script gets objects.
    let asked = api.data(
        "{ auditTrail(filter: { recordType: \"PAYMENT\" }) { nodes { recordId clientId actor operation transaction after } } }",
        json!({}),
    );
    let asked = &asked["auditTrail"]["nodes"][0];
    let lines = api.fetch("/export/audit-trail.jsonl").text;
    let told: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line"))
        .filter(|line: &Value| line["recordType"] == "PAYMENT")
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    for (field, value) in asked.as_object().expect("fields") {
        assert_eq!(&told[0][field], value, "{field}");
    }
    assert!(told[0]["after"]["amount"].is_number(), "{told:?}");
    // From an instant on: the first download is on the trail by now, nothing of the books is.
    let since = format!("/export/audit-trail.csv?updatedSince={}", at[at.len() - 1]);
    let later = table(&api, &since);
    assert!(column(&later, "action").contains(&"EXPORTED".to_owned()));
    assert!(later.1.len() < trail.1.len());
    let (sales, _) = company.as_member("SALES");
    assert_eq!(sales.fetch("/export/audit-trail.csv").status, 403);
}

#[test]
fn what_is_not_there_is_refused() {
    let company = Company::new();
    let api = company.admin();
    for (path, status) in [
        ("/export/contacts.csv", 404),
        ("/export/invoices.parquet", 404),
        ("/export/..%2Finvoices.csv", 404),
        ("/export/invoices.csv?asOf=2026-01-01", 422),
        ("/export/clients.csv?updatedSince=2026-01-01T00:00:00Z", 422),
        ("/export/open-items.csv?asOf=tomorrow", 422),
        ("/export/open-items.csv?asOf=30/06/2026", 422),
        ("/export/invoices.csv?updatedSince=2026-11-01", 422),
        ("/export/open-items.csv?day=2026-01-01", 400),
    ] {
        let answer = api.fetch(path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert!(
            answer.json()["errors"][0]["extensions"]["code"].is_string(),
            "{path}"
        );
    }
    assert_eq!(send("/export/invoices.csv", &[], None).status, 401);
}
