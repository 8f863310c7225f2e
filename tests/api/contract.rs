//! What existing clients rely on: the documents of the contract and its worked example (section 4.1).

use serde_json::{Value, json};

use crate::harness::{Api, Company, data, instant, single};

const SCENARIO: &str = include_str!("../contract/scenario-aged-balance.json");

/// Runs the worked example, up to its reports; answers the steps that are reports.
fn play(api: &Api) -> Vec<Value> {
    let scenario: Value = serde_json::from_str(SCENARIO).expect("the scenario");
    let mut saved: Vec<(String, String)> = Vec::new();
    let mut reports = Vec::new();
    for step in scenario["steps"].as_array().expect("steps") {
        if !step["expectAgedBalance"].is_null() {
            reports.push(step.clone());
            continue;
        }
        let mut variables = step["variables"].to_string();
        for (name, value) in &saved {
            variables = variables.replace(&format!("${{{name}}}"), value);
        }
        let variables = serde_json::from_str(&variables).expect("variables");
        let data = api.ask(step["operation"].as_str().expect("operation"), variables);
        for payload in data.as_object().expect("data").values() {
            assert_eq!(payload["userErrors"], json!([]), "{step}");
        }
        for (path, expected) in step["expect"].as_object().into_iter().flatten() {
            assert_eq!(at(&data, path), expected, "{path}: {data}");
        }
        for (name, path) in step["save"].as_object().into_iter().flatten() {
            let value = at(&data, path.as_str().expect("a path"))
                .as_str()
                .expect("a saved text");
            saved.push((name.clone(), value.to_owned()));
        }
    }
    reports
}

fn at<'a>(data: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(data, |value, part| &value[part])
}

#[track_caller]
fn check_report(mut data: Value, expected: &Value) {
    let mut report = data["agedBalance"].take();
    assert_eq!(
        report["buckets"].as_array().map(Vec::len),
        expected["bucketLabels"]
            .as_u64()
            .map(|count| count as usize)
    );
    let rows = report["rows"]["nodes"].as_array().expect("rows");
    let wanted = expected["rows"].as_array().expect("expected rows");
    assert_eq!(report["rows"]["totalCount"], wanted.len());
    assert_eq!(rows.len(), wanted.len(), "{report:#}");
    for (row, wanted) in rows.iter().zip(wanted) {
        assert_eq!(row["client"]["number"], wanted["client"]);
        for column in ["buckets", "unallocated", "total", "overdue", "disputed"] {
            assert_eq!(row[column], wanted[column], "{column} of {row}");
        }
    }
    assert_eq!(single(report["totals"].take()), expected["totals"]);
    assert_eq!(
        single(report["ledgerCheck"].take())["difference"],
        expected["ledgerDifference"]
    );
}

#[test]
fn the_worked_example_comes_out_exactly() {
    let api = Company::new().admin();
    let reports = play(&api);
    assert_eq!(reports.len(), 2);
    for step in reports {
        check_report(
            api.ask("AgedBalance", step["variables"].clone()),
            &step["expectAgedBalance"],
        );
    }
    api.sound();
}

/// The buckets and the unallocated credits of the rows, by client number.
fn cells(report: &Value) -> Vec<(String, Vec<String>, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let rows = report["agedBalance"]["rows"]["nodes"]
        .as_array()
        .expect("rows");
    let mut cells: Vec<_> = rows
        .iter()
        .map(|row| {
            let buckets = row["buckets"]
                .as_array()
                .expect("buckets")
                .iter()
                .map(text)
                .collect();
            (
                text(&row["client"]["number"]),
                buckets,
                text(&row["unallocated"]),
            )
        })
        .collect();
    cells.sort();
    cells
}

fn row(client: &str, buckets: &[&str], unallocated: &str) -> (String, Vec<String>, String) {
    (
        client.to_owned(),
        buckets.iter().map(|&bucket| bucket.to_owned()).collect(),
        unallocated.to_owned(),
    )
}

#[test]
fn credits_by_own_date_and_ages_by_invoice_date() {
    let api = Company::new().admin();
    play(&api);
    let report = api.ask(
        "AgedBalance",
        json!({ "asOf": "2026-03-31", "unallocatedCredits": "BY_OWN_DATE", "first": 50 }),
    );
    assert_eq!(
        cells(&report),
        [
            row(
                "C001",
                &["2400.00", "1300.00", "0.00", "1200.00", "0.00"],
                "0.00"
            ),
            row(
                "C002",
                &["0.00", "0.00", "1500.00", "0.00", "960.00"],
                "0.00"
            ),
            row(
                "C003",
                &["3300.00", "500.00", "0.00", "0.00", "0.00"],
                "0.00"
            ),
        ]
    );
    let totals = single(report["agedBalance"]["totals"].clone());
    assert_eq!(
        totals["buckets"],
        json!(["5700.00", "1800.00", "1500.00", "1200.00", "960.00"])
    );
    assert_eq!(totals["total"], "11160.00");

    let report = api.ask(
        "AgedBalance",
        json!({ "asOf": "2026-03-31", "basis": "INVOICE_DATE", "first": 50 }),
    );
    assert_eq!(
        cells(&report),
        [
            row(
                "C001",
                &["2400.00", "0.00", "1600.00", "1200.00"],
                "-300.00"
            ),
            row("C002", &["0.00", "0.00", "1500.00", "960.00"], "0.00"),
            row("C003", &["1800.00", "3000.00", "0.00", "0.00"], "-1000.00"),
        ]
    );
    let totals = single(report["agedBalance"]["totals"].clone());
    assert_eq!(
        totals["buckets"],
        json!(["4200.00", "3000.00", "3100.00", "2160.00"])
    );
    assert_eq!(
        (&totals["unallocated"], &totals["total"]),
        (&json!("-1300.00"), &json!("11160.00"))
    );

    let bounds = json!({ "asOf": "2026-05-31", "bounds": [30, 60, 90, 120, 180], "first": 50 });
    let totals = single(api.ask("AgedBalance", bounds)["agedBalance"]["totals"].clone());
    assert_eq!(
        totals["buckets"],
        json!([
            "0.00", "2520.00", "1500.00", "4500.00", "0.00", "900.00", "0.00"
        ])
    );
}

#[test]
fn a_report_is_reproduced_as_it_was_known() {
    let api = Company::new().admin();
    let reports = play(&api);
    let before = instant();

    api.invoice(
        "C001",
        "FA-LATE",
        "2026-03-10",
        "2026-04-09",
        ("100.00", "20"),
    );
    let late = instant();
    let found = api.data(
        "{ invoice(ref: { number: \"FA-2\" }) { allocations(first: 5) { nodes { id credit { reference } } } } }",
        json!({}),
    );
    let allocation = single(found["invoice"]["allocations"]["nodes"].clone());
    assert_eq!(allocation["credit"]["reference"], "RG-1");
    let ended = api.make(
        "Unallocate",
        json!({ "allocation": allocation["id"], "unallocatedOn": "2026-03-31" }),
    );
    assert_eq!(ended["allocation"]["unallocatedOn"], "2026-03-31");

    for step in &reports {
        let mut variables = step["variables"].clone();
        variables["knownAt"] = json!(before);
        check_report(
            api.ask("AgedBalance", variables),
            &step["expectAgedBalance"],
        );
    }
    let first = |known_at: Option<&str>| {
        let report = api.ask("AgedBalance", json!({ "asOf": "2026-03-31", "knownAt": known_at, "first": 1, "filter": { "client": { "number": "C001" } } }));
        cells(&report).remove(0)
    };
    assert_eq!(
        first(Some(&late)),
        row(
            "C001",
            &["2520.00", "1600.00", "0.00", "1200.00", "0.00"],
            "-300.00"
        )
    );
    assert_eq!(
        first(None),
        row(
            "C001",
            &["2520.00", "3600.00", "0.00", "1200.00", "0.00"],
            "-2300.00"
        )
    );
    // The day before the un-matching, the matching still stands.
    let report = api.ask(
        "AgedBalance",
        json!({ "asOf": "2026-03-30", "first": 1, "filter": { "client": { "number": "C001" } } }),
    );
    assert_eq!(
        cells(&report),
        [row(
            "C001",
            &["2520.00", "1600.00", "0.00", "1200.00", "0.00"],
            "-300.00"
        )]
    );
}

#[test]
fn the_other_documents_execute() {
    let api = Company::new().admin();
    play(&api);
    let viewer = api.ask("Viewer", json!({}));
    assert_eq!(viewer["viewer"]["role"], "ADMIN");
    assert_eq!(viewer["viewer"]["company"]["currency"], "EUR");

    let account = api.ask(
        "ClientAccount",
        json!({ "client": { "number": "C003" }, "asOf": "2026-03-31", "first": 2 }),
    );
    let client = &account["client"];
    assert_eq!(
        single(client["balance"].clone()),
        json!({ "currency": "EUR", "total": "3800.00", "overdue": "1500.00", "disputed": "0.00", "unallocated": "-1000.00" })
    );
    assert_eq!(client["openItems"]["totalCount"], 4);
    assert_eq!(client["openItems"]["pageInfo"]["hasNextPage"], true);
    let after = &client["openItems"]["pageInfo"]["endCursor"];
    let next = api.ask(
        "ClientAccount",
        json!({ "client": { "number": "C003" }, "asOf": "2026-03-31", "first": 2, "after": after }),
    );
    assert_eq!(
        next["client"]["openItems"]["nodes"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    assert_eq!(
        next["client"]["openItems"]["pageInfo"]["hasNextPage"],
        false
    );

    let mut numbers = Vec::new();
    let mut after = Value::Null;
    loop {
        let order = json!({ "field": "NUMBER", "direction": "ASC" });
        let page = api.ask(
            "Invoices",
            json!({ "filter": { "open": true }, "orderBy": order, "first": 2, "after": after }),
        );
        let page = &page["invoices"];
        assert_eq!(page["totalCount"], 6);
        numbers.extend(
            page["nodes"]
                .as_array()
                .expect("nodes")
                .iter()
                .map(|invoice| invoice["number"].clone()),
        );
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(numbers, ["FA-1", "FA-2", "FA-3", "FA-6", "FA-7", "FA-8"]);

    let deduction = api.make("RecordDeduction", json!({ "invoice": { "number": "FA-7" }, "amount": "20.00", "reason": "BMAN", "recordedOn": "2026-06-01" }));
    let deduction = deduction["deduction"].clone();
    assert_eq!(
        (
            &deduction["status"],
            &deduction["amount"],
            &deduction["reason"]["code"]
        ),
        (&json!("OPEN"), &json!("20.00"), &json!("BMAN"))
    );
    assert_eq!(
        deduction["invoice"],
        json!({ "number": "FA-7", "open": "700.00" })
    );
    let input = json!({ "deduction": { "id": deduction["id"] }, "outcome": "REJECTED", "closedOn": "2026-06-02" });
    assert_eq!(
        api.make("ResolveDeduction", input)["deduction"]["status"],
        "REJECTED"
    );

    let provision = api.ask(
        "DoubtfulDebtProvision",
        json!({ "asOf": "2026-05-31", "first": 10 }),
    );
    assert_eq!(
        single(provision["doubtfulDebtProvision"]["totals"].clone())["currency"],
        "EUR"
    );
    assert_eq!(
        provision["doubtfulDebtProvision"]["clients"]["totalCount"],
        2
    );
}

#[test]
fn nothing_is_answered_without_a_token_of_the_company() {
    let (one, other) = (Company::new().admin(), Company::new().admin());
    one.client("C001");
    assert_eq!(
        other.ask(
            "ClientAccount",
            json!({ "client": { "number": "C001" }, "first": 1 })
        )["client"],
        Value::Null
    );
    let answer = Api::stranger().post(&json!({ "query": "{ viewer { role } }" }));
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert_eq!(
        data(one.run("{ clients { totalCount } }", json!({})))["clients"]["totalCount"],
        1
    );
}
