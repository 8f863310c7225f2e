//! The provision on demand beside what is posted: foreign claims move in the company's currency, and a page is as long
//! as it was asked for.

use serde_json::{Value, json};

use crate::harness::{Api, Company, day};

/// Two clients in euros, between them one who owes in dollars and in euros; all long overdue.
fn books(api: &Api) {
    for (client, currency) in [("C001", "EUR"), ("C002", "USD"), ("C003", "EUR")] {
        let made = json!({ "number": client, "name": client, "currency": currency });
        api.make("CreateClient", made);
    }
    let invoice = |client: &str, number: &str, currency: &str, rate: Option<&str>| {
        let input = json!({
            "client": { "number": client }, "number": number, "issuedOn": day("01-10"), "dueOn": day("01-20"),
            "currency": currency, "exchangeRate": rate,
            "lines": [{ "description": "Conseil", "quantity": "1", "unitPrice": "1000.00", "vatRate": "0" }],
        });
        api.make("IssueInvoice", input);
    };
    invoice("C001", "F-1", "EUR", None);
    invoice("C002", "F-2", "USD", Some("0.9"));
    invoice("C002", "F-3", "EUR", None);
    invoice("C003", "F-4", "EUR", None);
}

const ROW: &str = "client { number } currency required requiredInBooks previous charge release";

/// What the provision of the day says of each row and in sum, at 40 % of everything.
fn asked(api: &Api) -> (Value, Value) {
    let found = api.data(
        &format!(
            "query($on: Date) {{ doubtfulDebtProvision(asOf: $on, policy: {{ rates: [\"0\", \"40\", \"40\", \"40\", \"40\"] }}) {{
               totals {{ currency required requiredInBooks previous charge release }}
               clients(first: 100) {{ totalCount nodes {{ {ROW} }} }} }} }}"
        ),
        json!({ "on": day("05-31") }),
    );
    let provision = &found["doubtfulDebtProvision"];
    let nodes = &provision["clients"]["nodes"];
    assert_eq!(
        provision["clients"]["totalCount"],
        nodes.as_array().map_or(0, Vec::len)
    );
    (nodes.clone(), provision["totals"].clone())
}

fn row(client: &str, currency: &str, amounts: [&str; 5]) -> Value {
    let [required, in_books, previous, charge, release] = amounts;
    json!({ "client": { "number": client }, "currency": currency, "required": required, "requiredInBooks": in_books,
        "previous": previous, "charge": charge, "release": release })
}

#[test]
fn foreign_claims_move_in_the_currency_of_the_books_r5_10() {
    let api = Company::new().admin();
    books(&api);
    let (rows, totals) = asked(&api);
    // 400 USD at 0.9 are 360 EUR.
    assert_eq!(
        rows,
        json!([
            row(
                "C001",
                "EUR",
                ["400.00", "400.00", "0.00", "400.00", "0.00"]
            ),
            row(
                "C002",
                "EUR",
                ["400.00", "400.00", "0.00", "760.00", "0.00"]
            ),
            row("C002", "USD", ["400.00", "360.00", "0.00", "0.00", "0.00"]),
            row(
                "C003",
                "EUR",
                ["400.00", "400.00", "0.00", "400.00", "0.00"]
            ),
        ])
    );
    assert_eq!(
        totals,
        json!([
            { "currency": "EUR", "required": "1200.00", "requiredInBooks": "1200.00", "previous": "0.00", "charge": "1560.00", "release": "0.00" },
            { "currency": "USD", "required": "400.00", "requiredInBooks": "360.00", "previous": "0.00", "charge": "0.00", "release": "0.00" },
        ])
    );
    // A run posts just that, and then nothing is left to move.
    let input =
        json!({ "asOf": day("05-31"), "policy": { "rates": ["0", "40", "40", "40", "40"] } });
    let made = api.done(
        "mutation($input: ProposeProvisionRunInput!) { proposeProvisionRun(input: $input) {
           run { number totals { charge release } } userErrors { code field message } } }",
        json!({ "input": input }),
    );
    let run = &made["run"];
    assert_eq!(
        run["totals"],
        json!({ "charge": "1560.00", "release": "0.00" })
    );
    api.done(
        "mutation($number: String!) { decideProvisionRun(input: { run: { number: $number }, approve: true }) { run { status } userErrors { code field message } } }",
        json!({ "number": run["number"] }),
    );
    api.done(
        "mutation($number: String!) { postProvisionRun(run: { number: $number }) { run { status } userErrors { code field message } } }",
        json!({ "number": run["number"] }),
    );
    let (rows, totals) = asked(&api);
    assert_eq!(
        rows[1],
        row(
            "C002",
            "EUR",
            ["400.00", "400.00", "760.00", "0.00", "0.00"]
        )
    );
    for total in totals.as_array().expect("totals") {
        assert_eq!(
            (&total["charge"], &total["release"]),
            (&json!("0.00"), &json!("0.00")),
            "{totals}"
        );
    }
    assert_eq!(totals[0]["previous"], "1560.00");
    api.sound();
}

/// All rows, a page of this size after another, and how many pages there were.
fn walked(api: &Api, size: usize, arguments: &str, way: [&str; 4]) -> Vec<Value> {
    let [count, place, more, end] = way;
    let mut rows: Vec<Value> = Vec::new();
    let mut cursor = Value::Null;
    for _ in 0..10 {
        let found = api.data(
            &format!(
                "query($cursor: String) {{ doubtfulDebtProvision({arguments}) {{ clients({count}: {size}, {place}: $cursor) {{
                   totalCount pageInfo {{ {more} {end} }} edges {{ cursor node {{ {ROW} claims {{ reference }} }} }} }} }} }}"
            ),
            json!({ "cursor": cursor }),
        );
        let page = &found["doubtfulDebtProvision"]["clients"];
        let edges = page["edges"].as_array().expect("edges");
        assert!(edges.len() <= size, "{page}");
        let nodes = edges.iter().map(|edge| edge["node"].clone());
        if count == "first" {
            rows.extend(nodes);
        } else {
            rows.splice(0..0, nodes);
        }
        if page["pageInfo"][more] == false {
            assert_eq!(page["totalCount"], rows.len(), "{page}");
            return rows;
        }
        assert_eq!(edges.len(), size, "{page}");
        cursor = page["pageInfo"][end].clone();
    }
    panic!("the list does not end: {rows:#?}");
}

#[test]
fn a_page_of_the_provision_is_as_long_as_asked_for() {
    let company = Company::new();
    let api = company.admin();
    books(&api);
    let forward = ["first", "after", "hasNextPage", "endCursor"];
    let backward = ["last", "before", "hasPreviousPage", "startCursor"];
    let on = format!("asOf: \"{}\"", day("05-31"));
    let whole = walked(&api, 10, &on, forward);
    let shown: Vec<String> = whole
        .iter()
        .map(|row| format!("{} {}", row["client"]["number"], row["currency"]))
        .collect();
    assert_eq!(shown.len(), 4, "{shown:?}");
    // From memory, and from the database as of an instant.
    let known = format!("{on}, knownAt: \"{}\"", crate::harness::instant());
    for arguments in [&on, &known] {
        for size in 1..=4 {
            assert_eq!(walked(&api, size, arguments, forward), whole);
            assert_eq!(walked(&api, size, arguments, backward), whole);
        }
    }
    // Before anything was known there is nothing, and no page to go on to.
    let before = format!("{on}, knownAt: \"2020-01-01T00:00:00Z\"");
    assert_eq!(walked(&api, 1, &before, forward), Vec::<Value>::new());
}
